//! A worker process: the engine that ships, assembled as the program does it, between a service and a sink that can be
//! frozen, and in a task that can be killed.

mod seamed;
mod view;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tailwater_model::{
    Claimed, Delivery, Failure, Finished, FirstListing, PipelineIdentity, Position, PreviousStream, Progress, ShardId,
    Source, Step, StreamIdentity, Transform, Trouble, TroubleKind,
};
use tailwater_pipeline::{Assembly, ClaimOf, Ended, Following, RunSettings, StopSignal};
use tailwater_source_dynamodb::{LaneReader, OnGap, ReaderSettings, STREAM_GONE, open_stream};
use tailwater_transform::{ChangeName, KeepChanges};
use tokio::task::JoinHandle;
use tokio::time::sleep;

use self::seamed::{SeamedOwnership, SeamedSink};
pub use self::view::View;
use super::ground::{Ground, SharedWitness, lock};
use super::lanes_down::LanesDown;
use super::plan::Plan;
use super::streams::{self, Chosen};
use crate::face::{Heard, Seam, SimulatedStream};

/// Counts the commits of all lanes until one of them panics, once. Clones count together.
#[derive(Clone, Debug)]
pub struct PanicCountdown(Arc<Mutex<Option<u64>>>);

impl PanicCountdown {
    /// At the commit of this number; never, if there is none.
    pub fn new(at_commit: Option<u64>) -> Self {
        Self(Arc::new(Mutex::new(at_commit)))
    }

    /// Nobody panics any more.
    pub fn disarm(&self) {
        *lock(&self.0) = None;
    }

    fn is_due(&self) -> bool {
        let mut left = lock(&self.0);
        *left = left.map(|left| left.saturating_sub(1));
        left.take_if(|left| *left == 0).is_some()
    }
}

/// By what the world holds a process.
struct Controls {
    seam: Seam,
    stop: StopSignal,
    panic: PanicCountdown,
    lanes_down: LanesDown,
    view: View,
}

/// A running worker.
pub struct Worker {
    /// Its seam to the world outside.
    pub seam: Seam,
    /// What a person sees of it.
    pub view: View,
    stop: StopSignal,
    task: JoinHandle<Result<Ended, Trouble>>,
    crash: JoinHandle<()>,
}

impl Worker {
    /// Starts the process.
    pub fn start<G: Ground>(
        plan: &Plan,
        identity: PipelineIdentity,
        ground: &G,
        stream: SimulatedStream,
        seam: Seam,
        witness: &SharedWitness,
        (panic, lanes_down): (PanicCountdown, LanesDown),
    ) -> Self {
        let (stop, view) = (StopSignal::new(), View::default());
        let (of_seam, of_stop, of_view) = (seam.clone(), stop.clone(), view.clone());
        let controls = Controls { seam: of_seam, stop: of_stop, panic, lanes_down, view: of_view };
        let run = run(plan, identity, ground.clone(), stream, Arc::clone(witness), controls);
        let task = tokio::spawn(run);
        let (dying, abort) = (seam.clone(), task.abort_handle());
        let crash = tokio::spawn(async move {
            dying.crashed().await;
            abort.abort();
        });
        Self { seam, view, stop, task, crash }
    }

    /// Kills it.
    pub fn crash(self) {
        self.task.abort();
    }

    /// Asks it to stop.
    pub fn stop(&self) {
        self.stop.stop();
    }

    /// Whether it has ended by itself.
    pub fn is_finished(&self) -> bool {
        self.task.is_finished()
    }

    /// How it ended; nothing when it was killed. Waits for the end.
    pub async fn ended(mut self) -> Option<Result<Ended, Trouble>> {
        (&mut self.task).await.ok()
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.task.abort();
        self.crash.abort();
    }
}

fn run<G: Ground>(
    plan: &Plan,
    identity: PipelineIdentity,
    ground: G,
    api: SimulatedStream,
    witness: SharedWitness,
    controls: Controls,
) -> impl Future<Output = Result<Ended, Trouble>> + Send + use<G> {
    let settings = RunSettings { lane: plan.lane, lease: plan.lease, stands_by: !plan.reader.until_tip };
    let (stop, seam, status) = (controls.stop.clone(), controls.seam.clone(), Arc::clone(&controls.view.status));
    let (reader, keeps) = (plan.reader.clone(), plan.keeps);
    let (follows, heard, ended) = (None, None, None);
    let process = Process { identity, ground, api, follows, heard, ended, reader, keeps, witness, controls };
    async move {
        seam.pass().await;
        match Box::pin(tailwater_pipeline::run(process, settings, stop, status)).await {
            Err(trouble) if trouble.code == NO_STREAM => Ok(Ended::Stopped),
            outcome => outcome,
        }
    }
}

