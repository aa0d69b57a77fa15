//! A server's process: started in the background, known again later by its pid file, and stopped only when it is ours.
//!
//! A pid alone proves nothing, since the system hands pids out again. The file therefore also holds the boot and the
//! process's start time within it; only a process that matches all three is one that we started.

use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal};

use crate::command::{POLL_INTERVAL, last_lines};

/// How long a server may take to stop when asked before it is killed.
const STOP_WITHIN: Duration = Duration::from_secs(30);
/// How long the system may take to remove a killed process.
const KILL_WITHIN: Duration = Duration::from_secs(5);
/// How long to wait until a process that ended without us is gone for good.
const REMAINS_WITHIN: Duration = Duration::from_secs(5);
/// The place of `starttime` in `/proc/<pid>/stat`, counted from the field after the command's closing bracket.
const START_TIME_FIELD: usize = 19;

/// One started process, as its pid file tells it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Identity {
    /// The process id.
    pub pid: i32,
    /// When the process started, in clock ticks since the boot.
    start_ticks: u64,
    /// The kernel's random id of this boot.
    boot_id: String,
}

/// Whether a process runs, or has ended and only waits for its parent to take note.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Life {
    Lives,
    Ended,
}

/// The pid file of the server whose files are in `dir`.
fn pid_file(dir: &Path) -> PathBuf {
    dir.join("pid")
}

/// The log of the server whose files are in `dir`: what it printed since its last start.
pub fn log_file(dir: &Path) -> PathBuf {
    dir.join("log")
}

/// The last lines of the server's log, for an error's text.
pub fn log_tail(dir: &Path) -> String {
    let log = fs::read(log_file(dir)).unwrap_or_default();
    last_lines(&String::from_utf8_lossy(&log))
}

/// Waits until a crashed process of ours is gone for good, and not longer than [`REMAINS_WITHIN`].
///
/// Until init has taken note of its end it keeps its pid, and a new PostgreSQL would find that pid in its lock file.
pub fn wait_for_remains(dir: &Path) {
    let began = Instant::now();
    let is_there = |written: &Identity| identify(written.pid).is_some_and(|(found, _)| found == *written);
    while pid_file_identity(dir).as_ref().is_some_and(is_there) && began.elapsed() < REMAINS_WITHIN {
        std::thread::sleep(POLL_INTERVAL);
    }
}

/// Starts the command in the background, its output in the log, and writes the pid file.
pub fn start(dir: &Path, command: &mut Command) -> Result<Identity> {
    let log_path = log_file(dir);
    let log = File::create(&log_path).with_context(|| format!("cannot write {}", log_path.display()))?;
    let log_too = log.try_clone().with_context(|| format!("cannot write {}", log_path.display()))?;
    // A group of its own: Ctrl-C in the terminal that ran `cargo x up` must not reach the server.
    let child = command
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(log)
        .stderr(log_too)
        .spawn()
        .with_context(|| format!("cannot start {}: is it installed?", command.get_program().to_string_lossy()))?;
    let pid = i32::try_from(child.id()).context("the system gave a pid that is out of range")?;
    let (identity, _) =
        identify(pid).with_context(|| format!("process {pid} ended at once; its log:\n{}", log_tail(dir)))?;
    let text = format!("{} {} {}\n", identity.pid, identity.start_ticks, identity.boot_id);
    fs::write(pid_file(dir), text).with_context(|| format!("cannot write {}", pid_file(dir).display()))?;
    Ok(identity)
}

/// The running process that we started for the server of `dir`, if there is one.
pub fn running(dir: &Path) -> Option<Identity> {
    let written = pid_file_identity(dir)?;
    let (found, life) = identify(written.pid)?;
    (found == written && life == Life::Lives).then_some(written)
}

fn pid_file_identity(dir: &Path) -> Option<Identity> {
    let text = fs::read_to_string(pid_file(dir)).ok()?;
    let mut words = text.split_whitespace();
    Some(Identity {
        pid: words.next()?.parse().ok()?,
        start_ticks: words.next()?.parse().ok()?,
        boot_id: words.next()?.to_owned(),
    })
}

/// Stops our process of `dir` with `signal`, by force after [`STOP_WITHIN`]; `false` when none was running.
pub fn stop(dir: &Path, signal: Signal) -> Result<bool> {
    let Some(identity) = running(dir) else {
        return Ok(false);
    };
    let pid = Pid::from_raw(identity.pid).context("the pid file holds no valid pid")?;
    rustix::process::kill_process(pid, signal)
        .with_context(|| format!("cannot signal process {}: stop it by hand", identity.pid))?;
    if !ends_within(dir, STOP_WITHIN) {
        // Its children too: a killed PostgreSQL would leave backends that hold the data directory.
        let _gone = rustix::process::kill_process_group(pid, Signal::KILL);
        if !ends_within(dir, KILL_WITHIN) {
            bail!("process {} does not end even when killed: look at it with `ps {}`", identity.pid, identity.pid);
        }
    }
    fs::remove_file(pid_file(dir)).with_context(|| format!("cannot remove {}", pid_file(dir).display()))?;
    Ok(true)
}

fn ends_within(dir: &Path, limit: Duration) -> bool {
    let asked_at = Instant::now();
    while running(dir).is_some() {
        if asked_at.elapsed() > limit {
            return false;
        }
        std::thread::sleep(POLL_INTERVAL);
    }
    true
}

/// What the system says of the process; `None` when it has none with this pid.
fn identify(pid: i32) -> Option<(Identity, Life)> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The command is in brackets and may itself hold spaces and brackets: what counts starts after the last one.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let life = if matches!(*fields.first()?, "Z" | "X") { Life::Ended } else { Life::Lives };
    let boot_id = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    let start_ticks = fields.get(START_TIME_FIELD)?.parse().ok()?;
    Some((Identity { pid, start_ticks, boot_id: boot_id.trim().to_owned() }, life))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scratch(name: &str) -> PathBuf {
        let dir = std::env::temp_dir().join(format!("tailwater-xtask-{}-{name}", std::process::id()));
        fs::create_dir_all(&dir).expect("a scratch folder");
        dir
    }

    #[test]
    fn a_process_is_started_known_and_stopped() {
        let dir = scratch("stop");
        let identity = start(&dir, Command::new("sleep").arg("100")).expect("starts");
        assert_eq!(running(&dir), Some(identity));
        assert!(stop(&dir, Signal::TERM).expect("stops"));
        assert_eq!(running(&dir), None);
        assert!(!stop(&dir, Signal::TERM).expect("nothing left to stop"));
        fs::remove_dir_all(&dir).expect("removed");
    }

    #[test]
    fn a_pid_that_was_handed_out_again_is_not_ours() {
        let dir = scratch("again");
        let myself = i32::try_from(std::process::id()).expect("a pid");
        fs::write(pid_file(&dir), format!("{myself} 1 another-boot\n")).expect("written");
        assert_eq!(running(&dir), None);
        assert!(!stop(&dir, Signal::TERM).expect("touches nothing"));
        fs::remove_dir_all(&dir).expect("removed");
    }
}
