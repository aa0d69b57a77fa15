//! What becomes of the records of a batch: taken by the sink, or set aside whole.

use tailwater_model::{Batch, ChangeEvent, Counts, DeadLetter, Group, Rejected};

/// Offers each event to the sink. What the sink refuses goes to the dead letters of the same batch (I5), and the
/// batch's counts say what became of all its records.
pub(crate) fn set_refused_aside(batch: &mut Batch, mut offer: impl FnMut(&ChangeEvent) -> Result<(), Rejected>) {
    let events = std::mem::take(&mut batch.events);
    for event in events {
        match offer(&event) {
            Ok(()) => batch.events.push(event),
            Err(rejected) => batch.dead_letters.push(DeadLetter::of_event(&event, rejected)),
        }
    }
    batch.counts.written = batch.events.len() as u64;
    batch.counts.dead_lettered = batch.dead_letters.len() as u64;
    // I9: reported, not refused: the records are safe, it is the counting that has a bug.
    if !batch.counts.balance() {
        tracing::error!(shard = %batch.shard, counts = ?batch.counts, "the accounting of a batch does not balance: please report this");
    }
}

/// The sum over a group whose batches were all offered to the sink.
pub(crate) fn total(group: &Group) -> Counts {
    let mut total = Counts::default();
    group.batches.iter().for_each(|batch| total += batch.counts);
    total
}
