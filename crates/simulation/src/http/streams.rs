//! The four operations of streams, between JSON and the service's own types.

use serde_json::{Map, Value, json};

use super::wire::{Refusal, needed_text, number, text};
use crate::service::{
    DescribeStream, GetShardIterator, IteratorType, ListStreams, Service, ShardAnswer, StreamAnswer, StreamList,
};

/// Answers one of the four.
pub(super) fn answer(
    service: &mut Service,
    now_ms: i64,
    operation: &str,
    request: &Map<String, Value>,
) -> Result<String, Refusal> {
    match operation {
        "ListStreams" => {
            let request = ListStreams {
                table: text(request, "TableName")?,
                limit: number(request, "Limit")?,
                exclusive_start: text(request, "ExclusiveStartStreamArn")?,
            };
            Ok(stream_list(&service.list_streams(now_ms, &request)?).to_string())
        }
        "DescribeStream" => {
            let request = DescribeStream {
                stream_arn: needed_text(request, "StreamArn")?,
                limit: number(request, "Limit")?,
                exclusive_start: text(request, "ExclusiveStartShardId")?,
                children_of: children_of(request)?,
            };
            Ok(description(&service.describe_stream(now_ms, &request)?).to_string())
        }
        "GetShardIterator" => {
            let word = needed_text(request, "ShardIteratorType")?;
            let kind = IteratorType::parse(&word).ok_or_else(|| Refusal::missing("shardIteratorType"))?;
            let request = GetShardIterator {
                stream_arn: needed_text(request, "StreamArn")?,
                shard: needed_text(request, "ShardId")?,
                kind,
                sequence_number: text(request, "SequenceNumber")?,
            };
            Ok(json!({"ShardIterator": service.get_shard_iterator(now_ms, &request)?}).to_string())
        }
        "GetRecords" => {
            let (iterator, limit) = (needed_text(request, "ShardIterator")?, number(request, "Limit")?);
            Ok(service.get_records(now_ms, &iterator, limit)?)
        }
        _ => Err(Refusal::unknown_operation()),
    }
}

/// The shard of a `ShardFilter`; its only type is `CHILD_SHARDS` (DynamoDB API reference, `ShardFilter`).
fn children_of(request: &Map<String, Value>) -> Result<Option<String>, Refusal> {
    match request.get("ShardFilter") {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Object(filter)) if filter.get("Type").and_then(Value::as_str) == Some("CHILD_SHARDS") => {
            needed_text(filter, "ShardId").map(Some)
        }
        Some(Value::Object(_)) => Err(Refusal::missing("shardFilter.type")),
        Some(_) => Err(Refusal::not_json()),
    }
}

fn stream_list(list: &StreamList) -> Value {
    let streams: Vec<Value> = list
        .streams
        .iter()
        .map(|stream| json!({"StreamArn": stream.arn, "StreamLabel": stream.label, "TableName": stream.table}))
        .collect();
    with_optional(json!({"Streams": streams}), "LastEvaluatedStreamArn", list.last_evaluated.as_deref())
}

fn description(answer: &StreamAnswer) -> Value {
    let shards: Vec<Value> = answer.shards.iter().map(shard).collect();
    let description = json!({
        "CreationRequestDateTime": seconds(answer.created_at_ms),
        "KeySchema": key_schema(&answer.key_attributes),
        "Shards": shards,
        "StreamArn": answer.arn,
        "StreamLabel": answer.label,
        "StreamStatus": answer.status.as_str(),
        "StreamViewType": answer.view.as_str(),
        "TableName": answer.table,
    });
    let description = with_optional(description, "LastEvaluatedShardId", answer.last_evaluated.as_deref());
    json!({"StreamDescription": description})
}

fn key_schema(attributes: &[String]) -> Vec<Value> {
    let kinds = ["HASH", "RANGE"];
    attributes.iter().zip(kinds).map(|(name, kind)| json!({"AttributeName": name, "KeyType": kind})).collect()
}

fn shard(shard: &ShardAnswer) -> Value {
    let range = with_optional(json!({}), "StartingSequenceNumber", shard.starting.as_deref());
    let range = with_optional(range, "EndingSequenceNumber", shard.ending.as_deref());
    with_optional(json!({"ShardId": shard.id, "SequenceNumberRange": range}), "ParentShardId", shard.parent.as_deref())
}

/// Epoch seconds with milliseconds, as the protocol writes times.
pub(super) fn seconds(ms: i64) -> f64 {
    ms as f64 / 1000.0
}

fn with_optional(mut object: Value, field: &str, value: Option<&str>) -> Value {
    if let Some(value) = value {
        object[field] = value.into();
    }
    object
}
