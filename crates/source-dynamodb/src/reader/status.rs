//! What the reading of a stream is doing, for people: how far it is, and what each lane waits for.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tailwater_model::{ServiceTime, ShardId};
use tokio::time::Instant;

use super::Shared;
use crate::graph::ReadFront;

/// A failure that passes sooner is none to tell: among hundreds of shards there is always one.
const TROUBLE_AFTER: Duration = Duration::from_secs(10);

/// What one lane's reader is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LaneReading {
    /// It waits for the progress of another lane, which holds the parents of all that it could read.
    WaitingForLane(usize),
    /// The last pages had records.
    Reading,
    /// The last pages were empty, or there is nothing to read.
    Idle,
    /// A shard is not answered, or the question which there are: the one for which this lasts longest.
    Trouble {
        /// For so many seconds.
        seconds: u64,
        /// What the last answer was.
        why: String,
    },
}

/// How far a stream was read and is in the sink.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceStatus {
    /// The service's time, as far as it is known.
    pub now: Option<ServiceTime>,
    /// When the stream was first heard of in this process: a bounded run ends when everything older is in the sink.
    pub begun: Option<ServiceTime>,
    /// The shard that is furthest behind, of those with something to read, as far as is known.
    pub furthest_unread: Option<ReadFront>,
    /// The shard that is furthest behind of all. A shard whose pages are empty moves on with some delay.
    pub furthest_behind: Option<ReadFront>,
    /// The lanes by number.
    pub lanes: Vec<LaneReading>,
}

/// What a lane tells of itself.
#[derive(Clone, Debug, Default)]
pub(super) struct LaneNotes {
    /// Its last page had records.
    is_reading: bool,
    /// By shard that is not answered: when the run of failures began, and the last of them.
    troubles: BTreeMap<ShardId, (Instant, String)>,
}

impl LaneNotes {
    /// A page of this shard came.
    pub fn page(&mut self, shard: &ShardId, has_records: bool) {
        self.is_reading = has_records;
        self.troubles.remove(shard);
    }

    /// This shard was not answered.
    pub fn failure(&mut self, shard: &ShardId, why: String) {
        let since = self.troubles.get(shard).map_or_else(Instant::now, |(since, _)| *since);
        self.troubles.insert(shard.clone(), (since, why));
    }

    /// This shard is not read any more, perhaps the last of the lane.
    pub fn left(&mut self, shard: &ShardId, is_last: bool) {
        self.troubles.remove(shard);
        self.is_reading &= !is_last;
    }
}

/// Reads the status of a stream, also when its readers are gone.
#[derive(Clone)]
pub struct StatusReader(Arc<Shared>);

impl StatusReader {
    pub(super) fn of(shared: &Arc<Shared>) -> Self {
        Self(Arc::clone(shared))
    }

    /// The status now.
    pub fn status(&self) -> SourceStatus {
        let shared = &self.0;
        let notes = shared.notes();
        let troubles = notes.iter().flat_map(|notes| &notes.troubles);
        let in_trouble: BTreeSet<ShardId> = troubles
            .filter(|(_, (since, _))| since.elapsed() >= TROUBLE_AFTER)
            .map(|(shard, _)| shard.clone())
            .collect();
        let (mut status, waits) = shared.graph(|graph| {
            let waits: Vec<Option<usize>> = (0..notes.len()).map(|lane| graph.waits_for_lane(lane)).collect();
            let status = SourceStatus {
                now: None,
                begun: graph.begun(),
                furthest_unread: graph.furthest_unread(&in_trouble),
                furthest_behind: graph.furthest_behind(),
                lanes: Vec::new(),
            };
            (status, waits)
        });
        status.now = shared.now();
        let listing = super::lock(&shared.listing_trouble).clone();
        let lanes = notes.into_iter().zip(waits).map(|(notes, waits)| reading(notes, waits, listing.as_ref()));
        status.lanes = lanes.collect();
        status
    }
}

fn reading(notes: LaneNotes, waits_for: Option<usize>, listing: Option<&(Instant, String)>) -> LaneReading {
    // What a lane does not know of it cannot read. One that has something to read goes on.
    let listing = listing.filter(|_| !notes.is_reading).cloned();
    let troubles = notes.troubles.into_values().chain(listing);
    let troubles = troubles.filter(|(since, _)| since.elapsed() >= TROUBLE_AFTER);
    if let Some((since, why)) = troubles.min_by_key(|(since, _)| *since) {
        return LaneReading::Trouble { seconds: since.elapsed().as_secs(), why };
    }
    match waits_for {
        _ if notes.is_reading => LaneReading::Reading,
        Some(lane) => LaneReading::WaitingForLane(lane),
        None => LaneReading::Idle,
    }
}
