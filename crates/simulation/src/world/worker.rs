//! A worker process: the engine that ships, assembled as the program does it, between a service and a sink that can be
//! frozen, and in a task that can be killed.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use tailwater_model::{
    Committed, Delivery, Failure, Finished, FirstListing, Group, PipelineIdentity, Position, Progress, ShardId, Sink,
    Source, Step, Transform, Trouble,
};
use tailwater_pipeline::{Ended, LaneSettings, PipelineStatus, StopSignal, run_pipeline};
use tailwater_source_dynamodb::{OnGap, ReaderSettings, STREAM_GONE, open_stream};
use tailwater_transform::{ChangeName, KeepChanges};
use tokio::task::JoinHandle;

use super::ground::{Ground, SharedWitness, lock};
use super::lanes_down::LanesDown;
use super::plan::Plan;
use super::streams::{self, Chosen};
use crate::face::{Seam, SimulatedStream};

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
}

/// A running worker.
pub struct Worker {
    /// Its seam to the world outside.
    pub seam: Seam,
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
        let stop = StopSignal::new();
        let controls = Controls { seam: seam.clone(), stop: stop.clone(), panic, lanes_down };
        let run = run(plan, identity, ground.clone(), stream, Arc::clone(witness), controls);
        let task = tokio::spawn(run);
        let (dying, abort) = (seam.clone(), task.abort_handle());
        let crash = tokio::spawn(async move {
            dying.crashed().await;
            abort.abort();
        });
        Self { seam, stop, task, crash }
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
    let process = Process { reader: plan.reader.clone(), lane: plan.lane, keeps: plan.keeps, witness, controls };
    process.run(identity, ground, api)
}

/// Claims the lanes for a stream. Nothing when the process is asked to stop: as the program does, it claims nothing more then.
async fn claim<G: Ground>(
    ground: &G,
    identity: &mut PipelineIdentity,
    arn: &str,
    stop: &StopSignal,
) -> Result<Option<Vec<G::Lane>>, Trouble> {
    arn.clone_into(&mut identity.stream.stream_arn);
    tokio::select! { biased;
        () = stop.stopped() => Ok(None),
        sinks = ground.claim(identity) => Ok(Some(sinks?)),
    }
}

/// What a process runs with.
struct Process {
    reader: ReaderSettings,
    lane: LaneSettings,
    keeps: Option<&'static [&'static str]>,
    witness: SharedWitness,
    controls: Controls,
}

impl Process {
    /// One stream of the table after the other.
    async fn run<G: Ground>(
        self,
        mut identity: PipelineIdentity,
        ground: G,
        api: SimulatedStream,
    ) -> Result<Ended, Trouble> {
        let (seam, stop) = (self.controls.seam.clone(), self.controls.stop.clone());
        seam.pass().await;
        let table = identity.stream.table.clone();
        let mut chosen = streams::first(&api, &table, &self.witness).await;
        let mut is_first = true;
        let mut outcome = Ok(Ended::Stopped);
        while let Some(Chosen { mut arn, mut follows }) = chosen {
            let Some(mut sinks) = claim(&ground, &mut identity, &arn, &stop).await? else { return Ok(Ended::Stopped) };
            if std::mem::take(&mut is_first) {
                // As the program does: whoever had the lanes until now may have gone over to another stream since this one was
                // chosen; now nobody does.
                let Some(again) = streams::first(&api, &table, &self.witness).await else { return outcome };
                if again.arn != arn {
                    let claimed = claim(&ground, &mut identity, &again.arn, &stop).await?;
                    let Some(claimed) = claimed else { return Ok(Ended::Stopped) };
                    sinks = claimed;
                }
                (arn, follows) = (again.arn, again.follows);
            }
            seam.pass().await;
            let (api_of_stream, heard) = api.begin();
            let settings = ReaderSettings { follows, ..self.reader.clone() };
            let (readers, _) = open_stream(api_of_stream, identity.stream.clone(), identity.lanes, settings);
            let lanes = self.watched(readers, sinks);
            let status = Arc::new(PipelineStatus::new());
            outcome = Box::pin(run_pipeline(lanes, self.transforms(), self.lane, stop.clone(), status)).await;
            match &outcome {
                Ok(Ended::Finished(how)) => {
                    lock(&self.witness).check_end(&arn, *how, heard.first_answer_ms());
                    if *how == Finished::Tip {
                        return outcome;
                    }
                }
                Err(trouble) if trouble.code == STREAM_GONE && self.reader.on_gap == OnGap::Continue => {}
                _ => return outcome,
            }
            chosen = streams::next(&api, &table, &self.witness, &arn).await;
        }
        outcome
    }

    fn watched<S: Source, K: Sink>(&self, readers: Vec<S>, sinks: Vec<K>) -> Vec<(WatchedSource<S>, SeamedSink<K>)> {
        let of_all_lanes = Arc::new(Mutex::new(0));
        let watched = |(lane, (source, sink))| {
            let source = WatchedSource {
                source,
                witness: Arc::clone(&self.witness),
                bytes_max: self.reader.memory_bytes_max,
                held: BTreeMap::new(),
                bytes: 0,
                of_all_lanes: Arc::clone(&of_all_lanes),
            };
            let Controls { seam, panic, lanes_down, .. } = &self.controls;
            let sink = SeamedSink {
                sink,
                lane,
                seam: seam.clone(),
                panic: panic.clone(),
                lanes_down: lanes_down.clone(),
                witness: Arc::clone(&self.witness),
            };
            (source, sink)
        };
        (0..).zip(readers.into_iter().zip(sinks)).map(watched).collect()
    }

    fn transforms(&self) -> Vec<Box<dyn Transform>> {
        let keep = |names: &'static [&'static str]| {
            let names = names.iter().filter_map(|name| ChangeName::parse(name));
            Box::new(KeepChanges::new(names)) as Box<dyn Transform>
        };
        self.keeps.map(keep).into_iter().collect()
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

/// The sink behind the seam of its process.
struct SeamedSink<K> {
    sink: K,
    lane: u32,
    seam: Seam,
    panic: PanicCountdown,
    lanes_down: LanesDown,
    witness: SharedWitness,
}

impl<K: Sink> Sink for SeamedSink<K> {
    async fn open(&mut self) -> Result<Progress, Failure> {
        self.seam.pass().await;
        self.lanes_down.reach(self.lane).await?;
        let opened = self.sink.open().await;
        self.seam.pass().await;
        opened
    }

    async fn commit(&mut self, group: Group) -> Result<Committed, Failure> {
        self.seam.pass().await;
        if self.panic.is_due() {
            // Unwinds as a panic does, and says nothing on the way.
            std::panic::resume_unwind(Box::new("a panic of the world's own"));
        }
        self.lanes_down.reach(self.lane).await?;
        self.lanes_down.slow().await;
        for batch in &group.batches {
            let kept = (batch.events.len() + batch.dead_letters.len()) as u64;
            if batch.counts.read != kept + batch.counts.filtered + batch.counts.suppressed {
                lock(&self.witness).violated("I9 accounting", format!("{:?} with {kept} kept", batch.counts));
            }
        }
        let committed = self.sink.commit(group).await;
        self.seam.pass().await;
        committed
    }
}
