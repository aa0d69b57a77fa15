//! Looks at what is committed, for checkers. They see what a new session would see, and take no time.

use std::sync::Arc;

use data_encoding::BASE64;
use tailwater_model::{Key, KeySchema, KeyValue, push_quoted};

use super::rows::{DeadLetterRow, GapRow, LaneRow, MirrorRow, RowKey, RowValue, ShardRow, StreamRow};
use super::server::ModelServer;

/// A row of a mirror table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MirrorLook {
    /// The table's qualified name, quoted.
    pub table: Arc<str>,
    /// The item's key as DynamoDB writes it, `{"name":{"S":"…"}}`, partition key first; numbers in their canonical form.
    pub key_json: String,
    /// The key as a value.
    pub key: Key,
    /// Everything beside the key.
    pub row: MirrorRow,
}

/// A row of `tailwater.lanes`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LaneLook {
    /// The pipeline's name.
    pub pipeline: String,
    /// The lane's number.
    pub lane: i32,
    /// Its epoch and owner.
    pub row: LaneRow,
}

/// A row of `tailwater.streams`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamLook {
    /// The pipeline's name.
    pub pipeline: String,
    /// The stream.
    pub stream_arn: String,
    /// The rest.
    pub row: StreamRow,
}

/// A row of `tailwater.shards`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShardLook {
    /// The pipeline's name.
    pub pipeline: String,
    /// The stream.
    pub stream_arn: String,
    /// The shard's id.
    pub shard: String,
    /// Parent, lane, position and figures.
    pub row: ShardRow,
}

/// A row of `tailwater.gaps`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GapLook {
    /// The pipeline's name.
    pub pipeline: String,
    /// The stream.
    pub stream_arn: String,
    /// The shard; nothing when the whole stream is meant.
    pub shard: Option<String>,
    /// How it was found.
    pub cause: String,
    /// The last position known to be complete.
    pub after: String,
    /// Everything that was created before was carried, in milliseconds since 1970.
    pub since_ms: Option<i64>,
    /// The rest.
    pub row: GapRow,
}

impl ModelServer {
    fn look<T>(&self, read: impl Fn(&RowKey, &RowValue) -> Option<T>) -> Vec<T> {
        self.state().engine.committed().filter_map(|(key, value)| read(key, value)).collect()
    }

    /// The rows of all mirror tables, in the order of table and key.
    pub fn mirror_rows(&self) -> Vec<MirrorLook> {
        let tables = self.state().tables.clone();
        self.look(|key, value| match (key, value) {
            (RowKey::Mirror { table, key }, RowValue::Mirror(row)) => {
                let key_json = tables.get(table).map(|schema| typed_key(key, schema)).unwrap_or_default();
                Some(MirrorLook { table: Arc::clone(table), key_json, key: key.clone(), row: row.clone() })
            }
            _ => None,
        })
    }

    /// The lanes of all pipelines.
    pub fn lanes(&self) -> Vec<LaneLook> {
        self.look(|key, value| match (key, value) {
            (RowKey::Lane { pipeline, lane }, RowValue::Lane(row)) => {
                Some(LaneLook { pipeline: pipeline.clone(), lane: *lane, row: row.clone() })
            }
            _ => None,
        })
    }

    /// The streams of all pipelines.
    pub fn streams(&self) -> Vec<StreamLook> {
        self.look(|key, value| match (key, value) {
            (RowKey::Stream { pipeline, stream_arn }, RowValue::Stream(row)) => {
                Some(StreamLook { pipeline: pipeline.clone(), stream_arn: stream_arn.clone(), row: row.clone() })
            }
            _ => None,
        })
    }

    /// The shards of all pipelines.
    pub fn shards(&self) -> Vec<ShardLook> {
        self.look(|key, value| match (key, value) {
            (RowKey::Shard { pipeline, stream_arn, shard }, RowValue::Shard(row)) => Some(ShardLook {
                pipeline: pipeline.clone(),
                stream_arn: stream_arn.clone(),
                shard: shard.clone(),
                row: row.clone(),
            }),
            _ => None,
        })
    }

    /// The gaps on record.
    pub fn gaps(&self) -> Vec<GapLook> {
        self.look(|key, value| match (key, value) {
            (RowKey::Gap { pipeline, stream_arn, shard, cause, after, since_ms }, RowValue::Gap(row)) => {
                Some(GapLook {
                    pipeline: pipeline.clone(),
                    stream_arn: stream_arn.clone(),
                    shard: Some(shard.clone()).filter(|shard| !shard.is_empty()),
                    cause: cause.clone(),
                    after: after.clone(),
                    since_ms: *since_ms,
                    row: row.clone(),
                })
            }
            _ => None,
        })
    }

    /// The records that were kept aside, oldest first.
    pub fn dead_letters(&self) -> Vec<DeadLetterRow> {
        self.look(|key, value| match (key, value) {
            (RowKey::DeadLetter(_), RowValue::DeadLetter(row)) => Some(row.clone()),
            _ => None,
        })
    }

    /// Transactions that changed rows since the server was made, with those that a fail-over took back.
    pub fn commits(&self) -> u64 {
        self.state().engine.log.commits()
    }

    /// Rows that those transactions changed.
    pub fn mutations(&self) -> u64 {
        self.state().engine.log.mutations()
    }

    /// Transactions that have not ended.
    pub fn open_transactions(&self) -> usize {
        self.state().engine.open_transactions()
    }

    /// Sessions that the server still has, by their `application_name`s.
    pub fn sessions(&self) -> Vec<String> {
        self.state().session_names()
    }
}

/// The key as DynamoDB's JSON.
pub(crate) fn typed_key(key: &Key, schema: &KeySchema) -> String {
    let mut out = String::from("{");
    for (at, (attribute, value)) in schema.attributes().zip(key.values()).enumerate() {
        if at > 0 {
            out.push(',');
        }
        push_quoted(&attribute.name, &mut out);
        out.push_str(":{");
        let (tag, text) = match value {
            KeyValue::S(text) => ("\"S\":", text.clone()),
            KeyValue::N(number) => ("\"N\":", number.to_string()),
            KeyValue::B(bytes) => ("\"B\":", BASE64.encode(bytes)),
        };
        out.push_str(tag);
        push_quoted(&text, &mut out);
        out.push('}');
    }
    out.push('}');
    out
}
