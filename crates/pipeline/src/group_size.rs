//! How large the groups of a lane may be: smaller ones while its sink is too slow for full ones. A group that was too large for the
//! time that its commit had would be as large when it is read again.

use std::time::Duration;

use crate::collect::GroupLimits;

/// A commit that fails after so long may have been too large for its time; one that fails sooner failed for something else.
/// By their defaults all sinks allow more for a commit.
const SLOW: Duration = Duration::from_secs(5);

/// The bounds of the next group.
#[derive(Debug)]
pub(crate) struct GroupSize {
    most: GroupLimits,
    now: GroupLimits,
}

impl GroupSize {
    pub(crate) fn new(most: GroupLimits) -> Self {
        Self { most, now: most }
    }

    pub(crate) fn limits(&self) -> GroupLimits {
        self.now
    }

    /// A commit of so many events and bytes failed. Answers whether the next group is to be half as large. A page is never cut,
    /// so that one batch fits always.
    pub(crate) fn failed(&mut self, took: Duration, (events, bytes): (usize, usize)) -> bool {
        if took < SLOW {
            return false;
        }
        self.now.events_max = (events.min(self.now.events_max) / 2).max(1);
        self.now.bytes_max = (bytes.min(self.now.bytes_max) / 2).max(1);
        true
    }

    /// A commit of so many events and bytes succeeded. Where it was fast although it was about full, twice as much has time enough.
    pub(crate) fn committed(&mut self, took: Duration, (events, bytes): (usize, usize)) {
        let is_full = events >= self.now.events_max / 2 || bytes >= self.now.bytes_max / 2;
        if self.now != self.most && is_full && took < SLOW / 2 {
            self.now.events_max = self.now.events_max.saturating_mul(2).min(self.most.events_max);
            self.now.bytes_max = self.now.bytes_max.saturating_mul(2).min(self.most.bytes_max);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOST: GroupLimits = GroupLimits { events_max: 20_000, bytes_max: 16 << 20, delay_max: Duration::ZERO };

    #[test]
    fn half_of_what_was_too_large_is_tried_and_grows_again_when_there_is_time_to_spare() {
        let mut size = GroupSize::new(MOST);
        assert!(size.failed(Duration::from_secs(54), (3_000, 1 << 20)));
        assert_eq!((size.limits().events_max, size.limits().bytes_max), (1_500, 1 << 19));
        let fast = Duration::from_secs(1);
        size.committed(SLOW, (1_500, 1 << 10));
        size.committed(fast, (20, 1 << 10));
        assert_eq!(size.limits().events_max, 1_500, "nothing tells that more would have time enough");
        for events_max in [3_000, 6_000, 12_000, 20_000, 20_000] {
            size.committed(fast, (size.limits().events_max, 1 << 10));
            assert_eq!(size.limits().events_max, events_max);
        }
        assert_eq!(size.limits(), MOST);
    }

    #[test]
    fn a_group_holds_one_batch_at_least_and_a_broken_connection_says_nothing() {
        let mut size = GroupSize::new(MOST);
        assert!(!size.failed(Duration::from_secs(1), (20_000, 16 << 20)));
        assert_eq!(size.limits(), MOST);
        for _ in 0..40 {
            size.failed(SLOW, (20_000, 16 << 20));
        }
        assert_eq!((size.limits().events_max, size.limits().bytes_max), (1, 1));
    }
}
