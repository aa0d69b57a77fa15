//! A change as people read it: a line with time, change and key, and below it what the change did, attribute by
//! attribute.

use std::fmt::Write as _;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use tailwater_model::{ChangeEvent, DeadLetter, Gap, KeySchema};

use crate::image_diff::{Difference, differences, key_text};
use crate::output::printable;

/// Appends the change.
pub fn push_change(event: &ChangeEvent, keys: &KeySchema, zone: &TimeZone, out: &mut String) {
    let moment = Timestamp::from_millisecond(event.source.created_at_ms).unwrap_or(Timestamp::UNIX_EPOCH);
    let time = moment.to_zoned_datetime(zone.clone()).strftime("%Y-%m-%d %H:%M:%S").to_string();
    let _infallible = writeln!(out, "{time}  {}  {}", event.change.name(), key_text(&event.key, keys));
    let found = differences(event);
    if found.is_empty() && event.change.new_image().is_some() && event.change.old_image().is_some() {
        out.push_str("    nothing changed\n");
    }
    let widest = found.iter().map(|attribute| attribute.path.chars().count()).max().unwrap_or_default();
    for attribute in found {
        let fill = " ".repeat(widest - attribute.path.chars().count());
        let (sign, what) = match attribute.difference {
            Difference::Added(new) => ('+', new),
            Difference::Removed(old) => ('-', old),
            Difference::Replaced { old, new } => (' ', format!("{old} → {new}")),
            Difference::Present(value) => (' ', value),
        };
        let _infallible = writeln!(out, "  {sign} {}{fill}  {what}", attribute.path);
    }
}

/// Appends a record that could not become a change event.
pub fn push_dead_letter(letter: &DeadLetter, out: &mut String) {
    let DeadLetter { shard, sequence_number, code, error, record, .. } = letter;
    let _infallible = writeln!(out, "unreadable record {sequence_number} in {shard} ({code}): {}", printable(error));
    let _infallible = writeln!(out, "    {}", printable(record));
}

/// Appends loss that was found.
pub fn push_gap(gap: &Gap, out: &mut String) {
    let _infallible = writeln!(out, "GAP ({}) in {}", gap.cause.as_str(), printable(&gap.words()));
}

#[cfg(test)]
mod tests {
    use super::*;
    use tailwater_model::{Change, GapCause, Item, KeyAttribute, KeyKind, Position, ServiceTime};
    use tailwater_model::{RemoveCause, SequenceNumber, ShardId, SourceInfo};

    fn item(json: &str) -> Item {
        Item::parse(json.into()).expect("valid")
    }

    fn text(change: Change) -> String {
        let source = SourceInfo {
            shard: ShardId::new("s"),
            sequence_number: SequenceNumber::parse("1".into()).expect("digits"),
            event_id: "e".into(),
            created_at_ms: 1_700_000_000_000,
            size_bytes: 0,
        };
        let event = ChangeEvent { key: item(r#"{"no":{"N":"7"},"who":{"S":"ada"}}"#), change, source };
        let mut out = String::new();
        let attribute = |name: &str, kind| KeyAttribute { name: name.into(), kind };
        let keys = KeySchema { partition: attribute("who", KeyKind::S), sort: Some(attribute("no", KeyKind::N)) };
        push_change(&event, &keys, &TimeZone::UTC, &mut out);
        out
    }

    #[test]
    fn a_change_is_a_heading_and_its_differences() {
        let old = Some(item(r#"{"no":{"N":"7"},"who":{"S":"ada"},"status":{"S":"NEW"},"hold":{"BOOL":true}}"#));
        let new = Some(item(r#"{"no":{"N":"7"},"who":{"S":"ada"},"status":{"S":"PAID"},"total":{"N":"5.9"}}"#));
        assert_eq!(
            text(Change::Modify { old: old.clone(), new: new.clone() }),
            "2023-11-14 22:13:20  modify  ada / 7\n    status  NEW → PAID\n  + total   5.9\n  - hold    true\n"
        );
        assert_eq!(
            text(Change::Remove { old, cause: RemoveCause::TimeToLive }),
            "2023-11-14 22:13:20  ttl  ada / 7\n    hold    true\n    status  NEW\n"
        );
        assert!(text(Change::Modify { old: new.clone(), new }).ends_with("nothing changed\n"));
        assert!(text(Change::Insert { new: None }).ends_with("insert  ada / 7\n"));
    }

    #[test]
    fn a_gap_names_its_place() {
        let gap = Gap {
            shard: Some(ShardId::new("s1")),
            cause: GapCause::Trimmed,
            after: Position::Start,
            since: None,
            until: ServiceTime::EPOCH,
            detail: "gone".into(),
            stop: false,
        };
        let mut out = String::new();
        push_gap(&gap, &mut out);
        assert_eq!(out, "GAP (trimmed) in shard s1, from its beginning on, until 1970-01-01T00:00:00.000Z: gone\n");
    }
}
