//! What single functions cost: the benchmarks of the crates themselves, with their own tables.

mod divan_table;

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use crate::measure::Bench;
use divan_table::DivanTable;

/// The packages that have benchmarks, in the order of a record's way.
const PACKAGES: [&str; 6] = ["source-dynamodb", "model", "transform", "sink-kafka", "sink-postgres", "sink-local"];
/// What makes every benchmark a single sample.
const QUICK: [&str; 4] = ["--sample-count", "1", "--sample-size", "1"];

/// Builds and runs them one after the other, shows what they print, and notes what it says.
pub fn run(bench: &mut Bench) -> Result<()> {
    for package in PACKAGES {
        let package = format!("tailwater-{package}");
        let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        cargo.args(["bench", "--package", &package, "--"]).args(bench.pick(&[][..], &QUICK));
        let mut process = cargo.stdout(Stdio::piped()).spawn().context("cargo")?;
        let output = process.stdout.take().context("a piped output is there once")?;
        let mut table = DivanTable::default();
        for line in BufReader::new(output).lines() {
            let line = line.context("a benchmark's output")?;
            tell!("{line}");
            table.read(&line);
        }
        let ended = process.wait().context("cargo")?;
        ensure!(ended.success(), "the benchmarks of {package} ended with {ended}");
        ensure!(!table.rows.is_empty(), "the benchmarks of {package} printed no table that can be read");
        for row in table.rows {
            bench.note_told(&format!("{package} {}", row.path), &[row.figures]);
        }
    }
    Ok(())
}
