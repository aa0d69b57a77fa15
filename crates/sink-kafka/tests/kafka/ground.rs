//! What the tests stand on: topics of their own, a pipeline, events, and a second look at the topics.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::Message;
use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use tailwater_model::{
    Advance, Batch, Change, ChangeEvent, Counts, Group, Item, KeyAttribute, KeyKind, KeySchema, PipelineIdentity,
    Position, RemoveCause, SequenceNumber, ShardId, Sink, SourceInfo, Step, StreamIdentity, Trouble, ViewType,
};
use tailwater_sink_kafka::{
    ChangeHeader, CreateTopics, Deletes, DeliveryPromise, Format, KafkaLane, KafkaSettings, OnRepartition, claim,
};

pub const SHARD: &str = "shardId-00000001734567890123-0a1b2c3d";
/// How long reading a whole topic may take.
const READ_WITHIN: Duration = Duration::from_secs(20);

pub fn brokers() -> String {
    let given = std::env::var("TAILWATER_TEST_KAFKA").ok().filter(|value| !value.is_empty());
    given.unwrap_or_else(|| "127.0.0.1:29092".to_owned())
}

/// A pipeline with topics of its own.
#[derive(Clone)]
pub struct Scene {
    pub settings: KafkaSettings,
    pub identity: PipelineIdentity,
}

impl Scene {
    /// Three partitions for the change events.
    pub fn new(lanes: u32) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("sink-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let settings = KafkaSettings {
            brokers: brokers(),
            topic: format!("{name}-orders"),
            dead_letter_topic: format!("{name}-dead-letters"),
            progress_topic: format!("{name}-progress"),
            format: Format::Json,
            delete: Deletes::EventAndTombstone,
            headers: ChangeHeader::ALL.into(),
            delivery: DeliveryPromise::ExactlyOnce,
            on_repartition: OnRepartition::Stop,
            create_topics: Some(CreateTopics { partitions: 3, replication: None, config: BTreeMap::new() }),
            tls: None,
            sasl: None,
            librdkafka: BTreeMap::new(),
            transaction_timeout: Duration::from_secs(20),
            request_timeout: Duration::from_secs(20),
            dead_letters_per_minute_max: 100,
            adopt: None,
        };
        let identity = PipelineIdentity { name, lanes, stream: stream("a") };
        Self { settings, identity }
    }

    pub async fn try_claim(&self) -> Result<Vec<KafkaLane>, Trouble> {
        let claimed = claim(&self.settings, &self.identity, &keys(), Some(ViewType::NewAndOldImages)).await;
        claimed.map(|claimed| claimed.lanes)
    }

    pub async fn claim(&self) -> Vec<KafkaLane> {
        self.try_claim().await.unwrap_or_else(|trouble| panic!("{trouble:?}"))
    }

    /// The only lane, not opened yet.
    pub async fn lane(&self) -> KafkaLane {
        self.claim().await.remove(0)
    }

    /// The only lane, open with [`SHARD`] registered at its start.
    pub async fn ready_lane(&self) -> KafkaLane {
        let mut lane = self.lane().await;
        lane.open().await.expect("opens");
        lane.commit(group([registration(SHARD)])).await.expect("registers");
        lane
    }

    /// What a reader of committed messages finds in the topic of change events.
    pub fn committed(&self) -> Vec<Seen> {
        read(&self.settings.topic, "read_committed")
    }

    /// The event ids in the topic, in the order of each partition, without tombstones.
    pub fn event_ids(&self) -> Vec<String> {
        let events = self.committed().into_iter().filter(|seen| seen.value.is_some());
        let mut ids: Vec<_> = events.map(|seen| seen.headers["__event_id"].clone()).collect();
        ids.sort();
        ids
    }
}

pub fn stream(label: &str) -> StreamIdentity {
    let stream_arn = format!("arn:aws:dynamodb:eu-west-1:1:table/Orders/stream/{label}");
    StreamIdentity { table: "Orders".into(), table_id: "id-1".into(), stream_arn }
}

/// A message as a reader sees it.
#[derive(Debug, PartialEq, Eq)]
pub struct Seen {
    pub partition: i32,
    pub key: String,
    pub value: Option<String>,
    pub headers: BTreeMap<String, String>,
}

/// Reads a topic from its beginning to its end.
pub fn read(topic: &str, isolation: &str) -> Vec<Seen> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", brokers())
        .set("group.id", "tests")
        .set("enable.auto.commit", "false")
        .set("enable.partition.eof", "true")
        .set("isolation.level", isolation)
        .create()
        .expect("a consumer");
    let metadata = consumer.fetch_metadata(Some(topic), READ_WITHIN).expect("metadata");
    let mut unread = metadata.topics()[0].partitions().len();
    let mut assigned = TopicPartitionList::new();
    for partition in metadata.topics()[0].partitions() {
        assigned.add_partition_offset(topic, partition.id(), Offset::Beginning).expect("an offset");
    }
    consumer.assign(&assigned).expect("assigned");
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("UTF-8");
    let mut seen = Vec::new();
    while unread > 0 {
        match consumer.poll(READ_WITHIN).expect("the end of each partition within the time") {
            Ok(message) => {
                use rdkafka::message::Headers as _;
                let headers = message.headers().into_iter().flat_map(|headers| headers.iter());
                seen.push(Seen {
                    partition: message.partition(),
                    key: text(message.key().expect("a key")),
                    value: message.payload().map(text),
                    headers: headers
                        .map(|header| (header.key.to_owned(), text(header.value.unwrap_or_default())))
                        .collect(),
                });
            }
            Err(KafkaError::PartitionEOF(_)) => unread -= 1,
            Err(error) => panic!("{error}"),
        }
    }
    seen
}

