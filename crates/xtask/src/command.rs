//! Running other programs: to their end with their output shown, or quietly with their output returned.

use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal};

use crate::interrupt;

/// How often a waiting loop looks again.
pub const POLL_INTERVAL: Duration = Duration::from_millis(50);
/// How long a program that was asked to stop may take before it is killed.
const STOP_WITHIN: Duration = Duration::from_secs(20);
/// How many last lines of a failed program's output an error shows.
pub const TAIL_LINES: usize = 25;

/// Runs the command to its end, its output on our own; fails when it fails or when the user asks to stop.
pub fn run_shown(command: &mut Command) -> Result<()> {
    let shown = display(command);
    // A group of its own: a signal then reaches what the program started too (cargo's test binaries).
    let mut child = command
        .stdin(Stdio::null())
        .process_group(0)
        .spawn()
        .with_context(|| format!("cannot start `{shown}`: is the program installed?"))?;
    hold_to_success(&shown, wait_or_stop(&mut child))
}

/// Like [`run_shown`], and hands each line of the standard output to `watch` as well.
pub fn run_watched(command: &mut Command, mut watch: impl FnMut(&str) + Send) -> Result<()> {
    let shown = display(command);
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .process_group(0)
        .spawn()
        .with_context(|| format!("cannot start `{shown}`: is the program installed?"))?;
    let stdout = child.stdout.take().context("a piped output is there once")?;
    let status = std::thread::scope(|scope| {
        scope.spawn(move || {
            // By bytes: a test may print what is not text.
            for line in BufReader::new(stdout).split(b'\n').map_while(Result::ok) {
                let line = String::from_utf8_lossy(&line);
                tell!("{line}");
                watch(&line);
            }
        });
        wait_or_stop(&mut child)
    });
    hold_to_success(&shown, status)
}

/// `cargo`, the very one that runs us where there is one.
pub fn cargo() -> Command {
    Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

/// Runs the command to its end and returns its output; fails, with the output's last lines, when it fails.
pub fn run_quietly(command: &mut Command) -> Result<String> {
    let shown = display(command);
    let output: Output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot start `{shown}`: is the program installed?"))?;
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        let both = format!("{stdout}{}", String::from_utf8_lossy(&output.stderr));
        bail!("`{shown}` ended with {}; its last lines:\n{}", output.status, last_lines(&both));
    }
    Ok(stdout)
}

/// Whether a program of this name is on the search path.
pub fn is_on_path(program: &str) -> bool {
    std::env::var_os("PATH").is_some_and(|path| std::env::split_paths(&path).any(|dir| dir.join(program).is_file()))
}

/// The last [`TAIL_LINES`] lines of a text, each indented.
pub fn last_lines(text: &str) -> String {
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    let first = lines.len().saturating_sub(TAIL_LINES);
    lines.iter().skip(first).map(|line| format!("    {line}\n")).collect()
}

/// The command as a person would type it.
fn display(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
}

fn hold_to_success(shown: &str, status: Result<ExitStatus>) -> Result<()> {
    let status = status.with_context(|| format!("while `{shown}` ran"))?;
    ensure!(status.success(), "`{shown}` ended with {status}: its messages are above");
    Ok(())
}

fn wait_or_stop(child: &mut Child) -> Result<ExitStatus> {
    let mut asked_at = None;
    loop {
        if let Some(status) = child.try_wait().context("cannot wait for the program")? {
            if asked_at.is_some() {
                bail!("stopped because this command was asked to stop");
            }
            return Ok(status);
        }
        if asked_at.is_none() && interrupt::asked_to_stop() {
            asked_at = Some(Instant::now());
            signal_group(child, Signal::INT);
        }
        if asked_at.is_some_and(|at| at.elapsed() > STOP_WITHIN) {
            signal_group(child, Signal::KILL);
        }
        std::thread::sleep(POLL_INTERVAL);
    }
}

fn signal_group(child: &Child, signal: Signal) {
    if let Some(group) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
        // It may have ended between the last look and now: then there is nothing left to signal.
        let _gone = rustix::process::kill_process_group(group, signal);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failing_program_is_told_with_its_last_lines() {
        let failure = run_quietly(Command::new("sh").args(["-c", "echo one; echo two >&2; exit 3"]));
        let message = failure.map_or_else(|error| format!("{error:#}"), |_| String::new());
        assert!(message.contains("exit status: 3") && message.contains("one") && message.contains("two"), "{message}");
    }

    #[test]
    fn a_missing_program_is_told() {
        let failure = run_quietly(&mut Command::new("no-such-program-anywhere"));
        assert!(failure.is_err_and(|error| format!("{error:#}").contains("is the program installed?")));
        assert!(!is_on_path("no-such-program-anywhere"));
        assert!(is_on_path("sh"));
    }

    #[test]
    fn watched_lines_are_all_seen() {
        let mut seen = Vec::new();
        let shown =
            run_watched(Command::new("sh").args(["-c", "echo one; echo two"]), |line| seen.push(line.to_owned()));
        assert!(shown.is_ok());
        assert_eq!(seen, ["one", "two"]);
    }

    #[test]
    fn only_the_last_lines_are_kept() {
        let text: String = (0..100).map(|number| format!("line {number}\n")).collect();
        let kept = last_lines(&text);
        assert_eq!(kept.lines().count(), TAIL_LINES);
        assert!(kept.ends_with("line 99\n"));
    }
}
