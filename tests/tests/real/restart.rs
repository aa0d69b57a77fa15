//! Stops in order, and what the next start finds.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rustix::process::Signal;
use tailwater_tests::audit;
use tailwater_tests::patience::{Look, wait_until};
use tailwater_tests::proxy::{Line, Proxy};
use tailwater_tests::scene::{STOP_WITHIN, Scene};
use tailwater_tests::workload::{Workload, nasty_item};
use tailwater_tests::writer::Writer;

const WRITE_PAUSE: Duration = Duration::from_millis(5);
const CARRIED_WITHIN: Duration = Duration::from_secs(40);
/// The exit codes of a stop that a second signal forced: 128 plus the signal's number.
const FORCED: [(Signal, i32); 2] = [(Signal::INT, 130), (Signal::TERM, 143)];

#[tokio::test]
async fn a_stop_under_load_is_in_order_and_the_next_start_goes_on() -> Result<()> {
    let scene = Scene::audited().await?;
    let writer = Writer::start(&scene.table, Workload::new(1, ""), WRITE_PAUSE);
    for signal in [Signal::TERM, Signal::INT, Signal::HUP, Signal::INT] {
        let process = scene.start()?;
        scene.carries(30, CARRIED_WITHIN).await.with_context(|| process.said())?;
        process.signal(signal)?;
        if signal == Signal::HUP {
            // A terminal that is closed may say so twice.
            process.signal(signal)?;
        }
        process.ends(STOP_WITHIN).await?.must_exit_with(0)?;
    }
    writer.stop().await?;
    scene.run_to_tip().await?;
    scene.check_exactly_once().await
}

#[tokio::test]
async fn a_start_in_quiet_writes_no_row() -> Result<()> {
    let scene = Scene::audited().await?;
    let mut workload = Workload::new(2, "");
    for _ in 0..50 {
        workload.step(&scene.table).await?;
    }
    scene.run_to_tip().await?;
    let before = audit::changes(&scene.database).await?;
    for _ in 0..3 {
        scene.run_to_tip().await?;
    }
    let process = scene.start()?;
    tokio::time::sleep(Duration::from_secs(2)).await;
    process.signal(Signal::TERM)?;
    process.ends(STOP_WITHIN).await?.must_exit_with(0)?;
    assert_eq!(audit::changes(&scene.database).await?, before);
    scene.check_exactly_once().await
}

/// The signal may come at any moment, also while the process starts.
#[tokio::test]
async fn a_stop_at_any_moment_of_the_start_is_in_order() -> Result<()> {
    let scene = Scene::audited().await?;
    let writer = Writer::start(&scene.table, Workload::new(3, ""), WRITE_PAUSE);
    let mut random = fastrand::Rng::with_seed(3);
    for _ in 0..20 {
        let process = scene.start()?;
        // Before `main` is reached a signal ends any process: that is not the pipeline's doing.
        tokio::time::sleep(Duration::from_millis(random.u64(0..400))).await;
        process.signal(Signal::TERM)?;
        let outcome = process.ends(STOP_WITHIN).await?;
        ensure!(outcome.code == Some(0) || outcome.signal == Some(15), "{:?}\n{}", outcome.code, outcome.said());
    }
    writer.stop().await?;
    scene.run_to_tip().await?;
    scene.check_exactly_once().await
}

/// The database hangs, so the stop in order takes its grace period; the second signal does not wait for it.
#[tokio::test]
async fn a_second_signal_stops_at_once() -> Result<()> {
    for (signal, code) in FORCED {
        let mut scene = Scene::audited().await?;
        let proxy = Proxy::start(scene.database.address()).await?;
        tailwater_tests::pipeline::set_url(&mut scene.environment, scene.database.url_through(proxy.port));
        let writer = Writer::start(&scene.table, Workload::new(4, ""), WRITE_PAUSE);
        let process = scene.start()?;
        scene.carries(10, CARRIED_WITHIN).await.with_context(|| process.said())?;
        proxy.set_line(Line::Silent);
        // However slowly the writer writes: with this there is something to commit, and soon a commit that nobody answers.
        scene.table.put(nasty_item("while the line is silent")).await?;
        tokio::time::sleep(Duration::from_secs(2)).await;
        process.signal(signal)?;
        tokio::time::sleep(Duration::from_secs(1)).await;
        process.signal(signal)?;
        process.ends(Duration::from_secs(3)).await?.must_exit_with(code)?;
        writer.stop().await?;
        proxy.set_line(Line::Up);
        wait_until("the server has ended the sessions", CARRIED_WITHIN, || async {
            let sql = format!("select count(*) from pg_stat_activity where usename = '{}'", scene.database.name());
            Ok(Look::when(scene.database.number(&sql).await? == 0, "still there"))
        })
        .await?;
        tailwater_tests::pipeline::set_url(&mut scene.environment, scene.database.url());
        scene.run_to_tip().await?;
        scene.check_exactly_once().await?;
    }
    Ok(())
}

/// The grace period is the longest that a stop may take, whatever the database does.
#[tokio::test]
async fn a_stop_takes_no_longer_than_the_grace_period() -> Result<()> {
    let mut scene = Scene::audited().await?;
    scene.pipeline.limits.push_str("grace_period = \"1s\"\n");
    let proxy = Proxy::start(scene.database.address()).await?;
    tailwater_tests::pipeline::set_url(&mut scene.environment, scene.database.url_through(proxy.port));
    let writer = Writer::start(&scene.table, Workload::new(5, ""), WRITE_PAUSE);
    let process = scene.start()?;
    scene.carries(10, CARRIED_WITHIN).await.with_context(|| process.said())?;
    proxy.set_line(Line::Silent);
    tokio::time::sleep(Duration::from_secs(1)).await;
    process.signal(Signal::TERM)?;
    let outcome = process.ends(Duration::from_secs(5)).await?;
    ensure!(outcome.signal.is_none(), "{:?}\n{}", outcome.signal, outcome.said());
    writer.stop().await?;
    drop(proxy);
    tailwater_tests::pipeline::set_url(&mut scene.environment, scene.database.url());
    scene.run_to_tip().await?;
    scene.check_exactly_once().await
}
