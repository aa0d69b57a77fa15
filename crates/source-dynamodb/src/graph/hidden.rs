//! Shards that exist and that no listing shows: only their children tell of them.

use tailwater_model::{ServiceTime, ShardId};

use super::ShardGraph;
use super::read_until::{PROMISED, READ_WITHIN};
use super::shard::{Origin, Shard};
use crate::api::When;

impl ShardGraph {
    /// Nothing is known of what came before it, and nothing can be. Where a lane is not open that may hold what it comes from,
    /// it is asked for again.
    pub(super) fn begin_hidden(&mut self, id: &ShardId, when: When) {
        if !self.lanes.iter().all(|lane| lane.opened) {
            return;
        }
        tracing::warn!(shard = %id, "a shard exists that no listing shows; it is read from its beginning");
        self.insert(id.clone(), None, when.asked);
        self.place_late_parent(id);
        if let Some(shard) = self.shards.get_mut(id).filter(|shard| shard.origin == Origin::Unplaced) {
            shard.is_parent_unknown = true;
            shard.origin = Origin::Root;
        }
        self.settle_family(id);
        self.changes += 1;
    }

    /// What a shard begins with whose parent nobody knows: it may come from any shard that has ended and has no child, and was
    /// read as far as that one. Where there is none, it may be a second child.
    pub(super) fn inherit_unknown(&mut self, id: &ShardId) {
        let Some(shard) = self.shards.get(id) else { return };
        if !shard.is_parent_unknown || shard.parent.is_some() || !shard.is_unregistered() {
            return;
        }
        let may_be_parent = |(other, shard): &(&ShardId, &Shard)| {
            let has_ended = shard.is_exhausted() || shard.is_closed();
            *other != id && shard.is_stored() && has_ended && !self.has_children(other)
        };
        let of_parents = self.shards.iter().filter(may_be_parent).filter_map(|(_, parent)| parent.read_until).min();
        let moment = of_parents.unwrap_or_else(|| self.promised_of_hidden(shard.seen_at));
        if let Some(shard) = self.shards.get_mut(id) {
            shard.read_until_at_least(moment);
        }
    }

    /// The promise of a first start, as long as it is to be read. After that it says nothing of a shard that came later: gap rule 5
    /// would call it unread since the pipeline began.
    fn promised_of_hidden(&self, seen_at: ServiceTime) -> ServiceTime {
        let promised = self.promised_from(self.first_listed_at().unwrap_or(seen_at));
        if self.is_first_start(seen_at) { promised } else { promised.max(seen_at.minus(PROMISED)) }
    }

    /// So soon after the first complete listing that what was promised may still have to be read.
    pub(super) fn is_first_start(&self, moment: ServiceTime) -> bool {
        self.first_listed_at().is_none_or(|listed_at| moment.since(listed_at) <= READ_WITHIN)
    }
}
