//! Collecting the next group: bounded by events, bytes and delay, with the transforms applied on the way in.

use std::sync::Arc;
use std::time::Duration;

use tailwater_model::{Batch, ChangeEvent, DeadLetter, FirstListing, Group, Transform, conceal_event, conceal_letter};
use tokio::time::Instant;
use tracing::error;

/// The transforms of a pipeline, in order.
pub(crate) type Transforms = Arc<Vec<Box<dyn Transform>>>;

/// Most batches of a group, those without events too: a step takes a row of the sink.
const GROUP_BATCHES_MAX: usize = 1_000;

/// Bounds of a group (I6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct GroupLimits {
    pub(crate) events_max: usize,
    pub(crate) bytes_max: usize,
    pub(crate) delay_max: Duration,
}

/// The group that grows while the one before it is being committed.
pub(crate) struct Collecting {
    limits: GroupLimits,
    transforms: Transforms,
    group: Group,
    events: usize,
    bytes: usize,
    due_at: Option<Instant>,
}

impl Collecting {
    pub(crate) fn new(limits: GroupLimits, transforms: Transforms) -> Self {
        Self { limits, transforms, group: Group::default(), events: 0, bytes: 0, due_at: None }
    }

    /// Whether another batch may come in. The last one may overshoot the bounds: a page is never cut.
    pub(crate) fn has_room(&self) -> bool {
        self.events < self.limits.events_max
            && self.bytes < self.limits.bytes_max
            && self.group.batches.len() < GROUP_BATCHES_MAX
            && !self.has_stop_gap()
    }

    /// Takes other bounds for what comes next.
    pub(crate) fn limit(&mut self, limits: GroupLimits) {
        self.limits = limits;
    }

    /// Events and bytes that are in it.
    pub(crate) fn size(&self) -> (usize, usize) {
        (self.events, self.bytes)
    }

    /// When the group is to be committed even if it is not full; nothing while it is empty.
    pub(crate) fn due_at(&self) -> Option<Instant> {
        self.due_at
    }

    /// Takes a batch in. Answers by how many bytes it grew on the way.
    pub(crate) fn push(&mut self, mut batch: Batch) -> usize {
        let bytes_before = batch.bytes;
        // Counted before the transforms: what was read is what fills time.
        self.events += batch.events.len();
        transform(&mut batch, &self.transforms);
        self.bytes += batch.bytes;
        if !batch.counts.balance() {
            // Reported, not refused: the records are safe, it is the counting that has a bug.
            error!(shard = %batch.shard, counts = ?batch.counts, "the accounting of a batch does not balance: please report this");
        }
        let grown = batch.bytes.saturating_sub(bytes_before);
        self.group.batches.push(batch);
        self.begin_delay();
        grown
    }

    /// What was told of the first complete listing is committed at once: registrations wait for it.
    pub(crate) fn first_listing(&mut self, listing: FirstListing) {
        self.group.first_listing = Some(listing);
        self.due_at = Some(Instant::now());
    }

    /// Hands over the group and begins an empty one, which has space for as many batches: it grows no more then.
    pub(crate) fn take(&mut self) -> Group {
        self.events = 0;
        self.bytes = 0;
        self.due_at = None;
        let batches = Vec::with_capacity(self.group.batches.len());
        std::mem::replace(&mut self.group, Group { batches, first_listing: None })
    }

    fn begin_delay(&mut self) {
        self.due_at.get_or_insert_with(|| Instant::now() + self.limits.delay_max);
    }

    fn has_stop_gap(&self) -> bool {
        self.group.batches.last().and_then(|batch| batch.gap.as_ref()).is_some_and(|gap| gap.stop)
    }
}

/// Runs the events through all transforms and counts what becomes of the records (I9). The step is never touched (I5):
/// what is dropped is filtered, what is refused goes to the dead letters.
fn transform(batch: &mut Batch, transforms: &[Box<dyn Transform>]) {
    batch.counts.dead_lettered += batch.dead_letters.len() as u64;
    if transforms.is_empty() {
        batch.counts.written += batch.events.len() as u64;
        return;
    }
    batch.dead_letters.iter_mut().for_each(|letter| conceal_letter(letter, transforms));
    let events = std::mem::take(&mut batch.events);
    let read = events.len();
    batch.events.reserve_exact(read);
    for event in events {
        let (carried, refused) = (batch.events.len(), batch.dead_letters.len());
        carry(&event, transforms, batch);
        batch.bytes += copied_bytes(&event, &batch.events[carried..], &batch.dead_letters[refused..]);
        let counts = &mut batch.counts;
        if batch.dead_letters.len() > refused {
            counts.dead_lettered += 1;
        } else if batch.events.len() > carried {
            counts.written += 1;
        } else {
            counts.filtered += 1;
        }
    }
    batch.bytes += (batch.events.capacity() - read) * size_of::<ChangeEvent>();
}

/// Memory that is held for a record beside the page that it came in: images that were written anew, and dead letters.
fn copied_bytes(came: &ChangeEvent, carried: &[ChangeEvent], refused: &[DeadLetter]) -> usize {
    let images = carried.iter().flat_map(|event| event.change.images());
    let copies = images.filter(|image| !came.change.images().any(|original| image.shares(original)));
    let letters = refused.iter().map(|letter| size_of::<DeadLetter>() + letter.memory_bytes());
    copies.map(|image| image.typed_json().len()).chain(letters).sum()
}

/// Carries one event through the transforms that are still to come. Where one refuses it, the dead letter has the event as
/// it came there, without what this transform and those behind it would have hidden
/// (`docs/decisions/20261128-what-a-dead-letter-holds.md`).
fn carry(event: &ChangeEvent, to_come: &[Box<dyn Transform>], batch: &mut Batch) {
    let Some((next, behind)) = to_come.split_first() else { return batch.events.push(event.clone()) };
    let mut results = Vec::with_capacity(1);
    match next.apply(event.clone(), &mut results) {
        Ok(()) => results.iter().for_each(|event| carry(event, behind, batch)),
        Err(rejected) => {
            let mut shown = event.clone();
            conceal_event(&mut shown, to_come);
            batch.dead_letters.push(DeadLetter::of_event(&shown, rejected));
        }
    }
}

#[cfg(test)]
mod tests;
