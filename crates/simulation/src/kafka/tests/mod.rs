//! What the model does, each manner with the fact that it is of. What a real broker can be made to show too is in
//! `tests/contract/transactions`, on both.

mod ends;
mod messages;
mod progress;

use std::collections::BTreeMap;
use std::time::Duration;

use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use tailwater_sink_kafka::{
    Batches, ChangeHeader, Cluster, Deletes, DeliveryPromise, Format, KafkaSettings, MayMake, MessageLimits,
    OnRepartition, Outgoing, Producer, ProducerRole, Read, Reader, SendFault,
};
use tokio::time::Instant;

use super::{ModelCluster, ModelProducer, ModelReader};

const TRANSACTION_TIMEOUT: Duration = Duration::from_secs(60);
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
/// Longer than anything that is waited for.
const WITHIN: Duration = Duration::from_secs(120);
const TOPIC: &str = "orders";
const PROGRESS: &str = "orders-progress";

fn settings() -> KafkaSettings {
    KafkaSettings {
        brokers: "the model".into(),
        topic: TOPIC.into(),
        dead_letter_topic: "orders-dead-letters".into(),
        progress_topic: PROGRESS.into(),
        format: Format::Json,
        delete: Deletes::Event,
        headers: ChangeHeader::ALL.into(),
        delivery: DeliveryPromise::ExactlyOnce,
        on_repartition: OnRepartition::Stop,
        create_topics: None,
        tls: None,
        sasl: None,
        librdkafka: BTreeMap::new(),
        transaction_timeout: TRANSACTION_TIMEOUT,
        request_timeout: REQUEST_TIMEOUT,
        dead_letters_per_minute_max: 100,
        adopt: None,
    }
}

/// A cluster with two partitions of the topic, and one lane of progress.
async fn cluster() -> ModelCluster {
    let cluster = ModelCluster::new(1, &settings(), 2);
    let facts = cluster.check_topics(1, MayMake::AtClaim).await.expect("topics").facts;
    assert_eq!((facts.data_partitions, facts.limits), (2, MessageLimits::same(1_048_588)));
    cluster
}

fn deadline() -> Instant {
    Instant::now() + WITHIN
}

fn producer(cluster: &ModelCluster) -> ModelProducer {
    producer_with(cluster, Batches::Full)
}

fn producer_with(cluster: &ModelCluster, batches: Batches) -> ModelProducer {
    let limits = MessageLimits::same(1_000_000);
    cluster.producer(&ProducerRole::Transactional { id: "lane-0", limits, batches }).expect("a producer")
}

/// A producer that has fenced all before it.
async fn newest(cluster: &ModelCluster) -> ModelProducer {
    let producer = producer(cluster);
    producer.fence_others("lane 0", WITHIN).await.expect("fences");
    producer
}

async fn send(producer: &ModelProducer, topic: &str, partition: i32, value: &str) -> Result<(), SendFault> {
    let value = Some(value.as_bytes());
    let message = Outgoing { topic, partition, by_hand: true, key: b"key", value, headers: &[] };
    producer.send(message, deadline()).await?;
    producer.wait_delivered(deadline()).await
}

/// One message to each topic, in a transaction that is left open.
async fn begin(producer: &ModelProducer, value: &str) {
    producer.begin().await.expect("begins");
    send(producer, TOPIC, 1, value).await.expect("delivered");
    send(producer, PROGRESS, 0, value).await.expect("delivered");
}

fn text(bytes: Option<&[u8]>) -> String {
    String::from_utf8(bytes.expect("a value").to_vec()).expect("a text")
}

/// The values that a reader of committed records finds now.
fn committed(cluster: &ModelCluster, topic: &str) -> Vec<String> {
    cluster.committed(topic).iter().map(|landed| text(landed.record.value.as_deref())).collect()
}

fn uncommitted(cluster: &ModelCluster, topic: &str) -> Vec<String> {
    cluster.uncommitted(topic).iter().map(|landed| text(landed.record.value.as_deref())).collect()
}

/// What a reader of the progress topic shows until its next end.
async fn read_to_end(reader: &mut ModelReader) -> Vec<(i64, String)> {
    let mut shown = Vec::new();
    loop {
        match reader.next(deadline(), |stored| (stored.offset, text(stored.value))).await.expect("reads") {
            Read::Nothing => {}
            Read::Record(record) => shown.push(record),
            Read::End { partition, offset } => {
                assert!(partition == 0 && shown.last().is_none_or(|(last, _)| *last < offset), "{offset}");
                return shown;
            }
        }
    }
}

fn code(error: &KafkaError) -> RDKafkaErrorCode {
    error.rdkafka_error_code().expect("a code")
}

fn delivery_code(sent: Result<(), SendFault>) -> RDKafkaErrorCode {
    match sent.expect_err("not delivered") {
        SendFault::Kafka(error) => code(&error),
        SendFault::Undelivered { code, .. } => code,
        SendFault::Repartitioned => panic!("strayed"),
    }
}
