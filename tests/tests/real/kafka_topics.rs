//! Topics that are missing, too small or of another shape: what the pipeline says, and what it keeps.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use aws_sdk_dynamodb::types::AttributeValue;
use serde_json::Value;
use tailwater_tests::counted::{Counted, CountedWriter};
use tailwater_tests::endpoints;
use tailwater_tests::kafka::history::{self, Deletes};
use tailwater_tests::kafka::reader::{self, Message};
use tailwater_tests::kafka::scene::{KafkaScene, ONE_COPY, PARTITIONS};
use tailwater_tests::kafka::{admin, typed};
use tailwater_tests::table::{Item, key};

const DELETES: Deletes = Deletes::EventAndTombstone;
/// What the topic of the dead letter test takes.
const MESSAGE_BYTES_MAX: usize = 20_000;
/// An item that needs several parts.
const LARGE_BYTES: usize = 150_000;
const TOLD_WITHIN: Duration = Duration::from_secs(60);
/// What is refused is borne for two minutes.
const REFUSED_WITHIN: Duration = Duration::from_secs(240);
const WRITE_PAUSE: Duration = Duration::from_millis(10);

#[tokio::test]
async fn a_missing_topic_is_told_and_not_made() -> Result<()> {
    let scene = KafkaScene::without_topics(&endpoints::kafka_bootstrap()).await?;
    scene.table.put(key("a", "b")).await?;
    let words = [scene.topic.as_str(), "create_topics", "[FAIL]", "→"];
    scene.try_to_tip().await?.must_exit_with(3)?.must_say(&words)?;
    ensure!(!reader::topic_exists(&scene.brokers, &scene.topic).await?, "the topic was made all the same");
    // Made by hand, both, it is used as it is.
    admin::create_topic(&scene.brokers, &scene.topic, 2, &[])?;
    admin::create_topic(&scene.brokers, &scene.dead_letter_topic(), 1, &[("retention.ms", "-1")])?;
    scene.run_to_tip().await?.must_say(&[ONE_COPY, &scene.progress_topic()])?;
    history::exactly_once(&scene.committed().await?, &scene.stream().await?, DELETES)?;
    ensure!(reader::partitions(&scene.brokers, &scene.topic).await? == 2);
    Ok(())
}

#[tokio::test]
async fn a_kafka_that_nobody_can_reach() -> Result<()> {
    let mut scene = KafkaScene::on("127.0.0.1:1").await?;
    scene.add("request_timeout = \"3s\"");
    scene.try_to_tip().await?.must_exit_with(3)?.must_say(&["127.0.0.1:1", "[FAIL]", "→"])?;
    Ok(())
}

fn large(count: u32) -> Item {
    let mut item = key("large", "x");
    // Characters of several bytes: no part may end inside of one.
    item.insert("text".to_owned(), AttributeValue::S("aé東😀".repeat(LARGE_BYTES / 10)));
    item.insert("count".to_owned(), AttributeValue::N(count.to_string()));
    item
}

/// The record that the parts of one dead letter join to, which must be all there and in order.
fn joined(parts: &[&Message]) -> Result<Value> {
    for (place, part) in parts.iter().enumerate() {
        ensure!(part.header("__cdc.part")? == (place + 1).to_string(), "{place}: {:?}", part.headers);
        ensure!(part.header("__cdc.parts")? == parts.len().to_string(), "{place}: {:?}", part.headers);
        ensure!(part.key == parts[0].key && part.partition == parts[0].partition, "{:?}", part.headers);
        ensure!(part.value.as_ref().is_some_and(|text| text.len() < MESSAGE_BYTES_MAX), "part {place} is too large");
        for (name, value) in
            [("__cdc.error.code", "sink.kafka.too_large"), ("__event_id", parts[0].header("__event_id")?)]
        {
            ensure!(part.header(name)? == value, "{:?}", part.headers);
        }
    }
    let whole: String = parts.iter().filter_map(|part| part.value.as_deref()).collect();
    serde_json::from_str(&whole).context("the parts do not join to JSON")
}