/// The table has had no stream for a day.
const NO_STREAM: &str = "world.no_stream";
/// The pause before a claim that failed is made again.
const CLAIM_PAUSE: Duration = Duration::from_secs(10);

/// A process, put together as the program does it.
struct Process<G> {
    identity: PipelineIdentity,
    ground: G,
    api: SimulatedStream,
    follows: Option<PreviousStream>,
    /// What the readers of the present stream hear.
    heard: Option<Heard>,
    /// The last stream that was read to its end here.
    ended: Option<String>,
    reader: ReaderSettings,
    keeps: Option<&'static [&'static str]>,
    witness: SharedWitness,
    controls: Controls,
}

impl<G> Process<G> {
    fn reads(&mut self, chosen: Option<Chosen>) -> bool {
        let Some(Chosen { arn, follows }) = chosen else { return false };
        (self.identity.stream.stream_arn, self.follows) = (arn, follows);
        true
    }
}

impl<G: Ground> Assembly for Process<G> {
    type Source = WatchedSource<LaneReader<SimulatedStream>>;
    type Sink = SeamedSink<G::Lane>;
    type Ownership = SeamedOwnership<G::Ownership>;

    async fn choose(&mut self) -> Result<StreamIdentity, Trouble> {
        self.controls.seam.pass().await;
        let (table, stored) = (&self.identity.stream.table, lock(&self.witness).stored_stream());
        let chosen = match self.ended.as_deref() {
            Some(ended) if stored.as_deref().is_none_or(|stored| stored == ended) => {
                streams::next(&self.api, table, &self.witness, ended).await
            }
            // Also where others have gone further meanwhile.
            _ => streams::first(&self.api, table, &self.witness).await,
        };
        if self.reads(chosen) {
            return Ok(self.identity.stream.clone());
        }
        Err(Trouble::new(TroubleKind::StreamEnded, NO_STREAM, "the table has no stream"))
    }

    async fn claim(&mut self) -> Result<ClaimOf<Self>, Trouble> {
        self.controls.seam.pass().await;
        let Claimed { lanes, ownership } = self.ground.claim(&self.identity).await?;
        lock(&self.witness).claimed(&self.identity.stream.stream_arn);
        let Controls { seam, panic, lanes_down, .. } = &self.controls;
        seam.pass().await;
        let seamed = |(lane, sink)| SeamedSink {
            sink,
            lane,
            seam: seam.clone(),
            panic: panic.clone(),
            lanes_down: lanes_down.clone(),
            witness: Arc::clone(&self.witness),
        };
        let lanes = (0..).zip(lanes).map(seamed).collect();
        Ok(Claimed { lanes, ownership: SeamedOwnership { ownership, seam: seam.clone() } })
    }

    fn read(&mut self, lanes: Vec<Self::Sink>) -> Vec<(Self::Source, Self::Sink)> {
        let (api, heard) = self.api.begin();
        self.heard = Some(heard);
        let settings = ReaderSettings { follows: self.follows.clone(), ..self.reader.clone() };
        let (readers, status) = open_stream(api, self.identity.stream.clone(), self.identity.lanes, settings);
        self.controls.view.reads(status);
        let of_all_lanes = Arc::new(Mutex::new(0));
        let watched = |source| WatchedSource {
            source,
            witness: Arc::clone(&self.witness),
            bytes_max: self.reader.memory_bytes_max,
            held: BTreeMap::new(),
            bytes: 0,
            of_all_lanes: Arc::clone(&of_all_lanes),
        };
        readers.into_iter().map(watched).zip(lanes).collect()
    }

