//! The shard graph: which shards may be read, from where, what must be registered, how far in time the stream was read,
//! and what has been lost.
//!
//! Pure: no I/O, no clock, no async. Listings, pages read and commits go in, each with the moment that the service told;
//! the answers come out. A shard goes through the stages unregistered, blocked, readable, exhausted (its end was read),
//! drained (its end is durable), and is forgotten when the service has forgotten it.
//!
//! A parent is registered before its child, durably. So a stored shard whose parent is not stored is one whose parent
//! was gone when it was found, or was forgotten, and a restart may read it without asking anybody.

mod first_listing;
mod forgotten;
mod future;
mod gaps;
mod hidden;
mod late_parents;
mod latest;
mod listing;
mod missing;
mod pages;
mod placing;
mod read_until;
mod shard;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod world;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tailwater_model::{FirstListing, Position, PreviousStream, Progress, ServiceTime, ShardId, ShardProgress, Step};

use crate::settings::{OnGap, StartAt, VISIBLE_WITHIN};

use forgotten::Forgotten;
use gaps::StreamGap;
pub(crate) use gaps::{GraphStep, TrimmedMeans};
use listing::{Absence, Listings};
use missing::MissingParent;
pub(crate) use pages::{PageFacts, PageMeans};
pub use read_until::ReadFront;
use shard::{Origin, Shard, Stage};

/// The state of all shards of one stream in one process.
pub(crate) struct ShardGraph {
    start: StartAt,
    on_gap: OnGap,
    /// The run ends at the tip: it has to know all children of what ended.
    is_bounded: bool,
    /// Records can be read this long after their write at the latest.
    visible_within: Duration,
    shards: BTreeMap<ShardId, Shard>,
    /// Known children by parent, whether the parent is known or not.
    children: BTreeMap<ShardId, BTreeSet<ShardId>>,
    lanes: Vec<Lane>,
    /// The first complete listing, by this process or an earlier one.
    first_listing: Option<FirstListing>,
    /// An earlier process stored that the stream is known.
    was_known: bool,
    /// What the sink holds of it.
    first_listing_durable: Option<FirstListing>,
    /// The pipeline read another stream before this one: everything in this one is wanted.
    follows_another: bool,
    /// The stream is read from `LATEST`, chosen at this moment by this process.
    latest_since: Option<ServiceTime>,
    /// Shards that wait for an iterator of `LATEST`.
    latest_wanted: BTreeSet<ShardId>,
    /// When the stream was first heard of in this process.
    begun: Option<ServiceTime>,
    /// The newest moment that the service told.
    now: ServiceTime,
    /// Stored moments came that no answer was held against.
    is_restored_unchecked: bool,
    /// A position was said to be trimmed, by an answer without a date, and none with one came since.
    is_loss_undated: bool,
    /// When the stream was turned on, as the service says.
    created_at: Option<ServiceTime>,
    /// When listings began to say that the stream was turned off: nothing is added from then on.
    disabled_at: Option<ServiceTime>,
    /// The stream was said not to exist any more, and a gap was made of it.
    is_gone: bool,
    listings: Listings,
    /// Parents of unregistered shards that are not in the graph, with the answers that said that they exist.
    missing_parents: BTreeMap<ShardId, MissingParent>,
    /// Something happened since shards in doubt were asked for: looking for them takes a look at every shard.
    doubts_due: bool,
    /// Shards that a lineage stands at, by how far in time they are durable.
    fronts: BTreeSet<(Option<ServiceTime>, ShardId)>,
    front_of: BTreeMap<ShardId, Option<ServiceTime>>,
    /// Ended shards that may have children which are not listed yet.
    awaiting_children: BTreeSet<ShardId>,
    /// Shards that are closed, or not listed any more, and neither drained nor parents: what comes without its parent may
    /// come from them.
    possible_ancestors: BTreeSet<ShardId>,
    /// Shards that may not exist any more; perhaps some that were seen again.
    suspects: BTreeSet<ShardId>,
    /// Unregistered shards whose parents are gone: they wait for those that may be their ancestors.
    cut_off: BTreeSet<ShardId>,
    children_needed: BTreeSet<ShardId>,
    children_asked: BTreeSet<ShardId>,
    stream_gaps: Vec<StreamGap>,
    /// Of all so far: gaps of the whole stream are numbered.
    stream_gaps_found: u64,
    forgotten: Forgotten,
    changes: u64,
}

