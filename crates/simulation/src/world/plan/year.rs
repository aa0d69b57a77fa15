//! A year in fast motion: days of rotations, with little of everything else.

use fastrand::Rng;

use super::{Action, HOUR_MS};

/// A shard closes about every four hours (observed).
const ROTATIONS_PER_DAY: i64 = 6;
const DAY_MS: i64 = 24 * HOUR_MS;

/// What happens in it, and how long it lasts.
pub(super) fn draw(shards: usize, has: &dyn Fn(&str) -> bool, rng: &mut Rng) -> (Vec<(i64, Action)>, i64) {
    let days = rng.i64(4..9);
    let span_ms = days * DAY_MS;
    let mut actions = vec![(0, Action::Start(0))];
    let rotations = days * ROTATIONS_PER_DAY * i64::try_from(shards).unwrap_or(1);
    for _ in 0..rotations {
        actions.push((rng.i64(0..span_ms), Action::Rotate));
    }
    for _ in 0..rng.u32(10..60) {
        actions.push((rng.i64(0..span_ms), Action::Write(rng.u32(1..10))));
    }
    for _ in 0..rng.u32(0..4) {
        let at = rng.i64(0..span_ms);
        actions.push((at, Action::Crash(0)));
        actions.push((at, Action::Start(0)));
    }
    if has("process.second_owner") {
        actions.push((rng.i64(0..span_ms), Action::Start(1)));
    }
    (actions, span_ms)
}
