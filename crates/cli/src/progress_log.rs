//! What a running pipeline says on stderr: a line now and then, and a summary at its end.

mod lanes;

use std::time::Duration;

use tailwater_model::{Finished, ServiceTime, Trouble, TroubleKind};
use tailwater_pipeline::{Ended, StatusSnapshot};
use tailwater_source_dynamodb::SourceStatus;
use tokio::time::Instant;
use tracing::{error, info, warn};

use crate::assemble::PipelineView;
use lanes::LaneCounts;

/// Time between two lines of a pipeline.
pub const PROGRESS_INTERVAL: Duration = Duration::from_secs(10);

/// Follows one pipeline.
pub struct ProgressLog {
    pipeline: String,
    view: PipelineView,
    read_before: u64,
    looked_at: Instant,
}

impl ProgressLog {
    /// Begins with a status that nothing was counted into yet.
    pub fn new(pipeline: String, view: PipelineView) -> Self {
        Self { pipeline, view, read_before: 0, looked_at: Instant::now() }
    }

    /// The pipeline's name.
    pub fn pipeline(&self) -> &str {
        &self.pipeline
    }

    /// Writes what happened since the last line.
    pub fn line(&mut self) {
        let snapshot = self.view.status.snapshot();
        // Of a stream that another process reads now nothing is known.
        let source = self.view.source().filter(|_| !snapshot.standing_by);
        let seconds = self.looked_at.elapsed().as_secs_f64().max(0.001);
        let carried = snapshot.counts.read.saturating_sub(self.read_before);
        self.read_before = snapshot.counts.read;
        self.looked_at = Instant::now();
        let lanes = LaneCounts::of(&snapshot, source.as_ref());
        // Between two streams nobody reads.
        let reading = source.as_ref().filter(|_| !lanes.have_ended());
        let (lag, headroom) = (reading.and_then(SourceStatus::lag), reading.and_then(SourceStatus::headroom));
        let unread = reading.and_then(|source| source.furthest_unread.as_ref()).filter(|_| lag.is_some());
        let furthest = reading.and_then(|source| source.furthest_behind.as_ref()).filter(|_| headroom.is_some());
        info!(
            pipeline = self.pipeline,
            events_per_second = (carried as f64 / seconds).round(),
            read = snapshot.counts.read,
            lag_seconds = lag.map(|lag| lag.as_secs()),
            lag_shard = unread.map(|front| front.shard.as_str()),
            headroom_minutes = headroom.map(|headroom| headroom.as_secs() / 60),
            headroom_shard = furthest.map(|front| front.shard.as_str()),
            lanes_carrying = lanes.carrying,
            lanes_idle = lanes.idle,
            lanes_waiting = lanes.waiting,
            lanes_waiting_for_memory = lanes.waiting_for_memory,
            lanes_committing = lanes.committing,
            lanes_in_trouble = lanes.in_trouble,
            lanes_stopping = lanes.stopping,
            lanes_opening = lanes.opening,
            lanes_reopening = lanes.reopening,
            lanes_ended = lanes.ended,
            owner_silent_seconds = snapshot.owner_lives_at.map(|at| at.elapsed().as_secs()),
            trouble_seconds = lanes.trouble.as_ref().map(|(seconds, _)| seconds),
            trouble = lanes.trouble.as_ref().map(|(_, why)| why.as_str()),
            dead_lettered = snapshot.counts.dead_lettered,
            gaps = snapshot.gaps,
            "{}",
            if snapshot.standing_by { "standing by" } else { lanes.word() }
        );
    }

    /// The trouble of having met gaps and gone on (`on_gap = "continue"`). Whoever starts a bounded run reads its exit code and
    /// perhaps nothing else (I8).
    pub fn gaps_met(&self) -> Option<(Option<String>, Trouble)> {
        let gaps = self.view.status.snapshot().gaps;
        let message = format!("changes may be missing in the sink: gaps recorded on the way to the tip: {gaps}");
        let trouble = Trouble::new(TroubleKind::DataAtRisk, "source.gaps_recorded", message)
            .advise("the next run goes on from here; what may be missing stands in the sink's gaps");
        (gaps > 0).then(|| (Some(self.pipeline.clone()), trouble))
    }

