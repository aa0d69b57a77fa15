//! What pages say.

use std::time::Duration;

use tailwater_model::{Advance, GapCause, Position, SequenceNumber, ServiceTime, ShardId};

use super::ShardGraph;
use super::listing::LATE_MAX;
use super::read_until::{CHILDREN_LISTED_WITHIN, EmptyRun, LISTINGS_WITH_CHILDREN};
use super::shard::{ReadFrom, Shard, Stage};
use crate::api::{IteratorStart, When};

/// Answers in a row that must say that a shard has ended. Only the page that brings the last
/// records of a shard that listings call closed is believed at once.
const ENDS_PROVE: u32 = 2;
/// An end that neither a listing nor a child confirms is one when pages said nothing else for so long, and no listing called the
/// shard open: one that none shows any more has to end, too.
const UNCONFIRMED_PROVES_AFTER: Duration = LATE_MAX;

/// What matters of a page.
#[derive(Debug)]
pub(crate) struct PageFacts<'a> {
    pub when: When,
    /// The place of its last record; nothing when it is empty.
    pub last: Option<&'a SequenceNumber>,
    /// The newest creation time of its records.
    pub created: Option<ServiceTime>,
    /// It names no next iterator.
    pub is_end: bool,
    /// Where its iterator began, if it is the first page that was read with it.
    pub start: Option<&'a IteratorStart>,
}

/// What a page means.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum PageMeans {
    /// The shard must not be read any more, or not from there: the page is to be forgotten.
    Nothing,
    /// It goes into the sink with this step; nothing when it was empty.
    Step { advance: Option<Advance>, read_until: Option<ServiceTime>, is_end: bool },
}

impl ShardGraph {
    /// Where to read this shard, or nothing while it must not be read (I3).
    pub fn read_from(&self, id: &ShardId) -> Option<IteratorStart> {
        if self.is_frozen() { None } else { self.shards.get(id)?.read_from() }
    }

    /// Where this shard is read, if nothing of it waits for the sink: an iterator that stands there may still be used when its lane
    /// was opened again.
    pub fn stands_at(&self, id: &ShardId) -> Option<IteratorStart> {
        self.shards.get(id).filter(|shard| shard.is_all_durable())?;
        self.read_from(id)
    }

    /// A page was read.
    pub fn page_read(&mut self, id: &ShardId, page: &PageFacts<'_>) -> PageMeans {
        let when = page.when;
        self.note_time(when.answered);
        let is_frozen = self.is_frozen();
        let Some(shard) = self.shards.get(id).filter(|shard| !is_frozen && shard.may_be_read()) else {
            return PageMeans::Nothing;
        };
        // Gap rule 5. Only the answer knows the time: the clock of this machine may have stood still with it.
        let is_from_horizon = page.start == Some(&IteratorStart::TrimHorizon);
        if is_from_horizon && self.is_unread_for_too_long(shard, when.answered) {
            self.lost(id, GapCause::Away);
            return PageMeans::Nothing;
        }
        let has_children = self.has_children(id);
        let Some(shard) = self.shards.get_mut(id) else { return PageMeans::Nothing };
        shard.absence = super::Absence::default();
        shard.missing = super::missing::Missing::default();
        let (is_closed, listed_open_at) = (shard.is_closed(), shard.open_at);
        let is_confirmed = is_closed || has_children;
        let Stage::Readable(chain, reading) = &mut shard.stage else { return PageMeans::Nothing };
        if page.is_end {
            reading.ends_told += 1;
            reading.ends_since.get_or_insert(when.answered);
            shard.goes_on = false;
        } else if reading.ends_told > 0 && (page.last.is_some() || !is_closed) {
            // Empty pages on the way to the end of a closed shard take nothing back.
            (reading.ends_told, reading.ends_since) = (0, None);
            self.children_asked.remove(id);
        }
        let is_believed = is_closed && page.last.is_some();
        let unconfirmed_since = reading.ends_since.max(listed_open_at);
        let is_long_told = unconfirmed_since.is_some_and(|since| when.asked.since(since) >= UNCONFIRMED_PROVES_AFTER);
        let is_proved = reading.ends_told >= ENDS_PROVE && (is_confirmed || is_long_told);
        let is_end = page.is_end && (is_believed || is_proved);
        let mut proved = None;
        if page.last.is_some() {
            reading.from = ReadFrom::Position;
            chain.empty = EmptyRun::default();
            // A record from the future says nothing.
            proved = page.created.map(|created| created.min(when.answered));
        } else if !page.is_end {
            // A record that comes later than that is carried all the same, but a bounded run may have ended before.
            proved = shard.proved_empty(page, has_children).map(|asked| asked.minus(self.visible_within));
        }
        if let Some(moment) = proved {
            shard.read_until_at_least(moment);
            shard.was_read = true;
        }
        let to = match page.last {
            _ if is_end => Some(Position::End),
            Some(number) => Some(Position::After(number.detached())),
            None => None,
        };
        let advance = to.and_then(|to| shard.advance(to, None));
        let read_until = shard.read_until;
        if is_end {
            shard.closed_by = Some(shard.closed_by.unwrap_or(when.answered).min(when.answered));
            shard.exhaust();
        }
        self.settle(id);
        PageMeans::Step { advance, read_until, is_end }
    }

    /// A complete listing that was asked for at this moment shows no child of shards that were closed long enough before it.
    pub(super) fn count_listing_without_children(&mut self, asked: ServiceTime) {
        let Self { shards, children, .. } = self;
        for (id, shard) in shards.iter_mut().filter(|(_, shard)| shard.closed) {
            let is_late = shard.closed_by.is_some_and(|by| asked.since(by) >= CHILDREN_LISTED_WITHIN);
            if is_late && matches!(shard.stage, Stage::Readable(..)) && !children.contains_key(id) {
                shard.listings_without_child += 1;
            }
        }
    }
}

impl Shard {
    /// By an empty page, since when all pages were empty, if they are as many as it takes. Of a closed shard only its end tells:
    /// what came after that is in its children. Where neither its end nor a child comes, it is not closed, whatever
    /// listings say: some services name an end of shards that are open.
    fn proved_empty(&mut self, page: &PageFacts<'_>, has_children: bool) -> Option<ServiceTime> {
        let Stage::Readable(chain, _) = &mut self.stage else { return None };
        if page.start.is_some() {
            // Another iterator may meet again what the one before it has met.
            chain.empty = EmptyRun::default();
        }
        let since = chain.empty.add(page.when)?;
        let is_late = self.closed_by.is_some_and(|by| since.since(by) >= LATE_MAX);
        if is_late && !has_children && self.listings_without_child >= LISTINGS_WITH_CHILDREN {
            self.goes_on = true;
        }
        (!self.is_closed()).then_some(since)
    }
}
