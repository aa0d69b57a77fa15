//! What listings say. One answer never proves absence: a listing may leave shards out, or end early without a word.

use std::collections::BTreeSet;
use std::time::Duration;

use tailwater_model::{FirstListing, ServiceTime, ShardId};

use super::ShardGraph;
use super::read_until::CHILDREN_LISTED_WITHIN;
use super::shard::{Shard, Stage};
use crate::api::{ListedShard, ShardListing, When};

/// Complete listings without a shard after which it is asked for.
const ABSENCES_SUSPECT: u32 = 2;
/// Time between the first and the last of them. A shard may be listed a minute late.
pub(super) const LATE_MAX: Duration = Duration::from_secs(120);

/// Complete listings with which a pipeline begins that is to end at the tip, or with what is written from now on.
pub(super) const LISTINGS_OF_START: u64 = 2;

/// Complete listings in a row that did not have a shard.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Absence {
    listings: u32,
    first_at: Option<ServiceTime>,
    last_at: Option<ServiceTime>,
}

impl Absence {
    pub fn count(&mut self, at: ServiceTime) {
        self.first_at.get_or_insert(at);
        self.last_at = Some(at);
        self.listings += 1;
    }

    /// The newest complete listing did not have it.
    pub fn is_noticed(self) -> bool {
        self.listings > 0
    }

    /// Long enough to ask whether the shard exists.
    pub fn is_suspicious(self) -> bool {
        let span = self.last_at.zip(self.first_at).map(|(last, first)| last.since(first));
        self.listings >= ABSENCES_SUSPECT && span.is_some_and(|span| span >= LATE_MAX)
    }
}

/// The history of listings. Listings are numbered from one as they begin.
#[derive(Default)]
pub(super) struct Listings {
    pub begun: u64,
    pub complete: u64,
    pub complete_newest: u64,
    /// When the first complete one was asked for.
    pub first_complete_at: Option<ServiceTime>,
    /// Complete listings in which all shards of a stream that was turned off must have been.
    pub late_since_off: u32,
    /// Shards of the first complete listing that are not stored yet.
    pub bootstrap: BTreeSet<ShardId>,
}

impl ShardGraph {
    /// A listing begins. Its number goes with its answer, because a shard that was found meanwhile need not be in it.
    pub fn begin_listing(&mut self) -> u64 {
        self.listings.begun += 1;
        self.listings.begun
    }

    /// Takes one page of a listing: what it shows counts at once.
    pub fn merge_page(&mut self, number: u64, when: When, page: &ShardListing) {
        let ShardListing { shards, disabled, created_at, .. } = page;
        self.created_at = self.created_at.or(*created_at);
        self.begun.get_or_insert(when.answered);
        self.note_time(when.answered);
        self.is_gone = false;
        if *disabled {
            self.disabled_at.get_or_insert(when.answered);
        } else {
            // A stream that was turned off is never on again: an answer that said so was wrong.
            self.disabled_at = None;
            self.listings.late_since_off = 0;
        }
        shards.iter().for_each(|listed| self.see(listed, number, when));
    }

    /// All pages of a listing came, the first of them asked for and the last one answered at these moments, and showed
    /// these shards.
    pub fn listed_completely(&mut self, number: u64, when: When, listed: &BTreeSet<ShardId>) {
        // A stream that is on has shards: an empty answer is a stream that is being turned on, or a wrong answer. Of one that
        // is off all may be gone.
        if listed.is_empty() && self.disabled_at.is_none() {
            return;
        }
        let is_late = self.disabled_at.is_some_and(|off| when.asked.since(off) >= CHILDREN_LISTED_WITHIN);
        let is_gone = |shard: &Shard| matches!(&shard.stage, Stage::Drained(_, ended) if ended.gone_since.is_some());
        let shows_all = !listed.is_empty() || self.shards.values().all(is_gone);
        self.listings.late_since_off += u32::from(is_late && shows_all);
        if !listed.is_empty() {
            self.listings.complete += 1;
            self.listings.complete_newest = self.listings.complete_newest.max(number);
            if self.listings.complete == 1 {
                self.listings.first_complete_at = Some(when.asked);
                self.listings.bootstrap.extend(listed.iter().cloned());
                self.choose_first_listing();
                self.choose_latest(when.asked);
            }
        }
        self.place_orphans();
        self.count_absences(number, when.asked, listed);
        self.doubts_due = true;
        self.count_listing_of_children(when);
        self.count_listing_without_children(when.asked);
        self.settle_all();
        self.settle_bootstrap();
        self.changes += 1;
    }

    /// Takes the answer to a question for the children of `parent`, and says whether a child is known now. Some services
    /// answer other shards: those count for nothing.
    pub fn merge_children(&mut self, parent: &ShardId, when: When, shards: &[ListedShard]) -> bool {
        let number = self.listings.begun;
        self.note_time(when.answered);
        let mut are_told = false;
        for listed in shards.iter().filter(|listed| listed.parent.as_ref() == Some(parent)) {
            self.see(listed, number, when);
            are_told = true;
        }
        if are_told {
            self.note_children_told(parent, when.asked);
            self.settle(parent);
        }
        self.has_children(parent)
    }

    /// Ended shards whose children are to be asked for. Each is handed out once, and with `again` as long as no child of it is
    /// known.
    pub fn take_children_needed(&mut self, again: bool) -> Vec<ShardId> {
        let mut needed = std::mem::take(&mut self.children_needed);
        if again {
            needed.extend(self.awaiting_children.iter().cloned());
        }
        self.children_asked.extend(needed.iter().cloned());
        needed.into_iter().collect()
    }

