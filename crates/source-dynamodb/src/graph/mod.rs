//! The shard graph: which shards may be read, from where, what must be registered, and what has been lost.
//!
//! Pure: no I/O, no clock, no async. Listings, pages read and commits go in; the answers come out. A shard goes through
//! the stages unregistered, blocked, readable, exhausted (its end was read), drained (its end is durable).
//!
//! A parent is registered before its child, durably. So a stored shard whose parent is not stored is one whose parent
//! was gone when it was found, and a restart may read it without asking anybody.

mod gaps;
mod listing;
mod shard;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod world;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tailwater_model::{Advance, Position, Progress, SequenceNumber, ShardId, Step};

use crate::api::IteratorStart;
use crate::settings::{OnGap, StartAt};

use gaps::StreamGap;
pub(crate) use gaps::{ABSENCE_MAX, GraphStep, TrimmedMeans};
use shard::Shard;

/// The state of all shards of one stream in one process.
pub(crate) struct ShardGraph {
    start: StartAt,
    on_gap: OnGap,
    shards: BTreeMap<ShardId, Shard>,
    /// Known children by parent, whether the parent is known or not.
    children: BTreeMap<ShardId, BTreeSet<ShardId>>,
    lanes: Vec<Lane>,
    /// All shards of a first complete listing are stored: unknown parents and new roots are gaps from now on.
    known: bool,
    /// When a listing first said that the stream was turned off: nothing is added from then on.
    disabled_at: Option<Duration>,
    listings: Listings,
    /// Unregistered shards of which it is not clear yet whether their parent is gone.
    unplaced: BTreeSet<ShardId>,
    undrained: BTreeSet<ShardId>,
    /// Undrained shards that are not known to be at the tip.
    busy: BTreeSet<ShardId>,
    /// Drained shards without a known child.
    leaves: BTreeMap<ShardId, Leaf>,
    children_needed: BTreeSet<ShardId>,
    stream_gaps: Vec<StreamGap>,
    /// The newest listing begun when a shard was last drained.
    drained_at_listing: u64,
    changes: u64,
}

/// What waits for one lane.
#[derive(Default)]
struct Lane {
    opened: bool,
    steps_due: BTreeSet<ShardId>,
    woken: BTreeSet<ShardId>,
}

/// The history of listings. Listings are numbered from one as they begin.
#[derive(Default)]
struct Listings {
    begun: u64,
    /// When the newest one began.
    begun_at: Duration,
    complete: u64,
    complete_newest: u64,
    /// When that one began.
    complete_newest_at: Duration,
    /// Shards of the first complete listing that are not stored yet.
    bootstrap: BTreeSet<ShardId>,
}

/// A drained shard that may still get children.
struct Leaf {
    drained_at_listing: u64,
    /// When the newest listing before its drain began.
    since: Duration,
    /// Complete listings begun after its drain that showed no child.
    listings_without_child: u32,
}

impl ShardGraph {
    /// A graph that knows nothing. Nothing may be read or registered before each lane was restored once: a parent may
    /// be in any lane.
    pub fn new(lanes: u32, start: StartAt, on_gap: OnGap) -> Self {
        Self {
            start,
            on_gap,
            shards: BTreeMap::new(),
            children: BTreeMap::new(),
            lanes: (0..lanes.max(1)).map(|_| Lane::default()).collect(),
            known: false,
            disabled_at: None,
            listings: Listings::default(),
            unplaced: BTreeSet::new(),
            undrained: BTreeSet::new(),
            busy: BTreeSet::new(),
            leaves: BTreeMap::new(),
            children_needed: BTreeSet::new(),
            stream_gaps: Vec::new(),
            drained_at_listing: 0,
            changes: 0,
        }
    }

    /// Sets the shards of one lane to what is stored. Everything read but not durable is forgotten (I7); the other lanes
    /// go on.
    pub fn restore(&mut self, lane: usize, progress: &Progress) {
        let first = !self.lanes[lane].opened;
        self.lanes[lane] = Lane { opened: true, ..Lane::default() };
        self.known |= progress.stream_known;
        let mut touched: BTreeSet<ShardId> =
            self.shards.iter().filter(|(_, shard)| shard.lane == lane).map(|(id, _)| id.clone()).collect();
        for id in &touched {
            if let Some(shard) = self.shards.get_mut(id) {
                shard.forget();
            }
        }
        for row in &progress.shards {
            if !self.shards.contains_key(&row.shard) {
                self.insert(row.shard.clone(), row.parent.clone());
            }
            if let Some(shard) = self.shards.get_mut(&row.shard) {
                shard.restore(&row.position);
            }
            touched.insert(row.shard.clone());
        }
        let gaps_before = self.stream_gaps.len();
        self.stream_gaps_restored(lane, first, progress);
        if first || self.stream_gaps.len() > gaps_before {
            // Opening the last lane, or learning of a gap of the whole stream, changes every answer.
            self.refresh_all();
        } else {
            touched.iter().for_each(|id| self.refresh_family(id));
        }
        self.settle_bootstrap();
        self.changes += 1;
    }

