//! What will happen in a world, drawn from its seed before it begins.

mod actions;
mod alone;
mod days;
mod faults;
mod loss;
mod past;
mod year;

use std::time::Duration;

use fastrand::Rng;
use tailwater_pipeline::LaneSettings;
use tailwater_source_dynamodb::{OnGap, ReaderSettings, StartAt, VISIBLE_WITHIN};

use super::fault::Fault;
use super::ground::Loss;
use super::promise::Promise;

const MINUTE_MS: i64 = 60_000;
const HOUR_MS: i64 = 60 * MINUTE_MS;
/// One world in so many keeps changes by their names, starts with what is new, or runs until it is at the tip.
const KEEPS_ONE_IN: u32 = 3;
const LATEST_ONE_IN: u32 = 6;
const BOUNDED_ONE_IN: u32 = 12;
/// In one world in so many each shard is kept for a time of its own.
const UNEVEN_ONE_IN: u32 = 6;
/// One world in so many with a lane away has it away for more than a day.
/// Such worlds wait for records that come minutes late before they call a bounded run done.
const STALLS_WAITED_OUT_ONE_IN: u64 = 8;
/// Longer than a record may be late.
const STALL_MAX: Duration = Duration::from_secs(6 * 60);
const LANE_DOWN_FOR_A_DAY_ONE_IN: u32 = 6;
/// Leases of worlds.
const LEASES: [Duration; 3] = [Duration::from_secs(3), Duration::from_secs(15), Duration::from_secs(60)];
/// What worlds keep.
const KEEPS: [&[&str]; 3] = [&["insert", "modify"], &["insert", "modify", "remove"], &["remove", "ttl"]];

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
    /// Workers run until they are at the tip, and are started again and again.
    Bounded,
    /// Days of rotations.
    Year,
    /// Everything that `tailwater simulate --faults harsh` does, rotations all the time, processes that are killed, and runs to
    /// the tip.
    Harsh,
}

impl Profile {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Default,
        Self::Gaps,
        Self::Owners,
        Self::Storm,
        Self::SlowSink,
        Self::Kafka,
        Self::Postgres,
        Self::Bounded,
        Self::Year,
        Self::Harsh,
    ];

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
            Self::Bounded => "bounded",
            Self::Year => "year",
            Self::Harsh => "harsh",
        }
    }

    /// The profile of this name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|profile| profile.name() == name)
    }

    /// Fault classes that every world of this profile has.
    fn always(self) -> &'static [&'static str] {
        match self {
            Self::Default | Self::Kafka | Self::Postgres | Self::Year => &[],
            Self::Bounded => &["process.rotation", "process.split"],
            Self::Gaps => &["process.away", "process.rotation"],
            Self::Owners => &["process.second_owner", "process.started_twice", "process.pause", "process.crash"],
            Self::Storm => &["process.storm", "process.split", "process.rotation"],
            Self::SlowSink => &["sink.slow", "sink.reply_lost", "sink.not_applied", "sink.applied_later"],
            Self::Harsh => faults::HARSH,
        }
    }

    /// Runs end at the tip.
    fn is_bounded(self) -> bool {
        matches!(self, Self::Bounded | Self::Harsh)
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
    /// The table gets a new one.
    Enable,
    /// The parts of the sink of these lanes are away, by the bits of the number; all others are there.
    LanesDown(u32),
    /// Commits take so long, in milliseconds.
    CommitsTake(u64),
    /// For the service so much time goes by at once, in milliseconds, in which the table lives on.
    Leap(i64),
    /// So much time goes by before anybody starts, in milliseconds.
    Pass(i64),
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
    /// The sink loses this, and no start may pass over it.
    Lose(Loss),
    /// No listing shows a shard that is over for so long, in milliseconds: one whose children are in other lanes.
    HideParent(i64),
    /// The process begins anew, and the lanes of that shard's children are away.
    StartWithoutChildren,
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
    /// The changes that the pipeline keeps, by name; all, if nothing is said.
    pub keeps: Option<&'static [&'static str]>,
    /// How the stream is read.
    pub reader: ReaderSettings,
    /// Bounds of the lanes.
    pub lane: LaneSettings,
    /// An owner that shows no life for so long is taken for dead.
    pub lease: Duration,
    /// What happens, by its time in milliseconds after the beginning.
    pub actions: Vec<(i64, Action)>,
    /// When the faults end.
    pub heal_ms: i64,
    /// Each shard is kept for a time of its own.
    pub trims_unevenly: bool,
    /// For everything that is drawn while the world runs.
    pub rng: Rng,
}

impl Plan {
    /// Draws the world of this seed.
    pub fn draw(seed: u64, profile: Profile) -> Self {
        // Younger still: so worlds without a class of these stay the stories that they were.
        let mut alone = Rng::with_seed(seed.rotate_left(44) ^ (profile as u64) << 56);
        let mut plan = Self::draw_older(seed, profile, &mut alone);
        alone::change(&mut plan, &mut alone);
        plan
    }

