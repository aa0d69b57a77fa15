//! The readers: how each is installed, from its ordinary client, and started.

use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal};

use super::writer::TABLE;
use crate::servers::jars;
use crate::{command, prerequisites, workspace};

/// The heap of Amazon's library is enough for some hundred shards.
const HEAP_MIB_MAX: u32 = 512;

/// A consumer of streams that is not ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum ReaderName {
    /// The Kinesis Client Library over the adapter for DynamoDB Streams.
    Kcl,
    /// Python.
    Boto3,
    /// The AWS SDK for Go.
    Go,
    /// The AWS SDK for JavaScript.
    Node,
}

/// A reader that can be started.
pub(super) struct Installed {
    pub(super) name: ReaderName,
    program: PathBuf,
    arguments: Vec<String>,
    dir: PathBuf,
    /// What it says beside the changes.
    pub(super) log: PathBuf,
}

impl ReaderName {
    pub(super) const ALL: [Self; 4] = [Self::Kcl, Self::Boto3, Self::Go, Self::Node];

    pub(super) fn text(self) -> &'static str {
        match self {
            Self::Kcl => "kcl",
            Self::Boto3 => "boto3",
            Self::Go => "go",
            Self::Node => "node",
        }
    }
}

/// Fetches what the reader needs into a folder of its own below `dir`.
pub(super) fn install(name: ReaderName, dir: &Path) -> Result<Installed> {
    let source = workspace::root().join("tests").join("foreign").join(name.text());
    let dir = dir.join(name.text());
    fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
    tell!("{}: installing what it needs", name.text());
    let text = |path: PathBuf| path.display().to_string();
    let (program, arguments) = match name {
        ReaderName::Kcl => {
            prerequisites::need_java_compiler_and_maven()?;
            jars::install("foreign/kcl", &dir)?;
            let log_level = "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn".to_owned();
            let jars = text(jars::libs(&dir).join("*"));
            let reader = text(source.join("Reader.java"));
            ("java".into(), vec![format!("-Xmx{HEAP_MIB_MAX}m"), log_level, "-cp".into(), jars, reader])
        }
        ReaderName::Boto3 => {
            prerequisites::need("Python", &["python3", "python3-venv"], || command::is_on_path("python3"))?;
            let python = dir.join("venv/bin/python");
            if !python.is_file() {
                command::run_quietly(Command::new("python3").args(["-m", "venv"]).arg(dir.join("venv")))?;
            }
            let mut pip = Command::new(&python);
            pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--requirement"]);
            command::run_quietly(pip.arg(source.join("requirements.txt")))?;
            (python, vec![text(source.join("reader.py"))])
        }
        ReaderName::Go => {
            prerequisites::need("Go", &["golang-go"], || command::is_on_path("go"))?;
            let reader = dir.join("reader");
            command::run_quietly(Command::new("go").args(["build", "-o"]).arg(&reader).current_dir(&source))?;
            (reader, Vec::new())
        }
        ReaderName::Node => {
            prerequisites::need("Node.js", &["nodejs", "npm"], || command::is_on_path("npm"))?;
            // Its packages are looked for beside the script.
            for file in ["package.json", "reader.js"] {
                fs::copy(source.join(file), dir.join(file)).with_context(|| format!("cannot copy {file}"))?;
            }
            let mut npm = Command::new("npm");
            npm.args(["install", "--no-package-lock", "--no-audit", "--no-fund"]);
            command::run_quietly(npm.current_dir(&dir))?;
            ("node".into(), vec![text(dir.join("reader.js"))])
        }
    };
    let log = dir.join("log");
    Ok(Installed { name, program, arguments, dir, log })
}

/// A running reader.
pub(super) struct Reader(Child);

impl Reader {
    pub(super) fn start(installed: &Installed, address: &str) -> Result<Self> {
        let log = File::create(&installed.log).with_context(|| format!("cannot write {}", installed.log.display()))?;
        let mut reader = Command::new(&installed.program);
        reader.args(&installed.arguments).args([&format!("http://{address}"), TABLE]);
        reader.env("AWS_ACCESS_KEY_ID", "any").env("AWS_SECRET_ACCESS_KEY", "any").env("AWS_REGION", "us-east-1");
        reader.env("AWS_EC2_METADATA_DISABLED", "true");
        // A group of its own: it is stopped with whatever it started.
        reader.current_dir(&installed.dir).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log).process_group(0);
        let child = reader.spawn().with_context(|| format!("cannot start {}", installed.program.display()))?;
        Ok(Self(child))
    }

    pub(super) fn stdout(&mut self) -> Result<ChildStdout> {
        self.0.stdout.take().context("a piped output is there once")
    }

    /// How it ended, if it did.
    pub(super) fn ended(&mut self) -> Result<Option<ExitStatus>> {
        self.0.try_wait().context("cannot look at the reader")
    }

    /// Ends it at once: what it has read, it has printed.
    pub(super) fn stop(&mut self) {
        if let Some(group) = i32::try_from(self.0.id()).ok().and_then(Pid::from_raw) {
            // It may have ended already; either way nothing is left.
            let _gone = rustix::process::kill_process_group(group, Signal::KILL);
        }
        let _ended = self.0.wait();
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.stop();
    }
}
