//! Whoever reads progress comes to its end, whatever lies there, and soon.

use std::time::Duration;

use tailwater_sink_kafka::{Cluster, MessageLimits, Outgoing, Producer, ProducerRole, checkpoints_on};
use tokio::time::Instant;

use super::{PROGRESS, REQUEST_TIMEOUT, cluster, deadline, newest, settings};
use crate::kafka::{Faults, ModelCluster, ModelProducer};

/// More than a few fetches of so many records as come one by one.
const SIGNS: usize = 10_000;

/// A producer outside of transactions.
fn signs(cluster: &ModelCluster) -> ModelProducer {
    cluster.producer(&ProducerRole::Signs { limits: MessageLimits::same(1_000) }).expect("a producer")
}

async fn send_sign(producer: &ModelProducer, claim: usize) {
    let key = format!(r#"["life","{claim}","a"]"#);
    let (topic, key) = (PROGRESS, key.as_bytes());
    let message = Outgoing { topic, partition: 0, by_hand: true, key, value: None, headers: &[] };
    producer.send(message, deadline()).await.expect("taken");
}

/// Reads all progress, of which there is none. Gives how long that took.
async fn read_all(cluster: &ModelCluster) -> Duration {
    let began = Instant::now();
    let stored = checkpoints_on(cluster, &settings(), "orders", 1).await.expect("it comes to the end");
    assert!(stored.is_none(), "signs say nothing of progress: {stored:?}");
    began.elapsed()
}

/// Signs without a value, a transaction that was given up, one that is open, signs behind it, and what compaction has left.
#[tokio::test(start_paused = true)]
async fn progress_is_read_to_its_end_whatever_lies_there() {
    let cluster = cluster().await;
    read_all(&cluster).await;
    let (owner, lane) = (signs(&cluster), newest(&cluster).await);
    for is_open in [false, true] {
        for _ in 0..2 {
            send_sign(&owner, 1).await;
            owner.wait_delivered(deadline()).await.expect("delivered");
            read_all(&cluster).await;
        }
        lane.begin().await.expect("begins");
        send_sign(&lane, 2).await;
        lane.wait_delivered(deadline()).await.expect("delivered");
        read_all(&cluster).await;
        if !is_open {
            lane.abort().await;
            read_all(&cluster).await;
        }
        cluster.compact();
        read_all(&cluster).await;
    }
    send_sign(&owner, 3).await;
    owner.wait_delivered(deadline()).await.expect("delivered");
    assert!(read_all(&cluster).await < REQUEST_TIMEOUT);
}

/// Small records come by the thousand: a reader that is far behind needs few answers.
#[tokio::test(start_paused = true)]
async fn a_long_log_is_read_by_few_fetches() {
    let cluster = cluster().await;
    let owner = signs(&cluster);
    for claim in 0..SIGNS {
        send_sign(&owner, claim).await;
    }
    owner.wait_delivered(deadline()).await.expect("delivered");
    let there = Duration::from_millis(50);
    cluster.set_faults(Faults { latency: there..there, ..Faults::default() });
    assert!(read_all(&cluster).await < REQUEST_TIMEOUT);
}
