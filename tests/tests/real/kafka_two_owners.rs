//! The same pipeline into Kafka started twice: the newest goes on, the other says why it stands by, and nothing that the
//! other still had in hand is ever visible to a consumer that reads what is committed.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rustix::process::Signal;
use tailwater_tests::chaos;
use tailwater_tests::counted::{Counted, CountedWriter};
use tailwater_tests::kafka::history::Deletes;
use tailwater_tests::kafka::scene::KafkaScene;
use tailwater_tests::process::{STANDS_BY, Tailwater};
use tailwater_tests::scene::STOP_WITHIN;
use tokio::time::Instant;

const DELETES: Deletes = Deletes::EventAndTombstone;
/// Messages that show that a process carries.
const SOME: usize = 50;
const TAKEN_OVER_WITHIN: Duration = Duration::from_secs(60);
/// How long the zombie sleeps: long enough that its requests have timed out and its leases, had it any, were gone.
const ZOMBIE_SLEEPS: Duration = Duration::from_secs(40);
const WRITE_PAUSE: Duration = Duration::from_millis(10);

/// A scene under load. `test` tells the tests of this file apart.
async fn scene(test: u64) -> Result<(KafkaScene, CountedWriter)> {
    let scene = KafkaScene::new().await?;
    let seed = chaos::number(chaos::SEED)? + test;
    let writer = CountedWriter::start(&scene.table, Counted::new(seed), WRITE_PAUSE);
    Ok((scene, writer))
}

/// Stops the load and the owner, and judges all that is in the topic.
async fn ends_well(scene: &KafkaScene, writer: CountedWriter, owner: Tailwater) -> Result<()> {
    let counted = writer.stop().await?;
    scene.catches_up(DELETES, TAKEN_OVER_WITHIN).await.with_context(|| owner.said())?;
    owner.signal(Signal::TERM)?;
    owner.ends(STOP_WITHIN).await?.must_exit_with(0)?;
    scene.check_exactly_once(DELETES, counted.ledger()).await?;
    Ok(())
}

#[tokio::test]
async fn of_two_processes_the_newest_goes_on() -> Result<()> {
    let (scene, writer) = scene(1).await?;
    let mut owner = scene.start()?;
    scene.carries(SOME, TAKEN_OVER_WITHIN).await.with_context(|| owner.said())?;
    for _ in 0..3 {
        let newer = scene.start()?;
        owner.stands_by_until_stopped(TAKEN_OVER_WITHIN).await?;
        scene.carries(SOME, TAKEN_OVER_WITHIN).await.with_context(|| newer.said())?;
        owner = newer;
    }
    owner.must_be_running()?;
    ends_well(&scene, writer, owner).await
}

#[tokio::test]
async fn of_two_started_at_once_exactly_one_goes_on() -> Result<()> {
    let (scene, writer) = scene(2).await?;
    let mut owner = scene.start()?;
    scene.carries(SOME, TAKEN_OVER_WITHIN).await.with_context(|| owner.said())?;
    for _ in 0..3 {
        let [mut first, mut second] = [scene.start()?, scene.start()?];
        owner.stands_by_until_stopped(TAKEN_OVER_WITHIN).await?;
        // Whichever claimed first is the one that must wait.
        owner = loop {
            tokio::time::sleep(Duration::from_millis(100)).await;
            first.must_be_running()?;
            second.must_be_running()?;
            if first.stderr_so_far().contains(STANDS_BY) {
                first.stands_by_until_stopped(STOP_WITHIN).await?;
                break second;
            }
            if second.stderr_so_far().contains(STANDS_BY) {
                second.stands_by_until_stopped(STOP_WITHIN).await?;
                break first;
            }
        };
        scene.carries(SOME, TAKEN_OVER_WITHIN).await.with_context(|| owner.said())?;
    }
    ends_well(&scene, writer, owner).await
}

/// Under load all the time, at moments that chance picks.
async fn zombies(seed: u64) -> Result<()> {
    let (scene, writer) = scene(3).await?;
    let mut random = fastrand::Rng::with_seed(seed);
    let mut owner = scene.start()?;
    for _ in 0..4 {
        scene.carries(SOME, TAKEN_OVER_WITHIN).await.with_context(|| owner.said())?;
        tokio::time::sleep(Duration::from_millis(random.u64(0..100))).await;
        owner.signal(Signal::STOP)?;
        let newer = scene.start()?;
        scene.carries(SOME, TAKEN_OVER_WITHIN).await.with_context(|| newer.said())?;
        owner.signal(Signal::CONT)?;
        owner.stands_by_until_stopped(TAKEN_OVER_WITHIN).await?;
        owner = newer;
    }
    ends_well(&scene, writer, owner).await
}

#[tokio::test]
async fn zombies_that_wake_up_under_load_write_nothing_and_stand_by() -> Result<()> {
    let seed = chaos::number(chaos::SEED)?;
    zombies(seed).await.with_context(|| format!("seed {seed}"))
}

/// When the zombie wakes nobody writes any more and all is carried: whatever became visible then would be its own.
#[tokio::test]
async fn a_zombie_of_forty_seconds_makes_nothing_visible() -> Result<()> {
    let (scene, writer) = scene(4).await?;
    let zombie = scene.start()?;
    scene.carries(SOME, TAKEN_OVER_WITHIN).await.with_context(|| zombie.said())?;
    zombie.signal(Signal::STOP)?;
    let slept_since = Instant::now();
    let mut owner = scene.start()?;
    scene.carries(SOME, TAKEN_OVER_WITHIN).await.with_context(|| owner.said())?;
    tokio::time::sleep(ZOMBIE_SLEEPS.saturating_sub(slept_since.elapsed())).await;
    let counted = writer.stop().await?;
    scene.catches_up(DELETES, TAKEN_OVER_WITHIN).await.with_context(|| owner.said())?;
    let before = scene.committed().await?;
    zombie.signal(Signal::CONT)?;
    zombie.stands_by_until_stopped(TAKEN_OVER_WITHIN).await?;
    let after = scene.committed().await?;
    ensure!(before == after, "{} messages before the zombie woke, {} after", before.len(), after.len());
    // Whoever took over goes on as if nothing had been.
    let writer = CountedWriter::start(&scene.table, counted, WRITE_PAUSE);
    scene.carries(SOME, TAKEN_OVER_WITHIN).await.with_context(|| owner.said())?;
    owner.must_be_running()?;
    ends_well(&scene, writer, owner).await
}
