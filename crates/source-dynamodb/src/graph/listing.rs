//! What listings say. One answer never proves absence, and a listing is complete only if every page of it came.

use std::collections::BTreeSet;
use std::time::Duration;

use tailwater_model::{Position, ShardId};

use super::ShardGraph;
use crate::api::ListedShard;
use crate::settings::StartAt;

/// Complete listings without a shard that say that it is gone: one answer alone proves nothing.
const ABSENCES_PROVE: u32 = 2;
/// Time between the first and the last of them, once the stream is known. A new shard may be listed a minute late, and
/// its own child before it: what a listing does not have yet is no loss, and no end.
pub(super) const LATE_MAX: Duration = Duration::from_secs(120);

/// A shard so much older than another one has no parent that is still to be listed.
const OLD_MS: u64 = 300_000;

/// Complete listings in a row that did not have a shard.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Absence {
    listings: u32,
    first_at: Duration,
    last_at: Duration,
}

impl Absence {
    fn count(&mut self, at: Duration) {
        if self.listings == 0 {
            self.first_at = at;
        }
        self.last_at = at;
        self.listings += 1;
    }

    /// Enough where nothing was promised yet, or nothing can be late.
    fn is_likely(self) -> bool {
        self.listings >= ABSENCES_PROVE
    }

    /// The shard is gone.
    pub fn is_proven(self) -> bool {
        self.is_likely() && self.last_at.saturating_sub(self.first_at) >= LATE_MAX
    }
}

impl ShardGraph {
    /// A listing begins, so long after some fixed moment. Its number goes with its answer, because a shard that was found
    /// meanwhile need not be in it.
    pub fn begin_listing(&mut self, at: Duration) -> u64 {
        self.listings.begun += 1;
        self.listings.begun_at = at;
        self.listings.begun
    }

    /// Takes the shards of a listing, complete or broken off.
    pub fn merge_listing(&mut self, number: u64, complete: bool, disabled: bool, shards: &[ListedShard]) {
        if disabled {
            self.disabled_at.get_or_insert(self.listings.begun_at);
        }
        for listed in shards {
            self.see(listed, number);
        }
        // A stream that is on has shards: an empty answer is a stream that is being turned on, or a wrong answer.
        if !complete || shards.is_empty() {
            return;
        }
        let listed: BTreeSet<&ShardId> = shards.iter().map(|listed| &listed.shard).collect();
        self.listings.complete += 1;
        self.listings.complete_newest = self.listings.complete_newest.max(number);
        self.listings.complete_newest_at = self.listings.begun_at;
        self.count_absences(number, &listed);
        if self.listings.complete == 1 {
            self.listings.bootstrap = listed.into_iter().cloned().collect();
            self.choose_latest();
        }
        self.place_unplaced();
        for leaf in self.leaves.values_mut().filter(|leaf| leaf.drained_at_listing < number) {
            leaf.listings_without_child += 1;
        }
        self.refresh_all();
        self.settle_bootstrap();
        self.changes += 1;
    }

    /// Takes the answer to a question for the children of `parent`, and says whether a child is known now. Some services
    /// answer other shards: those count for nothing.
    pub fn merge_children(&mut self, parent: &ShardId, shards: &[ListedShard]) -> bool {
        let number = self.listings.begun;
        for listed in shards.iter().filter(|listed| listed.parent.as_ref() == Some(parent)) {
            self.see(listed, number);
        }
        self.has_children(parent)
    }

    /// Ended shards whose children nobody asked for yet. Each is handed out once.
    pub fn take_children_needed(&mut self) -> Vec<ShardId> {
        let parents: Vec<ShardId> = std::mem::take(&mut self.children_needed).into_iter().collect();
        for id in &parents {
            if let Some(shard) = self.shards.get_mut(id) {
                shard.children_asked = true;
            }
        }
        parents
    }

    /// Whether a complete listing soon would let something go on: an end whose children are not found and may be listed late.
    pub fn wants_listing(&self, at: Duration) -> bool {
        let may_come = |leaf: &super::Leaf| !leaf.settled() || at.saturating_sub(leaf.since) < LATE_MAX;
        self.leaves.values().any(may_come) || self.listings.complete_newest <= self.drained_at_listing
    }

    /// Whether the start of the pipeline waits for a listing.
    pub fn bootstrapping(&self) -> bool {
        !self.known && (self.listings.complete == 0 || !self.unplaced.is_empty())
    }

    /// From now on unknown parents are gaps, once everything of the first complete listing is stored.
    pub(super) fn settle_bootstrap(&mut self) {
        if self.known || self.listings.complete == 0 || !self.all_opened() || self.frozen() {
            return;
        }
        while let Some(first) = self.listings.bootstrap.first() {
            if self.shards.get(first).is_some_and(|shard| shard.durable.is_none()) {
                return;
            }
            self.listings.bootstrap.pop_first();
        }
        self.known = true;
        self.changes += 1;
    }

