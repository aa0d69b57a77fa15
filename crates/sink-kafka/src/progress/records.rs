//! The records of the progress topic: the key is a JSON array that begins with the kind, the value a JSON object.
//!
//! ```text
//! ["session"]                              {"v":1,"pipeline":"orders","claim":7,"owner":"9f…","epoch":12,"holds":{"facts":5,"lanes":4}}
//! ["shard",ARN,SHARD]                      {"v":1,"parent":SHARD,"position":"after:4000…","read_until_ms":17…,"read":12,…}
//! ["stream",ARN]                           {"v":1,"table":"orders","table_id":"…","known":true,"known_since_ms":17…,"follows_another":true}
//! ["forgotten"]                            {"v":1,"read":12,"written":12,…}
//! ["topic",NAME]                           {"v":1,"partitions":12}
//! ["target"]                               {"v":1,"topic":NAME,"source":"…","ends":[41,…],"written":7}
//! ["salt"]                                 {"v":1,"salt":"9f…"}
//! ["gap",ARN,SHARD,CAUSE,POSITION,SINCE]   {"v":1,"detail":"…","until_ms":17…}
//! ["dead_letters"]                         {"v":1,"by_second":[[1790000000,3],…]}
//! ["brake"]                                {"v":1,"per_minute_max":100}
//! ["barrier",MARK]                         (no value)
//! ["life",CLAIM,OWNER]                     (no value)
//! ["handed_over",CLAIM,OWNER]              (no value)
//! ```
//!
//! Moments are of DynamoDB's clock, in milliseconds since 1970. Members and parts that are not known are left out, as in
//! records from before they were there. A shard or a stream without a value is gone, and compaction removes what was said of
//! it before. A salt is left by a refused start, outside of transactions, and without a value it is used up. The seconds of dead letters are of the brokers' clock. A brake without a value is lifted. A barrier says
//! nothing: who has read the one that it wrote has read all that was written before. Life and handing over are signs of an owner
//! (`ownership.rs`), outside of any transaction, and say nothing of progress.
//!
//! One rule tells what versions do that do not know a record. With a value it is something that they must not overlook, and they
//! stop, as they do at the newer schema of a database. Without one it says nothing to them, and they pass it over.

use serde::{Deserialize, Serialize};
use tailwater_model::{Counts, Gap, Position, ServiceTime, ShardId, Trouble, TroubleKind};

use super::dead_letters::RecentDeadLetters;
use super::session::SessionMark;
use super::target::StoredTarget;
use crate::cluster::StoredRecord;

/// The form of the values. Whoever reads a newer one stops, for it may mean what this program cannot know.
const VERSION: u32 = 1;

/// One fact of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ProgressRecord {
    /// Who owns the lane.
    Session(SessionMark),
    /// How far a shard was carried.
    Shard { stream_arn: String, shard: ShardId, stored: StoredShard },
    /// A shard is not stored any more.
    ShardGone { stream_arn: String, shard: ShardId },
    /// What is known of a stream as a whole.
    Stream { stream_arn: String, stored: StoredStream },
    /// A stream is not stored any more.
    StreamGone { stream_arn: String },
    /// What all shards accounted for that are not stored any more (I9).
    Forgotten(Counts),
    /// The partitions that a topic of change events had.
    Topic { name: String, partitions: i32 },
    /// What the progress of all lanes was made for (I11). In the partition of the first lane.
    Target(StoredTarget),
    /// What the token of a refused start is made of.
    Salt(String),
    /// It is used up.
    SaltGone,
    /// A gap (I8).
    Gap(GapKey, StoredGap),
    /// The lane's dead letters of the last minute.
    DeadLetters(RecentDeadLetters),
    /// The lane's dead letters would have been more than so many within a minute.
    Brake { per_minute_max: u32 },
    /// A person has lifted the brake.
    BrakeGone,
    /// Where somebody stood when it wrote this mark, which nobody else writes.
    Barrier(String),
    /// The owner with this claim lives.
    Life(ClaimMark),
    /// It does not own the pipeline any more.
    HandedOver(ClaimMark),
}

/// A claim, and whose it is: of two processes that claimed by the same number one has never got the pipeline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ClaimMark {
    /// Counts the take-overs of the pipeline.
    pub(crate) number: u64,
    /// Random mark of the process.
    pub(crate) owner: String,
}

impl ClaimMark {
    fn encode(&self, kind: &str) -> String {
        key(&[kind, &self.number.to_string(), &self.owner])
    }

    fn decode(number: &str, owner: &str) -> Option<Self> {
        Some(Self { number: number.parse().ok()?, owner: owner.to_owned() })
    }
}

