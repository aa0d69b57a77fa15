//! The whole system in containers: `docker-compose.yml` brought up for the tests, and everything of it removed again.
//!
//! Where the official images cannot be pulled, stand-ins are built on this machine (`tests/compose/offline.yml`).

mod daemon;
mod images;

use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use self::daemon::Daemon;
use crate::{command, endpoints, prerequisites, workspace};

/// Names containers, network and volumes: apart from those of a person who tries `docker-compose.yml` in this checkout.
const PROJECT: &str = "tailwater-tests";
/// What a user brings up.
const MAIN_FILE: &str = "docker-compose.yml";
/// The override for machines without a registry.
const OFFLINE_FILE: &str = "tests/compose/offline.yml";
/// What `docker-compose.yml` publishes on the loopback address.
const PUBLISHED: [Published; 3] = [
    Published {
        service: "dynamodb",
        port: 18_000,
        variable: endpoints::DYNAMODB_VARIABLE,
        address: "http://127.0.0.1:18000",
    },
    Published {
        service: "postgres",
        port: 15_432,
        variable: endpoints::POSTGRES_VARIABLE,
        address: "postgres://tailwater:tailwater@127.0.0.1:15432/tailwater",
    },
    Published { service: "kafka", port: 19_092, variable: endpoints::KAFKA_VARIABLE, address: "127.0.0.1:19092" },
];
/// Holds, for the tests, the words of the command that steers the composition.
const COMMAND_VARIABLE: &str = "TAILWATER_TEST_COMPOSE";
/// Lines of each container's log that are shown after a failure.
const LOG_LINES: &str = "40";
/// How long a port is asked whether somebody listens.
const ANSWER_WITHIN: Duration = Duration::from_secs(1);

/// A server that can be reached from outside the containers.
struct Published {
    service: &'static str,
    port: u16,
    /// Points the tests to the server.
    variable: &'static str,
    /// As a client writes it.
    address: &'static str,
}

/// A composition whose images are there. Dropping it stops the Docker daemon, when that was started here.
pub struct Composition {
    /// `docker compose` or `docker-compose`, with the project and its files.
    words: Vec<String>,
    daemon: Daemon,
}

/// Installs what is missing, finds or starts a Docker daemon, and pulls or builds the images.
pub fn prepare() -> Result<Composition> {
    let daemon = Daemon::reach()?;
    prerequisites::need("kcat", &["kcat"], || command::is_on_path("kcat"))?;
    prerequisites::need("psql", &["postgresql-client"], || command::is_on_path("psql"))?;
    let mut composition = Composition { words: compose_words(&daemon)?, daemon };
    if images::pull(&composition) {
        tell!("the official images are there; building Tailwater's own from Dockerfile (minutes, the first time)");
        command::run_shown(composition.command().args(["build", "tailwater"]))?;
        return Ok(composition);
    }
    tell!("the official images cannot be pulled: building stand-ins as {OFFLINE_FILE} says");
    composition.words.extend(["--file".to_owned(), OFFLINE_FILE.to_owned()]);
    images::build_stand_ins(&composition)?;
    Ok(composition)
}

