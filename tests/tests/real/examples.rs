//! Every example pipeline file works as it stands: only the names of the table and of the pipeline are others, because
//! the servers are shared.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use aws_sdk_dynamodb::types::{AttributeValue, StreamViewType};
use rustix::process::Signal;
use sqlx::ConnectOptions;
use sqlx::sqlite::SqliteConnectOptions;
use tailwater_tests::endpoints::{dynamodb_url, kafka_bootstrap};
use tailwater_tests::fileout;
use tailwater_tests::kafka::admin;
use tailwater_tests::kafka::reader::{self, Isolation};
use tailwater_tests::patience::{Look, wait_until};
use tailwater_tests::pipeline::set_url;
use tailwater_tests::plain::Plain;
use tailwater_tests::postgres::Database;
use tailwater_tests::process::{Environment, Outcome, Tailwater, environment};
use tailwater_tests::scene::{RUN_WITHIN, STOP_WITHIN};
use tailwater_tests::table::{Item, SourceTable, key};
use tempfile::TempDir;

const CARRIED_WITHIN: Duration = Duration::from_secs(30);

fn examples_dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../pipelines")
}

/// An example in a folder of its own, with a table for it.
struct Example {
    table: SourceTable,
    dir: TempDir,
    environment: Environment,
    file: String,
}

impl Example {
    async fn new(file: &str) -> Result<Self> {
        let table = SourceTable::create(Some(StreamViewType::NewAndOldImages)).await?;
        let dir = tempfile::tempdir()?;
        let path = examples_dir().join(file);
        let text = std::fs::read_to_string(&path).with_context(|| format!("{}", path.display()))?;
        let source = "[source]\ntable = \"orders\"";
        ensure!(text.contains(source), "{file} has no {source:?}");
        let name = format!("name = \"{}\"", file.trim_end_matches(".toml"));
        ensure!(text.contains(&name), "{file} has no {name:?}");
        let text = text.replace(source, &format!("[source]\ntable = \"{}\"", table.name));
        let text = text.replace(&name, &format!("name = \"{}\"", table.name));
        std::fs::write(dir.path().join(file), text)?;
        let mut environment = environment(dir.path());
        environment.insert("AWS_ENDPOINT_URL".to_owned(), dynamodb_url());
        Ok(Self { table, dir, environment, file: file.to_owned() })
    }

    async fn run_to_tip(&self) -> Result<Outcome> {
        let arguments = ["run", &self.file, "--until", "tip"];
        Tailwater::run(self.dir.path(), &arguments, &self.environment, RUN_WITHIN).await?.must_exit_with(0)
    }
}

fn order() -> Item {
    let text = |text: &str| AttributeValue::S(text.to_owned());
    let customer = [("city", text("Ærø")), ("mail", text("a@b.example")), ("payment", text("cash"))];
    let customer = customer.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    let mut item = key("order-1", "2026-11-23");
    item.extend([
        ("order_id".to_owned(), text("1")),
        ("status".to_owned(), text("paid")),
        ("password_hash".to_owned(), text("x")),
        ("customer".to_owned(), AttributeValue::M(customer)),
    ]);
    item
}

#[tokio::test]
async fn no_example_is_forgotten_here() -> Result<()> {
    let mut files = std::fs::read_dir(examples_dir())?
        .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
        .collect::<Result<Vec<_>>>()?;
    files.retain(|file| file.ends_with(".toml"));
    files.sort();
    assert_eq!(
        files,
        [
            "orders-to-file.toml",
            "orders-to-kafka.toml",
            "orders-to-postgres.toml",
            "orders-to-sqlite.toml",
            "orders-to-stdout.toml"
        ]
    );
    Ok(())
}

/// They are run by the composition's tests, which need Docker; that they are right is known without it.
#[tokio::test]
async fn those_of_the_composition_are_valid() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let mut environment = environment(dir.path());
    set_url(&mut environment, "postgres://tailwater@postgres/tailwater".to_owned());
    environment.insert("KAFKA_BROKERS".to_owned(), "kafka:9092".to_owned());
    let folder = examples_dir().join("compose");
    let arguments = ["validate", folder.to_str().context("a path that is no text")?];
    let outcome = Tailwater::run(dir.path(), &arguments, &environment, RUN_WITHIN).await?.must_exit_with(0)?;
    for pipeline in ["orders-to-kafka", "orders-to-postgres"] {
        ensure!(outcome.stdout.contains(&format!("pipeline {pipeline} ")), "{}", outcome.said());
    }
    Ok(())
}

