//! What came to a table before its pipeline began: shards that closed and went, and records that nobody was there to read.

use fastrand::Rng;

use super::{Action, HOUR_MS, MINUTE_MS};

/// One world in so many has a past.
const PAST_ONE_IN: u32 = 8;

/// What happens before anybody starts, in its order.
pub(super) fn draw(rng: &mut Rng) -> Vec<(i64, Action)> {
    if rng.u32(0..PAST_ONE_IN) > 0 {
        return Vec::new();
    }
    let steps = (0..rng.usize(2..8)).flat_map(|_| {
        let happened = match rng.u32(0..5) {
            0 | 1 => Action::Write(rng.u32(1..20)),
            2 | 3 => Action::Rotate,
            _ => Action::Split,
        };
        [(0, happened), (0, Action::Pass(rng.i64(MINUTE_MS..8 * HOUR_MS)))]
    });
    steps.collect()
}