#[tokio::test]
async fn what_is_too_large_is_kept_whole_and_blocks_nothing() -> Result<()> {
    let mut scene = KafkaScene::without_topics(&endpoints::kafka_bootstrap()).await?;
    let config = format!("{{ \"max.message.bytes\" = \"{MESSAGE_BYTES_MAX}\" }}");
    scene.add(&format!("create_topics = {{ partitions = {PARTITIONS}, replication = 1, config = {config} }}"));
    let mut counted = Counted::new(7);
    for count in 1..=2 {
        for _ in 0..20 {
            counted.step(&scene.table).await?;
        }
        scene.table.put(large(count)).await?;
    }
    for _ in 0..20 {
        counted.step(&scene.table).await?;
    }
    scene.run_to_tip().await?;

    // All but the two is there, in order, exactly once.
    let (stream, messages) = (scene.stream().await?, scene.committed().await?);
    let (large_ones, others): (Vec<_>, Vec<_>) = stream.into_iter().partition(|event| event.key.0 == "large");
    history::exactly_once(&messages, &others, DELETES)?;
    history::check_ledger(&messages, counted.ledger())?;

    // And the two are dead letters that give back the very items.
    let letters = scene.dead_letters().await?;
    ensure!(large_ones.len() == 2);
    let mut parts_seen = 0;
    for (event, count) in large_ones.iter().zip(1..) {
        let of_event = |part: &&Message| part.key.as_ref() == Some(&event.event_id);
        let parts: Vec<_> = letters.iter().filter(of_event).collect();
        ensure!(parts.len() > LARGE_BYTES / MESSAGE_BYTES_MAX, "{} parts", parts.len());
        let record = joined(&parts)?;
        ensure!(record["eventID"] == *event.event_id, "another record: {}", record["eventID"]);
        ensure!(typed::item(&record["NewImage"])? == large(count), "not the item that was written");
        parts_seen += parts.len();
    }
    ensure!(parts_seen == letters.len(), "{parts_seen} parts of {} letters", letters.len());

    let shown = scene.command(&["checkpoints", "show", &scene.file()?, "--json"]).await?.must_exit_with(0)?;
    let answer: Value = serde_json::from_str(&shown.stdout)?;
    ensure!(answer["result"]["dead_letters"] == 2, "{answer}");
    Ok(())
}

/// Under another number of partitions the same key lies elsewhere: the user decides.
#[tokio::test]
async fn more_partitions_while_it_runs_stop_it_until_the_file_says_continue() -> Result<()> {
    let mut scene = KafkaScene::new().await?;
    // By its default, librdkafka looks at the topic again after five minutes.
    scene.add("librdkafka = { \"topic.metadata.refresh.interval.ms\" = 1000 }");
    let writer = CountedWriter::start(&scene.table, Counted::new(8), WRITE_PAUSE);
    let process = scene.start()?;
    scene.carries(50, TOLD_WITHIN).await.with_context(|| process.said())?;
    admin::raise_partitions(&scene.brokers, &scene.topic, 7)?;
    // It notices by itself, writes nothing more, and ends when that has not changed for two minutes.
    let told = [scene.topic.as_str(), "partitions", "on_repartition", "sink.kafka.repartitioned", "→"];
    process.says("sink.kafka.repartitioned", 1, TOLD_WITHIN).await?;
    let counted = writer.stop().await?;
    process.ends(REFUSED_WITHIN).await?.must_exit_with(3)?.must_say(&told)?;
    let before = scene.committed().await?;
    let expected = history::messages_expected(&scene.stream().await?, DELETES);
    ensure!(before.len() < expected, "all {expected} messages were written");
    // A start notices at once.
    scene.try_to_tip().await?.must_exit_with(3)?.must_say(&told)?;
    scene.try_to_tip().await?.must_exit_with(3)?.must_say(&["4", "7"])?;
    ensure!(scene.committed().await? == before, "messages were written although it stopped");
    ensure!(before.iter().all(|message| message.partition < 4), "a message lies in a new partition");

    scene.add("on_repartition = \"continue\"");
    scene.run_to_tip().await?;
    scene.run_to_tip().await?;
    let (messages, stream) = (scene.committed().await?, scene.stream().await?);
    ensure!(messages.iter().any(|message| message.partition >= 4), "no message lies in a new partition");
    // Keys have moved, so order holds within the old and within the new partitions; nothing is missing or doubled.
    ensure!(messages.len() == history::messages_expected(&stream, DELETES), "{} messages", messages.len());
    let mut seen = std::collections::BTreeSet::new();
    for message in &messages {
        ensure!(seen.insert((message.header("__event_id")?, message.value.is_none())), "twice: {message:?}");
    }
    ensure!(stream.iter().all(|event| seen.contains(&(event.event_id.as_str(), false))), "an event is missing");
    ensure!(stream.len() == tailwater_tests::counted::writes(counted.ledger()));
    Ok(())
}
