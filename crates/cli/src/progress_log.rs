//! What a running pipeline says on stderr: a line now and then, and a summary at its end.

use std::time::Duration;

use tailwater_model::{Finished, ServiceTime, Trouble, TroubleKind};
use tailwater_pipeline::{Ended, LaneState, StatusSnapshot};
use tailwater_source_dynamodb::{LaneReading, ReadFront, SourceStatus};
use tokio::time::Instant;
use tracing::{error, info, warn};

use crate::assemble::PipelineView;

/// Time between two lines of a pipeline.
pub const PROGRESS_INTERVAL: Duration = Duration::from_secs(10);
/// How long a stream keeps records with certainty (DynamoDB developer guide, streams).
const RETENTION: Duration = Duration::from_secs(24 * 60 * 60);

/// Follows one pipeline.
pub struct ProgressLog {
    pipeline: String,
    view: PipelineView,
    read_before: u64,
    looked_at: Instant,
}

/// How many lanes are in which state: each in one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct LaneCounts {
    opening: usize,
    waiting: usize,
    carrying: usize,
    idle: usize,
    in_trouble: usize,
    reopening: usize,
    ended: usize,
    /// The longest trouble of the source: seconds and what it is.
    trouble: Option<(u64, String)>,
}

impl LaneCounts {
    fn of(snapshot: &StatusSnapshot, source: Option<&SourceStatus>) -> Self {
        let mut counts = Self::default();
        for (number, state) in snapshot.lanes.iter().enumerate() {
            let reading = source.and_then(|source| source.lanes.get(number));
            match (state, reading) {
                (LaneState::Opening, _) => counts.opening += 1,
                (LaneState::Reopening(_), _) => counts.reopening += 1,
                (LaneState::Ended, _) => counts.ended += 1,
                (LaneState::Carrying, Some(LaneReading::WaitingForLane(_))) => counts.waiting += 1,
                (LaneState::Carrying, Some(LaneReading::Idle)) => counts.idle += 1,
                (LaneState::Carrying, Some(LaneReading::Trouble { seconds, why })) => {
                    counts.in_trouble += 1;
                    if counts.trouble.as_ref().is_none_or(|(longest, _)| longest < seconds) {
                        counts.trouble = Some((*seconds, why.clone()));
                    }
                }
                (LaneState::Carrying, Some(LaneReading::Reading) | None) => counts.carrying += 1,
            }
        }
        counts
    }

    /// All of them: the pipeline looks for the stream that follows, or ends.
    fn have_ended(&self) -> bool {
        self.ended > 0 && *self == Self { ended: self.ended, ..Self::default() }
    }
}

/// The time between this moment of the stream and now.
fn behind(now: Option<ServiceTime>, front: Option<&ReadFront>) -> Option<Duration> {
    Some(now?.since(front?.read_until?))
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
        let now = source.as_ref().and_then(|source| source.now);
        let unread = source.as_ref().and_then(|source| source.furthest_unread.as_ref());
        let furthest = source.as_ref().and_then(|source| source.furthest_behind.as_ref());
        // Where nothing is known to be unread nothing lags, as long as somebody reads.
        let idle_lag = now.filter(|_| !lanes.have_ended()).map(|_| Duration::ZERO);
        let lag = unread.map_or(idle_lag, |front| behind(now, Some(front)));
        let headroom = behind(now, furthest).map(|behind| RETENTION.saturating_sub(behind));
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
            lanes_in_trouble = lanes.in_trouble,
            lanes_opening = lanes.opening,
            lanes_reopening = lanes.reopening,
            lanes_ended = lanes.ended,
            trouble_seconds = lanes.trouble.as_ref().map(|(seconds, _)| seconds),
            trouble = lanes.trouble.as_ref().map(|(_, why)| why.as_str()),
            dead_lettered = snapshot.counts.dead_lettered,
            gaps = snapshot.gaps,
            "{}",
            if snapshot.standing_by { "standing by" } else { word(&lanes) }
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
        let snapshot = self.view.status.snapshot();
        let source = self.view.source();
        let (how, read_until) = match outcome {
            Ok(Ended::Stopped) => ("stopped", None),
            Ok(Ended::Finished(Finished::Tip | Finished::StreamEnded)) => {
                ("reached the tip", source.and_then(|source| source.begun))
            }
            Err(trouble) if trouble.kind == TroubleKind::StreamEnded => ("the stream has ended", None),
            Err(trouble) if trouble.kind == TroubleKind::Replaced => ("replaced by another process", None),
            Err(_) => ("failed", None),
        };
        let counts = snapshot.counts;
        info!(
            pipeline = self.pipeline,
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
            warn!(pipeline = self.pipeline, gaps = snapshot.gaps, "data may be missing: gaps are on record");
        }
        if !counts.balance() {
            // I9
            error!(pipeline = self.pipeline, "what was read is not what was accounted for; please report this bug");
        }
    }
}

/// One word for all lanes: what is wrong comes first.
fn word(lanes: &LaneCounts) -> &'static str {
    if lanes.in_trouble > 0 {
        "source in trouble"
    } else if lanes.reopening > 0 {
        "reopening"
    } else if lanes.waiting > 0 || lanes.opening > 0 {
        "opening"
    } else if lanes.carrying > 0 {
        "carrying"
    } else if lanes.have_ended() {
        "between two streams"
    } else {
        "idle"
    }
}

#[cfg(test)]
mod tests {
    use tailwater_model::Counts;

    use super::*;

    #[test]
    fn stuck_is_told_from_idle() {
        let snapshot = StatusSnapshot {
            counts: Counts::default(),
            commits: 0,
            reopenings: 0,
            gaps: 0,
            replaced: 0,
            standing_by: false,
            newest_created_at_ms: None,
            lanes: vec![LaneState::Carrying; 4],
        };
        let lanes = vec![
            LaneReading::Idle,
            LaneReading::Reading,
            LaneReading::WaitingForLane(1),
            LaneReading::Trouble { seconds: 70, why: "GetRecords: expired".into() },
        ];
        let source = SourceStatus { now: None, begun: None, furthest_unread: None, furthest_behind: None, lanes };
        let counts = LaneCounts::of(&snapshot, Some(&source));
        let trouble = Some((70, "GetRecords: expired".into()));
        let expected = LaneCounts { waiting: 1, carrying: 1, idle: 1, in_trouble: 1, trouble, ..LaneCounts::default() };
        assert_eq!(counts, expected);
        assert_eq!(word(&counts), "source in trouble");
        assert_eq!(word(&LaneCounts { idle: 2, ended: 1, ..LaneCounts::default() }), "idle");
        assert_eq!(word(&LaneCounts { ended: 2, ..LaneCounts::default() }), "between two streams");
    }
}
