//! The end of a world: healing, what can be carried is carried, quiet, a restart in quiet, and the judgement.

use std::time::Duration;

use tailwater_model::Position;
use tokio::time::{Instant, sleep};

use super::{SUPERVISION_INTERVAL, Scene, TABLE, healthy};
use crate::face::NetworkFaults;
use crate::service::{EMPTY_PAGES_MAX, Manners};
use crate::world::ground::{Durable, Ground, SinkFaults, lock};
use crate::world::oracle;
use crate::world::worker::Worker;

/// What the last faults may still cost after they ended: calls that hang, waits that have grown, records that come late.
const AFTERMATH: Duration = Duration::from_secs(20 * 60);
/// What a shard may cost then: its end has to be seen, and its children to be found.
const PER_SHARD: Duration = Duration::from_secs(120);
/// The longest that a page takes then, there and back, with a commit on the way.
const ANSWER: Duration = Duration::from_secs(1);
/// How long a restart in quiet is watched.
const QUIET: Duration = Duration::from_secs(120);

impl<G: Ground> Scene<G> {
    pub(super) async fn heal(&mut self) {
        self.tell(|| "heal".to_owned());
        self.collect_hits();
        self.healed_at = Some(Instant::now());
        self.away_until = None;
        self.crash_at_call = None;
        self.panic.disarm();
        self.lanes_down.set([]);
        self.lanes_down.slow_down(Duration::ZERO);
        // A listing may be under way, whose next page goes on in the order of the last.
        {
            let mut service = lock(&self.service);
            let listing_shuffled = service.manners_mut().listing_shuffled;
            *service.manners_mut() = Manners { listing_shuffled, ..healthy(&self.plan) };
        }
        self.network.set_faults(healthy_network());
        let refused_text = self.refused_text.clone();
        self.ground.set_faults(&SinkFaults { refused_text, ..SinkFaults::default() });
        self.workers.iter().flatten().for_each(|worker| worker.seam.freeze(false));
        self.supervise().await;
    }

    /// P8: what can be carried is carried within its time, without anybody's help but a supervisor's.
    pub(super) async fn carry_everything(&mut self) {
        let shards = lock(&self.witness).history().shards_listed();
        let reader = &self.plan.reader;
        let per_shard = PER_SHARD + reader.discovery_interval * 2 + reader.poll_interval_max * 2;
        let until = Instant::now() + AFTERMATH + per_shard * u32::try_from(shards).unwrap_or(u32::MAX);
        loop {
            if self.is_over() {
                return;
            }
            let Some(behind) = lock(&self.witness).behind() else { return };
            if Instant::now() >= until {
                lock(&self.witness).violated("P8 no progress after healing", behind);
                return;
            }
            sleep(SUPERVISION_INTERVAL / 4).await;
            self.supervise().await;
        }
    }

    /// What an idle shard was read to is known, and stored, after a run of empty pages.
    pub(super) async fn let_the_tip_be_known(&mut self) {
        let shards = lock(&self.witness).history().shards_listed();
        let at_once = self.plan.reader.fetch_slots.max(1);
        let turns = u32::try_from(shards.div_ceil(at_once)).unwrap_or(u32::MAX).max(1);
        let per_page = self.plan.reader.poll_interval_min + ANSWER * turns;
        let until = Instant::now() + per_page * (EMPTY_PAGES_MAX + 2) + SUPERVISION_INTERVAL;
        self.supervise_until(until).await;
    }

    /// Nothing is written after a restart when there is nothing to carry.
    pub(super) async fn restart_in_quiet(&mut self) {
        // All at once: one that stands by would begin when another hands over.
        self.workers.iter().flatten().for_each(Worker::stop);
        for worker in self.workers.iter_mut().filter_map(Option::take) {
            let asked = Instant::now();
            drop(worker.ended().await);
            if asked.elapsed() > self.plan.lane.grace_period + SUPERVISION_INTERVAL {
                lock(&self.witness).violated("P8 a stop beyond its grace", format!("{:?}", asked.elapsed()));
            }
        }
        self.tell(|| "restart in quiet".to_owned());
        let (durable, landings) = (self.ground.durable(), lock(&self.witness).landings);
        let has_more = lock(&self.witness).has_more();
        let stream = lock(&self.witness).stored_stream();
        let was_there = self.is_there(stream.as_ref());
        self.start(0);
        let until = Instant::now() + QUIET + self.plan.reader.discovery_interval * 2;
        while Instant::now() < until && !self.is_over() {
            sleep(SUPERVISION_INTERVAL).await;
            self.supervise().await;
        }
        let (mut before, mut after) = (without_repeated_gaps(durable), without_repeated_gaps(self.ground.durable()));
        // When the stream goes meanwhile, who began a moment before that does not know whether all its shards were listed, and what
        // may be lost is a gap.
        let went = was_there && !self.is_there(stream.as_ref());
        if went {
            [&mut before, &mut after].into_iter().for_each(|durable| durable.gaps.retain(|(shard, _)| shard.is_some()));
        }
        let is_written = after != before || (!went && lock(&self.witness).landings != landings);
        if is_written && !has_more {
            lock(&self.witness).violated("written after a restart in quiet", "see the landings after it".to_owned());
        }
    }

    fn is_there(&self, stream: Option<&String>) -> bool {
        let service = lock(&self.service);
        service
            .truth()
            .streams(TABLE, self.clock.now_ms())
            .any(|(arn, is_there)| is_there && Some(arn) == stream.map(String::as_str))
    }

    /// The end: the oracle's word, and the honesty about what was lost.
    pub(super) fn judge(&mut self) {
        self.collect_hits();
        let mut witness = lock(&self.witness);
        if witness.violation().is_some() || self.halted {
            return;
        }
        witness.check_losses();
        let (durable, manner) = (self.ground.durable(), witness.manner());
        if let Err(violation) = oracle::compare(witness.history(), &durable, manner) {
            witness.violated(violation.check, violation.detail);
        }
    }
}

/// The network without faults.
pub(super) fn healthy_network() -> NetworkFaults {
    let latency = Duration::from_millis(1)..Duration::from_millis(80);
    NetworkFaults { latency, ..NetworkFaults::default() }
}

/// Behind a gap without a record yet, a restart finds the same gap again and puts it on record once more.
fn without_repeated_gaps(mut durable: Durable) -> Durable {
    // A drained shard may be forgotten whenever the service has forgotten it.
    durable.positions.retain(|_, position| *position != Position::End);
    // A shard that is still idle may be told to have lost something once more.
    durable.gaps.iter_mut().for_each(|(_, cause)| cause.clear());
    durable.gaps.sort();
    durable.gaps.dedup();
    durable
}
