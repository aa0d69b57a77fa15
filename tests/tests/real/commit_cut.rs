//! The connection is cut at every message of a commit. Tailwater recovers by itself, and each event has its effect once.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rustix::process::Signal;
use tailwater_tests::patience::{Look, wait_until};
use tailwater_tests::pipeline::set_url;
use tailwater_tests::process::Tailwater;
use tailwater_tests::proxy::{Fault, Hit, Proxy};
use tailwater_tests::scene::{STOP_WITHIN, Scene};
use tailwater_tests::workload::Workload;
use tailwater_tests::writer::Writer;

/// A load that keeps every commit filled.
const WRITE_PAUSE: Duration = Duration::from_millis(10);
/// From the cut until rows arrive again: the lane waits a little, connects, fences and reads again.
const RECOVERED_WITHIN: Duration = Duration::from_secs(40);
/// More messages than any commit has.
const MESSAGES_MAX: usize = 100;
/// How late a `COMMIT` or its answer comes.
const LATE: Duration = Duration::from_secs(2);

/// Audited, with one lane, so that every commit goes over the one connection; and with a running process and load.
struct Cutting {
    scene: Scene,
    proxy: Proxy,
    process: Tailwater,
    writer: Writer,
}

impl Cutting {
    async fn begin(seed: u64) -> Result<Self> {
        let mut scene = Scene::new().await?;
        scene.pipeline.lanes = 1;
        scene.audit().await?;
        let proxy = Proxy::start(scene.database.address()).await?;
        set_url(&mut scene.environment, scene.database.url_through(proxy.port));
        let writer = Writer::start(&scene.table, Workload::new(seed, ""), WRITE_PAUSE);
        let process = scene.start()?;
        scene.carries(1, RECOVERED_WITHIN).await?;
        Ok(Self { scene, proxy, process, writer })
    }

    /// Breaks one commit and waits until rows arrive again.
    async fn break_one(&mut self, fault: Fault) -> Result<Hit> {
        self.proxy.arm(fault);
        wait_until("a commit meets the fault", RECOVERED_WITHIN, || async {
            Ok(Look::when(self.proxy.hit().is_some(), format!("{fault:?}")))
        })
        .await
        .with_context(|| self.process.said())?;
        self.scene.carries(1, RECOVERED_WITHIN).await.with_context(|| format!("{fault:?}\n{}", self.process.said()))?;
        self.process.must_be_running()?;
        self.proxy.hit().context("it was there")
    }

    async fn end(self) -> Result<()> {
        self.writer.stop().await?;
        self.scene.catches_up(RECOVERED_WITHIN).await.with_context(|| self.process.said())?;
        self.process.signal(Signal::TERM)?;
        self.process.ends(STOP_WITHIN).await?.must_exit_with(0)?;
        self.scene.check_exactly_once().await
    }
}

/// Cuts at message 0, 1, 2 and so on until a commit has no such message.
async fn cut_at_every_message(seed: u64, fault: fn(usize) -> Fault) -> Result<()> {
    let mut cutting = Cutting::begin(seed).await?;
    let mut fired = Vec::new();
    for number in 0..MESSAGES_MAX {
        match cutting.break_one(fault(number)).await? {
            Hit::Fired(message) => fired.push(message),
            Hit::Beyond => break,
        }
    }
    cutting.end().await?;
    let hit = |word: &str| fired.iter().any(|message| message.to_uppercase().contains(word));
    ensure!(hit("BEGIN") && hit("COMMIT") && fired.len() > 5 && fired.len() < MESSAGES_MAX, "{fired:#?}");
    Ok(())
}

#[tokio::test]
async fn cut_before_every_message() -> Result<()> {
    cut_at_every_message(1, Fault::CutBefore).await
}

#[tokio::test]
async fn cut_after_every_message_and_before_its_answer() -> Result<()> {
    cut_at_every_message(2, Fault::CutAfter).await
}

#[tokio::test]
async fn the_answer_to_commit_is_lost_late_or_the_commit_itself_is_late() -> Result<()> {
    let mut cutting = Cutting::begin(3).await?;
    for fault in [Fault::LoseCommitAnswer, Fault::DelayCommitAnswer(LATE), Fault::DeliverCommitLate(LATE)] {
        for _ in 0..4 {
            let hit = cutting.break_one(fault).await?;
            ensure!(
                matches!(&hit, Hit::Fired(message) if message.to_uppercase().contains("COMMIT")),
                "{fault:?}: {hit:?}"
            );
        }
    }
    cutting.end().await
}
