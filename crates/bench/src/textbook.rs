//! What a careful team writes first: the SDK's types, a `serde_json::Value` of them, bytes of that.

use std::io::{BufWriter, Write};
use std::time::Instant;

use anyhow::{Context, Result};
use aws_credential_types::Credentials;
use aws_sdk_dynamodbstreams::config::{BehaviorVersion, Region};
use aws_sdk_dynamodbstreams::types::{AttributeValue, Record, ShardIteratorType};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord};
use serde_json::{Map, Value, json};
use tailwater_simulation::replay::{STREAM_ARN, TABLE};

use crate::process::cpu_seconds;

/// What the loop took.
pub struct Textbook {
    pub records: u64,
    pub wall_s: f64,
    pub cpu_s: f64,
}

/// Reads so many pages of a replay's first shard and writes them nowhere as JSON lines.
pub async fn read(endpoint: &str, pages: u64) -> Result<Textbook> {
    let mut out = BufWriter::new(std::fs::File::create("/dev/null").context("/dev/null")?);
    each_page(endpoint, pages, async |records: &[Record]| {
        for record in records {
            serde_json::to_writer(&mut out, &line(record)).context("a line")?;
            out.write_all(b"\n")?;
        }
        Ok(())
    })
    .await
}

/// The same into a topic of Kafka: a future for each message, all of a page awaited before the next one is asked for.
pub async fn produce(
    endpoint: &str,
    pages: u64,
    producer: &FutureProducer,
    topic: &str,
    with_headers: bool,
) -> Result<Textbook> {
    each_page(endpoint, pages, async |records: &[Record]| {
        let mut deliveries = Vec::with_capacity(records.len());
        for record in records {
            let (key, value) = (serde_json::to_vec(&key(record))?, serde_json::to_vec(&line(record))?);
            let mut message = FutureRecord::to(topic).key(&key).payload(&value);
            if with_headers {
                message = message.headers(headers(record));
            }
            let sent = producer.send_result(message);
            deliveries.push(sent.map_err(|(error, _)| error)?);
        }
        for delivery in deliveries {
            delivery.await.context("the producer is gone")?.map_err(|(error, _)| error)?;
        }
        Ok(())
    })
    .await
}

/// Reads so many pages of a replay's first shard; what is done with each belongs to the time and the CPU.
async fn each_page(endpoint: &str, pages: u64, mut take: impl AsyncFnMut(&[Record]) -> Result<()>) -> Result<Textbook> {
    let config = aws_sdk_dynamodbstreams::Config::builder()
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .endpoint_url(endpoint)
        .credentials_provider(Credentials::new("any", "any", None, None, "bench"))
        .build();
    let client = aws_sdk_dynamodbstreams::Client::from_conf(config);
    let shards = client.describe_stream().stream_arn(STREAM_ARN).send().await?;
    let description = shards.stream_description().context("a description")?;
    let shard = description.shards().first().and_then(|shard| shard.shard_id()).context("a shard")?;
    let request = client.get_shard_iterator().stream_arn(STREAM_ARN).shard_id(shard);
    let begin = request.shard_iterator_type(ShardIteratorType::TrimHorizon).send().await?;
    let mut iterator = begin.shard_iterator;
    let (mut records, began, cpu_before) = (0, Instant::now(), cpu_seconds(std::process::id())?);
    for _ in 0..pages {
        let Some(current) = iterator else { break };
        let page = client.get_records().shard_iterator(current).send().await?;
        take(page.records()).await?;
        records += page.records().len() as u64;
        iterator = page.next_shard_iterator;
    }
    let cpu_s = cpu_seconds(std::process::id())? - cpu_before;
    Ok(Textbook { records, wall_s: began.elapsed().as_secs_f64(), cpu_s })
}

fn key(record: &Record) -> Value {
    record.dynamodb().map_or(Value::Null, |change| plain_map(change.keys()))
}

/// The headers that our sink sends by default.
fn headers(record: &Record) -> OwnedHeaders {
    let change = record.dynamodb();
    let created = change.and_then(|change| change.approximate_creation_date_time());
    let created_ms = created.and_then(|time| time.to_millis().ok()).unwrap_or_default().to_string();
    [
        ("__op", record.event_name().map_or("", |name| name.as_str())),
        ("__table", TABLE),
        ("__event_id", record.event_id().unwrap_or_default()),
        ("__seq", change.and_then(|change| change.sequence_number()).unwrap_or_default()),
        ("__snapshot", "false"),
        ("__source_ts_ms", &created_ms),
        ("content-type", "application/json"),
    ]
    .into_iter()
    .fold(OwnedHeaders::new(), |headers, (key, value)| headers.insert(Header { key, value: Some(value) }))
}

fn line(record: &Record) -> Value {
    let Some(change) = record.dynamodb() else { return Value::Null };
    json!({
        "change": record.event_name().map(|name| name.as_str()),
        "key": plain_map(change.keys()),
        "old": plain_map(change.old_image()),
        "new": plain_map(change.new_image()),
        "event_id": record.event_id(),
        "sequence_number": change.sequence_number(),
    })
}

#[expect(clippy::disallowed_types, reason = "the SDK's own type: what is measured")]
fn plain_map(item: Option<&std::collections::HashMap<String, AttributeValue>>) -> Value {
    item.map_or(Value::Null, |item| {
        Value::Object(item.iter().map(|(name, value)| (name.clone(), plain(value))).collect::<Map<_, _>>())
    })
}

fn plain(value: &AttributeValue) -> Value {
    match value {
        AttributeValue::S(text) | AttributeValue::N(text) => Value::String(text.clone()),
        AttributeValue::Bool(value) => Value::Bool(*value),
        AttributeValue::M(map) => plain_map(Some(map)),
        AttributeValue::L(list) => Value::Array(list.iter().map(plain).collect()),
        AttributeValue::Ss(set) | AttributeValue::Ns(set) => {
            set.iter().map(|text| Value::String(text.clone())).collect()
        }
        _ => Value::Null,
    }
}
