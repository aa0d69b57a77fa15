//! The records of the progress topic: the key is a JSON array that begins with the kind, the value a JSON object.
//!
//! ```text
//! ["session"]                          {"v":1,"pipeline":"orders","claim":7,"owner":"9f…","epoch":12}
//! ["shard",ARN,SHARD]                  {"v":1,"parent":SHARD,"position":"after:4000…","read":12,"written":12,…}
//! ["stream",ARN]                       {"v":1,"table":"orders","table_id":"…","known":true}
//! ["topic",NAME]                       {"v":1,"partitions":12}
//! ["gap",ARN,SHARD,CAUSE,POSITION]     {"v":1,"detail":"…"}
//! ```

use serde::{Deserialize, Serialize};
use tailwater_model::{Counts, Gap, Position, ShardId, Trouble, TroubleKind};

/// The form of the values. Whoever reads a newer one stops, for it may mean what this program cannot know.
const VERSION: u32 = 1;

/// One fact of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ProgressRecord {
    /// Who owns the lane.
    Session(SessionMark),
    /// How far a shard was carried.
    Shard { stream_arn: String, shard: ShardId, stored: StoredShard },
    /// A stream was read. The time of the record is the time of the last contact with it.
    Stream { stream_arn: String, stored: StoredStream },
    /// The partitions that a topic of change events had.
    Topic { name: String, partitions: i32 },
    /// A gap (I8).
    Gap(GapKey, String),
}

/// One opening of a lane. The newest claim owns the lane; the epoch tells its openings apart.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub(crate) struct SessionMark {
    /// Whose progress this is.
    pub(crate) pipeline: String,
    /// Counts the take-overs of the pipeline.
    pub(crate) claim: u64,
    /// Random mark of the process that made the claim.
    pub(crate) owner: String,
    /// Counts the openings of the lane.
    pub(crate) epoch: u64,
}

/// What is stored for a shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StoredShard {
    pub(crate) parent: Option<ShardId>,
    pub(crate) position: Position,
    pub(crate) counts: Counts,
}

/// What is stored for a stream.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub(crate) struct StoredStream {
    pub(crate) table: String,
    pub(crate) table_id: String,
    /// All shards of a first complete listing were stored once.
    pub(crate) known: bool,
}

/// What makes a gap the same gap when it is found again.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct GapKey {
    stream_arn: String,
    shard: Option<ShardId>,
    cause: String,
    after: String,
}

impl GapKey {
    pub(crate) fn of(gap: &Gap, stream_arn: &str) -> Self {
        Self {
            stream_arn: stream_arn.to_owned(),
            shard: gap.shard.clone(),
            cause: gap.cause.as_str().to_owned(),
            after: gap.after.to_string(),
        }
    }
}

#[derive(Deserialize, Serialize)]
struct Versioned<T> {
    v: u32,
    #[serde(flatten)]
    value: T,
}

#[derive(Deserialize, Serialize)]
struct ShardValue {
    parent: Option<String>,
    position: String,
    read: u64,
    written: u64,
    filtered: u64,
    dead_lettered: u64,
    suppressed: u64,
}

#[derive(Deserialize, Serialize)]
struct TopicValue {
    partitions: i32,
}

#[derive(Deserialize, Serialize)]
struct GapValue {
    detail: String,
}

impl ProgressRecord {
    /// Key and value as they stand in the topic.
    pub(crate) fn encode(&self) -> (String, String) {
        match self {
            Self::Session(mark) => (key(&["session"]), value(mark)),
            Self::Shard { stream_arn, shard, stored } => {
                (key(&["shard", stream_arn, shard.as_str()]), value(&shard_value(stored)))
            }
            Self::Stream { stream_arn, stored } => (key(&["stream", stream_arn]), value(stored)),
            Self::Topic { name, partitions } => (key(&["topic", name]), value(&TopicValue { partitions: *partitions })),
            Self::Gap(gap, detail) => {
                let shard = gap.shard.as_ref().map_or("", |shard| shard.as_str());
                let key = key(&["gap", &gap.stream_arn, shard, &gap.cause, &gap.after]);
                (key, value(&GapValue { detail: detail.clone() }))
            }
        }
    }

    /// Reads what [`ProgressRecord::encode`] wrote. The trouble says only where, never what: the topic may be any.
    pub(crate) fn decode(key: &[u8], value: &[u8]) -> Result<Self, Malformed> {
        let parts: Vec<String> = serde_json::from_slice(key).map_err(|_| Malformed)?;
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        Ok(match parts.as_slice() {
            ["session"] => Self::Session(read(value)?),
            ["shard", stream_arn, shard] => {
                let stored = stored_shard(read(value)?)?;
                Self::Shard { stream_arn: (*stream_arn).to_owned(), shard: ShardId::new(shard), stored }
            }
            ["stream", stream_arn] => Self::Stream { stream_arn: (*stream_arn).to_owned(), stored: read(value)? },
            ["topic", name] => {
                let TopicValue { partitions } = read(value)?;
                Self::Topic { name: (*name).to_owned(), partitions }
            }
            ["gap", stream_arn, shard, cause, after] => {
                let key = GapKey {
                    stream_arn: (*stream_arn).to_owned(),
                    shard: (!shard.is_empty()).then(|| ShardId::new(shard)),
                    cause: (*cause).to_owned(),
                    after: (*after).to_owned(),
                };
                Self::Gap(key, read::<GapValue>(value)?.detail)
            }
            _ => return Err(Malformed),
        })
    }
}

