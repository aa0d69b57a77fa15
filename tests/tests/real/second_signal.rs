//! A second signal ends a process at once.

use std::os::fd::OwnedFd;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use aws_sdk_dynamodb::types::AttributeValue;
use rustix::io::ioctl_fionread;
use rustix::process::{Pid, Signal, kill_process};
use tailwater_tests::binary;
use tailwater_tests::patience::{Look, wait_until};
use tailwater_tests::simulated::Simulated;
use tailwater_tests::table::key;
use tokio::process::{Child, Command};

/// Longest wait for something that is to happen at once, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

#[tokio::test]
async fn a_second_signal_ends_the_process_although_nobody_reads_what_it_writes() -> Result<()> {
    let mut scene = Simulated::start(&["--faults", "none"]).await?;
    scene.pipeline.sink = "[sink.stdout]".to_owned();
    // More than a pipe holds.
    for number in 0..20 {
        let mut item = key(&number.to_string(), "x");
        item.insert("text".to_owned(), AttributeValue::S("x".repeat(10_000)));
        scene.table.put(item).await?;
    }
    let mut process = start(&scene, [Stdio::piped(), Stdio::null()])?;
    let stdout = process.stdout.take().context("piped")?.into_owned_fd()?;
    is_full(&stdout).await?;
    ends_at_the_second(&mut process).await
}

/// What is logged stands in the way of everything that logs.
#[tokio::test]
async fn a_second_signal_ends_the_process_although_nobody_reads_its_log() -> Result<()> {
    let mut scene = Simulated::start(&["--faults", "none"]).await?;
    // All that the libraries below say, too: more than a pipe holds.
    scene.environment.insert("TAILWATER_LOG".to_owned(), "trace".to_owned());
    let mut process = start(&scene, [Stdio::null(), Stdio::piped()])?;
    let stderr = process.stderr.take().context("piped")?.into_owned_fd()?;
    is_full(&stderr).await?;
    ends_at_the_second(&mut process).await
}

fn start(scene: &Simulated, [stdout, stderr]: [Stdio; 2]) -> Result<Child> {
    let path = scene.pipeline.write(scene.dir())?;
    let mut command = Command::new(binary::tailwater()?);
    command.arg("run").arg(path).env_clear().envs(&scene.environment).stdout(stdout).stderr(stderr);
    Ok(command.kill_on_drop(true).spawn()?)
}

async fn is_full(pipe: &OwnedFd) -> Result<()> {
    wait_until("a full pipe", PATIENCE, || async {
        let waiting = ioctl_fionread(pipe)?;
        Ok(Look::when(waiting > 60_000, format!("{waiting} bytes")))
    })
    .await
}

async fn ends_at_the_second(process: &mut Child) -> Result<()> {
    let pid = process.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?)).context("no process id")?;
    kill_process(pid, Signal::TERM)?;
    tokio::time::sleep(Duration::from_millis(500)).await;
    ensure!(process.try_wait()?.is_none(), "it commits what is in hand");
    kill_process(pid, Signal::TERM)?;
    let status = tokio::time::timeout(PATIENCE, process.wait()).await.context("it did not end")??;
    ensure!(status.code() == Some(143), "{status}");
    Ok(())
}
