//! Real servers for the tests: PostgreSQL, DynamoDB Local and Kafka on fixed loopback ports, data under `target/servers`.

mod certificate;
mod dynamodb;
pub(crate) mod jars;
mod kafka;
mod postgres;
pub mod process;

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use clap::ValueEnum;
use rustix::process::Signal;

use crate::{interrupt, workspace};

/// How long a server may take from its start until it answers; a cold JVM on a busy machine takes some ten seconds.
const READY_WITHIN: Duration = Duration::from_secs(120);
/// How long one answer to a readiness check may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// How long to wait between two readiness checks.
const CHECK_INTERVAL: Duration = Duration::from_millis(200);

/// What differs between the servers. `dir` is the server's own folder, `target/servers/<name>`.
trait Server: Sync {
    /// The name in commands, paths and messages.
    fn name(&self) -> &'static str;
    /// The loopback port that clients use.
    fn port(&self) -> u16;
    /// The address as clients write it.
    fn endpoint(&self) -> &'static str;
    /// The environment variable that points the tests to another server.
    fn variable(&self) -> &'static str;
    /// Gets the server's programs where they are missing.
    fn install(&self, dir: &Path) -> Result<()>;
    /// Makes the data folder where it is missing, and returns the command that runs the server in the foreground.
    fn prepare(&self, dir: &Path) -> Result<Command>;
    /// Asks the server, in its own protocol, whether clients can use it.
    fn check(&self, dir: &Path) -> Result<()>;
    /// Whether the server can take what [`Server::finish`] asks.
    fn accepts(&self, dir: &Path) -> Result<()> {
        self.check(dir)
    }
    /// What is to be done inside the server after its start.
    fn finish(&self, _dir: &Path) -> Result<()> {
        Ok(())
    }
    /// The signal that stops the server in order.
    fn stop_signal(&self) -> Signal {
        Signal::TERM
    }
}

/// The servers by the names that commands take.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum ServerName {
    /// PostgreSQL.
    Postgres,
    /// DynamoDB Local.
    Dynamodb,
    /// Apache Kafka.
    Kafka,
}

/// How `up` found a server.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Outcome {
    Started(Duration),
    AlreadyRunning,
    /// It answers as it should, but this checkout did not start it.
    StartedElsewhere,
}

impl ServerName {
    /// All the servers.
    pub const ALL: [Self; 3] = [Self::Postgres, Self::Dynamodb, Self::Kafka];

    fn server(self) -> &'static dyn Server {
        match self {
            Self::Postgres => &postgres::Postgres,
            Self::Dynamodb => &dynamodb::DynamoDbLocal,
            Self::Kafka => &kafka::Kafka,
        }
    }

    /// Whether the environment points the tests to another server of this kind.
    pub fn is_given_from_outside(self) -> bool {
        std::env::var_os(self.server().variable()).is_some_and(|value| !value.is_empty())
    }

    /// One line about a server that the environment names. The value is not shown: it may hold a password.
    pub fn given_from(self) -> String {
        format!("{:<9} as {} says", self.server().name(), self.server().variable())
    }
}

/// Starts the servers side by side and waits until each is ready.
///
/// Servers that did start stay up when another fails; the error names each failure.
pub fn up(names: &[ServerName]) -> Result<()> {
    let _lock = lock()?;
    install_all(names)?;
    let outcomes = std::thread::scope(|scope| {
        let starts: Vec<_> = names.iter().map(|name| scope.spawn(|| up_one(name.server()))).collect();
        starts.into_iter().map(|start| start.join().unwrap_or_else(|_| Err(anyhow!("it panicked")))).collect::<Vec<_>>()
    });
    let mut failures = Vec::new();
    for (name, outcome) in names.iter().zip(outcomes) {
        let server = name.server();
        let how = match outcome {
            Ok(Outcome::Started(took)) => format!("started in {:.1} s", took.as_secs_f64()),
            Ok(Outcome::AlreadyRunning) => "was running".to_owned(),
            Ok(Outcome::StartedElsewhere) => "was running, not started from this checkout".to_owned(),
            Err(error) => {
                failures.push(format!("{} did not start: {error:#}", server.name()));
                continue;
            }
        };
        tell!("{:<9} {:<58} {how}", server.name(), server.endpoint());
    }
    if failures.is_empty() { Ok(()) } else { bail!("{}", failures.join("\n")) }
}

/// Gets the programs of the servers where they are missing, and starts nothing.
pub fn install(names: &[ServerName]) -> Result<()> {
    let _lock = lock()?;
    install_all(names)
}

fn install_all(names: &[ServerName]) -> Result<()> {
    for name in names {
        // One after the other: two package managers at once would wait for each other's lock or fail.
        let server = name.server();
        server.install(&make_dir(server)?).with_context(|| format!("{} cannot be installed", server.name()))?;
    }
    Ok(())
}

