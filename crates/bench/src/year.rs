//! A simulated year of a stream with a thousand open shards: what grows with the age of a pipeline.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use crate::measure::{Bench, Figures};

/// Arguments of the example before the days come out: its polls and its listings, in seconds. In a pipeline they are 1 and 30
/// by default; a year of that would take days.
const POLL_AND_DISCOVERY_SECONDS: [&str; 2] = ["1800", "7200"];
/// The columns of its table (`crates/source-dynamodb/examples/year/table.rs`: change both together).
const COLUMNS: [&str; 7] =
    ["rows", "resident_mib", "reopen_ms", "describe_stream", "of_them_children", "get_shard_iterator", "get_records"];

/// Builds and runs the example, shows its table, notes the days, and fails as it does: when something has grown.
pub fn run(bench: &mut Bench) -> Result<()> {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["run", "--release", "--quiet", "--package", "tailwater-source-dynamodb", "--example", "year", "--"]);
    cargo.arg(bench.pick("365", "4")).args(POLL_AND_DISCOVERY_SECONDS);
    let mut process = cargo.stdout(Stdio::piped()).spawn().context("cargo")?;
    let output = process.stdout.take().context("a piped output is there once")?;
    let mut days = 0;
    for line in BufReader::new(output).lines() {
        let line = line.context("the table of the year")?;
        tell!("{line}");
        if let Some((day, figures)) = row(&line) {
            bench.note_told(&format!("day {day}"), &[figures]);
            days += 1;
        }
    }
    let ended = process.wait().context("cargo")?;
    ensure!(ended.success(), "the year ended with {ended}");
    ensure!(days > 2, "the year printed no table that can be read");
    Ok(())
}

/// A day of the table. Other lines say nothing.
fn row(line: &str) -> Option<(u32, Figures)> {
    let (day, figures) = line.trim().split_once(' ')?;
    let figures = figures.split_whitespace().map(str::parse).collect::<Result<Vec<f64>, _>>().ok()?;
    let named: Figures = COLUMNS.into_iter().zip(figures).collect();
    Some((day.parse().ok()?, named)).filter(|(_, named)| named.len() == COLUMNS.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_read() {
        let line = "   30    7501          16.3      53.81             3886              2678               71999        53999";
        let (day, figures) = row(line).expect("a day");
        assert_eq!((day, figures[0], figures[6]), (30, ("rows", 7_501.0), ("get_records", 53_999.0)));
        assert!(row("  day    rows  resident_mib").is_none());
        assert!(row("day 365 against day 2: rows 1.000").is_none());
    }
}
