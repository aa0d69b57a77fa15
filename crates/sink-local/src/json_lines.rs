//! Change events as JSON lines: one object per event, in plain JSON, with one line feed at the end.

use tailwater_model::{
    ChangeEvent, CreationTime, DeadLetter, Gap, Group, KeySchema, Rejected, push_event_key, push_plain_change,
    push_quoted,
};

/// The lines of a group.
pub(crate) struct JsonLines<'a> {
    table: &'a str,
    keys: &'a KeySchema,
    /// The key of the event that is written, here so that not every line takes its own from the heap.
    key: String,
    created: CreationTime,
    text: String,
}

impl<'a> JsonLines<'a> {
    /// No lines yet, and room for those of a group: they are mostly a little shorter than the pages that it came in.
    /// Megabytes that grow by doubling would be copied at each step.
    pub(crate) fn of(group: &Group, table: &'a str, keys: &'a KeySchema) -> Self {
        let bytes = group.batches.iter().map(|batch| batch.bytes).sum();
        Self { table, keys, key: String::new(), created: CreationTime::default(), text: String::with_capacity(bytes) }
    }

    /// All of them.
    pub(crate) fn into_text(self) -> String {
        self.text
    }

    /// Appends the line of an event, or nothing when the event is refused.
    pub(crate) fn push_change(&mut self, event: &ChangeEvent) -> Result<(), Rejected> {
        self.key.clear();
        push_event_key(event, self.keys, &mut self.key)?;
        let created_at = self.created.of(event.source.created_at_ms).rfc_3339()?;
        push_plain_change(event, self.table, &self.key, created_at, &mut self.text);
        self.text.push('\n');
        Ok(())
    }

    /// Appends the line of a dead letter, for sinks that have no other place for it.
    pub(crate) fn push_dead_letter(&mut self, letter: &DeadLetter) {
        let out = &mut self.text;
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
    pub(crate) fn push_gap(&mut self, gap: &Gap) {
        let out = &mut self.text;
        push_member('{', "gap", gap.cause.as_str(), out);
        if let Some(shard) = &gap.shard {
            push_member(',', "shard", shard.as_str(), out);
        }
        push_member(',', "after", &gap.after.to_string(), out);
        if let Some(since) = gap.since {
            push_member(',', "since", &since.to_string(), out);
        }
        push_member(',', "until", &gap.until.to_string(), out);
        push_member(',', "detail", &gap.detail, out);
        out.push_str("}\n");
    }
}

fn push_member(before: char, name: &str, text: &str, out: &mut String) {
    out.push(before);
    out.push('"');
    out.push_str(name);
    out.push_str("\":");
    push_quoted(text, out);
}
