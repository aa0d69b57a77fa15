//! The oracle: a naive replay of what was written, against what the sink holds at the end. It knows the truth and the
//! contents, and nothing of the engine.

use std::collections::BTreeSet;

use super::ground::{Durable, Held};
use super::history::{History, Written};
use super::witness::{Manner, Violation};

/// Compares the contents with the replay: no loss, no duplicate, the right order, the right values.
pub fn compare(history: &History, durable: &Durable, manner: Manner) -> Result<(), Violation> {
    let kept_aside: BTreeSet<&str> = durable.dead_letters.iter().map(String::as_str).collect();
    if kept_aside.len() != durable.dead_letters.len() {
        return fail("I2 duplicate", "a record is in the dead letters twice".into());
    }
    for (key, changes) in history.keys() {
        let changes: Vec<&Written> = changes.iter().map(|index| &history.records[*index]).collect();
        let held = durable.items.get(key).map_or(&[][..], Vec::as_slice);
        match manner {
            Manner::Log => compare_log(key, &changes, held, &kept_aside)?,
            Manner::Folded => compare_row(key, &changes, held, &kept_aside)?,
        }
    }
    if let Some(key) = durable.items.keys().find(|key| history.of_key(key).is_empty()) {
        return fail("a key out of nowhere", key.clone());
    }
    Ok(())
}

/// The log of an item is its history without what is kept aside, and without what was trimmed unread.
fn compare_log(key: &str, changes: &[&Written], held: &[Held], aside: &BTreeSet<&str>) -> Result<(), Violation> {
    let mut held = held.iter().peekable();
    for change in changes {
        if held.peek().is_some_and(|held| held.event_id == change.event_id) {
            let told = held.next().map(|held| (held.present, held.image.as_ref()));
            if told != Some((change.new.is_some(), change.new.as_ref())) {
                return fail("P5 value", format!("{} of {key}: {:?} is told as {told:?}", change.event_id, change.new));
            }
        } else if !aside.contains(change.event_id.as_str()) && !change.is_excused() {
            return fail("P1 loss", format!("{} of {key} ({})", change.event_id, change.shard));
        }
    }
    match held.next() {
        Some(extra) => fail("I2 duplicate or disorder", format!("{} of {key}", extra.event_id)),
        None => Ok(()),
    }
}

/// The row of an item is its last change that is not kept aside and was not trimmed unread.
fn compare_row(key: &str, changes: &[&Written], held: &[Held], aside: &BTreeSet<&str>) -> Result<(), Violation> {
    let last = held.last().map(|held| held.event_id.as_str());
    let told = changes.iter().rposition(|change| Some(change.event_id.as_str()) == last);
    // A removal is told by its row, or by the row's absence, also where its record is kept aside for its old image.
    let is_told = |change: &Written| !change.is_excused() && !change.is_filtered;
    if let Some(last) = changes.last().filter(|last| last.new.is_none() && is_told(last))
        && held.last().is_some_and(|held| held.present)
    {
        return fail("P1 removal", format!("{} of {key}, whose row is there", last.event_id));
    }
    let behind = &changes[told.map_or(0, |told| told + 1)..];
    // Where a removal leaves no row, the removals at the end are told by the row's absence.
    let missing = behind.iter().rfind(|change| !aside.contains(change.event_id.as_str()) && !change.is_filtered);
    match (missing, held.last()) {
        (None, _) => Ok(()),
        (Some(change), None) if change.new.is_none() => Ok(()),
        (Some(change), _) if change.is_excused() => Ok(()),
        (Some(change), _) => fail("P1 loss", format!("{} of {key}, whose row tells {last:?}", change.event_id)),
    }
}

fn fail(check: &'static str, detail: String) -> Result<(), Violation> {
    Err(Violation { check, detail })
}