impl Composition {
    /// Brings everything up, on empty volumes.
    pub fn up(&self) -> Result<()> {
        // What a run that was ended by force has left.
        self.remove()?;
        for Published { service, port, .. } in PUBLISHED {
            if TcpStream::connect_timeout(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)), ANSWER_WITHIN).is_ok() {
                bail!(
                    "port {port}, which {MAIN_FILE} publishes for {service}, is taken: find what holds it with \
                     `ss -ltnp 'sport = :{port}'` (another `docker compose up`?) and stop it"
                );
            }
        }
        command::run_shown(self.command().args(["up", "--detach"]))
    }

    /// The command that tests this composition.
    pub fn tests(&self) -> Command {
        let mut tests = command::cargo();
        // Of the whole workspace: for one package alone cargo would build dependencies a second time, with fewer features.
        tests.current_dir(workspace::root()).args(["test", "--workspace", "--features", "tailwater-tests/compose"]);
        // One test after the other: they kill containers under each other's feet.
        tests.args(["--test", "compose", "--", "--test-threads=1", "--nocapture"]);
        self.daemon.tell(&mut tests);
        tests.env(COMMAND_VARIABLE, self.words.join(" "));
        for Published { variable, address, .. } in PUBLISHED {
            tests.env(variable, address);
        }
        tests
    }

    /// Prints the last lines of every container, for a failure's reason.
    pub fn tell_logs(&self) {
        match command::run_quietly(self.command().args(["logs", "--no-color", "--tail", LOG_LINES])) {
            Ok(logs) => tell!("{logs}"),
            Err(error) => tell!("no logs of the containers: {error:#}"),
        }
    }

    /// Removes containers, network and volumes. Images stay: they are what makes the next run short.
    pub fn remove(&self) -> Result<()> {
        let mut down = self.command();
        down.args(["down", "--volumes", "--remove-orphans"]);
        command::run_quietly(&mut down).map(|_| ())
    }

    /// The compose command, in the checkout's root, for the right daemon.
    fn command(&self) -> Command {
        let mut compose = Command::new(&self.words[0]);
        compose.args(&self.words[1..]).current_dir(workspace::root());
        self.daemon.tell(&mut compose);
        // Version 1 then builds through the daemon's API, whatever builders the `docker` beside it knows.
        compose.env("COMPOSE_DOCKER_CLI_BUILD", "0");
        compose
    }

    /// The `docker` command, for the right daemon.
    fn docker(&self) -> Command {
        self.daemon.docker()
    }
}

/// Version 2 is a plugin of `docker`, version 1 a program of its own (Debian's package `docker-compose`).
fn compose_words(daemon: &Daemon) -> Result<Vec<String>> {
    let is_plugin = command::run_quietly(daemon.docker().args(["compose", "version"])).is_ok();
    if !is_plugin {
        prerequisites::need("docker-compose", &["docker-compose"], || command::is_on_path("docker-compose"))?;
    }
    let program: &[&str] = if is_plugin { &["docker", "compose"] } else { &["docker-compose"] };
    let words = [program, &["--project-name", PROJECT, "--file", MAIN_FILE]].concat();
    Ok(words.into_iter().map(str::to_owned).collect())
}

/// Where all of this is kept: `target/compose`.
fn dir() -> PathBuf {
    workspace::root().join("target").join("compose")
}

/// The folder of the stand-ins' Dockerfiles.
fn sources_dir() -> Result<PathBuf> {
    let offline_file = workspace::root().join(OFFLINE_FILE);
    Ok(offline_file.parent().context("the override is in a folder")?.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ports_are_those_of_the_file() {
        let file = std::fs::read_to_string(workspace::root().join(MAIN_FILE)).expect("docker-compose.yml");
        for Published { service, port, address, .. } in PUBLISHED {
            assert!(address.contains(&format!("{}:{port}", endpoints::LOOPBACK)), "{address}");
            let (_, after) = file.split_once(&format!("\n  {service}:\n")).expect("the service");
            let ports = after.lines().find(|line| line.trim_start().starts_with("ports:")).expect("its ports");
            assert!(ports.contains(&format!("\"{}:{port}:", endpoints::LOOPBACK)), "{service}: {ports}");
        }
    }

    #[test]
    fn every_stand_in_has_its_folder() {
        let offline = std::fs::read_to_string(workspace::root().join(OFFLINE_FILE)).expect("the override");
        for name in images::STAND_INS {
            assert!(offline.contains(&format!("build: target/compose/images/{name}\n")), "{name}");
            assert!(sources_dir().expect("a folder").join(name).join("Dockerfile").is_file(), "{name}");
        }
        assert_eq!(offline.matches("build:").count(), images::STAND_INS.len());
    }
}
