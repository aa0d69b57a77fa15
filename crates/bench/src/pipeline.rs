//! The shipped program at work on one pipeline file.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::process::{cpu_seconds, memory_mib};

/// Longest wait for a run to read its replay.
const READ_WITHIN: Duration = Duration::from_secs(600);
/// Last lines of the log that a failure shows.
const TOLD_LINES: usize = 15;
/// Marks that are on their way to whoever waits for them.
const MARKS_MAX: usize = 1_024;

/// What the log says that a benchmark waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mark {
    LaneOpen,
    Drained,
}

/// A running `tailwater run`. Killed when dropped.
pub struct Pipeline {
    process: Child,
    marks: Receiver<(Instant, Mark)>,
    last_lines: Arc<Mutex<VecDeque<String>>>,
    pub started_at: Instant,
}

/// What a run took, from the first open lane to the last drained shard.
#[derive(Clone, Copy, Debug)]
pub struct Taken {
    pub wall_s: f64,
    pub cpu_s: f64,
    /// The most memory that the process ever held.
    pub peak_mib: f64,
}

impl Pipeline {
    /// Starts the program; its output goes to `stdout`.
    pub fn start(program: &Path, file: &Path, stdout: Stdio) -> Result<Self> {
        let started_at = Instant::now();
        let mut process = Command::new(program)
            .args(["--log-format", "json", "run"])
            .arg(file)
            .env("TAILWATER_LOG", "info")
            .env("AWS_ACCESS_KEY_ID", "any")
            .env("AWS_SECRET_ACCESS_KEY", "any")
            .stdin(Stdio::null())
            .stdout(stdout)
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {}", program.display()))?;
        let log = BufReader::new(process.stderr.take().context("a piped output is there once")?);
        let last_lines = Arc::new(Mutex::new(VecDeque::new()));
        let (told, marks) = sync_channel(MARKS_MAX);
        let kept = Arc::clone(&last_lines);
        std::thread::spawn(move || {
            for line in log.lines().map_while(Result::ok) {
                let mark = if line.contains("\"shard drained\"") {
                    Some(Mark::Drained)
                } else if line.contains("\"lane open\"") {
                    Some(Mark::LaneOpen)
                } else {
                    None
                };
                // Whoever does not wait for marks any more still has the log read, or the program would stand still.
                if let Some(mark) = mark {
                    let _nobody_or_full = told.try_send((Instant::now(), mark));
                }
                let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
                if kept.len() == TOLD_LINES {
                    kept.pop_front();
                }
                kept.push_back(line);
            }
        });
        Ok(Self { process, marks, last_lines, started_at })
    }

    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// The standard output, if it was piped and not yet taken.
    pub fn stdout(&mut self) -> Result<ChildStdout> {
        self.process.stdout.take().context("a piped output is there once")
    }

    /// Waits until so many shards are drained: read to their ends, which are durable.
    pub fn until_drained(&mut self, shards: u64) -> Result<Taken> {
        let deadline = Instant::now() + READ_WITHIN;
        let (mut began, mut drained) = (None, 0);
        loop {
            match self.marks.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok((at, Mark::LaneOpen)) if began.is_none() => began = Some((at, cpu_seconds(self.pid())?)),
                Ok((_, Mark::LaneOpen)) => {}
                Ok((at, Mark::Drained)) => {
                    drained += 1;
                    if let (true, Some((began_at, cpu_before))) = (drained == shards, began) {
                        return Ok(Taken {
                            wall_s: at.duration_since(began_at).as_secs_f64(),
                            cpu_s: cpu_seconds(self.pid())? - cpu_before,
                            peak_mib: memory_mib(self.pid())?.1,
                        });
                    }
                }
                Err(RecvTimeoutError::Timeout) => {
                    bail!("{drained} of {shards} shards drained in time\n{}", self.told())
                }
                Err(RecvTimeoutError::Disconnected) => bail!("the pipeline ended early\n{}", self.told()),
            }
        }
    }

    fn told(&self) -> String {
        let lines = self.last_lines.lock().unwrap_or_else(PoisonError::into_inner);
        lines.iter().map(|line| format!("    {line}\n")).collect()
    }
}

impl Drop for Pipeline {
    fn drop(&mut self) {
        // It may have ended already; either way nothing is left.
        let _ended = self.process.kill().and_then(|()| self.process.wait());
    }
}
