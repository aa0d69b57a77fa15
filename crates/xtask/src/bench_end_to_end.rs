//! All benchmarks but the counts: builds the shipped program and `tailwater-bench`, and starts servers where needed.

use anyhow::Result;

use crate::command::{self, cargo};
use crate::test::Report;
use crate::workspace;

/// The benchmarks that need real servers (`crates/bench/src/main.rs`: change both together).
const WITH_SERVERS: [&str; 3] = ["e2e-kafka", "e2e-postgres", "e2e-hot-keys"];

/// Runs the named benchmarks, or all.
pub fn run(names: &[&String], quick: bool) -> Result<()> {
    let root = workspace::root();
    // One after the other: built together, the program could get features that only the other one asks for.
    for package in ["tailwater-cli", "tailwater-bench"] {
        tell!("building {package} (release)");
        command::run_shown(cargo().args(["build", "--release", "--package", package]).current_dir(&root))?;
    }
    let release = workspace::target().join("release");
    let mut bench = std::process::Command::new(release.join("tailwater-bench"));
    bench.arg("run").args(names).current_dir(&root);
    bench.arg("--tailwater").arg(release.join("tailwater"));
    bench.arg("--results").arg(root.join("target/bench/results.json"));
    if quick {
        bench.arg("--quick");
    }
    let needs_servers = names.is_empty() || names.iter().any(|name| WITH_SERVERS.contains(&name.as_str()));
    if !needs_servers {
        return command::run_shown(&mut bench);
    }
    let mut report = Report::default();
    report.with_servers(|report| {
        report.step("benchmarks", || command::run_shown(&mut bench));
    });
    report.finish()
}
