//! A producer that is handed messages already made, with the sink's own settings but for transactions.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedHeaders, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{ClientConfig, Message, Offset, TopicPartitionList};

use super::Case;
use super::topics::PARTITIONS;
use crate::process::cpu_seconds;

/// Longest wait for one answer of the broker.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);
/// The sink's own queue and waits.
const SETTINGS: [(&str, &str); 6] = [
    ("enable.idempotence", "true"),
    ("acks", "all"),
    ("linger.ms", "5"),
    ("queue.buffering.max.messages", "100000"),
    ("queue.buffering.max.kbytes", "32768"),
    ("partitioner", "murmur2_random"),
];

/// A message's key, value and headers.
pub type Parts = (Vec<u8>, Vec<u8>, OwnedHeaders);

/// What producing took.
pub struct Produced {
    /// Until all were acknowledged.
    pub wall_s: f64,
    pub cpu_s: f64,
}

/// Of a client of any kind.
pub fn client(brokers: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", brokers).set("isolation.level", "read_committed").set("group.id", "bench");
    config
}

/// Of a producer.
pub fn config(brokers: &str, compression: &str) -> ClientConfig {
    let mut config = client(brokers);
    config.set("compression.type", compression);
    for (key, value) in SETTINGS {
        config.set(key, value);
    }
    config
}

/// All messages of the topic: the very bytes that were produced.
pub fn messages(brokers: &str, topic: &str, count: u64) -> Result<Vec<Parts>> {
    let consumer: BaseConsumer = client(brokers).create().context("a consumer")?;
    let mut places = TopicPartitionList::new();
    for partition in 0..PARTITIONS {
        places.add_partition_offset(topic, partition, Offset::Beginning)?;
    }
    consumer.assign(&places)?;
    let mut messages = Vec::new();
    while (messages.len() as u64) < count {
        let message = consumer.poll(ANSWER_WITHIN).context("messages are missing in the topic")??;
        let headers = message.headers().map_or_else(OwnedHeaders::new, BorrowedHeaders::detach);
        let (key, value) = (message.key().unwrap_or_default(), message.payload().unwrap_or_default());
        messages.push((key.to_vec(), value.to_vec(), headers));
    }
    Ok(messages)
}

/// Produces all messages.
pub fn produce(brokers: &str, topic: &str, case: &Case, messages: Vec<Parts>) -> Result<Produced> {
    let producer: BaseProducer = config(brokers, case.compression).create().context("a producer")?;
    producer.client().fetch_metadata(Some(topic), ANSWER_WITHIN).context("the topic of the bare producer")?;
    let own = std::process::id();
    let (began, cpu_before) = (Instant::now(), cpu_seconds(own)?);
    for (key, value, headers) in messages {
        let mut record = BaseRecord::to(topic).key(key.as_slice()).payload(value.as_slice());
        if case.headers {
            record = record.headers(headers);
        }
        while let Err((error, refused)) = producer.send(record) {
            ensure!(error == KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), "the bare producer: {error}");
            record = refused;
            producer.poll(Duration::from_millis(1));
        }
    }
    producer.flush(ANSWER_WITHIN).context("the bare producer's last messages")?;
    Ok(Produced { wall_s: began.elapsed().as_secs_f64(), cpu_s: cpu_seconds(own)? - cpu_before })
}
