//! `cargo x peers`: Tailwater and what users would take in its place, one after the other on the same replay, in one run.
//!
//! A figure of this command is a ratio within its run: the machine, the server of the replay and the peer share their
//! processors. CPU time is the peer's own, user and system, as the kernel tells it at its end.

mod contestants;
mod measure;

use anyhow::{Context, Result};

use crate::servers::{self, ServerName};
use crate::{prerequisites, workspace};
use contestants::{CONTESTANTS, Contestant, Kind, Target};
use measure::{Measured, ReplayServer};

/// Each contestant runs so often; told is the run with the median of CPU time.
const ROUNDS: usize = 3;

/// Builds everybody, lets each run, and prints a table. What needs Kafka or Postgres is left out, and said to be, where
/// they do not run.
pub fn run() -> Result<()> {
    prerequisites::need("GNU time", &["time"], || std::path::Path::new("/usr/bin/time").is_file())?;
    let root = workspace::root();
    let places = contestants::build(&root)?;
    let running = servers::running(&ServerName::ALL);
    let is_there = |target: Target| match target {
        Target::Null => true,
        Target::Kafka => running.contains(&ServerName::Kafka),
        Target::Postgres => running.contains(&ServerName::Postgres),
    };
    let (there, missing): (Vec<&Contestant>, Vec<_>) =
        CONTESTANTS.iter().partition(|contestant| is_there(contestant.target));
    let mut measured: Vec<Vec<Measured>> = there.iter().map(|_| Vec::new()).collect();
    for round in 0..ROUNDS {
        // In turn, so that a disturbance does not hit one of them alone.
        for (number, contestant) in there.iter().enumerate() {
            let replay = ReplayServer::start(&places, contestant.pages_per_shard)?;
            let run = format!("peers_{}_{number}_{round}", std::process::id());
            let result = measure::run(contestant.command(&places, &replay, &run), contestant, &replay)
                .with_context(|| format!("{}, into {}", contestant.name, contestant.target.name()))?;
            tell!("{:<48} {:<9} {:>8.2} us CPU a record", contestant.name, contestant.target.name(), result.cpu_us());
            if let Some(results) = measured.get_mut(number) {
                results.push(result);
            }
        }
    }
    tell!("");
    tell!(
        "{:<48} {:<9} {:>9} {:>8} {:>11} {:>14} {:>9} {:>8}",
        "",
        "into",
        "records",
        "s",
        "records/s",
        "CPU us/record",
        "peak MB",
        "x ours"
    );
    let medians: Vec<(&Contestant, Measured)> =
        there.iter().zip(measured).filter_map(|(contestant, results)| Some((*contestant, median(results)?))).collect();
    for (contestant, result) in &medians {
        let ours = medians.iter().find(|(other, _)| other.kind == Kind::Tailwater && other.target == contestant.target);
        let ratio = ours.map_or(0.0, |(_, ours)| result.cpu_us() / ours.cpu_us());
        tell!(
            "{:<48} {:<9} {:>9} {:>8.2} {:>11.0} {:>14.2} {:>9.0} {:>8.1}",
            contestant.name,
            contestant.target.name(),
            result.records,
            result.seconds,
            result.records as f64 / result.seconds,
            result.cpu_us(),
            result.peak_kib as f64 / 1024.0,
            ratio
        );
    }
    for contestant in missing {
        tell!("{:<48} {:<9} not measured: it does not run (`cargo x up`)", contestant.name, contestant.target.name());
    }
    Ok(())
}

fn median(mut results: Vec<Measured>) -> Option<Measured> {
    results.sort_by(|left, right| left.cpu_us().total_cmp(&right.cpu_us()));
    let middle = results.len() / 2;
    results.into_iter().nth(middle)
}
