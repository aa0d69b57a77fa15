//! The first complete listing: what was promised of a stream is told from it
//! (`docs/decisions/20261129-the-first-listing-is-stored-first.md`).

use tailwater_model::{FirstListing, Progress, ServiceTime, ShardProgress};

use super::ShardGraph;
use super::read_until::PROMISED;
use super::shard::{Origin, Shard};

impl ShardGraph {
    /// What is to be stored of the first complete listing. The stream is not known while a gap of the whole stream is not on
    /// record: being known would hide it from the next start.
    pub fn first_listing_due(&self) -> Option<FirstListing> {
        let FirstListing { at, is_stored, .. } = self.first_listing?;
        let is_stored = is_stored && self.stream_gaps.is_empty();
        let due = FirstListing { at, is_stored, follows_another: self.follows_another };
        let is_news = |held: FirstListing| held.at != at || (due.is_stored && !held.is_stored);
        self.first_listing_durable.is_none_or(is_news).then_some(due)
    }

    /// What was told of the first complete listing is durable: its shards may be registered.
    pub fn first_listing_committed(&mut self, listing: FirstListing) {
        self.first_listing_durable = Some(listing);
        self.settle_all();
        self.changes += 1;
    }

    /// Takes what an earlier process stored. Where that was not the moment itself, each lane may know an earlier one.
    pub(super) fn take_first_listing(&mut self, progress: &Progress) {
        self.was_known |= progress.known_since().is_some();
        self.follows_another |= progress.first_listing.is_some_and(|listing| listing.follows_another);
        let told = progress.first_listing.or(listed_before(&progress.shards));
        let is_earlier = |one: FirstListing| told.is_some_and(|told| !one.is_stored && told.at < one.at);
        if self.first_listing.is_none_or(is_earlier) {
            self.first_listing = told.or(self.first_listing);
        }
    }

    /// It is in the sink. LATEST is decided from it, and so is where a promise begins: a later process has to know when that
    /// was, whatever became of the shards.
    pub(super) fn is_first_listing_durable(&self) -> bool {
        let listed_at = self.first_listing_durable.map(|listing| listing.at);
        listed_at.is_some() && listed_at == self.first_listed_at()
    }

    /// Every shard of the first complete listing is stored.
    pub(super) fn is_known(&self) -> bool {
        FirstListing::known_since(self.first_listing).is_some()
    }

    /// When the first complete listing began.
    pub(super) fn first_listed_at(&self) -> Option<ServiceTime> {
        self.first_listing.map(|listing| listing.at)
    }

    /// What is promised of the stream is told from the first complete listing; from one of an earlier process, if that
    /// registered anything.
    pub(super) fn choose_first_listing(&mut self) {
        let Some(own) = self.listings.first_complete_at else { return };
        let is_fresh = !self.is_known() && self.lanes.iter().all(|lane| lane.opened) && !self.is_begun();
        let is_guessed = self.first_listing.is_none_or(|first| !first.is_stored && first.at > own);
        if is_guessed || is_fresh {
            self.first_listing = Some(FirstListing::begun(own));
            // Roots were placed when a page showed them: listings may not have come to their end for hours since.
            let promised = self.promised_from(own);
            let is_root = |shard: &&mut Shard| shard.is_unregistered() && shard.origin == Origin::Root;
            self.shards.values_mut().filter(is_root).for_each(|shard| shard.read_until_at_least(promised));
        }
    }

    /// Which listing was the first is known: before some shard turns out to be registered, or none in any lane, an earlier
    /// process may have listed the stream and carried nothing.
    pub(super) fn knows_first_listing(&self) -> bool {
        let is_own = self.first_listed_at() == self.listings.first_complete_at;
        self.first_listing.is_none() || self.is_known() || is_own || self.is_begun()
    }

    /// A shard is registered.
    pub(super) fn is_begun(&self) -> bool {
        self.shards.values().any(|shard| !shard.is_unregistered())
    }
}

/// When the first complete listing was at the latest of which these shards were stored, by a program that did not store that.
fn listed_before(shards: &[ShardProgress]) -> Option<FirstListing> {
    let least = shards.iter().map(|row| row.read_until).min()?;
    Some(FirstListing::begun(least.map_or(ServiceTime::EPOCH, |least| least.plus(PROMISED))))
}
