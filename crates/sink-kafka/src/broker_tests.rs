//! What only a real broker shows of a lane: messages that it refuses although nobody said that it would, as with a bearer token,
//! by which the settings of topics cannot be read; and where the progress ends.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::Headers;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use rdkafka::{ClientConfig, Message};
use tailwater_model::{
    Advance, Batch, Change, ChangeEvent, Committed, Counts, Failure, Group, Item, KeyAttribute, KeyKind, KeySchema,
    PipelineIdentity, Position, RemoveCause, SequenceNumber, ShardId, SourceInfo, Step, StreamIdentity, ViewType,
};

use crate::brokers::Brokers;
use crate::cluster::{Outgoing, Producer};
use crate::session::{Claim, LaneSession, Shared};
use crate::settings::{CreateTopics, DeliveryPromise, KafkaSettings, sample};
use crate::thread::wait_for;
use crate::topics::{MayMake, MessageLimits, TopicFacts, check_topics};

/// Where the tests' broker is, unless `TAILWATER_TEST_KAFKA` names another.
const BROKER: &str = "127.0.0.1:29092";
const PATIENCE: Duration = Duration::from_secs(20);
/// Openings after which it must be known what is refused.
const OPENINGS_MAX: usize = 4;

struct Scene {
    settings: KafkaSettings,
    session: LaneSession<Brokers>,
    facts: TopicFacts,
    claim: Claim,
}

impl Scene {
    /// Topics with these settings, of whose limits nobody knows.
    async fn new(name: &str, delivery: DeliveryPromise, config: &[(&str, &str)]) -> Self {
        let stem = format!("refused-{name}-{}", std::process::id());
        let config: BTreeMap<_, _> = config.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        let settings = KafkaSettings {
            brokers: std::env::var("TAILWATER_TEST_KAFKA").unwrap_or_else(|_| BROKER.to_owned()),
            topic: format!("{stem}-data"),
            dead_letter_topic: format!("{stem}-dead-letters"),
            progress_topic: format!("{stem}-progress"),
            create_topics: Some(CreateTopics { partitions: 1, replication: Some(1), config }),
            delivery,
            // The broker compares batches as they arrive.
            librdkafka: [("compression.type".to_owned(), "none".into())].into(),
            transaction_timeout: Duration::from_secs(20),
            dead_letters_per_minute_max: 3,
            adopt: None,
            ..sample()
        };
        let look = check_topics(&settings, 1, MayMake::All).await.expect("topics");
        let facts = TopicFacts { limits: MessageLimits::same(1_048_588), ..look.facts };
        let stream = StreamIdentity { table: "Orders".into(), table_id: "id".into(), stream_arn: "arn".into() };
        let pipeline = PipelineIdentity { name: stem, lanes: 1, stream };
        let keys = KeySchema { partition: KeyAttribute { name: "Id".into(), kind: KeyKind::S }, sort: None };
        let shared = Shared::new(Brokers::new(&settings), &settings, &pipeline, &keys, Some(ViewType::NewAndOldImages));
        let session = LaneSession::new(Arc::new(shared), 0);
        let mut scene = Self { settings, session, facts, claim: Claim::New { owner: "us".into(), newest: 0 } };
        scene.open();
        let step = Step::Register { parent: None, position: Position::Start };
        let registered = Batch { step, counts: Counts::default(), ..batch(0, &[]) };
        wait_for(scene.session.commit(group(registered))).expect("registers");
        scene
    }

    fn open(&mut self) {
        let (number, _) = wait_for(self.session.open(self.facts, &self.claim)).expect("opens");
        self.claim = Claim::Made { number, owner: "us".into() };
    }

    /// Commits, and opens again as often as it may take to know that an error does not pass.
    fn commit_at_last(&mut self, from: u64, events: &[ChangeEvent]) -> Result<Committed, Failure> {
        let mut said = Vec::new();
        for _ in 0..=OPENINGS_MAX {
            match wait_for(self.session.commit(group(batch(from, events)))) {
                Err(Failure::Reopen(trouble)) => said.push(trouble.code),
                answer => return answer,
            }
            self.open();
        }
        panic!("the same group fails for ever: {said:?}");
    }

    /// Event ids of committed messages, and whether they have a value.
    fn seen(&self, topic: &str) -> Vec<(String, bool)> {
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", &self.settings.brokers)
            .set("group.id", "tests")
            .set("enable.auto.commit", "false")
            .set("enable.partition.eof", "true")
            .create()
            .expect("a consumer");
        let mut assigned = TopicPartitionList::new();
        assigned.add_partition_offset(topic, 0, Offset::Beginning).expect("an offset");
        consumer.assign(&assigned).expect("assigned");
        let mut seen = Vec::new();
        while let Ok(message) = consumer.poll(PATIENCE).expect("an end") {
            let mut headers = message.headers().into_iter().flat_map(Headers::iter);
            let id = headers.find(|header| header.key == "__event_id").and_then(|header| header.value).expect("an id");
            seen.push((String::from_utf8(id.to_vec()).expect("UTF-8"), message.payload().is_some()));
        }
        seen
    }
}

fn after(number: u64) -> Position {
    let digits = format!("4000000000000{number:08}");
    if number == 0 { Position::Start } else { Position::After(SequenceNumber::parse(digits.into()).expect("digits")) }
}

