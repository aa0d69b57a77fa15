//! What a lane does about errors that a real broker does not give on demand, on librdkafka's mock cluster.
//!
//! The mock cluster fences nobody and shows records of aborted transactions to every reader, so these tests say what is
//! told and done, and that a lane goes on afterwards. What is visible to readers is proved on a real broker.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use rdkafka::types::{RDKafkaApiKey as Api, RDKafkaRespErr as Code};
use tailwater_model::{
    Advance, Batch, Change, ChangeEvent, Counts, Failure, Group, Item, KeyAttribute, KeyKind, KeySchema,
    PipelineIdentity, Position, Progress, SequenceNumber, ShardId, SourceInfo, Step, StreamIdentity, ViewType,
};

use crate::brokers::Brokers;
use crate::fault::Fault;
use crate::session::{Claim, LaneSession, Shared};
use crate::settings::{DeliveryPromise, KafkaSettings, sample};
use crate::thread::wait_for;
use crate::topics::{MessageLimits, TopicFacts};

/// More than librdkafka tries again within a case: an error that does not pass.
const LASTING: usize = 500;

/// What a look at the topics of a [`Scene`] would bring; the mock cluster does not tell limits.
const FACTS: TopicFacts = TopicFacts { data_partitions: 2, limits: MessageLimits::same(1_000_000) };

/// A lane on a cluster of its own.
struct Scene {
    cluster: MockCluster<'static, DefaultProducerContext>,
    session: LaneSession<Brokers>,
    claim: Claim,
}

impl Scene {
    fn new(delivery: DeliveryPromise) -> Self {
        let cluster = MockCluster::new(1).expect("a mock cluster");
        let settings = KafkaSettings {
            brokers: cluster.bootstrap_servers(),
            delivery,
            transaction_timeout: Duration::from_secs(4),
            request_timeout: Duration::from_secs(2),
            ..sample()
        };
        for (topic, partitions) in
            [(&settings.topic, 2), (&settings.dead_letter_topic, 1), (&settings.progress_topic, 1)]
        {
            cluster.create_topic(topic, partitions, 1).expect("a topic");
        }
        let stream = StreamIdentity { table: "Orders".into(), table_id: "id".into(), stream_arn: "arn".into() };
        let pipeline = PipelineIdentity { name: "orders".into(), lanes: 1, stream };
        let keys = KeySchema { partition: KeyAttribute { name: "Id".into(), kind: KeyKind::S }, sort: None };
        let shared = Shared::new(Brokers::new(&settings), &settings, &pipeline, &keys, Some(ViewType::NewImage));
        let session = LaneSession::new(Arc::new(shared), 0);
        Self { cluster, session, claim: Claim::New { owner: "us".into(), newest: 0 } }
    }

    fn open(&mut self) -> Result<Progress, Failure> {
        let opened = wait_for(self.session.open(FACTS, &self.claim));
        let (number, progress) = opened.map_err(Fault::into_failure)?;
        self.claim = Claim::Made { number, owner: "us".into() };
        Ok(progress)
    }

    /// Opens, registers the shard, and carries the first events.
    fn begun(delivery: DeliveryPromise) -> Self {
        let mut scene = Self::new(delivery);
        scene.open().expect("opens");
        let step = Step::Register { parent: None, position: Position::Start };
        wait_for(scene.session.commit(group(Batch { step, ..batch(0, 0) }))).expect("registers");
        wait_for(scene.session.commit(group(batch(0, 3)))).expect("commits");
        scene
    }
}

fn after(number: u64) -> Position {
    let digits = format!("4000000000000{number:08}");
    if number == 0 { Position::Start } else { Position::After(SequenceNumber::parse(digits.into()).expect("digits")) }
}

