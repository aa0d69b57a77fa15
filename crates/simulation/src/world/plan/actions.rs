//! What happens in a world of some minutes.

use fastrand::Rng;

use super::{Action, HOUR_MS, MINUTE_MS, Profile};

/// Records of a small world.
const WRITES: std::ops::Range<u32> = 50..300;
/// In harsh worlds one of some three shards closes so often, each once a minute, and one in so many of them splits.
const CLOSES_EVERY_MS: usize = 20_000;
const SPLITS_ONE_IN: u32 = 6;

pub(super) fn draw(profile: Profile, span_ms: i64, has: &dyn Fn(&str) -> bool, rng: &mut Rng) -> Vec<(i64, Action)> {
    let mut actions = vec![(0, Action::Start(0))];
    let at = |rng: &mut Rng| rng.i64(0..span_ms);
    // Bursts and idle phases.
    let mut writes = rng.u32(WRITES);
    while writes > 0 {
        let burst = rng.u32(1..=writes.min(40));
        actions.push((at(rng), Action::Write(burst)));
        writes -= burst;
    }
    let storm = if profile == Profile::Storm { 3 } else { 1 };
    for (name, action, most) in [
        ("process.rotation", Action::Rotate, 6),
        ("process.split", Action::Split, 3),
        ("process.storm", Action::SplitAll, storm),
    ] {
        if has(name) {
            (0..rng.u32(1..=most)).for_each(|_| actions.push((at(rng), action)));
        }
    }
    if has("process.stream_disabled") {
        actions.push((span_ms / 2 + at(rng) / 2, Action::Disable));
    }
    if profile == Profile::Harsh {
        for at in (0..span_ms).step_by(CLOSES_EVERY_MS) {
            let closes = if rng.u32(0..SPLITS_ONE_IN) == 0 { Action::Split } else { Action::Rotate };
            actions.push((at, closes));
        }
    }
    let often = if matches!(profile, Profile::Owners | Profile::Harsh) { 4 } else { 2 };
    for _ in 0..rng.u32(1..=often) {
        draw_process(span_ms, has, &mut actions, rng);
    }
    actions
}

/// Something for each process fault: how it ends, and how somebody begins again.
fn draw_process(span_ms: i64, has: &dyn Fn(&str) -> bool, actions: &mut Vec<(i64, Action)>, rng: &mut Rng) {
    let worker = rng.usize(0..2);
    for (name, action) in [("process.crash", Action::Crash(worker)), ("process.stop", Action::Stop(worker))] {
        if has(name) {
            let at = rng.i64(0..span_ms);
            actions.push((at, action));
            actions.push((at + rng.i64(0..60_000), Action::Start(worker)));
        }
    }
    for (name, longest_ms) in [("process.pause", 30_000), ("process.long_pause", 2 * HOUR_MS)] {
        if has(name) {
            let at = rng.i64(0..span_ms);
            actions.push((at, Action::Freeze(worker)));
            actions.push(((at + rng.i64(1_000..longest_ms)).min(span_ms), Action::Thaw(worker)));
        }
    }
    if has("process.second_owner") {
        actions.push((rng.i64(0..span_ms), Action::Start(1)));
    }
    if has("process.started_twice") {
        let at = rng.i64(0..span_ms);
        actions.push((at, Action::Start(1)));
        actions.push((at, Action::Start(2)));
    }
}

/// The table is written to while a pipeline begins.
pub(super) fn write_at_the_start(actions: &mut Vec<(i64, Action)>, rng: &mut Rng) {
    for _ in 0..rng.u32(1..20) {
        actions.push((rng.i64(0..15_000), Action::Write(rng.u32(1..4))));
    }
}

/// One part of the sink, or some, are away while the others go on. Somebody may start the process anew meanwhile.
pub(super) fn lanes_down(span_ms: i64, actions: &mut Vec<(i64, Action)>, rng: &mut Rng) {
    let from = rng.i64(0..span_ms);
    let to = rng.i64(from..span_ms) + 1;
    actions.push((from, Action::LanesDown(rng.u32(1..))));
    actions.push((to, Action::LanesDown(0)));
    if rng.bool() {
        let at = rng.i64(from..to);
        actions.push((at, Action::Crash(0)));
        actions.push((at, Action::Start(0)));
    }
}

/// The stream is turned off and, some time later, on again: with the pipeline, or while it is away. Gives the new end.
pub(super) fn replace_stream(end_ms: i64, actions: &mut Vec<(i64, Action)>, rng: &mut Rng) -> i64 {
    let from = rng.i64(0..end_ms);
    let off_ms = if rng.bool() { rng.i64(0..MINUTE_MS) } else { rng.i64(0..30 * MINUTE_MS) };
    let away_ms = if rng.bool() { off_ms + rng.i64(0..2 * HOUR_MS) } else { off_ms };
    for (at, _) in actions.iter_mut().filter(|(at, _)| *at > from) {
        *at += away_ms;
    }
    if away_ms > off_ms {
        actions.push(((from - rng.i64(0..30_000)).max(0), Action::Away(away_ms + 30_000)));
    }
    // What is still to be read when the stream is off; and what is there before anybody comes to the new one.
    actions.push((from, Action::Write(rng.u32(1..40))));
    actions.push((from, Action::Disable));
    actions.push((from + off_ms, Action::Enable));
    actions.push((from + off_ms, Action::Write(rng.u32(1..40))));
    end_ms + away_ms
}