    /// Writes how the pipeline ended and what it did.
    pub fn summary(&self, outcome: &Result<Ended, Trouble>) {
        let begun = self.view.source().and_then(|source| source.begun);
        tell_end(&self.pipeline, &self.view.status.snapshot(), begun, outcome);
    }
}

/// The last lines of a pipeline that first heard of its stream at this moment.
fn tell_end(pipeline: &str, snapshot: &StatusSnapshot, begun: Option<ServiceTime>, outcome: &Result<Ended, Trouble>) {
    let (how, read_until) = match outcome {
        Ok(Ended::Stopped) => ("stopped", None),
        Ok(Ended::Finished(Finished::Tip | Finished::StreamEnded)) => ("reached the tip", begun),
        Err(trouble) if trouble.kind == TroubleKind::StreamEnded => ("the stream has ended", None),
        Err(trouble) if trouble.kind == TroubleKind::Replaced => ("replaced by another process", None),
        Err(_) => ("failed", None),
    };
    let counts = snapshot.counts;
    info!(
        pipeline,
        how,
        // Everything that was created before this moment is in the sink.
        read_until = read_until.map(|moment| moment.to_string()),
        read = counts.read,
        written = counts.written,
        filtered = counts.filtered,
        dead_lettered = counts.dead_lettered,
        suppressed = counts.suppressed,
        commits = snapshot.commits,
        reopenings = snapshot.reopenings,
        gaps = snapshot.gaps,
        replaced = snapshot.replaced,
        "ended"
    );
    if snapshot.gaps > 0 {
        warn!(pipeline, gaps = snapshot.gaps, "data may be missing: gaps are on record");
    }
    if !counts.balance() {
        // I9
        error!(pipeline, "what was read is not what was accounted for; please report this bug");
    }
}

#[cfg(test)]
mod tests {
    use std::io::{self, Write};
    use std::sync::{Arc, Mutex};

    use serde_json::Value;
    use tailwater_pipeline::PipelineStatus;

    use super::*;

    /// What was logged.
    #[derive(Clone, Default)]
    struct Logged(Arc<Mutex<Vec<u8>>>);

    impl Write for Logged {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("not poisoned").write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// The lines that are logged meanwhile, as `run` writes them where nobody sits before it.
    fn logged(act: impl FnOnce()) -> Vec<Value> {
        let logged = Logged::default();
        let writer = logged.clone();
        let lines = tracing_subscriber::fmt().with_writer(move || writer.clone()).json().flatten_event(true);
        tracing::subscriber::with_default(lines.finish(), act);
        let text = String::from_utf8(logged.0.lock().expect("not poisoned").clone()).expect("UTF-8");
        text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
    }

    fn last_line(outcome: &Result<Ended, Trouble>) -> Value {
        let begun = Some(ServiceTime::from_ms(1_790_000_000_250));
        logged(|| tell_end("orders", &PipelineStatus::new().snapshot(), begun, outcome)).pop().expect("a line")
    }

    #[test]
    fn the_last_line_of_a_bounded_run_says_until_when_it_has_read() {
        for finished in [Finished::Tip, Finished::StreamEnded] {
            let line = last_line(&Ok(Ended::Finished(finished)));
            assert_eq!(line["message"], "ended");
            assert_eq!(line["how"], "reached the tip");
            assert_eq!(line["read_until"], "2026-09-21T14:13:20.250Z");
        }
    }

    #[test]
    fn a_run_that_did_not_reach_the_tip_promises_no_moment() {
        let trouble = |kind| Err(Trouble::new(kind, "a.b", "m"));
        for (outcome, how) in [
            (Ok(Ended::Stopped), "stopped"),
            (trouble(TroubleKind::StreamEnded), "the stream has ended"),
            (trouble(TroubleKind::Replaced), "replaced by another process"),
            (trouble(TroubleKind::Runtime), "failed"),
        ] {
            let line = last_line(&outcome);
            assert_eq!(line["how"], how);
            assert_eq!(line["read_until"], Value::Null);
        }
    }
}
