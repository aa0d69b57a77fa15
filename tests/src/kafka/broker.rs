//! A broker of one test's own: killed without mercy and started again on the same port and the same data.

use std::fs::File;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;
use tokio::process::Child;

use super::{admin, java};
use crate::patience::{Look, wait_until};

/// A JVM starts, recovers its logs after a crash and elects itself; on a busy machine that takes a while.
const READY_WITHIN: Duration = Duration::from_secs(90);
/// The heap's bound.
const HEAP: &str = "-Xmx384m";
/// Any 16 bytes in base64.
const CLUSTER_ID: &str = "dGFpbHdhdGVyLWNoYW9zIQ";
/// Below the range that the kernel takes ports for outgoing connections from: while the broker is down nobody else must
/// get its port by accident.
const PORTS: std::ops::Range<u16> = 21_000..25_000;
/// Looks for a free port before giving up.
const PORT_TRIES_MAX: u32 = 100;
/// Lines of the log that a failure message shows.
const SHOWN_LINES_MAX: usize = 20;

/// An Apache Kafka that is broker and controller in one process. Killed when dropped, its data removed.
pub struct OwnBroker {
    /// Its bootstrap address as `host:port`.
    pub bootstrap: String,
    process: Option<Child>,
    dir: TempDir,
}

impl OwnBroker {
    /// Formats an empty data folder, starts the broker, and waits until it answers.
    pub async fn start() -> Result<Self> {
        let dir = tempfile::tempdir()?;
        let [port, controller_port] = [free_port()?, free_port()?];
        let properties = dir.path().join("server.properties");
        std::fs::write(&properties, server_properties(port, controller_port, &dir.path().join("data")))?;
        let mut format = java::java()?;
        format.args([HEAP, "kafka.tools.StorageTool", "format", "--cluster-id", CLUSTER_ID, "--config"]);
        let output = format.arg(&properties).stdin(Stdio::null()).output().await.context("java does not start")?;
        ensure!(output.status.success(), "cannot format: {}", String::from_utf8_lossy(&output.stdout));
        let mut broker = Self { bootstrap: format!("127.0.0.1:{port}"), process: None, dir };
        broker.restart().await?;
        Ok(broker)
    }

    /// `kill -9`: nothing is closed and nothing is written that was not written yet. What was acknowledged stays in the
    /// kernel's page cache, as it would on the other brokers of a real cluster.
    pub async fn kill(&mut self) -> Result<()> {
        let mut process = self.process.take().context("the broker is not running")?;
        if let Some(status) = process.try_wait()? {
            anyhow::bail!("the broker ended by itself before it was killed: {status}\n{}", self.said());
        }
        process.kill().await.context("the broker cannot be killed")
    }

    /// Starts it again and waits until it answers.
    pub async fn restart(&mut self) -> Result<()> {
        let log = File::options().create(true).append(true).open(self.log())?;
        let mut broker = java::java()?;
        broker
            .args([HEAP, "-Dorg.apache.logging.log4j.level=INFO", "kafka.Kafka"])
            .arg(self.dir.path().join("server.properties"));
        broker.current_dir(self.dir.path()).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        self.process = Some(broker.spawn().context("the broker does not start")?);
        let answers = wait_until("the broker answers", READY_WITHIN, || async {
            Ok(match admin::must_be_ready(&self.bootstrap) {
                Ok(()) => Look::Done,
                Err(error) => Look::NotYet(format!("{error:#}")),
            })
        });
        answers.await.with_context(|| self.said())
    }

    /// The last lines of its log, for a failure message.
    pub fn said(&self) -> String {
        let log =
            std::fs::read(self.log()).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
        let lines: Vec<_> = log.lines().collect();
        lines[lines.len().saturating_sub(SHOWN_LINES_MAX)..].join("\n")
    }

    fn log(&self) -> PathBuf {
        self.dir.path().join("log")
    }
}

/// Chance comes from the process's id and the place in it: whoever looks at the same time looks elsewhere.
fn free_port() -> Result<u16> {
    static LOOKS: AtomicU64 = AtomicU64::new(0);
    let look = LOOKS.fetch_add(1, Ordering::Relaxed);
    let mut random = fastrand::Rng::with_seed(u64::from(std::process::id()) << 32 | look);
    for _ in 0..PORT_TRIES_MAX {
        let port = random.u16(PORTS);
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return Ok(port);
        }
    }
    anyhow::bail!("no free port in {PORTS:?} after {PORT_TRIES_MAX} tries")
}

fn server_properties(port: u16, controller_port: u16, data: &Path) -> String {
    let data = data.display();
    format!(
        "process.roles=broker,controller\nnode.id=1\ncontroller.quorum.voters=1@127.0.0.1:{controller_port}\n\
         listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}\n\
         advertised.listeners=PLAINTEXT://127.0.0.1:{port}\ncontroller.listener.names=CONTROLLER\nlog.dirs={data}\n\
         # A broker that comes back is let in when its former life has lost its session.\n\
         broker.session.timeout.ms=2000\nbroker.heartbeat.interval.ms=500\n\
         # A topic that somebody asks for must not appear by itself.\n\
         auto.create.topics.enable=false\n\
         # One broker can hold only one copy.\n\
         offsets.topic.replication.factor=1\ntransaction.state.log.replication.factor=1\n\
         transaction.state.log.min.isr=1\nshare.coordinator.state.topic.replication.factor=1\n\
         share.coordinator.state.topic.min.isr=1\n\
         offsets.topic.num.partitions=1\ntransaction.state.log.num.partitions=2\ngroup.initial.rebalance.delay.ms=0\n"
    )
}
