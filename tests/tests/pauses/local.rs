//! SQLite and the file: a lock of the file, and the same lease.

use anyhow::{Context, Result};
use rustix::process::Signal;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Row};
use tailwater_tests::fileout;
use tailwater_tests::patience::{Look, wait_until};
use tailwater_tests::pauses::Pauses;
use tailwater_tests::process::{STANDS_BY, Tailwater};
use tailwater_tests::scene::{STOP_WITHIN, Scene};
use tailwater_tests::workload::nasty_item;
use tokio::time::Instant;

use crate::{AFTER_A_KILL, AFTER_A_STOP, LEASE_TEXT, WITHIN, alone};

/// How often an owner goes, half of the time by a kill.
const TIMES: usize = 4;

const OF_SQLITE: &str = "[sink.sqlite]\npath = \"orders.db\"\ntable = \"orders\"\n";
const OF_FILE: &str = "[sink.file]\npath = \"orders.jsonl\"\n";

/// How many changes are in the sink.
async fn carried(scene: &Scene, sink: &str) -> Result<usize> {
    if sink == OF_FILE {
        return Ok(fileout::lines(&scene.dir().join("orders.jsonl"))?.len());
    }
    let mut connection = SqliteConnectOptions::new().filename(scene.dir().join("orders.db")).connect().await?;
    let count: i64 = sqlx::query("select count(*) from orders").fetch_one(&mut connection).await?.try_get(0)?;
    Ok(usize::try_from(count)?)
}

/// Writes an item, and waits until it is carried.
async fn carries(scene: &Scene, sink: &str, number: usize, process: &Tailwater) -> Result<()> {
    scene.table.put(nasty_item(&number.to_string())).await?;
    wait_until("it is carried", WITHIN, || async {
        let carried = carried(scene, sink).await.unwrap_or_default();
        Ok(Look::when(carried == number, format!("{carried} of {number}")))
    })
    .await
    .with_context(|| process.said())
}

async fn owners_go(sink: &str) -> Result<()> {
    let _alone = alone().await;
    let mut scene = Scene::new().await?;
    (scene.pipeline.sink, scene.pipeline.lanes, scene.pipeline.lease) = (sink.to_owned(), 1, LEASE_TEXT);
    let (mut of_kills, mut of_stops) = (Pauses::promised(AFTER_A_KILL), Pauses::promised(AFTER_A_STOP));
    let mut standby = scene.start()?;
    let mut written = 1;
    carries(&scene, sink, written, &standby).await?;
    for time in 1..=TIMES {
        let owner = scene.start()?;
        standby.says(STANDS_BY, time, WITHIN).await?;
        written += 1;
        carries(&scene, sink, written, &owner).await?;
        let since = Instant::now();
        let pauses = if time % 2 == 0 {
            owner.kill().await?;
            &mut of_kills
        } else {
            owner.signal(Signal::TERM)?;
            owner.ends(STOP_WITHIN).await?.must_exit_with(0)?;
            &mut of_stops
        };
        written += 1;
        carries(&scene, sink, written, &standby).await?;
        pauses.add(since.elapsed()).with_context(|| standby.said())?;
        standby.must_be_running()?;
    }
    of_kills.check()?;
    of_stops.check()?;
    standby.signal(Signal::TERM)?;
    standby.ends(STOP_WITHIN).await?.must_exit_with(0)?;
    Ok(())
}

#[tokio::test]
async fn a_sqlite_file_goes_on() -> Result<()> {
    owners_go(OF_SQLITE).await
}

#[tokio::test]
async fn a_file_goes_on() -> Result<()> {
    owners_go(OF_FILE).await
}
