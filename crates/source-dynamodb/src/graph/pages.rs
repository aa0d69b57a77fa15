//! What pages say.

use std::time::Duration;

use tailwater_model::{Advance, GapCause, Position, SequenceNumber, ServiceTime, ShardId};

use super::ShardGraph;
use super::listing::LATE_MAX;
use super::read_until::EmptyRun;
use super::shard::{ReadFrom, Stage};
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
        let has_children = page.is_end && self.has_children(id);
        let Some(shard) = self.shards.get_mut(id) else { return PageMeans::Nothing };
        shard.absence = super::Absence::default();
        shard.missing = super::missing::Missing::default();
        let (is_closed, listed_open_at) = (shard.closed, shard.open_at);
        let is_confirmed = is_closed || has_children;
        let Stage::Readable(chain, reading) = &mut shard.stage else { return PageMeans::Nothing };
        if page.is_end {
            reading.ends_told += 1;
            reading.ends_since.get_or_insert(when.answered);
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
        } else if !page.is_end && !is_closed {
            if page.start.is_some() {
                // Another iterator may meet again what the one before it has met.
                chain.empty = EmptyRun::default();
            }
            // Of a closed shard only its end tells: what came after that is in its children.
            // A record that comes later than that is carried all the same, but a bounded run may have ended before.
            proved = chain.empty.add(when).map(|asked| asked.minus(self.visible_within));
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
}
