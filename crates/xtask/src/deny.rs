//! `cargo x deny`: licences, banned crates and sources of what we depend on, by cargo-deny and `deny.toml`.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};

use crate::{command, workspace};

/// Runs cargo-deny, installed into `target/tools` first where it is missing (minutes, once).
///
/// Advisories are left out: their database is a git repository, which a closed build machine cannot reach.
pub fn run() -> Result<()> {
    let program = match find() {
        Some(program) => program,
        None => install()?,
    };
    let mut deny = Command::new(program);
    deny.current_dir(workspace::root()).args(["--log-level", "error", "check", "bans", "licenses", "sources"]);
    command::run_shown(&mut deny)
}

/// cargo-deny on the search path or in `target/tools`.
pub fn find() -> Option<PathBuf> {
    if command::is_on_path("cargo-deny") {
        return Some(PathBuf::from("cargo-deny"));
    }
    Some(installed()).filter(|program| program.is_file())
}

fn tools_dir() -> PathBuf {
    workspace::root().join("target").join("tools")
}

fn installed() -> PathBuf {
    tools_dir().join("bin").join("cargo-deny")
}

fn install() -> Result<PathBuf> {
    tell!("installing cargo-deny into {}", tools_dir().display());
    let mut install = command::cargo();
    // Unoptimized: it runs for seconds, and its build is what a fresh machine waits for.
    install.args(["install", "cargo-deny", "--locked", "--quiet", "--debug", "--root"]).arg(tools_dir());
    command::run_shown(&mut install).context("cannot install cargo-deny: check the network, then run again")?;
    Ok(installed())
}
