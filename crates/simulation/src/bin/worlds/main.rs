//! Runs seeded worlds: `worlds --seeds A..B`, from whose failures one command replays the first.

mod day;

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::ops::Range;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use tailwater_simulation::world::{FAULTS, Profile, Shown, run_world};

/// Worlds between two lines of progress.
const PROGRESS_WORLDS: u64 = 1_000;
/// Failures after which a run ends: the rest would be more of the same.
const FAILURES_MAX: usize = 20;

/// Hunts after a planted bug. What they take to find it is worth as much as their median.
const HUNTS: u64 = 5;
/// Worlds of one hunt: a bug that takes more is one that the worlds are too weak for.
const HUNT_WORLDS_MAX: u64 = 2_000;
/// Seeds between the beginnings of two hunts.
const HUNT_STRIDE: u64 = 1_000_000;

/// Drives the engine through seeded worlds.
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    run: RunArguments,
}

#[derive(Subcommand)]
enum Command {
    /// Count the worlds until one fails: several times, from other seeds
    Hunt {
        /// Of this profile only; else of all but the years and the harsh worlds in turn.
        #[arg(long, value_parser = profile)]
        profile: Option<Profile>,
    },
    /// Run some of each profile, from a seed that changes with the date
    Day {
        /// From this seed instead.
        #[arg(long)]
        from: Option<u64>,
    },
}

#[derive(Args)]
struct RunArguments {
    /// The seeds, the last one excluded.
    #[arg(long, value_name = "A..B", default_value = "0..500", value_parser = seeds)]
    seeds: Range<u64>,
    /// The kind of worlds.
    #[arg(long, default_value = "default", value_parser = profile)]
    profile: Profile,
    /// Tell the story of every world that fails, or of the only one.
    #[arg(long)]
    trace: bool,
    /// End after so many seconds.
    #[arg(long)]
    seconds: Option<u64>,
    /// Fail when a fault class was never hit.
    #[arg(long)]
    require_hits: bool,
}

fn seeds(text: &str) -> Result<Range<u64>, String> {
    let parsed = text.split_once("..").and_then(|(from, to)| Some(from.parse().ok()?..to.parse().ok()?));
    parsed.filter(|seeds: &Range<u64>| !seeds.is_empty()).ok_or_else(|| "seeds are written as 0..500".to_owned())
}

fn profile(name: &str) -> Result<Profile, String> {
    let names = || Profile::ALL.map(Profile::name).join(", ");
    Profile::parse(name).ok_or_else(|| format!("the profiles are {}", names()))
}

fn main() -> io::Result<ExitCode> {
    let arguments = Arguments::parse();
    match arguments.command {
        Some(Command::Hunt { profile }) => hunt(profile, &mut io::stdout().lock()),
        Some(Command::Day { from }) => day::run(from, &mut io::stdout().lock()),
        None => run(&arguments.run, &mut io::stdout().lock()),
    }
}

/// Hunts whatever bug the engine has. Succeeds in either case: what was found is in what it prints.
fn hunt(profile: Option<Profile>, out: &mut impl Write) -> io::Result<ExitCode> {
    let mut taken = Vec::new();
    for number in 0..HUNTS {
        let Some((worlds, seed, profile, shown)) = find((number + 1) * HUNT_STRIDE, profile)? else {
            writeln!(out, "nothing found in {HUNT_WORLDS_MAX} worlds")?;
            return Ok(ExitCode::SUCCESS);
        };
        write!(out, "world {worlds}: ")?;
        tell_failure(out, seed, profile, &shown)?;
        taken.push(worlds);
    }
    taken.sort_unstable();
    writeln!(out, "median seeds to find: {}", taken[taken.len() / 2])?;
    Ok(ExitCode::SUCCESS)
}

/// The number of worlds until one fails, and that one.
fn find(from: u64, only: Option<Profile>) -> io::Result<Option<(u64, u64, Profile, Shown)>> {
    // Such a world costs as much as fifty others: bugs that only they meet name them.
    let is_long = |profile: &Profile| matches!(profile, Profile::Year | Profile::Harsh);
    let in_turn = || Profile::ALL.into_iter().filter(|profile| !is_long(profile)).collect();
    let profiles: Vec<Profile> = only.map_or_else(in_turn, |only| vec![only]);
    let turns = profiles.len() as u64;
    for world in 0..HUNT_WORLDS_MAX {
        let (seed, profile) = (from + world / turns, profiles[(world % turns) as usize]);
        let shown = run_world(seed, profile, false)?;
        if shown.violation.is_some() {
            return Ok(Some((world + 1, seed, profile, shown)));
        }
    }
    Ok(None)
}

fn run(arguments: &RunArguments, out: &mut impl Write) -> io::Result<ExitCode> {
    let mut hits: BTreeMap<String, u64> = BTreeMap::new();
    let (mut worlds, mut failures) = (0, 0);
    let began = began();
    let only_one = arguments.seeds.end - arguments.seeds.start == 1;
    for seed in arguments.seeds.clone() {
        let shown = run_world(seed, arguments.profile, arguments.trace)?;
        worlds += 1;
        for (name, times) in &shown.hits {
            *hits.entry(name.clone()).or_default() += times;
        }
        if arguments.trace && (only_one || shown.violation.is_some()) {
            shown.trace.iter().try_for_each(|line| writeln!(out, "{line}"))?;
        }
        failures += usize::from(tell_failure(out, seed, arguments.profile, &shown)?);
        let seconds = began.elapsed().as_secs();
        if worlds % PROGRESS_WORLDS == 0 {
            writeln!(out, "{worlds} worlds, {failures} failures, {seconds} s")?;
        }
        if failures >= FAILURES_MAX || arguments.seconds.is_some_and(|most| seconds >= most) {
            break;
        }
    }
    let rate = worlds as f64 / began.elapsed().as_secs_f64();
    let never = tell_hits(out, &hits)?;
    let name = arguments.profile.name();
    writeln!(out, "{worlds} worlds of profile {name}, {rate:.0} in a second, {failures} failures")?;
    let is_bad = failures > 0 || (arguments.require_hits && never > 0);
    Ok(if is_bad { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn tell_failure(out: &mut impl Write, seed: u64, profile: Profile, shown: &Shown) -> io::Result<bool> {
    let Some(violation) = &shown.violation else { return Ok(false) };
    writeln!(out, "seed {seed} violates {}: {}", violation.check, violation.detail)?;
    let end = seed + 1;
    writeln!(out, "    cargo x simulate --seeds {seed}..{end} --profile {} --trace", profile.name())?;
    Ok(true)
}

/// The table of fault classes. Gives how many were never hit.
fn tell_hits(out: &mut impl Write, hits: &BTreeMap<String, u64>) -> io::Result<usize> {
    let times = |name: &str| hits.get(name).copied().unwrap_or_default();
    for fault in FAULTS {
        writeln!(out, "{:>10}  {}", times(fault.name), fault.name)?;
    }
    Ok(FAULTS.iter().filter(|fault| times(fault.name) == 0).count())
}

#[expect(clippy::disallowed_methods, reason = "the program's edge: how long a run takes, and nothing in a world")]
fn began() -> std::time::Instant {
    std::time::Instant::now()
}