/// What is stored for a shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StoredShard {
    pub(crate) parent: Option<ShardId>,
    pub(crate) position: Position,
    pub(crate) read_until: Option<ServiceTime>,
    pub(crate) counts: Counts,
}

/// What is stored for a stream.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub(crate) struct StoredStream {
    pub(crate) table: String,
    pub(crate) table_id: String,
    /// All shards of the first complete listing are stored.
    pub(crate) known: bool,
    /// When that listing began; stored before anything of it. Records from before this was kept have none, and were written
    /// at each contact with the stream.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) known_since_ms: Option<i64>,
    /// Another stream of the table was read before it: everything in it was promised.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) follows_another: bool,
}

/// What makes a gap the same gap when it is found again.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct GapKey {
    stream_arn: String,
    shard: Option<ShardId>,
    cause: String,
    after: String,
    since_ms: Option<i64>,
}

/// What is stored for a gap.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub(crate) struct StoredGap {
    detail: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    until_ms: Option<i64>,
}

impl StoredGap {
    pub(crate) fn of(gap: &Gap) -> Self {
        Self { detail: gap.detail.clone(), until_ms: Some(gap.until.ms()) }
    }

    /// With the later one of the two moments until which they tell of losses.
    pub(crate) fn with(self, stored: Option<&Self>) -> Self {
        Self { until_ms: self.until_ms.max(stored.and_then(|stored| stored.until_ms)), ..self }
    }

    /// Until when it tells of losses; nothing in records from before this was kept.
    pub(crate) fn until(&self) -> Option<ServiceTime> {
        self.until_ms.map(ServiceTime::from_ms)
    }
}

impl GapKey {
    pub(crate) fn of(gap: &Gap, stream_arn: &str) -> Self {
        Self {
            stream_arn: stream_arn.to_owned(),
            shard: gap.shard.clone(),
            cause: gap.cause.as_str().to_owned(),
            after: gap.after.to_string(),
            since_ms: gap.since.map(ServiceTime::ms),
        }
    }

    fn encode(&self) -> String {
        let shard = self.shard.as_ref().map_or("", |shard| shard.as_str());
        let since = self.since_ms.map(|ms| ms.to_string());
        let parts = ["gap", &self.stream_arn, shard, &self.cause, &self.after];
        let parts: Vec<&str> = parts.into_iter().chain(since.as_deref()).collect();
        key(&parts)
    }

    /// The parts after the kind.
    fn decode(parts: &[&str]) -> Result<Self, Malformed> {
        let [stream_arn, shard, cause, after, since @ ..] = parts else { return Err(Malformed) };
        let since_ms = match since {
            [] => None,
            [since] => Some(since.parse().map_err(|_| Malformed)?),
            _ => return Err(Malformed),
        };
        Ok(Self {
            stream_arn: (*stream_arn).to_owned(),
            shard: (!shard.is_empty()).then(|| ShardId::new(shard)),
            cause: (*cause).to_owned(),
            after: (*after).to_owned(),
            since_ms,
        })
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
    #[serde(default, skip_serializing_if = "Option::is_none")]
    read_until_ms: Option<i64>,
    #[serde(flatten)]
    counts: CountsValue,
}

#[derive(Deserialize, Serialize)]
struct CountsValue {
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
struct SaltValue {
    salt: String,
}

#[derive(Deserialize, Serialize)]
struct BrakeValue {
    per_minute_max: u32,
}

impl ProgressRecord {
    /// Key and value as they stand in the topic. What is gone has no value.
    pub(crate) fn encode(&self) -> (String, Option<String>) {
        match self {
            Self::Session(mark) => (key(&["session"]), Some(value(mark))),
            Self::Shard { stream_arn, shard, stored } => {
                (key(&["shard", stream_arn, shard.as_str()]), Some(value(&shard_value(stored))))
            }
            Self::ShardGone { stream_arn, shard } => (key(&["shard", stream_arn, shard.as_str()]), None),
            Self::Stream { stream_arn, stored } => (key(&["stream", stream_arn]), Some(value(stored))),
            Self::StreamGone { stream_arn } => (key(&["stream", stream_arn]), None),
            Self::Forgotten(counts) => (key(&["forgotten"]), Some(value(&counts_value(*counts)))),
            Self::Topic { name, partitions } => {
                (key(&["topic", name]), Some(value(&TopicValue { partitions: *partitions })))
            }
            Self::Target(stored) => (key(&["target"]), Some(value(stored))),
            Self::Salt(salt) => (key(&["salt"]), Some(value(&SaltValue { salt: salt.clone() }))),
            Self::SaltGone => (key(&["salt"]), None),
            Self::Gap(gap, stored) => (gap.encode(), Some(value(stored))),
            Self::DeadLetters(recent) => (key(&["dead_letters"]), Some(value(recent))),
            Self::Brake { per_minute_max } => {
                (key(&["brake"]), Some(value(&BrakeValue { per_minute_max: *per_minute_max })))
            }
            Self::BrakeGone => (key(&["brake"]), None),
            Self::Barrier(mark) => (key(&["barrier", mark]), None),
            Self::Life(claim) => (claim.encode("life"), None),
            Self::HandedOver(claim) => (claim.encode("handed_over"), None),
        }
    }

