//! What the reading of a stream is doing, for people: how far it is, and what each lane waits for.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tailwater_model::{ServiceTime, ShardId};
use tokio::time::Instant;

use super::Shared;
use crate::graph::ReadFront;

/// A failure that passes sooner is none to tell: among hundreds of shards there is always one. Nor is a wait for memory.
const TROUBLE_AFTER: Duration = Duration::from_secs(10);
/// How long a stream keeps records with certainty (DynamoDB developer guide, streams).
const RETENTION: Duration = Duration::from_secs(24 * 60 * 60);

/// What one lane's reader is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LaneReading {
    /// It waits for the progress of another lane, which holds the parents of all that it could read.
    WaitingForLane(usize),
    /// No page of it gets room in the memory budget: what was read before takes all of it, and is not in the sink.
    WaitingForMemory {
        /// For so many seconds.
        seconds: u64,
    },
    /// A gap that stops the pipeline was found, and nothing is read any more. The pipeline ends when the gap is on record.
    Stopping,
    /// There is something to read, as far as anybody knows.
    Reading,
    /// The last pages of all shards were empty, or there are none.
    Idle,
    /// A shard is not answered, or the question which there are, or nothing shows what follows one that has ended: what lasts
    /// longest of that.
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
    /// What every lane has stored is known. Until then nobody knows which shard is furthest behind.
    pub is_whole: bool,
    /// The shard that is furthest behind, of those with something to read, as far as is known.
    pub furthest_unread: Option<ReadFront>,
    /// The shard that is furthest behind of all. A shard whose pages are empty moves on with some delay.
    pub furthest_behind: Option<ReadFront>,
    /// The lanes by number.
    pub lanes: Vec<LaneReading>,
}

impl SourceStatus {
    /// The age of the oldest change that may not be in the sink: none, where nothing is known to be unread. Nothing while nobody
    /// knows.
    pub fn lag(&self) -> Option<Duration> {
        let now = self.now.filter(|_| self.is_whole)?;
        match &self.furthest_unread {
            Some(front) => Some(now.since(front.read_until?)),
            None => Some(Duration::ZERO),
        }
    }

    /// The time that is left until something unread may be trimmed. Nothing while nobody knows.
    pub fn headroom(&self) -> Option<Duration> {
        let now = self.now.filter(|_| self.is_whole)?;
        let behind = now.since(self.furthest_behind.as_ref()?.read_until?);
        Some(RETENTION.saturating_sub(behind))
    }
}

/// What a lane tells of itself.
#[derive(Clone, Debug, Default)]
pub(super) struct LaneNotes {
    /// Its last page had records.
    is_reading: bool,
    /// By shard that is not answered: when the run of failures began, and the last of them.
    troubles: BTreeMap<ShardId, (Instant, String)>,
    /// Since when pages wait for room in the memory budget, and none got it.
    without_room: Option<Instant>,
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

    /// A page waits for room in the memory budget.
    pub fn waits_for_room(&mut self) {
        self.without_room.get_or_insert_with(Instant::now);
    }

    /// A page that waited has got room.
    pub fn has_room(&mut self) {
        self.without_room = None;
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
        let (mut status, lanes) = shared.graph(|graph| {
            let of_lane = |lane| OfGraph {
                waits_for: graph.waits_for_lane(lane),
                has_unread: graph.has_unread(lane, &in_trouble),
                overdue: graph.overdue_in(lane),
                stops: graph.stops(lane),
            };
            let lanes: Vec<OfGraph> = (0..notes.len()).map(of_lane).collect();
            let status = SourceStatus {
                now: None,
                begun: graph.begun(),
                is_whole: graph.all_opened(),
                furthest_unread: graph.furthest_unread(&in_trouble),
                furthest_behind: graph.furthest_behind(),
                lanes: Vec::new(),
            };
            (status, lanes)
        });
        status.now = shared.now();
        let listing = super::lock(&shared.listing_trouble).clone();
        let now = status.now;
        let lanes = notes.into_iter().zip(lanes).map(|(notes, lane)| reading(notes, lane, listing.as_ref(), now));
        status.lanes = lanes.collect();
        status
    }
}

/// What the graph knows of a lane.
struct OfGraph {
    waits_for: Option<usize>,
    has_unread: bool,
    overdue: Option<(ServiceTime, ShardId)>,
    stops: bool,
}

fn reading(
    notes: LaneNotes,
    lane: OfGraph,
    listing: Option<&(Instant, String)>,
    now: Option<ServiceTime>,
) -> LaneReading {
    if lane.stops {
        return LaneReading::Stopping;
    }
    // What a lane does not know of it cannot read. One that has something to read goes on.
    let listing = listing.filter(|_| !notes.is_reading).cloned();
    let troubles = notes.troubles.into_values().chain(listing).map(|(since, why)| (since.elapsed(), why));
    let troubles = troubles.filter(|(lasts, _)| *lasts >= TROUBLE_AFTER);
    let overdue = lane.overdue.map(|(ended, shard)| {
        let lasts = now.map_or(Duration::ZERO, |now| now.since(ended));
        (lasts, format!("shard {shard} has ended, and no listing shows what follows it"))
    });
    if let Some((lasts, why)) = troubles.chain(overdue).max_by_key(|(lasts, _)| *lasts) {
        return LaneReading::Trouble { seconds: lasts.as_secs(), why };
    }
    let without_room = notes.without_room.map(|since| since.elapsed());
    if let Some(lasts) = without_room.filter(|lasts| *lasts >= TROUBLE_AFTER) {
        return LaneReading::WaitingForMemory { seconds: lasts.as_secs() };
    }
    match lane.waits_for {
        _ if notes.is_reading => LaneReading::Reading,
        Some(lane) => LaneReading::WaitingForLane(lane),
        None if lane.has_unread => LaneReading::Reading,
        None => LaneReading::Idle,
    }
}
