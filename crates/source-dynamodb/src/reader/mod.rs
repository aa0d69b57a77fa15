//! The reader: one `LaneReader` per lane, and what the lanes of a process share.
//!
//! A lane asks the shard graph which shards it may read, keeps them in a schedule, and feeds a bounded number of fetch
//! tasks. One task per process discovers shards. The graph stands behind a lock that is never held over an await; a
//! watch tells lanes and discovery that something changed.

mod budget;
mod changes;
mod delay;
mod discovery;
mod fetch;
mod lane;
mod pacing;
mod schedule;
#[cfg(test)]
mod tests;
mod trouble;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tailwater_model::{StreamIdentity, Trouble};
use tokio::time::Instant;

use crate::api::StreamApi;
use crate::graph::ShardGraph;
use crate::settings::ReaderSettings;
use budget::Budget;
use changes::Changes;
use discovery::DiscoveryTask;
pub use lane::LaneReader;

/// What the lanes of one process and their discovery share.
struct Shared {
    stream_arn: Arc<str>,
    settings: ReaderSettings,
    /// The moment that the graph's times are counted from.
    began: Instant,
    graph: Mutex<ShardGraph>,
    changes: Changes,
    /// The count of the graph's changes that was told last.
    told: AtomicU64,
    budget: Arc<Budget>,
    /// Why everything has to stop.
    halt: Mutex<Option<Trouble>>,
    /// The tip was reached once: lanes that still had something to carry finish as well.
    tip: AtomicBool,
}

impl Shared {
    /// Asks or tells the graph, and wakes whoever may have something new to do.
    fn graph<T>(&self, act: impl FnOnce(&mut ShardGraph) -> T) -> T {
        let mut graph = self.graph.lock().unwrap_or_else(PoisonError::into_inner);
        let answer = act(&mut graph);
        let now = graph.changes();
        if self.told.swap(now, Ordering::SeqCst) != now {
            self.changes.add();
        }
        answer
    }

    fn halt(&self, trouble: Trouble) {
        self.halt.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(trouble);
        self.changes.add();
    }

    fn halted(&self) -> Option<Trouble> {
        self.halt.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether a bounded run is at its end.
    fn at_tip(&self) -> bool {
        if self.settings.until_tip.is_none() {
            return false;
        }
        if !self.tip.load(Ordering::SeqCst) && self.graph(|graph| graph.at_tip()) {
            self.tip.store(true, Ordering::SeqCst);
            self.changes.add();
        }
        self.tip.load(Ordering::SeqCst)
    }
}

/// Opens a stream for reading by `lanes` lanes (at least one) of this process. Must be called inside a tokio runtime: it
/// starts the discovery task, which ends when the last reader is dropped. Nothing is asked of the service before each
/// lane was opened once.
pub fn open_stream<A: StreamApi>(
    api: A,
    stream: StreamIdentity,
    lanes: u32,
    settings: ReaderSettings,
) -> Vec<LaneReader<A>> {
    let lanes = lanes.max(1);
    let shared = Arc::new(Shared {
        stream_arn: stream.stream_arn.into(),
        began: Instant::now(),
        graph: Mutex::new(ShardGraph::new(lanes, settings.start, settings.on_gap)),
        changes: Changes::default(),
        told: AtomicU64::new(0),
        budget: Budget::new(settings.memory_bytes_max),
        halt: Mutex::new(None),
        tip: AtomicBool::new(false),
        settings,
    });
    let discovery = Arc::new(DiscoveryTask::start(api.clone(), Arc::clone(&shared)));
    (0..lanes).map(|lane| LaneReader::new(lane, api.clone(), Arc::clone(&shared), Arc::clone(&discovery))).collect()
}
