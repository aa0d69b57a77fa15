//! From a group to what one transaction will hold. Pure: no I/O, no clock.

use std::collections::BTreeMap;

use tailwater_model::{
    Change, ChangeEvent, Counts, DeadLetter, DeleteMode, FirstListing, Gap, Group, Key, KeySchema, KeyValue, Position,
    Rejected, ServiceTime, ShardId, SourceInfo, Step, fold_by_key, push_plain_item, push_plain_key,
};

use crate::document::has_escaped_nul;
use crate::failures::RefusedAlike;

/// Everything that one transaction writes.
#[derive(Debug)]
pub(crate) struct Work {
    /// What becomes of each shard. Boxed: a node of the map holds eleven, and would be too large for what is allocated
    /// cheaply.
    pub(crate) steps: BTreeMap<ShardId, Box<ShardStep>>,
    /// One row per key, in the order of keys: two writers that keep this order cannot deadlock.
    pub(crate) rows: Vec<Row>,
    pub(crate) dead_letters: Vec<DeadLetter>,
    pub(crate) gaps: Vec<Gap>,
    pub(crate) first_listing: Option<FirstListing>,
    /// Set where every row of it was refused in the same way.
    pub(crate) refused_alike: Option<RefusedAlike>,
    /// The shard of each record that was refused since somebody asked.
    refused: Vec<ShardId>,
}

/// The steps of one shard in a group, joined.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ShardStep {
    pub(crate) begin: Begin,
    pub(crate) to: Position,
    /// How far in time it was read; nothing leaves what is stored.
    pub(crate) read_until: Option<ServiceTime>,
    pub(crate) counts: Counts,
    /// Its row goes, after all of that.
    pub(crate) is_forgotten: bool,
}

/// What must be true of a shard before its step.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Begin {
    /// It is not stored yet.
    Unknown { parent: Option<ShardId> },
    /// It stands here. I2
    At(Position),
}

/// One row to write.
#[derive(Debug)]
pub struct Row {
    /// The item's key.
    pub key: Key,
    /// The last change of the item in its group.
    pub event: ChangeEvent,
    /// What becomes of the row.
    pub write: Write,
    /// The changes of the item before it in its group, oldest first. They count when this one is refused.
    pub earlier: Vec<ChangeEvent>,
}

/// What to do with a row.
#[derive(Debug, PartialEq, Eq)]
pub enum Write {
    /// The document becomes this.
    State {
        /// The item in plain JSON.
        document: String,
        /// Whether the item is gone and this is its last state.
        deleted: bool,
    },
    /// The row is marked as deleted; this document is only for a row that does not exist.
    Mark {
        /// The key in plain JSON.
        document: String,
    },
    /// The row goes away.
    Remove,
}

/// Two steps of a shard that do not follow one another.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct BrokenSteps(pub(crate) ShardId);

impl Work {
    /// A shard is stored for the first time.
    pub(crate) fn registers(&self) -> bool {
        self.steps.values().any(|step| matches!(step.begin, Begin::Unknown { .. }))
    }

    /// Puts the event of a row aside that the database refused.
    pub(crate) fn refuse(&mut self, event: &ChangeEvent, rejected: Rejected) {
        self.account_refused(event);
        self.dead_letters.push(DeadLetter::of_event(event, rejected));
    }

    /// Puts a row aside that the database refused, and gives what is to be written in its place: for the last state of an
    /// item that is gone its mark, and else the newest earlier change of the item that can be written.
    pub(crate) fn refuse_row(
        &mut self,
        row: Row,
        rejected: Rejected,
        keys: &KeySchema,
        delete: DeleteMode,
    ) -> Option<Row> {
        let Row { key, event, write, mut earlier } = row;
        match write {
            Write::State { deleted: true, .. } => {
                let write = self.refuse_old_image(&key, &event, rejected, keys);
                return Some(Row { key, event, write, earlier });
            }
            // It was kept whole when its old image was refused: now it is known that not even the mark could be written.
            Write::Mark { .. } if event.change.old_image().is_some() => self.replace_reason(&event, rejected),
            _ => self.refuse(&event, rejected),
        }
        let event = earlier.pop()?;
        self.newest_row(key, event, earlier, keys, delete)
    }

    /// An item is gone whatever its old image holds, so its row is marked and no earlier state can take its place. But that
    /// image stands nowhere in the table then: the record is kept whole, and it counts as dead-lettered, once (I9).
    fn refuse_old_image(&mut self, key: &Key, event: &ChangeEvent, rejected: Rejected, keys: &KeySchema) -> Write {
        let message = format!("the row is marked as deleted without the item's last state: {}", rejected.message);
        self.refuse(event, Rejected { message, ..rejected });
        mark(key, keys)
    }

    /// The dead letter of the event tells this reason.
    fn replace_reason(&mut self, event: &ChangeEvent, rejected: Rejected) {
        let record = event.record_json();
        let same = |letter: &&mut DeadLetter| letter.shard == event.source.shard && letter.record == record;
        if let Some(letter) = self.dead_letters.iter_mut().rfind(same) {
            (letter.code, letter.error) = (rejected.code, rejected.message);
        }
    }

    /// Counts the event's record as dead-lettered, unless another event of it was refused before (I9).
    fn account_refused(&mut self, event: &ChangeEvent) {
        let SourceInfo { shard, sequence_number, .. } = &event.source;
        let same = |letter: &DeadLetter| letter.shard == *shard && letter.sequence_number == *sequence_number;
        if !self.dead_letters.iter().any(same) {
            self.steps.get_mut(shard).iter_mut().for_each(|step| step.counts.refuse());
            self.refused.push(shard.clone());
        }
    }