#[tokio::test]
async fn to_postgres() -> Result<()> {
    let mut example = Example::new("orders-to-postgres.toml").await?;
    let database = Database::create().await?;
    set_url(&mut example.environment, database.url());
    example.table.put(order()).await?;
    example.run_to_tip().await?;
    let rows = database.mirror("orders").await?;
    let [row] = rows.as_slice() else { anyhow::bail!("{rows:?}") };
    let document = row.document.as_ref().context("a document")?;
    ensure!(document.get("password_hash").is_none(), "{document:?}");
    let customer = document.get("customer").context("a customer")?;
    assert_eq!((customer.get("email").and_then(Plain::text), customer.get("mail")), (Some("a@b.example"), None));
    Ok(())
}

#[tokio::test]
async fn to_sqlite() -> Result<()> {
    let example = Example::new("orders-to-sqlite.toml").await?;
    example.table.put(order()).await?;
    example.run_to_tip().await?;
    let options = SqliteConnectOptions::new().filename(example.dir.path().join("orders.db"));
    let documents: Vec<String> =
        sqlx::query_scalar("select document from orders").fetch_all(&mut options.connect().await?).await?;
    let [document] = documents.as_slice() else { anyhow::bail!("{documents:?}") };
    assert_eq!(Plain::parse(document)?, Plain::of_item(&order())?);
    Ok(())
}

#[tokio::test]
async fn to_kafka() -> Result<()> {
    let mut example = Example::new("orders-to-kafka.toml").await?;
    let brokers = kafka_bootstrap();
    example.environment.insert("KAFKA_BROKERS".to_owned(), brokers.clone());
    example.table.put(order()).await?;
    example.table.delete(key("order-1", "2026-11-23")).await?;
    example.run_to_tip().await?;
    // A second run has nothing to do.
    example.run_to_tip().await?;
    let topic = &example.table.name;
    let messages = reader::read(&brokers, topic, Isolation::ReadCommitted).await?;
    let topics = [topic.clone(), format!("{topic}-dead-letters"), format!("{topic}-progress")];
    admin::delete_topics(&brokers, &topics)?;
    let [put, removed, tombstone] = messages.as_slice() else { anyhow::bail!("{messages:?}") };
    assert_eq!(put.json()?.get("new"), Some(&Plain::of_item(&order())?));
    assert_eq!((put.header("__op")?, removed.header("__op")?), ("c", "d"));
    assert_eq!(removed.json()?.get("old"), Some(&Plain::of_item(&order())?));
    assert_eq!((&tombstone.key, &tombstone.value), (&put.key, &None));
    Ok(())
}

#[tokio::test]
async fn to_stdout() -> Result<()> {
    let example = Example::new("orders-to-stdout.toml").await?;
    example.table.put(order()).await?;
    let outcome = example.run_to_tip().await?;
    let lines = outcome.stdout.lines().map(Plain::parse).collect::<Result<Vec<_>>>()?;
    let [line] = lines.as_slice() else { anyhow::bail!("{}", outcome.said()) };
    assert_eq!(line.get("new"), Some(&Plain::of_item(&order())?));
    Ok(())
}

/// This one begins with what comes after its start.
#[tokio::test]
async fn to_file() -> Result<()> {
    let example = Example::new("orders-to-file.toml").await?;
    example.table.put(key("before the start", "x")).await?;
    let process = Tailwater::start(example.dir.path(), &["run", &example.file], &example.environment)?;
    let path = example.dir.path().join("orders.jsonl");
    wait_until("what is new arrives", CARRIED_WITHIN, || async {
        // The place where "latest" is was chosen at some moment: a change after it arrives, so one is made each time.
        example.table.delete(key("order-1", "2026-11-23")).await?;
        example.table.put(order()).await?;
        let lines = fileout::lines(&path).unwrap_or_default();
        Ok(Look::when(lines.iter().any(|line| line.get("new").is_some()), format!("{} lines", lines.len())))
    })
    .await
    .with_context(|| process.said())?;
    process.signal(Signal::TERM)?;
    process.ends(STOP_WITHIN).await?.must_exit_with(0)?;
    let text = std::fs::read_to_string(&path)?;
    ensure!(!text.contains("before the start") && !text.contains("password_hash"), "{text}");
    let lines = fileout::lines(&path)?;
    let new = lines.iter().find_map(|line| line.get("new")).context("a new image")?;
    let expected = r#"{"order_id": "1", "status": "paid", "customer": {"city": "Ærø"}}"#;
    assert_eq!(new, &Plain::parse(expected)?);
    Ok(())
}