    /// What a record of the topic says; nothing where it has no value and its key is none of ours.
    pub(crate) fn of(record: &StoredRecord<'_>) -> Option<Result<Self, Malformed>> {
        match record.value {
            Some(value) => Some(Self::decode(record.key, value)),
            None => Self::decode_gone(record.key).map(Ok),
        }
    }

    /// Reads what [`ProgressRecord::encode`] wrote. The trouble says only where, never what: the topic may be any.
    fn decode(key: &[u8], value: &[u8]) -> Result<Self, Malformed> {
        let parts: Vec<String> = serde_json::from_slice(key).map_err(|_| Malformed)?;
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        Ok(match parts.as_slice() {
            ["session"] => Self::Session(read(value)?),
            ["shard", stream_arn, shard] => {
                let stored = stored_shard(read(value)?)?;
                Self::Shard { stream_arn: (*stream_arn).to_owned(), shard: ShardId::new(shard), stored }
            }
            ["stream", stream_arn] => Self::Stream { stream_arn: (*stream_arn).to_owned(), stored: read(value)? },
            ["forgotten"] => Self::Forgotten(counts(read(value)?)),
            ["topic", name] => {
                let TopicValue { partitions } = read(value)?;
                Self::Topic { name: (*name).to_owned(), partitions }
            }
            ["target"] => Self::Target(read(value)?),
            ["salt"] => {
                let SaltValue { salt } = read(value)?;
                Self::Salt(salt)
            }
            ["gap", gap @ ..] => Self::Gap(GapKey::decode(gap)?, read(value)?),
            ["dead_letters"] => Self::DeadLetters(read(value)?),
            ["brake"] => {
                let BrakeValue { per_minute_max } = read(value)?;
                Self::Brake { per_minute_max }
            }
            _ => return Err(Malformed),
        })
    }

    /// What a record without a value says: nothing when the key is of a kind that is never taken back, as somebody who
    /// tidied up may have written it.
    fn decode_gone(key: &[u8]) -> Option<Self> {
        let parts: Vec<String> = serde_json::from_slice(key).ok()?;
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        match parts.as_slice() {
            ["shard", stream_arn, shard] => {
                Some(Self::ShardGone { stream_arn: (*stream_arn).to_owned(), shard: ShardId::new(shard) })
            }
            ["stream", stream_arn] => Some(Self::StreamGone { stream_arn: (*stream_arn).to_owned() }),
            ["brake"] => Some(Self::BrakeGone),
            ["salt"] => Some(Self::SaltGone),
            ["barrier", mark] => Some(Self::Barrier((*mark).to_owned())),
            ["life", number, owner] => ClaimMark::decode(number, owner).map(Self::Life),
            ["handed_over", number, owner] => ClaimMark::decode(number, owner).map(Self::HandedOver),
            _ => None,
        }
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
            "sink.progress_unreadable",
            format!("the record at offset {offset} of partition {partition} of the progress topic {topic} is not Tailwater's"),
        )
        .advise("give the pipeline a progress_topic of its own that nobody else writes to, or use the Tailwater that wrote it")
    }
}

fn key(parts: &[&str]) -> String {
    // Strings have no way to fail.
    serde_json::to_string(parts).unwrap_or_default()
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
    ShardValue {
        parent: stored.parent.as_ref().map(ToString::to_string),
        position: stored.position.to_string(),
        read_until_ms: stored.read_until.map(ServiceTime::ms),
        counts: counts_value(stored.counts),
    }
}

fn stored_shard(value: ShardValue) -> Result<StoredShard, Malformed> {
    Ok(StoredShard {
        parent: value.parent.as_deref().map(ShardId::new),
        position: Position::parse(&value.position).map_err(|_| Malformed)?,
        read_until: value.read_until_ms.map(ServiceTime::from_ms),
        counts: counts(value.counts),
    })
}

fn counts_value(counts: Counts) -> CountsValue {
    let Counts { read, written, filtered, dead_lettered, suppressed } = counts;
    CountsValue { read, written, filtered, dead_lettered, suppressed }
}

fn counts(value: CountsValue) -> Counts {
    let CountsValue { read, written, filtered, dead_lettered, suppressed } = value;
    Counts { read, written, filtered, dead_lettered, suppressed }
}

#[cfg(test)]
mod tests;
