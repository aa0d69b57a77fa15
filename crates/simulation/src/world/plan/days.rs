//! What happens in a world of days: nobody runs the pipeline, or it stands still, or its sink is away.

use fastrand::Rng;

use super::{Action, HOUR_MS, MINUTE_MS, Profile};

/// All lanes.
const ALL_LANES: u32 = u32::MAX;

/// The table is written to so often while the sink is slow.
const BOUND_WRITES_EVERY_MS: usize = 45_000;

/// Nobody runs the pipeline for hours; in the profile of gaps for longer than the stream keeps its records. What happens
/// later happens so much later. Gives the new end.
pub(super) fn go_away(profile: Profile, span_ms: i64, actions: &mut Vec<(i64, Action)>, rng: &mut Rng) -> i64 {
    let away_ms = if profile == Profile::Gaps { rng.i64(18..60) } else { rng.i64(1..20) } * HOUR_MS;
    let from = rng.i64(0..span_ms);
    for (at, _) in actions.iter_mut().filter(|(at, _)| *at > from) {
        *at += away_ms;
    }
    actions.push((from, Action::Away(away_ms)));
    // The table lives on.
    for _ in 0..rng.u32(1..4) {
        actions.push((from + rng.i64(1..away_ms), Action::Write(rng.u32(1..20))));
        let lineage = if rng.bool() { Action::Rotate } else { Action::Split };
        actions.push((from + rng.i64(1..away_ms), lineage));
    }
    span_ms + away_ms
}

/// The workers stand still for longer than the stream keeps its records, as machines that are suspended do, while the
/// lineage goes on: whole shards come and are trimmed that they never saw. They do not start anew afterwards, so nothing
/// but the lineage tells them what is missing. Gives the new end.
pub(super) fn freeze_for_days(end_ms: i64, actions: &mut Vec<(i64, Action)>, rng: &mut Rng) -> i64 {
    let (from, frozen_ms) = (rng.i64(0..end_ms), rng.i64(34..70) * HOUR_MS);
    for (at, _) in actions.iter_mut().filter(|(at, _)| *at > from) {
        *at += frozen_ms;
    }
    actions.push((from, Action::Suspend(frozen_ms)));
    actions.push((from + frozen_ms, Action::Resume));
    if rng.bool() {
        // A generation is born when its parents are drained and it is not listed yet, and ends soon: of it nothing is left
        // but a name, as the parent of the next one.
        actions.push(((from - rng.i64(1..20_000)).max(0), Action::SplitAll));
        actions.push((from + 1, Action::Write(20)));
        actions.push((from + HOUR_MS, Action::SplitAll));
    }
    for _ in 0..rng.u32(2..5) {
        actions.push((from + rng.i64(1..frozen_ms), Action::Write(rng.u32(1..20))));
        let lineage = if rng.bool() { Action::Rotate } else { Action::Split };
        actions.push((from + rng.i64(1..frozen_ms), lineage));
    }
    end_ms + frozen_ms
}

/// Nobody runs the pipeline for nearly a day, and soon after that there is trouble again: each too short to lose anything, but
/// not both together. Gives the new end.
pub(super) fn go_away_twice(end_ms: i64, actions: &mut Vec<(i64, Action)>, rng: &mut Rng) -> i64 {
    let first_ms = rng.i64(19 * 60..23 * 60) * MINUTE_MS;
    let second_ms = rng.i64(2 * 60..9 * 60) * MINUTE_MS;
    let between_ms = short(rng);
    let from = open_up(end_ms, first_ms + between_ms + second_ms, actions, rng);
    live_on(from, first_ms, actions, rng);
    actions.push((from, Action::Away(first_ms)));
    let again = from + first_ms + between_ms;
    if rng.bool() {
        actions.push((again, Action::Away(second_ms)));
    } else {
        actions.push((again, Action::LanesDown(ALL_LANES)));
        actions.push((again + second_ms, Action::LanesDown(0)));
    }
    end_ms + first_ms + between_ms + second_ms
}

