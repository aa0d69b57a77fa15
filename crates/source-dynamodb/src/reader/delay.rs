//! How long to wait after trouble: growing, with full jitter from a seed, and never giving up.

use std::time::Duration;

use backoff::backoff::Backoff;
use backoff::{ExponentialBackoff, ExponentialBackoffBuilder};

/// First ceiling of a wait.
const CEILING_MIN: Duration = Duration::from_millis(200);
/// Last ceiling of a wait: what heals is noticed within this time.
const CEILING_MAX: Duration = Duration::from_secs(20);
/// Shortest wait: no answer of the service makes a hot loop.
const WAIT_MIN_MS: u64 = 20;
/// Added when the service asks for fewer calls.
const THROTTLED_EXTRA: Duration = Duration::from_millis(500);

/// The waits of one run of failures.
pub(super) struct RetryDelay {
    policy: ExponentialBackoff,
    failures: u32,
}

impl RetryDelay {
    pub fn new() -> Self {
        let policy = ExponentialBackoffBuilder::new()
            .with_initial_interval(CEILING_MIN)
            .with_max_interval(CEILING_MAX)
            .with_multiplier(2.0)
            // The crate's own jitter is not seeded and not full: it gives the ceiling, we draw below it.
            .with_randomization_factor(0.0)
            // Recovery needs nobody once the fault heals, however long that takes; the crate's default is 15 minutes.
            .with_max_elapsed_time(None)
            .build();
        Self { policy, failures: 0 }
    }

    /// The next wait.
    pub fn next(&mut self, throttled: bool, rng: &mut fastrand::Rng) -> Duration {
        self.failures = self.failures.saturating_add(1);
        let ceiling = self.policy.next_backoff().unwrap_or(CEILING_MAX);
        // Whole milliseconds: below them the crate adds randomness of its own.
        let ceiling_ms = u64::try_from(ceiling.as_millis()).unwrap_or(u64::MAX).max(WAIT_MIN_MS);
        let wait = Duration::from_millis(rng.u64(WAIT_MIN_MS..=ceiling_ms));
        if throttled { wait + THROTTLED_EXTRA } else { wait }
    }

    /// Failures since the last success.
    pub fn failures(&self) -> u32 {
        self.failures
    }

    /// Something worked.
    pub fn succeeded(&mut self) {
        if self.failures > 0 {
            self.failures = 0;
            self.policy.reset();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_a_ceiling_and_never_end() {
        let mut delay = RetryDelay::new();
        let mut rng = fastrand::Rng::with_seed(1);
        let waits: Vec<Duration> = (0..2_000).map(|_| delay.next(false, &mut rng)).collect();
        assert!(waits[0] <= CEILING_MIN);
        assert!(waits.iter().all(|wait| (Duration::from_millis(WAIT_MIN_MS)..=CEILING_MAX).contains(wait)));
        assert!(waits[1_900..].iter().any(|wait| *wait > CEILING_MAX / 2), "the ceiling is used");
        delay.succeeded();
        assert!(delay.next(false, &mut rng) <= CEILING_MIN);
        assert!(delay.next(true, &mut rng) >= THROTTLED_EXTRA);
    }

    #[test]
    fn the_same_seed_gives_the_same_waits() {
        let run = |seed| {
            let (mut delay, mut rng) = (RetryDelay::new(), fastrand::Rng::with_seed(seed));
            (0..50).map(|_| delay.next(false, &mut rng)).collect::<Vec<_>>()
        };
        assert_eq!(run(7), run(7));
        assert_ne!(run(7), run(8));
    }
}
