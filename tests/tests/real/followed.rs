//! Streams that are replaced again and again, on a service that does what no emulator does.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use aws_sdk_dynamodb::types::{ScalarAttributeType, StreamViewType};
use rustix::process::Signal;
use tailwater_tests::patience::{Look, wait_until};
use tailwater_tests::pipeline::{Pipeline, file_sink};
use tailwater_tests::process::Tailwater;
use tailwater_tests::scene::STOP_WITHIN;
use tailwater_tests::simulated::Simulated;
use tailwater_tests::table::{SourceTable, key};

/// The last shards of a stream that was turned off may be listed a minute late, twice here, and then the table cannot be
/// asked for half a minute.
const FOLLOWED_WITHIN: Duration = Duration::from_secs(400);
const CARRIED_WITHIN: Duration = Duration::from_secs(60);

async fn scene() -> Result<Simulated> {
    let mut scene = Simulated::start(&["--faults", "none"]).await?;
    scene.pipeline.on_gap = "continue";
    Ok(scene)
}

async fn replaced_with(scene: &Simulated, id: &str) -> Result<()> {
    scene.table.replace_stream(StreamViewType::NewAndOldImages).await?;
    scene.table.put(key(id, "x")).await
}

async fn carries(scene: &Simulated, id: &str, within: Duration) -> Result<()> {
    wait_until(id, within, || async {
        let lines = scene.written()?;
        Ok(Look::when(lines.iter().any(|line| line.contains(id)), format!("{} lines", lines.len())))
    })
    .await
}

/// A process that has carried something of the first stream.
async fn running(scene: &Simulated) -> Result<Tailwater> {
    let process = scene.run()?;
    scene.table.put(key("of the first", "x")).await?;
    carries(scene, "of the first", CARRIED_WITHIN).await?;
    Ok(process)
}

/// Nobody ran meanwhile: all three are read, one after the other, and the two holes between them are gaps.
#[tokio::test]
async fn a_stream_that_was_replaced_twice_is_followed_to_the_newest() -> Result<()> {
    let scene = scene().await?;
    let ids = ["of the first", "left in the first", "of the second", "of the third"];
    scene.table.put(key(ids[0], "x")).await?;
    scene.run_to_tip().await?.must_exit_with(0)?;
    scene.table.put(key(ids[1], "x")).await?;
    for id in &ids[2..] {
        replaced_with(&scene, id).await?;
    }
    let second = scene.run_to_tip().await?.must_exit_with(4)?.must_say(&["source.gaps_recorded"])?;
    let lines = scene.written()?;
    let in_order = lines.len() == ids.len() && lines.iter().zip(ids).all(|(line, id)| line.contains(id));
    ensure!(in_order, "{lines:?}\n{}", second.said());
    let shown = scene.checkpoints().await?.must_exit_with(0)?;
    ensure!(shown.stdout.contains("gaps: 2"), "{}", shown.stdout);
    // The next one is an ordinary one.
    scene.run_to_tip().await?.must_exit_with(0)?;
    Ok(())
}

/// Rights that vanish while a process goes over to the next stream come back: nobody has to start it again.
#[tokio::test]
async fn a_running_process_follows_two_replacements_although_the_table_cannot_be_asked_for_a_while() -> Result<()> {
    let scene = scene().await?;
    let process = running(&scene).await?;
    replaced_with(&scene, "of the second").await?;
    replaced_with(&scene, "of the third").await?;
    scene.fail("DescribeTable", "AccessDeniedException", 3).await?;
    carries(&scene, "of the second", FOLLOWED_WITHIN).await?;
    carries(&scene, "of the third", FOLLOWED_WITHIN).await?;
    ensure!(process.stderr_so_far().contains("asking again"), "{}", process.said());
    process.signal(Signal::TERM)?;
    process.ends(STOP_WITHIN).await?.must_exit_with(0)?;
    ensure!(scene.written()?.len() == 3, "each once");
    Ok(())
}

/// The items of a table with another key have no place beside those of the first.
#[tokio::test]
async fn a_table_that_is_made_again_with_another_key_ends_the_pipeline() -> Result<()> {
    let scene = scene().await?;
    let process = running(&scene).await?;
    let keys = [ScalarAttributeType::N, ScalarAttributeType::S];
    scene.table.make_again_with_keys(StreamViewType::NewAndOldImages, keys).await?;
    let said = ["source.table_replaced", "another key", "→"];
    process.ends(FOLLOWED_WITHIN).await?.must_exit_with(4)?.must_say(&said)?;
    ensure!(scene.written()?.len() == 1, "nothing of the second table");
    Ok(())
}

/// What the first stream still held is lost, and a gap says so; the next one is read by the same process.
#[tokio::test]
async fn a_stream_that_goes_under_a_running_process_is_a_gap_and_the_next_one_is_read() -> Result<()> {
    let scene = scene().await?;
    let process = running(&scene).await?;
    replaced_with(&scene, "of the second").await?;
    scene.forget_streams().await?;
    carries(&scene, "of the second", FOLLOWED_WITHIN).await?;
    process.signal(Signal::TERM)?;
    process.ends(STOP_WITHIN).await?.must_exit_with(0)?;
    let shown = scene.checkpoints().await?.must_exit_with(0)?;
    ensure!(shown.stdout.contains("gaps: 2"), "the rest of the first, and what is in neither: {}", shown.stdout);
    Ok(())
}

