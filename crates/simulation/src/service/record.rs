//! Records, written as JSON once.

use serde_json::Value;
use serde_json::value::RawValue;
use tailwater_model::ViewType;

use super::sequence::Sequence;

/// One write of an item, as the stream is to tell it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ItemChange {
    /// The key attributes as typed JSON: `{"Id":{"S":"7"}}`.
    pub key: String,
    /// The whole item before, as typed JSON; nothing when there was none.
    pub old: Option<String>,
    /// The whole item after, as typed JSON; nothing when it is gone.
    pub new: Option<String>,
    /// The item expired: nobody asked for its deletion.
    pub time_to_live: bool,
}

/// When and where a record was written.
pub(super) struct Written {
    pub(super) now_ms: i64,
    pub(super) visible_at_ms: i64,
    pub(super) sequence: Sequence,
}

/// One record of a shard.
#[derive(Debug)]
pub(super) struct Record {
    pub(super) sequence: Sequence,
    pub(super) event_id: String,
    pub(super) created_at_ms: i64,
    /// Readers see it from this time on.
    pub(super) visible_at_ms: i64,
    /// As it stands in an answer.
    pub(super) json: String,
    /// For oracles.
    pub(super) change: ItemChange,
}

impl Record {
    pub(super) fn new(written: Written, event_id: String, change: ItemChange, view: ViewType, region: &str) -> Self {
        let json = render(&written, &event_id, &change, view, region);
        let Written { now_ms, visible_at_ms, sequence } = written;
        Self { sequence, event_id, created_at_ms: now_ms, visible_at_ms, json, change }
    }
}

fn render(written: &Written, event_id: &str, change: &ItemChange, view: ViewType, region: &str) -> String {
    let name = match (&change.old, &change.new) {
        (None, _) => "INSERT",
        (Some(_), Some(_)) => "MODIFY",
        (Some(_), None) => "REMOVE",
    };
    let carried = view.images();
    let old = change.old.as_deref().filter(|_| carried.old);
    let new = change.new.as_deref().filter(|_| carried.new);
    // As DynamoDB counts it, nearly: the key and the images. Nobody may rely on it.
    let size_bytes = change.key.len() + old.map_or(0, str::len) + new.map_or(0, str::len);
    let mut json = String::with_capacity(size_bytes + 400);
    json.push_str(r#"{"eventID":""#);
    json.push_str(event_id);
    json.push_str(r#"","eventName":""#);
    json.push_str(name);
    json.push_str(r#"","eventVersion":"1.1","eventSource":"aws:dynamodb","awsRegion":""#);
    json.push_str(region);
    // Rounded down to the second (DynamoDB API reference, `StreamRecord`).
    let created_s = written.now_ms.div_euclid(1000);
    json.push_str(&format!(r#"","dynamodb":{{"ApproximateCreationDateTime":{created_s},"Keys":{}"#, change.key));
    for (name, image) in [("NewImage", new), ("OldImage", old)] {
        if let Some(image) = image {
            json.push_str(&format!(r#","{name}":{image}"#));
        }
    }
    json.push_str(&format!(
        r#","SequenceNumber":"{}","SizeBytes":{size_bytes},"StreamViewType":"{}"}}"#,
        written.sequence.text(),
        view.as_str()
    ));
    if change.time_to_live {
        json.push_str(r#","userIdentity":{"PrincipalId":"dynamodb.amazonaws.com","Type":"Service"}"#);
    }
    json.push('}');
    json
}

/// Where a key lies among the shards: a hash of its partition key. A key without that attribute lies at one place, too.
pub(super) fn place_of(key: &str, partition_key: &str) -> u32 {
    let attributes: std::collections::BTreeMap<String, Box<RawValue>> = serde_json::from_str(key).unwrap_or_default();
    let value = attributes.get(partition_key).map_or(Value::Null, |raw| {
        // Parsed, so that the same value written in two ways is one key.
        serde_json::from_str(raw.get()).unwrap_or_default()
    });
    crc32fast::hash(value.to_string().as_bytes())
}
