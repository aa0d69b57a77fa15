//! How many dead letters a lane stored lately: what its record says, and what all lanes of the pipeline come to. Pure.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tailwater_model::TooManyDeadLetters;

/// A lane's dead letters of the last minute, by the second of the brokers' clock in which they were stored: at most as many
/// entries as a minute has seconds, and one (I6).
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
pub(crate) struct RecentDeadLetters {
    by_second: Vec<(i64, u64)>,
}

impl RecentDeadLetters {
    /// So many more, without those that are too old by now. Times are milliseconds since 1970.
    pub(crate) fn with(&self, count: u64, now_ms: i64) -> Self {
        let mut by_second: BTreeMap<i64, u64> = BTreeMap::new();
        for (at, count) in self.still(now_ms).chain([(second(now_ms), count)]) {
            let stored = by_second.entry(at).or_default();
            *stored = stored.saturating_add(count);
        }
        Self { by_second: by_second.into_iter().collect() }
    }

    /// Those of the last minute.
    pub(crate) fn count(&self, now_ms: i64) -> u64 {
        self.still(now_ms).fold(0, |sum, (_, count)| sum.saturating_add(count))
    }

    /// A clock that went back leaves times to come: they count, as those of this moment.
    fn still(&self, now_ms: i64) -> impl Iterator<Item = (i64, u64)> {
        let window = i64::try_from(TooManyDeadLetters::WINDOW.as_secs()).unwrap_or(i64::MAX);
        let oldest = second(now_ms).saturating_sub(window);
        let counted = self.by_second.iter().copied().filter(move |(at, _)| *at > oldest);
        counted.map(move |(at, count)| (at.min(second(now_ms)), count))
    }
}

fn second(ms: i64) -> i64 {
    ms.div_euclid(1000)
}

/// What all lanes of a pipeline stored lately, and what they are about to store.
#[derive(Debug, Default)]
pub(crate) struct AllDeadLetters {
    lanes: BTreeMap<u32, LaneDeadLetters>,
}

#[derive(Debug, Default)]
struct LaneDeadLetters {
    stored: RecentDeadLetters,
    /// Of a commit that is under way, or whose fate is unknown.
    under_way: u64,
}

impl AllDeadLetters {
    /// A lane was read: this is what it stored, and nothing is under way.
    pub(crate) fn read(&mut self, lane: u32, stored: RecentDeadLetters) {
        self.lanes.insert(lane, LaneDeadLetters { stored, under_way: 0 });
    }

    /// Those of the last minute, with those that are under way.
    pub(crate) fn count(&self, now_ms: i64) -> u64 {
        self.lanes.values().fold(0, |sum, lane| sum.saturating_add(lane.stored.count(now_ms) + lane.under_way))
    }

    /// A lane is about to store so many. Gives what its record is to say. They count until [`read`](Self::read) tells what
    /// became of them.
    pub(crate) fn begin(&mut self, lane: u32, count: u64, now_ms: i64) -> RecentDeadLetters {
        let lane = self.lanes.entry(lane).or_default();
        lane.under_way = count;
        lane.stored.with(count, now_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEGAN_MS: i64 = 1_790_000_000_500;

    #[test]
    fn only_the_last_minute_counts() {
        let recent = RecentDeadLetters::default().with(6, BEGAN_MS).with(4, BEGAN_MS + 300).with(2, BEGAN_MS + 30_000);
        for (after_ms, count) in [(30_000, 12), (59_000, 12), (60_000, 2), (89_000, 2), (90_000, 0)] {
            assert_eq!(recent.count(BEGAN_MS + after_ms), count, "{after_ms} ms");
        }
        assert_eq!(recent.with(1, BEGAN_MS + 90_000), RecentDeadLetters::default().with(1, BEGAN_MS + 90_000));
    }

    #[test]
    fn a_record_stays_small_whatever_the_clock_does() {
        let mut recent = RecentDeadLetters::default();
        for number in 0..10_000 {
            recent = recent.with(1, BEGAN_MS + (number * 7_919) % 600_000);
            assert!(recent.by_second.len() <= 61, "{recent:?}");
        }
        let before = RecentDeadLetters::default().with(3, BEGAN_MS + 3_600_000);
        assert_eq!(before.count(BEGAN_MS), 3, "an hour back");
        assert_eq!(before.with(1, BEGAN_MS).count(BEGAN_MS + 60_000), 0, "and they are forgotten in time");
    }

    #[test]
    fn what_is_under_way_counts_until_its_fate_is_known() {
        let mut all = AllDeadLetters::default();
        all.read(0, RecentDeadLetters::default().with(2, BEGAN_MS));
        let stored = all.begin(1, 3, BEGAN_MS);
        assert_eq!(all.count(BEGAN_MS), 5);
        all.read(1, stored);
        assert_eq!(all.count(BEGAN_MS), 5);
        all.begin(1, 1, BEGAN_MS + 61_000);
        all.read(1, RecentDeadLetters::default());
        assert_eq!(all.count(BEGAN_MS + 61_000), 0, "it was not stored");
    }
}