/// What was written before is carried first, and then the process says why it ends.
#[tokio::test]
async fn a_table_that_is_deleted_ends_the_pipeline_when_its_stream_was_read() -> Result<()> {
    let scene = scene().await?;
    let process = running(&scene).await?;
    scene.table.put(key("the last", "x")).await?;
    scene.table.delete_table().await?;
    carries(&scene, "the last", CARRIED_WITHIN).await?;
    let said = ["source.table_deleted", "was deleted", "→"];
    process.ends(FOLLOWED_WITHIN).await?.must_exit_with(5)?.must_say(&said)?;
    // And a day later.
    scene.forget_streams().await?;
    let said = ["source.table_deleted", "was read to its end", "→"];
    scene.run()?.ends(FOLLOWED_WITHIN).await?.must_exit_with(5)?.must_say(&said)?;
    Ok(())
}

/// Nobody ran when the table was deleted: its stream can be read for a day, and for that the table has to be there again.
#[tokio::test]
async fn a_table_that_was_deleted_meanwhile_is_told_with_the_way_to_what_its_stream_holds() -> Result<()> {
    let scene = scene().await?;
    scene.table.put(key("the first", "x")).await?;
    scene.run_to_tip().await?.must_exit_with(0)?;
    scene.table.put(key("the last", "x")).await?;
    scene.table.delete_table().await?;
    scene.run_to_tip().await?.must_exit_with(4)?.must_say(&["source.table_deleted", "make", "→"])?;
    scene.table.make_anew(StreamViewType::NewAndOldImages).await?;
    scene.table.put(key("of the second", "x")).await?;
    scene.run_to_tip().await?.must_exit_with(4)?.must_say(&["source.gaps_recorded"])?;
    let lines = scene.written()?;
    let ids = ["the first", "the last", "of the second"];
    let in_order = lines.len() == ids.len() && lines.iter().zip(ids).all(|(line, id)| line.contains(id));
    ensure!(in_order, "{lines:?}");
    Ok(())
}

/// As a table that was restored: it has the name and no stream, and the old stream can be read for a day.
#[tokio::test]
async fn what_the_stream_of_a_table_holds_is_carried_although_the_next_one_has_none() -> Result<()> {
    let scene = scene().await?;
    scene.table.put(key("the first", "x")).await?;
    scene.run_to_tip().await?.must_exit_with(0)?;
    scene.table.put(key("the last", "x")).await?;
    scene.table.delete_table().await?;
    scene.table.make_without_stream().await?;
    let carried = scene.run_to_tip().await?.must_exit_with(0)?.must_say(&["what is in it is carried"])?;
    let lines = scene.written()?;
    ensure!(lines.len() == 2 && lines[1].contains("the last"), "{lines:?}\n{}", carried.said());
    scene.forget_streams().await?;
    let said = ["source.stream_off", "is gone", "was read to its end", "→"];
    scene.run_to_tip().await?.must_exit_with(5)?.must_say(&said)?;
    Ok(())
}

/// One of the pipelines of a process ended with its stream, and a day later the process is started again.
#[tokio::test]
async fn a_pipeline_whose_stream_is_over_keeps_no_other_from_running() -> Result<()> {
    let scene = scene().await?;
    scene.table.put(key("the last", "x")).await?;
    scene.table.close_stream().await?;
    scene.run_to_tip().await?.must_exit_with(0)?;
    scene.forget_streams().await?;
    let table = SourceTable::create_at(&scene.pipeline.endpoint).await?;
    let path = scene.dir().join("other.jsonl");
    let other = Pipeline { name: "other".to_owned(), table: table.name.clone(), ..scene.pipeline.clone() };
    let other = Pipeline { sink: file_sink(&path), ..other };
    let files = [scene.pipeline.write(scene.dir())?, other.write(scene.dir())?];
    let [ended, running] = files.each_ref().map(|path| path.to_str().expect("a path of text"));
    let process = Tailwater::start(scene.dir(), &["run", ended, running], &scene.environment)?;
    table.put(key("of the other", "x")).await?;
    wait_until("the other one carries", FOLLOWED_WITHIN, || async {
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        Ok(Look::when(text.contains("of the other"), text))
    })
    .await?;
    process.signal(Signal::TERM)?;
    let said = ["source.stream_off", "was read to its end", "the other pipelines of this process run"];
    process.ends(STOP_WITHIN).await?.must_exit_with(5)?.must_say(&said)?;
    ensure!(scene.written()?.len() == 1, "it begins nothing");
    Ok(())
}

/// An account with many readers: each question of a start is throttled for a while.
#[tokio::test]
async fn a_start_that_follows_a_replaced_stream_waits_while_it_is_throttled() -> Result<()> {
    let scene = scene().await?;
    scene.table.put(key("of the first", "x")).await?;
    scene.run_to_tip().await?.must_exit_with(0)?;
    replaced_with(&scene, "of the second").await?;
    for operation in ["DescribeTable", "DescribeStream", "ListStreams"] {
        scene.fail(operation, "LimitExceededException", 4).await?;
    }
    scene.run_to_tip().await?.must_exit_with(4)?.must_say(&["asking again", "source.gaps_recorded"])?;
    ensure!(scene.written()?.len() == 2, "{:?}", scene.written()?);
    Ok(())
}

/// Nobody ran when the stream was turned off, nor in the day in which it could be read.
#[tokio::test]
async fn a_start_after_its_stream_has_gone_says_which_it_was_and_what_to_do() -> Result<()> {
    let scene = scene().await?;
    scene.table.put(key("carried", "x")).await?;
    scene.run_to_tip().await?.must_exit_with(0)?;
    scene.table.put(key("left in the stream", "x")).await?;
    let arn = scene.table.stream_arn().await?.context("the table has a stream")?;
    scene.table.close_stream().await?;
    scene.forget_streams().await?;
    let said =
        ["source.no_stream", arn.as_str(), "is gone", "what was not read of it is lost", "tailwater stream enable"];
    scene.run_to_tip().await?.must_exit_with(3)?.must_say(&said)?;
    ensure!(scene.written()?.len() == 1, "it begins nothing");
    Ok(())
}
