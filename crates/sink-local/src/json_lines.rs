//! Change events as JSON lines: one object per event, in plain JSON, with one line feed at the end.

use jiff::Timestamp;
use serde_json::Value;
use tailwater_model::{ChangeEvent, DeadLetter, Gap, Item, KeySchema, Rejected, push_plain_item, push_plain_key};

/// Appends the line of an event, or nothing when the event is refused. Images that the view type does not carry are
/// absent.
pub(crate) fn push_change(
    event: &ChangeEvent,
    table: &str,
    keys: &KeySchema,
    out: &mut String,
) -> Result<(), Rejected> {
    let key =
        keys.read(&event.key).map_err(|fault| Rejected { code: "sink.key_mismatch", message: fault.to_string() })?;
    let source = &event.source;
    let created_at = rfc_3339(source.created_at_ms)?;
    push_member('{', "change", event.change.name(), out);
    push_member(',', "table", table, out);
    out.push_str(",\"key\":");
    push_plain_key(&key, keys, out);
    push_image("new", event.change.new_image(), out);
    push_image("old", event.change.old_image(), out);
    push_member(',', "event_id", &source.event_id, out);
    push_member(',', "sequence_number", &source.sequence_number.to_string(), out);
    push_member(',', "shard", source.shard.as_str(), out);
    push_member(',', "created_at", &created_at, out);
    out.push_str("}\n");
    Ok(())
}

/// Appends the line of a dead letter, for sinks that have no other place for it.
pub(crate) fn push_dead_letter(letter: &DeadLetter, out: &mut String) {
    push_member('{', "dead_letter", letter.code, out);
    push_member(',', "error", &letter.error, out);
    push_member(',', "event_id", &letter.event_id, out);
    push_member(',', "sequence_number", &letter.sequence_number.to_string(), out);
    push_member(',', "shard", letter.shard.as_str(), out);
    // As a string: what was set aside may be what could not be read.
    push_member(',', "record", &letter.record, out);
    out.push_str("}\n");
}

/// Appends the line of a gap, for sinks that have no other place for it (I8).
pub(crate) fn push_gap(gap: &Gap, out: &mut String) {
    push_member('{', "gap", gap.cause.as_str(), out);
    if let Some(shard) = &gap.shard {
        push_member(',', "shard", shard.as_str(), out);
    }
    push_member(',', "after", &gap.after.to_string(), out);
    push_member(',', "detail", &gap.detail, out);
    out.push_str("}\n");
}

fn push_image(name: &str, image: Option<&Item>, out: &mut String) {
    if let Some(item) = image {
        out.push_str(",\"");
        out.push_str(name);
        out.push_str("\":");
        push_plain_item(item, out);
    }
}

fn push_member(before: char, name: &str, text: &str, out: &mut String) {
    out.push(before);
    out.push('"');
    out.push_str(name);
    out.push_str("\":");
    out.push_str(&Value::from(text).to_string());
}

/// Milliseconds since 1970 as RFC 3339 in UTC, always with three decimals, so that the texts sort like the times.
pub(crate) fn rfc_3339(ms: i64) -> Result<String, Rejected> {
    match Timestamp::from_millisecond(ms) {
        Ok(time) => Ok(format!("{time:.3}")),
        Err(_) => Err(Rejected { code: "sink.created_at", message: "the creation time is out of all bounds".into() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_one_form() {
        assert_eq!(rfc_3339(1_700_000_000_000).as_deref(), Ok("2023-11-14T22:13:20.000Z"));
        assert_eq!(rfc_3339(-1).as_deref(), Ok("1969-12-31T23:59:59.999Z"));
        assert_eq!(rfc_3339(i64::MAX).map_err(|rejected| rejected.code), Err("sink.created_at"));
    }
}
