//! The brake on dead letters. So many within a minute are a wrong configuration and not single bad records, and a pipeline
//! that goes on puts a whole table aside. Each sink's store counts them, for all lanes and processes; nothing is stored that
//! would be too much; and the brake stays in the store until a person lifts it with a greater number.

use std::time::Duration;

use crate::{DeadLetter, Trouble, TroubleKind};

const CODE: &str = "sink.dead_letter_rate";

/// A stored brake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Brake {
    /// The `dead_letters_per_minute_max` that would have been exceeded.
    pub per_minute_max: u32,
    /// When that was, in words of the store's clock.
    pub since: String,
}

/// Dead letters that would be too many.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TooManyDeadLetters {
    per_minute_max: u32,
    /// With those that the store took within the last minute.
    together: u64,
    /// Of the commit alone.
    refused: usize,
    /// Why the first of them is one. They are not stored, so this is where a person can read it.
    reason: String,
}

impl TooManyDeadLetters {
    /// How long a dead letter counts after the store took it.
    pub const WINDOW: Duration = Duration::from_secs(60);

    /// Whether the store may take these, after `recent` others within the [window](Self::WINDOW). To be asked before it does.
    ///
    /// # Errors
    /// When together they are more than `per_minute_max`.
    pub fn check<'a>(
        recent: u64,
        letters: impl IntoIterator<Item = &'a DeadLetter>,
        per_minute_max: u32,
    ) -> Result<(), Self> {
        let mut letters = letters.into_iter();
        let Some(first) = letters.next() else { return Ok(()) };
        let refused = letters.count() + 1;
        let together = recent + refused as u64;
        if together <= u64::from(per_minute_max) {
            return Ok(());
        }
        Err(Self { per_minute_max, together, refused, reason: format!("{}: {}", first.code, first.error) })
    }

    /// For the lane that meets it. `where_to_look` says where the stored ones are, as the end of "look at this reason and at".
    pub fn trouble(&self, where_to_look: &str) -> Trouble {
        let Self { per_minute_max, together, refused, reason } = self;
        let message = format!(
            "with the {refused} of this commit, {together} records would be in the dead letters of the last minute, and \
             dead_letters_per_minute_max is {per_minute_max}: nothing of the commit was stored, and the pipeline stopped; the \
             first of them: {reason}"
        );
        Trouble::new(TroubleKind::Config, CODE, message).advise(format!(
            "look at this reason and at {where_to_look}, mend the cause, and start again with a greater \
             dead_letters_per_minute_max: {together} lets this commit through, and what comes within the same minute counts \
             with it"
        ))
    }
}

impl Brake {
    /// Whether a start with this number lifts it.
    pub fn is_lifted_by(&self, per_minute_max: u32) -> bool {
        per_minute_max > self.per_minute_max
    }

    /// For whoever wants to start with a number that does not lift it. `where_to_look` says where the dead letters are, as the
    /// end of "look at".
    pub fn trouble(&self, pipeline: &str, per_minute_max: u32, where_to_look: &str) -> Trouble {
        let message = format!(
            "pipeline \"{pipeline}\" stopped at {}, because too many records would have gone to the dead letters for \
             dead_letters_per_minute_max = {}, and it says {per_minute_max} now",
            self.since, self.per_minute_max
        );
        Trouble::new(TroubleKind::Config, CODE, message).advise(format!(
            "look at {where_to_look} and at what the pipeline said then, mend the cause, and start again with \
             dead_letters_per_minute_max greater than {}; later it may be as before",
            self.per_minute_max
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{SequenceNumber, ShardId};

    fn letters(count: usize) -> Vec<DeadLetter> {
        let letter = |number: usize| DeadLetter {
            shard: ShardId::new("shard"),
            sequence_number: SequenceNumber::parse(number.to_string().into()).expect("digits"),
            event_id: "e".into(),
            code: "test.refused",
            error: format!("reason {number}"),
            record: "{}".into(),
        };
        (1..=count).map(letter).collect()
    }

    #[test]
    fn as_many_as_are_allowed_pass_and_one_more_does_not() {
        for (recent, count, max, together) in [(0, 3, 3, None), (2, 1, 3, None), (2, 2, 3, Some(4)), (0, 1, 0, Some(1))]
        {
            let checked = TooManyDeadLetters::check(recent, &letters(count), max);
            assert_eq!(checked.as_ref().err().map(|exceeded| exceeded.together), together, "{recent}, {count}, {max}");
            let Err(exceeded) = checked else { continue };
            let trouble = exceeded.trouble("the table");
            assert!(trouble.message.contains("test.refused: reason 1"), "{trouble:?}");
            assert!(trouble.advice.is_some_and(|advice| advice.contains(&format!("{} lets", exceeded.together))));
        }
        assert_eq!(TooManyDeadLetters::check(1_000, &[], 0), Ok(()), "a commit without any passes");
    }

    #[test]
    fn only_a_greater_number_lifts_a_brake() {
        let brake = Brake { per_minute_max: 100, since: "then".into() };
        assert_eq!([0, 99, 100, 101].map(|max| brake.is_lifted_by(max)), [false, false, false, true]);
    }
}
