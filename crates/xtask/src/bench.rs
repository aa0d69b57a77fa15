//! `cargo x bench`: the instructions of the hottest paths, as `cargo x counts` holds them; then single functions and whole
//! pipelines.

use anyhow::Result;

use crate::{bench_end_to_end, counts};

/// The name of the benchmark that counts instructions.
const COUNTS: &str = "counts";

/// Runs the named benchmarks, or all; `quick` for seconds each, which only shows that they work.
pub fn run(names: &[String], quick: bool) -> Result<()> {
    let whole: Vec<&String> = names.iter().filter(|name| *name != COUNTS).collect();
    if names.is_empty() || whole.len() < names.len() {
        counts::run(false)?;
    }
    if names.is_empty() || !whole.is_empty() { bench_end_to_end::run(&whole, quick) } else { Ok(()) }
}
