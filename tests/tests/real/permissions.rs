//! The rights that the documents name are those that the commands make use of, and no other ones.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use aws_sdk_dynamodb::types::StreamViewType;
use tailwater_tests::process::Tailwater;
use tailwater_tests::recorder::Recorder;
use tailwater_tests::simulated::Simulated;
use tailwater_tests::table::key;

/// One command on a busy machine.
const WITHIN: Duration = Duration::from_secs(60);
const RIGHTS: &str = include_str!("../../../docs/permissions.md");
const ACTION: &str = "dynamodb:";

/// What the document names for a command.
fn named(command: &str) -> Result<BTreeSet<String>> {
    let row = RIGHTS.lines().find(|line| line.starts_with(&format!("| `{command}` |")));
    let words = row.with_context(|| format!("no row of {command}"))?.split('`');
    Ok(words.filter_map(|word| word.strip_prefix(ACTION)).map(str::to_owned).collect())
}

fn check(command: &str, asked: &BTreeSet<String>) -> Result<()> {
    let named = named(command)?;
    ensure!(*asked == named, "`{command}` asked for {asked:?}, and docs/permissions.md names {named:?}");
    Ok(())
}

/// A command on the table of the scene, by way of the recorder, several times where it goes more than one way.
async fn asked(scene: &Simulated, recorder: &Recorder, command: &[&str], options: &[&str]) -> Result<BTreeSet<String>> {
    let at = [scene.table.name.as_str(), "--endpoint-url", recorder.url.as_str()];
    let arguments = [command, &at[..], options].concat();
    let outcome = Tailwater::run(scene.dir(), &arguments, &scene.environment, WITHIN).await?;
    outcome.must_exit_with(0)?;
    Ok(recorder.take().operations)
}

#[tokio::test]
async fn commands_on_a_table_ask_for_what_the_document_names() -> Result<()> {
    let scene = Simulated::start(&["--faults", "none"]).await?;
    let recorder = Recorder::before(&scene.pipeline.endpoint).await?;
    scene.table.put(key("1", "x")).await?;
    for options in [&["--from", "trim-horizon", "-n", "1"][..], &["--for", "3s"]] {
        check("tailwater tail", &asked(&scene, &recorder, &["tail"], options).await?)?;
    }
    check("tailwater stream describe", &asked(&scene, &recorder, &["stream", "describe"], &[]).await?)?;
    let older = asked(&scene, &recorder, &["stream", "describe"], &["--older"]).await?;
    check("tailwater stream describe --older", &older)?;
    for (command, options) in [("disable", &["--yes"][..]), ("enable", &[])] {
        // It is asked for a second time when there is nothing to do.
        let mut all = asked(&scene, &recorder, &["stream", command], options).await?;
        all.extend(asked(&scene, &recorder, &["stream", command], options).await?);
        check(&format!("tailwater stream {command}"), &all)?;
    }
    Ok(())
}

#[tokio::test]
async fn a_run_asks_for_what_the_document_names() -> Result<()> {
    let mut scene = Simulated::start(&["--faults", "none"]).await?;
    let recorder = Recorder::before(&scene.pipeline.endpoint).await?;
    scene.pipeline.endpoint.clone_from(&recorder.url);
    scene.pipeline.on_gap = "continue";
    scene.table.put(key("1", "x")).await?;
    scene.run_to_tip().await?.must_exit_with(0)?;
    let mut all = recorder.take().operations;
    ensure!(!all.contains("ListStreams"), "it is for streams that ended or were replaced: {all:?}");
    // What was read before is gone, and what follows it is looked for.
    scene.table.replace_stream(StreamViewType::NewAndOldImages).await?;
    scene.forget_streams().await?;
    scene.run_to_tip().await?.must_exit_with(4)?;
    all.extend(recorder.take().operations);
    check("tailwater run", &all)?;
    scene.checkpoints().await?.must_exit_with(0)?;
    check("tailwater checkpoints show", &recorder.take().operations)?;
    let path = scene.pipeline.write(scene.dir())?;
    let validate = ["validate", path.to_str().context("a path that is no text")?];
    Tailwater::run(scene.dir(), &validate, &scene.environment, WITHIN).await?.must_exit_with(0)?;
    check("tailwater validate", &recorder.take().operations)
}
