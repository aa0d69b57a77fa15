//! Folding the events of a group to one per key, for sinks that keep the current state.

use std::collections::BTreeMap;

use crate::event::{ChangeEvent, Rejected};
use crate::key::{Key, KeySchema};

/// The result of a fold.
#[derive(Debug, Default)]
pub struct Folded {
    /// The last event of each key, in the order of keys: writers that take rows in one order cannot deadlock.
    pub latest: BTreeMap<Key, ChangeEvent>,
    /// Events that a later event of the same key overtook, oldest first: for when the last one turns out to be refused.
    pub overtaken: BTreeMap<Key, Vec<ChangeEvent>>,
    /// Events without a usable key.
    pub rejected: Vec<(ChangeEvent, Rejected)>,
}

/// Keeps the last event of each key. The events must come in stream order; since they carry whole images, the last one
/// alone gives the state after all of them.
pub fn fold_by_key(events: impl IntoIterator<Item = ChangeEvent>, schema: &KeySchema) -> Folded {
    let mut folded = Folded::default();
    for event in events {
        match schema.read(&event.key) {
            Ok(key) => {
                if let Some(before) = folded.latest.insert(key.clone(), event) {
                    folded.overtaken.entry(key).or_default().push(before);
                }
            }
            Err(fault) => {
                folded.rejected.push((event, Rejected { code: "sink.key_mismatch", message: fault.to_string() }));
            }
        }
    }
    folded
}

/// What a sink that keeps the current state does with the row of a removed item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeleteMode {
    /// The row stays and is marked as deleted.
    Soft,
    /// The row goes away.
    Hard,
}
