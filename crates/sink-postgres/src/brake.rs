//! The brake on dead letters. So many within a minute are a wrong configuration and not single bad records, and a pipeline
//! that goes on puts a whole table aside. The store counts, for all lanes and processes; nothing is stored that would be
//! too much; and the brake stays in the store until a person lifts it with a greater number.

use tailwater_model::{DeadLetter, Trouble, TroubleKind};

use crate::fence::CommitFault;
use crate::lane::LaneIdentity;
use crate::statements::Statements;

const CODE: &str = "sink.dead_letter_rate";

/// A stored brake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Brake {
    /// The `dead_letters_per_minute_max` that would have been exceeded.
    pub per_minute_max: u32,
    /// When that was, in words of the server's clock.
    pub since: String,
}

/// Dead letters that would be too many.
#[derive(Debug)]
pub(crate) struct Exceeded {
    /// With those that the store took within the last minute.
    together: u64,
    /// Of the commit alone.
    refused: usize,
    /// Why the first of them is one. They are not stored, so this is where a person can read it.
    reason: String,
}

/// Looks whether the store may take these dead letters, before it does. Until the transaction ends, no other lane of the
/// pipeline passes here: else each would overlook what the others are about to store.
pub(crate) async fn check_rate<S: Statements>(
    session: &mut S,
    lane: &LaneIdentity,
    letters: &[DeadLetter],
    per_minute_max: u32,
) -> Result<(), CommitFault> {
    session.lock_dead_letters(lane).await?;
    let together = session.recent_dead_letters(lane).await? + letters.len() as u64;
    if together <= u64::from(per_minute_max) {
        return Ok(());
    }
    let reason = letters.first().map(|letter| format!("{}: {}", letter.code, letter.error)).unwrap_or_default();
    Err(CommitFault::DeadLetters(Exceeded { together, refused: letters.len(), reason }))
}

impl Exceeded {
    /// For the lane that meets it.
    pub(crate) fn trouble(&self, per_minute_max: u32) -> Trouble {
        let Self { together, refused, reason } = self;
        let message = format!(
            "with the {refused} of this commit, {together} records would be in the dead letters of the last minute, and \
             dead_letters_per_minute_max is {per_minute_max}: nothing of the commit was stored, and the pipeline stopped; the \
             first of them: {reason}"
        );
        Trouble::new(TroubleKind::Config, CODE, message).advise(format!(
            "look at this reason and at `select code, error, count(*) from tailwater.dead_letters group by 1, 2`, mend the \
             cause, and start again with a greater dead_letters_per_minute_max; {together} lets all of them through"
        ))
    }
}

impl Brake {
    /// For whoever wants to start with a number that does not lift it.
    pub(crate) fn trouble(&self, pipeline: &str, per_minute_max: u32) -> Trouble {
        let message = format!(
            "pipeline \"{pipeline}\" stopped at {}, because too many records would have gone to the dead letters for \
             dead_letters_per_minute_max = {}, and it says {per_minute_max} now",
            self.since, self.per_minute_max
        );
        Trouble::new(TroubleKind::Config, CODE, message).advise(format!(
            "look at `select code, error, count(*) from tailwater.dead_letters group by 1, 2` and at what the pipeline said \
             then, mend the cause, and start again with dead_letters_per_minute_max greater than {}; later it may be as before",
            self.per_minute_max
        ))
    }
}
