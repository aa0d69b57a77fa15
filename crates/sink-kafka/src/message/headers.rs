//! Headers of messages: of change events those that the settings name, of dead letters all.

use std::borrow::Cow;

use rdkafka::message::{Header as SentHeader, OwnedHeaders};
use tailwater_model::{Change, ChangeEvent, CreationTime};

use crate::settings::ChangeHeader;

/// One header of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header<'a> {
    /// Its name.
    pub name: &'static str,
    /// Text, mostly a piece of what the message tells of.
    pub value: Cow<'a, str>,
}

impl<'a> Header<'a> {
    pub(crate) fn new(name: &'static str, value: impl Into<Cow<'a, str>>) -> Self {
        Self { name, value: value.into() }
    }
}

/// The shard. Only dead letters carry it: the order of an item's messages is that of their partition, across shards
/// too, so elsewhere nobody would read these forty bytes.
pub(super) const SHARD: &str = "__shard";

/// The stream's ARN, also for dead letters only: a shard's id says nothing without it.
pub(super) const STREAM: &str = "__stream";

impl ChangeHeader {
    /// The header of an event's messages, tombstones too.
    pub(super) fn of<'a>(self, event: &'a ChangeEvent, table: &'a str, created: &'a CreationTime) -> Header<'a> {
        let source = &event.source;
        let value = match self {
            Self::Operation => operation(&event.change).into(),
            Self::Table => table.into(),
            Self::EventId => (&*source.event_id).into(),
            Self::SequenceNumber => source.sequence_number.as_str().into(),
            Self::Snapshot => "false".into(),
            Self::SourceTime => created.milliseconds().into(),
            Self::ContentType => "application/json".into(),
        };
        Header { name: self.name(), value }
    }
}

/// Debezium's letters: create, update, delete.
fn operation(change: &Change) -> &'static str {
    match change {
        Change::Insert { .. } => "c",
        Change::Modify { .. } => "u",
        Change::Remove { .. } => "d",
    }
}

/// In the form that librdkafka takes; it copies them.
pub(crate) fn owned(headers: &[Header<'_>]) -> OwnedHeaders {
    headers.iter().fold(OwnedHeaders::new_with_capacity(headers.len()), |owned, header| {
        owned.insert(SentHeader { key: header.name, value: Some(&*header.value) })
    })
}