pub fn admin() -> AdminClient<DefaultClientContext> {
    ClientConfig::new().set("bootstrap.servers", brokers()).create().expect("an admin client")
}

/// What was made is shown at once, on a busy machine.
const SHOWN_WITHIN: Duration = Duration::from_secs(20);

pub async fn raise_partitions(topic: &str, count: usize) {
    let raised = admin().create_partitions(&[NewPartitions::new(topic, count)], &AdminOptions::new()).await;
    raised.expect("asked").remove(0).expect("raised");
    // A broker may show them a moment later.
    let is_shown = || {
        let shown = admin().inner().fetch_metadata(Some(topic), SHOWN_WITHIN).expect("metadata");
        shown.topics().iter().any(|it| it.partitions().len() == count)
    };
    let asked = tokio::time::Instant::now();
    while !is_shown() {
        assert!(asked.elapsed() < SHOWN_WITHIN, "{topic} has {count} partitions and does not show them");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

pub async fn delete_topic(topic: &str) {
    let deleted = admin().delete_topics(&[topic], &AdminOptions::new()).await;
    deleted.expect("asked").remove(0).expect("deleted");
}

pub fn keys() -> KeySchema {
    KeySchema { partition: KeyAttribute { name: "Id".into(), kind: KeyKind::S }, sort: None }
}

fn item(typed_json: &str) -> Item {
    Item::parse(typed_json.into()).unwrap_or_else(|fault| panic!("{typed_json}: {fault}"))
}

fn id(value: &str) -> String {
    format!(r#"{{"Id":{{"S":{}}}}}"#, serde_json::Value::from(value))
}

pub fn sequence_number(number: u64) -> SequenceNumber {
    SequenceNumber::parse(format!("4000000000000{number:08}").into()).expect("digits")
}

pub fn after(number: u64) -> Position {
    Position::After(sequence_number(number))
}

fn event(number: u64, key: &str, change: Change) -> ChangeEvent {
    let source = SourceInfo {
        shard: ShardId::new(SHARD),
        sequence_number: sequence_number(number),
        event_id: format!("event-{number:06}").into(),
        created_at_ms: 1_700_000_000_123,
        size_bytes: 10,
    };
    ChangeEvent { key: item(&id(key)), change, source }
}

/// Writes an item with a text.
pub fn put_text(number: u64, key: &str, text: &str) -> ChangeEvent {
    let new = format!(
        r#"{{"Id":{{"S":{}}},"text":{{"S":{}}}}}"#,
        serde_json::Value::from(key),
        serde_json::Value::from(text)
    );
    event(number, key, Change::Insert { new: Some(item(&new)) })
}

pub fn put(number: u64, key: &str) -> ChangeEvent {
    put_text(number, key, &number.to_string())
}

pub fn remove(number: u64, key: &str) -> ChangeEvent {
    event(number, key, Change::Remove { old: Some(item(&id(key))), cause: RemoveCause::Request })
}

/// Removes an item that had a text.
pub fn remove_text(number: u64, key: &str, text: &str) -> ChangeEvent {
    let written = put_text(number, key, text);
    let old = written.change.new_image().cloned();
    ChangeEvent { change: Change::Remove { old, cause: RemoveCause::Request }, ..written }
}

pub fn registration(shard: &str) -> Batch {
    let step = Step::Register { parent: None, position: Position::Start };
    Batch { shard: ShardId::new(shard), step, ..batch(Position::Start, Position::Start, Vec::new()) }
}

/// Events of [`SHARD`] with the step that carries them.
pub fn batch(from: Position, to: Position, events: Vec<ChangeEvent>) -> Batch {
    let records = events.len() as u64;
    let counts = Counts { read: records, written: records, ..Counts::default() };
    let step = Step::Advance(Advance { from, to });
    let (shard, dead_letters) = (ShardId::new(SHARD), Vec::new());
    Batch { shard, step, read_until: None, events, dead_letters, gap: None, counts, bytes: 0 }
}

/// The events `from + 1 ..= to`, each of a key of its own.
pub fn run(from: u64, to: u64) -> Batch {
    let begin = if from == 0 { Position::Start } else { after(from) };
    batch(begin, after(to), (from + 1..=to).map(|number| put(number, &format!("key-{number}"))).collect())
}

/// The ids of the events `1 ..= to`.
pub fn ids(to: u64) -> Vec<String> {
    (1..=to).map(|number| format!("event-{number:06}")).collect()
}

pub fn group(batches: impl IntoIterator<Item = Batch>) -> Group {
    Group { batches: batches.into_iter().collect(), first_listing: None }
}
