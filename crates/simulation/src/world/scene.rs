//! One world from its beginning to its end: faults, then healing, then quiet, then a restart in quiet.

mod action;
mod aftermath;
mod dates;
mod ends;
mod health;
mod late_parent;
mod live;
mod loss;
mod peace;
mod without_lane;
mod year;

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tailwater_model::{PipelineIdentity, StreamIdentity, Trouble, TroubleKind, ViewType};
use tailwater_pipeline::Ended;
use tailwater_source_dynamodb::{OnGap, STREAM_GONE};
use tokio::time::{Instant, sleep_until};

use super::ground::{Ground, SharedWitness, SinkFaults, lock};
use super::lanes_down::LanesDown;
use super::plan::Plan;
use super::witness::{Manner, Violation, Witness};
use super::worker::{PanicCountdown, Worker};
use super::workload::Workload;
use crate::face::{NetworkFaults, Seam, SimulatedStream, StreamNetwork, VirtualClock};
use crate::service::{Manners, Service, StreamStatus};

/// A day at the least, and some hours more.
const UNEVEN_TRIM_MS: RangeInclusive<i64> = 24 * 3_600_000..=30 * 3_600_000;
const TABLE: &str = "orders";
/// The virtual time at which worlds begin: some day in 2026.
const BEGINNING_MS: i64 = 1_790_000_000_000;
/// Workers that a world can have.
const WORKERS_MAX: usize = 3;
/// How often somebody looks after the workers.
const SUPERVISION_INTERVAL: Duration = Duration::from_secs(20);
/// How long after the healing an answer from before may still come.
const LAST_ANSWERS: Duration = Duration::from_secs(120);
/// Calls in a virtual second for each shard and worker, and as many for listings: more is a busy loop.
const CALLS_PER_SECOND_MAX: u64 = 30;

/// Ends of the codes by which a start may still fail after the faults have ended: its answers were lost before.
const PASSING_TROUBLES: [&str; 3] = ["taken_over", "unreachable", "timeout"];

/// Codes by which nothing halts in a world: rights and requests are in order, whatever one answer says.
const FALSE_TROUBLES: [&str; 2] = ["aws.access_denied", "source.invalid_request"];

/// What a world showed.
#[derive(Clone, Debug, Default)]
pub struct Shown {
    /// The first violation.
    pub violation: Option<Violation>,
    /// How often each fault class bit.
    pub hits: BTreeMap<String, u64>,
    /// The story, when it was asked for.
    pub trace: Vec<String>,
}

pub(super) struct Scene<G> {
    plan: Plan,
    clock: VirtualClock,
    service: Arc<Mutex<Service>>,
    network: StreamNetwork,
    ground: G,
    witness: SharedWitness,
    workload: Workload,
    identity: PipelineIdentity,
    workers: [Option<Worker>; WORKERS_MAX],
    hits: BTreeMap<String, u64>,
    halted: bool,
    healed_at: Option<Instant>,
    crash_at_call: Option<u64>,
    panic: PanicCountdown,
    lanes_down: LanesDown,
    /// A shard that no listing shows for a while.
    hidden_parent: Option<String>,
    /// Runs that ended by themselves.
    ends: u64,
    /// What the user's rules refuse. They are no fault, and stay.
    refused_text: Option<String>,
    away_until: Option<Instant>,
    /// Starts that were refused since the sink lost what no start may pass over.
    lost: Option<u32>,
    calls: (Instant, u64),
}

impl<G: Ground> Scene<G> {
    /// Sets the stage. `make` builds the ground.
    pub fn new(plan: Plan, manner: Manner, traced: bool, make: impl FnOnce(u64, SharedWitness) -> G) -> Self {
        let clock = VirtualClock::starting_at(BEGINNING_MS);
        let mut service = Service::new(plan.seed, "eu-central-1", healthy(&plan));
        let table_id = service.create_table(BEGINNING_MS, TABLE, &["pk"]);
        let enabled = service.enable_stream(BEGINNING_MS, TABLE, ViewType::NewAndOldImages);
        let stream_arn = enabled.unwrap_or_default();
        let service = Arc::new(Mutex::new(service));
        let network = StreamNetwork::new(plan.seed.wrapping_add(1));
        let (of_service, of_network) = (Arc::clone(&service), network.clone());
        let witness = Witness::new(of_service, clock.clone(), of_network, manner, plan.promise(), traced);
        let witness = Arc::new(Mutex::new(witness));
        let stream = StreamIdentity { table: TABLE.to_owned(), table_id, stream_arn };
        Self {
            clock,
            network,
            ground: make(plan.seed.wrapping_add(2), Arc::clone(&witness)),
            workload: Workload::new(plan.seed.wrapping_add(3), plan.keys, plan.has("process.refused_text")),
            identity: PipelineIdentity { name: "world".to_owned(), lanes: plan.lanes, stream },
            service,
            witness,
            workers: [None, None, None],
            hits: BTreeMap::new(),
            halted: false,
            healed_at: None,
            crash_at_call: plan.crash_at_call,
            panic: PanicCountdown::new(plan.panic_at_commit),
            lanes_down: LanesDown::default(),
            hidden_parent: None,
            ends: 0,
            refused_text: None,
            away_until: None,
            lost: None,
            calls: (Instant::now(), 0),
            plan,
        }
    }