    /// The shards of the records that were refused since the last call.
    pub(crate) fn take_refused(&mut self) -> Vec<ShardId> {
        std::mem::take(&mut self.refused)
    }

    fn newest_row(
        &mut self,
        key: Key,
        mut event: ChangeEvent,
        mut earlier: Vec<ChangeEvent>,
        keys: &KeySchema,
        delete: DeleteMode,
    ) -> Option<Row> {
        loop {
            match write_of(&key, &event, keys, delete) {
                Ok(write) => return Some(Row { key, event, write, earlier }),
                Err(Unwritable::Event(rejected)) => self.refuse(&event, rejected),
                Err(Unwritable::OldImage(rejected)) => {
                    let write = self.refuse_old_image(&key, &event, rejected, keys);
                    return Some(Row { key, event, write, earlier });
                }
            }
            event = earlier.pop()?;
        }
    }

    /// What the whole transaction accounts for.
    pub(crate) fn counts(&self) -> Counts {
        self.steps.values().fold(Counts::default(), |mut sum, step| {
            sum += step.counts;
            sum
        })
    }
}

/// Joins the steps, folds the events to one per key, and turns each into a row or a dead letter.
pub(crate) fn prepare(group: Group, keys: &KeySchema, delete: DeleteMode) -> Result<Work, BrokenSteps> {
    let mut steps = BTreeMap::new();
    let mut dead_letters = Vec::new();
    let mut gaps = Vec::new();
    let mut events = Vec::with_capacity(group.events());
    for batch in group.batches {
        join(&mut steps, batch.shard, batch.step, batch.read_until, batch.counts)?;
        dead_letters.extend(batch.dead_letters);
        gaps.extend(batch.gap);
        events.extend(batch.events);
    }
    let mut folded = fold_by_key(events, keys);
    let rows = Vec::with_capacity(folded.latest.len());
    let first_listing = group.first_listing;
    let mut work = Work { steps, rows, dead_letters, gaps, first_listing, refused_alike: None, refused: Vec::new() };
    for (event, rejected) in folded.rejected {
        work.refuse(&event, rejected);
    }
    for (key, event) in folded.latest {
        let earlier = folded.overtaken.remove(&key).unwrap_or_default();
        let row = work.newest_row(key, event, earlier, keys, delete);
        work.rows.extend(row);
    }
    // The fence counts the steps as they are now.
    work.take_refused();
    Ok(work)
}

/// Adds one step to what its shard did before in this group.
fn join(
    steps: &mut BTreeMap<ShardId, Box<ShardStep>>,
    shard: ShardId,
    step: Step,
    read_until: Option<ServiceTime>,
    counts: Counts,
) -> Result<(), BrokenSteps> {
    let is_forgotten = step == Step::Forget;
    let (begin, to) = match step {
        Step::Register { parent, position } => (Begin::Unknown { parent }, position),
        Step::Advance(advance) => (Begin::At(advance.from), advance.to),
        Step::Forget => (Begin::At(Position::End), Position::End),
    };
    match steps.get_mut(&shard) {
        None => {
            steps.insert(shard, Box::new(ShardStep { begin, to, read_until, counts, is_forgotten }));
            Ok(())
        }
        // I2: the steps of a shard follow one another within a group, too.
        Some(before) if !before.is_forgotten && begin == Begin::At(before.to.clone()) => {
            before.to = to;
            before.read_until = read_until.or(before.read_until);
            before.is_forgotten = is_forgotten;
            before.counts += counts;
            Ok(())
        }
        Some(_) => Err(BrokenSteps(shard)),
    }
}

/// What of an event no row can hold.
enum Unwritable {
    /// All of it.
    Event(Rejected),
    /// The last state of an item that is gone.
    OldImage(Rejected),
}

fn write_of(key: &Key, event: &ChangeEvent, keys: &KeySchema, delete: DeleteMode) -> Result<Write, Unwritable> {
    if key.values().iter().any(|value| matches!(value, KeyValue::S(text) if text.contains('\0'))) {
        return Err(Unwritable::Event(nul("the key")));
    }
    let removed = matches!(event.change, Change::Remove { .. });
    if removed && delete == DeleteMode::Hard {
        return Ok(Write::Remove);
    }
    let image = if removed { event.change.old_image() } else { event.change.new_image() };
    let document = image.map(|image| {
        let mut document = String::new();
        push_plain_item(image, &mut document);
        document
    });
    match document {
        Some(document) if !has_escaped_nul(&document) => Ok(Write::State { document, deleted: removed }),
        Some(_) if removed => Err(Unwritable::OldImage(nul("the old image"))),
        Some(_) => Err(Unwritable::Event(nul("the item"))),
        None if removed => Ok(mark(key, keys)),
        None => Err(Unwritable::Event(Rejected {
            code: "sink.image_missing",
            message: "the record has no new image, which a mirror needs: the stream's view type must be NEW_IMAGE or \
                      NEW_AND_OLD_IMAGES"
                .into(),
        })),
    }
}

fn mark(key: &Key, keys: &KeySchema) -> Write {
    let mut document = String::new();
    push_plain_key(key, keys, &mut document);
    Write::Mark { document }
}

fn nul(what: &str) -> Rejected {
    Rejected {
        code: "sink.postgres.nul",
        message: format!("{what} contains the character U+0000, which Postgres cannot store"),
    }
}
