//! The judge: holds the messages of a topic against the stream as the SDK reads it and against the ledger of all writes.
//!
//! Each event stands for one or two messages of its item, which follow from the stream alone. Exactly once means that an
//! item's messages are that sequence. At least once means that they are that sequence with rewinds: after any message
//! comes the next one of the sequence, or an earlier one that was seen before, from which it goes on without leaving any
//! out; and the sequence's end comes last.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail, ensure};

use super::reader::Message;
use crate::compare;
use crate::counted::{COUNTER, Key, Ledger, Write};
use crate::plain::{Decimal, Plain};
use crate::stream::StreamEvent;
use crate::table::{Item, PARTITION_KEY, SORT_KEY};

/// What a removed item becomes: the words of the pipeline file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deletes {
    /// A message that tells it.
    Event,
    /// A message without a value.
    Tombstone,
    /// The first, then the second.
    EventAndTombstone,
}

/// One message that must be there, for one event.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Expected {
    event_id: String,
    is_tombstone: bool,
}

/// What a check found besides that all is well.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Events of the stream.
    pub events: usize,
    /// Messages that came more than once, counted without their first time.
    pub repeats: usize,
}

impl Deletes {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Event, Self::Tombstone, Self::EventAndTombstone];

    /// The word in the pipeline file.
    pub fn word(self) -> &'static str {
        match self {
            Self::Event => "event",
            Self::Tombstone => "tombstone",
            Self::EventAndTombstone => "event-and-tombstone",
        }
    }

    /// Whether each message of an event is a tombstone, in their order.
    fn tombstones(self, event_name: &str) -> &'static [bool] {
        match (event_name, self) {
            ("REMOVE", Self::Tombstone) => &[true],
            ("REMOVE", Self::EventAndTombstone) => &[false, true],
            _ => &[false],
        }
    }
}

/// The messages that a stream stands for.
pub fn messages_expected(stream: &[StreamEvent], deletes: Deletes) -> usize {
    stream.iter().map(|event| deletes.tombstones(&event.name).len()).sum()
}

/// Each event exactly once, each item's in stream order and in one partition, none that the stream does not have.
pub fn exactly_once(messages: &[Message], stream: &[StreamEvent], deletes: Deletes) -> Result<Found> {
    let found = at_least_once(messages, stream, deletes)?;
    ensure!(found.repeats == 0, "{} messages came more than once: {}", found.repeats, first_repeat(messages));
    Ok(found)
}

/// Nothing missing, nothing that the stream does not have, and each item's messages in stream order but for rewinds.
pub fn at_least_once(messages: &[Message], stream: &[StreamEvent], deletes: Deletes) -> Result<Found> {
    let mut expected: BTreeMap<&Key, Vec<Expected>> = BTreeMap::new();
    for event in stream {
        let list = expected.entry(&event.key).or_default();
        for &is_tombstone in deletes.tombstones(&event.name) {
            list.push(Expected { event_id: event.event_id.clone(), is_tombstone });
        }
    }
    let mut found = Found { events: stream.len(), repeats: 0 };
    let by_key = by_key(messages)?;
    for (key, messages) in &by_key {
        let expected =
            expected.remove(key).with_context(|| format!("the stream has no item {key:?}: {:?}", messages[0]))?;
        found.repeats += check_item(messages, &expected).with_context(|| format!("item {key:?}"))?;
    }
    let missing = expected.iter().next();
    ensure!(missing.is_none(), "{} items are missing wholly, among them {missing:?}", expected.len());
    Ok(found)
}

/// Holds one item's messages against its sequence. Returns how many are repeats.
fn check_item(messages: &[&Message], expected: &[Expected]) -> Result<usize> {
    let mut place_of = BTreeMap::new();
    for (place, expected) in expected.iter().enumerate() {
        let twice = place_of.insert((expected.event_id.as_str(), expected.is_tombstone), place);
        ensure!(twice.is_none(), "the stream itself has an event twice: {expected:?}");
    }
    // The next place after the last message, and the next one that nobody has seen.
    let (mut next, mut unseen) = (0, 0);
    for message in messages {
        let event_id = message.header("__event_id")?;
        let place = *place_of
            .get(&(event_id, message.value.is_none()))
            .with_context(|| format!("the item's stream has no such event: {message:?}"))?;
        if place > next {
            let left_out: Vec<_> = expected[next..place].iter().collect();
            bail!("number {place} follows where {next} should: {left_out:?} left out before {message:?}");
        }
        next = place + 1;
        unseen = unseen.max(next);
    }
    ensure!(unseen == expected.len(), "the end is missing: {:?}", &expected[unseen..]);
    ensure!(next == unseen, "it ends in a repeat of number {next} of {unseen}");
    Ok(messages.len() - expected.len())
}

