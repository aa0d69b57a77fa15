//! From a change event or a dead letter to the messages that Kafka gets. Pure: no I/O, no clock.

mod dead_letter;
mod dynamodb;
mod headers;
mod partition;

use bytestring::ByteString;
use tailwater_model::{
    Change, ChangeEvent, KeySchema, PipelineIdentity, Rejected, ViewType, push_event_key, push_plain_change,
};

use crate::settings::{Deletes, Format, KafkaSettings};

use self::dynamodb::RecordFrame;
pub use self::headers::Header;
use self::headers::change_headers;
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
pub(crate) struct Message {
    /// Decides the partition, and what compaction regards as the same.
    pub(crate) key: Vec<u8>,
    /// Nothing is a tombstone: compaction drops the key.
    pub(crate) value: Option<Vec<u8>>,
    /// In the order in which they are sent.
    pub(crate) headers: Vec<Header>,
}

impl Message {
    /// An upper bound on what the message counts for against `max.message.bytes`, alone in its batch and not compressed.
    /// Compression makes it less; what the broker compares is the batch as it arrives.
    pub(crate) fn bytes(&self) -> usize {
        let headers = self.headers.iter().map(|header| HEADER_BYTES + header.name.len() + header.value.len());
        let value = self.value.as_ref().map_or(0, Vec::len);
        RECORD_BATCH_BYTES + RECORD_BYTES + self.key.len() + value + headers.sum::<usize>()
    }
}

/// Turns events and dead letters of one pipeline into messages.
#[derive(Debug)]
pub(crate) struct Encoder {
    pipeline: String,
    /// The topic of the change events.
    topic: String,
    table: ByteString,
    keys: KeySchema,
    deletes: Deletes,
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
            table: identity.stream.table.as_str().into(),
            keys: keys.clone(),
            deletes: settings.delete,
            value,
        }
    }

    /// Pushes the messages of an event: one, or for a removal what [`Deletes`] says. They all have the event's key and
    /// headers, so event and tombstone of one removal share their event id.
    ///
    /// Refused are an item without its key (`sink.key_mismatch`), a creation time outside of the calendar
    /// (`sink.created_at`) and a message of more than `message_bytes_max` bytes (`sink.kafka.too_large`). Then `out` is
    /// as it was.
    pub(crate) fn encode(
        &self,
        event: &ChangeEvent,
        message_bytes_max: usize,
        out: &mut Vec<Message>,
    ) -> Result<(), Rejected> {
        let mut key = String::with_capacity(event.key.typed_json().len());
        push_event_key(event, &self.keys, &mut key)?;
        let removal = matches!(event.change, Change::Remove { .. });
        let value = match self.deletes {
            Deletes::Tombstone if removal => None,
            Deletes::Event | Deletes::Tombstone | Deletes::EventAndTombstone => {
                Some(self.value(event, &key)?.into_bytes())
            }
        };
        let headers = change_headers(event, &self.table);
        // A tombstone is smaller than its event: one check is for both.
        let message = fitting(Message { key: key.into_bytes(), value, headers }, message_bytes_max)?;
        let tombstone = (removal && self.deletes == Deletes::EventAndTombstone).then(|| Message {
            key: message.key.clone(),
            value: None,
            headers: message.headers.clone(),
        });
        out.push(message);
        out.extend(tombstone);
        Ok(())
    }

    fn value(&self, event: &ChangeEvent, key: &str) -> Result<String, Rejected> {
        let mut out = String::new();
        match &self.value {
            ValueForm::Json => push_plain_change(event, &self.table, key, &mut out)?,
            ValueForm::Dynamodb(frame) => frame.push_record(event, &mut out),
        }
        Ok(out)
    }
}

/// The message, if the broker takes it.
fn fitting(message: Message, message_bytes_max: usize) -> Result<Message, Rejected> {
    let bytes = message.bytes();
    if bytes <= message_bytes_max {
        return Ok(message);
    }
    let value = message.value.as_ref().map_or(0, Vec::len);
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
