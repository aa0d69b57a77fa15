//! A bounded run ends although the application writes and shards come and go.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::Scene;
use crate::world::ground::{Ground, lock};
use crate::world::plan::Action;

/// What such a run may take when nothing is in its way: runs of empty pages, and a minute until children are listed.
const RUN: Duration = Duration::from_secs(30 * 60);
/// What each shard adds to it: a run of empty pages, where the budget has room for one page at a time and a page waits two
/// seconds for its commit.
const PER_SHARD: Duration = Duration::from_secs(60);
/// The application writes so often, and every so many times the lineage goes on: faster than idle shards are known to be
/// read.
const WRITES_EVERY: Duration = Duration::from_secs(2);
const WRITES_PER_ROTATION: u32 = 4;
/// Most shards that such traffic makes.
const ROTATIONS_MAX: u32 = 40;

impl<G: Ground> Scene<G> {
    /// Starts one and waits for its end.
    pub(super) async fn end_under_live_traffic(&mut self) {
        if !self.plan.reader.until_tip || self.is_over() {
            return;
        }
        self.tell(|| "live traffic".to_owned());
        self.workers = [None, None, None];
        let shards = u32::try_from(lock(&self.witness).history().shards_listed()).unwrap_or(u32::MAX);
        let run = RUN + PER_SHARD * (shards + ROTATIONS_MAX);
        let (ends, until) = (self.ends, Instant::now() + run);
        self.start(0);
        let mut written = 0;
        while self.ends == ends && !self.is_over() {
            if Instant::now() >= until {
                let mut witness = lock(&self.witness);
                // Then such a run ends hours later, when that shard has gone.
                if !witness.has_drained_what_outlives_its_children() {
                    witness.violated("P8 a bounded run does not end", format!("within {run:?}"));
                }
                return;
            }
            written += 1;
            self.act(Action::Write(2));
            if written % WRITES_PER_ROTATION == 0 && written / WRITES_PER_ROTATION <= ROTATIONS_MAX {
                let lineage = if self.plan.rng.bool() { Action::Rotate } else { Action::Split };
                self.act(lineage);
            }
            sleep(WRITES_EVERY).await;
            self.supervise().await;
        }
        self.carry_everything().await;
    }
}
