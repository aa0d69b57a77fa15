//! What the topics say of removals, and of records that are set aside: each tombstone in its place, each dead letter whole.

use std::collections::BTreeSet;
use std::sync::Arc;

use tailwater_sink_kafka::Deletes;

use super::{Book, header};
use crate::kafka::{LandedRecord, Record};
use crate::world::ground::{Landing, lock};

/// The removals of one landing.
#[derive(Default)]
pub(super) struct Removals {
    /// What must be followed by a tombstone now.
    pub(super) open: Option<(i32, String)>,
    /// Event ids of tombstones that stand alone.
    pub(super) alone: BTreeSet<String>,
}

impl Book {
    /// Exactly behind a removal's message stands its tombstone, where there is to be one. One that stands alone is of a removal
    /// whose message was refused.
    pub(super) fn check_tombstone(&self, record: &LandedRecord, removals: &mut Removals) {
        let of = header(&record.record, "__event_id").map(|event_id| (record.place.partition, event_id));
        match (removals.open.take(), of) {
            (removed, of) if record.record.value.is_some() || (removed.is_some() && removed != of) => {
                lock(&self.witness).violated("P5 tombstone", format!("{of:?} comes after {removed:?}"));
            }
            (None, Some((_, event_id))) => {
                removals.alone.insert(event_id);
            }
            _ => {}
        }
    }

    /// Each record once and whole, though it may come in parts; and of a removal that the sink refused, its tombstone.
    pub(super) fn dead_letters(&mut self, messages: &[&Arc<Record>], removals: &mut Removals, landing: &mut Landing) {
        let mut rest = messages.iter();
        while let Some(first) = rest.next() {
            let parts: usize = header(first, "__cdc.parts").and_then(|parts| parts.parse().ok()).unwrap_or(1);
            let all: Vec<_> = std::iter::once(first).chain(rest.by_ref().take(parts - 1)).collect();
            let event_id = header(first, "__event_id").unwrap_or_default();
            let is_in_order = all.iter().zip(1..).all(|(part, number): (_, usize)| {
                header(part, "__event_id").as_ref() == Some(&event_id)
                    && header(part, "__cdc.part").is_none_or(|told| told == number.to_string())
            });
            let joined: Vec<u8> = all.iter().flat_map(|part| part.value.clone().unwrap_or_default()).collect();
            let record: serde_json::Value = serde_json::from_slice(&joined).unwrap_or_default();
            let is_of_sink = header(first, "__cdc.error.code").is_some_and(|code| code.starts_with("sink.kafka."));
            if all.len() != parts || !is_in_order || (is_of_sink && record["eventID"] != event_id.as_str()) {
                lock(&self.witness)
                    .violated("I5 dead letter", format!("{event_id} is not whole: {} of {parts}", all.len()));
            }
            let is_left = removals.alone.remove(&event_id);
            let is_removal = record["change"] == "remove" || record["change"] == "ttl";
            let is_to_be_left = self.delete == Deletes::EventAndTombstone && is_removal && is_of_sink;
            if is_to_be_left && !is_left {
                lock(&self.witness).violated("P1 tombstone", format!("removal {event_id} was refused and left none"));
            }
            self.durable.dead_letters.push(event_id.clone());
            landing.dead_letters.push(event_id);
        }
    }
}