    fn draw_older(seed: u64, profile: Profile, alone: &mut Rng) -> Self {
        let mut rng = Rng::with_seed(seed ^ (profile as u64) << 56);
        let mut apart = Rng::with_seed(!seed ^ (profile as u64) << 56);
        // Younger than the first kept seeds: so these stay about the stories that they were.
        let mut later = Rng::with_seed(seed.rotate_left(32) ^ (profile as u64) << 56);
        let mut faults = faults::draw(profile, &mut rng, &mut apart, &mut later, alone);
        let minutes = match profile {
            // Long enough for some runs.
            Profile::Harsh => 8..15,
            _ if rng.u32(0..4) == 0 => 10..60,
            _ => 1..10,
        };
        let span_ms = rng.i64(minutes) * MINUTE_MS;
        let drawn = faults.clone();
        let has = |name: &str| drawn.iter().any(|fault| fault.name == name);
        let mut reader = draw_reader(profile, span_ms, &mut rng);
        if seed.is_multiple_of(STALLS_WAITED_OUT_ONE_IN) {
            reader.visible_within = STALL_MAX;
        }
        let mut actions = actions::draw(profile, span_ms, &has, &mut rng);
        let mut heal_ms =
            if has("process.away") { days::go_away(profile, span_ms, &mut actions, &mut rng) } else { span_ms };
        if has("process.days_frozen") {
            heal_ms = days::freeze_for_days(heal_ms, &mut actions, &mut apart);
        }
        heal_ms = draw_later(heal_ms, &has, &mut actions, &mut later);
        let keeps = (later.u32(0..KEEPS_ONE_IN) == 0).then(|| KEEPS[later.usize(0..KEEPS.len())]);
        if later.u32(0..LATEST_ONE_IN) == 0 {
            reader.start = StartAt::Latest;
            actions::write_at_the_start(&mut actions, &mut Rng::with_seed(seed));
        }
        let is_bounded = later.u32(0..BOUNDED_ONE_IN) == 0;
        reader.until_tip = profile.is_bounded() || is_bounded;
        if profile.is_bounded() {
            // New shards are seen while others are still to be read.
            reader.discovery_interval = Duration::from_secs(later.u64(5..20));
        }
        let (lanes, keys) = (rng.u32(1..5), 1 + rng.u32(0..200) / rng.u32(1..20));
        let mut shards = rng.usize(1..5);
        if profile == Profile::Year {
            shards = later.usize(1..3);
            (actions, heal_ms) = year::draw(shards, &has, &mut later);
            reader.until_tip = false;
            reader.discovery_interval = Duration::from_secs(later.u64(60..1200));
        }
        heal_ms = loss::draw(profile, heal_ms, &mut faults, &mut actions, &mut Rng::with_seed(seed.rotate_left(40)));
        actions.sort_by_key(|(at, _)| *at);
        if profile != Profile::Year {
            actions.splice(0..0, past::draw(&mut Rng::with_seed(seed.rotate_left(48))));
        }
        Self {
            seed,
            profile,
            lanes,
            keys,
            shards,
            crash_at_call: has("process.crash_at_call").then(|| 1 + rng.u64(0..400)),
            panic_at_commit: has("process.panic").then(|| 1 + apart.u64(0..40)),
            lane: draw_lane(reader.memory_bytes_max, &mut rng),
            lease: LEASES[Rng::with_seed(seed.rotate_left(8)).usize(0..LEASES.len())],
            keeps,
            reader,
            faults,
            actions,
            heal_ms,
            trims_unevenly: Rng::with_seed(seed.rotate_left(16)).u32(0..UNEVEN_ONE_IN) == 0,
            rng,
        }
    }

    /// What the pipeline promises to carry.
    pub fn promise(&self) -> Promise {
        Promise {
            from_latest: self.reader.start == StartAt::Latest,
            keeps: self.keeps,
            visible_within_ms: i64::try_from(self.reader.visible_within.as_millis()).unwrap_or(i64::MAX),
            ..Promise::default()
        }
    }

    /// Whether the world has this fault class.
    pub fn has(&self, name: &str) -> bool {
        self.faults.iter().any(|fault| fault.name == name)
    }
}

/// What the youngest fault classes bring. Gives the new end.
fn draw_later(end_ms: i64, has: &dyn Fn(&str) -> bool, actions: &mut Vec<(i64, Action)>, later: &mut Rng) -> i64 {
    let mut end_ms = end_ms;
    if has("sink.lane_down") {
        if later.u32(0..LANE_DOWN_FOR_A_DAY_ONE_IN) == 0 {
            end_ms = days::lane_down_for_a_day(end_ms, actions, later);
        } else {
            actions::lanes_down(end_ms, actions, later);
        }
    }
    if has("process.stream_replaced") {
        end_ms = actions::replace_stream(end_ms, actions, later);
    }
    if has("process.two_absences") {
        end_ms = days::go_away_twice(end_ms, actions, later);
    }
    if has("process.lag_and_absence") {
        end_ms = days::lag_and_go_away(end_ms, actions, later);
    }
    if has("process.suspended") {
        days::suspend(end_ms, actions, later);
    }
    end_ms
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
        visible_within: VISIBLE_WITHIN,
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