/// What waits for one lane.
#[derive(Default)]
struct Lane {
    /// What it has stored is known.
    opened: bool,
    /// Nobody reads its shards at the moment.
    closed: bool,
    steps_due: BTreeSet<ShardId>,
    woken: BTreeSet<ShardId>,
}

impl ShardGraph {
    /// A graph that knows nothing. What a lane has stored is unknown before it was restored once: shards whose parents are
    /// there wait for it.
    pub fn new(lanes: u32, start: StartAt, on_gap: OnGap, is_bounded: bool) -> Self {
        Self {
            start,
            on_gap,
            is_bounded,
            visible_within: VISIBLE_WITHIN,
            shards: BTreeMap::new(),
            children: BTreeMap::new(),
            lanes: (0..lanes.max(1)).map(|_| Lane::default()).collect(),
            first_listing: None,
            was_known: false,
            first_listing_durable: None,
            follows_another: false,
            latest_since: None,
            latest_wanted: BTreeSet::new(),
            begun: None,
            now: ServiceTime::EPOCH,
            is_restored_unchecked: false,
            is_loss_undated: false,
            created_at: None,
            disabled_at: None,
            is_gone: false,
            listings: Listings::default(),
            missing_parents: BTreeMap::new(),
            doubts_due: false,
            fronts: BTreeSet::new(),
            front_of: BTreeMap::new(),
            awaiting_children: BTreeSet::new(),
            possible_ancestors: BTreeSet::new(),
            suspects: BTreeSet::new(),
            cut_off: BTreeSet::new(),
            children_needed: BTreeSet::new(),
            children_asked: BTreeSet::new(),
            stream_gaps: Vec::new(),
            stream_gaps_found: 0,
            forgotten: Forgotten::default(),
            changes: 0,
        }
    }

    /// Takes another time than [`VISIBLE_WITHIN`].
    pub fn visible_within(mut self, visible_within: Duration) -> Self {
        self.visible_within = visible_within;
        self
    }

    /// Sets the shards of one lane to what is stored, behind the stream that was read before, if there was one. Everything read
    /// but not durable is forgotten (I7); the other lanes go on.
    pub fn restore(&mut self, lane: usize, progress: &Progress, previous: Option<&PreviousStream>) {
        let is_first = !self.lanes[lane].opened;
        self.lanes[lane] = Lane { opened: true, ..Lane::default() };
        let durable_before = self.first_listing_durable;
        if lane == 0 || progress.known_since().is_some() {
            self.first_listing_durable = progress.first_listing;
        }
        self.take_first_listing(progress);
        let stored: BTreeMap<&ShardId, &ShardProgress> = progress.shards.iter().map(|row| (&row.shard, row)).collect();
        for row in stored.values().filter(|row| !self.shards.contains_key(&row.shard)).copied().collect::<Vec<_>>() {
            self.insert(row.shard.clone(), row.parent.clone(), self.now);
            self.place_children(&row.shard);
        }
        let mine: Vec<ShardId> =
            self.shards.iter().filter(|(_, shard)| shard.lane == lane).map(|(id, _)| id.clone()).collect();
        for id in &mine {
            self.children_asked.remove(id);
            let row = stored.get(id).map(|row| (&row.position, row.read_until));
            if row.is_none() && self.shards.get(id).is_some_and(Shard::may_be_forgotten) {
                self.remove_forgotten(id);
            }
            if let Some(shard) = self.shards.get_mut(id) {
                shard.restore(row);
            }
        }
        self.restore_stream_gaps(lane, previous);
        self.is_restored_unchecked = true;
        self.doubts_due = true;
        self.choose_first_listing();
        if is_first {
            // A parent in another lane may have waited for what is known of its children.
            let parents: Vec<ShardId> = mine.iter().filter_map(|id| self.shards.get(id)?.parent.clone()).collect();
            mine.iter().chain(&parents).for_each(|id| self.place(id));
            self.place_orphans();
        }
        if is_first || !self.stream_gaps.is_empty() || self.first_listing_durable != durable_before {
            // Children in other lanes waited for this one, and all registrations for the first listing.
            self.settle_all();
        } else {
            mine.iter().for_each(|id| self.settle_family(id));
        }
        self.settle_bootstrap();
        self.changes += 1;
    }

