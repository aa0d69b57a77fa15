//! Headers: what a consumer can filter by without reading the value. Names begin with two underscores, as those that
//! Debezium adds to a flattened record (<https://debezium.io/documentation/reference/stable/transformations/event-flattening.html>).

use std::borrow::Cow;

use rdkafka::message::{Header as SentHeader, OwnedHeaders};
use tailwater_model::{Change, ChangeEvent};

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

/// The name of the table.
pub(super) const TABLE: &str = "__table";
/// DynamoDB's id of the record: the same each time it is written, so a consumer can drop what it has seen.
pub(super) const EVENT_ID: &str = "__event_id";
/// The sequence number. As a number it grows with every change of an item; as text it does not sort.
pub(super) const SEQUENCE_NUMBER: &str = "__seq";
/// The shard. Only dead letters carry it: the order of an item's messages is that of their partition, across shards
/// too, so elsewhere nobody would read these forty bytes.
pub(super) const SHARD: &str = "__shard";

/// The headers of an event's messages, tombstones too.
pub(super) fn change_headers<'a>(event: &'a ChangeEvent, table: &'a str) -> Vec<Header<'a>> {
    let source = &event.source;
    vec![
        Header::new("__op", operation(&event.change)),
        Header::new(TABLE, table),
        Header::new(EVENT_ID, &*source.event_id),
        Header::new(SEQUENCE_NUMBER, source.sequence_number.as_str()),
        Header::new("__snapshot", "false"),
        Header::new("__source_ts_ms", source.created_at_ms.to_string()),
        Header::new("content-type", "application/json"),
    ]
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
