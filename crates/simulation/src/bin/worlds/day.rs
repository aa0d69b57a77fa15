//! The worlds of one day: those that once failed, and some of each profile, from a seed that changes with the date, so that no
//! seed is learned by heart.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::SystemTime;

use tailwater_simulation::face::ERROR_HITS;
use tailwater_simulation::world::{FAULTS, KEPT, Profile, Shown, run_world};

/// Worlds of the default profile.
const DEFAULT_WORLDS: u64 = 400;
/// Worlds of each special profile.
const SPECIAL_WORLDS: u64 = 250;
/// Worlds of days: they take longer.
const YEAR_WORLDS: u64 = 2;
/// Harsh worlds: they take longer, too.
const HARSH_WORLDS: u64 = 20;
/// Of each profile so many are run twice: a seed is a story that repeats.
const REPEATED_WORLDS: u64 = 12;
/// Seeds between the ranges of two days, and seconds of a day.
const DAY_STRIDE: u64 = 10_000;
const DAY_SECONDS: u64 = 24 * 60 * 60;

/// Runs the worlds of today, or from this seed, on all cores. Fails when one of them does, when one that is run twice tells another
/// story, or when a fault class or a kind of error was never met.
pub fn run(from: Option<u64>, out: &mut impl Write) -> io::Result<ExitCode> {
    let from = from.unwrap_or_else(first_seed);
    let worlds = worlds_from(from);
    writeln!(out, "{} worlds: `cargo x simulate day --from {from}` runs them again", worlds.len())?;
    let next = AtomicUsize::new(0);
    let found = Mutex::new(Found::default());
    let cores = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                while let Some((seed, profile)) = worlds.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let is_repeated = (from..from + REPEATED_WORLDS).contains(seed);
                    let shown = run_world(*seed, *profile, is_repeated);
                    let again = is_repeated.then(|| run_world(*seed, *profile, true));
                    found.lock().unwrap_or_else(PoisonError::into_inner).add(*seed, *profile, shown, again);
                }
            });
        }
    });
    let Found { failed, other_stories, hits, broken } = found.into_inner().unwrap_or_else(PoisonError::into_inner);
    if let Some(error) = broken {
        return Err(error);
    }
    for (seed, profile, shown) in &failed {
        super::tell_failure(out, *seed, *profile, shown)?;
    }
    for (seed, profile) in &other_stories {
        writeln!(out, "seed {seed} of profile {} told another story the second time", profile.name())?;
    }
    let faults = FAULTS.iter().map(|fault| fault.name.to_owned());
    let errors = ERROR_HITS.iter().map(|(_, name)| format!("network.{name}"));
    let never: Vec<String> = faults.chain(errors).filter(|name| !hits.contains_key(name)).collect();
    if !never.is_empty() {
        writeln!(out, "never met: {}", never.join(", "))?;
    }
    writeln!(out, "{} worlds, {} failures", worlds.len(), failed.len())?;
    let is_good = failed.is_empty() && other_stories.is_empty() && never.is_empty();
    Ok(if is_good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What the worlds have shown so far.
#[derive(Default)]
struct Found {
    failed: Vec<(u64, Profile, Shown)>,
    /// Those that did not repeat.
    other_stories: Vec<(u64, Profile)>,
    /// How often each fault class bit.
    hits: BTreeMap<String, u64>,
    /// A world that could not be run.
    broken: Option<io::Error>,
}

impl Found {
    fn add(&mut self, seed: u64, profile: Profile, shown: io::Result<Shown>, again: Option<io::Result<Shown>>) {
        let (shown, again) = match (shown, again.transpose()) {
            (Ok(shown), Ok(again)) => (shown, again),
            (Err(error), _) | (_, Err(error)) => {
                self.broken.get_or_insert(error);
                return;
            }
        };
        if again.is_some_and(|again| again.trace.is_empty() || again.trace != shown.trace) {
            self.other_stories.push((seed, profile));
        }
        for (name, times) in &shown.hits {
            *self.hits.entry(name.clone()).or_default() += times;
        }
        if shown.violation.is_some() {
            self.failed.push((seed, profile, shown));
        }
    }
}

fn worlds_from(from: u64) -> Vec<(u64, Profile)> {
    let of = |profile| {
        let worlds = match profile {
            Profile::Default => DEFAULT_WORLDS,
            Profile::Year => YEAR_WORLDS,
            Profile::Harsh => HARSH_WORLDS,
            _ => SPECIAL_WORLDS,
        };
        (from..from + worlds).map(move |seed| (seed, profile))
    };
    // The longest first: none of them is waited for at the end.
    let mut profiles = Profile::ALL;
    profiles.sort_by_key(|profile| *profile != Profile::Year);
    profiles.into_iter().flat_map(of).chain(KEPT.iter().copied()).collect()
}

#[expect(clippy::disallowed_methods, reason = "which worlds are run, and nothing in a world")]
fn first_seed() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs() / DAY_SECONDS) * DAY_STRIDE
}
