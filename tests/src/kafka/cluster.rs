//! Brokers of one test's own: killed without mercy and started again on the same ports and the same data.

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
/// Looks for free ports before giving up.
const PORT_TRIES_MAX: u32 = 100;
/// The name of a broker's settings in its folder.
const PROPERTIES: &str = "server.properties";
/// Lines of the log that a failure message shows.
const SHOWN_LINES_MAX: usize = 20;

/// Some Apache Kafkas, each broker and controller in one process, that are a cluster. Killed when dropped, their data removed.
pub struct OwnCluster {
    /// The bootstrap address: `host:port` of each broker.
    pub bootstrap: String,
    /// Their node ids are their places here, from 1.
    brokers: Vec<Broker>,
    _dir: TempDir,
}

struct Broker {
    address: String,
    dir: PathBuf,
    process: Option<Child>,
}

impl OwnCluster {
    /// Formats an empty data folder for each of so many brokers, starts them, and waits until they answer.
    pub async fn start(count: usize) -> Result<Self> {
        let dir = tempfile::tempdir()?;
        let ports = free_ports(2 * count)?;
        let ports: Vec<_> = ports.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect();
        let mut brokers = Vec::new();
        for (node, (port, _)) in (1..).zip(&ports) {
            let home = dir.path().join(node.to_string());
            std::fs::create_dir(&home)?;
            let properties = home.join(PROPERTIES);
            std::fs::write(&properties, server_properties(node, &ports, &home.join("data")))?;
            format(&properties).await?;
            brokers.push(Broker { address: format!("127.0.0.1:{port}"), dir: home, process: None });
        }
        for broker in &mut brokers {
            broker.spawn()?;
        }
        for broker in &brokers {
            broker.answers().await?;
        }
        let addresses: Vec<_> = brokers.iter().map(|broker| broker.address.as_str()).collect();
        Ok(Self { bootstrap: addresses.join(","), brokers, _dir: dir })
    }

    /// `kill -9`: nothing is closed and nothing is written that was not written yet. What was acknowledged stays in the
    /// kernel's page cache.
    pub async fn kill(&mut self, node: i32) -> Result<()> {
        self.broker(node)?.kill().await
    }

    /// Starts it again and waits until it answers.
    pub async fn restart(&mut self, node: i32) -> Result<()> {
        let broker = self.broker(node)?;
        broker.spawn()?;
        broker.answers().await
    }

    /// The last lines of the logs, for a failure message.
    pub fn said(&self) -> String {
        self.brokers.iter().map(|broker| format!("{}:\n{}\n", broker.address, broker.said())).collect()
    }

    /// The node that leads this partition of a topic.
    pub fn leader_of(&self, topic: &str, partition: usize) -> Result<i32> {
        let partitions = admin::partitions(self.alive()?, topic)?;
        Ok(partitions.get(partition).with_context(|| format!("{topic} has no partition {partition}"))?.leader)
    }

    /// The node that coordinates the transactions of this id.
    pub fn coordinator_of(&self, transactional_id: &str) -> Result<i32> {
        admin::coordinator_of(self.alive()?, transactional_id)
    }

    /// Waits until every broker has a copy of each of these topics' partitions that is in step.
    pub async fn is_in_step(&self, topics: &[&str]) -> Result<()> {
        wait_until("all copies are in step", READY_WITHIN, || async {
            for topic in topics {
                let behind = match admin::partitions(self.alive()?, topic) {
                    Ok(partitions) => partitions.iter().filter(|state| state.in_step < self.brokers.len()).count(),
                    Err(error) => return Ok(Look::NotYet(format!("{error:#}"))),
                };
                if behind > 0 {
                    return Ok(Look::NotYet(format!("{behind} partitions of {topic} are not")));
                }
            }
            Ok(Look::Done)
        })
        .await
    }

    fn broker(&mut self, node: i32) -> Result<&mut Broker> {
        let place = usize::try_from(node).ok().and_then(|node| node.checked_sub(1));
        place.and_then(|place| self.brokers.get_mut(place)).with_context(|| format!("there is no broker {node}"))
    }

    /// The address of a broker that runs.
    fn alive(&self) -> Result<&str> {
        let alive = self.brokers.iter().find(|broker| broker.process.is_some());
        Ok(&alive.context("no broker runs")?.address)
    }
}

