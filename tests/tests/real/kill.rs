//! `kill -9` at random moments under load loses nothing and writes nothing twice.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tailwater_tests::pipeline::file_sink;
use tailwater_tests::plain::Plain;
use tailwater_tests::process::Tailwater;
use tailwater_tests::scene::Scene;
use tailwater_tests::workload::Workload;
use tailwater_tests::writer::Writer;
use tailwater_tests::{fileout, stream};

/// How often each sink's process is killed.
const KILLS: u32 = 50;
/// The longest life of a process in milliseconds: some die while they connect, most while they carry.
const LIFE_MS_MAX: u64 = 3500;
/// Between two writes.
const WRITE_PAUSE: Duration = Duration::from_millis(15);
/// Any number: another seed kills at other moments.
const SEED: u64 = 5;

/// Starts and kills, again and again. Returns how many processes had begun to carry.
async fn kill_again_and_again(scene: &Scene, seed: u64) -> Result<u32> {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut carried = 0;
    for number in 0..KILLS {
        let process: Tailwater = scene.start()?;
        tokio::time::sleep(Duration::from_millis(random.u64(0..LIFE_MS_MAX))).await;
        let outcome = process.kill().await.with_context(|| format!("kill number {number}"))?;
        carried += u32::from(outcome.stderr.contains("lane open"));
    }
    Ok(carried)
}

#[tokio::test]
async fn fifty_kills_lose_and_double_nothing_in_postgres() -> Result<()> {
    let scene = Scene::audited().await?;
    let writer = Writer::start(&scene.table, Workload::new(SEED, ""), WRITE_PAUSE);
    let carried = kill_again_and_again(&scene, SEED).await?;
    writer.stop().await?;
    scene.run_to_tip().await?;
    scene.check_exactly_once().await?;
    ensure!(
        carried > KILLS / 3,
        "only {carried} of {KILLS} processes came to carry anything: the test shows too little"
    );
    Ok(())
}

#[tokio::test]
async fn fifty_kills_lose_and_double_nothing_in_a_file() -> Result<()> {
    let mut scene = Scene::new().await?;
    let path = scene.dir().join("changes.jsonl");
    (scene.pipeline.sink, scene.pipeline.lanes) = (file_sink(&path), 1);
    let writer = Writer::start(&scene.table, Workload::new(SEED + 1, ""), WRITE_PAUSE);
    let carried = kill_again_and_again(&scene, SEED + 1).await?;
    writer.stop().await?;
    scene.run_to_tip().await?;

    let arn = scene.table.stream_arn().await?.context("an ARN")?;
    let expected: Vec<_> = stream::read(&arn).await?.into_iter().map(|event| event.event_id).collect();
    let lines = fileout::lines(&path)?;
    let written: Vec<_> = lines.iter().filter_map(|line| line.get("event_id").and_then(Plain::text)).collect();
    // One shard: the whole file is in the stream's order, each event once.
    let differs = written.iter().zip(&expected).position(|(written, expected)| written != expected);
    ensure!(differs.is_none(), "line {differs:?} is another event than the stream's");
    assert_eq!(written.len(), expected.len());
    ensure!(
        carried > KILLS / 3,
        "only {carried} of {KILLS} processes came to carry anything: the test shows too little"
    );
    Ok(())
}