    /// Shards of this lane that became readable since the last call. What is no longer readable when its turn comes,
    /// [`Self::read_from`] refuses.
    pub fn take_readable(&mut self, lane: usize) -> Vec<ShardId> {
        std::mem::take(&mut self.lanes[lane].woken).into_iter().collect()
    }

    /// Where to read this shard, or nothing while it must not be read (I3).
    pub fn read_from(&self, id: &ShardId) -> Option<IteratorStart> {
        self.shards.get(id).filter(|shard| shard.readable)?.read_from()
    }

    /// When this shard was last heard of. From its trim horizon it may be read only soon after: later the horizon may have
    /// passed records that nobody read, and no answer of the service would tell.
    pub fn heard_at(&self, id: &ShardId) -> Duration {
        self.shards.get(id).map_or(Duration::ZERO, |shard| shard.heard_at)
    }

    /// This shard was asked for at this time, and answered.
    pub fn heard(&mut self, id: &ShardId, at: Duration) {
        if let Some(shard) = self.shards.get_mut(id) {
            shard.heard_at = at;
        }
    }

    /// An iterator for `start` was issued. `LATEST` is used once: whatever comes later goes on from the position.
    pub fn iterator_issued(&mut self, id: &ShardId, start: &IteratorStart) {
        if *start == IteratorStart::Latest
            && let Some(shard) = self.shards.get_mut(id)
        {
            shard.from_latest = false;
        }
    }

    /// A page was read up to `last` and perhaps to the end of the shard. Answers the step that it stands for; nothing
    /// when there is none, or when the shard must not be read any more and the page has to be forgotten.
    pub fn page_read(&mut self, id: &ShardId, last: Option<&SequenceNumber>, end: bool) -> Option<Advance> {
        let shard = self.shards.get_mut(id).filter(|shard| shard.readable)?;
        shard.polled = true;
        let to = match last {
            _ if end => Position::End,
            Some(number) => Position::After(number.detached()),
            None => return None,
        };
        shard.from_horizon = false;
        let advance = shard.advance(to, None);
        self.refresh(id);
        Some(advance)
    }

    /// A step is durable. The steps of a shard come in the order in which they were handed out.
    pub fn committed(&mut self, id: &ShardId, step: &Step) {
        let on_gap = self.on_gap;
        let Some(shard) = self.shards.get_mut(id) else { return };
        let pending = shard.pending.pop_front();
        debug_assert_eq!(pending.as_ref().map(|pending| &pending.step), Some(step), "steps of {id} out of order");
        shard.registering = false;
        shard.durable = Some(match step {
            Step::Register { position, .. } => position.clone(),
            Step::Advance(advance) => advance.to.clone(),
        });
        if shard.drained() {
            self.drained_at_listing = self.listings.begun;
        }
        // After a stop the gap stays, and with it the stop: nothing goes on in the moment before the pipeline halts.
        if on_gap == OnGap::Continue
            && let Some(cause) = pending.and_then(|pending| pending.stream_gap)
        {
            self.stream_gaps.retain(|gap| gap.cause != cause);
        }
        self.refresh_family(id);
        self.settle_bootstrap();
    }

    /// Whether the pages of this shard have been empty for a while.
    pub fn set_quiet(&mut self, id: &ShardId, quiet: bool) {
        if let Some(shard) = self.shards.get_mut(id)
            && shard.quiet != quiet
        {
            shard.quiet = quiet;
            self.refresh(id);
            self.changes += 1;
        }
    }

    /// Counts up whenever somebody may have something new to do.
    pub fn changes(&self) -> u64 {
        self.changes
    }

    /// All lanes were restored at least once.
    pub fn all_opened(&self) -> bool {
        self.lanes.iter().all(|lane| lane.opened)
    }

    /// The number of complete listings that a proof of contact may stand for; nothing before all shards of the first one
    /// are stored, and while a gap of the whole stream is not: contact would hide it from the next start.
    pub fn contact_listing(&self) -> Option<u64> {
        (self.known && self.stream_gaps.is_empty()).then_some(self.listings.complete)
    }

    /// Complete listings so far.
    pub fn complete_listings(&self) -> u64 {
        self.listings.complete
    }

    /// Every shard is drained or at the tip, and nothing is expected to follow.
    pub fn at_tip(&self) -> bool {
        self.known && self.busy.is_empty() && self.settled()
    }

    /// The stream was turned off, long enough ago for its last shards to be listed, and every shard is drained.
    pub fn ended(&self) -> bool {
        let since_disabled = self.disabled_at.map(|at| self.listings.complete_newest_at.saturating_sub(at));
        since_disabled.is_some_and(|since| since >= listing::LATE_MAX) && self.all_drained() && self.settled()
    }

    /// Every known shard is drained.
    pub fn all_drained(&self) -> bool {
        !self.shards.is_empty() && self.undrained.is_empty()
    }

