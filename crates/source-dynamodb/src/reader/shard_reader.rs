//! How one shard is being read.

use std::time::Duration;

use tailwater_model::Trouble;
use tokio::time::Instant;
use tracing::warn;

use super::delay::RetryDelay;
use super::fetch::Issued;
use super::schedule::Urgency;
use super::trouble::{HOPELESS_AFTER, advice, hopeless};
use crate::api::ApiError;

/// One shard: it is either in the schedule or in a fetch.
pub(super) struct ShardReader {
    pub iterator: Option<Issued>,
    pub interval: Duration,
    pub urgency: Urgency,
    pub not_found: u32,
    pub retry: RetryDelay,
    /// Since when nothing but refusals came that waiting may not heal.
    refused_since: Option<Instant>,
}

impl ShardReader {
    pub fn new() -> Self {
        Self {
            iterator: None,
            interval: Duration::ZERO,
            urgency: Urgency::Behind(i64::MIN),
            not_found: 0,
            retry: RetryDelay::new(),
            refused_since: None,
        }
    }

    /// A page came.
    pub fn succeeded(&mut self) {
        self.retry.succeeded();
        self.not_found = 0;
        self.refused_since = None;
    }

    /// The trouble behind an error that does not go away by waiting: one answer proves nothing, rights that are being
    /// changed are denied for a while.
    pub fn refused(&mut self, error: &ApiError, call: &str, stream_arn: &str) -> Option<Trouble> {
        let Some(trouble) = hopeless(error, call, stream_arn) else {
            self.refused_since = None;
            return None;
        };
        let since = *self.refused_since.get_or_insert_with(Instant::now);
        (since.elapsed() >= HOPELESS_AFTER).then_some(trouble)
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
