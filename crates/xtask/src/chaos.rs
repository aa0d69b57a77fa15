//! `cargo x chaos`: the tests that kill processes, with many more kills than a run of all tests has time for.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};

use crate::test::{Report, cargo};

/// Kills of Tailwater in each test that kills it.
pub const KILLS: u64 = 100;
/// Kills of the broker.
pub const BROKER_KILLS: u64 = 20;
/// Kills of leaders, coordinators and Tailwater in a cluster of three brokers.
pub const CLUSTER_KILLS: u64 = 300;
/// What the tests read (`tests/src/chaos.rs`: change both together).
const VARIABLES: [&str; 4] =
    ["TAILWATER_CHAOS_KILLS", "TAILWATER_CHAOS_BROKER_KILLS", "TAILWATER_CHAOS_CLUSTER_KILLS", "TAILWATER_CHAOS_SEED"];
/// What a line of figures begins with.
const FIGURES_MARK: &str = "chaos: ";
/// The tests that kill, freeze and take over.
const SUITES: [&str; 3] = ["kafka_kill::", "kafka_cluster::", "kafka_two_owners::"];
/// The test program that they are in.
const PROGRAM: &str = "real";

/// Brings the servers up, kills so often, and tells the figures; fails when anything was lost, doubled or out of order.
pub fn run(kills: u64, broker_kills: u64, cluster_kills: u64, seed: Option<u64>) -> Result<()> {
    let seed = seed.map_or_else(seed_of_now, Ok)?;
    tell!(
        "{kills} kills of Tailwater, {broker_kills} of the broker, {cluster_kills} in a cluster of three, seed {seed}"
    );
    let mut report = Report::default();
    let mut figures = Vec::new();
    report.with_servers(|report| {
        // Cargo builds no binary of another package for a test.
        if !report.step("build", || crate::command::run_shown(cargo().args(["build", "-p", "tailwater-cli"]))) {
            return;
        }
        let mut tests = cargo();
        tests.args(["test", "-p", "tailwater-tests", "--test", PROGRAM, "--"]).args(SUITES).arg("--nocapture");
        for (variable, value) in VARIABLES.iter().zip([kills, broker_kills, cluster_kills, seed]) {
            tests.env(variable, value.to_string());
        }
        report.test_watched("chaos", &mut tests, |line| figures.extend(figures_of(line)));
    });
    tell!("\n=== figures");
    for line in &figures {
        tell!("{line}");
    }
    report.finish().with_context(|| format!("again with the same chance: cargo x chaos --seed {seed}"))
}

/// The figures of a line like `chaos: kill -9 of the broker | 20 kills | 0 missing`, one below the other.
fn figures_of(line: &str) -> Option<String> {
    // The test's own name may stand before it: `test a_test ... chaos: ...`.
    let (_, figures) = line.split_once(FIGURES_MARK)?;
    let mut parts = figures.split(" | ");
    let name = parts.next()?;
    Some(parts.fold(name.to_owned(), |text, figure| {
        let (number, words) = figure.split_once(' ').unwrap_or((figure, ""));
        format!("{text}\n  {number:>8} {words}")
    }))
}

fn seed_of_now() -> Result<u64> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).context("the clock is set before 1970")?;
    Ok(now.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_stand_below_one_another() {
        let told = figures_of("test x ... chaos: kill -9 | 100 kills | 0 messages in aborted transactions");
        assert_eq!(told.as_deref(), Some("kill -9\n       100 kills\n         0 messages in aborted transactions"));
        assert_eq!(figures_of("test result: ok"), None);
    }
}
