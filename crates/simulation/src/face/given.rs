//! What the readers of one shard were given, and how far in time they can have known by it that they had read.

use std::collections::{BTreeMap, VecDeque};

use tailwater_model::ShardId;
use tailwater_source_dynamodb::{Decoded, RecordPage};

use crate::service::EMPTY_PAGES_MAX;

/// Pages of the last moment do not tell how things stood before them.
pub(crate) const JUST_NOW_MS: i64 = 120_000;

/// When the last empty pages in a row came to one worker with one iterator after the other, by shard.
#[derive(Default)]
pub(super) struct EmptyPages(BTreeMap<ShardId, VecDeque<i64>>);

impl EmptyPages {
    /// What comes next of this shard does not go on from what came before.
    pub fn begin_anew(&mut self, shard: &ShardId) {
        self.0.remove(shard);
    }

    /// When the first came of as many empty pages as prove that there was nothing; nothing while there are fewer.
    pub fn add(&mut self, shard: &ShardId, page: &RecordPage, now_ms: i64) -> Option<i64> {
        let moments = self.0.entry(shard.clone()).or_default();
        if !page.records.is_empty() {
            moments.clear();
        }
        // An end says nothing of the time before it.
        if !page.records.is_empty() || page.next.is_none() {
            return None;
        }
        moments.push_back(now_ms);
        (moments.len() > EMPTY_PAGES_MAX as usize).then(|| moments.pop_front()).flatten()
    }
}

/// When, and how far in time the readers can have known then that they had read.
#[derive(Default)]
pub(super) struct Given {
    by_records: Vec<(i64, i64)>,
    by_empty_pages: Vec<(i64, i64)>,
}

impl Given {
    /// A page was given: up to its last record, or, when it was the last of many empty ones, to the first of them.
    pub fn add(&mut self, now_ms: i64, page: &RecordPage, empty_since: Option<i64>) {
        let created = page.records.iter().rev().find_map(|record| match record {
            Decoded::Event(event) => Some(event.source.created_at_ms),
            Decoded::DeadLetter(_) => None,
        });
        let (moments, until_ms) = match created {
            Some(created_ms) => (&mut self.by_records, created_ms),
            None => match empty_since {
                Some(since_ms) => (&mut self.by_empty_pages, since_ms),
                None => return,
            },
        };
        match moments.last_mut().filter(|(at_ms, _)| now_ms - *at_ms < JUST_NOW_MS / 4) {
            Some((_, known_ms)) => *known_ms = until_ms.max(*known_ms),
            None => moments.push((now_ms, until_ms)),
        }
    }

    /// How far anybody can have read a moment ago, by what was given in one of these spans of time, in which it was stored.
    /// Records count only where some of them are stored.
    pub fn known_until(&self, now_ms: i64, stored: &[(i64, i64)], has_records: bool) -> Option<i64> {
        // A step that lands now may have been handed out a moment ago.
        let is_over = |at_ms: i64, by_ms: i64| at_ms + JUST_NOW_MS <= by_ms;
        let is_stored = |at_ms: i64| stored.iter().any(|(from, until)| *from <= at_ms && is_over(at_ms, *until));
        let counts = |at_ms: i64| is_over(at_ms, now_ms) && is_stored(at_ms);
        let by_records = self.by_records.iter().filter(|_| has_records);
        let moments = by_records.chain(&self.by_empty_pages).filter(|(at_ms, _)| counts(*at_ms));
        moments.map(|(_, until_ms)| *until_ms).max()
    }
}
