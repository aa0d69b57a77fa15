//! A change event in plain JSON: the form that people read, in files, on the terminal and in messages.

use jiff::Timestamp;
use jiff::fmt::temporal::DateTimePrinter;

use crate::event::{ChangeEvent, Rejected};
use crate::item::Item;
use crate::key::KeySchema;
use crate::plain_json::{push_key_of, push_plain_item, push_quoted};

/// What the members beside key and images need at most in most events: sizes are for reserving memory, nothing else.
const METADATA_BYTES: usize = 320;

/// Prints times as [`rfc_3339`] gives them, without the machinery of formatting.
static TIMES: DateTimePrinter = DateTimePrinter::new().precision(Some(3));

/// Appends the key of an event's item as plain JSON: equal keys give equal bytes. An item without the key that the
/// schema names is refused; then `out` holds a part of the key.
pub fn push_event_key(event: &ChangeEvent, keys: &KeySchema, out: &mut String) -> Result<(), Rejected> {
    push_key_of(&event.key, keys, out)
        .map_err(|fault| Rejected { code: "sink.key_mismatch", message: fault.to_string() })
}

/// Appends the event as one JSON object without a line feed, or nothing when the event is refused. `key` is what
/// [`push_event_key`] gives, which some callers need for themselves too. Images that the view type does not carry are
/// absent.
pub fn push_plain_change(event: &ChangeEvent, table: &str, key: &str, out: &mut String) -> Result<(), Rejected> {
    let source = &event.source;
    let created_at = timestamp(source.created_at_ms)?;
    let (new, old) = (event.change.new_image(), event.change.old_image());
    let images = [new, old].into_iter().flatten().map(|item| item.typed_json().len()).sum::<usize>();
    out.reserve(METADATA_BYTES + key.len() + images);
    push_member('{', "change", event.change.name(), out);
    push_member(',', "table", table, out);
    out.push_str(",\"key\":");
    out.push_str(key);
    push_image(",\"new\":", new, out);
    push_image(",\"old\":", old, out);
    push_member(',', "event_id", &source.event_id, out);
    push_member(',', "sequence_number", source.sequence_number.as_str(), out);
    push_member(',', "shard", source.shard.as_str(), out);
    // Digits and signs only: nothing to escape, and a `String` takes whatever is printed.
    out.push_str(",\"created_at\":\"");
    let _infallible = TIMES.print_timestamp(&created_at, &mut *out);
    out.push_str("\"}");
    Ok(())
}

/// Milliseconds since 1970 as RFC 3339 in UTC, always with three decimals, so that the texts sort like the times.
pub fn rfc_3339(ms: i64) -> Result<String, Rejected> {
    timestamp(ms).map(|time| TIMES.timestamp_to_string(&time))
}

fn timestamp(ms: i64) -> Result<Timestamp, Rejected> {
    let out_of_bounds = "the creation time is out of all bounds";
    Timestamp::from_millisecond(ms).map_err(|_| Rejected { code: "sink.created_at", message: out_of_bounds.into() })
}

fn push_image(name: &str, image: Option<&Item>, out: &mut String) {
    if let Some(item) = image {
        out.push_str(name);
        push_plain_item(item, out);
    }
}

fn push_member(before: char, name: &str, text: &str, out: &mut String) {
    out.push(before);
    out.push('"');
    out.push_str(name);
    out.push_str("\":");
    push_quoted(text, out);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Change, KeyAttribute, KeyKind, SequenceNumber, ShardId, SourceInfo};

    fn event(created_at_ms: i64) -> ChangeEvent {
        let item = |json: &str| Item::parse(json.into()).expect("an item");
        ChangeEvent {
            key: item(r#"{"Id":{"N":"1.0"}}"#),
            change: Change::Modify { old: None, new: Some(item(r#"{"Id":{"N":"1"},"s":{"SS":["b","a"]}}"#)) },
            source: SourceInfo {
                shard: ShardId::new("shard \"1\""),
                sequence_number: SequenceNumber::parse("100".into()).expect("digits"),
                event_id: "e".into(),
                created_at_ms,
                size_bytes: 7,
            },
        }
    }

    #[test]
    fn an_event_is_one_object_or_nothing() {
        let keys = KeySchema { partition: KeyAttribute { name: "Id".into(), kind: KeyKind::N }, sort: None };
        let mut key = String::new();
        push_event_key(&event(0), &keys, &mut key).expect("a key");
        let mut out = String::from("before ");
        push_plain_change(&event(0), "Orders", &key, &mut out).expect("an event");
        assert_eq!(
            out,
            r#"before {"change":"modify","table":"Orders","key":{"Id":1},"new":{"Id":1,"s":["a","b"]},"event_id":"e","sequence_number":"100","shard":"shard \"1\"","created_at":"1970-01-01T00:00:00.000Z"}"#
        );
        let written = out.clone();
        let refused = push_plain_change(&event(i64::MAX), "Orders", &key, &mut out);
        assert_eq!(refused.map_err(|rejected| rejected.code), Err("sink.created_at"));
        assert_eq!(out, written);
        let other = KeySchema { partition: KeyAttribute { name: "Id".into(), kind: KeyKind::S }, sort: None };
        assert_eq!(
            push_event_key(&event(0), &other, &mut key).map_err(|rejected| rejected.code),
            Err("sink.key_mismatch")
        );
    }

    #[test]
    fn times_have_one_form() {
        assert_eq!(rfc_3339(1_700_000_000_000).as_deref(), Ok("2023-11-14T22:13:20.000Z"));
        assert_eq!(rfc_3339(-1).as_deref(), Ok("1969-12-31T23:59:59.999Z"));
        assert_eq!(rfc_3339(i64::MAX).map_err(|rejected| rejected.code), Err("sink.created_at"));
    }
}
