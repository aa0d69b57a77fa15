//! The reader: one `LaneReader` per lane, and what the lanes of a process share.
//!
//! A lane asks the shard graph which shards it may read, keeps them in a schedule, and feeds a bounded number of fetch
//! tasks. One task per process discovers shards. The graph stands behind a lock that is never held over an await; a
//! watch tells lanes and discovery that something changed.

mod budget;
mod changes;
mod clock;
mod delay;
mod discovery;
mod doubt;
mod fetch;
mod intake;
mod lane;
mod latest;
mod overdue;
mod pacing;
mod schedule;
mod shard_reader;
mod status;
#[cfg(test)]
mod tests;
mod trouble;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tailwater_model::{ServiceTime, ShardId, StreamIdentity, Trouble};
use tokio::time::Instant;
use tracing::warn;

use crate::api::{StreamApi, When};
use crate::graph::ShardGraph;
use crate::settings::ReaderSettings;
use budget::Budget;
use changes::Changes;
use clock::{Leapt, ServiceClock};
use discovery::DiscoveryTask;
use fetch::Issued;
pub use lane::LaneReader;
use status::LaneNotes;
pub use status::{LaneReading, SourceStatus, StatusReader};
pub use trouble::STREAM_GONE;
use trouble::clock_stands_still;

/// What the lanes of one process and their discovery share.
struct Shared {
    stream_arn: Arc<str>,
    settings: ReaderSettings,
    graph: Mutex<ShardGraph>,
    clock: Mutex<ServiceClock>,
    changes: Changes,
    /// The count of the graph's changes that was told last.
    told: AtomicU64,
    budget: Arc<Budget>,
    /// Why everything has to stop.
    halt: Mutex<Option<Trouble>>,
    /// The tip was reached once: lanes that still had something to carry finish as well.
    tip: AtomicBool,
    lanes: Mutex<Vec<LaneNotes>>,
    /// When shards began not to be listed, and why.
    listing_trouble: Mutex<Option<(Instant, String)>>,
    /// Iterators of `LATEST` for shards that are not read yet.
    latest: Mutex<BTreeMap<ShardId, Issued>>,
}

impl Shared {
    /// Asks or tells the graph, and wakes whoever may have something new to do.
    fn graph<T>(&self, act: impl FnOnce(&mut ShardGraph) -> T) -> T {
        let mut graph = lock(&self.graph);
        let answer = act(&mut graph);
        let now = graph.changes();
        if self.told.swap(now, Ordering::SeqCst) != now {
            self.changes.add();
        }
        answer
    }

    /// Takes the date of an answer that came just now. Nothing where it is in doubt, and the answer is to be asked again; the
    /// caller keeps count of that.
    fn answered(&self, date: ServiceTime, asked_at: Instant, answered_at: Instant, in_doubt: &mut u32) -> Option<When> {
        let mut clock = lock(&self.clock);
        let when = match clock.answered(date, asked_at, answered_at) {
            Ok(when) => {
                *in_doubt = 0;
                Some(when)
            }
            Err(doubt) => doubt.taken_after(in_doubt),
        };
        let (still, leapt) = (clock.standstill(answered_at), clock.take_leapt());
        drop(clock);
        if let Some(Leapt { from, to, takes_back }) = leapt {
            warn!(%from, %to, "the dates of the service's answers leap: this machine stood still, or a clock was set. What was \
                not read for most of a day by them is a gap");
            if takes_back && to < from {
                self.graph(|graph| graph.clock_went_back(to, from.since(to)));
            }
        }
        if let Some(still) = still {
            let trouble = clock_stands_still(&self.stream_arn, still);
            if self.settings.until_tip && !self.tip.load(Ordering::SeqCst) {
                self.halt(trouble);
            } else {
                warn!(code = trouble.code, "{trouble}: lag and gaps cannot be known");
            }
        }
        when
    }

    /// The service's time, as far as it is known.
    fn now(&self) -> Option<ServiceTime> {
        lock(&self.clock).at(Instant::now())
    }

    /// The service's time where something was answered already.
    fn time(&self) -> ServiceTime {
        self.now().unwrap_or(ServiceTime::EPOCH)
    }

    fn halt(&self, trouble: Trouble) {
        lock(&self.halt).get_or_insert(trouble);
        self.changes.add();
    }

    fn halted(&self) -> Option<Trouble> {
        lock(&self.halt).clone()
    }

    fn notes(&self) -> Vec<LaneNotes> {
        lock(&self.lanes).clone()
    }

    /// A lane tells of itself.
    fn note(&self, lane: usize, tell: impl FnOnce(&mut LaneNotes)) {
        if let Some(notes) = lock(&self.lanes).get_mut(lane) {
            tell(notes);
        }
    }

    /// Shards could not be listed, or could.
    fn note_listing(&self, trouble: Option<String>) {
        let mut noted = lock(&self.listing_trouble);
        let since = noted.take().map_or_else(Instant::now, |(since, _)| since);
        *noted = trouble.map(|why| (since, why));
    }

    /// Keeps an iterator of `LATEST`, asked for at this moment, for the first read of a shard, if that is how it begins.
    fn hold_latest(&self, shard: ShardId, issued: Issued, asked: ServiceTime) {
        // First kept, then told: from then on its lane may ask for it.
        lock(&self.latest).insert(shard.clone(), issued);
        if !self.graph(|graph| graph.latest_held(&shard, asked)) {
            lock(&self.latest).remove(&shard);
        }
    }

    /// The iterator of `LATEST` that the first read of this shard begins with. Handed out once.
    fn take_latest(&self, shard: &ShardId) -> Option<Issued> {
        lock(&self.latest).remove(shard)
    }

    /// Whether a bounded run is at its end.
    fn at_tip(&self) -> bool {
        if !self.settings.until_tip {
            return false;
        }
        if !self.tip.load(Ordering::SeqCst) && self.graph(|graph| graph.at_tip()) {
            self.tip.store(true, Ordering::SeqCst);
            self.changes.add();
        }
        self.tip.load(Ordering::SeqCst)
    }
}

fn lock<T>(state: &Mutex<T>) -> MutexGuard<'_, T> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Opens a stream for reading by `lanes` lanes (at least one) of this process, and gives what tells of it. Must be called
/// inside a tokio runtime: it starts the discovery task, which ends when the last reader is dropped. Nothing is asked of
/// the service before the first lane was opened once.
pub fn open_stream<A: StreamApi>(
    api: A,
    stream: StreamIdentity,
    lanes: u32,
    settings: ReaderSettings,
) -> (Vec<LaneReader<A>>, StatusReader) {
    let lanes = lanes.max(1);
    let graph = ShardGraph::new(lanes, settings.start, settings.on_gap, settings.until_tip)
        .visible_within(settings.visible_within);
    let shared = Arc::new(Shared {
        stream_arn: stream.stream_arn.into(),
        graph: Mutex::new(graph),
        clock: Mutex::default(),
        changes: Changes::default(),
        told: AtomicU64::new(0),
        budget: Budget::new(settings.memory_bytes_max),
        halt: Mutex::new(None),
        tip: AtomicBool::new(false),
        listing_trouble: Mutex::default(),
        lanes: Mutex::new((0..lanes).map(|_| LaneNotes::default()).collect()),
        latest: Mutex::default(),
        settings,
    });
    let discovery = Arc::new(DiscoveryTask::start(api.clone(), Arc::clone(&shared)));
    let reader = |lane| LaneReader::new(lane, api.clone(), Arc::clone(&shared), Arc::clone(&discovery));
    ((0..lanes).map(reader).collect(), StatusReader::of(&shared))
}