impl Broker {
    async fn kill(&mut self) -> Result<()> {
        let mut process = self.process.take().context("the broker is not running")?;
        if let Some(status) = process.try_wait()? {
            anyhow::bail!("the broker ended by itself before it was killed: {status}\n{}", self.said());
        }
        process.kill().await.context("the broker cannot be killed")
    }

    fn spawn(&mut self) -> Result<()> {
        let log = File::options().create(true).append(true).open(self.log())?;
        let mut broker = java::java()?;
        broker
            .args([HEAP, "-Dorg.apache.logging.log4j.level=INFO", "kafka.Kafka"])
            .arg(self.dir.join(PROPERTIES))
            .current_dir(&self.dir)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        self.process = Some(broker.spawn().context("the broker does not start")?);
        Ok(())
    }

    async fn answers(&self) -> Result<()> {
        let answers = wait_until("the broker answers", READY_WITHIN, || async {
            Ok(match admin::must_be_ready(&self.address) {
                Ok(()) => Look::Done,
                Err(error) => Look::NotYet(format!("{error:#}")),
            })
        });
        answers.await.with_context(|| self.said())
    }

    fn said(&self) -> String {
        let log =
            std::fs::read(self.log()).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
        let lines: Vec<_> = log.lines().collect();
        lines[lines.len().saturating_sub(SHOWN_LINES_MAX)..].join("\n")
    }

    fn log(&self) -> PathBuf {
        self.dir.join("log")
    }
}

async fn format(properties: &Path) -> Result<()> {
    let mut format = java::java()?;
    format.args([HEAP, "kafka.tools.StorageTool", "format", "--cluster-id", CLUSTER_ID, "--config"]);
    let output = format.arg(properties).stdin(Stdio::null()).output().await.context("java does not start")?;
    ensure!(output.status.success(), "cannot format: {}", String::from_utf8_lossy(&output.stdout));
    Ok(())
}

/// Chance comes from the process's id and the place in it: whoever looks at the same time looks elsewhere.
fn free_ports(count: usize) -> Result<Vec<u16>> {
    static LOOKS: AtomicU64 = AtomicU64::new(0);
    let look = LOOKS.fetch_add(1, Ordering::Relaxed);
    let mut random = fastrand::Rng::with_seed(u64::from(std::process::id()) << 32 | look);
    let mut free = Vec::new();
    for _ in 0..PORT_TRIES_MAX {
        let port = random.u16(PORTS);
        if !free.contains(&port) && TcpListener::bind(("127.0.0.1", port)).is_ok() {
            free.push(port);
        }
        if free.len() == count {
            return Ok(free);
        }
    }
    anyhow::bail!("no {count} free ports in {PORTS:?} after {PORT_TRIES_MAX} tries")
}

/// Of the broker with this id. `ports` has each broker's port for clients, and the one of its controller.
fn server_properties(node: usize, ports: &[(u16, u16)], data: &Path) -> String {
    let voters: Vec<_> =
        (1..).zip(ports).map(|(node, (_, controller)): (usize, _)| format!("{node}@127.0.0.1:{controller}")).collect();
    let (voters, copies, in_step) = (voters.join(","), ports.len(), ports.len().div_ceil(2));
    let (port, controller) = ports[node - 1];
    let data = data.display();
    format!(
        "process.roles=broker,controller\nnode.id={node}\ncontroller.quorum.voters={voters}\n\
         listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}\n\
         advertised.listeners=PLAINTEXT://127.0.0.1:{port}\ncontroller.listener.names=CONTROLLER\nlog.dirs={data}\n\
         # A broker that comes back is let in when its former life has lost its session.\n\
         broker.session.timeout.ms=2000\nbroker.heartbeat.interval.ms=500\n\
         # A topic that somebody asks for must not appear by itself.\n\
         auto.create.topics.enable=false\n\
         # Three brokers hold three copies, of which two must have what is acknowledged; one holds one.\n\
         default.replication.factor={copies}\nmin.insync.replicas={in_step}\n\
         offsets.topic.replication.factor={copies}\ntransaction.state.log.replication.factor={copies}\n\
         transaction.state.log.min.isr={in_step}\nshare.coordinator.state.topic.replication.factor={copies}\n\
         share.coordinator.state.topic.min.isr={in_step}\n\
         offsets.topic.num.partitions=1\ntransaction.state.log.num.partitions=2\ngroup.initial.rebalance.delay.ms=0\n"
    )
}
