//! The start of a pipeline with what is written from now on.
//!
//! "Now" ends when all shards of the first complete listing are stored. What is written after that is carried: each shard is
//! registered only when there is an iterator of `LATEST` for it, which is older than its registration and is used once.
//! Whoever has lost it, by a restart or because it expired, reads from the trim horizon.

use std::collections::BTreeSet;

use tailwater_model::{ServiceTime, ShardId};

use super::ShardGraph;
use super::read_until::PROMISED;
use super::shard::{Origin, Shard};
use crate::settings::StartAt;

impl ShardGraph {
    /// Shards of a pipeline without any progress, by the first complete listing: what is closed is left out, what is
    /// open is read from `LATEST`, unless its parent will be read.
    pub(super) fn choose_latest(&mut self, now: ServiceTime) {
        let is_fresh = !self.is_known() && self.shards.values().all(Shard::is_unregistered);
        if self.start != StartAt::Latest || self.follows_another || !is_fresh {
            return;
        }
        self.latest_since = Some(now);
        let open: BTreeSet<ShardId> =
            self.shards.iter().filter(|(_, shard)| !shard.closed).map(|(id, _)| id.clone()).collect();
        for shard in self.shards.values_mut() {
            let parent_is_read = shard.parent.as_ref().is_some_and(|parent| open.contains(parent));
            shard.read_until = Some(now);
            shard.origin = match shard.origin {
                _ if shard.closed => Origin::LeftOut,
                origin if parent_is_read => origin,
                _ => Origin::Latest,
            };
        }
        let awaits = |(_, shard): &(&ShardId, &Shard)| shard.origin == Origin::Latest;
        self.latest_wanted = self.shards.iter().filter(awaits).map(|(id, _)| id.clone()).collect();
        let is_wanted = |child: &ShardId| self.shards.get(child).is_some_and(|one| one.origin == Origin::Unplaced);
        self.missing_parents.retain(|parent, _| self.children.get(parent).into_iter().flatten().any(is_wanted));
    }

    /// Shards for which an iterator of `LATEST` is to be asked.
    pub fn latest_wanted(&self) -> Vec<ShardId> {
        self.latest_wanted.iter().cloned().collect()
    }

    /// There is an iterator of `LATEST` for this shard, asked for at this moment: nothing older is wanted. Answers whether it
    /// will be used.
    pub fn latest_held(&mut self, id: &ShardId, asked: ServiceTime) -> bool {
        self.latest_wanted.remove(id);
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
