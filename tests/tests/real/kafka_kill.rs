//! `kill -9` of `tailwater` and of the broker at random moments under load: nothing lost, nothing doubled, as a consumer
//! sees it that is not ours.

#![expect(clippy::print_stdout, reason = "the figures of a run are what `cargo x chaos` shows")]

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rustix::process::Signal;
use tailwater_tests::chaos;
use tailwater_tests::counted::{Counted, CountedWriter, writes};
use tailwater_tests::kafka::cluster::OwnCluster;
use tailwater_tests::kafka::history::Deletes;
use tailwater_tests::kafka::scene::KafkaScene;
use tailwater_tests::patience::{Look, wait_until};
use tailwater_tests::process::Tailwater;
use tailwater_tests::scene::STOP_WITHIN;

/// What a removed item becomes by default.
const DELETES: Deletes = Deletes::EventAndTombstone;
/// One kill of so many comes while the process still starts; the others while it carries.
const EARLY_ONE_OF: u64 = 4;
/// The longest life of a process that dies early, in milliseconds.
const EARLY_MS_MAX: u64 = 1500;
/// The longest time between its lanes' opening and its death of one that dies late, in milliseconds.
const LATE_MS_MAX: u64 = 1000;
/// A process looks at its topics, takes its lanes over and opens them.
const OPEN_WITHIN: Duration = Duration::from_secs(60);
/// The longest time between two lives of the broker, and how long it carries at most between two deaths.
const BROKER_MS_MAX: u64 = 1500;
/// The id of the broker that is alone.
const ONLY_BROKER: i32 = 1;
/// Messages that show that a process carries.
const SOME: usize = 50;
/// A broker that came back answers, the pipeline finds it again and opens its lanes.
const CARRIED_WITHIN: Duration = Duration::from_secs(90);
const WRITE_PAUSE: Duration = Duration::from_millis(10);

/// Starts and kills, again and again.
async fn kill_again_and_again(scene: &KafkaScene, seed: u64, kills: u64) -> Result<()> {
    let mut random = fastrand::Rng::with_seed(seed);
    for number in 1..=kills {
        let process = scene.start()?;
        let life_ms_max = if random.u64(0..EARLY_ONE_OF) == 0 {
            EARLY_MS_MAX
        } else {
            all_lanes_open(scene, &process)
                .await
                .with_context(|| format!("kill number {number}\n{}", process.said()))?;
            LATE_MS_MAX
        };
        tokio::time::sleep(Duration::from_millis(random.u64(0..life_ms_max))).await;
        process.kill().await.with_context(|| format!("kill number {number}"))?;
    }
    Ok(())
}

async fn all_lanes_open(scene: &KafkaScene, process: &Tailwater) -> Result<()> {
    let lanes = scene.pipeline.lanes as usize;
    wait_until("all lanes are open", OPEN_WITHIN, || async {
        let open = process.stderr_so_far().matches("\"lane open\"").count();
        Ok(Look::when(open >= lanes, format!("{open} of {lanes}")))
    })
    .await
}

async fn kills_of_the_process(exactly_once: bool, seed: u64) -> Result<()> {
    let began = tokio::time::Instant::now();
    let kills = chaos::number(chaos::KILLS)?;
    let mut scene = KafkaScene::new().await?;
    if !exactly_once {
        scene.add("delivery = \"at-least-once\"");
    }
    let writer = CountedWriter::start(&scene.table, Counted::new(seed), WRITE_PAUSE);
    kill_again_and_again(&scene, seed, kills).await?;
    let counted = writer.stop().await?;
    scene.run_to_tip().await?;
    let ledger = counted.ledger();
    let (test, found) = if exactly_once {
        ("kill -9 of tailwater, exactly-once", scene.check_exactly_once(DELETES, ledger).await?)
    } else {
        ("kill -9 of tailwater, at-least-once", scene.check_at_least_once(DELETES, ledger).await?)
    };
    ensure!(found.events == writes(ledger), "{} events of {} writes", found.events, writes(ledger));
    let line = chaos::line(
        test,
        &[
            ("seed", &seed),
            ("kills", &kills),
            ("events", &found.events),
            ("messages in aborted transactions", &scene.aborted_messages().await?),
            ("duplicates", &found.repeats),
            ("missing", &0),
            ("seconds", &began.elapsed().as_secs()),
        ],
    );
    println!("{line}");
    Ok(())
}

#[tokio::test]
async fn kills_lose_and_double_nothing_exactly_once() -> Result<()> {
    let seed = chaos::number(chaos::SEED)?;
    kills_of_the_process(true, seed).await.with_context(|| format!("seed {seed}"))
}

#[tokio::test]
async fn kills_lose_nothing_at_least_once() -> Result<()> {
    let seed = chaos::number(chaos::SEED)? + 1;
    kills_of_the_process(false, seed).await.with_context(|| format!("seed {seed}"))
}

/// One process goes on through all the deaths of the broker: nobody starts it again.
async fn kills_of_the_broker(seed: u64) -> Result<()> {
    let began = tokio::time::Instant::now();
    let kills = chaos::number(chaos::BROKER_KILLS)?;
    let mut random = fastrand::Rng::with_seed(seed);
    let mut broker = OwnCluster::start(1).await?;
    let scene = KafkaScene::on(&broker.bootstrap).await?;
    let writer = CountedWriter::start(&scene.table, Counted::new(seed), WRITE_PAUSE);
    let mut process = scene.start()?;
    for number in 1..=kills {
        let told = || format!("before kill number {number}\n{}\n{}", process.said(), broker.said());
        scene.carries(SOME, CARRIED_WITHIN).await.with_context(told)?;
        tokio::time::sleep(Duration::from_millis(random.u64(0..BROKER_MS_MAX))).await;
        broker.kill(ONLY_BROKER).await?;
        tokio::time::sleep(Duration::from_millis(random.u64(0..BROKER_MS_MAX))).await;
        broker.restart(ONLY_BROKER).await?;
        process.must_be_running().with_context(|| format!("after kill number {number}"))?;
    }
    scene.carries(SOME, CARRIED_WITHIN).await.with_context(|| process.said())?;
    let counted = writer.stop().await?;
    scene.catches_up(DELETES, CARRIED_WITHIN).await.with_context(|| process.said())?;
    process.signal(Signal::TERM)?;
    process.ends(STOP_WITHIN).await?.must_exit_with(0)?;
    let found = scene.check_exactly_once(DELETES, counted.ledger()).await?;
    let line = chaos::line(
        "kill -9 of the broker, exactly-once",
        &[
            ("seed", &seed),
            ("kills", &kills),
            ("events", &found.events),
            ("messages in aborted transactions", &scene.aborted_messages().await?),
            ("duplicates", &found.repeats),
            ("missing", &0),
            ("seconds", &began.elapsed().as_secs()),
        ],
    );
    println!("{line}");
    Ok(())
}

#[tokio::test]
async fn kills_of_the_broker_lose_and_double_nothing() -> Result<()> {
    let seed = chaos::number(chaos::SEED)? + 2;
    kills_of_the_broker(seed).await.with_context(|| format!("seed {seed}"))
}
