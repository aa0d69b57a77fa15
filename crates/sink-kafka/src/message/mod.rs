//! From a change event or a dead letter to the messages that Kafka gets. Pure: no I/O, no clock.

mod dead_letter;
mod dynamodb;
mod headers;
mod partition;

use tailwater_model::{
    Change, ChangeEvent, CreationTime, KeySchema, PipelineIdentity, Rejected, ViewType, push_event_key,
    push_plain_change,
};

use crate::settings::{ChangeHeader, Deletes, Format, KafkaSettings};

use self::dynamodb::RecordFrame;
pub use self::headers::Header;
pub(crate) use self::headers::owned as owned_headers;
pub use self::partition::partition_of;

/// What a record batch of one record has before the record (Kafka's protocol, "Record Batch", magic 2: base offset 8,
/// length 4, leader epoch 4, magic 1, CRC 4, attributes 2, last offset delta 4, two timestamps 16, producer id 8 and
/// epoch 2, base sequence 4, record count 4; <https://kafka.apache.org/documentation/#recordbatch>).
const RECORD_BATCH_BYTES: usize = 61;

/// The most that a record needs beside key, value and headers: its attributes (1), the time delta (a varint of 64 bits:
/// 10), and length, offset delta, length of key and of value, number of headers (varints of 32 bits: 5 each). It is also
/// what librdkafka reckons with before it takes a message (`RD_KAFKAP_MESSAGE_V2_MAX_OVERHEAD`).
const RECORD_BYTES: usize = 1 + 10 + 5 * 5;

/// The most that a header needs beside its name and value: a varint of 32 bits for the length of each.
const HEADER_BYTES: usize = 2 * 5;

/// One message, before it has a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Message<'a> {
    /// Decides the partition, and what compaction regards as the same.
    pub(crate) key: &'a [u8],
    /// Nothing is a tombstone: compaction drops the key.
    pub(crate) value: Option<&'a [u8]>,
    /// In the order in which they are sent.
    pub(crate) headers: Vec<Header<'a>>,
}

/// Where key, value and time of an event's messages are written. One is for all events of a group, one after the other: then
/// hardly any of them has to ask for memory.
#[derive(Debug, Default)]
pub(crate) struct Room {
    key: String,
    value: String,
    created: CreationTime,
}

impl Message<'_> {
    /// An upper bound on what the message counts for against `max.message.bytes`, alone in its batch and not compressed.
    /// Compression makes it less; what the broker compares is the batch as it arrives.
    pub(crate) fn bytes(&self) -> usize {
        let headers = self.headers.iter().map(|header| HEADER_BYTES + header.name.len() + header.value.len());
        let value = self.value.map_or(0, <[u8]>::len);
        RECORD_BATCH_BYTES + RECORD_BYTES + self.key.len() + value + headers.sum::<usize>()
    }
}

/// Turns events and dead letters of one pipeline into messages.
#[derive(Debug)]
pub(crate) struct Encoder {
    pipeline: String,
    /// The topic of the change events.
    topic: String,
    table: String,
    stream_arn: String,
    keys: KeySchema,
    deletes: Deletes,
    headers: Vec<ChangeHeader>,
    value: ValueForm,
}

/// The form of a message's value: the seam that further formats join.
#[derive(Debug)]
enum ValueForm {
    Json,
    Dynamodb(RecordFrame),
}

impl Encoder {
    pub(crate) fn new(
        settings: &KafkaSettings,
        identity: &PipelineIdentity,
        keys: &KeySchema,
        view_type: Option<ViewType>,
    ) -> Self {
        let value = match settings.format {
            Format::Json => ValueForm::Json,
            Format::Dynamodb => ValueForm::Dynamodb(RecordFrame::new(&identity.stream, view_type)),
        };
        Self {
            pipeline: identity.name.clone(),
            topic: settings.topic.clone(),
            table: identity.stream.table.clone(),
            stream_arn: identity.stream.stream_arn.clone(),
            keys: keys.clone(),
            deletes: settings.delete,
            headers: settings.headers.clone(),
            value,
        }
    }

    /// The messages of an event: one, or for a removal what [`Deletes`] says. They all have the event's key and headers,
    /// so event and tombstone of one removal share their event id. What was in the room is gone.
    ///
    /// Refused are an item without its key (`sink.key_mismatch`), a creation time outside of the calendar
    /// (`sink.created_at`) and a message of more than `message_bytes_max` bytes (`sink.kafka.too_large`).
    pub(crate) fn encode<'a>(
        &'a self,
        event: &'a ChangeEvent,
        message_bytes_max: usize,
        room: &'a mut Room,
    ) -> Result<impl Iterator<Item = Message<'a>> + use<'a>, Rejected> {
        room.key.clear();
        room.value.clear();
        room.created.of(event.source.created_at_ms);
        push_event_key(event, &self.keys, &mut room.key)?;
        let removal = matches!(event.change, Change::Remove { .. });
        let has_value = !(removal && self.deletes == Deletes::Tombstone);
        if has_value {
            self.push_value(event, room)?;
        }
        let value = has_value.then_some(room.value.as_bytes());
        let headers = self.headers.iter().map(|header| header.of(event, &self.table, &room.created)).collect();
        // A tombstone is smaller than its event: where this one fits, both do.
        let message = fitting(Message { key: room.key.as_bytes(), value, headers }, message_bytes_max)?;
        let has_tombstone = removal && self.deletes == Deletes::EventAndTombstone;
        let tombstone = has_tombstone.then(|| Message { value: None, ..message.clone() });
        Ok(std::iter::once(message).chain(tombstone))
    }

    /// The tombstone of a removal whose event was refused, or where there is none: it says only that the item is gone, and
    /// that is true whatever the old image holds. What was in the room is gone.
    pub(crate) fn tombstone<'a>(
        &'a self,
        event: &'a ChangeEvent,
        message_bytes_max: usize,
        room: &'a mut Room,
    ) -> Option<Message<'a>> {
        if !matches!(event.change, Change::Remove { .. }) || self.deletes == Deletes::Event {
            return None;
        }
        room.key.clear();
        room.created.of(event.source.created_at_ms);
        push_event_key(event, &self.keys, &mut room.key).ok()?;
        let headers = self.headers.iter().map(|header| header.of(event, &self.table, &room.created)).collect();
        fitting(Message { key: room.key.as_bytes(), value: None, headers }, message_bytes_max).ok()
    }

    fn push_value(&self, event: &ChangeEvent, room: &mut Room) -> Result<(), Rejected> {
        match &self.value {
            ValueForm::Json => {
                let created_at = room.created.rfc_3339()?;
                push_plain_change(event, &self.table, &room.key, created_at, &mut room.value);
            }
            ValueForm::Dynamodb(frame) => frame.push_record(event, &mut room.value),
        }
        Ok(())
    }
}

/// The message, if the broker takes it.
fn fitting(message: Message<'_>, message_bytes_max: usize) -> Result<Message<'_>, Rejected> {
    let bytes = message.bytes();
    if bytes <= message_bytes_max {
        return Ok(message);
    }
    let value = message.value.map_or(0, <[u8]>::len);
    let key = message.key.len();
    Err(Rejected {
        code: "sink.kafka.too_large",
        message: format!(
            "the message needs {bytes} bytes (value {value}, key {key}, the rest headers and framing) and the topic takes \
             {message_bytes_max} (max.message.bytes)"
        ),
    })
}

#[cfg(test)]
mod broker_tests;
#[cfg(test)]
mod fixture;
#[cfg(test)]
mod tests;
