//! The contract on a real Apache Kafka: topics of its own for each test.

use std::collections::BTreeMap;
use std::ops::AsyncFnOnce;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::Message;
use rdkafka::admin::{AdminClient, AdminOptions, AlterConfig, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::Headers;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use tailwater_model::{Change, ChangeEvent, Group, Item, PipelineIdentity, Sink, ViewType};
use tailwater_simulation::contract::{
    ClaimResult, Ground, Held, Interruption, LossyGround, Manner, Refusal, ScatteredGround, Stored, WilfulGround,
    Write, shard_of,
};
use tailwater_sink_kafka::{
    ChangeHeader, CreateTopics, Deletes, DeliveryPromise, Format, KafkaLane, KafkaOwnership, KafkaSettings,
    OnRepartition, checkpoints, claim,
};
use tokio::time::timeout;

use crate::in_real_time;

/// How long reading a whole topic may take.
const READ_WITHIN: Duration = Duration::from_secs(20);
/// More than a broker takes in one message (`message.max.bytes`, about 1 MiB).
pub const TOO_LARGE_BYTES: usize = 2_000_000;

tailwater_simulation::contract_cases!(stand);
tailwater_simulation::wilful_contract_cases!(stand);
tailwater_simulation::belonging_contract_cases!(stand);
tailwater_simulation::scattered_contract_cases!(stand);

struct KafkaGround {
    /// In front of the names of pipelines, whose transactional ids the whole cluster shares.
    prefix: String,
    settings: KafkaSettings,
    interruptions: u32,
}

pub fn brokers() -> String {
    let given = std::env::var("TAILWATER_TEST_KAFKA").ok().filter(|value| !value.is_empty());
    given.unwrap_or_else(|| "127.0.0.1:29092".to_owned())
}

/// A name that nobody else uses on the cluster.
pub fn unique_name() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("contract-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// Settings with topics whose names begin so.
pub fn settings(prefix: &str) -> KafkaSettings {
    KafkaSettings {
        brokers: brokers(),
        topic: format!("{prefix}-orders"),
        dead_letter_topic: format!("{prefix}-dead-letters"),
        progress_topic: format!("{prefix}-progress"),
        format: Format::Json,
        delete: Deletes::EventAndTombstone,
        headers: ChangeHeader::ALL.into(),
        delivery: DeliveryPromise::ExactlyOnce,
        on_repartition: OnRepartition::Stop,
        create_topics: Some(CreateTopics { partitions: 2, replication: None, config: BTreeMap::new() }),
        tls: None,
        sasl: None,
        librdkafka: BTreeMap::new(),
        transaction_timeout: Duration::from_secs(20),
        request_timeout: Duration::from_secs(20),
        dead_letters_per_minute_max: 100,
        adopt: None,
    }
}

fn stand(test: impl AsyncFnOnce(&mut KafkaGround)) {
    let prefix = unique_name();
    let settings = settings(&prefix);
    let mut ground = KafkaGround { prefix, settings, interruptions: 0 };
    in_real_time(async { test(&mut ground).await });
}

impl KafkaGround {
    fn name(&self, pipeline: &str) -> String {
        format!("{}-{pipeline}", self.prefix)
    }
}

impl WilfulGround for KafkaGround {
    fn refusals(&self) -> &'static [Refusal] {
        &[Refusal::Known]
    }

    async fn refused_image(&mut self, write: &Write, _how: Refusal) -> Item {
        write.image(&"x".repeat(TOO_LARGE_BYTES))
    }

    /// A log keeps everything.
    fn keep_removed(&mut self) {}

    fn allow_dead_letters(&mut self, per_minute_max: u32) {
        self.settings.dead_letters_per_minute_max = per_minute_max;
    }
}

fn admin() -> AdminClient<DefaultClientContext> {
    ClientConfig::new().set("bootstrap.servers", brokers()).create().expect("a client")
}

async fn make(topic: &str, partitions: i32, policy: &str) {
    let topic = NewTopic::new(topic, partitions, TopicReplication::Fixed(1)).set("cleanup.policy", policy);
    admin().create_topics([&topic], &AdminOptions::new()).await.expect("asked").remove(0).expect("made");
}

async fn set_policy(topic: &str, policy: &str) {
    let config = AlterConfig::new(ResourceSpecifier::Topic(topic)).set("cleanup.policy", policy);
    admin().alter_configs([&config], &AdminOptions::new()).await.expect("asked").remove(0).expect("changed");
}

/// Deletes a topic, and waits until the broker does not show it any more.
async fn delete(topic: &str) {
    let admin = admin();
    admin.delete_topics(&[topic], &AdminOptions::new()).await.expect("asked").remove(0).expect("deleted");
    let asked = tokio::time::Instant::now();
    let is_shown = || {
        let shown = admin.inner().fetch_metadata(None, READ_WITHIN).expect("metadata");
        shown.topics().iter().any(|it| it.name() == topic)
    };
    while is_shown() {
        assert!(asked.elapsed() < READ_WITHIN, "{topic} is deleted and still shown");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

impl LossyGround for KafkaGround {
    async fn lose_progress(&mut self) {
        delete(&self.settings.progress_topic).await;
    }

    async fn lose_target(&mut self) {
        delete(&self.settings.topic).await;
    }

    async fn make_target(&mut self) {
        make(&self.settings.topic, 2, "delete").await;
    }

    fn name_another_target(&mut self) {
        self.settings.topic.push_str("-others");
    }

    fn adopt(&mut self, token: &str) {
        self.settings.adopt = Some(token.to_owned());
    }
}

impl ScatteredGround for KafkaGround {
    /// Kafka deletes records only where they are deleted by age, too.
    async fn lose_lane(&mut self, lane: u32) {
        let (topic, admin) = (&self.settings.progress_topic, admin());
        set_policy(topic, "compact,delete").await;
        let mut lost = TopicPartitionList::new();
        lost.add_partition_offset(topic, i32::try_from(lane).expect("few lanes"), Offset::End).expect("an offset");
        admin.delete_records(&lost, &AdminOptions::new()).await.expect("deleted");
        set_policy(topic, "compact").await;
    }

    async fn make_progress(&mut self, lanes: u32) {
        make(&self.settings.progress_topic, i32::try_from(lanes).expect("few lanes"), "compact").await;
    }
}

impl Ground for KafkaGround {
    type Lane = KafkaLane;
    type Ownership = KafkaOwnership;

    fn manner(&self) -> Manner {
        Manner::Log
    }

    async fn claim(&mut self, identity: &PipelineIdentity) -> ClaimResult<Self> {
        let identity = PipelineIdentity { name: self.name(&identity.name), ..identity.clone() };
        let view_type = Some(ViewType::NewAndOldImages);
        Box::pin(claim(&self.settings, &identity, &Write::key_schema(), view_type)).await
    }

    async fn held(&mut self) -> Held {
        let mut held = Held::new();
        for seen in read(&self.settings.topic, "read_committed") {
            if let (Some(_), Some(event_id)) = (seen.value, seen.event_id) {
                let key: serde_json::Value = serde_json::from_str(&seen.key).expect("a key is JSON");
                held.entry(key["Id"].as_str().expect("a text").to_owned()).or_default().push(event_id);
            }
        }
        held
    }

    async fn stored(&mut self, pipeline: &str) -> Stored {
        let stored = checkpoints(&self.settings, &self.name(pipeline)).await.expect("readable").expect("was run");
        let counts: BTreeMap<_, _> =
            stored.shards.iter().map(|row| (row.shard.as_str().to_owned(), row.counts)).collect();
        Stored { counts, gaps: stored.gaps, gaps_until: stored.gaps_until, dead_letters: stored.dead_letters }
    }

    async fn refused(&mut self, write: &Write) -> ChangeEvent {
        let image = write.image(&"x".repeat(TOO_LARGE_BYTES));
        write.event_of(&shard_of(0, 1, 0), Change::Insert { new: Some(image) })
    }

    fn interruptions(&self) -> &'static [Interruption] {
        &[Interruption::Dropped]
    }

    async fn interrupt(&mut self, lane: &mut KafkaLane, group: Group, how: Interruption) {
        assert_eq!(how, Interruption::Dropped);
        // At another place each time: a commit takes some ten milliseconds.
        self.interruptions += 1;
        let given_up = Duration::from_millis(u64::from(self.interruptions * 5 % 11));
        drop(timeout(given_up, lane.commit(group)).await);
    }
}

/// A message as a reader sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    pub partition: i32,
    pub offset: i64,
    pub key: String,
    pub value: Option<String>,
    pub event_id: Option<String>,
}

/// Reads a topic from its beginning to the end that this isolation level shows.
pub fn read(topic: &str, isolation: &str) -> Vec<Seen> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", brokers())
        .set("group.id", "contract")
        .set("enable.auto.commit", "false")
        .set("enable.partition.eof", "true")
        .set("isolation.level", isolation)
        .create()
        .expect("a consumer");
    let metadata = consumer.fetch_metadata(Some(topic), READ_WITHIN).expect("metadata");
    let partitions = metadata.topics()[0].partitions();
    let mut unread = partitions.len();
    let mut assigned = TopicPartitionList::new();
    for partition in partitions {
        assigned.add_partition_offset(topic, partition.id(), Offset::Beginning).expect("an offset");
    }
    consumer.assign(&assigned).expect("assigned");
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("UTF-8");
    let mut seen = Vec::new();
    while unread > 0 {
        match consumer.poll(READ_WITHIN).expect("the end of each partition within the time") {
            Ok(message) => {
                let mut headers = message.headers().into_iter().flat_map(Headers::iter);
                let event_id = headers.find(|header| header.key == "__event_id");
                seen.push(Seen {
                    partition: message.partition(),
                    offset: message.offset(),
                    key: text(message.key().unwrap_or_default()),
                    value: message.payload().map(text),
                    event_id: event_id.map(|header| text(header.value.unwrap_or_default())),
                });
            }
            Err(KafkaError::PartitionEOF(_)) => unread -= 1,
            Err(error) => panic!("{error}"),
        }
    }
    seen
}
