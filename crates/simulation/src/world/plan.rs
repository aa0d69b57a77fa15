//! What will happen in a world, drawn from its seed before it begins.

use std::time::Duration;

use fastrand::Rng;
use tailwater_pipeline::LaneSettings;
use tailwater_source_dynamodb::{OnGap, ReaderSettings, StartAt};

use super::fault::{FAULTS, FAULTS_DRAWN_APART, Fault};

const MINUTE_MS: i64 = 60_000;
const HOUR_MS: i64 = 60 * MINUTE_MS;
/// One world in so many has a fault class that is drawn apart.
const PANIC_ONE_IN: u32 = 6;
/// Worlds that last for days take longer; those of the gaps are for that.
const DAYS_ONE_IN: u32 = 40;
const DAYS_ONE_IN_GAPS: u32 = 4;
/// Records of a small world.
const WRITES: std::ops::Range<u32> = 50..300;

/// The kinds of worlds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// A swarm of all fault classes.
    Default,
    /// Workers are away for longer than the service keeps records.
    Gaps,
    /// Owners come and go all the time.
    Owners,
    /// Shards split without end.
    Storm,
    /// The sink is slow and its commits have every fate.
    SlowSink,
    /// The sink is the one of Kafka, over the model of a cluster.
    Kafka,
    /// The sink is the one of Postgres, over the model of a server.
    Postgres,
}

impl Profile {
    /// All of them.
    pub const ALL: [Self; 7] =
        [Self::Default, Self::Gaps, Self::Owners, Self::Storm, Self::SlowSink, Self::Kafka, Self::Postgres];

    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::Gaps => "gaps",
            Self::Owners => "owners",
            Self::Storm => "storm",
            Self::SlowSink => "slow-sink",
            Self::Kafka => "kafka",
            Self::Postgres => "postgres",
        }
    }

    /// The profile of this name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|profile| profile.name() == name)
    }

    /// Fault classes that every world of this profile has.
    fn always(self) -> &'static [&'static str] {
        match self {
            Self::Default | Self::Kafka | Self::Postgres => &[],
            Self::Gaps => &["process.away", "process.rotation"],
            Self::Owners => &["process.second_owner", "process.started_twice", "process.pause", "process.crash"],
            Self::Storm => &["process.storm", "process.split", "process.rotation"],
            Self::SlowSink => &["sink.slow", "sink.reply_lost", "sink.not_applied", "sink.applied_later"],
        }
    }
}

/// Something that happens to a world at its time. Workers are named by number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// The application writes so often.
    Write(u32),
    /// An open shard gets one child.
    Rotate,
    /// An open shard gets two.
    Split,
    /// All open shards get two.
    SplitAll,
    /// The stream is turned off.
    Disable,
    /// A process is killed.
    Crash(usize),
    /// It is asked to stop.
    Stop(usize),
    /// It stands still.
    Freeze(usize),
    /// It goes on.
    Thaw(usize),
    /// It begins; dies before if it runs.
    Start(usize),
    /// Nobody runs the pipeline for so long, in milliseconds.
    Away(i64),
    /// All processes stand still for so long, in milliseconds.
    Suspend(i64),
    /// They go on.
    Resume,
}

/// A world before it begins.
#[derive(Debug)]
pub struct Plan {
    /// The seed.
    pub seed: u64,
    /// The profile.
    pub profile: Profile,
    /// Its fault classes.
    pub faults: Vec<&'static Fault>,
    /// Lanes of the pipeline.
    pub lanes: u32,
    /// Items of the table.
    pub keys: u32,
    /// Open shards at the beginning.
    pub shards: usize,
    /// The call at which the first worker dies.
    pub crash_at_call: Option<u64>,
    /// The commit at which a lane of the first worker panics.
    pub panic_at_commit: Option<u64>,
    /// How the stream is read.
    pub reader: ReaderSettings,
    /// Bounds of the lanes.
    pub lane: LaneSettings,
    /// What happens, by its time in milliseconds after the beginning.
    pub actions: Vec<(i64, Action)>,
    /// When the faults end.
    pub heal_ms: i64,
    /// For everything that is drawn while the world runs.
    pub rng: Rng,
}

