//! Which fault classes a world has.

use fastrand::Rng;

use super::Profile;
use crate::world::fault::{FAULTS, FAULTS_ALONE, FAULTS_DRAWN_APART, FAULTS_DRAWN_LATER, FAULTS_OF_LOSS, Fault};

/// One world in so many has a fault class that is drawn apart.
const PANIC_ONE_IN: u32 = 6;
const LATER_ONE_IN: u32 = 7;
/// Worlds that last for days take longer; those of the gaps are for that.
const DAYS_ONE_IN: u32 = 40;
const DAYS_ONE_IN_GAPS: u32 = 4;
/// Worlds of a year are full of ordinary days.
const FAULTS_OF_A_YEAR_MAX: usize = 3;

/// Of these a world has at most one: each lasts for a day or two.
pub(super) const DAYS: [&str; 5] =
    ["process.suspended", "process.two_absences", "process.lag_and_absence", "process.days_frozen", "process.away"];

/// What `tailwater simulate --faults harsh` does, and what processes meet beside it.
pub(super) const HARSH: &[&str] = &[
    "service.throttled",
    "service.limit_exceeded",
    "service.throughput_exceeded",
    "service.internal_error",
    "service.unavailable",
    "service.expired_early",
    "service.iterator_forgotten",
    "service.expired_token",
    "service.unknown_code",
    "service.page_empty",
    "service.page_short",
    "service.end_apart",
    "service.stalled",
    "service.child_listed_late",
    "service.closed_listed_late",
    "service.listing_empty",
    "service.listing_page_empty",
    "service.shard_unlisted",
    "service.shard_listed_twice",
    "network.slow",
    "network.truncated",
    "network.html",
    "process.crash",
];

/// Swarm and, apart from it, a class that a world has alone.
pub(super) fn draw(
    profile: Profile,
    rng: &mut Rng,
    apart: &mut Rng,
    later: &mut Rng,
    alone: &mut Rng,
) -> Vec<&'static Fault> {
    if profile == Profile::Harsh {
        return FAULTS.iter().filter(|fault| HARSH.contains(&fault.name)).collect();
    }
    let (of_all, _) = FAULTS.split_at(FAULTS.len() - FAULTS_OF_LOSS);
    let (drawn, classes) = of_all.split_at(of_all.len() - FAULTS_ALONE);
    let mut chosen = draw_swarm(profile, drawn, rng, apart, later);
    super::alone::choose(profile, classes, &mut chosen, alone);
    chosen
}

/// Swarm: of ten worlds one has no fault, two have one, two have a pair, and the others a random subset.
fn draw_swarm(
    profile: Profile,
    drawn: &'static [Fault],
    rng: &mut Rng,
    apart: &mut Rng,
    later: &mut Rng,
) -> Vec<&'static Fault> {
    let (older, drawn_later) = drawn.split_at(drawn.len() - FAULTS_DRAWN_LATER);
    let (swarm, drawn_apart) = older.split_at(older.len() - FAULTS_DRAWN_APART);
    let count = match rng.u32(0..10) {
        0 => 0,
        1..3 => 1,
        3..5 => 2,
        _ => rng.usize(3..swarm.len() / 2),
    };
    let mut chosen: Vec<&'static Fault> = Vec::new();
    for _ in 0..count {
        let fault = &swarm[rng.usize(0..swarm.len())];
        if chosen.iter().all(|other| other.name != fault.name) {
            chosen.push(fault);
        }
    }
    for name in profile.always() {
        if chosen.iter().all(|fault| fault.name != *name) {
            chosen.extend(FAULTS.iter().find(|fault| fault.name == *name));
        }
    }
    // Not into the worlds without a fault: they show that nothing else is wrong.
    let one_in = |fault: &Fault| match (fault.name, profile) {
        // A stream that was turned off is gone after days.
        ("process.days_frozen", _) if chosen.iter().any(|fault| fault.name == "process.stream_disabled") => u32::MAX,
        ("process.days_frozen", Profile::Gaps) => DAYS_ONE_IN_GAPS,
        ("process.days_frozen", _) => DAYS_ONE_IN,
        _ => PANIC_ONE_IN,
    };
    let apart: Vec<&Fault> = drawn_apart.iter().filter(|fault| apart.u32(0..one_in(fault)) == 0).collect();
    if !chosen.is_empty() {
        chosen.extend(apart);
    }
    // Who starts anew after days is told by the clock that something may be missing.
    if chosen.iter().any(|fault| fault.name == "process.days_frozen") {
        chosen.retain(|fault| !matches!(fault.name, "process.away" | "service.child_listed_late"));
        chosen.extend(FAULTS.iter().find(|fault| fault.name == "service.child_listed_late"));
    }
    draw_later(profile, drawn_later, &mut chosen, later);
    chosen
}

/// The youngest classes.
fn draw_later(profile: Profile, classes: &'static [Fault], chosen: &mut Vec<&'static Fault>, later: &mut Rng) {
    if profile == Profile::Year {
        chosen.retain(|fault| {
            !DAYS.contains(&fault.name) && !matches!(fault.name, "process.stream_disabled" | "process.storm")
        });
        chosen.truncate(FAULTS_OF_A_YEAR_MAX);
        chosen.extend(FAULTS.iter().filter(|fault| fault.name == "process.rotation"));
    }
    let is_quiet = chosen.is_empty();
    for fault in classes {
        let one_in = match (DAYS.contains(&fault.name), profile) {
            (true, Profile::Gaps) => DAYS_ONE_IN_GAPS,
            (true, _) => DAYS_ONE_IN,
            (false, _) => LATER_ONE_IN,
        };
        let is_drawn = later.u32(0..one_in) == 0;
        let is_of_days = DAYS.contains(&fault.name) || fault.name == "process.stream_replaced";
        if is_drawn && !is_quiet && !(is_of_days && profile == Profile::Year) {
            chosen.push(fault);
        }
    }
    let has = |chosen: &[&Fault], name: &str| chosen.iter().any(|fault| fault.name == name);
    // A stream that was turned off is gone after days.
    if has(chosen, "process.stream_disabled") {
        chosen.retain(|fault| fault.name != "process.stream_replaced" && !DAYS[..3].contains(&fault.name));
    }
    if let Some(first) = DAYS.into_iter().find(|name| has(chosen, name)) {
        chosen.retain(|fault| fault.name == first || !DAYS.contains(&fault.name));
    }
}
