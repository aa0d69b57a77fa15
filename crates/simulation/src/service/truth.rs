//! What really happened, for oracles: every shard and every record there ever was.

use super::Service;
use super::record::{ItemChange, Record};

/// Everything that was ever written to the streams of an account.
#[derive(Clone, Copy, Debug)]
pub struct Truth<'a>(&'a Service);

/// A shard as it really is.
#[derive(Clone, Copy, Debug)]
pub struct TrueShard<'a> {
    /// Its stream.
    pub stream_arn: &'a str,
    /// Its id.
    pub id: &'a str,
    /// Its parent's id.
    pub parent: Option<&'a str>,
    /// When it was made, in milliseconds since 1970.
    pub created_at_ms: i64,
    /// When it closed.
    pub closed_at_ms: Option<i64>,
    /// How many of its records were trimmed.
    pub trimmed: usize,
    /// It can no longer be found.
    pub gone: bool,
    written: &'a [Record],
}

/// A record as it really is.
#[derive(Clone, Debug)]
pub struct TrueRecord<'a> {
    /// The id of its shard.
    pub shard: &'a str,
    /// Its sequence number.
    pub sequence_number: String,
    /// Its event id.
    pub event_id: &'a str,
    /// When it was written, in milliseconds since 1970.
    pub created_at_ms: i64,
    /// From when on it can be read.
    pub visible_at_ms: i64,
    /// What happened to the item.
    pub change: &'a ItemChange,
    /// It can no longer be read.
    pub trimmed: bool,
}

impl Service {
    /// What really happened.
    pub fn truth(&self) -> Truth<'_> {
        Truth(self)
    }
}

impl<'a> Truth<'a> {
    /// All shards, in the order of their making within each stream.
    pub fn shards(self) -> impl Iterator<Item = TrueShard<'a>> {
        self.0.streams.iter().flat_map(|stream| {
            stream.shards.iter().map(|shard| TrueShard {
                stream_arn: &stream.names.arn,
                id: &shard.id,
                parent: shard.parent.and_then(|at| stream.shards.get(at)).map(|parent| parent.id.as_str()),
                created_at_ms: shard.created_at_ms,
                closed_at_ms: shard.closed_at_ms,
                trimmed: shard.trimmed,
                gone: shard.gone,
                written: &shard.records,
            })
        })
    }

    /// The streams of a table, oldest first, and whether each can still be read.
    pub fn streams(self, table: &str, now_ms: i64) -> impl Iterator<Item = (&'a str, bool)> {
        let of_table = self.0.streams.iter().filter(move |stream| stream.names.table == table);
        of_table.map(move |stream| (stream.names.arn.as_str(), !stream.is_gone(now_ms)))
    }

    /// Whether this stream is on.
    pub fn is_on(self, stream_arn: &str) -> bool {
        self.0.streams.iter().any(|stream| stream.names.arn == stream_arn && stream.disabled_at_ms.is_none())
    }

    /// All records of a stream, shard by shard, in order within each. The records of one item are in the order of its
    /// changes, because children come after their parents.
    pub fn records(self, stream_arn: &'a str) -> impl Iterator<Item = TrueRecord<'a>> {
        self.shards().filter(move |shard| shard.stream_arn == stream_arn).flat_map(|shard| shard.records_from(0))
    }
}

impl<'a> TrueShard<'a> {
    /// How many of its records can no longer be read: those at its beginning, or all.
    pub fn unreadable(&self) -> usize {
        if self.gone { self.written.len() } else { self.trimmed }
    }

    /// Its records, without this many of the oldest.
    pub fn records_from(self, oldest: usize) -> impl Iterator<Item = TrueRecord<'a>> {
        self.written.iter().enumerate().skip(oldest).map(move |(at, record)| TrueRecord {
            shard: self.id,
            sequence_number: record.sequence.text(),
            event_id: &record.event_id,
            created_at_ms: record.created_at_ms,
            visible_at_ms: record.visible_at_ms,
            change: &record.change,
            trimmed: at < self.unreadable(),
        })
    }
}
