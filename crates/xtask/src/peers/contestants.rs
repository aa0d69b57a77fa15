//! Who is compared, how each is built, and how it is started.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use super::measure::ReplayServer;
use crate::command;
use crate::endpoints::{KAFKA_BOOTSTRAP, POSTGRES_URL};

/// Where the records go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Target {
    Null,
    Kafka,
    Postgres,
}

impl Target {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Kafka => "kafka",
            Self::Postgres => "postgres",
        }
    }
}

/// How a program tells what it read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// By its log.
    Tailwater,
    /// By one line.
    Peer,
}

/// A program in the comparison.
pub(super) struct Contestant {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    pub(super) target: Target,
    /// So many that a run takes some seconds: what is fast gets more. For a database they are the same for all, because
    /// the first write of a row costs more than the next.
    pub(super) pages_per_shard: u64,
    arguments: fn(&Places, &ReplayServer, &str) -> Command,
}

/// Where what was built is.
pub(super) struct Places {
    pub(super) tailwater: PathBuf,
    peers: PathBuf,
    python: PathBuf,
    sdk_loop: PathBuf,
    faucet: PathBuf,
}

/// Pages of each shard for a database.
const DATABASE_PAGES: u64 = 10;

pub(super) const CONTESTANTS: [Contestant; 10] = [
    Contestant {
        name: "tailwater, plain JSON lines",
        kind: Kind::Tailwater,
        target: Target::Null,
        pages_per_shard: 500,
        arguments: |places, replay, run| tailwater(places, replay, run, "null.toml"),
    },
    Contestant {
        name: "Rust SDK loop, its types dropped",
        kind: Kind::Peer,
        target: Target::Null,
        pages_per_shard: 50,
        arguments: |places, replay, _| sdk_loop(places, replay, "types"),
    },
    Contestant {
        name: "Rust SDK loop, plain JSON lines",
        kind: Kind::Peer,
        target: Target::Null,
        pages_per_shard: 50,
        arguments: |places, replay, _| sdk_loop(places, replay, "lines"),
    },
    Contestant {
        name: "faucet-source-dynamodb 1.2.1, its values dropped",
        kind: Kind::Peer,
        target: Target::Null,
        pages_per_shard: 25,
        arguments: |places, replay, _| faucet(places, replay, "values"),
    },
    Contestant {
        name: "faucet-source-dynamodb 1.2.1, JSON lines",
        kind: Kind::Peer,
        target: Target::Null,
        pages_per_shard: 25,
        arguments: |places, replay, _| faucet(places, replay, "lines"),
    },
    Contestant {
        name: "boto3 loop, its dictionaries dropped",
        kind: Kind::Peer,
        target: Target::Null,
        pages_per_shard: 10,
        arguments: |places, _, _| boto3(places, &["null"]),
    },
    Contestant {
        name: "tailwater, exactly once",
        kind: Kind::Tailwater,
        target: Target::Kafka,
        pages_per_shard: 100,
        arguments: |places, replay, run| tailwater(places, replay, run, "kafka.toml"),
    },
    Contestant {
        name: "boto3 loop, confluent-kafka",
        kind: Kind::Peer,
        target: Target::Kafka,
        pages_per_shard: 10,
        arguments: |places, _, run| boto3(places, &["kafka", KAFKA_BOOTSTRAP, run]),
    },
    Contestant {
        name: "tailwater, mirror, exactly once",
        kind: Kind::Tailwater,
        target: Target::Postgres,
        pages_per_shard: DATABASE_PAGES,
        arguments: |places, replay, run| tailwater(places, replay, run, "postgres.toml"),
    },
    Contestant {
        name: "boto3 loop, psycopg executemany",
        kind: Kind::Peer,
        target: Target::Postgres,
        pages_per_shard: DATABASE_PAGES,
        arguments: |places, _, run| boto3(places, &["postgres", POSTGRES_URL, run]),
    },
];

impl Contestant {
    /// The program, ready to start. `run` is a name that no other run has: of a pipeline, a topic, a table.
    pub(super) fn command(&self, places: &Places, replay: &ReplayServer, run: &str) -> Command {
        (self.arguments)(places, replay, run)
    }
}

/// Builds Tailwater in its workspace, and the peers apart from it, in `target/peers`.
pub(super) fn build(root: &Path) -> Result<Places> {
    let peers = root.join("bench/peers");
    let target = root.join("target/peers");
    tell!("building tailwater (release)");
    command::run_shown(command::cargo().args(["build", "--release", "--quiet"]).current_dir(root))?;
    for (folder, flags) in [("sdk-loop", [].as_slice()), ("faucet", &["--ignore-rust-version"])] {
        tell!("building {folder} (release)");
        let mut build = command::cargo();
        build.args(["build", "--release", "--quiet"]).args(flags).env("CARGO_TARGET_DIR", &target);
        command::run_shown(build.current_dir(peers.join(folder)))?;
    }
    let venv = target.join("venv");
    if !venv.is_dir() {
        tell!("making a Python environment in {}", venv.display());
        command::run_shown(Command::new("python3").args(["-m", "venv"]).arg(&venv))?;
    }
    let install = ["install", "--quiet", "--disable-pip-version-check", "--requirement"];
    let requirements = peers.join("boto3/requirements.txt");
    command::run_shown(Command::new(venv.join("bin/pip")).args(install).arg(requirements))?;
    let ours = crate::workspace::target();
    Ok(Places {
        tailwater: ours.join("release/tailwater"),
        python: venv.join("bin/python"),
        sdk_loop: target.join("release/sdk-loop"),
        faucet: target.join("release/faucet-peer"),
        peers,
    })
}

fn tailwater(places: &Places, replay: &ReplayServer, run: &str, file: &str) -> Command {
    let mut tailwater = Command::new(&places.tailwater);
    tailwater.args(["--log-format", "json", "run", "--until", "tip"]).arg(places.peers.join("tailwater").join(file));
    tailwater.env("PEERS_RUN", run).env("PEERS_REPLAY", &replay.url);
    tailwater.env("PEERS_KAFKA", KAFKA_BOOTSTRAP).env("PEERS_POSTGRES", POSTGRES_URL);
    tailwater
}

fn sdk_loop(places: &Places, replay: &ReplayServer, form: &str) -> Command {
    let mut sdk_loop = Command::new(&places.sdk_loop);
    sdk_loop.args(["Replay", &replay.url, form]);
    sdk_loop
}

fn faucet(places: &Places, replay: &ReplayServer, form: &str) -> Command {
    let mut faucet = Command::new(&places.faucet);
    faucet.args(["Replay", &replay.url, form]);
    faucet
}

fn boto3(places: &Places, arguments: &[&str]) -> Command {
    let mut boto3 = Command::new(&places.python);
    boto3.arg(places.peers.join("boto3/loop.py")).arg("Replay").args(arguments);
    boto3
}
