//! The Docker daemon: the one that runs, or one of our own for as long as the tests last.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::Signal;

use crate::servers::process;
use crate::{command, interrupt, prerequisites, workspace};

/// The variable by which `docker` and `docker-compose` find a daemon.
const HOST_VARIABLE: &str = "DOCKER_HOST";
/// How long a daemon may take from its start until it answers.
const READY_WITHIN: Duration = Duration::from_secs(60);

/// A daemon that answers.
pub struct Daemon {
    /// The socket of the daemon that was started here; nothing for one that was running.
    own_socket: Option<PathBuf>,
}

impl Daemon {
    /// Installs Docker where it is missing, and starts a daemon when none answers and we may.
    pub fn reach() -> Result<Self> {
        if !command::is_on_path("docker") {
            need_dockerd()?;
            // Debian 12 has the command in the same package, later ones do not.
            prerequisites::need("the docker command", &["docker-cli"], || command::is_on_path("docker"))?;
        }
        let running = Self { own_socket: None };
        let Err(silence) = running.answers() else {
            tell!("docker: the daemon that runs already");
            return Ok(running);
        };
        if let Some(host) = std::env::var_os(HOST_VARIABLE) {
            let host = host.to_string_lossy();
            return Err(silence.context(format!(
                "no Docker daemon answers at {host}, as {HOST_VARIABLE} says: start it, or unset {HOST_VARIABLE}"
            )));
        }
        if !rustix::process::geteuid().is_root() {
            return Err(silence.context(
                "Docker is installed, but its daemon does not answer this user: start it (`sudo systemctl start docker`) \
                 and let this user in (`sudo usermod -aG docker $USER`, then log in again), or run \
                 `sudo cargo x test --compose`, which starts one of its own",
            ));
        }
        need_dockerd()?;
        Self::start()
    }

    /// Starts a daemon with its images under `target/compose/docker`, or finds the one that an earlier run left.
    fn start() -> Result<Self> {
        let dir = dir();
        fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
        let run_dir = run_dir()?;
        fs::create_dir_all(&run_dir).with_context(|| format!("cannot make {}", run_dir.display()))?;
        let socket = run_dir.join("docker.sock");
        if process::running(&dir).is_none() {
            tell!("docker: starting a daemon of our own, its images in {}", dir.display());
            let mut dockerd = Command::new("dockerd");
            dockerd.arg("--data-root").arg(dir.join("data")).arg("--exec-root").arg(run_dir.join("exec"));
            dockerd.arg("--pidfile").arg(run_dir.join("docker.pid"));
            dockerd.arg("--host").arg(format!("unix://{}", socket.display()));
            process::start(&dir, &mut dockerd)?;
        }
        // From here on it stops with this value, whatever happens.
        let daemon = Self { own_socket: Some(socket) };
        daemon.wait_until_it_answers()?;
        Ok(daemon)
    }

    fn wait_until_it_answers(&self) -> Result<()> {
        let began = Instant::now();
        loop {
            let Err(silence) = self.answers() else { return Ok(()) };
            let over = if process::running(&dir()).is_none() {
                "ended"
            } else if began.elapsed() > READY_WITHIN {
                "does not answer"
            } else if interrupt::asked_to_stop() {
                bail!("asked to stop")
            } else {
                std::thread::sleep(command::POLL_INTERVAL);
                continue;
            };
            let (log, tail) = (process::log_file(&dir()), process::log_tail(&dir()));
            return Err(silence.context(format!(
                "the Docker daemon that was started here {over}; {} ends with:\n{tail}repair what it says (it needs a \
                 machine or container that may make networks and mounts), or start a daemon yourself",
                log.display()
            )));
        }
    }

    fn answers(&self) -> Result<()> {
        command::run_quietly(self.docker().args(["version", "--format", "{{.Server.Version}}"])).map(|_| ())
    }

    /// The `docker` command for this daemon.
    pub fn docker(&self) -> Command {
        let mut docker = Command::new("docker");
        self.tell(&mut docker);
        docker
    }

    /// Lets a command that talks to Docker find this daemon.
    pub fn tell(&self, command: &mut Command) {
        if let Some(socket) = &self.own_socket {
            command.env(HOST_VARIABLE, format!("unix://{}", socket.display()));
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let Some(socket) = &self.own_socket else { return };
        match process::stop(&dir(), Signal::TERM) {
            Ok(_) => {
                tell!("docker: the daemon that was started here is stopped");
                // Dead sockets disturb nobody if they stay; the next boot removes them.
                let _removed = socket.parent().map(fs::remove_dir_all);
            }
            Err(error) => tell!("docker: the daemon that was started here does not stop: {error:#}"),
        }
    }
}

fn need_dockerd() -> Result<()> {
    prerequisites::need("Docker", &["docker.io"], || command::is_on_path("dockerd"))
}

/// Pid file, log and images of our own daemon.
fn dir() -> PathBuf {
    super::dir().join("docker")
}

/// Sockets of our own daemon. Their names must be short, which the checkout's may not be; its inode tells it from others.
fn run_dir() -> Result<PathBuf> {
    let root = workspace::root();
    let inode = fs::metadata(&root).with_context(|| format!("cannot look at {}", root.display()))?.ino();
    Ok(PathBuf::from(format!("/run/tailwater-docker-{inode}")))
}
