//! Until when it is certain that every shard was seen.
//!
//! A shard is listed for a day after its end. So shards can come and go unseen only where no listing was complete for about
//! a day. A process knows when it listed. Of what was before it knows that somebody listed as long as somebody read: no
//! shard is stored as read much further than the newest complete listing, nor than the one before a shard whose ancestors
//! are not known yet. So whoever crashes before such a loss is on record leaves it to be found again.

use std::time::Duration;

use tailwater_model::{ServiceTime, ShardId};

use super::ShardGraph;
use super::read_until::UNREAD_MAX;
use super::shard::{Origin, Shard, Sighting};

/// A shard is stored as read at most this much further than the stream was listed. Listings come every few minutes, and a
/// shard may be listed a minute late.
const STORED_AHEAD_MAX: Duration = Duration::from_secs(30 * 60);

impl ShardGraph {
    /// A shard that is first seen at this moment.
    pub(super) fn sighting(&self, at: ServiceTime) -> Sighting {
        Sighting { at, listed_at: self.listings.complete_newest_at }
    }

    /// Whether it is known when somebody looked before this sighting: what was before this process all lanes tell together.
    pub(super) fn is_past_known(&self, sighting: Sighting) -> bool {
        self.known_since.is_none() || sighting.listed_at.is_some() || self.lanes.iter().all(|lane| lane.opened)
    }

    /// Since when shards can have come and gone unseen before this sighting, if they can.
    pub(super) fn unwatched_since(&self, sighting: Sighting) -> Option<ServiceTime> {
        let known_since = self.known_since?;
        let looked_until = self.looked_before(sighting.listed_at).map_or(known_since, |looked| looked.max(known_since));
        (sighting.at.since(looked_until) > UNREAD_MAX).then_some(looked_until)
    }

    /// Lanes that were opened for the first time tell how far the stream was read before this process.
    pub(super) fn note_looked_at_start(&mut self) {
        let is_passed_on = |id: &ShardId| {
            let mut children = self.children.get(id).into_iter().flatten().filter_map(|child| self.shards.get(child));
            children.any(|child| child.stored_at_start.is_some())
        };
        let fronts = self.shards.iter().filter(|(id, shard)| !(shard.is_drained() && is_passed_on(id)));
        self.looked_at_start = fronts.filter_map(|(_, shard)| shard.stored_at_start).min();
    }

    /// What may be stored of a moment to which a shard was read.
    pub(super) fn stored_until(&self, read_until: Option<ServiceTime>) -> Option<ServiceTime> {
        let sightings = self.undecided.iter().filter_map(|id| self.shards.get(id)).map(|shard| shard.sighting.listed_at);
        let listed = std::iter::once(self.listings.complete_newest_at).chain(sightings);
        let looked_until = listed.filter_map(|listed_at| self.looked_before(listed_at)).min();
        read_until.map(|moment| looked_until.map_or(moment, |looked| moment.min(looked.plus(STORED_AHEAD_MAX))))
    }

    /// What was read lately cannot be stored as such before the stream was listed.
    pub(super) fn is_unlisted_for_long(&self) -> bool {
        self.listings.complete_newest_at.is_some_and(|listed_at| self.now.since(listed_at) >= STORED_AHEAD_MAX)
    }

    /// Whether there may be a loss before this shard that is not on record yet.
    pub(super) fn is_undecided(&self, id: &ShardId, shard: &Shard) -> bool {
        let is_gap_due = || self.stream_gaps.iter().any(|gap| gap.shard.as_ref() == Some(id));
        let is_open = !shard.is_stored() && (shard.origin == Origin::Unplaced || is_gap_due());
        is_open && self.unwatched_since(shard.sighting).is_some()
    }

    fn looked_before(&self, listed_at: Option<ServiceTime>) -> Option<ServiceTime> {
        listed_at.or(self.looked_at_start)
    }
}