    /// Shards of this lane that became readable since the last call. What is no longer readable when its turn comes,
    /// [`Self::read_from`] refuses.
    pub fn take_readable(&mut self, lane: usize) -> Vec<ShardId> {
        std::mem::take(&mut self.lanes[lane].woken).into_iter().collect()
    }

    /// A step is durable. The steps of a shard come in the order in which they were handed out.
    pub fn committed(&mut self, id: &ShardId, step: &Step) {
        let Some(shard) = self.shards.get_mut(id) else { return };
        let pending = shard.committed(step);
        if *step == Step::Forget {
            self.remove_forgotten(id);
            return;
        }
        // After a stop the gap stays, and with it the stop: nothing goes on in the moment before the pipeline halts.
        if self.on_gap == OnGap::Continue
            && let Some(number) = pending.and_then(|pending| pending.stream_gap)
        {
            self.stream_gaps.retain(|gap| gap.number != number);
        }
        self.settle_family(id);
        self.settle_bootstrap();
    }

    /// Counts up whenever somebody may have something new to do.
    pub fn changes(&self) -> u64 {
        self.changes
    }

    /// The stream is known, or the first lane was restored: it holds what is known of the stream as a whole. Whether a pipeline
    /// has no progress at all, so that `LATEST` is chosen, only all lanes tell.
    pub fn may_list(&self) -> bool {
        let is_fresh_enough = self.start != StartAt::Latest || self.all_opened();
        self.is_known() || (self.lanes[0].opened && is_fresh_enough)
    }

    /// A lane that this one waits for with all that it has, because it was not restored yet.
    pub fn waits_for_lane(&self, lane: usize) -> Option<usize> {
        let is_closed = |other: &usize| !self.lanes[*other].opened;
        if !self.may_list() || !self.knows_first_listing() {
            return (0..self.lanes.len()).find(is_closed);
        }
        let may_wait = |shard: &Shard| matches!(shard.stage, Stage::Unregistered | Stage::Blocked(_));
        let mut waits = self.shards.iter().filter(|(_, shard)| shard.lane == lane && may_wait(shard));
        waits.find_map(|(id, shard)| self.lane_waited_for(id, shard))
    }

    /// The stream was turned off, long enough ago for its last shards to be listed, and every shard is drained.
    pub fn ended(&self) -> bool {
        self.all_opened() && self.is_disabled_for_long() && self.all_drained() && self.stream_gaps.is_empty()
    }

    /// What every lane has stored is known.
    pub fn all_opened(&self) -> bool {
        self.lanes.iter().all(|lane| lane.opened)
    }

    /// Every known shard is drained.
    pub fn all_drained(&self) -> bool {
        self.shards.values().all(Shard::is_drained)
    }

    /// The stream is off, and no shard can be listed late any more, or was left out.
    pub(super) fn is_disabled_for_long(&self) -> bool {
        self.listings.late_since_off >= read_until::LISTINGS_WITH_CHILDREN
    }

    fn lane_number(&self, id: &ShardId) -> usize {
        id.lane(u32::try_from(self.lanes.len()).unwrap_or(u32::MAX)) as usize
    }

    fn parent_of(&self, shard: &Shard) -> Option<&Shard> {
        shard.parent.as_ref().and_then(|parent| self.shards.get(parent))
    }

    /// Whether a child of this shard is known.
    pub fn has_children(&self, id: &ShardId) -> bool {
        self.children.get(id).is_some_and(|children| !children.is_empty())
    }

    /// What the parent's lane has stored is known, or there is no parent.
    fn knows_parent(&self, shard: &Shard) -> bool {
        shard.parent.as_ref().is_none_or(|parent| self.lanes[self.lane_number(parent)].opened)
    }

