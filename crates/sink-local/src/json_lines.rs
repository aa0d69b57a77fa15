//! Change events as JSON lines: one object per event, in plain JSON, with one line feed at the end.

use tailwater_model::{
    ChangeEvent, DeadLetter, Gap, Group, KeySchema, Rejected, push_event_key, push_plain_change, push_quoted,
};

/// Room for the lines of a group: they are mostly a little shorter than the pages that it came in. Megabytes that grow by
/// doubling would be copied at each step.
pub(crate) fn room_for(group: &Group) -> String {
    String::with_capacity(group.batches.iter().map(|batch| batch.bytes).sum())
}

/// Appends the line of an event, or nothing when the event is refused. `key` is room for its key, so that not every line
/// takes its own from the heap.
pub(crate) fn push_change(
    event: &ChangeEvent,
    table: &str,
    keys: &KeySchema,
    key: &mut String,
    out: &mut String,
) -> Result<(), Rejected> {
    key.clear();
    push_event_key(event, keys, key)?;
    push_plain_change(event, table, key, out)?;
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