    /// Nothing is due, and the listings since the last drain showed no child of a drained leaf.
    fn settled(&self) -> bool {
        self.lanes.iter().all(|lane| lane.opened && lane.steps_due.is_empty())
            && self.listings.complete_newest > self.drained_at_listing
            && !self.stream_gaps.iter().any(|gap| gap.carrier.is_none())
            && self.leaves.values().all(|leaf| leaf.settled())
    }

    fn insert(&mut self, id: ShardId, parent: Option<ShardId>) {
        let lane = id.lane(u32::try_from(self.lanes.len()).unwrap_or(u32::MAX)) as usize;
        if let Some(parent) = &parent {
            self.children.entry(parent.clone()).or_default().insert(id.clone());
        }
        // It began when its parent ended: a process that stood still between the two finds it long after.
        let ended =
            parent.as_ref().and_then(|parent| self.shards.get(parent)).filter(|parent| parent.read == Position::End);
        let heard_at = ended.map_or(self.listings.begun_at, |parent| parent.heard_at);
        let mut shard = Shard::new(parent, lane);
        shard.seen_at_listing = self.listings.begun;
        shard.heard_at = heard_at;
        shard.seen_before_known = !self.known;
        self.shards.insert(id, shard);
    }

    fn has_children(&self, id: &ShardId) -> bool {
        self.children.get(id).is_some_and(|children| !children.is_empty())
    }

    /// The parent is stored, or will be in this lane's earlier step; or there is none that was ever ours.
    fn may_register(&self, shard: &Shard) -> bool {
        // LATEST is decided from the first complete listing.
        let planned = self.start == StartAt::TrimHorizon || self.known || self.listings.complete > 0;
        let parent = shard.parent.as_ref().and_then(|parent| self.shards.get(parent));
        let placed = match parent {
            Some(parent) => parent.durable.is_some() || (parent.registering && parent.lane == shard.lane),
            None => shard.root,
        };
        planned && placed && shard.durable.is_none() && !shard.registering && !shard.stopped
    }

    /// Registered, not read to the end, and its parent drained or never ours (I3).
    fn may_read(&self, shard: &Shard) -> bool {
        // Waiting for the durable end, not for the read one, costs one commit per rotation. It lets another lane, or
        // another machine, carry the child.
        let parent = shard.parent.as_ref().and_then(|parent| self.shards.get(parent));
        shard.durable.is_some()
            && shard.read != Position::End
            && !shard.stopped
            && !self.frozen()
            && self.all_opened()
            && parent.is_none_or(Shard::drained)
    }

    /// Brings everything that is derived from one shard up to date.
    fn refresh(&mut self, id: &ShardId) {
        let Some(shard) = self.shards.get(id) else { return };
        let readable = self.may_read(shard);
        let step_due = self.all_opened() && !self.frozen() && (self.may_register(shard) || self.gap_due(shard));
        let drained = shard.drained();
        let at_its_tip = shard.quiet && readable && shard.pending.is_empty();
        let busy = !drained && !at_its_tip;
        let childless_end = shard.exhausted() && !self.has_children(id);
        let unplaced = shard.durable.is_none() && !shard.registering && !shard.root && !shard.stopped;
        let unplaced = unplaced && shard.parent.as_ref().is_none_or(|parent| !self.shards.contains_key(parent));
        let ask_children = childless_end && !shard.children_asked;

        let lane = &mut self.lanes[shard.lane];
        if readable && !shard.readable {
            lane.woken.insert(id.clone());
            self.changes += 1;
        } else if !readable {
            lane.woken.remove(id);
        }
        if place(&mut lane.steps_due, id, step_due) && step_due {
            self.changes += 1;
        }
        place(&mut self.unplaced, id, unplaced);
        if place(&mut self.undrained, id, !drained) | place(&mut self.busy, id, busy) {
            self.changes += 1;
        }
        if drained && childless_end {
            let drained_at_listing = self.listings.begun;
            let leaf = Leaf { drained_at_listing, since: self.listings.begun_at, listings_without_child: 0 };
            self.leaves.entry(id.clone()).or_insert(leaf);
        } else {
            self.leaves.remove(id);
        }
        if place(&mut self.children_needed, id, ask_children) && ask_children {
            self.changes += 1;
        }
        if let Some(shard) = self.shards.get_mut(id) {
            shard.readable = readable;
        }
    }

    /// The shard and its children: what is stored of a parent decides about them.
    fn refresh_family(&mut self, id: &ShardId) {
        self.refresh(id);
        let children: Vec<ShardId> = self.children.get(id).into_iter().flatten().cloned().collect();
        children.iter().for_each(|child| self.refresh(child));
    }

    fn refresh_all(&mut self) {
        let all: Vec<ShardId> = self.shards.keys().cloned().collect();
        all.iter().for_each(|id| self.refresh(id));
    }
}

impl Leaf {
    fn settled(&self) -> bool {
        self.listings_without_child >= 2
    }
}

/// Puts `id` in or out of the set; answers whether that changed it.
fn place(set: &mut BTreeSet<ShardId>, id: &ShardId, inside: bool) -> bool {
    if inside { set.insert(id.clone()) } else { set.remove(id) }
}
