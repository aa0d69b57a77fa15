//! One lane: open, carry, and after trouble open again. Control flow only; what things mean is the source's and the
//! sink's affair.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tailwater_model::{Delivery, Failure, Finished, Gap, Group, Position, ShardProgress};
use tailwater_model::{Sink, Source, Trouble, TroubleKind};
use tokio::time::{Instant, sleep, sleep_until};
use tracing::{info, warn};

use crate::collect::{Collecting, GroupLimits, Transforms};
use crate::dead_letter_log::DeadLetterLog;
use crate::delay::ReopenDelay;
use crate::group_size::GroupSize;
use crate::refusals::Refusals;
use crate::reopen_log::ReopenLog;
use crate::status::{GapOfGroup, GroupTally, LaneState, PipelineStatus};
use crate::stop::StopSignal;
use crate::supervise::Ended;

/// An idle lane asks its sink this often whether it is still its own: a process that was replaced stands by soon, also when
/// there is nothing to write.
const IDLE_CHECK_INTERVAL: Duration = Duration::from_secs(10);

/// Bounds of every lane of a pipeline.
#[derive(Clone, Copy, Debug)]
pub struct LaneSettings {
    /// Events at which a group is full. One page may overshoot it.
    pub group_events_max: usize,
    /// Bytes of pages at which a group is full. One page may overshoot it.
    pub group_bytes_max: usize,
    /// Longest time that the first batch of a group waits for others.
    pub group_delay_max: Duration,
    /// Wait before the first reopening.
    pub reopen_delay_min: Duration,
    /// Longest wait before a reopening.
    pub reopen_delay_max: Duration,
    /// Longest time that a graceful stop may take.
    pub grace_period: Duration,
    /// Seed of the jitter.
    pub seed: u64,
}

impl LaneSettings {
    /// The bounds of a group.
    pub(crate) fn group_limits(&self) -> GroupLimits {
        GroupLimits {
            events_max: self.group_events_max,
            bytes_max: self.group_bytes_max,
            delay_max: self.group_delay_max,
        }
    }
}

/// Everything that a lane runs with.
pub(crate) struct Lane<S, K> {
    pub(crate) number: usize,
    pub(crate) source: S,
    pub(crate) sink: K,
    pub(crate) transforms: Transforms,
    pub(crate) settings: LaneSettings,
    pub(crate) group_size: GroupSize,
    pub(crate) refusals: Refusals,
    pub(crate) stop: StopSignal,
    pub(crate) status: Arc<PipelineStatus>,
    pub(crate) reopen_log: ReopenLog,
    /// Shards that ended with a gap in a commit that nobody answered.
    pub(crate) unanswered: Vec<GapOfGroup>,
    pub(crate) dead_letters: DeadLetterLog,
}

impl<S: Source, K: Sink> Lane<S, K> {
    /// Runs until the source is finished, the stop signal is given, or a person is needed.
    pub(crate) async fn run(mut self) -> Result<Ended, Trouble> {
        let seed = self.settings.seed.wrapping_add(self.number as u64);
        let mut delay = ReopenDelay::new(self.settings.reopen_delay_min, self.settings.reopen_delay_max, seed);
        self.status.set_lane(self.number, LaneState::Opening { since: Instant::now() });
        loop {
            match self.session(&mut delay).await {
                Ok(ended) => return Ok(ended),
                Err(Failure::Halt(trouble)) => return Err(trouble),
                // I7: whatever happened, opening again is the only recovery.
                Err(Failure::Reopen(trouble)) => {
                    self.source.close();
                    let wait = delay.next();
                    if let Some(untold) = self.reopen_log.admits(trouble.code) {
                        let (lane, code, wait_ms) = (self.number, trouble.code, wait.as_millis() as u64);
                        warn!(lane, code, wait_ms, untold, "{trouble}; opening again");
                    }
                    let since = delay.since().unwrap_or_else(Instant::now);
                    self.status.set_lane(self.number, LaneState::Reopening { since, trouble });
                    tokio::select! { biased;
                        () = self.stop.stopped() => return Ok(Ended::Stopped),
                        () = sleep(wait) => {}
                    }
                }
            }
        }
    }

    async fn session(&mut self, delay: &mut ReopenDelay) -> Result<Ended, Failure> {
        let stop = self.stop.clone();
        let opened = async {
            let progress = self.sink.open().await.map_err(|failure| self.refusals.weigh(failure))?;
            for GapOfGroup { shard, gap, .. } in self.unanswered.drain(..) {
                let is_ended = |row: &ShardProgress| row.shard == shard && row.position == Position::End;
                if progress.shards.iter().any(is_ended) {
                    self.status.gap_recorded();
                    if gap.stop {
                        return Err(Failure::Halt(gap_trouble(&gap)));
                    }
                }
            }
            self.source.open(&progress).await?;
            Ok::<_, Failure>(progress.shards.len())
        };
        let shards = tokio::select! { biased;
            () = stop.stopped() => return Ok(Ended::Stopped),
            opened = opened => opened?,
        };
        info!(lane = self.number, shards, "lane open");
        self.status.set_lane(self.number, LaneState::Carrying);
        self.carry(delay).await
    }

