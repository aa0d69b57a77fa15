//! What a sink refuses because of its surroundings is borne for a while: rights that are being changed are missing for a moment,
//! and so is a table that somebody makes again. One answer proves nothing.

use std::time::Duration;

use tailwater_model::{Failure, TroubleKind};
use tokio::time::Instant;

/// A refusal that lasts so long is believed. The source waits for as long.
const REFUSED_FOR: Duration = Duration::from_secs(120);

/// Since when a lane's sink has said nothing but that a person is needed.
#[derive(Debug, Default)]
pub(crate) struct Refusals {
    since: Option<Instant>,
}

impl Refusals {
    /// What a failure of the sink comes to: it is opened again until the refusal is believed.
    pub(crate) fn weigh(&mut self, failure: Failure) -> Failure {
        let trouble = match failure {
            Failure::Halt(trouble) if trouble.kind == TroubleKind::Environment => trouble,
            other => {
                self.end();
                return other;
            }
        };
        let since = *self.since.get_or_insert_with(Instant::now);
        if since.elapsed() < REFUSED_FOR { Failure::Reopen(trouble) } else { Failure::Halt(trouble) }
    }

    /// It was not refused.
    pub(crate) fn end(&mut self) {
        self.since = None;
    }
}
