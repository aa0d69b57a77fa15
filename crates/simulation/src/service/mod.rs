//! DynamoDB Streams as pure state: tables, streams, shard lineages, iterators, and the service's unkind sides.
//!
//! Every call brings the time (milliseconds since 1970) and finds what has become due by then: rotations, splits,
//! trimming, changes of a stream's status. All chance comes from one seed, so the same calls give the same answers.
//!
//! Deliberately absent: I/O, clocks, items (a table's writes come as changes), and the 400-KB limit of an item.

mod arn;
mod error;
mod iterator;
mod lifecycle;
mod listing;
mod manners;
mod reading;
mod record;
mod sequence;
mod shard;
mod stream;
#[cfg(test)]
mod tests;
mod truth;

use std::collections::{BTreeMap, VecDeque};

use tailwater_model::{SequenceNumber, ViewType};

pub use error::ServiceError;
pub(crate) use error::wire_type;
pub use listing::{DescribeStream, ListStreams, ListedStream, ShardAnswer, StreamAnswer, StreamList};
pub use manners::{Manners, Probability};
pub use reading::{EMPTY_PAGES_MAX, GetShardIterator, IteratorType};
pub use record::ItemChange;
pub use stream::{StreamState, StreamStatus};
pub use truth::{TrueRecord, TrueShard, Truth};

use record::{Record, Written};
use stream::{Stream, StreamNames};

/// The window in which calls are counted against a rate, in milliseconds.
const RATE_WINDOW_MS: i64 = 1000;

/// One account in one region.
#[derive(Debug)]
pub struct Service {
    region: String,
    rng: fastrand::Rng,
    manners: Manners,
    tables: BTreeMap<String, Table>,
    /// By number, so that an iterator can name one shortly. The stored order is that of their making.
    streams: Vec<Stream>,
    /// Nothing is due before this time.
    next_due_ms: i64,
    describe_calls: VecDeque<i64>,
    list_calls: VecDeque<i64>,
    readers: u64,
    /// Iterators given out until then are no good any more, whatever their age.
    iterators_end_ms: i64,
    hits: BTreeMap<&'static str, u64>,
}

/// A table as far as its streams need to know it.
#[derive(Debug)]
struct Table {
    /// Partition key first.
    key_attributes: Vec<String>,
    /// The newest stream, on or off.
    stream: Option<usize>,
}

impl Service {
    /// An account without tables. The same seed and the same calls give the same answers.
    pub fn new(seed: u64, region: &str, manners: Manners) -> Self {
        Self {
            region: region.to_owned(),
            rng: fastrand::Rng::with_seed(seed),
            manners,
            tables: BTreeMap::new(),
            streams: Vec::new(),
            next_due_ms: i64::MIN,
            describe_calls: VecDeque::new(),
            list_calls: VecDeque::new(),
            readers: 0,
            iterators_end_ms: i64::MIN,
            hits: BTreeMap::new(),
        }
    }

    /// How the service behaves. A change counts from the next call on; what was decided before (when a shard closes, when
    /// a record can be read) stays.
    pub fn manners_mut(&mut self) -> &mut Manners {
        // Times may have become shorter.
        self.next_due_ms = i64::MIN;
        &mut self.manners
    }

