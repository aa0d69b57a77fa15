//! Change events as JSON lines: one object per event, in plain JSON, with one line feed at the end.

use tailwater_model::{ChangeEvent, DeadLetter, Gap, KeySchema, Rejected, plain_key, push_plain_change, push_quoted};

/// Appends the line of an event, or nothing when the event is refused.
pub(crate) fn push_change(
    event: &ChangeEvent,
    table: &str,
    keys: &KeySchema,
    out: &mut String,
) -> Result<(), Rejected> {
    push_plain_change(event, table, &plain_key(event, keys)?, out)?;
    out.push('\n');
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

fn push_member(before: char, name: &str, text: &str, out: &mut String) {
    out.push(before);
    out.push('"');
    out.push_str(name);
    out.push_str("\":");
    push_quoted(text, out);
}
