//! Health tells the truth: while nothing is answered no lane passes for idle or carrying, and the lag grows; afterwards all is
//! said to be well again.

use std::time::Duration;

use fastrand::Rng;
use tailwater_model::ShardId;
use tailwater_pipeline::{LaneState, StatusSnapshot};
use tailwater_source_dynamodb::{ApiErrorKind, LaneReading, SourceStatus};
use tokio::time::Instant;

use super::{LAST_ANSWERS, SUPERVISION_INTERVAL, Scene, TABLE};
use crate::face::Silence;
use crate::service::StreamStatus;
use crate::world::ground::{Ground, lock};
use crate::world::plan::Action;

/// One world in so many is looked at so.
const ONE_IN: u32 = 4;
/// What is not answered is told, and what is answered again is not told any more, within this time: the wait for the next call
/// of an idle shard, the longest wait after failures, and the time that a failure is let pass.
const TOLD_WITHIN: Duration = Duration::from_secs(3 * 60);
/// For so long it is looked at then.
const LOOKED_AT_FOR: Duration = Duration::from_secs(2 * 60);
/// What is written while nothing is answered.
const WRITES: u32 = 8;
/// The lag may be this much less than the age of what is not carried: dates tell whole seconds, and calls take their time.
const SLACK: Duration = Duration::from_secs(60);
/// The service keeps records for so long.
const RETENTION: Duration = Duration::from_secs(24 * 60 * 60);
/// Errors that may pass.
const PASSING: [ApiErrorKind; 3] = [ApiErrorKind::Transient, ApiErrorKind::Throttled, ApiErrorKind::Credentials];

impl<G: Ground> Scene<G> {
    /// Nobody answers for a while, and a person looks at what is told meanwhile.
    pub(super) async fn tell_the_truth(&mut self) {
        let mut rng = Rng::with_seed(self.plan.seed.rotate_left(24) ^ (self.plan.profile as u64) << 56);
        // What wrong dates have told shows then.
        let is_drawn = rng.u32(0..ONE_IN) == 0 || self.plan.has("network.dates_ahead");
        if !is_drawn || !self.is_read_in_quiet() {
            return;
        }
        self.settle().await;
        let open = lock(&self.witness).history().open_shards();
        if open.is_empty() || self.is_over() {
            return;
        }
        let silence = match rng.u32(0..3) {
            0 => Silence::Listings,
            1 => Silence::Records,
            _ => Silence::RecordsOf(ShardId::new(&open[rng.usize(0..open.len())])),
        };
        let kind = PASSING[rng.usize(0..PASSING.len())];
        self.tell(|| format!("nobody answers {silence:?}: {kind:?}"));
        self.network.set_silence(Some((silence.clone(), kind)));
        self.act(Action::Write(WRITES));
        // A listing is asked for once in an interval.
        let told_within = TOLD_WITHIN + self.plan.reader.discovery_interval;
        self.supervise_until(Instant::now() + told_within).await;
        let until = Instant::now() + LOOKED_AT_FOR;
        while Instant::now() < until && !self.is_over() {
            self.check_silence(&silence, &open);
            self.supervise_until(Instant::now() + SUPERVISION_INTERVAL).await;
        }
        self.network.set_silence(None);
        self.supervise_until(Instant::now() + told_within).await;
        self.carry_everything().await;
        self.check_recovery();
    }

    /// The stream is on, and somebody reads it without an end that is near.
    pub(super) fn is_read_in_quiet(&self) -> bool {
        let stream = lock(&self.service).latest_stream(self.clock.now_ms(), TABLE);
        let is_on = stream.is_some_and(|stream| stream.status == StreamStatus::Enabled);
        is_on && !self.plan.reader.until_tip && !self.is_over()
    }

    /// What the faults may still cost after they ended, to calls and to lanes that open again.
    pub(super) async fn settle(&mut self) {
        let healed_at = self.healed_at.unwrap_or_else(Instant::now);
        let until = (healed_at + LAST_ANSWERS).max(Instant::now() + SUPERVISION_INTERVAL * 3);
        self.supervise_until(until).await;
    }

    /// What the process says that has the pipeline; nothing while it is not clear which one that is.
    fn seen(&self) -> Option<(StatusSnapshot, SourceStatus)> {
        let seen = self.workers.iter().flatten().filter_map(|worker| worker.view.seen());
        let mut owners = seen.filter(|(pipeline, _)| !pipeline.standing_by);
        owners.next().filter(|_| owners.next().is_none())
    }

    fn check_silence(&self, silence: &Silence, open: &[String]) {
        let Some((pipeline, source)) = self.seen() else { return };
        let lane_of = |shard: &ShardId| shard.lane(self.plan.lanes) as usize;
        let is_silent = |lane: usize| match silence {
            Silence::Listings => true,
            Silence::Records => open.iter().any(|shard| lane_of(&ShardId::new(shard)) == lane),
            Silence::RecordsOf(shard) => lane_of(shard) == lane,
        };
        let lanes = pipeline.lanes.iter().zip(&source.lanes).enumerate();
        let mut liars = lanes.filter(|(lane, (state, reading))| {
            // What keeps a lane that is not carrying is told by its state.
            is_silent(*lane) && **state == LaneState::Carrying && !matches!(reading, LaneReading::Trouble { .. })
        });
        if let Some((lane, (_, reading))) = liars.next() {
            let detail = format!("lane {lane} says {reading:?} although nobody answers {silence:?}");
            return lock(&self.witness).violated("P7 health", detail);
        }
        // Records that can be read although shards are not listed are carried.
        if *silence != Silence::Listings {
            self.check_lag(&source);
        }
    }

    /// Nothing that is not carried is older than what the lag and the headroom say. That nobody knows is no lie.
    fn check_lag(&self, source: &SourceStatus) {
        let now_ms = self.clock.now_ms();
        let mut witness = lock(&self.witness);
        let Some(oldest_ms) = witness.oldest_behind_ms() else { return };
        let age = Duration::from_millis(u64::try_from(now_ms - oldest_ms).unwrap_or_default()).saturating_sub(SLACK);
        if let Some(lag) = source.lag().filter(|lag| *lag < age) {
            witness.violated("P7 lag", format!("{lag:?}, and what is not carried is {age:?} old"));
        }
        let left = RETENTION.saturating_sub(age);
        if let Some(headroom) = source.headroom().filter(|headroom| *headroom > left) {
            witness.violated("P7 headroom", format!("{headroom:?}, and what is not carried is {age:?} old"));
        }
    }

    /// Everything is answered and carried, and nobody says anything else.
    fn check_recovery(&self) {
        let Some((pipeline, source)) = self.seen().filter(|_| !self.is_over()) else { return };
        let mut witness = lock(&self.witness);
        // Nobody shows what came after such a shard.
        if witness.has_drained_what_outlives_its_children() {
            return;
        }
        let lanes = pipeline.lanes.iter().zip(&source.lanes).enumerate();
        let mut troubled = lanes.filter(|(_, (state, reading))| {
            **state == LaneState::Carrying && matches!(reading, LaneReading::Trouble { .. })
        });
        if let Some((lane, (_, reading))) = troubled.next() {
            witness.violated("P7 a trouble that is over", format!("lane {lane} says {reading:?}"));
        }
    }
}