/// The sink is away or slow for hours, and before all that came meanwhile is carried nobody runs the pipeline for nearly a day. Gives
/// the new end.
pub(super) fn lag_and_go_away(end_ms: i64, actions: &mut Vec<(i64, Action)>, rng: &mut Rng) -> i64 {
    let (lag_minutes, away_minutes) = (rng.i64(60..6 * 60), rng.i64(18 * 60..23 * 60));
    let is_away = lag_minutes % 2 == 0;
    // Who is slow reads what is there: nothing is lost, as long as it is known how far. Both together are a little less than a day.
    let (lag_ms, away_ms) = if is_away {
        (lag_minutes * MINUTE_MS, away_minutes * MINUTE_MS)
    } else {
        ((280 + lag_minutes % 20) * MINUTE_MS, (1115 + away_minutes % 15) * MINUTE_MS)
    };
    let between_ms = short(rng);
    let from = open_up(end_ms, lag_ms + between_ms + away_ms, actions, rng);
    live_on(from, lag_ms, actions, rng);
    if is_away {
        actions.push((from, Action::LanesDown(ALL_LANES)));
        actions.push((from + lag_ms, Action::LanesDown(0)));
    } else {
        // A lane always has a page ready, and shards that are idle.
        actions.push((from, Action::CommitsTake(rng.u64(40_000..90_000))));
        actions.push((from + lag_ms, Action::CommitsTake(0)));
        for at in (from..from + lag_ms).step_by(BOUND_WRITES_EVERY_MS) {
            actions.push((at, Action::Write(rng.u32(1..4))));
        }
    }
    actions.push((from + lag_ms + between_ms, Action::Away(away_ms)));
    end_ms + lag_ms + between_ms + away_ms
}

/// The machines are suspended: for the service days go by, and for the workers nothing.
pub(super) fn suspend(end_ms: i64, actions: &mut Vec<(i64, Action)>, rng: &mut Rng) {
    let from = rng.i64(0..end_ms);
    if rng.bool() {
        // A generation that is registered and not read yet.
        actions.push(((from - rng.i64(0..20_000)).max(0), Action::SplitAll));
        actions.push(((from - rng.i64(0..5_000)).max(0), Action::Write(20)));
    }
    let hours = if rng.bool() { 1..23 } else { 23..60 };
    actions.push((from, Action::Leap(rng.i64(hours) * HOUR_MS + rng.i64(0..HOUR_MS))));
}

/// A lane is away for more than a day while the others go on, and somebody starts the process anew. Gives the new end.
pub(super) fn lane_down_for_a_day(end_ms: i64, actions: &mut Vec<(i64, Action)>, rng: &mut Rng) -> i64 {
    let down_ms = rng.i64(20 * 60..30 * 60) * MINUTE_MS;
    let from = open_up(end_ms, down_ms, actions, rng);
    live_on(from, down_ms, actions, rng);
    let lanes = rng.u32(1..);
    actions.push((from, Action::LanesDown(lanes)));
    actions.push((from + down_ms, Action::LanesDown(0)));
    if rng.bool() {
        let at = from + rng.i64(down_ms / 2..down_ms);
        actions.push((at, Action::Crash(0)));
        actions.push((at, Action::Start(0)));
    }
    if rng.u32(0..4) == 0 {
        // It never registered anything: the stream does not become known before it is back.
        actions.push((0, Action::LanesDown(lanes)));
    }
    end_ms + down_ms
}

/// Long enough to begin with what is there, and mostly not to carry it.
fn short(rng: &mut Rng) -> i64 {
    if rng.bool() { rng.i64(1_000..20_000) } else { rng.i64(1_000..10 * MINUTE_MS) }
}

/// Makes room for something that lasts so long: what happens later happens so much later. Gives where it begins.
fn open_up(end_ms: i64, lasts_ms: i64, actions: &mut [(i64, Action)], rng: &mut Rng) -> i64 {
    let from = rng.i64(0..end_ms);
    for (at, _) in actions.iter_mut().filter(|(at, _)| *at > from) {
        *at += lasts_ms;
    }
    from
}

/// The table goes on meanwhile: what is written to a generation that was born soon is the first to be trimmed.
fn live_on(from: i64, lasts_ms: i64, actions: &mut Vec<(i64, Action)>, rng: &mut Rng) {
    let soon_ms = lasts_ms.min(3 * HOUR_MS);
    for _ in 0..rng.u32(1..4) {
        let at = from + rng.i64(1..soon_ms);
        actions.push((at, if rng.bool() { Action::Rotate } else { Action::SplitAll }));
        actions.push((at + 1, Action::Write(rng.u32(1..30))));
    }
    for _ in 0..rng.u32(0..4) {
        actions.push((from + rng.i64(1..lasts_ms), Action::Write(rng.u32(1..20))));
        actions.push((from + rng.i64(1..lasts_ms), Action::Rotate));
    }
}
