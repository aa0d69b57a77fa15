//! Kafka: the next owner has to fence the one before at the brokers.

use anyhow::{Context, Result};
use rustix::process::Signal;
use tailwater_tests::chaos;
use tailwater_tests::counted::{Counted, CountedWriter};
use tailwater_tests::kafka::history::Deletes;
use tailwater_tests::kafka::scene::KafkaScene;
use tailwater_tests::pauses::Pauses;
use tailwater_tests::process::STANDS_BY;
use tailwater_tests::scene::STOP_WITHIN;
use tokio::time::Instant;

use crate::{AFTER_A_KILL, AFTER_A_STOP, LEASE_TEXT, WITHIN, WRITE_PAUSE, alone};

const DELETES: Deletes = Deletes::EventAndTombstone;
/// Messages that show that a process carries.
const SOME: usize = 50;
/// How often an owner goes, half of the time by a kill.
const TIMES: u32 = 6;

/// The owner is killed, or stopped in order, and whoever stands by goes on.
#[tokio::test]
async fn whoever_stands_by_goes_on() -> Result<()> {
    let _alone = alone().await;
    let mut scene = KafkaScene::new().await?;
    scene.pipeline.lease = LEASE_TEXT;
    let writer = CountedWriter::start(&scene.table, Counted::new(chaos::number(chaos::SEED)? + 5), WRITE_PAUSE);
    let mut of_kills = Pauses::promised(AFTER_A_KILL);
    let mut of_stops = Pauses::promised(AFTER_A_STOP);
    let mut standby = scene.start()?;
    scene.carries(SOME, WITHIN).await.with_context(|| standby.said())?;
    for number in 0..TIMES {
        let owner = scene.start()?;
        standby.says(STANDS_BY, 1, WITHIN).await?;
        scene.carries(SOME, WITHIN).await.with_context(|| owner.said())?;
        let since = Instant::now();
        let pauses = if number % 2 == 0 {
            owner.kill().await?;
            &mut of_kills
        } else {
            owner.signal(Signal::TERM)?;
            owner.ends(STOP_WITHIN).await?.must_exit_with(0)?;
            &mut of_stops
        };
        scene.carries(1, WITHIN).await.with_context(|| standby.said())?;
        pauses.add(since.elapsed()).with_context(|| standby.said())?;
        standby.must_be_running()?;
        standby.signal(Signal::TERM)?;
        standby.ends(STOP_WITHIN).await?.must_exit_with(0)?;
        standby = scene.start()?;
        scene.carries(SOME, WITHIN).await.with_context(|| standby.said())?;
    }
    of_kills.check()?;
    of_stops.check()?;
    let counted = writer.stop().await?;
    scene.catches_up(DELETES, WITHIN).await.with_context(|| standby.said())?;
    standby.signal(Signal::TERM)?;
    standby.ends(STOP_WITHIN).await?.must_exit_with(0)?;
    scene.check_exactly_once(DELETES, counted.ledger()).await?;
    Ok(())
}
