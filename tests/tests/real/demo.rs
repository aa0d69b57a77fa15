//! `tailwater demo`: everything in one process, and yet a server that others can write to.

use std::net::TcpListener;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use aws_sdk_dynamodb::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_dynamodb::types::AttributeValue;
use aws_sdk_dynamodb::{Client, Config};
use rustix::process::Signal;
use sqlx::Connection;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use tailwater_tests::patience::{Look, wait_until};
use tailwater_tests::process::{Tailwater, environment};

/// Start, drain and comparison on a busy machine.
const WITHIN: Duration = Duration::from_secs(60);

/// A port that was free a moment ago.
fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

fn client(port: u16) -> Client {
    let config = Config::builder()
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("eu-central-1"))
        .endpoint_url(format!("http://127.0.0.1:{port}"))
        .credentials_provider(Credentials::new("any", "any", None, None, "tests"));
    Client::from_conf(config.build())
}

async fn put_until_accepted(client: &Client, total: &str) -> Result<()> {
    wait_until("the demo takes writes", WITHIN, || async {
        let put = client
            .put_item()
            .table_name("orders")
            .item("customer", AttributeValue::S("a visitor".into()))
            .item("order_no", AttributeValue::N("1".into()))
            .item("total", AttributeValue::N(total.into()))
            .send();
        Ok(match put.await {
            Ok(_) => Look::Done,
            Err(error) => Look::NotYet(format!("{error:?}")),
        })
    })
    .await
}

#[tokio::test]
async fn the_demo_ends_with_a_mirror_that_is_equal() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let (port, keep) = (free_port()?.to_string(), dir.path().join("kept"));
    let keep_text = keep.to_str().context("a path that is text")?;
    let arguments = ["demo", "--for", "5s", "--rate", "100/s", "--port", &port, "--keep", keep_text];
    let demo = Tailwater::start(dir.path(), &arguments, &environment(dir.path()))?;
    let total = "98765432109876543210987654321098765.432";
    put_until_accepted(&client(port.parse()?), total).await?;

    let outcome = demo.ends(WITHIN).await?.must_exit_with(0)?;
    for text in ["http://127.0.0.1:", "sqlite3 ", "aws dynamodb put-item", "tailwater tail", "PLACED → PAID"] {
        ensure!(outcome.stdout.contains(text), "{text}: {}", outcome.said());
    }
    ensure!(outcome.stdout.contains("equal    yes"), "{}", outcome.said());
    let written = outcome.stdout.lines().find_map(|line| line.strip_prefix("  written  ")).context("a summary")?;
    let written: u64 = written.split(' ').next().unwrap_or_default().parse()?;
    ensure!(written >= 200, "the shop wrote {written} times only");

    let options = SqliteConnectOptions::new().filename(keep.join("shop.sqlite")).read_only(true);
    let mut mirror = SqliteConnection::connect_with(&options).await?;
    let visitor = "select document from orders where customer = 'a visitor'";
    let document: String = sqlx::query_scalar(visitor).fetch_one(&mut mirror).await?;
    ensure!(document.contains(&format!("\"total\":{total}")), "{document}");

    let again = Tailwater::run(dir.path(), &["demo", "--keep", keep_text], &environment(dir.path()), WITHIN).await?;
    again.must_exit_with(2)?.must_say(&["demo.kept", "another directory"])?;
    Ok(())
}

#[tokio::test]
async fn the_demo_follows_shards_that_rotate_and_split() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let arguments = ["demo", "--splits", "--for", "12s", "--rate", "60/s"];
    let outcome =
        Tailwater::run(dir.path(), &arguments, &environment(dir.path()), WITHIN * 2).await?.must_exit_with(0)?;
    ensure!(outcome.stdout.contains("equal    yes"), "{}", outcome.said());
    let lineage = outcome.stdout.lines().find_map(|line| line.strip_prefix("  lineage  ")).context("a lineage")?;
    let closed: u64 = lineage.split(' ').next().unwrap_or_default().parse()?;
    ensure!(closed >= 3, "only {closed} shards rotated or split");
    Ok(())
}

#[tokio::test]
async fn the_demo_stops_cleanly_when_asked() -> Result<()> {
    for signal in [Signal::INT, Signal::TERM] {
        let dir = tempfile::tempdir()?;
        let port = free_port()?.to_string();
        let mut environment = environment(dir.path());
        environment.insert("TMPDIR".into(), dir.path().to_string_lossy().into_owned());
        let demo = Tailwater::start(dir.path(), &["demo", "--port", &port], &environment)?;
        put_until_accepted(&client(port.parse()?), "1").await?;
        demo.signal(signal)?;
        let outcome = demo.ends(WITHIN).await?.must_exit_with(0)?;
        ensure!(outcome.stdout.contains("equal    yes"), "{}", outcome.said());
        let left = std::fs::read_dir(dir.path())?.filter_map(Result::ok).map(|entry| entry.file_name());
        let left: Vec<_> = left.filter(|name| name.to_string_lossy().starts_with("tailwater-demo")).collect();
        ensure!(left.is_empty(), "left behind: {left:?}");
    }
    Ok(())
}

#[tokio::test]
async fn a_port_in_use_is_told() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let taken = TcpListener::bind("127.0.0.1:0")?;
    let port = taken.local_addr()?.port().to_string();
    let outcome = Tailwater::run(dir.path(), &["demo", "--port", &port], &environment(dir.path()), WITHIN).await?;
    outcome.must_exit_with(3)?.must_say(&["demo.port", "another port"])?;
    Ok(())
}
