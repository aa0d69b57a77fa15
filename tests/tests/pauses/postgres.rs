//! Postgres: the next owner raises the epoch of each lane.

use std::time::Duration;

use anyhow::{Context, Result};
use rustix::process::Signal;
use tailwater_tests::pauses::Pauses;
use tailwater_tests::process::STANDS_BY;
use tailwater_tests::scene::{STOP_WITHIN, Scene};
use tailwater_tests::workload::Workload;
use tailwater_tests::writer::Writer;
use tokio::time::Instant;

use crate::{AFTER_A_KILL, AFTER_A_STOP, LEASE_TEXT, WITHIN, WRITE_PAUSE, alone};

/// Row changes that show that a process carries.
const SOME: i64 = 30;
/// How often.
const TIMES: u64 = 4;

/// Lets the owner go in this way, again and again, and holds the pause against what is promised.
async fn owners_go(seed: u64, is_killed: bool, promised: Duration) -> Result<()> {
    let _alone = alone().await;
    let mut scene = Scene::audited().await?;
    scene.pipeline.lease = LEASE_TEXT;
    let writer = Writer::start(&scene.table, Workload::new(seed, ""), WRITE_PAUSE);
    let mut pauses = Pauses::promised(promised);
    let mut standby = scene.start()?;
    scene.carries(SOME, WITHIN).await?;
    for time in 1..=TIMES {
        let owner = scene.start()?;
        standby.says(STANDS_BY, usize::try_from(time)?, WITHIN).await?;
        scene.carries(SOME, WITHIN).await?;
        let since = Instant::now();
        if is_killed {
            owner.kill().await?;
        } else {
            owner.signal(Signal::TERM)?;
            owner.ends(STOP_WITHIN).await?.must_exit_with(0)?;
        }
        scene.carries(1, WITHIN).await?;
        pauses.add(since.elapsed()).with_context(|| standby.said())?;
        standby.must_be_running()?;
    }
    pauses.check()?;
    writer.stop().await?;
    scene.catches_up(WITHIN).await?;
    standby.signal(Signal::TERM)?;
    standby.ends(STOP_WITHIN).await?.must_exit_with(0)?;
    scene.check_exactly_once().await
}

#[tokio::test]
async fn the_shortest_pause_after_a_graceful_stop_is_under_two_seconds() -> Result<()> {
    owners_go(7, false, AFTER_A_STOP).await
}

#[tokio::test]
async fn the_shortest_pause_after_a_kill_is_under_the_lease_and_two_seconds() -> Result<()> {
    owners_go(8, true, AFTER_A_KILL).await
}
