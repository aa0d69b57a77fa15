//! What is waited out while a pipeline is claimed again: when it goes over to another stream, or its owner is gone.

use std::time::Duration;

use tailwater_model::{Trouble, TroubleKind};
use tailwater_pipeline::StopSignal;
use tokio::time::{Instant, sleep};

/// Wait before the table is asked again whether there is another stream.
const ASK_AGAIN_AFTER: Duration = Duration::from_secs(10);
/// What is waited out as long as it takes: somebody who is away comes back. Of a sink it is what its lanes are opened again for.
const HEALS: &[&str] = &[
    "aws.unreachable",
    "aws.unavailable",
    "aws.credentials",
    "aws.no_credentials",
    "sink.postgres.connection",
    "sink.postgres.unavailable",
    "sink.postgres.resources",
    "sink.postgres.read_only",
    "sink.postgres.lock_timeout",
    "sink.postgres.statement_timeout",
    "sink.postgres.transaction_state",
    "sink.postgres.conflict",
    "sink.postgres.object_state",
    "sink.postgres.server_error",
    "sink.postgres.unknown",
    "sink.kafka.unreachable",
    "sink.kafka.timeout",
    "sink.kafka.coordinator",
    "sink.kafka.leader",
    "sink.kafka.not_enough_replicas",
    "sink.kafka.tls",
    "sink.kafka.authentication",
    "sink.kafka.producer",
    "sink.kafka.broker_limit",
    "sink.kafka.unknown_topic",
    "sink.kafka.resources",
    "sink.kafka.unexpected",
    "sink.kafka.unknown",
    "sink.sqlite.busy",
    "sink.sqlite.disk_full",
    "sink.sqlite.io",
    "sink.file.io",
    "sink.file.locked",
];
/// How long a refusal may last, as of rights that vanish.
const REFUSED_FOR: Duration = Duration::from_secs(120);

/// Waits for what is in trouble while a pipeline is claimed again: recovery needs nobody. What is refused is given
/// up after a while: only a person can change it.
#[derive(Default)]
pub struct Patience {
    refused_since: Option<Instant>,
}

impl Patience {
    /// Waits before another try, or gives the trouble back. Answers false when the pipeline is asked to stop.
    pub async fn bear(&mut self, trouble: Trouble, pipeline: &str, stop: &StopSignal) -> Result<bool, Trouble> {
        // A service that once took what it is asked now refuses it for a moment.
        if trouble.kind != TroubleKind::Environment && trouble.code != "aws.refused" {
            return Err(trouble);
        }
        if HEALS.contains(&trouble.code) {
            self.refused_since = None;
        } else if self.refused_since.get_or_insert_with(Instant::now).elapsed() >= REFUSED_FOR {
            return Err(trouble);
        }
        tracing::warn!(pipeline, code = trouble.code, "{trouble}; asking again");
        tokio::select! { biased;
            () = stop.stopped() => Ok(false),
            () = sleep(ASK_AGAIN_AFTER) => Ok(true),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_heals_is_waited_out_and_a_refusal_for_two_minutes() {
        let stop = StopSignal::new();
        let of_kind = |kind, code| Trouble::new(kind, code, "m");
        let of = |code| of_kind(TroubleKind::Environment, code);
        let mut patience = Patience::default();
        // A server that recovers from a crash, a full disk: nothing that a lane would not wait for, too.
        for code in ["sink.postgres.connection", "sink.postgres.unavailable", "sink.file.io"].repeat(40) {
            assert_eq!(patience.bear(of(code), "p", &stop).await, Ok(true));
        }
        let mut borne = 0;
        while patience.bear(of("aws.access_denied"), "p", &stop).await.is_ok() {
            borne += 1;
        }
        assert_eq!(
            borne,
            REFUSED_FOR.as_secs() / ASK_AGAIN_AFTER.as_secs(),
            "what was waited out before does not count"
        );
        assert_eq!(Patience::default().bear(of_kind(TroubleKind::Config, "aws.refused"), "p", &stop).await, Ok(true));
        let config = of_kind(TroubleKind::Config, "config.conflict");
        assert_eq!(Patience::default().bear(config.clone(), "p", &stop).await, Err(config));
        stop.stop();
        assert_eq!(Patience::default().bear(of("aws.unreachable"), "p", &stop).await, Ok(false));
    }
}
