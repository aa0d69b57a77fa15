//! What a benchmark finds: figures of several runs, their medians as a table and as JSON.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::{Map, Value, json};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::machine;

/// Runs of which the median is told.
const RUNS: usize = 3;

/// How much is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    /// Enough for figures.
    Full,
    /// Seconds, to see that it works.
    Quick,
}

/// Figures of one run by their names, which end with their units.
pub type Figures = Vec<(&'static str, f64)>;

/// What every benchmark needs, and what was found so far.
pub struct Bench {
    pub scale: Scale,
    /// The program that is measured.
    pub tailwater: PathBuf,
    pub kafka: String,
    pub postgres: String,
    /// A folder of this run; it is removed at the end.
    pub work: TempDir,
    pub runtime: Runtime,
    benchmark: &'static str,
    shown: Vec<&'static str>,
    rows: Vec<Value>,
}

impl Bench {
    pub fn new(scale: Scale, tailwater: PathBuf, kafka: String, postgres: String) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        let work = tempfile::tempdir().context("a folder for pipelines")?;
        Ok(Self {
            scale,
            tailwater,
            kafka,
            postgres,
            work,
            runtime,
            benchmark: "",
            shown: Vec::new(),
            rows: Vec::new(),
        })
    }

    pub fn begin(&mut self, benchmark: &'static str, what: &str) {
        tell!("\n=== {benchmark}: {what}");
        self.benchmark = benchmark;
        self.shown.clear();
    }

    /// The number for figures, or the one for a smoke run.
    pub fn pick<T>(&self, full: T, quick: T) -> T {
        if self.scale == Scale::Full { full } else { quick }
    }

    /// Measures a case several times and notes the medians.
    pub fn case(&mut self, case: &str, mut run: impl FnMut(&mut Self) -> Result<Figures>) -> Result<()> {
        let runs = (0..self.pick(RUNS, 1)).map(|_| run(self)).collect::<Result<Vec<_>>>();
        let runs = runs.with_context(|| format!("case {case:?}"))?;
        self.note(case, &runs);
        Ok(())
    }

    fn note(&mut self, case: &str, runs: &[Figures]) {
        let (names, all) = by_name(runs);
        if self.shown != names {
            tell!(
                "{:<24} {}",
                "",
                names.iter().map(|name| format!("{name:>width$}", width = width(name))).collect::<Vec<_>>().join(" ")
            );
            self.shown.clone_from(&names);
        }
        let shown: Vec<String> = names
            .iter()
            .zip(&all)
            .map(|(name, values)| format!("{:>width$}", told(median(values)), width = width(name)))
            .collect();
        tell!("{case:<24} {}", shown.join(" "));
        self.note_told(case, runs);
    }

    /// Notes what was already shown.
    pub fn note_told(&mut self, case: &str, runs: &[Figures]) {
        let (names, all) = by_name(runs);
        let figures: Map<String, Value> = names
            .iter()
            .zip(&all)
            .map(|(name, values)| ((*name).to_owned(), json!({"median": median(values), "runs": values})))
            .collect();
        self.rows.push(json!({"benchmark": self.benchmark, "case": case, "figures": figures}));
    }

    /// Writes everything that was found, with the machine.
    pub fn write(&self, path: &Path) -> Result<()> {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        let all = json!({"machine": machine::describe(), "quick": self.scale == Scale::Quick, "rows": self.rows});
        Ok(std::fs::write(path, serde_json::to_string_pretty(&all)?)?)
    }
}

/// The names in the order in which they came first, and the values of each.
fn by_name(runs: &[Figures]) -> (Vec<&'static str>, Vec<Vec<f64>>) {
    let mut names: Vec<&'static str> = Vec::new();
    for (name, _) in runs.iter().flatten() {
        if !names.contains(name) {
            names.push(name);
        }
    }
    let of = |name| runs.iter().flatten().filter(|(figure, _)| *figure == name).map(|(_, value)| *value).collect();
    let all = names.iter().map(|name| of(*name)).collect();
    (names, all)
}

fn width(name: &str) -> usize {
    name.len().max(8)
}

/// Three digits that matter.
fn told(value: f64) -> String {
    match value.abs() {
        large if large >= 100.0 => format!("{value:.0}"),
        middle if middle >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.4}"),
    }
}

/// The middle one; of an even number the lower of the two.
fn median(values: &[f64]) -> f64 {
    percentile(values, 50)
}

/// The value that so many hundredths of all do not exceed; 0 of none.
pub fn percentile(values: &[f64], hundredths: usize) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let rank = (sorted.len() * hundredths).div_ceil(100).max(1);
    sorted.get(rank - 1).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_that_were_seen() {
        let values = [5.0, 1.0, 4.0, 2.0, 3.0];
        assert_eq!(median(&values), 3.0);
        assert_eq!(percentile(&values, 99), 5.0);
        assert_eq!(percentile(&values, 1), 1.0);
        assert_eq!(percentile(&[], 50), 0.0);
    }

    #[test]
    fn figures_have_three_digits_that_matter() {
        assert_eq!([told(1234.5), told(12.345), told(0.012_34)], ["1234", "12.35", "0.0123"]);
    }
}
