//! What a careful team writes first: the SDK's types, a `serde_json::Value` of them, bytes of that.

use std::io::{BufWriter, Write};
use std::time::Instant;

use anyhow::{Context, Result};
use aws_credential_types::Credentials;
use aws_sdk_dynamodbstreams::config::{BehaviorVersion, Region};
use aws_sdk_dynamodbstreams::types::{AttributeValue, Record, ShardIteratorType};
use serde_json::{Map, Value, json};
use tailwater_simulation::replay::STREAM_ARN;

use crate::process::cpu_seconds;

/// What the loop took.
pub struct Textbook {
    pub records: u64,
    pub wall_s: f64,
    pub cpu_s: f64,
}

/// Reads so many pages of a replay's first shard and writes them nowhere as JSON lines.
pub async fn read(endpoint: &str, pages: u64) -> Result<Textbook> {
    let config = aws_sdk_dynamodbstreams::Config::builder()
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .endpoint_url(endpoint)
        .credentials_provider(Credentials::new("any", "any", None, None, "bench"))
        .build();
    let client = aws_sdk_dynamodbstreams::Client::from_conf(config);
    let mut out = BufWriter::new(std::fs::File::create("/dev/null").context("/dev/null")?);
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
        for record in page.records() {
            serde_json::to_writer(&mut out, &line(record)).context("a line")?;
            out.write_all(b"\n")?;
        }
        records += page.records().len() as u64;
        iterator = page.next_shard_iterator;
    }
    out.flush()?;
    let cpu_s = cpu_seconds(std::process::id())? - cpu_before;
    Ok(Textbook { records, wall_s: began.elapsed().as_secs_f64(), cpu_s })
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