    /// The parent is stored, or will be in this lane's earlier step; or there is none that was ever ours.
    fn may_register(&self, id: &ShardId, shard: &Shard) -> bool {
        // Asked for every page: of most shards there is no more to look at.
        if !shard.is_unregistered() {
            return false;
        }
        let is_placed = match (shard.origin, self.parent_of(shard)) {
            (Origin::Unplaced | Origin::Latest, _) => false,
            (_, Some(parent)) => parent.is_stored() || (parent.chain().is_some() && parent.lane == shard.lane),
            (origin, None) => origin != Origin::Child,
        };
        let is_open = self.lanes[shard.lane].opened && self.knows_parent(shard);
        let is_after_all = !self.may_have_been_passed(id, shard) && !self.may_descend(id, shard);
        self.is_first_listing_durable() && is_placed && is_open && is_after_all
    }

    /// Its parent is drained or was never ours (I3).
    fn is_unblocked(&self, shard: &Shard) -> bool {
        // Waiting for the durable end, not for the read one, costs one commit per rotation. It lets another lane, or
        // another machine, carry the child. Who was read before needs nobody's word: its parent was drained then.
        let has_begun = matches!(shard.chain().and_then(|chain| chain.durable.as_ref()), Some(Position::After(_)));
        has_begun || (self.knows_parent(shard) && self.parent_of(shard).is_none_or(Shard::is_drained))
    }

    /// Moves a shard to the stage that its surroundings allow, and brings what is derived from it up to date.
    fn settle(&mut self, id: &ShardId) {
        let Some(shard) = self.shards.get(id) else { return };
        if matches!(&shard.stage, Stage::Blocked(chain) if chain.durable.is_some()) && self.is_unblocked(shard) {
            self.inherit(id);
            if let Some(shard) = self.shards.get_mut(id) {
                shard.unblock();
                self.lanes[shard.lane].woken.insert(id.clone());
                self.changes += 1;
            }
        }
        let Some(shard) = self.shards.get(id) else { return };
        let is_step_due = self.is_step_due(id, shard);
        let awaits_children = self.awaits_children(id, shard);
        let is_asked = self.children_asked.contains(id);
        let needs_children = awaits_children && !self.has_children(id) && !is_asked;
        let is_readable = matches!(shard.stage, Stage::Readable(..));
        let is_cut_off = shard.is_cut_off();
        let wants_latest = shard.is_unregistered() && shard.origin == Origin::Latest;
        let is_over = shard.is_closed() || shard.absence.is_noticed();
        // Two children are all that a shard has; one of them may be gone before its parent.
        let has_all_children = self.children.get(id).is_some_and(|children| children.len() >= 2);
        let may_be_ancestor = is_over && !shard.is_drained() && !has_all_children;
        let lane = &mut self.lanes[shard.lane];
        if !is_readable {
            lane.woken.remove(id);
        }
        if place(&mut lane.steps_due, id, is_step_due) && is_step_due {
            self.changes += 1;
        }
        place(&mut self.awaiting_children, id, awaits_children);
        place(&mut self.cut_off, id, is_cut_off);
        if wants_latest || !self.latest_wanted.is_empty() {
            place(&mut self.latest_wanted, id, wants_latest);
        }
        let was_ancestor = self.possible_ancestors.contains(id);
        place(&mut self.possible_ancestors, id, may_be_ancestor);
        if place(&mut self.children_needed, id, needs_children) && needs_children {
            self.changes += 1;
        }
        self.place_front(id);
        if was_ancestor && !may_be_ancestor {
            let waiting: Vec<ShardId> = self.cut_off.iter().cloned().collect();
            waiting.iter().for_each(|id| self.settle(id));
        }
    }

    /// The shard and its children: what is stored of a parent decides about them.
    fn settle_family(&mut self, id: &ShardId) {
        self.settle(id);
        let children: Vec<ShardId> = self.children.get(id).into_iter().flatten().cloned().collect();
        children.iter().for_each(|child| self.settle(child));
        let parent = self.shards.get(id).and_then(|shard| shard.parent.clone());
        parent.iter().for_each(|parent| self.settle(parent));
    }

    fn settle_all(&mut self) {
        let all: Vec<ShardId> = self.shards.keys().cloned().collect();
        all.iter().for_each(|id| self.settle(id));
    }
}

/// Puts `id` in or out of the set; answers whether that changed it.
fn place(set: &mut BTreeSet<ShardId>, id: &ShardId, inside: bool) -> bool {
    if inside { set.insert(id.clone()) } else { set.remove(id) }
}
