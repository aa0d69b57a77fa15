//! The embedded sinks: SQLite keeps the same promises as PostgreSQL, and standard output shows each event once.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rustix::process::Signal;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions, Row};
use tailwater_tests::audit::{self, RowChange};
use tailwater_tests::patience::{Look, wait_until};
use tailwater_tests::plain::Plain;
use tailwater_tests::process::{STANDS_BY, Tailwater};
use tailwater_tests::scene::{MIRROR, STOP_WITHIN, Scene};
use tailwater_tests::stream;
use tailwater_tests::table::key;
use tailwater_tests::workload::{Workload, nasty_item};
use tailwater_tests::writer::Writer;
use tailwater_tests::{compare, fileout};

/// How often the process is killed.
const KILLS: u32 = 20;
/// The longest life of a process in milliseconds.
const LIFE_MS_MAX: u64 = 1500;
const WRITE_PAUSE: Duration = Duration::from_millis(15);
const CARRIED_WITHIN: Duration = Duration::from_secs(30);

/// The same notes as the audit in PostgreSQL keeps.
const AUDIT_SQL: &str = r#"
    create table audit_changes (number integer primary key autoincrement, operation, event_id, partition_key, sort_key);
    create trigger noted_insert after insert on orders begin
        insert into audit_changes values (null, 'INSERT', new._event_id, new."Id", new."Fecha"); end;
    create trigger noted_update after update on orders begin
        insert into audit_changes values (null, 'UPDATE', new._event_id, new."Id", new."Fecha"); end;
    create trigger noted_delete after delete on orders begin
        insert into audit_changes values (null, 'DELETE', old._event_id, old."Id", old."Fecha"); end;
"#;

async fn sqlite(delete: &str) -> Result<(Scene, PathBuf)> {
    let mut scene = Scene::new().await?;
    let path = scene.dir().join("orders.db");
    let section = "[sink.sqlite]\npath = \"orders.db\"\ntable = \"orders\"\n";
    scene.pipeline.sink = format!("{section}delete = \"{delete}\"\n");
    Ok((scene, path))
}

async fn connect(path: &Path) -> Result<SqliteConnection> {
    Ok(SqliteConnectOptions::new().filename(path).connect().await?)
}