fn event(number: u64) -> ChangeEvent {
    let key = format!(r#"{{"Id":{{"S":"key-{number}"}}}}"#);
    let item = || Item::parse(key.clone().into()).expect("an item");
    let Position::After(sequence_number) = after(number) else { panic!("events are counted from 1") };
    let source = SourceInfo {
        shard: ShardId::new("shardId-1"),
        sequence_number,
        event_id: format!("event-{number}").into(),
        created_at_ms: 1_700_000_000_000,
        size_bytes: 10,
    };
    ChangeEvent { key: item(), change: Change::Insert { new: Some(item()) }, source }
}

/// The events `from + 1 ..= to` with their step.
fn batch(from: u64, to: u64) -> Batch {
    let events: Vec<_> = (from + 1..=to).map(event).collect();
    let records = events.len() as u64;
    let counts = Counts { read: records, written: records, ..Counts::default() };
    let step = Step::Advance(Advance { from: after(from), to: after(to) });
    let (shard, dead_letters) = (ShardId::new("shardId-1"), Vec::new());
    Batch { shard, step, read_until: None, events, dead_letters, gap: None, counts, bytes: 0 }
}

fn group(batch: Batch) -> Group {
    Group { batches: vec![batch], first_listing: None }
}

/// What a lane makes of an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// librdkafka tried again, and it passed.
    Passes,
    Reopens(&'static str),
    Halts(&'static str),
    /// Only expected, never seen: a reopening after a wait. It is told as the end of the time or as what was waited for,
    /// whichever came last.
    GivesUp,
}

impl Outcome {
    fn is_met_by(self, seen: Self) -> bool {
        let waited = ["sink.kafka.timeout", "sink.kafka.coordinator", "sink.kafka.unreachable"];
        match (self, seen) {
            (Self::GivesUp, Self::Reopens(code)) => waited.contains(&code),
            (wanted, seen) => wanted == seen,
        }
    }
}

fn outcome<T>(answer: &Result<T, Failure>) -> Outcome {
    match answer {
        Ok(_) => Outcome::Passes,
        Err(Failure::Reopen(trouble)) => Outcome::Reopens(trouble.code),
        Err(Failure::Halt(trouble)) => Outcome::Halts(trouble.code),
    }
}

/// The answers of a request, how often they come, and what is to follow.
type Case = (Api, Code, usize, Outcome);

/// Runs each case with a lane of its own, some at a time, and collects what was other than expected.
fn run(cases: &[Case], outcome_of: impl Fn(Api, Code, usize) -> Outcome + Sync) {
    let wrong: Vec<String> = cases
        .chunks(8)
        .flat_map(|cases| {
            thread::scope(|scope| {
                let running: Vec<_> = cases
                    .iter()
                    .map(|&(api, code, times, _)| {
                        let outcome_of = &outcome_of;
                        scope.spawn(move || outcome_of(api, code, times))
                    })
                    .collect();
                let outcomes = running.into_iter().map(|running| running.join().expect("a case must not panic"));
                let differs = |((api, code, times, wanted), seen): (&Case, Outcome)| {
                    (!wanted.is_met_by(seen)).then(|| format!("{api:?} {code:?} x{times}: {seen:?}, not {wanted:?}"))
                };
                cases.iter().zip(outcomes).filter_map(differs).collect::<Vec<_>>()
            })
        })
        .collect();
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

/// What a commit makes of the error; and that, whatever it was, a lane that is opened again goes on from the place that it
/// finds.
fn committing(delivery: DeliveryPromise, api: Api, code: Code, times: usize) -> Outcome {
    let mut scene = Scene::begun(delivery);
    scene.cluster.request_errors(api, &vec![code; times]);
    let committed = wait_for(scene.session.commit(group(batch(3, 5))));
    scene.cluster.clear_request_errors(api);
    let seen = outcome(&committed);
    let at = match seen {
        Outcome::Passes => 5,
        Outcome::Reopens(_) | Outcome::Halts(_) | Outcome::GivesUp => {
            let refused = wait_for(scene.session.commit(group(batch(3, 5))));
            assert_eq!(outcome(&refused), Outcome::Reopens("sink.not_open"), "{api:?} {code:?}");
            let progress = scene.open().unwrap_or_else(|failure| panic!("{api:?} {code:?}: {failure:?}"));
            let position = &progress.shards.first().expect("the shard").position;
            // The mock cluster also shows what was aborted.
            if *position == after(5) { 5 } else { 3 }
        }
    };
    for (from, to) in [(at, 7), (7, 8)] {
        let goes_on = wait_for(scene.session.commit(group(batch(from, to))));
        assert_eq!(outcome(&goes_on), Outcome::Passes, "{api:?} {code:?} from {from}: {goes_on:?}");
    }
    seen
}

/// What opening makes of the error; and that the lane opens afterwards.
fn opening(api: Api, code: Code, times: usize) -> Outcome {
    let mut scene = Scene::new(DeliveryPromise::ExactlyOnce);
    scene.cluster.request_errors(api, &vec![code; times]);
    let seen = outcome(&scene.open());
    scene.cluster.clear_request_errors(api);
    scene.open().unwrap_or_else(|failure| panic!("{api:?} {code:?}: {failure:?}"));
    seen
}

const PASSES: Outcome = Outcome::Passes;
const FENCED: Outcome = Outcome::Reopens("sink.kafka.fenced");
const PRODUCER: Outcome = Outcome::Reopens("sink.kafka.producer");
const COORDINATOR: Outcome = Outcome::Reopens("sink.kafka.coordinator");
const REPLICAS: Outcome = Outcome::Reopens("sink.kafka.not_enough_replicas");
const TIMEOUT: Outcome = Outcome::Reopens("sink.kafka.timeout");
const GIVES_UP: Outcome = Outcome::GivesUp;
const TOO_LARGE: Outcome = Outcome::Reopens("sink.kafka.broker_limit");
const NO_TOPIC: Outcome = Outcome::Halts("sink.kafka.topic_denied");
const NO_TRANSACTION: Outcome = Outcome::Halts("sink.kafka.transaction_denied");
const NO_CLUSTER: Outcome = Outcome::Halts("sink.kafka.cluster_denied");
const TOO_LONG: Outcome = Outcome::Halts("sink.kafka.transaction_timeout");

/// The three requests of a commit.
const COMMITTING: [Api; 3] = [Api::Produce, Api::AddPartitionsToTxn, Api::EndTxn];

#[test]
fn errors_of_committing() {
    // A fence that is none (no newer claim stands in the progress topic) is a reopening.
    let table: [(Code, [Outcome; 3]); 16] = [
        (Code::RD_KAFKA_RESP_ERR__TRANSPORT, [PASSES, PASSES, PASSES]),
        (Code::RD_KAFKA_RESP_ERR_NOT_COORDINATOR, [PASSES, PASSES, PASSES]),
        (Code::RD_KAFKA_RESP_ERR_COORDINATOR_NOT_AVAILABLE, [PASSES, PASSES, PASSES]),
        (Code::RD_KAFKA_RESP_ERR_CONCURRENT_TRANSACTIONS, [COORDINATOR, PASSES, PASSES]),
        (Code::RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH, [FENCED, FENCED, FENCED]),
        (Code::RD_KAFKA_RESP_ERR_PRODUCER_FENCED, [FENCED, FENCED, FENCED]),
        (Code::RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER, [PRODUCER, PRODUCER, PRODUCER]),
        (Code::RD_KAFKA_RESP_ERR_UNKNOWN_PRODUCER_ID, [PRODUCER, PRODUCER, PRODUCER]),
        (Code::RD_KAFKA_RESP_ERR_INVALID_PRODUCER_ID_MAPPING, [PRODUCER, PRODUCER, PRODUCER]),
        (Code::RD_KAFKA_RESP_ERR_INVALID_TXN_STATE, [PRODUCER, PRODUCER, PRODUCER]),
        (Code::RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS, [PASSES, REPLICAS, REPLICAS]),
        (Code::RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT, [PASSES, TIMEOUT, TIMEOUT]),
        (Code::RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE, [TOO_LARGE, TOO_LARGE, TOO_LARGE]),
        (Code::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED, [NO_TOPIC, NO_TOPIC, NO_TOPIC]),
        (Code::RD_KAFKA_RESP_ERR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED, [NO_TRANSACTION; 3]),
        (Code::RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED, [NO_CLUSTER; 3]),
    ];
    let cases: Vec<Case> = table
        .into_iter()
        .flat_map(|(code, outcomes)| COMMITTING.into_iter().zip(outcomes).map(move |(api, then)| (api, code, 1, then)))
        .collect();
    run(&cases, |api, code, times| committing(DeliveryPromise::ExactlyOnce, api, code, times));
}

#[test]
fn errors_that_do_not_pass() {
    let cases = [
        (Api::Produce, Code::RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS, LASTING, GIVES_UP),
        (Api::Produce, Code::RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT, LASTING, GIVES_UP),
        (Api::Produce, Code::RD_KAFKA_RESP_ERR__TRANSPORT, LASTING, GIVES_UP),
        (Api::AddPartitionsToTxn, Code::RD_KAFKA_RESP_ERR_CONCURRENT_TRANSACTIONS, LASTING, GIVES_UP),
        (Api::AddPartitionsToTxn, Code::RD_KAFKA_RESP_ERR_NOT_COORDINATOR, LASTING, GIVES_UP),
        (Api::EndTxn, Code::RD_KAFKA_RESP_ERR_CONCURRENT_TRANSACTIONS, LASTING, GIVES_UP),
        (Api::EndTxn, Code::RD_KAFKA_RESP_ERR_COORDINATOR_NOT_AVAILABLE, LASTING, GIVES_UP),
        (Api::EndTxn, Code::RD_KAFKA_RESP_ERR__TRANSPORT, LASTING, GIVES_UP),
    ];
    run(&cases, |api, code, times| committing(DeliveryPromise::ExactlyOnce, api, code, times));
}

#[test]
fn errors_of_committing_where_less_is_promised() {
    let cases = [
        (Api::Produce, Code::RD_KAFKA_RESP_ERR__TRANSPORT, 1, PASSES),
        (Api::Produce, Code::RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS, 1, PASSES),
        (Api::Produce, Code::RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS, LASTING, GIVES_UP),
        (Api::Produce, Code::RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER, 1, PRODUCER),
        (Api::Produce, Code::RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE, 1, TOO_LARGE),
        (Api::Produce, Code::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED, 1, NO_TOPIC),
        (Api::AddPartitionsToTxn, Code::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED, 1, NO_TOPIC),
        (Api::EndTxn, Code::RD_KAFKA_RESP_ERR_PRODUCER_FENCED, 1, FENCED),
        (Api::EndTxn, Code::RD_KAFKA_RESP_ERR_CONCURRENT_TRANSACTIONS, 1, PASSES),
    ];
    run(&cases, |api, code, times| committing(DeliveryPromise::AtLeastOnce, api, code, times));
}

#[test]
fn errors_of_opening() {
    let table: [(Code, usize, Outcome); 9] = [
        (Code::RD_KAFKA_RESP_ERR__TRANSPORT, 1, PASSES),
        (Code::RD_KAFKA_RESP_ERR_NOT_COORDINATOR, 1, PASSES),
        (Code::RD_KAFKA_RESP_ERR_COORDINATOR_NOT_AVAILABLE, 1, PASSES),
        (Code::RD_KAFKA_RESP_ERR_CONCURRENT_TRANSACTIONS, 1, PASSES),
        (Code::RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT, 1, PASSES),
        (Code::RD_KAFKA_RESP_ERR_COORDINATOR_NOT_AVAILABLE, LASTING, GIVES_UP),
        (Code::RD_KAFKA_RESP_ERR_CONCURRENT_TRANSACTIONS, LASTING, GIVES_UP),
        (Code::RD_KAFKA_RESP_ERR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED, 1, NO_TRANSACTION),
        (Code::RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED, 1, NO_CLUSTER),
    ];
    let mut cases: Vec<Case> = [Api::InitProducerId, Api::FindCoordinator]
        .into_iter()
        .flat_map(|api| table.map(|(code, times, then)| (api, code, times, then)))
        .collect();
    cases.extend([
        (Api::InitProducerId, Code::RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH, 1, FENCED),
        (Api::InitProducerId, Code::RD_KAFKA_RESP_ERR_PRODUCER_FENCED, 1, FENCED),
        (Api::InitProducerId, Code::RD_KAFKA_RESP_ERR_INVALID_TRANSACTION_TIMEOUT, 1, TOO_LONG),
    ]);
    run(&cases, opening);
}
