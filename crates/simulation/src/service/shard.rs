//! One shard: a range of keys for some hours, and the records that came meanwhile.

use super::manners::Manners;
use super::record::Record;
use super::sequence::Sequence;

/// How late listings may show what happened to a shard, in milliseconds (observed: up to a minute, of lives of hours).
const LISTED_LATE_MS_MAX: i64 = 60_000;
/// Listings are late by at most this part of a shard's life: with fast rotation a child would else be listed after it
/// closed, which nobody ever saw.
const LIFE_PER_LATENESS: i64 = 10;

/// A shard, from its birth until long after it left the listing.
#[derive(Debug)]
pub(super) struct Shard {
    pub(super) id: String,
    /// The number of its parent in its stream.
    pub(super) parent: Option<usize>,
    /// The keys whose place lies between these belong to it while it is open; the end is not included.
    pub(super) places: std::ops::Range<u64>,
    pub(super) starting: Sequence,
    /// There once the shard is closed.
    pub(super) ending: Option<Sequence>,
    pub(super) created_at_ms: i64,
    pub(super) closed_at_ms: Option<i64>,
    /// When it is to close by itself.
    pub(super) closes_at_ms: Option<i64>,
    /// Listings show it from this time on: never after it closed, so never before its parent.
    pub(super) listed_from_ms: i64,
    /// Listings show that it is closed from this time on.
    pub(super) closed_listed_from_ms: i64,
    /// Longest time by which listings may be late about it.
    listed_late_ms_max: i64,
    /// The last listing did not have it, by chance.
    pub(super) was_unlisted: bool,
    /// How long its records are kept at least.
    pub(super) kept_ms: i64,
    pub(super) records: Vec<Record>,
    /// Records at the beginning that can no longer be read.
    pub(super) trimmed: usize,
    /// It left the listing, and nothing of it can be read.
    pub(super) gone: bool,
    /// Who read it lately: the reader's mark and the time.
    pub(super) readers: Vec<(u64, i64)>,
    last: Sequence,
}

/// Where a new shard comes from.
pub(super) struct Birth {
    pub(super) parent: Option<usize>,
    pub(super) starting: Sequence,
    pub(super) places: std::ops::Range<u64>,
}

impl Shard {
    pub(super) fn new(now_ms: i64, birth: Birth, manners: &Manners, rng: &mut fastrand::Rng) -> Self {
        let Birth { parent, starting, places } = birth;
        let id = format!("shardId-{now_ms:020}-{:08x}", rng.u32(..));
        let life_ms = manners.rotate_after_ms.clone().map(|after| rng.i64(after));
        Self {
            id,
            parent,
            places,
            starting,
            ending: None,
            created_at_ms: now_ms,
            closed_at_ms: None,
            closes_at_ms: life_ms.map(|life_ms| now_ms + life_ms),
            listed_from_ms: now_ms,
            closed_listed_from_ms: now_ms,
            listed_late_ms_max: life_ms
                .map_or(LISTED_LATE_MS_MAX, |ms| (ms / LIFE_PER_LATENESS).min(LISTED_LATE_MS_MAX)),
            was_unlisted: false,
            kept_ms: rng.i64(manners.trim_after_ms.clone()),
            records: Vec::new(),
            trimmed: 0,
            gone: false,
            readers: Vec::new(),
            last: starting.before(),
        }
    }

    pub(super) fn is_open(&self) -> bool {
        self.closed_at_ms.is_none()
    }

    /// The number of the next record. The first one may be the starting number itself.
    pub(super) fn next_sequence(&self, rng: &mut fastrand::Rng) -> Sequence {
        if self.records.is_empty() && rng.bool() { self.starting } else { self.last.later(rng) }
    }

    /// Takes a record, and says when it is due to be trimmed. Records are seen in their order: none before an earlier one.
    pub(super) fn push(&mut self, mut record: Record) -> i64 {
        let before = self.records.last().map_or(i64::MIN, |record| record.visible_at_ms);
        record.visible_at_ms = record.visible_at_ms.max(before);
        self.last = record.sequence;
        let due_ms = record.created_at_ms + self.kept_ms;
        self.records.push(record);
        due_ms
    }

    /// The number of its newest record; before the first one, the number that it begins with.
    pub(super) fn newest(&self) -> Sequence {
        if self.records.is_empty() { self.starting } else { self.last }
    }

    /// Closes the shard. The ending number is that of the last record, or a later one (observed on AWS).
    pub(super) fn close(&mut self, now_ms: i64, rng: &mut fastrand::Rng) {
        let last = self.newest();
        self.ending = Some(if rng.bool() { last } else { last.later(rng) });
        self.closed_at_ms = Some(now_ms);
        self.closed_listed_from_ms = now_ms;
        self.closes_at_ms = None;
        // A script may close what is not listed yet.
        self.listed_from_ms = self.listed_from_ms.min(now_ms);
    }

    /// How late listings are about what happens to it now.
    pub(super) fn lateness(&self, rng: &mut fastrand::Rng) -> i64 {
        rng.i64(0..=self.listed_late_ms_max)
    }

    /// Where the records after this sequence number begin.
    pub(super) fn index_after(&self, sequence: Sequence) -> usize {
        self.records.partition_point(|record| record.sequence <= sequence)
    }

    /// Whether a sequence number may have been given by this shard.
    pub(super) fn covers(&self, sequence: Sequence) -> bool {
        let end = self.ending.unwrap_or(self.last).max(self.starting);
        (self.starting..=end).contains(&sequence)
    }

    /// Records that can be seen at this time, trimmed ones included.
    pub(super) fn visible(&self, now_ms: i64) -> usize {
        self.records.partition_point(|record| record.visible_at_ms <= now_ms)
    }

    /// Trims what is due, and says when something is due next.
    pub(super) fn trim_due(&mut self, now_ms: i64) -> i64 {
        while let Some(record) = self.records.get(self.trimmed)
            && record.created_at_ms + self.kept_ms <= now_ms
        {
            self.trimmed += 1;
        }
        let next = self.records.get(self.trimmed).map(|record| record.created_at_ms);
        match (next, self.closed_at_ms) {
            (Some(created_at_ms), _) => created_at_ms + self.kept_ms,
            (None, Some(closed_at_ms)) if closed_at_ms + self.kept_ms <= now_ms => {
                self.gone = true;
                i64::MAX
            }
            (None, Some(closed_at_ms)) => closed_at_ms + self.kept_ms,
            (None, None) => i64::MAX,
        }
    }
}
