//! Shards that come after what came from them: a listing may show a shard later than its children, and a process may find
//! one that an earlier process never stored, although it stored its children.

use std::time::Duration;

use tailwater_model::{ServiceTime, ShardId};

use super::ShardGraph;
use super::shard::{Origin, Shard, Stage};
use crate::settings::StartAt;

/// What the first complete listing missed is listed within this time. A later process does not know what there was.
const MISSED_WITHIN: Duration = Duration::from_secs(10 * 60);

impl ShardGraph {
    /// A new shard may be the parent of shards that are there already: those that wait follow it.
    pub(super) fn place_late_parent(&mut self, id: &ShardId) {
        let children: Vec<ShardId> = self.children.get(id).into_iter().flatten().cloned().collect();
        if children.is_empty() {
            return;
        }
        self.missing_parents.remove(id);
        if self.has_registered_child(id) {
            self.pass_over(id);
            return;
        }
        for child in children {
            self.set_origin(&child, Origin::Child);
        }
    }

    /// Its children go on without it: read now, it would turn the order around. LATEST left it out if it had children when the
    /// pipeline began.
    pub(super) fn pass_over(&mut self, id: &ShardId) {
        let Some(seen_at) = self.shards.get(id).map(|shard| shard.seen_at) else { return };
        let mut children = self.children.get(id).into_iter().flatten().filter_map(|child| self.shards.get(child));
        let was_closed_then = children.any(|child| child.is_of_start);
        let is_latest = self.start == StartAt::Latest && !self.follows_another;
        let is_left_out =
            is_latest && (was_closed_then || self.may_have_been_missed(seen_at)) && !self.is_after_first_day(seen_at);
        if is_left_out {
            self.await_left_out(id);
        }
        self.set_origin(id, if is_left_out { Origin::LeftOut } else { Origin::Passed });
        if let Some(shard) = self.shards.get_mut(id) {
            shard.read_until_at_least(seen_at);
        }
    }

    /// The stream is not known before this shard is stored as one that was left out: a process that knows the stream would take
    /// it for one that was passed over.
    pub(super) fn await_left_out(&mut self, id: &ShardId) {
        if !self.is_known() {
            self.listings.bootstrap.insert(id.clone());
        }
    }

    /// So soon after the first listing that a shard which is seen first now may have been left out of it.
    pub(super) fn may_have_been_missed(&self, asked: ServiceTime) -> bool {
        self.first_listed_at().is_some_and(|listed_at| asked.since(listed_at) <= MISSED_WITHIN)
    }

    /// A child of it is registered, or that is under way.
    pub(super) fn has_registered_child(&self, id: &ShardId) -> bool {
        let mut children = self.children.get(id).into_iter().flatten().filter_map(|child| self.shards.get(child));
        children.any(|child| !child.is_unregistered())
    }

    /// Its parent was drained by an earlier process, which may never have seen this shard, and have stored its children without it.
    /// From a parent that was left to be read nobody went on.
    pub(super) fn may_have_been_passed(&self, id: &ShardId, shard: &Shard) -> bool {
        let was_over = |parent: &Shard| matches!(&parent.stage, Stage::Drained(_, ended) if ended.was_stored);
        shard.origin == Origin::Child && self.parent_of(shard).is_some_and(was_over) && !self.knows_children(id)
    }

    /// Whether it is known which children of this shard are stored. Asked before it begins a lineage, or follows one that an
    /// earlier process ended. The children that are known tell of their lanes only, and a listing may hide others. One that is
    /// open has none, and before this process listed the stream first nobody stored anything of it.
    pub(super) fn knows_children(&self, id: &ShardId) -> bool {
        let is_first = self.first_listed_at() == self.listings.first_complete_at;
        let is_closed = self.shards.get(id).is_none_or(|shard| shard.closed);
        let mut children = self.children.get(id).into_iter().flatten();
        let are_open = !is_closed && children.all(|child| self.lanes[self.lane_number(child)].opened);
        is_first || are_open || self.lanes.iter().all(|lane| lane.opened)
    }

    /// Whether all lanes are open that may hold this parent, which is not in the graph, or what comes from its children.
    pub(super) fn knows_family_of_missing(&self, parent: &ShardId) -> bool {
        let is_open = |id: &ShardId| self.lanes[self.lane_number(id)].opened;
        let mut children = self.children.get(parent).into_iter().flatten();
        is_open(parent) && children.all(|child| is_open(child) && self.knows_children(child))
    }

    /// A lane that this shard waits for before it is registered or read.
    pub(super) fn lane_waited_for(&self, id: &ShardId, shard: &Shard) -> Option<usize> {
        let is_closed = |lane: &usize| !self.lanes[*lane].opened;
        let of_parent = shard.parent.as_ref().map(|parent| self.lane_number(parent)).filter(is_closed);
        let is_root = shard.origin == Origin::Unplaced && !self.knows_children(id);
        let is_waiting = shard.is_unregistered() && (is_root || self.may_have_been_passed(id, shard));
        of_parent.or_else(|| (0..self.lanes.len()).find(is_closed).filter(|_| is_waiting))
    }
}
