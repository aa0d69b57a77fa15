//! Classes that are alone in their world: a situation that takes several things at their times, and what would hide it is left out.

use fastrand::Rng;
use tailwater_source_dynamodb::StartAt;

use super::faults::DAYS;
use super::{Action, HOUR_MS, MINUTE_MS, Plan, Profile, actions};
use crate::world::fault::Fault;

const PARENT_LISTED_LATE: &str = "service.parent_listed_late";
const OPEN_WITH_ENDING: &str = "service.open_with_ending";
const DISABLED_ONCE: &str = "service.disabled_once";
const DATES_AHEAD: &str = "network.dates_ahead";

/// One world in so many has one of them.
const ONE_IN: u32 = 6;
/// Records of a shard before it closes, and of its children before the pipeline begins.
const WRITES_BEFORE: u32 = 30;
/// Bursts of writes while the first process runs.
const BURSTS: usize = 4;
const BURST_WRITES: u32 = 10;
/// All open shards end so often, so long after one another: a stream that is off is over when none of three listings shows more, and
/// the first of these comes a minute after it was called so.
const ENDS: std::ops::Range<i64> = 4..9;
const ENDS_EVERY_MS: i64 = 2 * MINUTE_MS;

/// Adds one of the classes to those of a world, or none, and takes out what it cannot be together with.
pub(super) fn choose(profile: Profile, classes: &'static [Fault], chosen: &mut Vec<&'static Fault>, rng: &mut Rng) {
    // Worlds without a fault show that nothing else is wrong.
    if rng.u32(0..ONE_IN) > 0 || chosen.is_empty() {
        return;
    }
    let class = &classes[rng.usize(0..classes.len())];
    let lasts_days = chosen.iter().any(|fault| DAYS.contains(&fault.name));
    let fits = match class.name {
        PARENT_LISTED_LATE => {
            matches!(profile, Profile::Default | Profile::SlowSink | Profile::Kafka | Profile::Postgres)
        }
        // How far an idle shard was read is known minutes later, and between two absences that counts.
        OPEN_WITH_ENDING => profile != Profile::Year && !lasts_days,
        // It needs a process that does not end by itself.
        DATES_AHEAD => !matches!(profile, Profile::Year | Profile::Bounded),
        _ => profile != Profile::Year,
    };
    if !fits {
        return;
    }
    match class.name {
        // It has processes and lanes of its own, within minutes.
        PARENT_LISTED_LATE => {
            chosen.retain(|fault| !fault.name.starts_with("process.") && fault.name != "sink.lane_down");
        }
        // An end that listings name and pages tell is one.
        OPEN_WITH_ENDING => chosen.retain(|fault| fault.name != "network.end_invented"),
        // A lane that opens again, as it does for a record that is refused, takes what is stored, and that may not be set right yet.
        DATES_AHEAD => chosen.retain(|fault| fault.name != "process.refused_text"),
        _ => {}
    }
    chosen.push(class);
}

/// Makes room in a plan for the class that it has.
pub(super) fn change(plan: &mut Plan, rng: &mut Rng) {
    if plan.has(PARENT_LISTED_LATE) {
        hide_a_parent(plan, rng);
    }
    if plan.has(OPEN_WITH_ENDING) && rng.bool() {
        begin_with_latest(plan, rng);
    }
    if plan.has(DISABLED_ONCE) {
        end_all_shards(plan, rng);
    }
    plan.actions.sort_by_key(|(at, _)| *at);
}

fn begin_with_latest(plan: &mut Plan, rng: &mut Rng) {
    plan.reader.start = StartAt::Latest;
    actions::write_at_the_start(&mut plan.actions, rng);
}

/// A pipeline of LATEST begins while no listing shows a shard that was over before, and its next process meets that shard before
/// the lanes are there in which its children are stored.
fn hide_a_parent(plan: &mut Plan, rng: &mut Rng) {
    plan.lanes = plan.lanes.max(2);
    plan.reader.until_tip = false;
    // All within the ten minutes in which a pipeline of LATEST leaves out what its first listing missed.
    let again = rng.i64(2 * MINUTE_MS..4 * MINUTE_MS);
    let lanes_back = again + rng.i64(MINUTE_MS..2 * MINUTE_MS);
    plan.heal_ms = plan.heal_ms.max(lanes_back + MINUTE_MS);
    let bursts = (0..BURSTS).map(|_| (rng.i64(MINUTE_MS / 2..again), Action::Write(BURST_WRITES)));
    plan.actions.extend(bursts);
    plan.actions.extend([(again, Action::StartWithoutChildren), (lanes_back, Action::LanesDown(0))]);
    begin_with_latest(plan, rng);
    let mut past = vec![(0, Action::Write(WRITES_BEFORE))];
    past.extend((0..plan.shards).map(|_| (0, Action::Rotate)));
    past.push((0, Action::Write(WRITES_BEFORE)));
    past.extend([(0, Action::Pass(rng.i64(MINUTE_MS..HOUR_MS))), (0, Action::HideParent(again))]);
    plan.actions.splice(0..0, past);
}

/// One open shard, and again and again it ends: whoever takes the stream for one that is off has read it to its end then.
fn end_all_shards(plan: &mut Plan, rng: &mut Rng) {
    plan.shards = 1;
    for _ in 0..rng.i64(ENDS) {
        plan.heal_ms += ENDS_EVERY_MS;
        plan.actions.push((plan.heal_ms, Action::Write(BURST_WRITES)));
        plan.actions.push((plan.heal_ms, Action::Rotate));
    }
    plan.heal_ms += ENDS_EVERY_MS;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::fault::{FAULTS, FAULTS_ALONE, FAULTS_OF_LOSS};

    #[test]
    fn these_classes_stand_before_those_of_a_loss() {
        let (of_all, _) = FAULTS.split_at(FAULTS.len() - FAULTS_OF_LOSS);
        let names: Vec<_> = of_all[of_all.len() - FAULTS_ALONE..].iter().map(|fault| fault.name).collect();
        assert_eq!(names, [PARENT_LISTED_LATE, OPEN_WITH_ENDING, DISABLED_ONCE, DATES_AHEAD]);
    }

    #[test]
    fn a_world_has_at_most_one_of_them() {
        let mut met = [0; FAULTS_ALONE];
        for seed in 0..400 {
            let plan = Plan::draw(seed, Profile::Default);
            let names = [PARENT_LISTED_LATE, OPEN_WITH_ENDING, DISABLED_ONCE, DATES_AHEAD];
            let has = names.map(|name| plan.has(name));
            assert!(has.iter().filter(|has| **has).count() <= 1, "seed {seed}");
            met.iter_mut().zip(has).for_each(|(met, has)| *met += u32::from(has));
            assert!(plan.actions.iter().skip_while(|(at, _)| *at == 0).is_sorted_by_key(|(at, _)| *at));
        }
        assert!(met.iter().all(|met| *met > 0), "{met:?}");
    }
}
