//! PostgreSQL misbehaves under load. Each fault passes, Tailwater recovers by itself, and nothing is lost or doubled.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use aws_sdk_dynamodb::types::{AttributeValue, Put, TransactWriteItem};
use rustix::process::Signal;
use tailwater_tests::patience::{Look, wait_until};
use tailwater_tests::pipeline::set_url;
use tailwater_tests::process::Tailwater;
use tailwater_tests::proxy::{Line, Proxy};
use tailwater_tests::scene::{MIRROR, STOP_WITHIN, Scene};
use tailwater_tests::table::key;
use tailwater_tests::workload::Workload;
use tailwater_tests::writer::Writer;

const WRITE_PAUSE: Duration = Duration::from_millis(10);
/// After the fault: the longest pause between two tries, and what a busy machine needs.
const RECOVERED_WITHIN: Duration = Duration::from_secs(60);
/// A missing right is believed after two minutes.
const REFUSED_WITHIN: Duration = Duration::from_secs(180);
/// Row changes that show that data moves again.
const SOME: i64 = 20;

/// Sessions to terminate, and how often to look for them: after each the process waits before it connects, longer each time
/// that no commit came between two, up to half a minute.
const TERMINATIONS: i64 = 20;
const ROUNDS_MAX: u32 = 400;

/// A scene with load and a running process.
struct Running {
    scene: Scene,
    process: Tailwater,
    writer: Writer,
    proxy: Proxy,
}

impl Running {
    /// `more` goes into the sink's section.
    async fn begin(seed: u64, more: &str) -> Result<Self> {
        let mut scene = Scene::new().await?;
        scene.audit().await?;
        // Only now: making the schema may take longer than the short limits of some tests.
        scene.pipeline.sink.push_str(more);
        let proxy = Proxy::start(scene.database.address()).await?;
        set_url(&mut scene.environment, scene.database.url_through(proxy.port));
        let writer = Writer::start(&scene.table, Workload::new(seed, ""), WRITE_PAUSE);
        let process = scene.start()?;
        scene.carries(SOME, RECOVERED_WITHIN).await.with_context(|| process.said())?;
        Ok(Self { scene, process, writer, proxy })
    }

    async fn recovers(&mut self) -> Result<()> {
        self.scene.carries(SOME, RECOVERED_WITHIN).await.with_context(|| self.process.said())?;
        self.process.must_be_running()
    }

    /// Waits until the process has said this more often than `before`.
    async fn says(&self, word: &str, before: usize) -> Result<()> {
        wait_until("the fault is met", RECOVERED_WITHIN, || async {
            let said = self.process.stderr_so_far();
            Ok(Look::when(said.matches(word).count() > before, format!("no {word:?}")))
        })
        .await
        .with_context(|| self.process.said())
    }

    async fn end(self) -> Result<()> {
        self.writer.stop().await?;
        self.scene.catches_up(RECOVERED_WITHIN).await.with_context(|| self.process.said())?;
        self.process.signal(Signal::TERM)?;
        self.process.ends(STOP_WITHIN).await?.must_exit_with(0)?;
        self.scene.check_exactly_once().await
    }
}

/// Two rows are locked in the order opposite to the commit's, by a session that the server does not choose as the victim.
#[tokio::test]
async fn a_deadlock() -> Result<()> {
    let scene = Scene::audited().await?;
    for id in ["a", "b"] {
        scene.table.put(key(id, "x")).await?;
    }
    let mut process = scene.start()?;
    scene.catches_up(RECOVERED_WITHIN).await.with_context(|| process.said())?;
    for round in 0..3 {
        let mut transaction = scene.database.admin.begin().await?;
        sqlx::raw_sql("set local deadlock_timeout = '60s'").execute(&mut *transaction).await?;
        let lock = r#"select 1 from orders where "Id" = $1 for update"#;
        sqlx::query(lock).bind("b").execute(&mut *transaction).await?;
        // One transaction of DynamoDB, so that both events come in one page and so in one commit.
        let puts = ["a", "b"].map(|id| {
            let mut item = key(id, "x");
            item.insert("round".to_owned(), AttributeValue::N(round.to_string()));
            let put = Put::builder().table_name(&scene.table.name);
            put.set_item(Some(item.into_iter().collect())).build()
        });
        let mut write = scene.table.client.transact_write_items();
        for put in puts {
            write = write.transact_items(TransactWriteItem::builder().put(put?).build());
        }
        write.send().await?;
        wait_until("the commit waits for a row", RECOVERED_WITHIN, || async {
            let sql = format!(
                "select count(*) from pg_stat_activity where usename = '{}' and wait_event_type = 'Lock'",
                scene.database.name()
            );
            Ok(Look::when(scene.database.number(&sql).await? > 0, "nobody waits"))
        })
        .await
        .with_context(|| process.said())?;
        // Now each waits for the other. The pipeline's session waited first and is the one that gives way.
        sqlx::query(lock).bind("a").execute(&mut *transaction).await.context("the test became the victim")?;
        transaction.rollback().await?;
        scene.catches_up(RECOVERED_WITHIN).await.with_context(|| process.said())?;
    }
    process.must_be_running()?;
    let said = process.stderr_so_far();
    // The same trouble is told once a minute; each time the lane opened again, beside the first time of both.
    let (told, opened) = (said.matches("40P01").count(), said.matches("lane open").count());
    ensure!(told > 0 && opened == 2 + 3, "expected three deadlocks\n{}", process.said());
    process.signal(Signal::TERM)?;
    process.ends(STOP_WITHIN).await?.must_exit_with(0)?;
    scene.check_exactly_once().await
}

