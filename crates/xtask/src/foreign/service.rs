//! `tailwater simulate`, for as long as a reader reads it.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result};

use crate::{command, workspace};

/// The kernel counts CPU time in hundredths of a second, on every machine that we know.
const TICKS_PER_SECOND: f64 = 100.0;

/// Builds the program that ships, and says where it is.
pub(super) fn build() -> Result<PathBuf> {
    let root = workspace::root();
    tell!("building tailwater (release)");
    let mut build = command::cargo();
    build.args(["build", "--release", "--quiet", "--package", "tailwater-cli"]).current_dir(&root);
    command::run_shown(&mut build)?;
    Ok(workspace::target().join("release/tailwater"))
}

/// A running service.
pub(super) struct Service {
    process: Child,
    /// Host and port.
    pub(super) address: String,
}

impl Service {
    pub(super) fn start(tailwater: &Path, rotate_every: &str, faults: &str) -> Result<Self> {
        let mut server = Command::new(tailwater);
        server.args(["simulate", "--listen", "127.0.0.1:0", "--shards", "3", "--splits", "30%", "--shards-max", "8"]);
        server.args(["--rotate-every", rotate_every, "--faults", faults]);
        let mut process = server
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {}", tailwater.display()))?;
        let stdout = process.stdout.take().context("a piped output is there once")?;
        // From here on the process ends with this value, whatever happens.
        let mut service = Self { process, address: String::new() };
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line).context("the service did not say where it listens")?;
        service.address = address_in(&line).with_context(|| format!("no address in {line:?}"))?;
        Ok(service)
    }

    /// CPU time that it took, user and system, as far as the kernel tells it.
    pub(super) fn cpu_seconds(&self) -> Option<f64> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.process.id())).ok()?;
        let fields: Vec<&str> = stat.rsplit(')').next()?.split_whitespace().collect();
        let ticks = |at: usize| fields.get(at)?.parse::<f64>().ok();
        // The fields after the command: utime is the twelfth, stime the thirteenth.
        Some((ticks(11)? + ticks(12)?) / TICKS_PER_SECOND)
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // It may have ended already; either way nothing is left.
        let _ended = self.process.kill().and_then(|()| self.process.wait());
    }
}

fn address_in(line: &str) -> Option<String> {
    let rest = line.split("http://").nth(1)?;
    Some(rest.split(|c: char| c == ';' || c.is_whitespace()).next()?.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_is_read_from_what_it_says() {
        let line = "simulating DynamoDB with streams at http://127.0.0.1:4711; any credentials will do";
        assert_eq!(address_in(line).as_deref(), Some("127.0.0.1:4711"));
        assert_eq!(address_in("nothing"), None);
    }
}