    /// Runs the world.
    pub async fn run(mut self) -> Shown {
        self.break_things();
        let began = Instant::now();
        for (at_ms, action) in std::mem::take(&mut self.plan.actions) {
            let at = began + Duration::from_millis(at_ms.unsigned_abs());
            self.supervise_until(at).await;
            if self.is_over() {
                break;
            }
            self.act(action);
        }
        self.supervise_until(began + Duration::from_millis(self.plan.heal_ms.unsigned_abs())).await;
        if !self.is_over() {
            self.heal().await;
            self.refuse_what_is_lost().await;
            self.carry_without_a_lane().await;
            self.carry_everything().await;
            self.keep_the_peace().await;
            self.end_under_live_traffic().await;
            self.forget_what_is_gone().await;
            self.live_with_wrong_dates().await;
            self.end_shards_in_quiet().await;
            self.tell_the_truth().await;
        }
        if !self.is_over() {
            self.let_the_tip_be_known().await;
            self.restart_in_quiet().await;
        }
        self.judge();
        self.shown()
    }

    fn is_over(&self) -> bool {
        self.halted || lock(&self.witness).violation().is_some()
    }

    fn tell(&self, line: impl FnOnce() -> String) {
        lock(&self.witness).tell(line);
    }

    fn break_things(&mut self) {
        let mut manners = healthy(&self.plan);
        // Small pages of everything: where pages meet, readers break.
        manners.listing_page_max = [1, 2, 5, 100][self.plan.rng.usize(0..4)];
        manners.page_records_max = [1, 3, 20, 1000][self.plan.rng.usize(0..4)];
        manners.listing_shuffled = self.plan.rng.bool();
        let (mut network, mut sink) = (NetworkFaults::default(), SinkFaults::default());
        network.latency = Duration::from_millis(1)..Duration::from_millis(80);
        for fault in &self.plan.faults {
            fault.turn(&mut self.plan.rng, &mut manners, &mut network, &mut sink);
        }
        self.tell(|| {
            let faults: Vec<_> = self.plan.faults.iter().map(|fault| fault.name).collect();
            let (plan, reader) = (&self.plan, &self.plan.reader);
            let settings = (reader.start, reader.on_gap, plan.keeps);
            let bounded = if reader.until_tip { ", until the tip" } else { "" };
            format!("begin: {} lanes, {} shards, {settings:?}{bounded}, faults {faults:?}", plan.lanes, plan.shards)
        });
        *lock(&self.service).manners_mut() = manners;
        self.network.set_faults(network);
        self.ground.set_faults(&sink);
        self.refused_text = sink.refused_text;
    }

    fn hit(&mut self, name: &str) {
        *self.hits.entry(name.to_owned()).or_default() += 1;
    }

    fn start(&mut self, number: usize) {
        if self.away_until.is_some_and(|until| Instant::now() < until) {
            return;
        }
        let others = self.workers.iter().enumerate();
        if others.filter(|(other, _)| *other != number).any(|(_, worker)| worker.is_some()) {
            self.hit("process.second_owner");
            if number == 2 {
                self.hit("process.started_twice");
            }
        }
        lock(&self.witness).started();
        let seam = Seam::new(self.crash_at_call.take());
        let stream = SimulatedStream::new(Arc::clone(&self.service), self.clock.clone(), &self.network, seam.clone());
        let (identity, witness) = (self.identity.clone(), &self.witness);
        let controls = (self.panic.clone(), self.lanes_down.clone());
        self.workers[number] = Some(Worker::start(&self.plan, identity, &self.ground, stream, seam, witness, controls));
    }

    async fn supervise_until(&mut self, until: Instant) {
        while Instant::now() < until && !self.is_over() {
            let away = self.away_until.filter(|away| Instant::now() < *away);
            let next = away.unwrap_or(Instant::now() + SUPERVISION_INTERVAL).min(until);
            sleep_until(next).await;
            self.supervise().await;
        }
    }