    /// How often each unkind side really showed itself, by its name in [`Manners`]; calls beyond a rate, too.
    pub fn hits(&self) -> &BTreeMap<&'static str, u64> {
        &self.hits
    }

    /// Makes a table, and gives its id. The first of `key_attributes` is the partition key.
    pub fn create_table(&mut self, now_ms: i64, table: &str, key_attributes: &[&str]) -> String {
        self.advance(now_ms);
        let key_attributes = key_attributes.iter().map(|&name| name.to_owned()).collect();
        self.tables.insert(table.to_owned(), Table { key_attributes, stream: None });
        let (high, low) = (self.rng.u64(..), self.rng.u64(..));
        format!(
            "{:08x}-{:04x}-4{:03x}-a{:03x}-{:012x}",
            high >> 32,
            high >> 16 & 0xffff,
            high & 0xfff,
            low >> 52,
            low & 0xffff_ffff_ffff
        )
    }

    /// Deletes a table. Its stream is turned off and stays readable for 24 hours (DynamoDB API reference, `DeleteTable`).
    ///
    /// # Errors
    /// `ResourceNotFoundException` when there is no such table.
    pub fn delete_table(&mut self, now_ms: i64, table: &str) -> Result<(), ServiceError> {
        self.advance(now_ms);
        let Some(Table { stream, .. }) = self.tables.remove(table) else { return Err(error::table_not_found(table)) };
        if let Some(number) = stream {
            self.close_stream(number, now_ms);
        }
        Ok(())
    }

    /// Turns the stream of a table on: always a new one, with another ARN.
    ///
    /// # Errors
    /// `ResourceNotFoundException` without the table; `ValidationException` when its stream is on.
    pub fn enable_stream(&mut self, now_ms: i64, table: &str, view: ViewType) -> Result<String, ServiceError> {
        self.advance(now_ms);
        let Table { key_attributes, stream } = self.tables.get(table).ok_or_else(|| error::table_not_found(table))?;
        let key_attributes = key_attributes.clone();
        if stream.and_then(|number| self.streams.get(number)).is_some_and(|stream| stream.disabled_at_ms.is_none()) {
            return Err(error::validation("Table already has an enabled stream"));
        }
        let number = self.streams.len();
        let names = StreamNames { arn: self.arn(table, now_ms), table: table.to_owned(), key_attributes };
        let stream = Stream::new(now_ms, names, view, &self.manners, &mut self.rng);
        let arn = stream.names.arn.clone();
        self.streams.push(stream);
        if let Some(table) = self.tables.get_mut(table) {
            table.stream = Some(number);
        }
        self.next_due_ms = i64::MIN;
        Ok(arn)
    }

    /// Turns the stream of a table off: its open shards close, and it stays readable for 24 hours.
    ///
    /// # Errors
    /// `ResourceNotFoundException` without the table; `ValidationException` when its stream is off.
    pub fn disable_stream(&mut self, now_ms: i64, table: &str) -> Result<(), ServiceError> {
        self.advance(now_ms);
        let number = self.tables.get(table).ok_or_else(|| error::table_not_found(table))?.stream;
        let number = number.filter(|number| self.streams.get(*number).is_some_and(|one| one.disabled_at_ms.is_none()));
        let number = number.ok_or_else(|| error::validation("Table is already disabled for streams"))?;
        self.close_stream(number, now_ms);
        Ok(())
    }

    /// The newest stream of a table, on or off; nothing when it never had one.
    pub fn latest_stream(&self, now_ms: i64, table: &str) -> Option<StreamState> {
        self.streams.get(self.tables.get(table)?.stream?).map(|stream| stream.state(now_ms))
    }

    /// Puts a change of an item into the table's stream. Nothing comes of it when the stream is off, when there is no such
    /// table, or when nothing changed: such a write makes no record (observed on AWS).
    pub fn write(&mut self, now_ms: i64, table: &str, change: ItemChange) -> Option<SequenceNumber> {
        self.advance(now_ms);
        let Table { key_attributes, stream } = self.tables.get(table)?;
        let stream = self.streams.get_mut((*stream)?).filter(|stream| stream.disabled_at_ms.is_none())?;
        if change.old == change.new {
            return None;
        }
        let place = record::place_of(&change.key, key_attributes.first().map_or("", String::as_str));
        let view = stream.view;
        let shard = stream.open_shard(place)?;
        let delay_ms = self.manners.visible_delay(&mut self.rng, &mut self.hits);
        let event_id = format!("{:016x}{:016x}", self.rng.u64(..), self.rng.u64(..));
        let written =
            Written { now_ms, visible_at_ms: now_ms + delay_ms, sequence: shard.next_sequence(&mut self.rng) };
        let record = Record::new(written, event_id, change, view, &self.region);
        let sequence = record.sequence.to_number();
        self.next_due_ms = self.next_due_ms.min(shard.push(record));
        sequence
    }
}