#[tokio::test]
async fn sessions_are_terminated_again_and_again() -> Result<()> {
    let mut running = Running::begin(2, "").await?;
    let mut random = fastrand::Rng::with_seed(2);
    let mut terminated = 0;
    for _ in 0..ROUNDS_MAX {
        tokio::time::sleep(Duration::from_millis(random.u64(0..600))).await;
        terminated += running.scene.database.terminate_sessions().await?;
        if terminated >= TERMINATIONS {
            break;
        }
    }
    ensure!(terminated >= TERMINATIONS, "only {terminated} sessions were terminated\n{}", running.process.said());
    running.recovers().await?;
    running.end().await
}

#[tokio::test]
async fn a_statement_takes_too_long() -> Result<()> {
    let mut running = Running::begin(3, "statement_timeout = \"500ms\"\nlock_timeout = \"10s\"\n").await?;
    let database = &running.scene.database;
    database
        .execute(
            "create function audit.dawdle() returns trigger language plpgsql as $$ begin perform pg_catalog.pg_sleep(5); return null; end $$;
             create trigger dawdling before insert or update on orders for each statement execute function audit.dawdle();
             grant usage on schema audit to public;",
        )
        .await?;
    running.says("57014", 2).await?;
    running.scene.database.execute("drop trigger dawdling on orders").await?;
    running.recovers().await?;
    running.end().await
}

#[tokio::test]
async fn the_table_is_locked_for_a_while() -> Result<()> {
    let mut running = Running::begin(4, "statement_timeout = \"10s\"\nlock_timeout = \"500ms\"\n").await?;
    let mut transaction = running.scene.database.admin.begin().await?;
    sqlx::raw_sql("lock table orders in access exclusive mode").execute(&mut *transaction).await?;
    running.says("55P03", 2).await?;
    transaction.rollback().await?;
    running.recovers().await?;
    running.end().await
}

/// As after a fail-over to a standby: every session is ended, and new ones can read only.
#[tokio::test]
async fn the_server_takes_no_writes_for_a_while() -> Result<()> {
    let mut running = Running::begin(5, "").await?;
    let switch =
        |to: &str| format!("alter database {} set default_transaction_read_only = {to}", running.scene.database.name());
    let [on, off] = [switch("on"), switch("off")];
    running.scene.database.execute(&on).await?;
    running.scene.database.terminate_sessions().await?;
    running.says("read_only", 2).await?;
    running.process.must_be_running()?;
    running.scene.database.execute(&off).await?;
    running.recovers().await?;
    running.end().await
}

#[tokio::test]
async fn the_server_cannot_be_reached_for_ten_seconds() -> Result<()> {
    let mut running = Running::begin(6, "").await?;
    running.proxy.set_line(Line::Down);
    tokio::time::sleep(Duration::from_secs(10)).await;
    running.process.must_be_running()?;
    running.proxy.set_line(Line::Up);
    running.recovers().await?;
    running.end().await
}

/// Nothing is refused and nothing answers: only a time limit of our own ends that.
#[tokio::test]
async fn the_line_is_silent_for_longer_than_any_answer_may_take() -> Result<()> {
    let mut running = Running::begin(7, "statement_timeout = \"1s\"\nconnect_timeout = \"2s\"\n").await?;
    running.proxy.set_line(Line::Silent);
    // The process must give up on its sessions while the line is still silent.
    running.says("no answer", 0).await?;
    running.process.must_be_running()?;
    running.proxy.set_line(Line::Up);
    running.recovers().await?;
    running.end().await
}

/// As by a migration that makes grants anew.
#[tokio::test]
async fn a_right_is_missing_for_a_moment() -> Result<()> {
    let mut running = Running::begin(9, "").await?;
    let role = running.scene.database.name().to_owned();
    running.scene.database.execute(&format!("revoke insert, update on {MIRROR} from {role}")).await?;
    running.says("permission denied", 0).await?;
    running.scene.database.execute(&format!("grant insert, update on {MIRROR} to {role}")).await?;
    running.recovers().await?;
    running.end().await
}

/// The operator takes a right away for long and gives it back: the process stops with the reason, and the next one goes on.
#[tokio::test]
async fn a_right_is_taken_away_while_it_runs() -> Result<()> {
    let running = Running::begin(8, "").await?;
    let Running { scene, process, writer, proxy: _proxy } = running;
    let role = scene.database.name().to_owned();
    // The owner's own rights can be taken away, too.
    scene.database.execute(&format!("revoke insert, update on {MIRROR} from {role}")).await?;
    let outcome = process.ends(REFUSED_WITHIN).await?.must_exit_with(3)?;
    outcome.must_say(&["permission denied", "→"])?;
    writer.stop().await?;
    scene.database.execute(&format!("grant insert, update on {MIRROR} to {role}")).await?;
    scene.run_to_tip().await?;
    scene.check_exactly_once().await
}
