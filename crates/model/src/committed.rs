//! What a commit did, as the engine counts it and tells of it.

use crate::batch::{Counts, DeadLetter, Group};
use crate::position::ShardId;

/// What a commit did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Committed {
    /// Records now in the sink, with those that were overtaken inside the group.
    pub written: u64,
    /// Records now in the dead letters.
    pub dead_lettered: u64,
    /// Why they are there, for the log: one for each shard and code.
    pub reasons: Box<[DeadLetterReason]>,
}

/// Why records of a shard went to the dead letters in one commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetterReason {
    /// The shard.
    pub shard: ShardId,
    /// Stable dotted code of the reason.
    pub code: &'static str,
    /// The reason in words, of the first of them. Without any value of an item.
    pub error: String,
    /// How many dead letters of this shard have this code.
    pub letters: u64,
}

impl Committed {
    /// Of a commit that accounted for these records, and stored these dead letters.
    pub fn of<'a>(counts: Counts, letters: impl IntoIterator<Item = &'a DeadLetter>) -> Self {
        let mut reasons: Vec<DeadLetterReason> = Vec::new();
        for DeadLetter { shard, code, error, .. } in letters {
            match reasons.iter_mut().find(|reason| reason.shard == *shard && reason.code == *code) {
                Some(reason) => reason.letters += 1,
                None => reasons.push(DeadLetterReason { shard: shard.clone(), code, error: error.clone(), letters: 1 }),
            }
        }
        Self { written: counts.written, dead_lettered: counts.dead_lettered, reasons: reasons.into() }
    }

    /// Of a commit of this group, with what the sink refused of it.
    pub fn of_group(group: &Group) -> Self {
        Self::of(group.counts(), group.batches.iter().flat_map(|batch| &batch.dead_letters))
    }

    /// How many records are in the sink, and how many in the dead letters.
    pub fn figures(&self) -> (u64, u64) {
        (self.written, self.dead_lettered)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SequenceNumber;

    #[test]
    fn each_shard_and_code_has_one_reason() {
        let letter = |shard: &str, code: &'static str, error: &str| DeadLetter {
            shard: ShardId::new(shard),
            sequence_number: SequenceNumber::parse("1".into()).expect("digits"),
            event_id: "e".into(),
            code,
            error: error.into(),
            record: "{}".into(),
        };
        let letters =
            [letter("1", "a", "first"), letter("1", "a", "second"), letter("1", "b", "x"), letter("2", "a", "y")];
        let counts = Counts { read: 5, written: 1, dead_lettered: 4, ..Counts::default() };
        let committed = Committed::of(counts, &letters);
        assert_eq!(committed.figures(), (1, 4));
        let told: Vec<_> = committed.reasons.iter().map(|reason| (reason.error.as_str(), reason.letters)).collect();
        assert_eq!(told, [("first", 2), ("x", 1), ("y", 1)]);
        assert!(Committed::of(counts, []).reasons.is_empty());
    }
}
