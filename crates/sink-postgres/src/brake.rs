//! The brake on dead letters ([`tailwater_model::Brake`]) within the commit's transaction.

use tailwater_model::{DeadLetter, TooManyDeadLetters};

use crate::fence::CommitFault;
use crate::lane::LaneIdentity;
use crate::statements::Statements;

/// Where a person finds the stored ones.
pub(crate) const WHERE_TO_LOOK: &str = "`select code, error, count(*) from tailwater.dead_letters group by 1, 2`";

/// Looks whether the store may take these dead letters, before it does. Until the transaction ends, no other lane of the
/// pipeline passes here: else each would overlook what the others are about to store.
pub(crate) async fn check_rate<S: Statements>(
    session: &mut S,
    lane: &LaneIdentity,
    letters: &[DeadLetter],
    per_minute_max: u32,
) -> Result<(), CommitFault> {
    session.lock_dead_letters(lane).await?;
    let recent = session.recent_dead_letters(lane).await?;
    TooManyDeadLetters::check(recent, letters, per_minute_max).map_err(CommitFault::DeadLetters)
}
