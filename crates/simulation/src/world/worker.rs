//! A worker process: the engine that ships, assembled as the program does it, between a service and a sink that can be
//! frozen, and in a task that can be killed.

use std::collections::BTreeMap;
use std::sync::Arc;

use tailwater_model::{
    Committed, Delivery, Failure, Group, PipelineIdentity, Position, Progress, ShardId, Sink, Source, Step, Trouble,
};
use tailwater_pipeline::{Ended, PipelineStatus, StopSignal, run_pipeline};
use tailwater_source_dynamodb::open_stream;
use tokio::task::JoinHandle;

use super::ground::{Ground, SharedWitness, lock};
use super::plan::Plan;
use crate::face::{Seam, SimulatedStream};

/// Bytes that a page of a small world can have.
const PAGE_BYTES_MAX: usize = 1 << 20;

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
    ) -> Self {
        let stop = StopSignal::new();
        let run = run(plan, identity, ground.clone(), stream, seam.clone(), Arc::clone(witness), stop.clone());
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
    stream: SimulatedStream,
    seam: Seam,
    witness: SharedWitness,
    stop: StopSignal,
) -> impl Future<Output = Result<Ended, Trouble>> + Send + use<G> {
    let (reader, lane) = (plan.reader.clone(), plan.lane);
    async move {
        seam.pass().await;
        // As the program does: who is asked to stop claims nothing more.
        let sinks = tokio::select! { biased;
            () = stop.stopped() => return Ok(Ended::Stopped),
            sinks = ground.claim(&identity) => sinks?,
        };
        seam.pass().await;
        let readers = open_stream(stream, identity.stream, identity.lanes, reader.clone());
        let bytes_max = reader.memory_bytes_max + PAGE_BYTES_MAX * reader.fetch_slots;
        let lanes = readers.into_iter().zip(sinks).map(|(source, sink)| {
            let source =
                WatchedSource { source, witness: Arc::clone(&witness), bytes_max, held: BTreeMap::new(), bytes: 0 };
            (source, SeamedSink { sink, seam: seam.clone() })
        });
        Box::pin(run_pipeline(lanes.collect(), Vec::new(), lane, stop, Arc::new(PipelineStatus::new()))).await
    }
}

/// The source with a witness beside it: what is handed out is bounded (I6), follows step by step (I2), and adds up (I9).
struct WatchedSource<S> {
    source: S,
    witness: SharedWitness,
    bytes_max: usize,
    held: BTreeMap<ShardId, (Option<Position>, Vec<usize>)>,
    bytes: usize,
}

impl<S: Source> Source for WatchedSource<S> {
    async fn open(&mut self, progress: &Progress) -> Result<(), Failure> {
        self.bytes = 0;
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
            self.bytes += batch.bytes;
            if self.bytes > self.bytes_max {
                let detail = format!("{} bytes are handed out, at most {} may be", self.bytes, self.bytes_max);
                lock(&self.witness).violated("I6 memory", detail);
            }
            let (stands, sizes) = self.held.entry(batch.shard.clone()).or_default();
            let (from, to) = match &batch.step {
                Step::Register { position, .. } => (None, position),
                Step::Advance(advance) => (Some(&advance.from), &advance.to),
            };
            if stands.as_ref() != from {
                let detail = format!("shard {} is handed out from {from:?}, it stands at {stands:?}", batch.shard);
                lock(&self.witness).violated("I2 chain of steps", detail);
            }
            *stands = Some(to.clone());
            sizes.push(batch.bytes);
            let told = (batch.events.len() + batch.dead_letters.len()) as u64;
            if batch.counts.read != told + batch.counts.filtered + batch.counts.suppressed {
                lock(&self.witness).violated("I9 accounting", format!("{:?} for {told} records", batch.counts));
            }
        }
        Ok(delivery)
    }

    fn committed(&mut self, steps: &[(ShardId, Step)]) {
        for (shard, _) in steps {
            if let Some((_, sizes)) = self.held.get_mut(shard)
                && !sizes.is_empty()
            {
                self.bytes -= sizes.remove(0);
            }
        }
        self.source.committed(steps);
    }
}

/// The sink behind the seam of its process.
struct SeamedSink<K> {
    sink: K,
    seam: Seam,
}

impl<K: Sink> Sink for SeamedSink<K> {
    async fn open(&mut self) -> Result<Progress, Failure> {
        self.seam.pass().await;
        let opened = self.sink.open().await;
        self.seam.pass().await;
        opened
    }

    async fn commit(&mut self, group: Group) -> Result<Committed, Failure> {
        self.seam.pass().await;
        let committed = self.sink.commit(group).await;
        self.seam.pass().await;
        committed
    }
}
