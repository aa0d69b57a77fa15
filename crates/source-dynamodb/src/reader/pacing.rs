//! How fast a shard is polled: a pure function of what its last page held. Users pay for every request.

use std::time::Duration;

/// Most records of a page (DynamoDB API reference, `GetRecords`: 1 000 records or 1 MB).
const PAGE_RECORDS_MAX: usize = 1_000;
/// A page of this size was cut off by the limit of 1 MB. On the wire it is larger than its items, never smaller.
const PAGE_BYTES_FULL: usize = 900_000;

/// What matters of a page.
#[derive(Clone, Copy, Debug)]
pub(super) struct PageSize {
    pub records: usize,
    /// Bytes over the wire.
    pub bytes: usize,
}

/// Bounds of the wait between two polls of a shard.
#[derive(Clone, Copy, Debug)]
pub(super) struct PaceLimits {
    pub interval_min: Duration,
    pub interval_max: Duration,
}

impl PageSize {
    /// There is more to read at once.
    pub fn full(self) -> bool {
        self.records >= PAGE_RECORDS_MAX || (self.records > 0 && self.bytes >= PAGE_BYTES_FULL)
    }
}

/// The wait after a page: none while pages are full, the shortest after records, half as long again after each empty
/// page.
pub(super) fn next_interval(previous: Duration, page: PageSize, limits: PaceLimits) -> Duration {
    let longest = limits.interval_max.max(limits.interval_min);
    if page.full() {
        Duration::ZERO
    } else if page.records > 0 {
        limits.interval_min
    } else {
        (previous + previous / 2).clamp(limits.interval_min, longest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: PaceLimits =
        PaceLimits { interval_min: Duration::from_millis(100), interval_max: Duration::from_secs(1) };

    fn after(previous_ms: u64, records: usize, bytes: usize) -> u128 {
        next_interval(Duration::from_millis(previous_ms), PageSize { records, bytes }, LIMITS).as_millis()
    }

    #[test]
    fn the_wait_follows_the_pages() {
        assert_eq!(after(1_000, 1_000, 5_000), 0, "full by records");
        assert_eq!(after(1_000, 2, 900_000), 0, "full by bytes");
        assert_eq!(after(1_000, 1, 500), 100);
        assert_eq!(after(0, 0, 50), 100, "never without a wait when empty");
        assert_eq!(after(100, 0, 50), 150);
        assert_eq!(after(900, 0, 50), 1_000);
    }

    #[test]
    fn limits_the_wrong_way_round_do_not_panic() {
        let limits = PaceLimits { interval_min: LIMITS.interval_max, interval_max: LIMITS.interval_min };
        let page = PageSize { records: 0, bytes: 0 };
        assert_eq!(next_interval(Duration::ZERO, page, limits), limits.interval_min);
    }
}
