//! A careful loop over all shards of a stream with the SDK's own types: a task per shard, one page after the other, each
//! record as one line of plain JSON into nothing.
//!
//! Usage: `sdk-loop TABLE ENDPOINT types|lines`. Ends when every shard is read to its end. `types` drops the records as the
//! SDK gives them; `lines` writes them as plain JSON first, which is what a sink needs.

use std::collections::HashMap;
use std::error::Error;

use aws_sdk_dynamodbstreams::Client;
use aws_sdk_dynamodbstreams::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_dynamodbstreams::types::{AttributeValue, Record, ShardIteratorType};
use serde_json::{Map, Value, json};

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

#[tokio::main]
async fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [table, endpoint, form] = arguments.as_slice() else {
        return Err("usage: sdk-loop TABLE ENDPOINT types|lines".into());
    };
    let lines = form == "lines";
    let config = aws_sdk_dynamodbstreams::Config::builder()
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .endpoint_url(endpoint)
        .credentials_provider(Credentials::new("any", "any", None, None, "sdk-loop"))
        .build();
    let client = Client::from_conf(config);
    let streams = client.list_streams().table_name(table).send().await?;
    let arn = streams.streams().first().and_then(|stream| stream.stream_arn()).ok_or("no stream")?.to_owned();
    let mut reading = tokio::task::JoinSet::new();
    for shard in shards(&client, &arn).await? {
        reading.spawn(read(client.clone(), arn.clone(), shard, lines));
    }
    let (mut records, mut bytes) = (0, 0);
    while let Some(read) = reading.join_next().await {
        let (of_shard, written) = read??;
        records += of_shard;
        bytes += written;
    }
    println!("records {records}");
    eprintln!("{bytes} bytes");
    Ok(())
}

async fn shards(client: &Client, arn: &str) -> Outcome<Vec<String>> {
    let (mut listed, mut after) = (Vec::new(), None);
    loop {
        let page = client.describe_stream().stream_arn(arn).set_exclusive_start_shard_id(after).send().await?;
        let description = page.stream_description().ok_or("no description")?;
        listed.extend(description.shards().iter().filter_map(|shard| shard.shard_id().map(str::to_owned)));
        after = description.last_evaluated_shard_id().map(str::to_owned);
        if after.is_none() {
            return Ok(listed);
        }
    }
}

/// Reads one shard to its end. Gives its records and the bytes that were written.
async fn read(client: Client, arn: String, shard: String, lines: bool) -> Outcome<(usize, usize)> {
    let start = client.get_shard_iterator().stream_arn(arn).shard_id(shard);
    let start = start.shard_iterator_type(ShardIteratorType::TrimHorizon).send().await?;
    let mut iterator = start.shard_iterator;
    let (mut records, mut bytes, mut out) = (0, 0, Vec::new());
    while let Some(place) = iterator {
        let page = client.get_records().shard_iterator(place).limit(1000).send().await?;
        for record in page.records() {
            if lines {
                push_line(record, &mut out)?;
            }
            records += 1;
        }
        bytes += out.len();
        out.clear();
        iterator = page.next_shard_iterator;
    }
    Ok((records, bytes))
}

fn push_line(record: &Record, out: &mut Vec<u8>) -> Outcome<()> {
    let change = record.dynamodb().ok_or("a record without a change")?;
    let line = json!({
        "change": record.event_name().map(|name| name.as_str()),
        "key": plain_map(change.keys()),
        "new": plain_map(change.new_image()),
        "old": plain_map(change.old_image()),
        "event_id": record.event_id(),
        "sequence_number": change.sequence_number(),
    });
    serde_json::to_writer(&mut *out, &line)?;
    out.push(b'\n');
    Ok(())
}

fn plain_map(item: Option<&HashMap<String, AttributeValue>>) -> Value {
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
