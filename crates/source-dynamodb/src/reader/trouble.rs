//! What errors of the service mean for the pipeline, and warnings at a bounded rate.

use std::time::Duration;

use tailwater_model::{Trouble, TroubleKind};
use tokio::time::Instant;

use crate::api::{ApiError, ApiErrorKind};

/// Shortest time between two warnings of one place.
const WARN_INTERVAL: Duration = Duration::from_secs(30);

/// A refusal that waiting may not heal is believed after so long: rights that are being changed, and everything that is only
/// consistent in the end, deny for a while.
const HOPELESS_AFTER: Duration = Duration::from_secs(120);
/// And after so many of them: what is asked for rarely may be refused some times by chance.
const REFUSALS_PROVE: u32 = 5;
/// Refusals that lie further apart are of different occasions.
const REFUSALS_APART_MAX: Duration = Duration::from_secs(10 * 60);

/// Lets a warning through now and then.
#[derive(Default)]
pub(super) struct WarnRate {
    last: Option<Instant>,
    suppressed: u64,
}

impl WarnRate {
    /// Whether to warn now; if so, how many warnings were suppressed since the last one.
    pub fn admit(&mut self) -> Option<u64> {
        if self.last.is_some_and(|last| last.elapsed() < WARN_INTERVAL) {
            self.suppressed += 1;
            return None;
        }
        self.last = Some(Instant::now());
        Some(std::mem::take(&mut self.suppressed))
    }
}

/// Since when nothing but refusals came that waiting may not heal.
#[derive(Default)]
pub(super) struct Refusals {
    since: Option<Instant>,
    last: Option<Instant>,
    count: u32,
}

impl Refusals {
    /// It was not refused.
    pub fn end(&mut self) {
        *self = Self::default();
    }

    /// The trouble behind an error that does not go away by waiting: one answer proves nothing.
    pub fn add(&mut self, error: &ApiError, call: &str, stream_arn: &str) -> Option<Trouble> {
        let Some(trouble) = hopeless(error, call, stream_arn) else {
            self.end();
            return None;
        };
        if self.last.is_some_and(|last| last.elapsed() > REFUSALS_APART_MAX) {
            self.end();
        }
        self.last = Some(Instant::now());
        self.count += 1;
        let since = *self.since.get_or_insert_with(Instant::now);
        (since.elapsed() >= HOPELESS_AFTER && self.count >= REFUSALS_PROVE).then_some(trouble)
    }
}

/// The trouble behind an error that waiting does not heal; nothing for all others.
fn hopeless(error: &ApiError, call: &str, stream_arn: &str) -> Option<Trouble> {
    let message = &error.message;
    match error.kind {
        ApiErrorKind::Denied => Some(
            Trouble::new(
                TroubleKind::Environment,
                "aws.access_denied",
                format!("{call} on {stream_arn} is not allowed: {message}"),
            )
            .advise("allow dynamodb:DescribeStream, dynamodb:GetShardIterator and dynamodb:GetRecords on this stream for the role that Tailwater runs under"),
        ),
        ApiErrorKind::Invalid => Some(
            Trouble::new(
                TroubleKind::Config,
                "source.invalid_request",
                format!("the service refuses {call} on {stream_arn}: {message}"),
            )
            .advise("check region, endpoint_url and table: the stored progress must belong to this very stream"),
        ),
        ApiErrorKind::Malformed => Some(
            Trouble::new(
                TroubleKind::Environment,
                "source.malformed_answer",
                format!("{call} on {stream_arn} is answered with what cannot be understood: {message}"),
            )
            .advise("look at `endpoint_url` and at what stands between it and Tailwater, as a proxy: DynamoDB sends no such answer; nothing was skipped, and the next start asks for the same"),
        ),
        ApiErrorKind::Throttled
        | ApiErrorKind::Transient
        | ApiErrorKind::IteratorExpired
        | ApiErrorKind::Trimmed
        | ApiErrorKind::NotFound
        | ApiErrorKind::Credentials => None,
    }
}

/// The code of the trouble that a stream does not exist (any more). What of it was begun and not read to its end is a gap on
/// record before.
pub const STREAM_GONE: &str = "source.stream_gone";

/// The stream does not exist (any more) although it was not read to its end.
pub(super) fn stream_gone(stream_arn: &str) -> Trouble {
    Trouble::new(TroubleKind::Environment, STREAM_GONE, format!("the stream {stream_arn} does not exist"))
        .advise("was the table deleted, or its stream turned off more than 24 hours ago? `tailwater stream describe TABLE --older` shows what is there; what was not read is lost")
}

/// Nothing that goes by time can be known: where a run ends, whether something was lost.
pub(super) fn clock_stands_still(stream_arn: &str, still: Duration) -> Trouble {
    let seconds = still.as_secs();
    let message = format!("the `Date` of the answers about {stream_arn} has stood still for {seconds} seconds");
    Trouble::new(TroubleKind::Environment, "source.clock_stands_still", message)
        .advise("look at what stands between Tailwater and DynamoDB, as a proxy that answers from a cache")
}

/// What to say about an error that is waited out.
pub(super) fn advice(error: &ApiError) -> &'static str {
    match error.kind {
        ApiErrorKind::Credentials => {
            "renew the credentials in their file, or as `aws sso login` does: they are looked up again every two minutes, and \
             Tailwater goes on by itself; those in variables of the environment need a new start"
        }
        ApiErrorKind::Throttled => {
            "more than two readers of this stream, or too many calls of this account? Tailwater waits"
        }
        ApiErrorKind::Trimmed => {
            "records are gone before they were read: that is a gap, and `on_gap` says what follows"
        }
        ApiErrorKind::NotFound => "whether it is gone is found out: then it is a gap, and `on_gap` says what follows",
        ApiErrorKind::Denied | ApiErrorKind::Invalid | ApiErrorKind::Malformed => {
            "Tailwater tries again for two minutes, and ends then"
        }
        ApiErrorKind::IteratorExpired | ApiErrorKind::Transient => "Tailwater keeps trying",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gaps 1501001399: two shards in doubt, minutes apart, and each question refused.
    #[tokio::test(start_paused = true)]
    async fn some_refusals_by_chance_are_no_missing_right() {
        let denied = ApiError { kind: ApiErrorKind::Denied, message: "no".into() };
        let mut refusals = Refusals::default();
        let add = |refusals: &mut Refusals| refusals.add(&denied, "GetShardIterator", "arn").is_some();
        for _ in 1..REFUSALS_PROVE {
            assert!(!add(&mut refusals));
            tokio::time::sleep(HOPELESS_AFTER * 2).await;
        }
        assert!(add(&mut refusals));
        refusals.end();
        assert!(!add(&mut refusals));
    }

    /// Default 4140001686: a doubt now and then, in a night.
    #[tokio::test(start_paused = true)]
    async fn refusals_that_lie_hours_apart_are_no_missing_right() {
        let denied = ApiError { kind: ApiErrorKind::Denied, message: "no".into() };
        let mut refusals = Refusals::default();
        for _ in 0..9 {
            assert_eq!(refusals.add(&denied, "GetShardIterator", "arn"), None);
            tokio::time::sleep(REFUSALS_APART_MAX * 2).await;
        }
    }
}
