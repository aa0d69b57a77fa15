//! The same pipeline started twice: the newest goes on, the other says why it stands by, and nothing is written twice.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rustix::process::Signal;
use tailwater_tests::patience::{Look, wait_until};
use tailwater_tests::process::{STANDS_BY, Tailwater};
use tailwater_tests::scene::{STOP_WITHIN, Scene};
use tailwater_tests::workload::Workload;
use tailwater_tests::writer::Writer;

/// Row changes that show that a process carries.
const SOME: i64 = 30;
/// A take-over may have to wait until the server gives up on a stopped owner's transaction.
const TAKEN_OVER_WITHIN: Duration = Duration::from_secs(60);
const WRITE_PAUSE: Duration = Duration::from_millis(10);
/// How long two copies are watched: more than a lease. They fought twenty times in so long.
const WATCHED_SECONDS: u32 = 20;

/// A table that is written to all the time, before anybody reads it.
async fn begin(seed: u64) -> Result<(Scene, Writer)> {
    let scene = Scene::audited().await?;
    let writer = Writer::start(&scene.table, Workload::new(seed, ""), WRITE_PAUSE);
    Ok((scene, writer))
}

/// Whoever has the pipeline now carries the rest and stops in order: every change arrived once.
async fn end(scene: &Scene, writer: Writer, owner: Tailwater) -> Result<()> {
    writer.stop().await?;
    scene.catches_up(TAKEN_OVER_WITHIN).await?;
    owner.signal(Signal::TERM)?;
    owner.ends(STOP_WITHIN).await?.must_exit_with(0)?;
    scene.check_exactly_once().await
}

#[tokio::test]
async fn of_two_processes_the_newest_goes_on() -> Result<()> {
    let (scene, writer) = begin(1).await?;
    let mut owner = scene.start()?;
    scene.carries(SOME, TAKEN_OVER_WITHIN).await?;
    for _ in 0..4 {
        let newer = scene.start()?;
        owner.stands_by_until_stopped(TAKEN_OVER_WITHIN).await?;
        scene.carries(SOME, TAKEN_OVER_WITHIN).await.with_context(|| newer.said())?;
        owner = newer;
    }
    owner.must_be_running()?;
    end(&scene, writer, owner).await
}

/// Both are watched by a supervisor that starts whatever ends: nobody ends, and nobody takes anything from anybody.
#[tokio::test]
async fn two_copies_under_a_supervisor_do_not_fight() -> Result<()> {
    let (scene, writer) = begin(5).await?;
    let [mut first, mut second] = [scene.start()?, scene.start()?];
    scene.carries(SOME, TAKEN_OVER_WITHIN).await?;
    for _ in 0..WATCHED_SECONDS {
        tokio::time::sleep(Duration::from_secs(1)).await;
        first.must_be_running()?;
        second.must_be_running()?;
    }
    let replaced = [&first, &second].map(|process| process.stderr_so_far().matches(STANDS_BY).count());
    ensure!(replaced.iter().sum::<usize>() == 1, "take-overs: {replaced:?}\n{}\n{}", first.said(), second.said());
    let [owner, standby] = if replaced[0] == 0 { [first, second] } else { [second, first] };
    standby.stands_by_until_stopped(STOP_WITHIN).await?;
    end(&scene, writer, owner).await
}

/// As a rolling update does it: the new one is up, then the old one is stopped. The old one never ends by itself.
#[tokio::test]
async fn a_rolling_update_goes_through() -> Result<()> {
    let (scene, writer) = begin(6).await?;
    let mut old = scene.start()?;
    for _ in 0..3 {
        scene.carries(SOME, TAKEN_OVER_WITHIN).await?;
        let new = scene.start()?;
        new.says("lane open", 1, TAKEN_OVER_WITHIN).await?;
        old.must_be_running()?;
        old.signal(Signal::TERM)?;
        old.ends(STOP_WITHIN).await?.must_exit_with(0)?;
        old = new;
    }
    ensure!(!old.stderr_so_far().contains(STANDS_BY), "{}", old.said());
    end(&scene, writer, old).await
}

#[tokio::test]
async fn of_two_started_at_once_exactly_one_goes_on() -> Result<()> {
    let (scene, writer) = begin(2).await?;
    for _ in 0..3 {
        let [mut first, mut second] = [scene.start()?, scene.start()?];
        // Whichever claimed first is the one that must wait.
        let stays = loop {
            tokio::time::sleep(Duration::from_millis(100)).await;
            first.must_be_running()?;
            second.must_be_running()?;
            if first.stderr_so_far().contains(STANDS_BY) {
                first.stands_by_until_stopped(STOP_WITHIN).await?;
                break second;
            }
            if second.stderr_so_far().contains(STANDS_BY) {
                second.stands_by_until_stopped(STOP_WITHIN).await?;
                break first;
            }
        };
        scene.carries(SOME, TAKEN_OVER_WITHIN).await?;
        stays.signal(Signal::TERM)?;
        stays.ends(STOP_WITHIN).await?.must_exit_with(0)?;
    }
    writer.stop().await?;
    scene.run_to_tip().await?;
    scene.check_exactly_once().await
}

