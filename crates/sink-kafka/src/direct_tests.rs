//! The protocol without librdkafka and without a thread, in paused time: that the seam is wide enough, and what a dropped
//! future does. The cluster here knows no fault but a commit that is never answered.

use std::collections::BTreeMap;
use std::future::pending;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use tailwater_model::{
    Advance, Batch, Counts, Failure, Group, KeyAttribute, KeyKind, KeySchema, PipelineIdentity, Position, ShardId,
    Sink, Step, StreamIdentity,
};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::settings::sample;
use crate::{
    Acknowledged, Cluster, DirectLane, Fault, Isolation, MayMake, MessageLimits, Outgoing, Producer, ProducerRole,
    Read, Reader, SendFault, StoredRecord, TopicFacts, TopicLook, checkpoints_on, claim_on,
};

/// A record of the progress topic.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Kept {
    partition: i32,
    key: Vec<u8>,
    value: Option<Vec<u8>>,
}

#[derive(Default)]
struct State {
    /// The newest producer of each id.
    epochs: BTreeMap<String, u64>,
    committed: Vec<Kept>,
    /// Commits are done and never answered.
    is_mute: bool,
    /// What it takes to read one record.
    reading_takes: Duration,
}

/// A cluster that keeps what is sent to the progress topic. Clones are the same one.
#[derive(Clone, Default)]
struct Brokers(Arc<Mutex<State>>);

impl Brokers {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("no test panicked here")
    }

    /// The newest claim of the pipeline, which holds its owner's mark.
    fn session(&self, partition: i32) -> Kept {
        let is_mark = |kept: &&Kept| kept.partition == partition && kept.key == br#"["session"]"#;
        self.state().committed.iter().rfind(is_mark).expect("a session").clone()
    }

    async fn claim(&self, seed: u64) -> Vec<DirectLane<Self>> {
        let stream = StreamIdentity { table: "Orders".into(), table_id: "id".into(), stream_arn: "arn".into() };
        let pipeline = PipelineIdentity { name: "orders".into(), lanes: 2, stream };
        let keys = KeySchema { partition: KeyAttribute { name: "Id".into(), kind: KeyKind::S }, sort: None };
        let chance = fastrand::Rng::with_seed(seed);
        claim_on(self.clone(), &sample(), &pipeline, &keys, None, chance).await.expect("claims").lanes
    }
}

impl Cluster for Brokers {
    type Producer = Client;
    type Reader = Cursor;

    fn producer(&self, role: &ProducerRole<'_>) -> Result<Client, Fault> {
        let ProducerRole::Transactional { id, .. } = role else { panic!("all is in transactions here") };
        Ok(Client { brokers: self.clone(), id: (*id).to_owned(), inner: Mutex::default() })
    }

    fn reader(&self, lanes: Range<u32>, _: Isolation) -> Result<Cursor, Fault> {
        let partitions = lanes.map(|lane| i32::try_from(lane).expect("few lanes")).collect();
        Ok(Cursor { brokers: self.clone(), partitions, next: 0, unsaid: Vec::new(), is_at_end: false })
    }

    async fn check_topics(&self, lanes: u32, _may_make: MayMake) -> Result<TopicLook, Fault> {
        let facts = TopicFacts { data_partitions: 1, limits: MessageLimits::same(1_000_000) };
        Ok(TopicLook { facts, data_ends: vec![0], progress_partitions: lanes, is_complete: true })
    }
}

struct Client {
    brokers: Brokers,
    id: String,
    /// The epoch, and what was sent in the open transaction.
    inner: Mutex<(u64, Vec<Kept>)>,
}

impl Client {
    fn check(&self) -> Result<(), KafkaError> {
        let epoch = self.inner.lock().expect("no test panicked here").0;
        let is_newest = self.brokers.state().epochs.get(&self.id) == Some(&epoch);
        if is_newest { Ok(()) } else { Err(KafkaError::Global(RDKafkaErrorCode::ProducerFenced)) }
    }
}

impl Producer for Client {
    async fn fence_others(&self, _lane: &str, _within: Duration) -> Result<(), KafkaError> {
        let mut state = self.brokers.state();
        let epoch = state.epochs.entry(self.id.clone()).or_default();
        *epoch += 1;
        self.inner.lock().expect("no test panicked here").0 = *epoch;
        Ok(())
    }

    async fn begin(&self) -> Result<(), KafkaError> {
        self.check()
    }

    async fn send(&self, message: Outgoing<'_>, _deadline: Instant) -> Result<(), SendFault> {
        assert_eq!(message.topic, sample().progress_topic);
        let value = message.value.map(<[u8]>::to_vec);
        let kept = Kept { partition: message.partition, key: message.key.to_vec(), value };
        self.inner.lock().expect("no test panicked here").1.push(kept);
        Ok(())
    }

    async fn wait_delivered(&self, _deadline: Instant) -> Result<(), SendFault> {
        Ok(self.check()?)
    }

    fn acknowledged(&self) -> Vec<Acknowledged> {
        Vec::new()
    }

    async fn commit(&self, _deadline: Instant) -> Result<(), KafkaError> {
        self.check()?;
        let sent = std::mem::take(&mut self.inner.lock().expect("no test panicked here").1);
        let is_mute = {
            let mut state = self.brokers.state();
            state.committed.extend(sent);
            state.is_mute
        };
        if is_mute { pending().await } else { Ok(()) }
    }

    async fn abort(&self) {}

    fn fault(&self, doing: &str, error: &KafkaError) -> Fault {
        Fault::of(doing, "a test", error, None)
    }
}

struct Cursor {
    brokers: Brokers,
    partitions: Vec<i32>,
    next: usize,
    /// The partitions whose end was reached and not told yet.
    unsaid: Vec<i32>,
    is_at_end: bool,
}

