//! What a running pipeline says on stderr: a line now and then, and a summary at its end.

use std::sync::Arc;
use std::time::Duration;

use tailwater_model::{Finished, Trouble, TroubleKind};
use tailwater_pipeline::{Ended, LaneState, PipelineStatus};
use tokio::time::Instant;
use tracing::{error, info, warn};

use crate::clock::now_ms;

/// Time between two lines of a pipeline.
pub const PROGRESS_INTERVAL: Duration = Duration::from_secs(10);

/// Follows one pipeline.
pub struct ProgressLog {
    pipeline: String,
    status: Arc<PipelineStatus>,
    read_before: u64,
    looked_at: Instant,
}

impl ProgressLog {
    /// Begins with a status that nothing was counted into yet.
    pub fn new(pipeline: String, status: Arc<PipelineStatus>) -> Self {
        Self { pipeline, status, read_before: 0, looked_at: Instant::now() }
    }

    /// The pipeline's name.
    pub fn pipeline(&self) -> &str {
        &self.pipeline
    }

    /// Writes what happened since the last line.
    pub fn line(&mut self) {
        let snapshot = self.status.snapshot();
        let seconds = self.looked_at.elapsed().as_secs_f64().max(0.001);
        let carried = snapshot.counts.read.saturating_sub(self.read_before);
        self.read_before = snapshot.counts.read;
        self.looked_at = Instant::now();
        let lanes = |wanted: fn(&LaneState) -> bool| snapshot.lanes.iter().filter(|state| wanted(state)).count();
        let age = snapshot.newest_created_at_ms.map(|created| (now_ms().saturating_sub(created) / 1_000).max(0));
        info!(
            pipeline = self.pipeline,
            events_per_second = (carried as f64 / seconds).round(),
            read = snapshot.counts.read,
            // While nothing is written to the table this grows although nothing is late.
            newest_event_age_seconds = age,
            lanes_carrying = lanes(|state| *state == LaneState::Carrying),
            lanes_reopening = lanes(|state| matches!(state, LaneState::Reopening(_))),
            lanes_ended = lanes(|state| *state == LaneState::Ended),
            dead_lettered = snapshot.counts.dead_lettered,
            gaps = snapshot.gaps,
            "carrying"
        );
    }

    /// The trouble of having met gaps and gone on (`on_gap = "continue"`). Whoever starts a bounded run reads its exit code and
    /// perhaps nothing else (I8).
    pub fn gaps_met(&self) -> Option<(Option<String>, Trouble)> {
        let gaps = self.status.snapshot().gaps;
        let message = format!("changes may be missing in the sink: gaps recorded on the way to the tip: {gaps}");
        let trouble = Trouble::new(TroubleKind::DataAtRisk, "source.gaps_recorded", message).advise(
            "everything that was there is carried, and the next run goes on from here; see the gaps in the sink",
        );
        (gaps > 0).then(|| (Some(self.pipeline.clone()), trouble))
    }

    /// Writes how the pipeline ended and what it did.
    pub fn summary(&self, outcome: &Result<Ended, Trouble>) {
        let snapshot = self.status.snapshot();
        let how = match outcome {
            Ok(Ended::Stopped) => "stopped",
            Ok(Ended::Finished(Finished::Tip)) => "reached the tip",
            Ok(Ended::Finished(Finished::StreamEnded)) => "the stream has ended",
            Err(_) => "failed",
        };
        let counts = snapshot.counts;
        info!(
            pipeline = self.pipeline,
            how,
            read = counts.read,
            written = counts.written,
            filtered = counts.filtered,
            dead_lettered = counts.dead_lettered,
            suppressed = counts.suppressed,
            commits = snapshot.commits,
            reopenings = snapshot.reopenings,
            gaps = snapshot.gaps,
            "ended"
        );
        if snapshot.gaps > 0 {
            warn!(pipeline = self.pipeline, gaps = snapshot.gaps, "data may be missing: gaps are on record");
        }
        if !counts.balance() {
            // I9
            error!(pipeline = self.pipeline, "what was read is not what was accounted for; please report this bug");
        }
    }
}
