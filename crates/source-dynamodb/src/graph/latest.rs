//! The start of a pipeline with what is written from now on.
//!
//! "Now" ends when all shards of the first complete listing are stored and a second one came. What is written after that is
//! carried: each shard is registered only when there is an iterator of `LATEST` for it, which is older than its registration and
//! is used once. Whoever has lost it, by a restart or because it expired, reads from the trim horizon. What was over by then is
//! left out, also where the first listing missed it: read late, it would turn the order around. A shard is over when it has a
//! child, or when its pages end where the iterator of `LATEST` begins: that a listing names its end is not enough.

use std::collections::BTreeSet;

use tailwater_model::{ServiceTime, ShardId};

use super::ShardGraph;
use super::listing::LISTINGS_OF_START;
use super::read_until::PROMISED;
use super::shard::{Origin, Shard};
use crate::settings::StartAt;

impl ShardGraph {
    /// Shards of a pipeline without any progress, by the first complete listing: what is over is left out, what goes on, or is only
    /// said to be over, is read from `LATEST`.
    pub(super) fn choose_latest(&mut self, now: ServiceTime) {
        let is_fresh = !self.is_known() && self.shards.values().all(Shard::is_unregistered);
        if self.start != StartAt::Latest || self.follows_another || !is_fresh {
            return;
        }
        self.latest_since = Some(now);
        // One page may call a shard open, and a later one show its child.
        let over: BTreeSet<ShardId> = self.shards.keys().filter(|id| self.has_children(id)).cloned().collect();
        for (id, shard) in &mut self.shards {
            shard.read_until = Some(now);
            shard.origin = if over.contains(id) { Origin::LeftOut } else { Origin::Latest };
        }
        self.missing_parents.clear();
    }

    /// Whether a new shard is one that the first listing missed, and was over by then: it has a child of that listing, or it was
    /// closed soon after it and comes from nothing that is read. It is left out; where only its own closing says that it is over,
    /// its pages are asked.
    pub(super) fn place_before_latest(&mut self, id: &ShardId, closed: bool, asked: ServiceTime) -> bool {
        if !self.begins_with_latest() {
            return false;
        }
        let is_of_first = |child: &ShardId| {
            let is_begun = self.shards.get(child).is_some_and(|child| !child.is_unregistered());
            is_begun || self.listings.bootstrap.contains(child)
        };
        let was_there = self.latest_since.is_some() && self.children.get(id).into_iter().flatten().any(is_of_first);
        let parent = self.shards.get(id).and_then(|shard| self.parent_of(shard));
        let is_over = |parent: &Shard| self.is_left_out(parent) || parent.is_said_over();
        let may_be_over = closed && self.may_have_been_missed(asked) && parent.is_none_or(is_over);
        if was_there || (may_be_over && self.has_children(id)) {
            self.leave_out(id);
        } else if may_be_over {
            let first_listed_at = self.first_listed_at();
            self.set_origin(id, Origin::Latest);
            if let Some(shard) = self.shards.get_mut(id) {
                shard.read_until = first_listed_at;
            }
        }
        was_there || may_be_over
    }

    /// It was over before the first listing. Who begins anew tells it by the moment that is stored with it: whatever was read
    /// was read further.
    fn is_left_out(&self, shard: &Shard) -> bool {
        let is_stored_so = shard.is_drained() && shard.read_until == self.first_listed_at();
        shard.origin == Origin::LeftOut || is_stored_so
    }

    /// It is not read, and what comes from it need not wait for it.
    pub(super) fn leave_out(&mut self, id: &ShardId) {
        let first_listed_at = self.first_listed_at();
        self.await_left_out(id);
        self.set_origin(id, Origin::LeftOut);
        if let Some(shard) = self.shards.get_mut(id) {
            shard.read_until = first_listed_at;
        }
        self.place_children(id);
    }

    /// A pipeline of LATEST that begins is known after two listings at the earliest: one may leave a shard out.
    pub(super) fn misses_latest_listing(&self) -> bool {
        self.begins_with_latest() && self.listings.complete < LISTINGS_OF_START
    }

    fn begins_with_latest(&self) -> bool {
        self.start == StartAt::Latest && !self.follows_another && !self.is_known()
    }

    /// Shards for which an iterator of `LATEST` is to be asked.
    pub fn latest_wanted(&self) -> Vec<ShardId> {
        self.latest_wanted.iter().cloned().collect()
    }

    /// A listing calls this shard closed, and nothing else says yet that it is over.
    pub fn is_said_over(&self, id: &ShardId) -> bool {
        self.shards.get(id).is_some_and(Shard::is_said_over)
    }

    /// Its pages end where the iterator of `LATEST` begins.
    pub fn latest_is_over(&mut self, id: &ShardId) {
        if self.is_said_over(id) {
            self.leave_out(id);
            self.settle_family(id);
            self.settle_bootstrap();
            self.changes += 1;
        }
    }

    /// There is an iterator of `LATEST` for this shard, asked for at this moment: nothing older is wanted. Answers whether it
    /// will be used.
    pub fn latest_held(&mut self, id: &ShardId, asked: ServiceTime) -> bool {
        let Some(shard) = self.shards.get_mut(id).filter(|shard| shard.origin == Origin::Latest) else { return false };
        shard.origin = Origin::Root;
        shard.read_until_at_least(asked);
        self.settle_family(id);
        self.changes += 1;
        true
    }

    /// What the beginning of a lineage that was never ours is read from, by the first complete listing: nothing older was
    /// promised. Of a stream that follows another everything was, and what is gone of it is a gap.
    pub(super) fn promised_from(&self, listed_at: ServiceTime) -> ServiceTime {
        let oldest = listed_at.minus(PROMISED);
        match (self.start, self.created_at) {
            (_, Some(created)) if self.follows_another => created,
            (StartAt::Latest, _) if !self.follows_another => self.latest_since.unwrap_or(listed_at),
            (_, created) => created.map_or(oldest, |created| created.max(oldest)),
        }
    }
}

impl Shard {
    /// It waits for an iterator of `LATEST`, and is listed as closed.
    fn is_said_over(&self) -> bool {
        self.is_unregistered() && self.origin == Origin::Latest && self.closed
    }
}
