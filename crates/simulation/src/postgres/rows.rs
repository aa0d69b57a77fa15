//! What the model's tables hold: the schema `tailwater` and the mirror, row by row, as its DDL says.

use std::sync::Arc;

use tailwater_model::{Binding, FirstListing, Key};
use tailwater_sink_postgres::StoredOwner;

/// The name of a row: its table with its primary key. The order of rows is the order of their keys, so everything that
/// walks them goes the same way in every run.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RowKey {
    /// `pg_advisory_xact_lock` of this number: a lock without a row.
    AdvisoryLock(i64),
    /// `tailwater.lanes`.
    Lane {
        /// The pipeline's name.
        pipeline: String,
        /// The lane's number, from 0.
        lane: i32,
    },
    /// `tailwater.owners`, by the pipeline's name.
    Owner(String),
    /// `tailwater.targets`, by the pipeline's name.
    Target(String),
    /// `tailwater.streams`.
    Stream {
        /// The pipeline's name.
        pipeline: String,
        /// The stream.
        stream_arn: String,
    },
    /// `tailwater.shards`.
    Shard {
        /// The pipeline's name.
        pipeline: String,
        /// The stream.
        stream_arn: String,
        /// The shard's id.
        shard: String,
    },
    /// `tailwater.gaps`, by its unique index.
    Gap {
        /// The pipeline's name.
        pipeline: String,
        /// The stream.
        stream_arn: String,
        /// The shard; empty when the whole stream is meant.
        shard: String,
        /// How it was found.
        cause: String,
        /// The last position that is known to be complete.
        after: String,
        /// Everything that was created before was carried, in milliseconds since 1970; nothing when nobody knows.
        since_ms: Option<i64>,
    },
    /// `tailwater.dead_letters`, by its identity column.
    DeadLetter(u64),
    /// A row of a mirror table.
    Mirror {
        /// The table's qualified name, quoted.
        table: Arc<str>,
        /// The item's key.
        key: Key,
    },
}

/// One row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RowValue {
    /// Of `tailwater.lanes`.
    Lane(LaneRow),
    /// Of `tailwater.owners`.
    Owner(StoredOwner),
    /// Of `tailwater.targets`.
    Target(TargetRow),
    /// Of `tailwater.streams`.
    Stream(StreamRow),
    /// Of `tailwater.shards`.
    Shard(ShardRow),
    /// Of `tailwater.gaps`.
    Gap(GapRow),
    /// Of `tailwater.dead_letters`.
    DeadLetter(DeadLetterRow),
    /// Of a mirror table.
    Mirror(MirrorRow),
}

/// A row of `tailwater.lanes`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LaneRow {
    /// Rises with every session of the lane.
    pub epoch: i64,
    /// Random mark of the process that claimed the pipeline last.
    pub owner: String,
    /// The number of dead letters within a minute that would have been exceeded, and when, in milliseconds since the server
    /// was made.
    pub brake: Option<(u32, u64)>,
}

/// A row of `tailwater.targets`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TargetRow {
    /// What the progress was made for, with the oid of its table and the number of the binding.
    pub bound: Option<(Binding, u64, u64)>,
    /// What a refused start left.
    pub salt: Option<String>,
    /// A shard was stored since the binding.
    pub begun: bool,
    /// Something was written since the binding, or was there then.
    pub written: bool,
}

/// A row of `tailwater.streams`. Times are milliseconds since the server was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamRow {
    /// The DynamoDB table's name.
    pub table_name: String,
    /// The DynamoDB table's id.
    pub table_id: String,
    /// When the row was made.
    pub first_seen_at_ms: u64,
    /// The first complete listing.
    pub first_listing: Option<FirstListing>,
}

/// A row of `tailwater.shards`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShardRow {
    /// The parent shard, if it has one.
    pub parent: Option<String>,
    /// The lane that carries it.
    pub lane: i32,
    /// `start`, `after:<sequence number>` or `end`.
    pub position: String,
    /// Until when the shard was read, in milliseconds since 1970.
    pub read_until_ms: Option<i64>,
    /// When the row was last changed, in milliseconds since the server was made.
    pub updated_at_ms: u64,
    /// What was read and what became of it, as the columns say.
    pub counts: StoredCounts,
}

/// The five figures of a shard's row (I9).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StoredCounts {
    /// Records read.
    pub read: i64,
    /// Events in the table, or overtaken within their transaction.
    pub written: i64,
    /// Events that a rule dropped.
    pub filtered: i64,
    /// Records kept aside.
    pub dead_lettered: i64,
    /// Records older than the chosen start.
    pub suppressed: i64,
}

/// A row of `tailwater.gaps`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GapRow {
    /// When it was found by the service's clock, in milliseconds since 1970.
    pub until_ms: i64,
    /// One sentence for the operator.
    pub detail: String,
    /// Whether the pipeline stopped here.
    pub stopped: bool,
}

/// A row of `tailwater.dead_letters`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetterRow {
    /// The pipeline's name.
    pub pipeline: String,
    /// The stream.
    pub stream_arn: String,
    /// The shard it was read from.
    pub shard: String,
    /// Its place in the shard.
    pub sequence_number: String,
    /// DynamoDB's id of the record.
    pub event_id: String,
    /// Stable dotted code of the reason.
    pub code: String,
    /// The reason in words.
    pub error: String,
    /// The record as one line of JSON.
    pub record: String,
    /// When it was stored, in milliseconds since the server was made.
    pub stored_at_ms: u64,
}

/// A row of a mirror table beside its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MirrorRow {
    /// The item in plain JSON.
    pub document: Arc<str>,
    /// `insert`, `modify`, `remove` or `ttl`.
    pub op: Arc<str>,
    /// Sequence number of the last change.
    pub sequence_number: Arc<str>,
    /// DynamoDB's id of the last change.
    pub event_id: Arc<str>,
    /// When DynamoDB made the last change, in milliseconds since 1970.
    pub created_at_ms: i64,
    /// Whether the item is gone and the row only tells its last state.
    pub deleted: bool,
}
