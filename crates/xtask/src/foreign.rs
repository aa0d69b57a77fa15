//! `cargo x foreign`: other people's consumers read the simulated service live, while a table is written.
//!
//! They are the judges of the service: where one of them loses a change, sees it twice or out of order, the service has done
//! something that AWS does not. Each has a service to itself. Its programs come from Maven, PyPI, npm and Go's proxy, so
//! this is no part of `cargo x test`.

mod checker;
mod client;
mod readers;
mod service;
mod writer;

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::ChildStdout;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};

use crate::command::POLL_INTERVAL;
use crate::{interrupt, workspace};
use checker::{Checker, Figures};
use readers::{Installed, Reader, ReaderName};
use service::Service;

/// How long a reader that has everything is watched for more: what comes then is there twice.
const LOOKED_AT_FOR: Duration = Duration::from_secs(5);
/// Longest wait for a next change, from a reader that does not have everything.
const NEXT_WITHIN: Duration = Duration::from_secs(90);

/// What `cargo x foreign` takes.
#[derive(clap::Args)]
pub struct ForeignArguments {
    /// Which readers; none named means all.
    readers: Vec<ReaderName>,
    /// How many changes each reads.
    #[arg(long, default_value_t = 20_000)]
    changes: u64,
    /// Changes written in a second.
    #[arg(long, default_value_t = 200)]
    rate: u64,
    /// After how long a shard closes.
    #[arg(long, default_value = "30s")]
    rotate_every: String,
    /// How unkind the service is: `none`, `ordinary`, `errors` or `harsh`.
    #[arg(long, default_value = "ordinary")]
    faults: String,
    /// The program that serves; without it, it is built.
    #[arg(long)]
    tailwater: Option<PathBuf>,
}

/// Runs the readers one after the other and prints what was measured; fails when a change was lost, doubled or out of order.
pub fn run(arguments: &ForeignArguments) -> Result<()> {
    ensure!(arguments.rate > 0 && arguments.changes > 0, "--rate and --changes are at least 1");
    let named = if arguments.readers.is_empty() { &ReaderName::ALL[..] } else { &arguments.readers };
    let dir = workspace::root().join("target").join("foreign");
    let tailwater = arguments.tailwater.clone().map_or_else(service::build, Ok)?;
    let mut failed = Vec::new();
    let mut lines = Vec::new();
    for name in named {
        let installed = readers::install(*name, &dir)?;
        let figures = one(&installed, &tailwater, arguments)?;
        tell!("{figures}");
        if !figures.is_whole() {
            failed.push(name.text());
        }
        lines.push(figures);
    }
    tell!("");
    lines.iter().for_each(|figures| tell!("{figures}"));
    if failed.is_empty() { Ok(()) } else { bail!("not every change once and in order: {}", failed.join(", ")) }
}

/// One reader beside a service and a writer of its own.
fn one(installed: &Installed, tailwater: &Path, arguments: &ForeignArguments) -> Result<Figures> {
    let service = Service::start(tailwater, &arguments.rotate_every, &arguments.faults)?;
    let mut client = client::Client::connect(&service.address)?;
    writer::make_table(&mut client)?;
    let checker = Mutex::new(Checker::default());
    let began = Instant::now();
    let mut reader = Reader::start(installed, &service.address)?;
    let stdout = reader.stdout()?;
    let outcome = std::thread::scope(|scope| {
        scope.spawn(|| listen(stdout, &checker));
        let writing = scope.spawn(|| writer::write(&mut client, &checker, arguments.changes, arguments.rate));
        let waited = wait_for_all(&mut reader, &checker, arguments.changes);
        // The listener ends with the reader's output.
        reader.stop();
        let written = writing.join().unwrap_or_else(|_| bail!("the writer panicked"));
        waited.and(written)
    });
    let seconds = began.elapsed().as_secs_f64();
    let figures = lock(&checker).figures(installed.name.text(), seconds, service.cpu_seconds(), &mut client);
    if let Err(error) = outcome {
        tell!("{}: {error:#}; its last words are in {}", installed.name.text(), installed.log.display());
    }
    figures
}

fn listen(stdout: ChildStdout, checker: &Mutex<Checker>) {
    for line in BufReader::new(stdout).lines().map_while(Result::ok) {
        lock(checker).read(&line);
    }
}

/// Waits until the reader has everything and a little longer, or nothing comes for long.
fn wait_for_all(reader: &mut Reader, checker: &Mutex<Checker>, changes: u64) -> Result<()> {
    let mut whole_since = None;
    loop {
        std::thread::sleep(POLL_INTERVAL);
        let (different, quiet) = {
            let checker = lock(checker);
            (checker.different(), checker.quiet_for())
        };
        let whole_since = whole_since.get_or_insert_with(Instant::now);
        if different < changes {
            *whole_since = Instant::now();
        }
        if whole_since.elapsed() > LOOKED_AT_FOR {
            return Ok(());
        }
        ensure!(!interrupt::asked_to_stop(), "stopped because this command was asked to stop");
        ensure!(quiet < NEXT_WITHIN, "nothing came for {} s", NEXT_WITHIN.as_secs());
        if let Some(status) = reader.ended()? {
            bail!("it ended with {status}");
        }
    }
}

fn lock(checker: &Mutex<Checker>) -> std::sync::MutexGuard<'_, Checker> {
    checker.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
