//! `tailwater stream` and `tailwater tail` against DynamoDB Local.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use aws_sdk_dynamodb::types::{AttributeValue, StreamViewType};
use serde_json::Value;
use tailwater_tests::endpoints::dynamodb_url;
use tailwater_tests::patience::{Look, wait_until};
use tailwater_tests::process::{Outcome, Tailwater, environment};
use tailwater_tests::table::{SourceTable, key};

/// One of these commands on a busy machine.
const WITHIN: Duration = Duration::from_secs(30);

async fn tailwater(arguments: &[&str]) -> Result<Outcome> {
    let dir = tempfile::tempdir()?;
    Tailwater::run(dir.path(), arguments, &environment(dir.path()), WITHIN).await
}

/// A command on one table of DynamoDB Local.
async fn on_table(command: &[&str], table: &str, options: &[&str]) -> Result<Outcome> {
    let url = dynamodb_url();
    tailwater(&[command, &[table, "--endpoint-url", &url], options].concat()).await
}

/// The `result` of a command with `--json` that must succeed.
async fn result_of(command: &[&str], table: &str) -> Result<Value> {
    let outcome = on_table(command, table, &["--json"]).await?.must_exit_with(0)?;
    let mut envelope: Value = serde_json::from_str(&outcome.stdout).context("one JSON object")?;
    ensure!(envelope["ok"] == true && envelope["command"] == "stream", "{envelope}");
    Ok(envelope["result"].take())
}

#[tokio::test]
async fn a_stream_is_turned_on_shown_and_turned_off() -> Result<()> {
    let table = SourceTable::create(None).await?;
    let none = on_table(&["stream", "describe"], &table.name, &[]).await?.must_exit_with(3)?;
    none.must_say(&["source.no_stream", "has no stream", "tailwater stream enable"])?;

    let enabled = result_of(&["stream", "enable"], &table.name).await?;
    let arn = table.stream_arn().await?.context("the stream is on")?;
    ensure!(enabled["changed"] == true && enabled["stream_arn"] == arn.as_str(), "{enabled}");
    ensure!(enabled["view_type"] == "NEW_AND_OLD_IMAGES", "{enabled}");
    let again = result_of(&["stream", "enable"], &table.name).await?;
    ensure!(again["changed"] == false && again["stream_arn"] == arn.as_str(), "{again}");
    let other = on_table(&["stream", "enable"], &table.name, &["--view", "KEYS_ONLY"]).await?;
    other.must_exit_with(2)?.must_say(&["aws.stream_view_type", "disable the stream"])?;

    let tree = on_table(&["stream", "describe"], &table.name, &[]).await?.must_exit_with(0)?;
    for text in [arn.as_str(), "NEW_AND_OLD_IMAGES", "ENABLED", "shardId-", "open"] {
        ensure!(tree.stdout.contains(text), "{text}: {}", tree.said());
    }
    let described = result_of(&["stream", "describe"], &table.name).await?;
    ensure!(described["stream"]["shards"][0]["state"] == "open", "{described}");

    let unasked = on_table(&["stream", "disable"], &table.name, &[]).await?;
    unasked.must_exit_with(2)?.must_say(&["stream.not_confirmed", "--yes"])?;
    let disabled = result_of(&["stream", "disable", "--yes"], &table.name).await?;
    ensure!(disabled["changed"] == true && disabled["stream_arn"] == arn.as_str(), "{disabled}");
    ensure!(result_of(&["stream", "disable"], &table.name).await?["changed"] == false);
    let closed = result_of(&["stream", "describe"], &table.name).await?;
    ensure!(closed["stream"]["status"] == "DISABLED", "{closed}");
    ensure!(closed["stream"]["shards"][0]["state"] == "closed", "{closed}");

    let replaced = result_of(&["stream", "enable"], &table.name).await?;
    ensure!(replaced["stream_arn"] != arn.as_str(), "{replaced}");
    let newest = result_of(&["stream", "describe"], &table.name).await?;
    ensure!(newest["older_streams"].is_null(), "{newest}");
    let both = result_of(&["stream", "describe", "--older"], &table.name).await?;
    ensure!(both["stream"]["arn"] == replaced["stream_arn"], "{both}");
    ensure!(both["older_streams"][0]["arn"] == arn.as_str(), "{both}");
    Ok(())
}

/// A table whose stream holds an insert, a modification and a removal of one item.
async fn three_changes() -> Result<SourceTable> {
    let table = SourceTable::create(Some(StreamViewType::NewAndOldImages)).await?;
    for (status, total) in [("NEW", "12345678901234567890123456789012345678"), ("PAID", "59.5")] {
        let mut item = key("7", "2026-11-23");
        item.insert("status".into(), AttributeValue::S(status.into()));
        item.insert("total".into(), AttributeValue::N(total.into()));
        table.put(item).await?;
    }
    table.delete(key("7", "2026-11-23")).await?;
    Ok(table)
}

