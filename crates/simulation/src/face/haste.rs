//! Whether a reader waits after failures, as it has to (I6).

use std::collections::BTreeMap;
use std::time::Duration;

use tailwater_model::ShardId;
use tailwater_source_dynamodb::ApiErrorKind;
use tokio::time::Instant;

/// A call for a shard that comes so soon after one that failed did not wait at all.
const HASTE: Duration = Duration::from_millis(10);
/// A lane that opens again may ask at once for what just failed, once or twice, and who asks whether a shard exists does not
/// know of the lane that reads it; who does so again and again does not wait.
const HASTY_CALLS_MAX: u32 = 4;

/// The failures of one worker's calls by shard.
#[derive(Debug, Default)]
pub(super) struct Haste(BTreeMap<ShardId, Failures>);

/// Failures in a row.
#[derive(Debug, Default)]
struct Failures {
    last: Option<Instant>,
    /// How many more of the calls after them did not wait than did.
    hasty: u32,
}

impl Haste {
    /// A call for this shard begins: whether it is one too many that did not wait.
    pub(super) fn is_hasty(&mut self, shard: &ShardId) -> bool {
        let failures = self.0.entry(shard.clone()).or_default();
        if let Some(last) = failures.last {
            let waited = last.elapsed() >= HASTE;
            failures.hasty = if waited { failures.hasty.saturating_sub(1) } else { failures.hasty + 1 };
        }
        failures.hasty > HASTY_CALLS_MAX
    }

    /// It was answered, with an error of this kind or well.
    pub(super) fn answered(&mut self, shard: &ShardId, error: Option<ApiErrorKind>) {
        let failures = self.0.entry(shard.clone()).or_default();
        match error {
            None => *failures = Failures::default(),
            // For these a new iterator is the answer, and that is asked for at once.
            Some(ApiErrorKind::IteratorExpired | ApiErrorKind::Invalid) => {}
            Some(_) => failures.last = Some(Instant::now()),
        }
    }
}
