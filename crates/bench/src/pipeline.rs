//! The shipped program at work on one pipeline file.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::process::{cpu_seconds, memory_mib};
use crate::server::ReplayServer;

/// Longest wait for a run to read its replay.
const READ_WITHIN: Duration = Duration::from_secs(600);
/// Last lines of the log that a failure shows.
const TOLD_LINES: usize = 15;
/// How often whoever waits looks again: times are taken by whoever reads the log.
const LOOK_INTERVAL: Duration = Duration::from_millis(5);

/// What the log has said until now.
#[derive(Default)]
struct Log {
    /// When the first lane was open, and what CPU had been used by then.
    opened: Option<(Instant, f64)>,
    drained: u64,
    /// When the last shard was drained.
    drained_at: Option<Instant>,
    ended: bool,
    last_lines: VecDeque<String>,
}

/// A running `tailwater run`. Killed when dropped.
pub struct Pipeline {
    process: Child,
    log: Arc<Mutex<Log>>,
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
        Self::start_by(Command::new(program), file, stdout)
    }

    /// The same on one processor only (taskset(1)).
    pub fn start_on(processor: usize, program: &Path, file: &Path, stdout: Stdio) -> Result<Self> {
        let mut command = Command::new("taskset");
        command.args(["-c", &processor.to_string()]).arg(program);
        Self::start_by(command, file, stdout)
    }

    fn start_by(mut command: Command, file: &Path, stdout: Stdio) -> Result<Self> {
        let started_at = Instant::now();
        let mut process = command
            .args(["--log-format", "json", "run"])
            .arg(file)
            .env("TAILWATER_LOG", "info")
            .env("AWS_ACCESS_KEY_ID", "any")
            .env("AWS_SECRET_ACCESS_KEY", "any")
            .stdin(Stdio::null())
            .stdout(stdout)
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {}", command.get_program().display()))?;
        let lines = BufReader::new(process.stderr.take().context("a piped output is there once")?).lines();
        let log = Arc::new(Mutex::new(Log::default()));
        let (read, pid) = (Arc::clone(&log), process.id());
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                read.lock().unwrap_or_else(PoisonError::into_inner).take(line, pid);
            }
            read.lock().unwrap_or_else(PoisonError::into_inner).ended = true;
        });
        Ok(Self { process, log, started_at })
    }

    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// The standard output, if it was piped and not yet taken.
    pub fn stdout(&mut self) -> Result<ChildStdout> {
        self.process.stdout.take().context("a piped output is there once")
    }

    /// What it takes while it carries records without end, after a time in which lanes open and queues fill.
    pub fn meanwhile(&self, server: &mut ReplayServer, warm: Duration, length: Duration) -> Result<Meanwhile> {
        std::thread::sleep(warm);
        let (records, cpu_s, began) = (server.served()?.records, cpu_seconds(self.pid())?, Instant::now());
        std::thread::sleep(length);
        let (records, cpu_s) = (server.served()?.records - records, cpu_seconds(self.pid())? - cpu_s);
        let wall_s = began.elapsed().as_secs_f64();
        let log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        ensure!(!log.ended && records > 0, "the pipeline does not carry records\n{}", log.told());
        Ok(Meanwhile { records: records as f64, wall_s, cpu_s })
    }

    /// Waits until so many shards are drained: read to their ends, which are durable.
    pub fn until_drained(&self, shards: u64) -> Result<Taken> {
        let deadline = Instant::now() + READ_WITHIN;
        loop {
            {
                let log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
                if let (Some((began_at, cpu_before)), Some(at), true) =
                    (log.opened, log.drained_at, log.drained >= shards)
                {
                    return Ok(Taken {
                        wall_s: at.duration_since(began_at).as_secs_f64(),
                        cpu_s: cpu_seconds(self.pid())? - cpu_before,
                        peak_mib: memory_mib(self.pid())?.1,
                    });
                }
                let lines = log.told();
                ensure!(!log.ended, "the pipeline ended early\n{lines}");
                ensure!(Instant::now() < deadline, "{} of {shards} shards drained in time\n{lines}", log.drained);
            }
            std::thread::sleep(LOOK_INTERVAL);
        }
    }
}

/// What a part of a run took.
#[derive(Clone, Copy, Debug)]
pub struct Meanwhile {
    /// That the source has answered.
    pub records: f64,
    pub wall_s: f64,
    pub cpu_s: f64,
}

impl Log {
    fn told(&self) -> String {
        self.last_lines.iter().map(|line| format!("    {line}\n")).collect()
    }

    fn take(&mut self, line: String, pid: u32) {
        if line.contains("\"shard drained\"") {
            self.drained += 1;
            self.drained_at = Some(Instant::now());
        } else if self.opened.is_none() && line.contains("\"lane open\"") {
            self.opened = cpu_seconds(pid).ok().map(|cpu_s| (Instant::now(), cpu_s));
        }
        if self.last_lines.len() == TOLD_LINES {
            self.last_lines.pop_front();
        }
        self.last_lines.push_back(line);
    }
}

impl Drop for Pipeline {
    fn drop(&mut self) {
        // It may have ended already; either way nothing is left.
        let _ended = self.process.kill().and_then(|()| self.process.wait());
    }
}