    /// How many ended shards wait for their first child, where that is all that a listing is wanted for.
    pub fn children_awaited(&self) -> Option<usize> {
        let is_all = !self.is_bounded && self.disabled_at.is_none();
        is_all.then_some(self.awaiting_children.len())
    }

    /// Ended shards of which a bounded run has to know all children.
    pub fn children_to_confirm(&self) -> Vec<ShardId> {
        if !self.is_bounded {
            return Vec::new();
        }
        let begun = self.begun;
        let counts =
            |id: &&ShardId| self.shards.get(*id).is_some_and(|shard| shard.is_drained() && shard.read_until < begun);
        self.awaiting_children.iter().filter(counts).cloned().collect()
    }

    /// Whether a complete listing soon would let something go on: an end whose children may be listed late, a stream that was
    /// turned off, a loss that nobody can date, or a bounded run that begins.
    pub fn wants_listing(&self) -> bool {
        !self.awaiting_children.is_empty()
            || self.is_loss_undated
            || (self.disabled_at.is_some() && !self.is_disabled_for_long())
            || self.wants_second_listing()
            || self.misses_latest_listing()
    }

    /// Whether the start of the pipeline waits for a listing.
    pub fn is_bootstrapping(&self) -> bool {
        let is_whole = self.listings.complete > 0 && self.missing_parents.is_empty() && self.latest_wanted.is_empty();
        !self.is_known() && (!is_whole || self.misses_latest_listing())
    }

    /// A listing said that the stream was turned off.
    pub fn is_off(&self) -> bool {
        self.disabled_at.is_some()
    }

    /// The stream is off and has no shards, and a gap waits that no shard can carry: the stream that follows has to tell it.
    pub fn is_over_untold(&self) -> bool {
        self.is_disabled_for_long() && self.shards.is_empty() && !self.stream_gaps.is_empty()
    }

    /// Complete listings so far.
    pub fn complete_listings(&self) -> u64 {
        self.listings.complete
    }

    /// The stream is known once everything of the first complete listing is stored.
    pub(super) fn settle_bootstrap(&mut self) {
        if self.is_known() || self.listings.complete == 0 || !self.lanes[0].opened || self.is_frozen() {
            return;
        }
        // Of a listing whose shards went before any of them was registered nobody knows the stream.
        let is_latest_open = !self.latest_wanted.is_empty() || self.misses_latest_listing();
        if is_latest_open || !self.shards.values().any(Shard::is_stored) {
            return;
        }
        while let Some(first) = self.listings.bootstrap.first() {
            if self.shards.get(first).is_some_and(|shard| !shard.is_stored()) {
                return;
            }
            self.listings.bootstrap.pop_first();
        }
        self.first_listing = self.first_listed_at().map(FirstListing::stored);
        self.settle_all();
        self.changes += 1;
    }

    /// A bounded run of a pipeline that begins ends after two listings at the earliest: one may leave a shard out.
    pub(super) fn wants_second_listing(&self) -> bool {
        self.is_bounded && !self.was_known && self.listings.complete < LISTINGS_OF_START
    }

    fn see(&mut self, listed: &ListedShard, number: u64, when: When) {
        let id = &listed.shard;
        if self.forgotten.contains(id) {
            return;
        }
        let parent = listed.parent.clone().filter(|parent| !self.is_descendant(parent, id));
        let is_new = !self.shards.contains_key(id);
        if is_new {
            self.insert(id.clone(), parent.clone(), when.asked);
            self.changes += 1;
            if !self.place_before_latest(id, listed.closed, when.asked) {
                self.place_late_parent(id);
            }
        }
        let Some(shard) = self.shards.get_mut(id) else { return };
        let is_closing = listed.closed && !shard.closed;
        // Most of a listing says what is known, and would move nothing.
        let is_news = is_new
            || is_closing
            || shard.is_unregistered()
            || shard.absence.is_noticed()
            || (shard.parent.is_none() && parent.is_some());
        if is_closing {
            shard.closed = true;
            shard.closed_by = Some(shard.closed_by.unwrap_or(when.answered).min(when.answered));
        }
        if !listed.closed {
            shard.open_at = Some(when.asked);
        }
        shard.seen_at_listing = shard.seen_at_listing.max(number);
        shard.absence = Absence::default();
        if let Stage::Drained(_, ended) = &mut shard.stage {
            ended.gone_since = None;
        }
        if !is_news {
            return;
        }
        if shard.parent.is_none()
            && let Some(parent) = &parent
        {
            shard.parent = Some(parent.clone());
            self.children.entry(parent.clone()).or_default().insert(id.clone());
        }
        self.place(id);
        self.settle_family(id);
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

    fn count_absences(&mut self, number: u64, at: ServiceTime, listed: &BTreeSet<ShardId>) {
        let missing = self.missing_parents.iter_mut().filter(|(id, _)| !listed.contains(*id));
        missing.for_each(|(_, parent)| parent.absence.count(at));
        for (id, shard) in &mut self.shards {
            if !listed.contains(id) && shard.seen_at_listing < number {
                shard.absence.count(at);
                if shard.is_suspect() || shard.is_over_for_long(at) {
                    self.suspects.insert(id.clone());
                }
            }
        }
    }
}