#[tokio::test]
async fn tail_shows_what_changed() -> Result<()> {
    let table = three_changes().await?;
    let tail = on_table(&["tail"], &table.name, &["--from", "trim-horizon", "-n", "3"]).await?.must_exit_with(0)?;
    let lines: Vec<&str> = tail.stdout.lines().collect();
    ensure!(lines[0].ends_with(r#"insert  "7" / 2026-11-23"#), "{}", tail.said());
    for text in ["modify  ", "status  NEW → PAID", "total   12345678901234567890123456789012345678 → 59.5", "remove  "]
    {
        ensure!(tail.stdout.contains(text), "{text}: {}", tail.said());
    }
    Ok(())
}

#[tokio::test]
async fn tail_as_json_is_one_exact_object_per_line() -> Result<()> {
    let table = three_changes().await?;
    let options = ["--from", "trim-horizon", "-n", "2", "--json"];
    let tail = on_table(&["tail"], &table.name, &options).await?.must_exit_with(0)?;
    let lines: Vec<&str> = tail.stdout.lines().collect();
    ensure!(lines.len() == 2, "{}", tail.said());
    ensure!(lines[0].contains("12345678901234567890123456789012345678"), "{}", tail.said());
    let changes = lines.iter().map(|line| serde_json::from_str(line)).collect::<Result<Vec<Value>, _>>()?;
    ensure!(changes[0]["change"] == "insert" && changes[1]["change"] == "modify", "{}", tail.said());
    ensure!(changes[1]["old"]["status"] == "NEW" && changes[1]["new"]["status"] == "PAID", "{}", tail.said());
    Ok(())
}

#[tokio::test]
async fn tail_raw_is_the_record_of_the_service() -> Result<()> {
    let table = three_changes().await?;
    let options = ["--from", "trim-horizon", "-n", "3", "--raw"];
    let tail = on_table(&["tail"], &table.name, &options).await?.must_exit_with(0)?;
    let records = tail.stdout.lines().map(serde_json::from_str).collect::<Result<Vec<Value>, _>>()?;
    let names: Vec<&str> = records.iter().filter_map(|record| record["eventName"].as_str()).collect();
    ensure!(names == ["INSERT", "MODIFY", "REMOVE"], "{}", tail.said());
    for record in &records {
        ensure!(record["eventID"].is_string() && record["awsRegion"].is_string(), "{record}");
        ensure!(record["dynamodb"]["Keys"]["Id"]["S"] == "7", "{record}");
    }
    Ok(())
}

#[tokio::test]
async fn tail_from_now_on_shows_only_what_comes() -> Result<()> {
    let table = three_changes().await?;
    let dir = tempfile::tempdir()?;
    let url = dynamodb_url();
    let arguments = ["tail", &table.name, "--endpoint-url", &url, "--json", "-n", "1"];
    let mut tail = Tailwater::start(dir.path(), &arguments, &environment(dir.path()))?;
    // Nobody tells when it has begun to look: items are written until one is shown.
    let mut written = 0;
    wait_until("tail has seen an item and ended", WITHIN, || {
        let ended = tail.must_be_running().is_err();
        written += 1;
        let put = table.put(key("later", &written.to_string()));
        async move {
            put.await?;
            Ok(Look::when(ended, "still looking"))
        }
    })
    .await?;
    let outcome = tail.ends(WITHIN).await?.must_exit_with(0)?;
    ensure!(outcome.stdout.lines().count() == 1 && outcome.stdout.contains("later"), "{}", outcome.said());
    Ok(())
}

#[tokio::test]
async fn tail_ends_when_the_time_is_over() -> Result<()> {
    let table = SourceTable::create(Some(StreamViewType::KeysOnly)).await?;
    let tail = on_table(&["tail"], &table.name, &["--for", "1500ms"]).await?.must_exit_with(0)?;
    ensure!(tail.stdout.is_empty(), "{}", tail.said());
    Ok(())
}

#[tokio::test]
async fn what_cannot_be_is_told_with_the_next_step() -> Result<()> {
    let table = SourceTable::create(None).await?;
    let no_stream = on_table(&["tail"], &table.name, &[]).await?.must_exit_with(3)?;
    no_stream.must_say(&["source.no_stream", "tailwater stream enable"])?;
    on_table(&["tail"], "no-such-table", &[]).await?.must_exit_with(3)?.must_say(&["aws.table_not_found"])?;
    let unreachable = tailwater(&["stream", "describe", "t", "--endpoint-url", "http://127.0.0.1:9"]).await?;
    unreachable.must_exit_with(3)?.must_say(&["aws.unreachable", "endpoint_url"])?;
    on_table(&["tail"], &table.name, &["--json", "--raw"]).await?.must_exit_with(2)?;
    on_table(&["tail"], &table.name, &["--for", "10"]).await?.must_exit_with(2)?.must_say(&["such as 10s"])?;
    Ok(())
}