    fn transforms(&self) -> Vec<Box<dyn Transform>> {
        let keep = |names: &'static [&'static str]| {
            let names = names.iter().filter_map(|name| ChangeName::parse(name));
            Box::new(KeepChanges::new(names)) as Box<dyn Transform>
        };
        self.keeps.map(keep).into_iter().collect()
    }

    async fn follow(&mut self, outcome: Result<Ended, Trouble>, _: &StopSignal) -> Following {
        let arn = &self.identity.stream.stream_arn;
        match &outcome {
            Ok(Ended::Finished(how)) => {
                let first_answer_ms = self.heard.as_ref().and_then(Heard::first_answer_ms);
                lock(&self.witness).check_end(arn, *how, first_answer_ms);
                if *how == Finished::Tip {
                    return Following::End(outcome);
                }
            }
            Err(trouble) if trouble.code == STREAM_GONE && self.reader.on_gap == OnGap::Continue => {}
            _ => return Following::End(outcome),
        }
        if streams::next(&self.api, &self.identity.stream.table, &self.witness, arn).await.is_none() {
            return Following::End(outcome);
        }
        self.ended = Some(arn.clone());
        Following::Stream
    }

    async fn bear(&mut self, trouble: Trouble, stop: &StopSignal) -> Result<bool, Trouble> {
        if !matches!(trouble.kind, TroubleKind::Environment | TroubleKind::Runtime) {
            return Err(trouble);
        }
        tokio::select! { biased;
            () = stop.stopped() => Ok(false),
            () = sleep(CLAIM_PAUSE) => Ok(true),
        }
    }
}

/// The source with a witness beside it: what is handed out is bounded (I6), follows step by step (I2), and adds up (I9).
struct WatchedSource<S> {
    source: S,
    witness: SharedWitness,
    bytes_max: usize,
    held: BTreeMap<ShardId, (Option<Position>, Vec<usize>)>,
    /// Handed out by this lane and not durable.
    bytes: usize,
    /// The same of all lanes of the process.
    of_all_lanes: Arc<Mutex<usize>>,
}

impl<S> WatchedSource<S> {
    /// The budget holds for the whole process, and is taken before a page is read: only a page that is alone may be larger.
    fn hold(&mut self, bytes: usize) {
        let mut all = lock(&self.of_all_lanes);
        if bytes > 0 && *all > 0 && *all + bytes > self.bytes_max {
            let detail = format!("{bytes} bytes are handed out to {} others, the budget is {}", *all, self.bytes_max);
            lock(&self.witness).violated("I6 memory", detail);
        }
        *all += bytes;
        self.bytes += bytes;
    }

    fn give_back(&mut self, bytes: usize) {
        *lock(&self.of_all_lanes) -= bytes;
        self.bytes -= bytes;
    }
}

impl<S> Drop for WatchedSource<S> {
    fn drop(&mut self) {
        self.give_back(self.bytes);
    }
}

impl<S: Source> Source for WatchedSource<S> {
    async fn open(&mut self, progress: &Progress) -> Result<(), Failure> {
        self.give_back(self.bytes);
        self.held = progress
            .shards
            .iter()
            .map(|shard| (shard.shard.clone(), (Some(shard.position.clone()), Vec::new())))
            .collect();
        self.source.open(progress).await
    }

    async fn next(&mut self) -> Result<Delivery, Failure> {
        let delivery = self.source.next().await?;
        if let Delivery::Batch(batch) = &delivery {
            // A page without records needs no room.
            let bytes = if batch.events.is_empty() && batch.dead_letters.is_empty() { 0 } else { batch.bytes };
            self.hold(bytes);
            let (stands, sizes) = self.held.entry(batch.shard.clone()).or_default();
            let (from, to) = match &batch.step {
                Step::Register { position, .. } => (None, Some(position)),
                Step::Advance(advance) => (Some(&advance.from), Some(&advance.to)),
                Step::Forget => (Some(&Position::End), None),
            };
            if stands.as_ref() != from {
                let detail = format!("shard {} is handed out from {from:?}, it stands at {stands:?}", batch.shard);
                lock(&self.witness).violated("I2 chain of steps", detail);
            }
            *stands = to.cloned();
            sizes.push(bytes);
            let told = (batch.events.len() + batch.dead_letters.len()) as u64;
            if batch.counts.read != told + batch.counts.filtered + batch.counts.suppressed {
                lock(&self.witness).violated("I9 accounting", format!("{:?} for {told} records", batch.counts));
            }
        }
        Ok(delivery)
    }

    fn committed(&mut self, steps: &[(ShardId, Step)], first_listing: Option<FirstListing>) {
        for (shard, _) in steps {
            let sizes = self.held.get_mut(shard).map(|(_, sizes)| sizes).filter(|sizes| !sizes.is_empty());
            if let Some(bytes) = sizes.map(|sizes| sizes.remove(0)) {
                self.give_back(bytes);
            }
        }
        self.source.committed(steps, first_listing);
    }

    fn grew(&mut self, shard: &ShardId, bytes: usize) {
        self.source.grew(shard, bytes);
    }

    fn close(&mut self) {
        self.give_back(self.bytes);
        self.held.clear();
        self.source.close();
    }
}
