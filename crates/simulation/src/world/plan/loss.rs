//! Worlds that end with a loss that no start may pass over (I11).

use fastrand::Rng;

use super::{Action, MINUTE_MS, Profile};
use crate::world::fault::{FAULTS, FAULTS_OF_LOSS, Fault};
use crate::world::ground::Loss;

/// One world in so many of the sinks that ship.
const LOSS_ONE_IN: u32 = 8;
/// Nobody is at work for so long; and so much of it goes by before the loss, until nothing of theirs is under way any more:
/// late requests, and transactions that nobody ends.
const AWAY_MS: i64 = 6 * MINUTE_MS;
const SETTLED_MS: i64 = 5 * MINUTE_MS;

/// The fault class, with its actions at the end of the world. Gives the new end.
pub(super) fn draw(
    profile: Profile,
    end_ms: i64,
    faults: &mut Vec<&'static Fault>,
    actions: &mut Vec<(i64, Action)>,
    rng: &mut Rng,
) -> i64 {
    if !matches!(profile, Profile::Kafka | Profile::Postgres) || rng.u32(0..LOSS_ONE_IN) > 0 {
        return end_ms;
    }
    let of_loss = &FAULTS[FAULTS.len() - FAULTS_OF_LOSS..];
    let losses = of_loss.iter().zip([Loss::Progress, Loss::Target]);
    let drawn: Vec<_> = losses.skip(rng.usize(0..FAULTS_OF_LOSS)).take(1).collect();
    for (fault, loss) in drawn {
        faults.push(fault);
        actions.push((end_ms, Action::Away(AWAY_MS)));
        actions.push((end_ms + SETTLED_MS, Action::Lose(loss)));
    }
    end_ms + AWAY_MS
}