/// Holds the rows that are not marked deleted against the source. Returns how many are marked.
async fn compare_with_source(scene: &Scene, path: &Path) -> Result<usize> {
    let rows =
        sqlx::query(r#"select document, _deleted, "Id" from orders"#).fetch_all(&mut connect(path).await?).await?;
    let (mut documents, mut deleted) = (Vec::new(), 0);
    for row in rows {
        let document = Plain::parse(row.try_get(0)?)?;
        ensure!(
            document.get("Id").and_then(Plain::text) == Some(row.try_get(2)?),
            "the key column differs: {document:?}"
        );
        if row.try_get::<bool, _>(1)? { deleted += 1 } else { documents.push(document) }
    }
    compare::check_documents(&scene.table.scan().await?, documents)?;
    Ok(deleted)
}

#[tokio::test]
async fn a_sqlite_mirror_equals_the_source_with_soft_and_hard_deletes() -> Result<()> {
    for (delete, marked) in [("soft", 1), ("hard", 0)] {
        let (scene, path) = sqlite(delete).await?;
        scene.table.put(nasty_item("stays")).await?;
        scene.table.put(nasty_item("goes")).await?;
        scene.run_to_tip().await?;
        ensure!(compare_with_source(&scene, &path).await? == 0);
        scene.table.delete(key("goes", "nasty")).await?;
        scene.run_to_tip().await?;
        ensure!(compare_with_source(&scene, &path).await? == marked, "{delete}");
    }
    Ok(())
}

#[tokio::test]
async fn twenty_kills_lose_and_double_nothing_in_sqlite() -> Result<()> {
    let (scene, path) = sqlite("soft").await?;
    scene.run_to_tip().await?;
    sqlx::raw_sql(AUDIT_SQL).execute(&mut connect(&path).await?).await?;
    let writer = Writer::start(&scene.table, Workload::new(11, ""), WRITE_PAUSE);
    let mut random = fastrand::Rng::with_seed(11);
    for number in 0..KILLS {
        let process = scene.start()?;
        tokio::time::sleep(Duration::from_millis(random.u64(0..LIFE_MS_MAX))).await;
        process.kill().await.with_context(|| format!("kill number {number}"))?;
    }
    writer.stop().await?;
    scene.run_to_tip().await?;
    compare_with_source(&scene, &path).await?;
    let sql = "select operation, event_id, partition_key, sort_key from audit_changes order by number";
    let noted = sqlx::query(sql).fetch_all(&mut connect(&path).await?).await?.into_iter().map(|row| {
        Ok(RowChange { operation: row.try_get(0)?, event_id: row.try_get(1)?, key: (row.try_get(2)?, row.try_get(3)?) })
    });
    let arn = scene.table.stream_arn().await?.context("an ARN")?;
    audit::check(&noted.collect::<Result<Vec<_>>>()?, &stream::read(&arn).await?)
}

/// Two processes on one file: the newest goes on, as with PostgreSQL.
#[tokio::test]
async fn of_two_processes_on_one_sqlite_file_the_newest_goes_on() -> Result<()> {
    let (scene, path) = sqlite("soft").await?;
    let older = scene.start()?;
    scene.table.put(nasty_item("first")).await?;
    wait_until("the older carries", CARRIED_WITHIN, || async {
        let same = async { compare_with_source(&scene, &path).await }.await;
        Ok(Look::when(same.is_ok(), format!("{same:?}")))
    })
    .await
    .with_context(|| older.said())?;
    let newer = scene.start()?;
    scene.table.put(nasty_item("second")).await?;
    older.stands_by_until_stopped(CARRIED_WITHIN).await?;
    wait_until("the newer carries", CARRIED_WITHIN, || async {
        let same = compare_with_source(&scene, &path).await;
        Ok(Look::when(same.is_ok(), format!("{same:?}")))
    })
    .await
    .with_context(|| newer.said())?;
    newer.signal(Signal::TERM)?;
    newer.ends(STOP_WITHIN).await?.must_exit_with(0)?;
    Ok(())
}

/// One rule for all sinks of a process: it is replaced in both of its pipelines, or in none.
#[tokio::test]
async fn a_process_with_sqlite_and_a_file_is_replaced_as_a_whole() -> Result<()> {
    let (scene, path) = sqlite("hard").await?;
    let mut of_file = scene.pipeline.clone();
    (of_file.name, of_file.lanes) = ("file".to_owned(), 1);
    of_file.sink = "[sink.file]\npath = \"orders.jsonl\"\n".to_owned();
    for pipeline in [&scene.pipeline, &of_file] {
        pipeline.write(scene.dir())?;
    }
    let start = || Tailwater::start(scene.dir(), &["run", "tests.toml", "file.toml"], &scene.environment);
    let mut owner = start()?;
    for written in 1..=6 {
        scene.table.put(nasty_item(&written.to_string())).await?;
        wait_until("both carry", CARRIED_WITHIN, || async {
            let same = compare_with_source(&scene, &path).await;
            let lines = fileout::lines(&scene.dir().join("orders.jsonl")).map_or(0, |lines| lines.len());
            Ok(Look::when(same.is_ok() && lines == written, format!("{lines} lines, {same:?}")))
        })
        .await
        .with_context(|| owner.said())?;
        for name in ["tests", "file"] {
            let (said, named) = (owner.stderr_so_far(), format!("\"pipeline\":\"{name}\""));
            let is_named = said.lines().any(|line| line.contains("\"lane open\"") && line.contains(&named));
            ensure!(is_named, "which lane is open?\n{said}");
        }
        let newer = start()?;
        owner.says(STANDS_BY, 2, CARRIED_WITHIN).await?;
        newer.says("lane open", 2, CARRIED_WITHIN).await?;
        owner.must_be_running()?;
        owner.signal(Signal::TERM)?;
        owner.ends(STOP_WITHIN).await?.must_exit_with(0)?;
        owner = newer;
    }
    owner.signal(Signal::TERM)?;
    owner.ends(STOP_WITHIN).await?.must_exit_with(0)?;
    Ok(())
}

/// A start that cannot succeed in one of its pipelines takes none.
#[tokio::test]
async fn a_start_that_is_refused_in_one_pipeline_takes_no_other() -> Result<()> {
    let (scene, _) = sqlite("hard").await?;
    scene.pipeline.write(scene.dir())?;
    let mut owner = scene.start()?;
    owner.says("lane open", 2, CARRIED_WITHIN).await?;
    let mut of_file = scene.pipeline.clone();
    (of_file.name, of_file.lanes) = ("file".to_owned(), 1);
    of_file.sink = "[sink.file]\npath = \"orders.jsonl\"\n".to_owned();
    of_file.write(scene.dir())?;
    std::fs::write(scene.dir().join("orders.jsonl"), "not ours\n")?;
    let arguments = ["run", "tests.toml", "file.toml"];
    let refused = Tailwater::run(scene.dir(), &arguments, &scene.environment, CARRIED_WITHIN).await?;
    refused.must_exit_with(4)?.must_say(&["sink.target_without_progress"])?;
    tokio::time::sleep(Duration::from_secs(6)).await;
    owner.must_be_running()?;
    ensure!(!owner.stderr_so_far().contains(STANDS_BY), "{}", owner.said());
    owner.signal(Signal::TERM)?;
    owner.ends(STOP_WITHIN).await?.must_exit_with(0)?;
    Ok(())
}

#[tokio::test]
async fn standard_output_has_one_line_per_event_and_nothing_else() -> Result<()> {
    let mut scene = Scene::new().await?;
    (scene.pipeline.sink, scene.pipeline.lanes) = ("[sink.stdout]\n".to_owned(), 1);
    let mut workload = Workload::new(12, "");
    for _ in 0..60 {
        workload.step(&scene.table).await?;
    }
    let outcome = scene.run_to_tip().await?;
    let arn = scene.table.stream_arn().await?.context("an ARN")?;
    let expected: Vec<_> = stream::read(&arn).await?.into_iter().map(|event| Some(event.event_id)).collect();
    let lines = outcome.stdout.lines().map(Plain::parse).collect::<Result<Vec<_>>>()?;
    let written: Vec<_> =
        lines.iter().map(|line| line.get("event_id").and_then(Plain::text).map(str::to_owned)).collect();
    assert_eq!(written, expected);
    ensure!(!scene.database.has_mirror(MIRROR).await?);
    Ok(())
}

/// `tailwater run … | head -1`: the reader goes away, and that is no reason for a crash.
#[tokio::test]
async fn a_reader_of_standard_output_that_goes_away_ends_the_run_without_a_crash() -> Result<()> {
    let mut scene = Scene::new().await?;
    (scene.pipeline.sink, scene.pipeline.lanes) = ("[sink.stdout]\n".to_owned(), 1);
    for number in 0..200 {
        scene.table.put(nasty_item(&format!("n{number}"))).await?;
    }
    let path = scene.pipeline.write(scene.dir())?;
    let (reader, writer) = std::io::pipe()?;
    let mut child = tokio::process::Command::new(tailwater_tests::binary::tailwater()?)
        .args(["run".as_ref(), path.as_os_str()])
        .env_clear()
        .envs(&scene.environment)
        .stdout(writer)
        .stderr(std::process::Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    drop(reader);
    let status = tokio::time::timeout(CARRIED_WITHIN, child.wait()).await.context("it runs on without a reader")??;
    let mut said = String::new();
    tokio::io::AsyncReadExt::read_to_string(&mut child.stderr.context("piped")?, &mut said).await?;
    ensure!(!said.contains("panicked"), "{status}\n{said}");
    Ok(())
}
