//! How long to wait before a lane opens again: between half and all of a ceiling that doubles up to a maximum. A lane
//! never opens again at once, so this is not the full jitter of the reader's retries.
//!
//! `backoff` gives the ceiling, here and in the reader of `source-dynamodb`. It is unmaintained (RUSTSEC-2025-0012); to
//! replace it, replace these two files.

use std::time::Duration;

use backoff::backoff::Backoff;
use backoff::{ExponentialBackoff, ExponentialBackoffBuilder};
use tokio::time::Instant;

/// Growth of the delay from one attempt to the next.
const MULTIPLIER: f64 = 2.0;

/// Waits between attempts that grow to a maximum and never give up (P8).
pub(crate) struct ReopenDelay {
    policy: ExponentialBackoff,
    jitter: fastrand::Rng,
    /// Since when nothing has succeeded.
    since: Option<Instant>,
}

impl ReopenDelay {
    /// Delays between `delay_min` and `delay_max`, from one seed.
    pub(crate) fn new(delay_min: Duration, delay_max: Duration, seed: u64) -> Self {
        let policy = ExponentialBackoffBuilder::new()
            .with_initial_interval(delay_min)
            .with_max_interval(delay_max)
            .with_multiplier(MULTIPLIER)
            // The crate's own jitter is ambient randomness, and its default gives up after 15 minutes.
            .with_randomization_factor(0.0)
            .with_max_elapsed_time(None)
            .build();
        Self { policy, jitter: fastrand::Rng::with_seed(seed), since: None }
    }

    /// The next wait: between half and all of the policy's, so that lanes do not come back in step.
    pub(crate) fn next(&mut self) -> Duration {
        self.since.get_or_insert_with(Instant::now);
        let whole = self.policy.next_backoff().unwrap_or(self.policy.max_interval);
        whole.mul_f64(0.5 + 0.5 * self.jitter.f64())
    }

    /// Since when attempts fail.
    pub(crate) fn since(&self) -> Option<Instant> {
        self.since
    }

    /// Begins anew after success.
    pub(crate) fn reset(&mut self) {
        self.policy.reset();
        self.since = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_grow_to_their_maximum_and_never_end() {
        let (min, max) = (Duration::from_millis(100), Duration::from_secs(5));
        let mut delay = ReopenDelay::new(min, max, 7);
        let waits: Vec<_> = (0..200).map(|_| delay.next()).collect();
        assert!(waits.iter().all(|wait| *wait >= min / 2 && *wait <= max));
        assert!(waits[0] <= min);
        assert!(waits[199] >= max / 2);
        assert!(delay.since().is_some());
        delay.reset();
        assert_eq!(delay.since(), None);
        assert!(delay.next() <= min);
    }
}
