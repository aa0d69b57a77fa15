//! What is waited out while a pipeline is claimed again, when it goes over to another stream or its owner is gone, and while
//! nobody can look at the owner.

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
    // Others claim it at the same time: whoever waits finds one of them for its owner.
    "sink.kafka.fenced",
    "sink.sqlite.busy",
    "sink.sqlite.disk_full",
    "sink.sqlite.io",
    "sink.file.io",
    "sink.file.locked",
    "sink.no_answer",
];
/// How long a refusal may last, as of rights that vanish.
const REFUSED_FOR: Duration = Duration::from_secs(120);

/// Waits for what is in trouble while a pipeline is claimed again: recovery needs nobody. What is refused, or goes wrong in a way that
/// nobody knows, is given up after a while.
#[derive(Default)]
pub struct Patience {
    /// When the first refusal of those in a row came, and the last.
    refused: Option<(Instant, Instant)>,
}

impl Patience {
    /// Waits before another try, or gives the trouble back. Answers false when the pipeline is asked to stop.
    pub async fn bear(&mut self, trouble: Trouble, pipeline: &str, stop: &StopSignal) -> Result<bool, Trouble> {
        // A service that once took what it is asked now refuses it for a moment.
        let may_pass = matches!(trouble.kind, TroubleKind::Environment | TroubleKind::Runtime);
        if !may_pass && trouble.code != "aws.refused" {
            return Err(trouble);
        }
        if HEALS.contains(&trouble.code) {
            self.refused = None;
        } else if self.refused_for() >= REFUSED_FOR {
            return Err(trouble);
        }
        tracing::warn!(pipeline, code = trouble.code, "{trouble}; asking again");
        tokio::select! { biased;
            () = stop.stopped() => Ok(false),
            () = sleep(ASK_AGAIN_AFTER) => Ok(true),
        }
    }

    /// For how long it has been refused, with this time. Whoever was not refused for as long as that may last begins anew: an owner
    /// that stood in between has lived since.
    fn refused_for(&mut self) -> Duration {
        let now = Instant::now();
        let in_a_row = self.refused.filter(|(_, last)| now.duration_since(*last) < REFUSED_FOR);
        let first = in_a_row.map_or(now, |(first, _)| first);
        self.refused = Some((first, now));
        now.duration_since(first)
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
        // Hours later another refusal is the first of a row.
        sleep(REFUSED_FOR).await;
        assert_eq!(patience.bear(of("aws.access_denied"), "p", &stop).await, Ok(true));
        assert_eq!(Patience::default().bear(of_kind(TroubleKind::Config, "aws.refused"), "p", &stop).await, Ok(true));
        for kind in [TroubleKind::Config, TroubleKind::DataAtRisk, TroubleKind::StreamEnded] {
            let trouble = of_kind(kind, "config.conflict");
            assert_eq!(Patience::default().bear(trouble.clone(), "p", &stop).await, Err(trouble), "a person is needed");
        }
        let mut standby = Patience::default();
        for code in ["sink.kafka.fenced", "sink.no_answer"].repeat(20) {
            assert_eq!(standby.bear(of_kind(TroubleKind::Runtime, code), "p", &stop).await, Ok(true));
        }
        let unknown = of_kind(TroubleKind::Runtime, "sink.sqlite.error");
        assert_eq!(standby.bear(unknown.clone(), "p", &stop).await, Ok(true));
        sleep(REFUSED_FOR - ASK_AGAIN_AFTER - ASK_AGAIN_AFTER).await;
        assert_eq!(standby.bear(unknown.clone(), "p", &stop).await, Ok(true));
        assert_eq!(standby.bear(unknown.clone(), "p", &stop).await, Err(unknown));
        stop.stop();
        assert_eq!(Patience::default().bear(of("aws.unreachable"), "p", &stop).await, Ok(false));
    }
}