/// A record that is none of ours, or of a newer version.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Malformed;

impl Malformed {
    /// Somebody else writes to the topic, or a newer Tailwater did: guessing would be silent loss (I8).
    pub(crate) fn trouble(&self, topic: &str, partition: i32, offset: i64) -> Trouble {
        Trouble::new(
            TroubleKind::DataAtRisk,
            "sink.kafka.progress_malformed",
            format!("the record at offset {offset} of partition {partition} of the progress topic {topic} is not Tailwater's"),
        )
        .advise("give the pipeline a progress_topic of its own that nobody else writes to, or use the Tailwater that wrote it")
    }
}

fn key(parts: &[&str]) -> String {
    serde_json::Value::from(parts).to_string()
}

fn value<T: Serialize>(value: &T) -> String {
    // Structures of strings and numbers have no way to fail.
    serde_json::to_string(&Versioned { v: VERSION, value }).unwrap_or_default()
}

fn read<T: for<'de> Deserialize<'de>>(bytes: &[u8]) -> Result<T, Malformed> {
    let versioned: Versioned<T> = serde_json::from_slice(bytes).map_err(|_| Malformed)?;
    if versioned.v == VERSION { Ok(versioned.value) } else { Err(Malformed) }
}

fn shard_value(stored: &StoredShard) -> ShardValue {
    let Counts { read, written, filtered, dead_lettered, suppressed } = stored.counts;
    ShardValue {
        parent: stored.parent.as_ref().map(ToString::to_string),
        position: stored.position.to_string(),
        read,
        written,
        filtered,
        dead_lettered,
        suppressed,
    }
}

fn stored_shard(value: ShardValue) -> Result<StoredShard, Malformed> {
    let ShardValue { parent, position, read, written, filtered, dead_lettered, suppressed } = value;
    Ok(StoredShard {
        parent: parent.as_deref().map(ShardId::new),
        position: Position::parse(&position).map_err(|_| Malformed)?,
        counts: Counts { read, written, filtered, dead_lettered, suppressed },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use tailwater_model::GapCause;

    fn every_kind() -> Vec<ProgressRecord> {
        let gap = |shard: Option<&str>| Gap {
            shard: shard.map(ShardId::new),
            cause: GapCause::Trimmed,
            after: Position::Start,
            detail: "trimmed \"before\" it was read".into(),
            stop: true,
        };
        let counts = Counts { read: 5, written: 2, filtered: 1, dead_lettered: 1, suppressed: 1 };
        let stored = StoredShard { parent: Some(ShardId::new("shardId-1")), position: Position::End, counts };
        vec![
            ProgressRecord::Session(SessionMark { pipeline: "p".into(), claim: 3, owner: "9f".into(), epoch: 17 }),
            ProgressRecord::Shard { stream_arn: "arn:a".into(), shard: ShardId::new("shardId-2"), stored },
            ProgressRecord::Stream {
                stream_arn: "arn:a".into(),
                stored: StoredStream { table: "orders".into(), table_id: "id".into(), known: true },
            },
            ProgressRecord::Topic { name: "orders".into(), partitions: 12 },
            ProgressRecord::Gap(GapKey::of(&gap(Some("shardId-2")), "arn:a"), "detail".into()),
            ProgressRecord::Gap(GapKey::of(&gap(None), "arn:a"), "detail".into()),
        ]
    }

    #[test]
    fn every_kind_comes_back() {
        for record in every_kind() {
            let (key, value) = record.encode();
            assert_eq!(ProgressRecord::decode(key.as_bytes(), value.as_bytes()), Ok(record));
        }
    }

    #[test]
    fn keys_and_values_are_the_documented_ones() {
        let encoded: Vec<_> = every_kind().iter().map(ProgressRecord::encode).collect();
        assert_eq!(encoded[0].0, r#"["session"]"#);
        assert_eq!(encoded[0].1, r#"{"v":1,"pipeline":"p","claim":3,"owner":"9f","epoch":17}"#);
        assert_eq!(encoded[1].0, r#"["shard","arn:a","shardId-2"]"#);
        assert_eq!(
            encoded[1].1,
            r#"{"v":1,"parent":"shardId-1","position":"end","read":5,"written":2,"filtered":1,"dead_lettered":1,"suppressed":1}"#
        );
        assert_eq!(encoded[3], (r#"["topic","orders"]"#.into(), r#"{"v":1,"partitions":12}"#.into()));
        assert_eq!(encoded[5].0, r#"["gap","arn:a","","trimmed","start"]"#);
    }

    #[test]
    fn what_is_not_ours_is_refused() {
        for (key, value) in [
            ("", "{}"),
            ("order-17", r#"{"v":1}"#),
            (r#"["session"]"#, r#"{"v":2,"pipeline":"p","claim":3,"owner":"9f","epoch":17}"#),
            (r#"["session"]"#, "null"),
            (r#"["lease","a"]"#, r#"{"v":1}"#),
            (
                r#"["shard","a","b"]"#,
                r#"{"v":1,"parent":null,"position":"middle","read":0,"written":0,"filtered":0,"dead_lettered":0,"suppressed":0}"#,
            ),
        ] {
            assert_eq!(ProgressRecord::decode(key.as_bytes(), value.as_bytes()), Err(Malformed), "{key} {value}");
        }
    }
}
