//! Another process of our own program, which serves something and answers each line that it is asked.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context, Result, ensure};

use crate::process::cpu_seconds;

/// A process that runs for as long as this value lives.
pub struct Helper {
    process: Child,
    questions: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Helper {
    /// Our own program with these arguments.
    pub fn start(arguments: &[String]) -> Result<Self> {
        let mut command = Command::new(std::env::current_exe().context("our own program")?);
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = command.spawn().context("cannot start our own program")?;
        let questions = process.stdin.take().context("a piped input is there once")?;
        let answers = BufReader::new(process.stdout.take().context("a piped output is there once")?);
        Ok(Self { process, questions, answers })
    }

    /// The next line that it writes.
    pub fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        let length = self.answers.read_line(&mut line).context("a process of ours does not answer")?;
        ensure!(length > 0, "a process of ours has ended");
        Ok(line.trim_end().to_owned())
    }

    /// What it answers now.
    pub fn ask(&mut self) -> Result<String> {
        self.questions.write_all(b"\n").context("a process of ours has ended")?;
        self.line()
    }

    /// Keeps it to one processor (taskset(1)).
    pub fn keep_to(&self, processor: usize) -> Result<()> {
        let mut command = Command::new("taskset");
        let command = command.args(["-cp", &processor.to_string(), &self.process.id().to_string()]);
        let kept = command.stdout(Stdio::null()).status().context("taskset")?;
        ensure!(kept.success(), "taskset: {kept}");
        Ok(())
    }

    /// CPU that it has used.
    pub fn cpu_seconds(&self) -> Result<f64> {
        cpu_seconds(self.process.id())
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        // It may have ended already; either way nothing is left.
        let _ended = self.process.kill().and_then(|()| self.process.wait());
    }
}
