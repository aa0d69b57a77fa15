//! A cluster of three, whose topics have three copies of which two have what is acknowledged: `kill -9` of partitions' leaders,
//! of the coordinator of a lane's transactions, and of `tailwater`, by turns and under load. Nothing is lost, nothing doubled.

#![expect(clippy::print_stdout, reason = "the figures of a run are what `cargo x chaos` shows")]

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rustix::process::Signal;
use tailwater_tests::chaos;
use tailwater_tests::counted::{Counted, CountedWriter, writes};
use tailwater_tests::kafka::cluster::OwnCluster;
use tailwater_tests::kafka::history::Deletes;
use tailwater_tests::kafka::scene::{KafkaScene, ONE_COPY, PARTITIONS};
use tailwater_tests::scene::STOP_WITHIN;

/// What a removed item becomes by default.
const DELETES: Deletes = Deletes::EventAndTombstone;
const BROKERS: usize = 3;
/// Messages that show that a process carries.
const SOME: usize = 20;
/// A leader is elected, a coordinator moves, the pipeline finds them and opens its lanes; or a process starts.
const CARRIED_WITHIN: Duration = Duration::from_secs(90);
/// The longest time between that and the next death, and how long a broker is dead beside its start.
const PAUSE_MS_MAX: u64 = 500;
const WRITE_PAUSE: Duration = Duration::from_millis(20);
/// Where Kafka keeps what it knows of transactions.
const TRANSACTIONS_TOPIC: &str = "__transaction_state";

/// Who dies.
#[derive(Clone, Copy, Debug)]
enum Victim {
    Leader,
    Coordinator,
    Tailwater,
}

impl Victim {
    /// All by turns.
    fn of(number: u64) -> Self {
        [Self::Leader, Self::Coordinator, Self::Tailwater][(number % 3) as usize]
    }
}

async fn kills_in_a_cluster(seed: u64) -> Result<()> {
    let began = tokio::time::Instant::now();
    let kills = chaos::number(chaos::CLUSTER_KILLS)?;
    let mut random = fastrand::Rng::with_seed(seed);
    let mut cluster = OwnCluster::start(BROKERS).await?;
    let scene = KafkaScene::on_three(&cluster.bootstrap).await?;
    let writer = CountedWriter::start(&scene.table, Counted::new(seed), WRITE_PAUSE);
    let mut process = scene.start()?;
    for number in 1..=kills {
        let victim = Victim::of(number);
        let told = || format!("before kill number {number}, of {victim:?}\n{}\n{}", process.said(), cluster.said());
        scene.carries(SOME, CARRIED_WITHIN).await.with_context(told)?;
        process.must_be_running().with_context(|| format!("before kill number {number}, of {victim:?}"))?;
        tokio::time::sleep(Duration::from_millis(random.u64(0..PAUSE_MS_MAX))).await;
        let node = match victim {
            Victim::Tailwater => {
                process.kill().await?;
                process = scene.start()?;
                continue;
            }
            Victim::Leader => cluster.leader_of(&scene.topic, random.usize(0..PARTITIONS as usize))?,
            Victim::Coordinator => cluster.coordinator_of(&format!("{}-0", scene.pipeline.name))?,
        };
        ensure!(node > 0, "nobody is {victim:?} before kill number {number}");
        cluster.kill(node).await?;
        tokio::time::sleep(Duration::from_millis(random.u64(0..PAUSE_MS_MAX))).await;
        cluster.restart(node).await?;
        // A second one that dies before would leave one copy, which acknowledges nothing: also right, and slow.
        let progress_topic = scene.progress_topic();
        cluster.is_in_step(&[scene.topic.as_str(), progress_topic.as_str(), TRANSACTIONS_TOPIC]).await?;
    }
    scene.carries(SOME, CARRIED_WITHIN).await.with_context(|| process.said())?;
    let counted = writer.stop().await?;
    scene.catches_up(DELETES, CARRIED_WITHIN).await.with_context(|| process.said())?;
    process.signal(Signal::TERM)?;
    let outcome = process.ends(STOP_WITHIN).await?.must_exit_with(0)?;
    ensure!(!outcome.stderr.contains(ONE_COPY), "the topics have three copies\n{}", outcome.said());
    let ledger = counted.ledger();
    let found = scene.check_exactly_once(DELETES, ledger).await?;
    ensure!(found.events == writes(ledger), "{} events of {} writes", found.events, writes(ledger));
    let line = chaos::line(
        "kill -9 in a cluster of three, exactly-once",
        &[
            ("seed", &seed),
            ("kills of leaders, coordinators and tailwater", &kills),
            ("events", &found.events),
            ("messages in aborted transactions", &scene.aborted_messages().await?),
            ("duplicates", &found.repeats),
            ("seconds", &began.elapsed().as_secs()),
        ],
    );
    println!("{line}");
    Ok(())
}

#[tokio::test]
async fn kills_in_a_cluster_lose_and_double_nothing() -> Result<()> {
    let seed = chaos::number(chaos::SEED)? + 3;
    kills_in_a_cluster(seed).await.with_context(|| format!("seed {seed}"))
}