    /// Collects a group, commits it while the next one is collected, and so on.
    async fn carry(&mut self, delay: &mut ReopenDelay) -> Result<Ended, Failure> {
        let mut collecting = Collecting::new(self.group_size.limits(), self.transforms.clone());
        loop {
            let due = self.collect(&mut collecting).await?;
            let size = collecting.size();
            let group = collecting.take();
            if let (true, Some(ended)) = (group.is_empty(), due) {
                return Ok(ended);
            }
            self.commit(group, size, &mut collecting, due.is_none()).await?;
            collecting.limit(self.group_size.limits());
            delay.reset();
            if let Some(ended) = due {
                return Ok(ended);
            }
        }
    }

    /// Waits until the group is due: full, old enough, or empty for so long that the lane is to be checked. Answers how
    /// the lane ends, if it ends after this group.
    async fn collect(&mut self, collecting: &mut Collecting) -> Result<Option<Ended>, Failure> {
        // Where the sink is the slower one, groups are full before anybody looks here.
        if self.stop.is_stopping() {
            return Ok(Some(Ended::Stopped));
        }
        let check_at = Instant::now() + IDLE_CHECK_INTERVAL;
        while collecting.has_room() {
            tokio::select! { biased;
                () = self.stop.stopped() => return Ok(Some(Ended::Stopped)),
                () = sleep_until(collecting.due_at().unwrap_or(check_at)) => return Ok(None),
                delivery = self.source.next() => {
                    if let Some(finished) = accept(delivery?, &mut self.source, collecting) {
                        return Ok(Some(Ended::Finished(finished)));
                    }
                }
            }
        }
        Ok(None)
    }

    /// Commits one group of so many events and bytes. Meanwhile the source may fill the next one, if `overlap` says so.
    async fn commit(
        &mut self,
        group: Group,
        size: (usize, usize),
        next: &mut Collecting,
        overlap: bool,
    ) -> Result<(), Failure> {
        // What the source has just begun to fetch is asked for before the sink takes this thread to encode.
        tokio::task::yield_now().await;
        let is_check = group.is_empty();
        let (steps, first_listing) = (group.steps(), group.first_listing);
        let tally = GroupTally::of(&group);
        let mut source_failure = None;
        let mut reading = overlap && tally.stop_gap().is_none();
        let begun_at = Instant::now();
        self.status.commit_under_way(self.number, true);
        let committed = {
            let mut commit = pin!(self.sink.commit(group));
            loop {
                tokio::select! { biased;
                    committed = &mut commit => break committed,
                    delivery = self.source.next(), if reading && next.has_room() => match delivery {
                        // A commit in flight is let finish, so that the trouble of the source costs nothing twice.
                        Err(failure) => {
                            source_failure = Some(failure);
                            reading = false;
                        }
                        Ok(Delivery::Finished(_)) => reading = false,
                        Ok(delivery) => drop(accept(delivery, &mut self.source, next)),
                    }
                }
            }
        };
        let committed = match committed {
            Ok(committed) => committed,
            Err(failure) => {
                self.unanswered = tally.ended_with_gap();
                if !is_check && self.group_size.failed(begun_at.elapsed(), size) {
                    let GroupLimits { events_max, bytes_max, .. } = self.group_size.limits();
                    info!(lane = self.number, events_max, bytes_max, "the commit took too long: smaller ones are next");
                }
                return Err(self.refusals.weigh(failure));
            }
        };
        self.refusals.end();
        self.status.commit_under_way(self.number, false);
        self.source.committed(&steps, first_listing);
        if !is_check {
            self.group_size.committed(begun_at.elapsed(), size);
            self.status.committed(&tally, &committed);
        }
        if !committed.reasons.is_empty() {
            self.dead_letters.tell(self.number, &committed.reasons);
        }
        // I8: the gap is durable now; going on is the user's decision.
        match tally.stop_gap() {
            Some(gap) => Err(Failure::Halt(gap_trouble(gap))),
            None => source_failure.map_or(Ok(()), Err),
        }
    }
}

fn accept<S: Source>(delivery: Delivery, source: &mut S, collecting: &mut Collecting) -> Option<Finished> {
    match delivery {
        Delivery::Batch(batch) => {
            let shard = batch.shard.clone();
            let grown = collecting.push(batch);
            if grown > 0 {
                source.grew(&shard, grown);
            }
        }
        Delivery::FirstListing(listing) => collecting.first_listing(listing),
        Delivery::Finished(finished) => return Some(finished),
    }
    None
}

fn gap_trouble(gap: &Gap) -> Trouble {
    let message = format!("gap ({}) in {}", gap.cause.as_str(), gap.words());
    Trouble::new(TroubleKind::DataAtRisk, "source.gap", message).advise(
        "changes may be missing in the sink; the gap is on record. To go on without them set `on_gap = \"continue\"` in [source]",
    )
}