/// The writes that the messages tell, repeats left out, are those of the ledger, item by item and number by number, and
/// the old images tell the same. Deletes must be told by an event.
pub fn check_ledger(messages: &[Message], ledger: &Ledger) -> Result<()> {
    let mut told: Ledger = BTreeMap::new();
    for (key, messages) in by_key(messages)? {
        let mut seen = BTreeMap::new();
        let writes = told.entry(key).or_default();
        let mut count_before = None;
        for message in messages.into_iter().filter(|message| message.value.is_some()) {
            if seen.insert(message.header("__event_id")?, ()).is_some() {
                continue;
            }
            let value = message.json()?;
            let (old, new) = (count_in(&value, "old")?, count_in(&value, "new")?);
            ensure!(old == count_before, "the old image has {old:?} where {count_before:?} was written: {message:?}");
            writes.push(new.map_or(Write::Delete, Write::Put));
            count_before = new;
        }
    }
    for (key, written) in ledger {
        let told = told.remove(key).unwrap_or_default();
        let differs = written.iter().zip(&told).position(|(written, told)| written != told);
        ensure!(differs.is_none(), "write {differs:?} of {key:?} was {written:?}, the messages tell {told:?}");
        ensure!(written.len() == told.len(), "{key:?}: {} writes, {} told", written.len(), told.len());
    }
    ensure!(told.is_empty(), "nobody wrote {told:?}");
    Ok(())
}

/// The last message of each item tells what the table holds now.
pub fn check_final(messages: &[Message], items: &[Item]) -> Result<()> {
    let mut documents = Vec::new();
    for messages in by_key(messages)?.values() {
        let last = messages.last().context("an item without messages")?;
        if last.value.is_some() {
            documents.extend(last.json()?.get("new").cloned());
        }
    }
    compare::check_documents(items, documents)
}

/// The messages of each item in their order, which is one only within a partition.
pub fn by_key(messages: &[Message]) -> Result<BTreeMap<Key, Vec<&Message>>> {
    let mut items: BTreeMap<Key, Vec<&Message>> = BTreeMap::new();
    for message in messages {
        let key = message.key_json()?;
        let text = |name: &str| key.get(name).and_then(Plain::text).map(str::to_owned);
        let key =
            text(PARTITION_KEY).zip(text(SORT_KEY)).with_context(|| format!("not the item's key: {message:?}"))?;
        let others = items.entry(key).or_default();
        if let Some(other) = others.last() {
            ensure!(other.partition == message.partition, "one item in two partitions: {other:?} and {message:?}");
            ensure!(other.offset < message.offset, "not in order: {other:?} before {message:?}");
        }
        others.push(message);
    }
    Ok(items)
}

fn count_in(value: &Plain, image: &str) -> Result<Option<u64>> {
    let Some(image) = value.get(image).filter(|image| **image != Plain::Null) else { return Ok(None) };
    let Some(Plain::Number(number)) = image.get(COUNTER) else { bail!("no number {COUNTER} in {image:?}") };
    let count = number.whole().with_context(|| format!("{number:?} is no count"))?;
    ensure!(Decimal::parse(&count.to_string())? == *number, "{number:?} is no count");
    Ok(Some(count))
}

fn first_repeat(messages: &[Message]) -> String {
    let mut seen = BTreeMap::new();
    for message in messages {
        if let Some(before) = seen.insert((message.header("__event_id").ok(), message.value.is_none()), message) {
            return format!("for example {before:?} and {message:?}");
        }
    }
    "none".to_owned()
}

#[cfg(test)]
mod tests;
