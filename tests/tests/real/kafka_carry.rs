//! What arrives in Kafka: every value, both formats, deletes, headers, places; and what a restart finds.

use anyhow::{Context, Result, ensure};
use aws_sdk_dynamodb::types::AttributeValue;
use serde_json::Value;
use tailwater_tests::counted::Counted;
use tailwater_tests::kafka::history::{self, Deletes};
use tailwater_tests::kafka::reader::Message;
use tailwater_tests::kafka::scene::{KafkaScene, PARTITIONS};
use tailwater_tests::kafka::{admin, java, typed};
use tailwater_tests::plain::Plain;
use tailwater_tests::stream::StreamEvent;
use tailwater_tests::table::{key, unique_name};
use tailwater_tests::workload::{Workload, nasty_item};

const DELETES: Deletes = Deletes::EventAndTombstone;
/// The headers of conventions that every message of a change event has, in this order.
const HEADERS: [&str; 7] = ["__op", "__table", "__event_id", "__seq", "__snapshot", "__source_ts_ms", "content-type"];

/// An item with everything in it, written, changed, deleted and written again, among many others.
async fn write_everything(scene: &KafkaScene, seed: u64) -> Result<()> {
    let mut workload = Workload::new(seed, "");
    scene.table.put(nasty_item("stays")).await?;
    for round in 0..2 {
        let mut item = nasty_item("goes");
        item.insert("round".to_owned(), AttributeValue::N(round.to_string()));
        scene.table.put(item).await?;
        scene.table.delete(key("goes", "nasty")).await?;
    }
    for _ in 0..60 {
        workload.step(&scene.table).await?;
    }
    Ok(())
}

