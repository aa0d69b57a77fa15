//! What judges the Kafka sink is right itself: kcat, Kafka's own tools, the requests by hand, and a broker that is killed.

use std::time::Duration;

use anyhow::{Result, ensure};
use tailwater_tests::endpoints;
use tailwater_tests::kafka::cluster::OwnCluster;
use tailwater_tests::kafka::reader::{self, Isolation};
use tailwater_tests::kafka::{admin, java};
use tailwater_tests::patience::{Look, wait_until};
use tailwater_tests::table::unique_name;

/// A topic that was made is shown at once, on a busy machine.
const SHOWN_WITHIN: Duration = Duration::from_secs(20);

#[tokio::test]
async fn two_consumers_that_are_not_ours_see_the_same() -> Result<()> {
    let (brokers, topic) = (endpoints::kafka_bootstrap(), unique_name("harness"));
    admin::create_topic(&brokers, &topic, 3, &[("max.message.bytes", "2000")])?;
    // A broker may show a new topic a moment after it was made.
    wait_until("the topic is there", SHOWN_WITHIN, || async {
        Ok(Look::when(reader::topic_exists(&brokers, &topic).await?, "not shown"))
    })
    .await?;
    let keys: Vec<_> = (0..50).map(|number| format!("{{\"Id\":\"ключ {number}\"}}")).collect();
    java::produce_keys(&brokers, &topic, &keys.iter().map(String::as_str).collect::<Vec<_>>()).await?;
    let by_kcat = reader::read(&brokers, &topic, Isolation::ReadCommitted).await?;
    ensure!(by_kcat.len() == keys.len(), "{} messages", by_kcat.len());
    ensure!((0..3).all(|partition| by_kcat.iter().any(|message| message.partition == partition)));
    let by_java = java::consume(&brokers, &topic).await?;
    for (kcat, java) in by_kcat.iter().zip(&by_java) {
        let same =
            (kcat.partition, kcat.offset, kcat.key.as_deref()) == (java.partition, java.offset, Some(&*java.key));
        ensure!(same && kcat.value.as_ref() == Some(&java.value), "{kcat:?} and {java:?}");
    }
    admin::raise_partitions(&brokers, &topic, 5)?;
    wait_until("the topic has five partitions", SHOWN_WITHIN, || async {
        let shown = reader::partitions(&brokers, &topic).await?;
        Ok(Look::when(shown == 5, shown))
    })
    .await?;
    let described = java::describe(&brokers, &topic).await?;
    ensure!(described.contains("PartitionCount: 5") && described.contains("max.message.bytes=2000"), "{described}");
    ensure!(admin::raise_partitions(&brokers, &topic, 4).is_err(), "a topic shrank");
    admin::delete_topics(&brokers, std::slice::from_ref(&topic))?;
    ensure!(admin::delete_topics(&brokers, &[topic]).is_err(), "a topic was deleted twice");
    Ok(())
}

#[tokio::test]
async fn a_killed_broker_comes_back_with_what_it_acknowledged() -> Result<()> {
    let mut broker = OwnCluster::start(1).await?;
    let topic = unique_name("harness");
    ensure!(reader::read(&broker.bootstrap, &topic, Isolation::ReadCommitted).await.is_err(), "no such topic");
    admin::create_topic(&broker.bootstrap, &topic, 1, &[])?;
    java::produce_keys(&broker.bootstrap, &topic, &["a", "b"]).await?;
    ensure!(broker.leader_of(&topic, 0)? == 1, "not led by the only broker");
    // Whoever asks first makes the broker create the topic of its transactions.
    wait_until("transactions have a coordinator", SHOWN_WITHIN, || async {
        Ok(match broker.coordinator_of("nobody") {
            Ok(node) => Look::when(node == 1, node),
            Err(error) => Look::NotYet(format!("{error:#}")),
        })
    })
    .await?;
    broker.kill(1).await?;
    ensure!(admin::must_be_ready(&broker.bootstrap).is_err(), "it answers although it was killed");
    broker.restart(1).await?;
    let messages = reader::read(&broker.bootstrap, &topic, Isolation::ReadCommitted).await?;
    let keys: Vec<_> = messages.iter().filter_map(|message| message.key.as_deref()).collect();
    ensure!(keys == ["a", "b"], "{keys:?}");
    Ok(())
}