impl Reader for Cursor {
    async fn next<T: Send>(
        &mut self,
        deadline: Instant,
        decode: impl FnOnce(StoredRecord<'_>) -> T + Send,
    ) -> Result<Read<T>, KafkaError> {
        let kept = self.brokers.state().committed.get(self.next).cloned();
        let Some(Kept { partition, key, value }) = kept else {
            if !std::mem::replace(&mut self.is_at_end, true) {
                self.unsaid = self.partitions.clone();
            }
            if let Some(partition) = self.unsaid.pop() {
                let offset = i64::try_from(self.next).expect("few records");
                return Ok(Read::End { partition, offset });
            }
            sleep_until(deadline).await;
            return Ok(Read::Nothing);
        };
        self.is_at_end = false;
        let takes = self.brokers.state().reading_takes;
        if !takes.is_zero() {
            sleep(takes).await;
        }
        let offset = i64::try_from(self.next).expect("few records");
        self.next += 1;
        if !self.partitions.contains(&partition) {
            return Ok(Read::Nothing);
        }
        let stored = StoredRecord { partition, offset, at_ms: 0, key: &key, value: value.as_deref() };
        Ok(Read::Record(decode(stored)))
    }

    async fn end(&mut self, _partition: i32, _deadline: Instant) -> Result<i64, KafkaError> {
        Ok(i64::try_from(self.brokers.state().committed.len()).expect("few records"))
    }

    fn fault(&self, doing: &str, error: &KafkaError) -> Fault {
        Fault::of(doing, "a test", error, None)
    }
}

fn group(step: Step) -> Group {
    let counts = Counts::default();
    let (shard, events, dead_letters) = (ShardId::new("shardId-1"), Vec::new(), Vec::new());
    let batch = Batch { shard, step, read_until: None, events, dead_letters, gap: None, counts, bytes: 0 };
    Group { batches: vec![batch], first_listing: None }
}

fn registration() -> Group {
    group(Step::Register { parent: None, position: Position::Start })
}

fn end() -> Group {
    group(Step::Advance(Advance { from: Position::Start, to: Position::End }))
}

#[tokio::test(start_paused = true)]
async fn a_dropped_commit_is_the_death_of_the_client() {
    let brokers = Brokers::default();
    let mut lane = brokers.claim(1).await.remove(0);
    lane.open().await.expect("opens");
    lane.commit(registration()).await.expect("registers");
    brokers.state().is_mute = true;
    let dropped = timeout(Duration::from_secs(5), lane.commit(end())).await;
    assert!(dropped.is_err(), "never answered: {dropped:?}");
    brokers.state().is_mute = false;
    let Err(Failure::Reopen(refused)) = lane.commit(end()).await else { panic!("it must open first (I7)") };
    assert_eq!(refused.code, "sink.not_open");
    let progress = lane.open().await.expect("opens");
    assert_eq!(progress.shards[0].position, Position::End, "the commit had been done");
    let stored = checkpoints_on(&brokers, &sample(), "orders", 2).await.expect("reads").expect("progress");
    assert_eq!(stored.shards.len(), 1);
    assert_eq!(stored.shards[0].position, Position::End);
}

#[tokio::test(start_paused = true)]
async fn a_lane_that_was_never_opened_takes_nothing() {
    let brokers = Brokers::default();
    for mut lane in brokers.claim(1).await {
        let before = brokers.state().committed.len();
        for group in [registration(), Group::default()] {
            let Err(Failure::Reopen(refused)) = lane.commit(group).await else { panic!("it must open first (I7)") };
            assert_eq!(refused.code, "sink.not_open");
        }
        assert_eq!(brokers.state().committed.len(), before, "nothing was written");
        assert!(lane.open().await.expect("opens").shards.is_empty());
        lane.commit(registration()).await.expect("registers");
    }
}

#[tokio::test(start_paused = true)]
async fn the_newest_claim_wins_and_the_other_stops() {
    let brokers = Brokers::default();
    let mut first = brokers.claim(1).await;
    let mut second = brokers.claim(2).await;
    for (old, new) in first.iter_mut().zip(&mut second) {
        new.open().await.expect("opens");
        let refused = old.open().await.and(old.commit(Group::default()).await);
        let Err(Failure::Halt(trouble)) = refused else { panic!("not halted: {refused:?}") };
        assert_eq!(trouble.code, "sink.taken_over");
        new.commit(Group::default()).await.expect("ours");
    }
}

/// A log that grew long, or brokers that are slow: as long as records come, reading goes on. Else such a pipeline could never be
/// claimed again.
#[tokio::test(start_paused = true)]
async fn a_long_log_is_read_as_long_as_records_come() {
    let brokers = Brokers::default();
    brokers.claim(1).await;
    let signs = (0..100).map(|claim| {
        let key = format!(r#"["life","{claim}","a"]"#).into_bytes();
        Kept { partition: 0, key, value: None }
    });
    brokers.state().committed.extend(signs);
    brokers.state().reading_takes = Duration::from_secs(1);
    let began = Instant::now();
    brokers.claim(2).await;
    assert!(began.elapsed() > sample().request_timeout * 2, "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_seed_gives_the_same_run() {
    let mut marks = Vec::new();
    for seed in [7, 7, 8] {
        let brokers = Brokers::default();
        let began = Instant::now();
        brokers.claim(seed).await;
        marks.push(brokers.session(0));
        assert_eq!(began.elapsed(), Duration::ZERO, "nothing here takes time");
    }
    assert_eq!(marks[0], marks[1]);
    assert_ne!(marks[0], marks[2]);
}