    fn see(&mut self, listed: &ListedShard, number: u64) {
        let id = &listed.shard;
        let parent = listed.parent.clone().filter(|parent| !self.is_descendant(parent, id));
        let new = !self.shards.contains_key(id);
        if new {
            self.insert(id.clone(), parent.clone());
        }
        let known = self.known;
        let Some(shard) = self.shards.get_mut(id) else { return };
        shard.closed |= listed.closed;
        shard.seen_at_listing = shard.seen_at_listing.max(number);
        shard.absence = Absence::default();
        if shard.parent.is_none()
            && let Some(parent) = &parent
        {
            shard.parent = Some(parent.clone());
            self.children.entry(parent.clone()).or_default().insert(id.clone());
        }
        // Before the stream is known a shard without parent is where its lineage begins.
        let unregistered = shard.durable.is_none() && !shard.registering;
        shard.root |= unregistered && shard.parent.is_none() && !known;
        if new {
            self.changes += 1;
        }
        self.refresh_family(id);
        if let Some(parent) = parent {
            self.refresh(&parent);
        }
    }

    /// Whether `id` is `ancestor` or comes from it: such a parent would close a circle, and nothing in it could ever be
    /// read. Only nonsense from outside can ask for that.
    fn is_descendant(&self, id: &ShardId, ancestor: &ShardId) -> bool {
        let parent_of = |id: &ShardId| self.shards.get(id).and_then(|shard| shard.parent.as_ref());
        if self.shards.get(ancestor).is_some_and(|shard| shard.parent.as_ref() == Some(id)) {
            return false;
        }
        let mut at = Some(id);
        for _ in 0..=self.shards.len() + 1 {
            match at {
                Some(here) if here == ancestor => return true,
                Some(here) => at = parent_of(here),
                None => return false,
            }
        }
        true
    }

    fn count_absences(&mut self, number: u64, listed: &BTreeSet<&ShardId>) {
        let mut vanished = Vec::new();
        for id in &self.undrained {
            let Some(shard) = self.shards.get_mut(id) else { continue };
            if listed.contains(id) || shard.seen_at_listing >= number {
                continue;
            }
            shard.absence.count(self.listings.begun_at);
            let never_ours = shard.durable.is_none() && !shard.registering && shard.seen_before_known;
            if never_ours && shard.absence.is_likely() {
                vanished.push(id.clone());
            }
        }
        // Trimmed before the pipeline had it: the oldest record that the stream still has is younger.
        for id in vanished {
            self.remove(&id);
        }
    }

    fn remove(&mut self, id: &ShardId) {
        let Some(shard) = self.shards.remove(id) else { return };
        if let Some(children) = shard.parent.as_ref().and_then(|parent| self.children.get_mut(parent)) {
            children.remove(id);
        }
        let lane = &mut self.lanes[shard.lane];
        lane.steps_due.remove(id);
        lane.woken.remove(id);
        for set in [&mut self.unplaced, &mut self.undrained, &mut self.busy, &mut self.children_needed] {
            set.remove(id);
        }
        // Its children have an unknown parent now, which needs its own proof.
        self.refresh_family(id);
    }

    /// Shards of a pipeline without any progress, by the first complete listing: what is closed is left out, what is
    /// open is first read from LATEST, unless its parent will be read.
    fn choose_latest(&mut self) {
        let fresh = !self.known && self.shards.values().all(|shard| shard.durable.is_none());
        if self.start != StartAt::Latest || !fresh {
            return;
        }
        let closed: BTreeSet<ShardId> =
            self.shards.iter().filter(|(_, shard)| shard.closed).map(|(id, _)| id.clone()).collect();
        let open: BTreeSet<ShardId> = self.shards.keys().filter(|id| !closed.contains(*id)).cloned().collect();
        for (id, shard) in &mut self.shards {
            let parent_is_read = shard.parent.as_ref().is_some_and(|parent| open.contains(parent));
            if closed.contains(id) {
                shard.register_at = Position::End;
            } else {
                shard.from_latest = !parent_is_read;
            }
        }
    }

    /// Counts complete listings without the parent, until it is clear that the parent is gone.
    fn place_unplaced(&mut self) {
        let newest = self.shards.keys().filter_map(made_at_ms).max();
        let mut orphaned = Vec::new();
        for id in &self.unplaced {
            let Some(shard) = self.shards.get_mut(id) else { continue };
            shard.absence_of_parent.count(self.listings.begun_at);
            let absence = shard.absence_of_parent;
            let is_old = newest.zip(made_at_ms(id)).is_some_and(|(newest, made)| newest.saturating_sub(made) >= OLD_MS);
            if absence.is_proven() || (shard.seen_before_known && is_old && absence.is_likely()) {
                orphaned.push(id.clone());
            }
        }
        orphaned.iter().for_each(|id| self.parent_is_gone(id));
    }
}

/// When a shard was made, in milliseconds since 1970, as its id says: `shardId-00000001790000016600-1e8ca6f2` (observed, not
/// documented). It is only compared with the ids of other shards, and only saves a wait.
fn made_at_ms(id: &ShardId) -> Option<u64> {
    id.as_str().strip_prefix("shardId-")?.split('-').next()?.parse().ok()
}
