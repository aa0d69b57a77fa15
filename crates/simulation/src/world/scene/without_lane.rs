//! Lanes that are up go on while one is down, with nothing else in their way.

use std::time::Duration;

use tailwater_model::{Position, ShardId};
use tailwater_source_dynamodb::OnGap;
use tokio::time::{Instant, sleep};

use super::{SUPERVISION_INTERVAL, Scene};
use crate::world::ground::{Ground, lock};
use crate::world::plan::Action;

/// What the last faults may still cost, and what carrying costs.
const WITHIN: Duration = Duration::from_secs(40 * 60);
/// What is written meanwhile.
const WRITES: u32 = 40;
const BURSTS: u32 = 4;

impl<G: Ground> Scene<G> {
    /// Takes a lane away, with a new start of the process or without, and waits until the others have carried what is theirs.
    pub(super) async fn carry_without_a_lane(&mut self) {
        let is_judged = self.plan.has("sink.lane_down") && self.plan.lanes > 1 && !self.plan.reader.until_tip;
        // Before the stream is known a gap may wait for all lanes, and a gap that stops everything waits for a person.
        let is_free = lock(&self.witness).is_known() && self.plan.reader.on_gap == OnGap::Continue;
        if !is_judged || !is_free || self.is_over() {
            return;
        }
        let lane = self.plan.rng.u32(0..self.plan.lanes);
        self.tell(|| format!("without lane {lane}"));
        self.lanes_down.set([lane]);
        if self.plan.rng.bool() {
            self.workers = [None, None, None];
            self.start(0);
        }
        let stored = lock(&self.witness).stored_shards();
        for _ in 0..BURSTS {
            self.act(Action::Write(WRITES / BURSTS));
            sleep(SUPERVISION_INTERVAL).await;
            self.supervise().await;
        }
        let lanes = self.plan.lanes;
        let is_up = |shard: &str| ShardId::new(shard).lane(lanes) != lane;
        let until = Instant::now() + WITHIN;
        while !self.is_over() {
            let behind = lock(&self.witness)
                .behind_of(&|witness, shard| stored.contains(shard) && witness.may_go_on(shard, &is_up));
            let Some(behind) = behind else { break };
            if Instant::now() >= until {
                lock(&self.witness).violated("P8 a lane that is up stands still", behind);
                return;
            }
            sleep(SUPERVISION_INTERVAL).await;
            self.supervise().await;
        }
        self.lanes_down.set([]);
    }
}

impl crate::world::Witness {
    /// This shard's lane is up, and so are those of all that stand before it, unless it was read already.
    fn may_go_on(&self, shard: &str, is_up: &dyn Fn(&str) -> bool) -> bool {
        if matches!(self.position(shard), Some(Position::After(_))) {
            return is_up(shard);
        }
        let Some(parent) = self.history_now().parent(shard) else { return is_up(shard) };
        let is_drained = self.position(parent) == Some(&Position::End);
        is_up(shard) && is_up(parent) && (is_drained || self.may_go_on(parent, is_up))
    }
}