/// Where a server that is written in Java has its jars.
pub fn libs_dir(name: ServerName) -> PathBuf {
    jars::libs(&dir_of(name.server()))
}

/// Stops those of the servers that this checkout started.
pub fn down(names: &[ServerName]) -> Result<()> {
    let _lock = lock()?;
    let mut failures = Vec::new();
    for name in names {
        let server = name.server();
        match process::stop(&dir_of(server), server.stop_signal()) {
            Ok(true) => tell!("{:<9} stopped", server.name()),
            Ok(false) if server.check(&dir_of(server)).is_ok() => {
                tell!("{:<9} runs, but was not started from this checkout: left alone", server.name());
            }
            Ok(false) => tell!("{:<9} was not running", server.name()),
            Err(error) => failures.push(format!("{} did not stop: {error:#}", server.name())),
        }
    }
    if failures.is_empty() { Ok(()) } else { bail!("{}", failures.join("\n")) }
}

/// Those of the servers that this checkout started and that still run.
pub fn running(names: &[ServerName]) -> Vec<ServerName> {
    names.iter().copied().filter(|name| process::running(&dir_of(name.server())).is_some()).collect()
}

/// Prints each server's state; an error when one of them is not ready.
pub fn status() -> Result<()> {
    let mut all_ready = true;
    for name in ServerName::ALL {
        let server = name.server();
        let dir = dir_of(server);
        let process = process::running(&dir);
        let state = match (server.check(&dir), process) {
            (Ok(()), Some(process)) => format!("ready (pid {})", process.pid),
            (Ok(()), None) => "ready (not started from this checkout)".to_owned(),
            (Err(error), Some(process)) => {
                format!("NOT READY (pid {}): {:#}; log: {}", process.pid, error, process::log_file(&dir).display())
            }
            (Err(_), None) => "stopped".to_owned(),
        };
        all_ready &= state.starts_with("ready");
        tell!("{:<9} {:<58} {state}", server.name(), server.endpoint());
    }
    if all_ready { Ok(()) } else { bail!("not every server is ready: start them with `cargo x up`") }
}

fn up_one(server: &dyn Server) -> Result<Outcome> {
    let dir = dir_of(server);
    let began = Instant::now();
    if process::running(&dir).is_some() {
        wait_until_ready(server, &dir)?;
        return Ok(Outcome::AlreadyRunning);
    }
    process::wait_for_remains(&dir);
    if port_is_taken(server.port()) {
        let port = server.port();
        server.check(&dir).map(|()| Outcome::StartedElsewhere).with_context(|| {
            format!("port {port} is taken by something else: find it with `ss -ltnp 'sport = :{port}'` and stop it")
        })
    } else {
        let mut command = server.prepare(&dir)?;
        process::start(&dir, &mut command)?;
        let ready = wait_until_ready(server, &dir);
        if ready.is_err() {
            process::stop(&dir, server.stop_signal())?;
        }
        ready.map(|()| Outcome::Started(began.elapsed()))
    }
}

fn wait_until_ready(server: &dyn Server, dir: &Path) -> Result<()> {
    wait_for(server, dir, || server.accepts(dir))?;
    server.finish(dir)?;
    wait_for(server, dir, || server.check(dir))
}

/// Repeats the question until it is answered, the process ends, the user loses patience, or [`READY_WITHIN`] is over.
fn wait_for(server: &dyn Server, dir: &Path, question: impl Fn() -> Result<()>) -> Result<()> {
    let began = Instant::now();
    loop {
        let Err(error) = question() else {
            return Ok(());
        };
        let over = if process::running(dir).is_none() {
            "its process ended".to_owned()
        } else if interrupt::asked_to_stop() {
            "this command was asked to stop".to_owned()
        } else if began.elapsed() > READY_WITHIN {
            format!("not ready after {} s", READY_WITHIN.as_secs())
        } else {
            std::thread::sleep(CHECK_INTERVAL);
            continue;
        };
        let (log, name) = (process::log_file(dir), server.name());
        let tail = process::log_tail(dir);
        return Err(error.context(format!(
            "{over}; {} ends with:\n{tail}repair what it says, or start afresh: cargo x down {name} && rm -r {}; then cargo x up",
            log.display(),
            dir.display(),
        )));
    }
}

fn port_is_taken(port: u16) -> bool {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    TcpStream::connect_timeout(&address, ANSWER_WITHIN).is_ok()
}

fn dir_of(server: &dyn Server) -> PathBuf {
    workspace::servers_dir().join(server.name())
}

fn make_dir(server: &dyn Server) -> Result<PathBuf> {
    let dir = dir_of(server);
    fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
    Ok(dir)
}

/// Holds off a second `up` or `down` in the same checkout until the returned file is dropped.
fn lock() -> Result<File> {
    let dir = workspace::servers_dir();
    fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
    let path = dir.join("lock");
    let file = File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
    file.lock().with_context(|| format!("cannot lock {}", path.display()))?;
    Ok(file)
}
