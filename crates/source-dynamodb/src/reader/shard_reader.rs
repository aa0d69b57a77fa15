//! How one shard is being read.

use std::sync::Arc;
use std::time::Duration;

use tracing::warn;

use super::delay::RetryDelay;
use super::fetch::Issued;
use super::schedule::Urgency;
use super::trouble::{Refusals, advice};
use crate::api::ApiError;

/// One shard: it is either in the schedule or in a fetch.
pub(super) struct ShardReader {
    /// A fetch uses the same one: nothing is consumed by it, and it stays until its page was taken in.
    pub iterator: Option<Arc<Issued>>,
    pub interval: Duration,
    pub urgency: Urgency,
    pub not_found: u32,
    pub retry: RetryDelay,
    pub refusals: Refusals,
    /// Answers in a row whose date was in doubt.
    pub in_doubt: u32,
}

impl ShardReader {
    /// The first read is with this iterator, if there is one.
    pub fn new(iterator: Option<Arc<Issued>>) -> Self {
        Self {
            iterator,
            interval: Duration::ZERO,
            urgency: Urgency::Behind(i64::MIN),
            not_found: 0,
            retry: RetryDelay::new(),
            refusals: Refusals::default(),
            in_doubt: 0,
        }
    }

    /// A page came.
    pub fn succeeded(&mut self) {
        self.retry.succeeded();
        self.not_found = 0;
        self.refusals.end();
    }

    /// Names the shard once it has failed ten times in a row, a hundred times, and so on: a warning that all shards of a
    /// lane share may never name the one that is stuck.
    pub fn tell_long_trouble(&self, shard: &impl std::fmt::Display, call: &str, error: &ApiError) -> bool {
        let attempts = self.retry.failures();
        let is_told = attempts >= 10 && attempts == 10u32.pow(attempts.ilog10());
        if is_told {
            warn!(%shard, call, %error, attempts, advice = advice(error), "shard cannot be read");
        }
        is_told
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::ApiErrorKind;

    #[test]
    fn a_shard_that_is_stuck_is_named_ever_more_rarely() {
        let mut reader = ShardReader::new(None);
        let error = ApiError { kind: ApiErrorKind::Transient, message: "later".into() };
        let mut rng = fastrand::Rng::with_seed(1);
        let told = (1..=1_000).filter(|_| {
            reader.retry.next(false, &mut rng);
            reader.tell_long_trouble(&"a shard", "GetRecords", &error)
        });
        assert_eq!(told.collect::<Vec<u32>>(), [10, 100, 1_000]);
        reader.succeeded();
        assert!(!reader.tell_long_trouble(&"a shard", "GetRecords", &error));
    }
}
