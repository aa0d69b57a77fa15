//! What became of the records of a batch (I9). A record counts once, whatever number of events it became: as dead-lettered
//! if any of them was refused, else as written if any is left, else as filtered.

use crate::batch::{Batch, Counts, DeadLetter, Group};
use crate::event::{ChangeEvent, Rejected};

impl Counts {
    /// Whether everything that was read is accounted for (I9).
    pub fn balance(&self) -> bool {
        self.read == self.written + self.filtered + self.dead_lettered + self.suppressed
    }
}

impl std::ops::AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.read += other.read;
        self.written += other.written;
        self.filtered += other.filtered;
        self.dead_lettered += other.dead_lettered;
        self.suppressed += other.suppressed;
    }
}

impl Batch {
    /// Sets an event aside that the sink refuses. The caller takes it out of the events.
    pub fn refuse(&mut self, event: &ChangeEvent, rejected: Rejected) {
        let number = &event.source.sequence_number;
        if !self.dead_letters.iter().any(|letter| letter.sequence_number == *number) {
            self.counts.refuse();
        }
        self.dead_letters.push(DeadLetter::of_event(event, rejected));
    }
}

impl Counts {
    /// A record that counted as written is dead-lettered in its place.
    pub fn refuse(&mut self) {
        self.written = self.written.saturating_sub(1);
        self.dead_lettered += 1;
    }
}

impl Group {
    /// What became of the records of all batches.
    pub fn counts(&self) -> Counts {
        let mut total = Counts::default();
        self.batches.iter().for_each(|batch| total += batch.counts);
        total
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Advance, Change, Item, Position, SequenceNumber, ShardId, SourceInfo, Step};

    fn event(sequence_number: &str) -> ChangeEvent {
        ChangeEvent {
            key: Item::parse("{}".into()).expect("an item"),
            change: Change::Insert { new: None },
            source: SourceInfo {
                shard: ShardId::new("shard"),
                sequence_number: SequenceNumber::parse(sequence_number.to_owned().into()).expect("digits"),
                event_id: "e".into(),
                created_at_ms: 0,
                size_bytes: 1,
            },
        }
    }

    #[test]
    fn a_record_of_several_events_is_dead_lettered_once() {
        let mut batch = Batch {
            shard: ShardId::new("shard"),
            read_until: None,
            step: Step::Advance(Advance { from: Position::Start, to: Position::End }),
            events: Vec::new(),
            dead_letters: Vec::new(),
            gap: None,
            counts: Counts { read: 3, written: 2, filtered: 1, ..Counts::default() },
            bytes: 0,
        };
        for number in ["1", "1", "2", "1"] {
            batch.refuse(&event(number), Rejected { code: "test.refused", message: String::new() });
        }
        assert_eq!(batch.dead_letters.len(), 4);
        assert_eq!(batch.counts, Counts { read: 3, filtered: 1, dead_lettered: 2, ..Counts::default() });
        assert!(batch.counts.balance());
    }
}