fn event(number: u64, key: &str, text_bytes: usize, is_removal: bool) -> ChangeEvent {
    let item = |json: String| Item::parse(json.into()).expect("an item");
    let image = item(format!(r#"{{"Id":{{"S":"{key}"}},"text":{{"S":"{}"}}}}"#, "x".repeat(text_bytes)));
    let Position::After(sequence_number) = after(number) else { panic!("events are counted from 1") };
    let source = SourceInfo {
        shard: ShardId::new("shardId-1"),
        sequence_number,
        event_id: number.to_string().into(),
        created_at_ms: 1_700_000_000_000,
        size_bytes: 10,
    };
    let change = if is_removal {
        Change::Remove { old: Some(image), cause: RemoveCause::Request }
    } else {
        Change::Insert { new: Some(image) }
    };
    ChangeEvent { key: item(format!(r#"{{"Id":{{"S":"{key}"}}}}"#)), change, source }
}

fn batch(from: u64, events: &[ChangeEvent]) -> Batch {
    let records = events.len() as u64;
    let counts = Counts { read: records, written: records, ..Counts::default() };
    let step = Step::Advance(Advance { from: after(from), to: after(from + records) });
    let (shard, dead_letters) = (ShardId::new("shardId-1"), Vec::new());
    Batch { shard, step, read_until: None, events: events.to_vec(), dead_letters, gap: None, counts, bytes: 0 }
}

fn group(batch: Batch) -> Group {
    Group { batches: vec![batch], first_listing: None }
}

fn seen(ids: &[(&str, bool)]) -> Vec<(String, bool)> {
    ids.iter().map(|(id, has_value)| ((*id).to_owned(), *has_value)).collect()
}

#[tokio::test]
async fn a_message_of_unknown_limits_is_set_aside_and_its_neighbours_are_not() {
    for delivery in [DeliveryPromise::ExactlyOnce, DeliveryPromise::AtLeastOnce] {
        let mut scene = Scene::new(&format!("size-{delivery:?}"), delivery, &[("max.message.bytes", "20000")]).await;
        let events = [
            event(1, "a", 10, false),
            event(2, "b", 900_000, false),
            event(3, "a", 10, false),
            event(4, "a", 900_000, true),
            event(5, "c", 10, false),
        ];
        let committed = scene.commit_at_last(0, &events).expect("commits");
        assert_eq!(committed.figures(), (3, 2));
        let mut data = scene.seen(&scene.settings.topic);
        if delivery == DeliveryPromise::AtLeastOnce {
            data.sort();
            data.dedup();
        }
        assert_eq!(data, seen(&[("1", true), ("3", true), ("4", false), ("5", true)]));
        let letters = scene.seen(&scene.settings.dead_letter_topic);
        assert!(letters.iter().any(|(id, _)| id == "2") && letters.iter().any(|(id, _)| id == "4"), "{letters:?}");
        // What was learned stays: the next one is known at once.
        let next = wait_for(scene.session.commit(group(batch(5, &[event(6, "d", 900_000, false)]))));
        assert_eq!(next.expect("commits").figures(), (0, 1));
    }
}

/// Many small messages make a batch that is larger than such a topic takes, with none to blame.
#[tokio::test]
async fn batches_of_unknown_limits_shrink_and_nothing_is_set_aside() {
    let mut scene = Scene::new("batches", DeliveryPromise::ExactlyOnce, &[("max.message.bytes", "20000")]).await;
    let events: Vec<_> = (1..=100).map(|number| event(number, "a", 1000, false)).collect();
    let committed = scene.commit_at_last(0, &events).expect("commits");
    assert_eq!(committed.figures(), (100, 0));
    let all: Vec<_> = (1..=100).map(|number| (number.to_string(), true)).collect();
    assert_eq!(scene.seen(&scene.settings.topic), all);
    assert_eq!(scene.seen(&scene.settings.dead_letter_topic), []);
}

/// The end of a transaction that was given up takes offsets that no reader is shown.
#[tokio::test]
async fn progress_is_read_to_its_end_behind_a_transaction_that_was_given_up() {
    let scene = Scene::new("ends", DeliveryPromise::ExactlyOnce, &[]).await;
    let deadline = tokio::time::Instant::now() + PATIENCE;
    let producer = scene.session.producers().next().expect("it is open");
    let topic = &scene.settings.progress_topic;
    for _ in 0..2 {
        let given_up = async {
            producer.begin().await.expect("begins");
            let key = br#"["barrier","x"]"#;
            let message = Outgoing { topic, partition: 0, by_hand: true, key, value: None, headers: &[] };
            producer.send(message, deadline).await.expect("taken");
            producer.wait_delivered(deadline).await.expect("delivered");
            producer.abort().await;
        };
        wait_for(given_up);
        let lanes = wait_for(scene.session.read_lanes(1)).expect("it ends");
        assert_eq!(lanes.len(), 1);
        assert!(lanes[0].session.is_some() && lanes[0].barrier.as_deref() != Some("x"), "{lanes:?}");
    }
}

/// A topic that refuses more than may be set aside: the brake stops the pipeline.
#[tokio::test]
async fn a_topic_that_refuses_everything_stops_the_pipeline() {
    let mut scene = Scene::new("all", DeliveryPromise::ExactlyOnce, &[("max.message.bytes", "20000")]).await;
    // Each smaller than the one before, so that no refusal tells of the next.
    let events: Vec<_> = (1..=6).map(|number| event(number, "a", 40_000 - 1000 * number as usize, false)).collect();
    let Err(Failure::Halt(trouble)) = scene.commit_at_last(0, &events) else { panic!("it must stop") };
    assert_eq!(trouble.code, "sink.dead_letter_rate", "{trouble:?}");
    assert!(trouble.message.contains("sink.kafka.too_large"), "{trouble:?}");
    assert_eq!(scene.seen(&scene.settings.topic), []);
    assert_eq!(scene.seen(&scene.settings.dead_letter_topic), []);
}
