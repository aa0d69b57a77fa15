//! To Kafka, beside a bare producer that is handed the same messages.

use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedHeaders, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{ClientConfig, Message, Offset, TopicPartitionList};

use crate::clock::now_us;
use crate::files;
use crate::local::carried;
use crate::measure::{Bench, Figures};
use crate::pipeline::Pipeline;
use crate::process::cpu_seconds;
use crate::server::{LANES, ReplayServer, SHARDS_OF_LANES as SHARDS, ServeArguments};

const PARTITIONS: i32 = 4;
/// Longest wait for one answer of the broker.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);
/// The sink's own queue and compression: the bare producer has the same.
const BARE: [(&str, &str); 7] = [
    ("enable.idempotence", "true"),
    ("acks", "all"),
    ("compression.type", "zstd"),
    ("linger.ms", "5"),
    ("queue.buffering.max.messages", "100000"),
    ("queue.buffering.max.kbytes", "32768"),
    ("partitioner", "murmur2_random"),
];

/// A tenth of the events of a group that a file has which says nothing about it: a page is a transaction.
const SMALL_GROUPS: &str = "[limits]\ngroup_events_max = 1000\n";

/// A message's key, value and headers.
type Parts = (Vec<u8>, Vec<u8>, OwnedHeaders);

/// Records of a kilobyte, exactly once, in turn with a bare producer.
pub fn run(bench: &mut Bench) -> Result<()> {
    for (case, delivery, limits) in [
        ("1k exactly-once", "exactly-once", ""),
        ("1k at-least-once", "at-least-once", ""),
        ("1k, groups of 1 000", "exactly-once", SMALL_GROUPS),
    ] {
        bench.case(case, |bench| {
            let topics = Topics::new();
            let measured = carried_and_bare(bench, &topics, delivery, limits);
            bench.runtime.block_on(delete(&bench.kafka, &topics))?;
            measured
        })?;
    }
    Ok(())
}

/// The topics of one run.
struct Topics {
    run: String,
    changes: String,
    bare: String,
    letters: String,
    progress: String,
}

impl Topics {
    fn new() -> Self {
        let run = format!("bench-kafka-{}", now_us());
        let named = |what| format!("{run}-{what}");
        Self {
            changes: named("changes"),
            bare: named("bare"),
            letters: named("letters"),
            progress: named("progress"),
            run,
        }
    }
}

fn carried_and_bare(bench: &Bench, topics: &Topics, delivery: &str, limits: &str) -> Result<Figures> {
    let shard_pages = bench.pick(25, 1);
    let mut server = ReplayServer::start(&ServeArguments::finite("1k", SHARDS, 8, shard_pages))?;
    let sink = format!(
        "[sink.kafka]\nbrokers = \"{}\"\ntopic = \"{}\"\ndead_letter_topic = \"{}\"\nprogress_topic = \"{}\"\n\
         delivery = \"{delivery}\"\ncreate_topics = {{ partitions = {PARTITIONS}, replication = 1 }}",
        bench.kafka, topics.changes, topics.letters, topics.progress
    );
    let pace = format!("{}{limits}", files::BACKLOG_PACE);
    let file = files::write(bench.work.path(), &topics.run, &server.endpoint, Some(LANES), &sink, &pace)?;
    let pipeline = Pipeline::start(&bench.tailwater, &file, Stdio::null())?;
    let taken = pipeline.until_drained(SHARDS)?;
    drop(pipeline);
    let records = SHARDS * server.served()?.records_per_shard;
    drop(server);
    let messages = messages(&bench.kafka, &topics.changes, records)?;
    bench.runtime.block_on(create(&bench.kafka, &topics.bare))?;
    let (bare_wall_s, bare_cpu_s) = produce(&bench.kafka, &topics.bare, messages)?;
    let mut figures = carried(records as f64, taken.wall_s, taken.cpu_s);
    figures.extend([
        ("bare_records_per_s", records as f64 / bare_wall_s),
        ("bare_cpu_us_per_record", bare_cpu_s * 1e6 / records as f64),
        ("wall_ratio", bare_wall_s / taken.wall_s),
    ]);
    Ok(figures)
}

fn client(brokers: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", brokers).set("isolation.level", "read_committed").set("group.id", "bench");
    config
}

/// All messages of the topic: the very bytes that were produced.
fn messages(brokers: &str, topic: &str, count: u64) -> Result<Vec<Parts>> {
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

/// Seconds until all are acknowledged, and seconds of our CPU.
fn produce(brokers: &str, topic: &str, messages: Vec<Parts>) -> Result<(f64, f64)> {
    let mut config = client(brokers);
    for (key, value) in BARE {
        config.set(key, value);
    }
    let producer: BaseProducer = config.create().context("a producer")?;
    producer.client().fetch_metadata(Some(topic), ANSWER_WITHIN).context("the topic of the bare producer")?;
    let own = std::process::id();
    let (began, cpu_before) = (Instant::now(), cpu_seconds(own)?);
    for (key, value, headers) in messages {
        let mut record = BaseRecord::to(topic).key(key.as_slice()).payload(value.as_slice()).headers(headers);
        while let Err((error, refused)) = producer.send(record) {
            ensure!(error == KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), "the bare producer: {error}");
            record = refused;
            producer.poll(Duration::from_millis(1));
        }
    }
    producer.flush(ANSWER_WITHIN).context("the bare producer's last messages")?;
    Ok((began.elapsed().as_secs_f64(), cpu_seconds(own)? - cpu_before))
}

async fn create(brokers: &str, topic: &str) -> Result<()> {
    let admin: AdminClient<DefaultClientContext> = client(brokers).create().context("an admin client")?;
    let topic = NewTopic::new(topic, PARTITIONS, TopicReplication::Fixed(1));
    for made in admin.create_topics([&topic], &AdminOptions::new()).await? {
        made.map_err(|(topic, code)| anyhow::anyhow!("topic {topic}: {code}"))?;
    }
    Ok(())
}

async fn delete(brokers: &str, topics: &Topics) -> Result<()> {
    let admin: AdminClient<DefaultClientContext> = client(brokers).create().context("an admin client")?;
    // Some may not be there: each answer for itself says so.
    let names = [&topics.changes, &topics.bare, &topics.letters, &topics.progress].map(String::as_str);
    admin.delete_topics(&names, &AdminOptions::new()).await?;
    Ok(())
}
