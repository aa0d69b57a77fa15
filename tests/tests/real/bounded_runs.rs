//! A bounded run is exact: what was written before it is in the sink when it says so, and what is missing has an exit code.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Result, ensure};
use rustix::process::Signal;
use tailwater_tests::scene::STOP_WITHIN;
use tailwater_tests::simulated::Simulated;
use tailwater_tests::table::key;
use tokio::time::sleep;

/// Items that are written while processes come and go: for some fifteen seconds.
const ITEMS: usize = 600;
const WRITE_PAUSE: Duration = Duration::from_millis(25);
/// A process is killed after so many of them.
const KILLED_AFTER: usize = 150;
/// How long records stay in the stream.
const TRIM_AFTER: Duration = Duration::from_secs(4);

fn name(number: usize) -> String {
    format!("item {number};")
}

/// The children of drained shards were not listed when the last process ended, and the next one took its shards for all.
#[tokio::test]
async fn a_run_to_the_tip_waits_for_children_that_are_not_listed_yet() -> Result<()> {
    let rotating = ["--faults", "ordinary", "--shards", "3", "--rotate-every", "5s", "--splits", "40%"];
    let mut scene = Simulated::start(&rotating).await?;
    // Longer than this service takes to show a record.
    scene.pipeline.visible_within = "10s";
    let mut running = scene.run()?;
    for number in 1..=ITEMS {
        scene.table.put(key(&name(number), "x")).await?;
        sleep(WRITE_PAUSE).await;
        if number % KILLED_AFTER == 0 {
            running.kill().await?;
            running = scene.run()?;
        }
    }
    running.signal(Signal::TERM)?;
    running.ends(STOP_WITHIN).await?;
    let last = scene.run_to_tip().await?.must_exit_with(0)?;
    let lines = scene.written()?;
    let written: BTreeSet<usize> =
        (1..=ITEMS).filter(|number| lines.iter().any(|line| line.contains(&name(*number)))).collect();
    let missing: Vec<_> = (1..=ITEMS).filter(|number| !written.contains(number)).collect();
    ensure!(missing.is_empty(), "missing: {missing:?}\n{}", last.said());
    ensure!(lines.len() == ITEMS, "{} lines", lines.len());
    // Until when it has read: the moment of its start.
    last.must_say(&["reached the tip", "\"read_until\":\"20"])?;
    Ok(())
}

/// I8: whoever starts a bounded run learns by its exit code that changes are missing.
#[tokio::test]
async fn a_run_to_the_tip_that_recorded_gaps_ends_with_4() -> Result<()> {
    let trim_after = format!("{}s", TRIM_AFTER.as_secs());
    let mut scene = Simulated::start(&["--faults", "none", "--trim-after", &trim_after]).await?;
    scene.pipeline.on_gap = "continue";
    scene.pipeline.sink = "[sink.sqlite]\npath = \"shop.db\"\ntable = \"orders\"".to_owned();
    scene.table.put(key("carried", "x")).await?;
    scene.run_to_tip().await?.must_exit_with(0)?;
    scene.table.put(key("trimmed before it is read", "x")).await?;
    sleep(TRIM_AFTER * 2).await;
    scene.table.put(key("still there", "x")).await?;
    let second = scene.run_to_tip().await?.must_exit_with(4)?.must_say(&["reached the tip"])?;
    ensure!(second.stderr.matches("[FAIL] source.gaps_recorded  tests\n").count() == 1, "{}", second.said());
    Ok(())
}
