//! The narrow trait between the reader and the service: four calls, our own types, every answer an error by meaning.

use std::collections::BTreeMap;
use std::future::Future;

use tailwater_model::{ChangeEvent, DeadLetter, SequenceNumber, ServiceTime, ShardId};
use thiserror::Error;

/// DynamoDB Streams as the reader sees it. Implementations retry nothing for long: the reader owns the waiting.
pub trait StreamApi: Clone + Send + Sync + 'static {
    /// One page of the stream's shards (`DescribeStream`), from the one after `after`.
    fn list_shards(
        &self,
        stream_arn: &str,
        after: Option<&ShardId>,
    ) -> impl Future<Output = Result<Dated<ShardListing>, ApiError>> + Send;

    /// The children of one closed shard (`DescribeStream` with `ShardFilter`). The answer is a hint: some services
    /// ignore the filter, so the caller checks each shard's parent.
    fn list_children(
        &self,
        stream_arn: &str,
        parent: &ShardId,
    ) -> impl Future<Output = Result<Dated<ShardListing>, ApiError>> + Send;

    /// A place to read from (`GetShardIterator`). It expires 15 minutes after it was issued.
    fn shard_iterator(
        &self,
        stream_arn: &str,
        shard: &ShardId,
        start: &IteratorStart,
    ) -> impl Future<Output = Result<ShardIterator, ApiError>> + Send;

    /// One page of records (`GetRecords`): at most 1 000 records or 1 MB of item data, perhaps none.
    fn get_records(
        &self,
        shard: &ShardId,
        iterator: &ShardIterator,
    ) -> impl Future<Output = Result<Dated<RecordPage>, ApiError>> + Send;
}

/// One page of a listing.
#[derive(Clone, Debug, Default)]
pub struct ShardListing {
    /// The shards, in no order that means anything.
    pub shards: Vec<ListedShard>,
    /// Where the next page begins, when there is one.
    pub last_evaluated: Option<ShardId>,
    /// The stream is turned off: no shard will be added, those listed stay readable for 24 hours.
    pub disabled: bool,
    /// When the stream was turned on. Nothing when the service does not say.
    pub created_at: Option<ServiceTime>,
}

/// An answer with the service's time.
#[derive(Clone, Debug)]
pub struct Dated<T> {
    /// The answer.
    pub answer: T,
    /// The `Date` of the answer, in whole seconds: it was answered within the second that begins here.
    pub date: ServiceTime,
}

/// When a call was asked and answered, by the service's clock, as far as its answer tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct When {
    /// Not later than it was asked.
    pub asked: ServiceTime,
    /// Not earlier than it was answered.
    pub answered: ServiceTime,
}

/// A shard as listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedShard {
    /// The shard.
    pub shard: ShardId,
    /// Its parent, which may already be trimmed from the listing.
    pub parent: Option<ShardId>,
    /// It has an ending sequence number: no record will be added. Some services name one of shards that are open.
    pub closed: bool,
}

/// Where a shard iterator points.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IteratorStart {
    /// The oldest record that is still there.
    TrimHorizon,
    /// After the newest record. The service may answer slightly older ones.
    Latest,
    /// After this record.
    After(SequenceNumber),
}

/// An opaque place in a shard, at most 2 048 characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShardIterator(pub String);

/// One page of records.
#[derive(Debug, Default)]
pub struct RecordPage {
    /// The records in stream order.
    pub records: Vec<Decoded>,
    /// Where to read next. Nothing when a closed shard has been read to its end, records or not.
    pub next: Option<ShardIterator>,
    /// Size of the page as it came over the wire, in bytes.
    pub bytes: usize,
    /// Memory that the records hold, in bytes: the text that they are slices of (the page, or copies where it was not in
    /// compact form), their own size, and what stands in dead letters.
    pub memory_bytes: usize,
    /// Event names that this version does not know, with the number of their records: each was settled by its images
    /// or is among the dead letters. Empty (and free of cost) on ordinary pages.
    pub unknown_event_names: BTreeMap<String, u64>,
}

/// A record after decoding.
#[derive(Debug)]
pub enum Decoded {
    /// A change event.
    Event(ChangeEvent),
    /// A record that cannot become one. It is kept whole.
    DeadLetter(DeadLetter),
}

impl Decoded {
    /// Its place in the shard.
    pub fn sequence_number(&self) -> &SequenceNumber {
        match self {
            Self::Event(event) => &event.source.sequence_number,
            Self::DeadLetter(letter) => &letter.sequence_number,
        }
    }
}

/// What an answer of the service means to the reader.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{kind:?}: {message}")]
pub struct ApiError {
    /// The meaning.
    pub kind: ApiErrorKind,
    /// The service's words, bounded in length and without credentials.
    pub message: String,
}

/// Meanings of errors. `dynamodb-streams` answers are sorted into these in one place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ApiErrorKind {
    /// Too many calls, or more than two readers on a shard: wait longer.
    Throttled,
    /// Anything that may pass: server errors, broken connections, unknown errors.
    Transient,
    /// The answer came whole and is none that can be understood. Damaged on its way it may pass; the same again and again is
    /// what is sent.
    Malformed,
    /// The iterator is older than 15 minutes, or the service no longer takes it: get a new one.
    IteratorExpired,
    /// The position asked for was trimmed: records are lost unless the shard was drained.
    Trimmed,
    /// The stream or the shard is not there.
    NotFound,
    /// The credentials expired or are not accepted (yet).
    Credentials,
    /// The credentials do not allow this call.
    Denied,
    /// The request can never succeed.
    Invalid,
}
