//! The `tailwater` process: started in a clean environment, signalled, killed, waited for, and read.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};

use crate::binary;
use crate::patience::{Look, wait_until};
use crate::postgres::CANARY;

/// Lines of output that a failure message shows.
const SHOWN_LINES_MAX: usize = 40;
/// What a process says that another one has replaced.
pub const STANDS_BY: &str = "; standing by";
/// One that stands by has nothing in hand.
const STANDBY_STOPS_WITHIN: Duration = Duration::from_secs(10);
/// How long the kernel may take to end a killed process on a busy machine.
const KILLED_WITHIN: Duration = Duration::from_secs(10);
/// Texts that only a crash prints.
const CRASH_MARKS: [&str; 5] = ["panicked at", "stack backtrace", "RUST_BACKTRACE", "thread 'main'", "thread 'tokio"];

/// The environment of a child. Nothing of the test's own environment gets in.
pub type Environment = BTreeMap<String, String>;

/// A running `tailwater`. Killed when dropped.
pub struct Tailwater {
    child: Child,
    stdout: PathBuf,
    stderr: PathBuf,
}

/// How a process ended and what it said.
#[derive(Debug)]
pub struct Outcome {
    /// The exit code, unless a signal ended it.
    pub code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// Its whole standard output.
    pub stdout: String,
    /// Its whole standard error.
    pub stderr: String,
}

/// An environment in which DynamoDB Local can be reached. The secret key holds the canary.
pub fn environment(home: &Path) -> Environment {
    let mut variables = Environment::new();
    let mut set = |name: &str, value: &str| variables.insert(name.to_owned(), value.to_owned());
    set("PATH", "/usr/local/bin:/usr/bin:/bin");
    set("HOME", &home.to_string_lossy());
    set("AWS_ACCESS_KEY_ID", "tests");
    set("AWS_SECRET_ACCESS_KEY", &format!("{CANARY}-aws"));
    set("AWS_EC2_METADATA_DISABLED", "true");
    variables
}

impl Tailwater {
    /// Starts `tailwater` with these arguments; its output goes to files in `dir`.
    pub fn start(dir: &Path, arguments: &[&str], environment: &Environment) -> Result<Self> {
        // Several processes of one test share the folder: the number keeps their files apart.
        let number = std::fs::read_dir(dir).context("the test's folder")?.count();
        let [stdout, stderr] = ["stdout", "stderr"].map(|stream| dir.join(format!("{number}.{stream}")));
        let child = Command::new(binary::tailwater()?)
            .args(arguments)
            .env_clear()
            .envs(environment)
            .current_dir(dir)
            .stdin(Stdio::null())
            .stdout(File::create(&stdout)?)
            .stderr(File::create(&stderr)?)
            .kill_on_drop(true)
            .spawn()
            .context("tailwater does not start")?;
        Ok(Self { child, stdout, stderr })
    }

    /// Starts it and waits for its end.
    pub async fn run(dir: &Path, arguments: &[&str], environment: &Environment, within: Duration) -> Result<Outcome> {
        Self::start(dir, arguments, environment)?.ends(within).await
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        let pid = self.child.id().and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw);
        let pid = pid.with_context(|| format!("the process has ended already\n{}", self.said()))?;
        Ok(kill_process(pid, signal)?)
    }

    /// `kill -9`, without any chance to clean up. It must have been alive.
    pub async fn kill(mut self) -> Result<Outcome> {
        if let Some(status) = self.child.try_wait()? {
            bail!("tailwater ended by itself before it was killed: {status}\n{}", self.said());
        }
        self.signal(Signal::KILL)?;
        self.ends(KILLED_WITHIN).await
    }

    /// Waits for the end. Whatever it was, the output must hold no secret and no trace of a crash.
    pub async fn ends(mut self, within: Duration) -> Result<Outcome> {
        let Ok(status) = tokio::time::timeout(within, self.child.wait()).await else {
            bail!("tailwater is still running after {within:?}\n{}", self.said());
        };
        let status = status?;
        let (stdout, stderr) = (read(&self.stdout), read(&self.stderr));
        let outcome = Outcome { code: status.code(), signal: status.signal(), stdout, stderr };
        for text in [&outcome.stdout, &outcome.stderr] {
            ensure!(!text.contains(CANARY), "a secret is in the output\n{}", outcome.said());
            let mark = CRASH_MARKS.into_iter().find(|mark| text.contains(mark));
            ensure!(mark.is_none(), "{mark:?} is in the output\n{}", outcome.said());
        }
        Ok(outcome)
    }

    /// An error when it has ended, with what it said.
    pub fn must_be_running(&mut self) -> Result<()> {
        match self.child.try_wait()? {
            None => Ok(()),
            Some(status) => bail!("tailwater ended: {status}\n{}", self.said()),
        }
    }

    /// Waits until it has said this so many times.
    pub async fn says(&self, text: &str, times: usize, within: Duration) -> Result<()> {
        let heard = || async {
            let heard = self.stderr_so_far().matches(text).count();
            Ok(Look::when(heard >= times, format!("it said so {heard} times of {times}")))
        };
        wait_until(&format!("tailwater says {text:?}"), within, heard).await.with_context(|| self.said())
    }

    /// Waits until it stands by, and stops it: it must end well, and have said why it stood by.
    pub async fn stands_by_until_stopped(self, within: Duration) -> Result<()> {
        self.says(STANDS_BY, 1, within).await?;
        self.signal(Signal::TERM)?;
        self.ends(STANDBY_STOPS_WITHIN).await?.must_exit_with(0)?.must_say(&["took over"])?;
        Ok(())
    }

    /// What it wrote to standard error so far.
    pub fn stderr_so_far(&self) -> String {
        read(&self.stderr)
    }

    /// The last lines of its output, for a failure message.
    pub fn said(&self) -> String {
        shown(&read(&self.stdout), &read(&self.stderr))
    }
}

impl Outcome {
    /// An error with the output unless it exited with this code.
    pub fn must_exit_with(self, code: i32) -> Result<Self> {
        ensure!(
            self.code == Some(code),
            "expected exit code {code}, got {:?} (signal {:?})\n{}",
            self.code,
            self.signal,
            self.said()
        );
        Ok(self)
    }

    /// An error with the output unless standard error holds each of these texts.
    pub fn must_say(self, texts: &[&str]) -> Result<Self> {
        for text in texts {
            ensure!(self.stderr.contains(text), "standard error does not say {text:?}\n{}", self.said());
        }
        Ok(self)
    }

    /// The last lines of its output.
    pub fn said(&self) -> String {
        shown(&self.stdout, &self.stderr)
    }
}

fn shown(stdout: &str, stderr: &str) -> String {
    let tail = |text: &str| {
        let lines: Vec<_> = text.lines().collect();
        lines[lines.len().saturating_sub(SHOWN_LINES_MAX)..].join("\n")
    };
    format!("--- stdout\n{}\n--- stderr\n{}\n---", tail(stdout), tail(stderr))
}

fn read(path: &Path) -> String {
    std::fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
}
