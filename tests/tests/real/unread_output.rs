//! Nobody reads what a process writes.

use std::os::fd::AsFd;
use std::process::Stdio;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use aws_sdk_dynamodb::types::AttributeValue;
use rustix::io::ioctl_fionread;
use rustix::process::{Pid, Signal, kill_process};
use tailwater_tests::binary;
use tailwater_tests::patience::{Look, wait_until};
use tailwater_tests::simulated::Simulated;
use tailwater_tests::table::key;
use tokio::io::AsyncReadExt;
use tokio::process::{Child, ChildStderr, Command};

/// Longest wait for something that is to happen at once, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);
/// In bytes. A full one holds more.
const HALF_A_PIPE: u64 = 32 * 1024;
/// In that time more is logged than waits for a reader.
const UNREAD_FOR: Duration = Duration::from_secs(10);

#[tokio::test]
async fn a_second_signal_ends_a_process_whose_records_nobody_reads() -> Result<()> {
    let mut scene = Simulated::start(&["--faults", "none"]).await?;
    scene.pipeline.sink = "[sink.stdout]".to_owned();
    // More than a pipe holds.
    for number in 0..20 {
        let mut item = key(&number.to_string(), "x");
        item.insert("text".to_owned(), AttributeValue::S("x".repeat(10_000)));
        scene.table.put(item).await?;
    }
    let mut process = start(&scene, [Stdio::piped(), Stdio::null()])?;
    let stdout = process.stdout.take().context("piped")?;
    is_full(&stdout).await?;
    ends_at_the_second(&mut process).await
}

/// A process with more to log than a pipe holds, and nobody who reads it.
async fn with_unread_log(scene: &mut Simulated) -> Result<(Child, ChildStderr)> {
    // All that the libraries below say, too.
    scene.environment.insert("TAILWATER_LOG".to_owned(), "trace".to_owned());
    let mut process = start(scene, [Stdio::null(), Stdio::piped()])?;
    let stderr = process.stderr.take().context("piped")?;
    is_full(&stderr).await?;
    Ok((process, stderr))
}

async fn carries(scene: &Simulated, id: &str) -> Result<()> {
    scene.table.put(key(id, "x")).await?;
    wait_until(id, PATIENCE, || async {
        let lines = scene.written()?;
        Ok(Look::when(lines.iter().any(|line| line.contains(id)), format!("{} lines", lines.len())))
    })
    .await
}

/// Nothing waits for whoever reads the log.
#[tokio::test]
async fn a_process_whose_log_nobody_reads_goes_on_and_stops_in_order() -> Result<()> {
    let mut scene = Simulated::start(&["--faults", "none"]).await?;
    let (mut process, _stderr) = with_unread_log(&mut scene).await?;
    carries(&scene, "nobody reads").await?;
    send(&process, Signal::TERM)?;
    ensure!(ended(&mut process).await? == Some(0), "it stops in order");
    Ok(())
}

/// Who reads again is told that something is missing, and has the last line.
#[tokio::test]
async fn what_was_dropped_of_a_log_is_told_when_somebody_reads_it_again() -> Result<()> {
    let mut scene = Simulated::start(&["--faults", "none"]).await?;
    let (mut process, mut stderr) = with_unread_log(&mut scene).await?;
    tokio::time::sleep(UNREAD_FOR).await;
    let reader = tokio::spawn(async move {
        let mut log = String::new();
        stderr.read_to_string(&mut log).await?;
        std::io::Result::Ok(log)
    });
    carries(&scene, "somebody reads").await?;
    send(&process, Signal::TERM)?;
    ensure!(ended(&mut process).await? == Some(0), "it stops in order");
    let log = reader.await??;
    ensure!(log.contains("log lines were dropped so far, because nobody read them"), "{} bytes", log.len());
    ensure!(log.contains("\"message\":\"ended\""), "the last line");
    Ok(())
}

fn start(scene: &Simulated, [stdout, stderr]: [Stdio; 2]) -> Result<Child> {
    let path = scene.pipeline.write(scene.dir())?;
    let mut command = Command::new(binary::tailwater()?);
    command.arg("run").arg(path).env_clear().envs(&scene.environment).stdout(stdout).stderr(stderr);
    Ok(command.kill_on_drop(true).spawn()?)
}

/// How many bytes fit depends on how they came: nothing was added for a second.
async fn is_full(pipe: &impl AsFd) -> Result<()> {
    let before = AtomicU64::new(0);
    wait_until("a full pipe", PATIENCE, || async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let waiting = ioctl_fionread(pipe)?;
        Ok(Look::when(waiting > HALF_A_PIPE && before.swap(waiting, Relaxed) == waiting, format!("{waiting} bytes")))
    })
    .await
}

fn send(process: &Child, signal: Signal) -> Result<()> {
    let pid = process.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?)).context("no process id")?;
    Ok(kill_process(pid, signal)?)
}

async fn ended(process: &mut Child) -> Result<Option<i32>> {
    Ok(tokio::time::timeout(PATIENCE, process.wait()).await.context("it did not end")??.code())
}

async fn ends_at_the_second(process: &mut Child) -> Result<()> {
    send(process, Signal::TERM)?;
    tokio::time::sleep(Duration::from_millis(500)).await;
    ensure!(process.try_wait()?.is_none(), "it commits what is in hand");
    send(process, Signal::TERM)?;
    ensure!(ended(process).await? == Some(143), "it ends at once");
    Ok(())
}
