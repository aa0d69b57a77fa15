//! Dead letters as messages: the whole record as the value, the reason in the headers.
//!
//! The key is the event id: a dead letter does not hold the item's key, which may be just what could not be read, and
//! the parts of one record must stay together and in order.

use tailwater_model::DeadLetter;

use super::headers::{Header, SHARD, STREAM};
use super::{Encoder, Message};
use crate::settings::ChangeHeader;

/// A part is never smaller, so that a topic that takes next to nothing ends in an error of the producer and not in
/// millions of messages.
const PART_BYTES_MIN: usize = 1024;

/// Digits that are reserved for the number of a part, and for how many there are.
const PART_DIGITS: usize = 10;

impl Encoder {
    /// The record: one message, or several parts when it is larger than the broker takes. Parts have the same key
    /// and so the same partition, come in order, and carry `__cdc.part` (from 1) and `__cdc.parts`; their values
    /// joined are the record, and nothing is ever cut off (I5). A part ends between two characters.
    pub(crate) fn dead_letter<'a>(&'a self, letter: &'a DeadLetter, message_bytes_max: usize) -> Vec<Message<'a>> {
        let (key, record) = (letter.event_id.as_bytes(), letter.record.as_bytes());
        let whole = Message { key, value: Some(record), headers: self.dead_letter_headers(letter) };
        if whole.bytes() <= message_bytes_max {
            return vec![whole];
        }
        let part_headers = |part: usize, parts: usize| {
            [Header::new("__cdc.part", part.to_string()), Header::new("__cdc.parts", parts.to_string())]
        };
        let reserved = Message { key: &[], value: None, headers: part_headers(0, 0).into() }.bytes() + 2 * PART_DIGITS;
        let around = whole.bytes() - record.len() + reserved;
        let parts = split(&letter.record, message_bytes_max.saturating_sub(around).max(PART_BYTES_MIN));
        let message = |(index, text): (usize, &&'a str)| {
            let mut headers = whole.headers.clone();
            headers.extend(part_headers(index + 1, parts.len()));
            Message { key, value: Some(text.as_bytes()), headers }
        };
        parts.iter().enumerate().map(message).collect()
    }

    /// Ours say all that is known. Those of Kafka Connect's dead letter queues (KIP-298,
    /// <https://cwiki.apache.org/confluence/display/KAFKA/KIP-298%3A+Error+Handling+in+Connect>) are for its tools; of
    /// them only what is true here: there is no partition, offset, task or class. No content type: a record that could
    /// not be read need not be JSON, and a part of one is not.
    fn dead_letter_headers<'a>(&'a self, letter: &'a DeadLetter) -> Vec<Header<'a>> {
        vec![
            Header::new("__cdc.pipeline", &*self.pipeline),
            Header::new("__cdc.error.code", letter.code),
            Header::new("__cdc.error.message", &*letter.error),
            Header::new(ChangeHeader::Table.name(), &*self.table),
            Header::new(STREAM, &*self.stream_arn),
            Header::new(SHARD, letter.shard.as_str()),
            Header::new(ChangeHeader::SequenceNumber.name(), letter.sequence_number.as_str()),
            Header::new(ChangeHeader::EventId.name(), &*letter.event_id),
            // The topic that the record belongs into: where a tool that repairs and replays sends it.
            Header::new("__connect.errors.topic", &*self.topic),
            Header::new("__connect.errors.connector.name", &*self.pipeline),
            Header::new("__connect.errors.stage", connect_stage(letter.code)),
            Header::new("__connect.errors.exception.message", &*letter.error),
        ]
    }
}

/// The stage in Connect's words (`org.apache.kafka.connect.runtime.errors.Stage`), by the part of ours that refused.
fn connect_stage(code: &str) -> &'static str {
    match code.split_once('.') {
        Some(("source", _)) => "TASK_POLL",
        Some(("transform", _)) => "TRANSFORMATION",
        _ => "KAFKA_PRODUCE",
    }
}

/// Pieces of at most `bytes_max` bytes (at least four, so that every character fits) that end between two characters;
/// one empty piece of an empty text.
fn split(text: &str, bytes_max: usize) -> Vec<&str> {
    let mut parts = Vec::with_capacity(text.len() / bytes_max + 1);
    let mut rest = text;
    loop {
        let (part, behind) = rest.split_at(rest.floor_char_boundary(bytes_max));
        parts.push(part);
        if behind.is_empty() {
            return parts;
        }
        rest = behind;
    }
}