/// Holds the headers of each message against the stream's event.
fn check_headers(scene: &KafkaScene, messages: &[Message], stream: &[StreamEvent]) -> Result<()> {
    for message in messages {
        let names: Vec<_> = message.headers.iter().map(|(name, _)| name.as_str()).collect();
        ensure!(names == HEADERS, "{message:?}");
        let id = message.header("__event_id")?;
        let event = stream.iter().find(|event| event.event_id == id).context("no such event")?;
        let op = match event.name.as_str() {
            "INSERT" => "c",
            "MODIFY" => "u",
            _ => "d",
        };
        ensure!(message.header("__op")? == op && message.header("__table")? == scene.table.name, "{message:?}");
        ensure!(message.header("__seq")?.bytes().all(|byte| byte.is_ascii_digit()), "{message:?}");
        message.header("__source_ts_ms")?.parse::<u64>().with_context(|| format!("{message:?}"))?;
        ensure!(message.header("content-type")? == "application/json", "{message:?}");
        // Canonical, in the order of the key schema, without a space.
        let [id, fecha] = [&event.key.0, &event.key.1].map(|text| Value::from(text.as_str()).to_string());
        let key = format!(r#"{{"Id":{id},"Fecha":{fecha}}}"#);
        ensure!(message.key.as_deref() == Some(&*key), "{key} and {message:?}");
    }
    Ok(())
}

#[tokio::test]
async fn plain_json_holds_every_value_and_lies_where_java_would_put_it() -> Result<()> {
    let scene = KafkaScene::new().await?;
    write_everything(&scene, 1).await?;
    scene.run_to_tip().await?;
    let (messages, stream) = (scene.committed().await?, scene.stream().await?);
    history::exactly_once(&messages, &stream, DELETES)?;
    history::check_final(&messages, &scene.table.scan().await?)?;
    check_headers(&scene, &messages, &stream)?;
    for message in messages.iter().filter(|message| message.value.is_some()) {
        let value = message.json()?;
        let text = |name: &str| value.get(name).and_then(Plain::text);
        ensure!(text("event_id") == Some(message.header("__event_id")?), "{message:?}");
        ensure!(
            text("table") == Some(&*scene.table.name) && value.get("key") == Some(&message.key_json()?),
            "{message:?}"
        );
        ensure!(text("sequence_number") == Some(message.header("__seq")?), "{message:?}");
        let images = (value.get("new").is_some(), value.get("old").is_some());
        let expected = match message.header("__op")? {
            "c" => ("insert", (true, false)),
            "u" => ("modify", (true, true)),
            _ => ("remove", (false, true)),
        };
        ensure!((text("change"), images) == (Some(expected.0), expected.1), "{message:?}");
    }

    // Kafka's own consumer sees the same messages in the same places.
    let by_java = java::consume(&scene.brokers, &scene.topic).await?;
    ensure!(by_java.len() == messages.len(), "{} messages, Java sees {}", messages.len(), by_java.len());
    for (message, java) in messages.iter().zip(&by_java) {
        let places = (message.partition, message.offset) == (java.partition, java.offset);
        let value = message.value.as_deref().unwrap_or("null");
        ensure!(places && message.key.as_ref() == Some(&java.key) && value == java.value, "{message:?} and {java:?}");
    }

    // And Kafka's own producer puts the same keys into the same partitions.
    let reference = unique_name("reference");
    admin::create_topic(&scene.brokers, &reference, i32::try_from(PARTITIONS)?, &[])?;
    let keys: Vec<_> = messages.iter().filter_map(|message| message.key.as_deref()).collect();
    java::produce_keys(&scene.brokers, &reference, &keys).await?;
    let placed = java::consume(&scene.brokers, &reference).await?;
    let used: std::collections::BTreeSet<_> = messages.iter().map(|message| message.partition).collect();
    ensure!(used.len() == PARTITIONS as usize, "only partitions {used:?} are used");
    for message in &messages {
        let java = placed.iter().find(|java| message.key.as_ref() == Some(&java.key)).context("Java's message")?;
        ensure!(java.partition == message.partition, "Java puts {java:?} elsewhere than {message:?}");
    }
    admin::delete_topics(&scene.brokers, &[reference])
}

#[tokio::test]
async fn dynamodb_json_gives_back_the_very_items() -> Result<()> {
    let mut scene = KafkaScene::new().await?;
    scene.add("format = \"dynamodb\"");
    write_everything(&scene, 2).await?;
    scene.run_to_tip().await?;
    let (messages, stream) = (scene.committed().await?, scene.stream().await?);
    history::exactly_once(&messages, &stream, DELETES)?;
    check_headers(&scene, &messages, &stream)?;
    let arn = scene.table.stream_arn().await?.context("an ARN")?;
    let mut items = scene.table.scan().await?;
    for (key, messages) in history::by_key(&messages)? {
        let mut before = None;
        for message in messages {
            let Some(text) = &message.value else { continue };
            let record: Value = serde_json::from_str(text)?;
            let event = stream.iter().find(|event| record["eventID"] == *event.event_id).context("no such event")?;
            let inner = &record["dynamodb"];
            let says = |name: &str, expected: &str| {
                let value = if record[name].is_null() { &inner[name] } else { &record[name] };
                ensure!(value == expected, "{name} is {value}, should be {expected}: {record}");
                Ok(())
            };
            says("eventName", &event.name)?;
            says("eventSource", "aws:dynamodb")?;
            says("StreamViewType", "NEW_AND_OLD_IMAGES")?;
            says("SequenceNumber", message.header("__seq")?)?;
            says("eventSourceARN", &arn)?;
            let keys = typed::item(&inner["Keys"])?;
            ensure!(keys == tailwater_tests::table::key(&key.0, &key.1), "{record}");
            let image = |name: &str| inner.get(name).map(typed::item).transpose();
            // What the item was is what the event before it left.
            ensure!(image("OldImage")? == before, "the old image is not {before:?}: {record}");
            before = image("NewImage")?;
        }
        if let Some(last) = before {
            let place = items.iter().position(|item| *item == last);
            items.swap_remove(place.with_context(|| format!("the table has no such item: {last:?}"))?);
        }
    }
    ensure!(items.is_empty(), "not told: {items:?}");
    Ok(())
}

#[tokio::test]
async fn deletes_are_events_tombstones_or_both() -> Result<()> {
    for deletes in Deletes::ALL {
        let mut scene = KafkaScene::new().await?;
        scene.add(&format!("delete = \"{}\"", deletes.word()));
        for id in ["stays", "goes"] {
            scene.table.put(nasty_item(id)).await?;
        }
        scene.table.delete(key("goes", "nasty")).await?;
        scene.run_to_tip().await?;
        let (messages, stream) = (scene.committed().await?, scene.stream().await?);
        history::exactly_once(&messages, &stream, deletes).with_context(|| deletes.word())?;
        check_headers(&scene, &messages, &stream)?;
        history::check_final(&messages, &scene.table.scan().await?)?;
    }
    Ok(())
}

#[tokio::test]
async fn the_file_says_which_headers_are_sent() -> Result<()> {
    for (headers, expected) in [("[]", &[][..]), ("[\"__seq\", \"__op\"]", &["__seq", "__op"][..])] {
        let mut scene = KafkaScene::new().await?;
        scene.add(&format!("headers = {headers}"));
        scene.table.put(nasty_item("goes")).await?;
        scene.table.delete(key("goes", "nasty")).await?;
        scene.run_to_tip().await?;
        let messages = scene.committed().await?;
        // An insert, a removal and its tombstone.
        ensure!(messages.len() == 3, "{messages:?}");
        for message in messages {
            let names: Vec<_> = message.headers.iter().map(|(name, _)| name.as_str()).collect();
            ensure!(names == expected, "{message:?}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn at_least_once_carries_everything_and_repeats_nothing_in_quiet() -> Result<()> {
    let mut scene = KafkaScene::new().await?;
    scene.add("delivery = \"at-least-once\"");
    let mut counted = Counted::new(4);
    for _ in 0..2 {
        for _ in 0..40 {
            counted.step(&scene.table).await?;
        }
        scene.run_to_tip().await?;
        scene.check_exactly_once(DELETES, counted.ledger()).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_restart_carries_on_and_checkpoints_tell_where() -> Result<()> {
    let scene = KafkaScene::new().await?;
    let file = scene.file()?;
    scene.command(&["checkpoints", "show", &file]).await?.must_exit_with(3)?.must_say(&["no progress", "→"])?;
    let mut counted = Counted::new(5);
    for _ in 0..3 {
        for _ in 0..30 {
            counted.step(&scene.table).await?;
        }
        scene.run_to_tip().await?;
        let found = scene.check_exactly_once(DELETES, counted.ledger()).await?;

        let shown = scene.command(&["checkpoints", "show", &file, "--json"]).await?.must_exit_with(0)?;
        let answer: Value = serde_json::from_str(&shown.stdout)?;
        let shards = answer["result"]["shards"].as_array().context("no shards")?;
        let sum = |name: &str| shards.iter().filter_map(|shard| shard[name].as_u64()).sum::<u64>();
        ensure!(sum("read") == found.events as u64 && sum("written") == sum("read"), "{answer}");
        ensure!(sum("filtered") + sum("dead_lettered") + sum("suppressed") == 0, "{answer}");
    }
    let before = scene.committed().await?;
    scene.run_to_tip().await?;
    ensure!(scene.committed().await? == before, "a run without work wrote messages");
    let described = java::describe(&scene.brokers, &scene.progress_topic()).await?;
    for text in ["cleanup.policy=compact", &format!("PartitionCount: {}", scene.pipeline.lanes)] {
        ensure!(described.contains(text), "{text}: {described}");
    }
    Ok(())
}