    /// Takes note of workers that ended, and starts one when nobody is left.
    async fn supervise(&mut self) {
        self.check_calls();
        for number in 0..WORKERS_MAX {
            let Some(worker) = self.workers[number].take_if(|worker| worker.is_finished()) else { continue };
            match worker.ended().await {
                None => {
                    self.tell(|| format!("worker {number} died"));
                    self.hit("process.crash_at_call");
                }
                Some(Ok(ended)) => {
                    self.ends += u64::from(matches!(ended, Ended::Finished(_)));
                    self.tell(|| format!("worker {number}: {ended:?}"));
                }
                Some(Err(trouble)) => self.halt(number, &trouble),
            }
        }
        self.check_rows();
        if self.halted || self.workers.iter().any(Option::is_some) {
            return;
        }
        self.start(0);
    }

    /// A halt is honest: data at risk only with a gap on record, and nothing but a take-over once the faults are gone.
    fn halt(&mut self, number: usize, trouble: &Trouble) {
        self.tell(|| format!("worker {number} halts: {}: {}", trouble.code, trouble.message));
        if trouble.code == "pipeline.panic" {
            self.hit("process.panic");
        }
        if FALSE_TROUBLES.contains(&trouble.code) {
            lock(&self.witness).violated("P8 a halt by a passing answer", format!("{}: {trouble}", trouble.code));
        }
        if self.is_told_of_loss(trouble) {
            return;
        }
        if trouble.kind == TroubleKind::DataAtRisk {
            if !lock(&self.witness).has_gaps() {
                lock(&self.witness).violated("I8 a halt without a gap on record", trouble.to_string());
            }
            self.halted = self.plan.reader.on_gap == OnGap::Stop;
        } else if trouble.code == STREAM_GONE {
            let mut witness = lock(&self.witness);
            if witness.has_losses() && !witness.has_gaps() {
                witness.violated("I8 a stream that is gone without a gap on record", trouble.to_string());
            }
            drop(witness);
            // Told at every start and never passed over: a pipeline goes on with another stream only, and that is a gap.
            let stream = lock(&self.service).latest_stream(self.clock.now_ms(), TABLE);
            self.halted = stream.is_none_or(|stream| stream.status == StreamStatus::Disabled);
        } else if self.healed_at.is_some_and(|at| at.elapsed() > LAST_ANSWERS)
            && !PASSING_TROUBLES.iter().any(|passing| trouble.code.ends_with(passing))
        {
            lock(&self.witness).violated("P8 a halt without a fault", format!("{}: {trouble}", trouble.code));
        }
    }

    fn check_calls(&mut self) {
        let calls = self.network.calls();
        let seconds = self.calls.0.elapsed().as_secs() + 1;
        let shards = lock(&self.witness).history().shards_listed() as u64 + 1;
        let running = self.workers.iter().filter(|worker| worker.is_some()).count() as u64 + 1;
        let allowed = seconds * CALLS_PER_SECOND_MAX * shards * running;
        if calls - self.calls.1 > allowed {
            let detail = format!("{} calls in {seconds} s for {shards} shards", calls - self.calls.1);
            lock(&self.witness).violated("I6 busy loop", detail);
        }
        self.calls = (Instant::now(), calls);
        if let Some(shard) = self.network.hasty() {
            lock(&self.witness).violated("I6 retries without a wait", format!("shard {shard}, again and again"));
        }
    }

    fn collect_hits(&mut self) {
        if self.healed_at.is_some() {
            return;
        }
        let service = lock(&self.service).hits().clone();
        for (part, hits) in [("service", service), ("network", self.network.hits()), ("sink", self.ground.hits())] {
            for (name, times) in hits {
                let part = if name == "refused_text" { "process" } else { part };
                *self.hits.entry(format!("{part}.{name}")).or_default() += times;
            }
        }
        if self.lanes_down.hits() > 0 {
            self.hits.insert("sink.lane_down".to_owned(), self.lanes_down.hits());
        }
    }

    fn shown(self) -> Shown {
        let mut witness = lock(&self.witness);
        Shown { violation: witness.violation(), trace: witness.take_trace(), hits: self.hits.clone() }
    }
}

/// The service without faults: prompt, consistent, and with shards that close only when the plan says so. What is no fault but the
/// way of a server stays.
fn healthy(plan: &Plan) -> Manners {
    let manners = Manners { shards_at_start: plan.shards, ..Manners::kind() };
    let trim_after_ms = if plan.trims_unevenly { UNEVEN_TRIM_MS } else { manners.trim_after_ms.clone() };
    let open_with_ending = plan.has("service.open_with_ending");
    Manners { trim_after_ms, open_with_ending, ..manners }
}
