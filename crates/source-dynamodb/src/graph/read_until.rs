//! How far in time shards, lineages and the stream were read: the one clock of lag, of the tip, and of gap rule 5.
//!
//! A page with records says so by the creation time of its last one: whatever was created before that has been handed
//! out. An empty page says nothing: the service may answer several of them although there is something to read. A run of
//! them does.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use tailwater_model::{ServiceTime, ShardId};

use super::ShardGraph;
use super::listing::LATE_MAX;
use super::shard::{ReadFrom, Reading, Shard, Stage};
use crate::api::When;

/// Empty pages in a row that say that there was nothing to read. DynamoDB documents that it may take multiple calls; up to
/// fifty empty pages before a record were observed.
pub(crate) const EMPTY_PAGES_PROVE: usize = 51;
/// Longest time that a shard may be unread without suspicion. The stream keeps records for 24 hours.
pub(crate) const UNREAD_MAX: Duration = Duration::from_secs(23 * 60 * 60);
/// A first start promises records that are no older than this; older ones are carried as far as they are still there.
pub(super) const PROMISED: Duration = Duration::from_secs(22 * 60 * 60);
/// The time that is left for reading them.
pub(super) const READ_WITHIN: Duration = UNREAD_MAX.saturating_sub(PROMISED);
/// The children of a closed shard are listed after this time. A minute was observed at most.
pub(super) const CHILDREN_LISTED_WITHIN: Duration = Duration::from_secs(65);
/// The stored moment of a shard may be this much older than what is known: so often an idle shard writes to the sink.
const STORED_EVERY: Duration = Duration::from_secs(10 * 60);

/// An empty page says for so long that its shard is idle: longer than the longest wait between two pages.
const IDLE_FOR: Duration = Duration::from_secs(10 * 60);

/// Complete listings that must have had all children of a shard: one alone may leave a shard out.
pub(super) const LISTINGS_WITH_CHILDREN: u32 = 3;

/// When the last empty pages were asked for since the last record of a shard. Whoever reads on after hours knows by
/// [`EMPTY_PAGES_PROVE`] pages again how things stand, whatever came before.
#[derive(Clone, Debug, Default)]
pub(super) struct EmptyRun {
    asked: VecDeque<ServiceTime>,
    /// The last one since its lane was opened.
    newest: Option<ServiceTime>,
}

impl EmptyRun {
    /// Adds an empty page. Answers when the first of as many pages was asked for as prove that there was nothing to read.
    pub fn add(&mut self, when: When) -> Option<ServiceTime> {
        self.asked.push_back(when.asked);
        self.newest = Some(when.asked);
        if self.asked.len() < EMPTY_PAGES_PROVE {
            return None;
        }
        self.asked.pop_front()
    }

    /// The same behind an opening of its lane: nobody knows yet what came meanwhile.
    pub fn kept(self) -> Self {
        Self { newest: None, ..self }
    }
}

/// What one lineage is known to be read to, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadFront {
    /// The shard that is furthest behind.
    pub shard: ShardId,
    /// Everything that was written to it before this moment is in the sink. Nothing while nobody knows.
    pub read_until: Option<ServiceTime>,
}

impl ShardGraph {
    /// The shard that is furthest behind, of all that have something to be read or may get it.
    pub fn furthest_behind(&self) -> Option<ReadFront> {
        let (read_until, shard) = self.fronts.first()?;
        Some(ReadFront { shard: shard.clone(), read_until: *read_until })
    }

    /// The same without the shards whose last page was empty a moment ago: they are not behind, as far as anybody knows. Those
    /// in trouble may be. What is drained has nothing left, unless nobody shows what comes after it.
    pub fn furthest_unread(&self, in_trouble: &BTreeSet<ShardId>) -> Option<ReadFront> {
        let (read_until, shard) = self.fronts.iter().find(|(_, id)| !self.is_idle(id, in_trouble))?;
        Some(ReadFront { shard: shard.clone(), read_until: *read_until })
    }

    /// Whether a lineage that stands in this lane may have something to be read now.
    pub fn has_unread(&self, lane: usize, in_trouble: &BTreeSet<ShardId>) -> bool {
        let is_of_lane = |id: &ShardId| self.shards.get(id).is_some_and(|shard| shard.lane == lane);
        self.fronts.iter().any(|(_, id)| is_of_lane(id) && !self.is_idle(id, in_trouble))
    }

    fn is_idle(&self, id: &ShardId, in_trouble: &BTreeSet<ShardId>) -> bool {
        self.shards.get(id).is_some_and(|shard| {
            let is_read = !self.lanes[shard.lane].closed && !in_trouble.contains(id);
            !self.is_overdue(shard) && (shard.is_drained() || (shard.is_idle(self.now) && is_read))
        })
    }