#[tokio::test]
async fn a_zombie_that_wakes_up_writes_nothing_and_stands_by() -> Result<()> {
    let (scene, writer) = begin(3).await?;
    let mut random = fastrand::Rng::with_seed(3);
    let mut owner = scene.start()?;
    for _ in 0..4 {
        scene.carries(SOME, TAKEN_OVER_WITHIN).await?;
        tokio::time::sleep(Duration::from_millis(random.u64(0..100))).await;
        owner.signal(Signal::STOP)?;
        let newer = scene.start()?;
        scene.carries(SOME, TAKEN_OVER_WITHIN).await.with_context(|| newer.said())?;
        owner.signal(Signal::CONT)?;
        owner.stands_by_until_stopped(TAKEN_OVER_WITHIN).await?;
        owner = newer;
    }
    end(&scene, writer, owner).await
}

/// The worst moment: the owner is stopped inside its transaction, so that the server keeps its locks for it.
#[tokio::test]
async fn a_zombie_stopped_in_the_middle_of_a_commit_is_taken_over_from() -> Result<()> {
    let mut scene = Scene::new().await?;
    scene.pipeline.sink.push_str("statement_timeout = \"5s\"\nlock_timeout = \"1s\"\n");
    scene.audit().await?;
    scene
        .database
        .execute(
            "create function audit.dawdle() returns trigger language plpgsql as $$ begin perform pg_catalog.pg_sleep(0.3); return null; end $$;
             create trigger dawdling before insert on orders for each statement execute function audit.dawdle();
             grant usage on schema audit to public;",
        )
        .await?;
    let writer = Writer::start(&scene.table, Workload::new(4, ""), WRITE_PAUSE);
    let mut owner = scene.start()?;
    for _ in 0..2 {
        scene.carries(SOME, TAKEN_OVER_WITHIN).await.with_context(|| owner.said())?;
        let sql = format!(
            "select count(*) from pg_stat_activity where usename = '{}' and wait_event = 'PgSleep'",
            scene.database.name()
        );
        wait_until("a commit is under way", TAKEN_OVER_WITHIN, || async {
            Ok(Look::when(scene.database.number(&sql).await? > 0, "none"))
        })
        .await?;
        owner.signal(Signal::STOP)?;
        let newer = scene.start()?;
        scene.carries(SOME, TAKEN_OVER_WITHIN).await.with_context(|| newer.said())?;
        owner.signal(Signal::CONT)?;
        owner.stands_by_until_stopped(TAKEN_OVER_WITHIN).await?;
        owner = newer;
    }
    scene.database.execute("drop trigger dawdling on orders").await?;
    end(&scene, writer, owner).await
}

/// An owner, and a process that it has replaced.
async fn owner_and_standby(scene: &Scene) -> Result<(Tailwater, Tailwater)> {
    let standby = scene.start()?;
    scene.carries(SOME, TAKEN_OVER_WITHIN).await?;
    let owner = scene.start()?;
    standby.says(STANDS_BY, 1, TAKEN_OVER_WITHIN).await?;
    scene.carries(SOME, TAKEN_OVER_WITHIN).await.with_context(|| owner.said())?;
    Ok((owner, standby))
}

#[tokio::test]
async fn a_standby_takes_what_has_no_owner_any_more() -> Result<()> {
    let (scene, writer) = begin(8).await?;
    let (owner, standby) = owner_and_standby(&scene).await?;
    owner.kill().await?;
    scene.database.execute("delete from tailwater.owners").await?;
    scene.carries(SOME, TAKEN_OVER_WITHIN).await.with_context(|| standby.said())?;
    end(&scene, writer, standby).await
}

/// Its claim decides: rows without progress are refused, as at a start.
#[tokio::test]
async fn a_standby_whose_progress_is_gone_ends_as_a_start_does() -> Result<()> {
    let (scene, writer) = begin(9).await?;
    let (owner, standby) = owner_and_standby(&scene).await?;
    owner.kill().await?;
    scene.database.execute("drop schema tailwater cascade").await?;
    standby.ends(TAKEN_OVER_WITHIN).await?.must_exit_with(4)?.must_say(&["adopt"])?;
    writer.stop().await?;
    Ok(())
}
