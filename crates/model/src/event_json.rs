//! A change event in plain JSON: the form that people read, in files, on the terminal and in messages.

use crate::event::{ChangeEvent, Rejected};
use crate::item::Item;
use crate::key::KeySchema;
use crate::plain_json::{push_key_of, push_plain_item, push_quoted};

/// What the members beside key and images need at most in most events: sizes are for reserving memory, nothing else.
const METADATA_BYTES: usize = 320;

/// Appends the key of an event's item as plain JSON: equal keys give equal bytes. An item without the key that the
/// schema names is refused; then `out` holds a part of the key.
pub fn push_event_key(event: &ChangeEvent, keys: &KeySchema, out: &mut String) -> Result<(), Rejected> {
    push_key_of(&event.key, keys, out)
        .map_err(|fault| Rejected { code: "sink.key_mismatch", message: fault.to_string() })
}

/// Appends the event as one JSON object without a line feed. `key` is what [`push_event_key`] gives, and `created_at` the
/// [creation time](crate::CreationTime) as RFC 3339; some callers need them for themselves too. Images that the view type
/// does not carry are absent.
pub fn push_plain_change(event: &ChangeEvent, table: &str, key: &str, created_at: &str, out: &mut String) {
    let source = &event.source;
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
    push_member(',', "created_at", created_at, out);
    out.push('}');
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

    fn event() -> ChangeEvent {
        let item = |json: &str| Item::parse(json.into()).expect("an item");
        ChangeEvent {
            key: item(r#"{"Id":{"N":"1.0"}}"#),
            change: Change::Modify { old: None, new: Some(item(r#"{"Id":{"N":"1"},"s":{"SS":["b","a"]}}"#)) },
            source: SourceInfo {
                shard: ShardId::new("shard \"1\""),
                sequence_number: SequenceNumber::parse("100".into()).expect("digits"),
                event_id: "e".into(),
                created_at_ms: 0,
                size_bytes: 7,
            },
        }
    }

    #[test]
    fn an_event_is_one_object() {
        let keys = KeySchema { partition: KeyAttribute { name: "Id".into(), kind: KeyKind::N }, sort: None };
        let mut key = String::new();
        push_event_key(&event(), &keys, &mut key).expect("a key");
        let mut out = String::from("before ");
        push_plain_change(&event(), "Orders", &key, "1970-01-01T00:00:00.000Z", &mut out);
        assert_eq!(
            out,
            r#"before {"change":"modify","table":"Orders","key":{"Id":1},"new":{"Id":1,"s":["a","b"]},"event_id":"e","sequence_number":"100","shard":"shard \"1\"","created_at":"1970-01-01T00:00:00.000Z"}"#
        );
        let other = KeySchema { partition: KeyAttribute { name: "Id".into(), kind: KeyKind::S }, sort: None };
        assert_eq!(
            push_event_key(&event(), &other, &mut key).map_err(|rejected| rejected.code),
            Err("sink.key_mismatch")
        );
    }
}