    /// The shard of this lane that ended longest ago of those whose children no listing shows, and by when it had ended.
    pub fn overdue_in(&self, lane: usize) -> Option<(ServiceTime, ShardId)> {
        let of_lane = |id: ShardId| {
            let shard = self.shards.get(&id).filter(|shard| shard.lane == lane)?;
            Some((shard.closed_by?, id))
        };
        self.overdue().into_iter().filter_map(of_lane).min()
    }

    /// Shards that have ended, and no listing shows a child of them although it must have been listed by now.
    pub fn overdue(&self) -> BTreeSet<ShardId> {
        let overdue = |id: &&ShardId| self.shards.get(*id).is_some_and(|shard| self.is_overdue(shard));
        self.awaiting_children.iter().filter(overdue).filter(|id| !self.has_children(id)).cloned().collect()
    }

    /// It was drained so long ago that its children must have been listed.
    fn is_overdue(&self, shard: &Shard) -> bool {
        let is_late = |by: ServiceTime| self.now.since(by) > LATE_MAX;
        shard.is_drained() && self.disabled_at.is_none() && shard.closed_by.is_some_and(is_late)
    }

    /// Everything that was created before this process first asked the stream is in the sink. A stream that was turned off has
    /// no tip: it is read to its end, because another one may follow it.
    pub fn at_tip(&self) -> bool {
        let reached = |begun: ServiceTime| {
            let passed = |(read_until, _): &(Option<ServiceTime>, ShardId)| *read_until >= Some(begun);
            self.fronts.first().is_none_or(passed)
        };
        // What a lane that is not open has still to be read of is not known.
        let is_whole =
            self.all_opened() && self.is_known() && self.stream_gaps.is_empty() && !self.wants_second_listing();
        is_whole && self.disabled_at.is_none() && self.begun.is_some_and(reached)
    }

    /// When the stream was first heard of: the moment that a bounded run reads up to.
    pub fn begun(&self) -> Option<ServiceTime> {
        self.begun
    }

    /// Whether a lineage stands at this shard: whatever comes next in it comes from here.
    fn is_front(&self, id: &ShardId, shard: &Shard) -> bool {
        match &shard.stage {
            Stage::Drained(..) => self.awaits_children(id, shard),
            Stage::Readable(..) | Stage::Exhausted(_) | Stage::Stopped(_) => true,
            // Its parent stands before it, or nobody does.
            Stage::Unregistered | Stage::Blocked(_) => self.parent_of(shard).is_none_or(Shard::is_drained),
        }
    }

    /// Whether this ended shard, or one that is said to have ended, may have children that are not listed yet. To know that
    /// all are there takes a minute after the end: a bounded run waits for it, others go on with the first child.
    pub(super) fn awaits_children(&self, id: &ShardId, shard: &Shard) -> bool {
        let has_all = match &shard.stage {
            Stage::Exhausted(_) => self.has_children(id),
            // The listing calls it open, and its pages say that it has ended: a child would confirm that.
            Stage::Readable(_, reading) if reading.ends_told > 0 && !shard.is_closed() => self.has_children(id),
            // Its children may have gone with it. What comes from them is listed, and one listing may leave it out.
            Stage::Drained(_, ended) if ended.gone_since.is_some() => {
                self.has_children(id) || ended.is_listed_through()
            }
            Stage::Drained(_, ended) => self.has_children(id) && (ended.has_all_children() || !self.is_bounded),
            _ => return false,
        };
        !has_all && !self.is_disabled_for_long()
    }

    /// Moves a shard among those that a lineage stands at.
    pub(super) fn place_front(&mut self, id: &ShardId) {
        let wanted = self.shards.get(id).filter(|shard| self.is_front(id, shard)).map(Shard::durable_until);
        let placed = self.front_of.get(id).copied();
        if wanted == placed {
            return;
        }
        if let Some(read_until) = placed {
            self.fronts.remove(&(read_until, id.clone()));
            self.front_of.remove(id);
        }
        if let Some(read_until) = wanted {
            self.fronts.insert((read_until, id.clone()));
            self.front_of.insert(id.clone(), read_until);
        }
        if self.is_bounded {
            self.changes += 1;
        }
    }

