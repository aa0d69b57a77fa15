//! The stream is turned off and on, so that the table has a new one: never silently carried on with.

use std::time::Duration;

use anyhow::{Result, ensure};
use aws_sdk_dynamodb::types::StreamViewType;
use rustix::process::Signal;
use tailwater_tests::scene::{MIRROR, STOP_WITHIN, Scene};
use tailwater_tests::workload::{Workload, nasty_item};
use tailwater_tests::{audit, stream};

const CAUGHT_UP_WITHIN: Duration = Duration::from_secs(30);
/// The last shards of a stream that was turned off may be listed a minute late, so a process that runs waits for that long
/// before it says that the stream has ended.
const STREAM_ENDED_WITHIN: Duration = Duration::from_secs(150);

/// Some writes are carried, the stream is replaced, and some more are made. Returns the old and the new ARN.
async fn carried_and_replaced(scene: &Scene) -> Result<[String; 2]> {
    let mut workload = Workload::new(1, "old-");
    for _ in 0..30 {
        workload.step(&scene.table).await?;
    }
    scene.run_to_tip().await?;
    scene.compare().await?;
    let arns = scene.table.replace_stream(StreamViewType::NewAndOldImages).await?;
    let mut workload = Workload::new(2, "new-");
    for _ in 0..30 {
        workload.step(&scene.table).await?;
    }
    Ok(arns)
}

async fn gaps(scene: &Scene) -> Result<Vec<String>> {
    scene.database.texts("select cause || ' ' || stopped from tailwater.gaps order by id").await
}

#[tokio::test]
async fn by_default_the_pipeline_stops_with_a_durable_gap() -> Result<()> {
    let mut scene = Scene::audited().await?;
    let [old, _] = carried_and_replaced(&scene).await?;
    let before = scene.database.mirror(MIRROR).await?.len();
    for _ in 0..2 {
        scene.try_to_tip().await?.must_exit_with(4)?.must_say(&["stream_replaced", &old, "on_gap", "→"])?;
        // The second time it is the same gap, not another one.
        assert_eq!(gaps(&scene).await?, ["stream_replaced true"]);
    }
    ensure!(scene.database.mirror(MIRROR).await?.len() == before, "it carried on before somebody decided");

    // The person decides to go on: what the new stream has is carried.
    scene.pipeline.on_gap = "continue";
    scene.try_to_tip().await?.must_exit_with(4)?.must_say(&["source.gaps_recorded"])?;
    scene.compare().await
}

#[tokio::test]
async fn with_on_gap_continue_it_goes_on_and_the_gap_is_on_record() -> Result<()> {
    let mut scene = Scene::audited().await?;
    scene.pipeline.on_gap = "continue";
    let [old, new] = carried_and_replaced(&scene).await?;
    // Everything that is there is carried, and the exit code says that something may not have been.
    scene.try_to_tip().await?.must_exit_with(4)?.must_say(&["source.gaps_recorded"])?;
    assert_eq!(gaps(&scene).await?, ["stream_replaced false"]);
    scene.compare().await?;
    let both = [stream::read(&old).await?, stream::read(&new).await?].concat();
    audit::check(&audit::changes(&scene.database).await?, &both)?;
    // And the next start is an ordinary one.
    scene.run_to_tip().await?;
    assert_eq!(gaps(&scene).await?.len(), 1);
    audit::check(&audit::changes(&scene.database).await?, &both)
}

/// The old stream is read to its end by a process that runs while it is closed, and that process says so.
#[tokio::test]
async fn a_running_process_finishes_the_stream_that_is_turned_off() -> Result<()> {
    let scene = Scene::audited().await?;
    let process = scene.start()?;
    scene.table.put(nasty_item("while it runs")).await?;
    scene.table.close_stream().await?;
    let outcome = process.ends(STREAM_ENDED_WITHIN).await?;
    outcome.must_exit_with(5)?.must_say(&["source.stream_off", "tailwater stream enable"])?;
    scene.compare().await
}

/// A table that was deleted and made again under its name has other items and another stream.
#[tokio::test]
async fn a_table_made_again_under_its_name_is_not_carried_on_with() -> Result<()> {
    let scene = Scene::audited().await?;
    scene.table.put(nasty_item("of the first table")).await?;
    scene.run_to_tip().await?;
    scene.table.make_again(StreamViewType::NewAndOldImages).await?;
    scene.table.put(nasty_item("of the second table")).await?;
    scene.try_to_tip().await?.must_exit_with(4)?.must_say(&["table_replaced", "items of the old table", "→"])?;
    assert_eq!(gaps(&scene).await?, ["table_replaced true"]);
    Ok(())
}

/// What the old stream still holds is carried first, although nobody ran when it was replaced.
#[tokio::test]
async fn what_is_left_of_the_old_stream_comes_first() -> Result<()> {
    let mut scene = Scene::audited().await?;
    scene.pipeline.on_gap = "continue";
    scene.table.put(nasty_item("carried")).await?;
    scene.run_to_tip().await?;
    scene.table.put(nasty_item("left in the old stream")).await?;
    let [old, new] = scene.table.replace_stream(StreamViewType::NewAndOldImages).await?;
    scene.table.put(nasty_item("in the new one")).await?;
    scene.try_to_tip().await?.must_exit_with(4)?;
    assert_eq!(gaps(&scene).await?, ["stream_replaced false"]);
    scene.compare().await?;
    let both = [stream::read(&old).await?, stream::read(&new).await?].concat();
    audit::check(&audit::changes(&scene.database).await?, &both)
}

/// Nobody has to start it again: the old stream is read to its end, and the new one from its beginning.
#[tokio::test]
async fn a_running_process_goes_on_with_the_new_stream() -> Result<()> {
    for on_gap in ["continue", "stop"] {
        let mut scene = Scene::audited().await?;
        scene.pipeline.on_gap = on_gap;
        let process = scene.start()?;
        scene.table.put(nasty_item("before")).await?;
        scene.catches_up(CAUGHT_UP_WITHIN).await?;
        scene.table.replace_stream(StreamViewType::NewAndOldImages).await?;
        scene.table.put(nasty_item("after")).await?;
        if on_gap == "stop" {
            process.ends(STREAM_ENDED_WITHIN).await?.must_exit_with(4)?.must_say(&["stream_replaced", "→"])?;
            ensure!(scene.compare().await.is_err(), "the new stream was read before somebody decided");
        } else {
            scene.catches_up(STREAM_ENDED_WITHIN).await?;
            process.signal(Signal::TERM)?;
            process.ends(STOP_WITHIN).await?.must_exit_with(0)?;
        }
        assert_eq!(gaps(&scene).await?, [format!("stream_replaced {}", on_gap == "stop")]);
    }
    Ok(())
}
