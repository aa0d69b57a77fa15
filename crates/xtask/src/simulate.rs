//! `cargo x simulate`: the worlds of the crate `simulation`, optimized.

use anyhow::Result;

use crate::command;
use crate::test::cargo;

/// Builds the program of the worlds and runs it with these arguments. Optimized: a run is worth what it gets through.
pub fn run(arguments: &[String]) -> Result<()> {
    let program =
        ["run", "--release", "--quiet", "-p", "tailwater-simulation", "--features", "worlds", "--bin", "worlds"];
    command::run_shown(cargo().args(program).arg("--").args(arguments))
}