    /// What a child begins with: everything before its parent's end was read as far as the parent was, and a shard has no
    /// records from when its parent was open. A listing may call a shard open as long as it may keep its children back.
    pub(super) fn inherit(&mut self, id: &ShardId) {
        let Some(parent) = self.shards.get(id).and_then(|shard| self.parent_of(shard)) else { return };
        let begun_after = parent.open_at.map(|open_at| open_at.minus(CHILDREN_LISTED_WITHIN));
        // What its lane has stored is not known yet: until then it passes for one that nobody read.
        let read_until = parent.read_until.filter(|_| self.lanes[parent.lane].opened);
        let inherited = read_until.max(begun_after);
        if let (Some(moment), Some(shard)) = (inherited, self.shards.get_mut(id)) {
            shard.read_until_at_least(moment);
        }
    }

    /// Gap rule 5: the trim horizon may have passed records of this shard that nobody read, and no answer of the service
    /// would tell.
    pub(super) fn is_unread_for_too_long(&self, shard: &Shard, now: ServiceTime) -> bool {
        let Some(read_until) = shard.read_until else { return false };
        // What was lost before that is on record. Its children do not know that: what they have lost is a gap of their own.
        let told = match &shard.stage {
            Stage::Readable(_, Reading { from: ReadFrom::Behind(found), .. }) => *found,
            _ => read_until,
        };
        now.since(read_until.max(told)) > UNREAD_MAX
    }

    /// The stored moment of this shard is old.
    pub(super) fn is_read_until_due(shard: &Shard) -> bool {
        let (Stage::Readable(chain, _), Some(read_until)) = (&shard.stage, shard.read_until) else { return false };
        chain.pending.is_empty() && chain.durable_until.is_none_or(|stored| read_until.since(stored) >= STORED_EVERY)
    }

    /// A complete listing that was asked for at this moment showed the children of all shards that had ended long enough
    /// before it.
    pub(super) fn count_listing_of_children(&mut self, when: When) {
        let awaiting: Vec<ShardId> = self.awaiting_children.iter().cloned().collect();
        for id in awaiting {
            if !self.shards.get(&id).is_some_and(Shard::is_exhausted) {
                continue;
            }
            self.note_closed(&id, when.answered);
            let is_late = self.is_late_enough_for_children(&id, when.asked);
            if let Some(Stage::Drained(_, ended)) = self.shards.get_mut(&id).map(|shard| &mut shard.stage) {
                ended.listings_with_children += u32::from(is_late);
            }
            self.settle(&id);
        }
    }

    /// An answer that was asked for at this moment named children of this shard.
    pub(super) fn note_children_told(&mut self, id: &ShardId, asked: ServiceTime) {
        let is_late = self.is_late_enough_for_children(id, asked);
        if let Some(Stage::Drained(_, ended)) = self.shards.get_mut(id).map(|shard| &mut shard.stage) {
            ended.children_told |= is_late;
        }
    }

    fn is_late_enough_for_children(&self, id: &ShardId, asked: ServiceTime) -> bool {
        let closed_by = self.shards.get(id).and_then(|shard| shard.closed_by);
        closed_by.is_some_and(|by| asked.since(by) >= CHILDREN_LISTED_WITHIN)
    }

    /// This shard was closed by this moment at the latest; and earlier, where a child was read further than it.
    fn note_closed(&mut self, id: &ShardId, moment: ServiceTime) {
        let Some(own) = self.shards.get(id).map(|shard| shard.read_until) else { return };
        let of_children = self.children.get(id).into_iter().flatten().filter_map(|child| self.shards.get(child));
        let begun = of_children
            .filter(|child| child.was_read)
            .filter_map(|child| child.read_until)
            .filter(|read_until| Some(*read_until) > own)
            // Empty pages that say so may have been asked for this much later, when the child was there.
            .map(|read_until| read_until.plus(self.visible_within))
            .min();
        if let Some(shard) = self.shards.get_mut(id) {
            let known = shard.closed_by.unwrap_or(moment).min(moment);
            shard.closed_by = Some(begun.map_or(known, |begun| known.min(begun)));
        }
    }
}

impl super::shard::Ended {
    /// All children are known.
    pub fn has_all_children(&self) -> bool {
        self.children_told || self.is_listed_through()
    }

    /// Enough listings must have shown what comes from it.
    pub fn is_listed_through(&self) -> bool {
        self.listings_with_children >= LISTINGS_WITH_CHILDREN
    }
}

impl Shard {
    /// Its last page was empty, a moment ago, and nothing of it is on its way. One that is closed goes on to its end.
    fn is_idle(&self, now: ServiceTime) -> bool {
        let Stage::Readable(chain, _) = &self.stage else { return false };
        !self.is_closed()
            && chain.pending.is_empty()
            && chain.empty.newest.is_some_and(|asked| now.since(asked) <= IDLE_FOR)
    }
}