impl Plan {
    /// Draws the world of this seed.
    pub fn draw(seed: u64, profile: Profile) -> Self {
        let mut rng = Rng::with_seed(seed ^ (profile as u64) << 56);
        let mut apart = Rng::with_seed(!seed ^ (profile as u64) << 56);
        let faults = draw_faults(profile, &mut rng, &mut apart);
        let span_ms = if rng.u32(0..4) == 0 { rng.i64(10..60) * MINUTE_MS } else { rng.i64(1..10) * MINUTE_MS };
        let has = |name: &str| faults.iter().any(|fault| fault.name == name);
        let reader = draw_reader(profile, span_ms, &mut rng);
        let mut actions = draw_actions(profile, span_ms, &has, &mut rng);
        let mut heal_ms = if has("process.away") { go_away(profile, span_ms, &mut actions, &mut rng) } else { span_ms };
        if has("process.days_frozen") {
            heal_ms = freeze_for_days(heal_ms, &mut actions, &mut apart);
        }
        actions.sort_by_key(|(at, _)| *at);
        Self {
            seed,
            profile,
            lanes: rng.u32(1..5),
            keys: 1 + rng.u32(0..200) / rng.u32(1..20),
            shards: rng.usize(1..5),
            crash_at_call: has("process.crash_at_call").then(|| 1 + rng.u64(0..400)),
            panic_at_commit: has("process.panic").then(|| 1 + apart.u64(0..40)),
            lane: draw_lane(reader.memory_bytes_max, &mut rng),
            reader,
            faults,
            actions,
            heal_ms,
            rng,
        }
    }

    /// Whether the world has this fault class.
    pub fn has(&self, name: &str) -> bool {
        self.faults.iter().any(|fault| fault.name == name)
    }
}

/// Swarm: of ten worlds one has no fault, two have one, two have a pair, and the others a random subset.
fn draw_faults(profile: Profile, rng: &mut Rng, apart: &mut Rng) -> Vec<&'static Fault> {
    let (swarm, drawn_apart) = FAULTS.split_at(FAULTS.len() - FAULTS_DRAWN_APART);
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
    chosen
}

fn draw_reader(profile: Profile, span_ms: i64, rng: &mut Rng) -> ReaderSettings {
    // A run of empty pages says how far an idle shard was read: with longer waits it would take hours.
    let interval_max_ms = (1_000 + rng.u64(0..span_ms.unsigned_abs() / 20)).min(30_000);
    ReaderSettings {
        start: StartAt::TrimHorizon,
        on_gap: if profile == Profile::Gaps && rng.bool() { OnGap::Stop } else { OnGap::Continue },
        until_tip: false,
        follows: None,
        poll_interval_min: Duration::from_millis(rng.u64(100..1_000)),
        poll_interval_max: Duration::from_millis(interval_max_ms),
        fetch_slots: rng.usize(1..5),
        memory_bytes_max: [1, 20_000, 4 << 20, 64 << 20][rng.usize(0..4)],
        discovery_interval: Duration::from_millis(rng.u64(5_000..60_000)),
        seed: rng.u64(..),
    }
}

fn draw_lane(memory_bytes_max: usize, rng: &mut Rng) -> LaneSettings {
    LaneSettings {
        group_events_max: [1, 3, 20, 1_000][rng.usize(0..4)],
        group_bytes_max: memory_bytes_max.max(1_000),
        group_delay_max: Duration::from_millis(rng.u64(1..2_000)),
        reopen_delay_min: Duration::from_millis(500),
        reopen_delay_max: Duration::from_secs(30),
        grace_period: Duration::from_secs(rng.u64(1..30)),
        seed: rng.u64(..),
    }
}

fn draw_actions(profile: Profile, span_ms: i64, has: &dyn Fn(&str) -> bool, rng: &mut Rng) -> Vec<(i64, Action)> {
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
    let often = if profile == Profile::Owners { 4 } else { 2 };
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

/// Nobody runs the pipeline for hours; in the profile of gaps for longer than the stream keeps its records. What happens
/// later happens so much later. Gives the new end.
fn go_away(profile: Profile, span_ms: i64, actions: &mut Vec<(i64, Action)>, rng: &mut Rng) -> i64 {
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
fn freeze_for_days(end_ms: i64, actions: &mut Vec<(i64, Action)>, rng: &mut Rng) -> i64 {
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
