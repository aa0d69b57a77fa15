//! Messages on their way: delivered once, perhaps written, refused, strayed; topics that are not known.

use std::time::Duration;

use rdkafka::error::RDKafkaErrorCode as Code;
use tailwater_sink_kafka::{
    Batches, Cluster, Isolation, MayMake, MessageLimits, Outgoing, Producer, ProducerRole, Reader, SendFault,
    partition_of,
};
use tokio::time::{Instant, sleep};

use super::{
    PROGRESS, REQUEST_TIMEOUT, TOPIC, TRANSACTION_TIMEOUT, begin, cluster, code, committed, deadline, delivery_code,
    newest, producer, producer_with, read_to_end, send, uncommitted,
};
use crate::kafka::Faults;

/// Retries of an idempotent producer carry the numbers of their messages: what was written already is not written again
/// (KIP-98, "Idempotent Producer Guarantees").
#[tokio::test(start_paused = true)]
async fn a_message_whose_answer_was_lost_is_written_once() {
    let cluster = cluster().await;
    let producer = newest(&cluster).await;
    producer.begin().await.expect("begins");
    send(&producer, TOPIC, 1, "a").await.expect("delivered");
    cluster.set_faults(Faults { answer_lost: 1.0, ..Faults::default() });
    let healing = async {
        sleep(REQUEST_TIMEOUT + Duration::from_secs(1)).await;
        cluster.heal();
    };
    let (sent, ()) = tokio::join!(send(&producer, TOPIC, 1, "b"), healing);
    sent.expect("delivered in the end");
    producer.commit(deadline()).await.expect("commits");
    assert_eq!(committed(&cluster, TOPIC), ["a", "b"]);
    assert!(cluster.hits()["duplicate_dropped"] >= 1, "{:?}", cluster.hits());
}

/// A message that was given up for its age may be written all the same (librdkafka, `RD_KAFKA_MSG_STATUS_POSSIBLY_PERSISTED`),
/// and the transaction it is in can only be given up.
#[tokio::test(start_paused = true)]
async fn a_message_that_timed_out_may_have_been_written() {
    let cluster = cluster().await;
    let producer = newest(&cluster).await;
    producer.begin().await.expect("begins");
    send(&producer, TOPIC, 1, "a").await.expect("delivered");
    cluster.set_faults(Faults { answer_lost: 1.0, ..Faults::default() });
    let began = Instant::now();
    assert_eq!(delivery_code(send(&producer, TOPIC, 1, "b").await), Code::MessageTimedOut);
    assert!(began.elapsed() >= TRANSACTION_TIMEOUT / 10 * 9 && began.elapsed() < TRANSACTION_TIMEOUT);
    assert_eq!(uncommitted(&cluster, TOPIC), ["a", "b"], "possibly persisted");
    cluster.heal();
    assert_eq!(code(&producer.commit(deadline()).await.expect_err("no")), Code::MessageTimedOut);
    let message = Outgoing { topic: TOPIC, partition: 1, by_hand: true, key: b"k", value: None, headers: &[] };
    assert_eq!(delivery_code(producer.send(message, deadline()).await), Code::MessageTimedOut);
    producer.abort().await;
    assert_eq!(committed(&cluster, TOPIC), Vec::<String>::new());
    begin(&producer, "c").await;
    producer.commit(deadline()).await.expect("goes on with a new epoch");
    assert_eq!(committed(&cluster, TOPIC), ["c"]);
}

/// What is larger than the topic takes is refused by the broker, MESSAGE_TOO_LARGE; what is larger than the client was
/// told, by the client.
#[tokio::test(start_paused = true)]
async fn what_is_too_large_is_refused() {
    let cluster = cluster().await;
    let producer = newest(&cluster).await;
    producer.begin().await.expect("begins");
    cluster.set_message_bytes_max(TOPIC, 300);
    let refused = send(&producer, TOPIC, 0, &"x".repeat(300)).await;
    assert_eq!(delivery_code(refused), Code::MessageSizeTooLarge);
    assert_eq!(code(&producer.commit(deadline()).await.expect_err("no")), Code::MessageSizeTooLarge);
    producer.abort().await;
    producer.begin().await.expect("begins anew");
    let spoiled = send(&producer, TOPIC, 0, "small").await;
    assert_eq!(delivery_code(spoiled), Code::OutOfOrderSequenceNumber, "the refused one had a number");
    producer.abort().await;
    producer.begin().await.expect("begins with a new epoch");
    let not_taken = send(&producer, TOPIC, 0, &"x".repeat(1_000_000)).await;
    assert_eq!(delivery_code(not_taken), Code::MessageSizeTooLarge);
    send(&producer, TOPIC, 0, "small").await.expect("the one that was not taken had none");
    producer.commit(deadline()).await.expect("commits");
}

/// A partition that the topic does not have is known to the client; a topic that is not there is asked for, and its
/// messages are given up after a while (librdkafka, `topic.metadata.propagation.max.ms`).
#[tokio::test(start_paused = true)]
async fn unknown_places_take_nothing() {
    let cluster = cluster().await;
    let producer = newest(&cluster).await;
    producer.begin().await.expect("begins");
    assert_eq!(delivery_code(send(&producer, TOPIC, 2, "a").await), Code::UnknownPartition);
    let began = Instant::now();
    assert_eq!(delivery_code(send(&producer, "nowhere", 0, "a").await), Code::UnknownTopic);
    assert!(began.elapsed() >= Duration::from_secs(30));
}

/// While the cluster forgets its topics nothing is lost and nothing moves: messages wait, with their numbers (I-53:
/// librdkafka before 1.9 began its numbers anew then, and the broker dropped what it took for repetitions).
#[tokio::test(start_paused = true)]
async fn topics_that_are_forgotten_for_a_while_lose_nothing() {
    let cluster = cluster().await;
    let producer = newest(&cluster).await;
    begin(&producer, "a").await;
    let lost_by = Duration::from_secs(10);
    cluster.set_faults(Faults { metadata_lost: 1.0, metadata_lost_by: lost_by..lost_by, ..Faults::default() });
    cluster.check_topics(1, MayMake::All).await.expect_err("not known");
    cluster.change_faults(|faults| faults.metadata_lost = 0.0);
    let began = Instant::now();
    send(&producer, TOPIC, 1, "b").await.expect("delivered in the end");
    assert!(began.elapsed() >= lost_by - REQUEST_TIMEOUT);
    producer.commit(deadline()).await.expect("commits");
    assert_eq!(committed(&cluster, TOPIC), ["a", "b"]);
}

/// A topic that grew: the client's partitioner sends the key elsewhere than the caller meant.
#[tokio::test(start_paused = true)]
async fn a_message_strays_when_the_topic_grew() {
    let cluster = cluster().await;
    let producer = newest(&cluster).await;
    let key = (0..100_u8).map(|number| [number]).find(|key| partition_of(key, 2) != partition_of(key, 3));
    let key = key.expect("a key that moves");
    let message =
        |partition| Outgoing { topic: TOPIC, partition, by_hand: false, key: &key, value: None, headers: &[] };
    producer.begin().await.expect("begins");
    producer.send(message(partition_of(&key, 2)), deadline()).await.expect("taken");
    producer.wait_delivered(deadline()).await.expect("where it belongs");
    cluster.add_partitions(TOPIC, 1);
    producer.send(message(partition_of(&key, 2)), deadline()).await.expect("taken");
    assert_eq!(producer.wait_delivered(deadline()).await, Err(SendFault::Repartitioned));
}

/// After a fatal error a client answers nothing else (librdkafka, "Fatal errors").
#[tokio::test(start_paused = true)]
async fn a_broken_client_stays_broken() {
    let cluster = cluster().await;
    let broken = newest(&cluster).await;
    broken.begin().await.expect("begins");
    cluster.set_faults(Faults { fatal: 1.0, ..Faults::default() });
    assert_eq!(delivery_code(send(&broken, TOPIC, 0, "a").await), Code::Fatal);
    cluster.heal();
    broken.abort().await;
    assert_eq!(code(&broken.begin().await.expect_err("for good")), Code::Fatal);
    assert_eq!(code(&broken.commit(deadline()).await.expect_err("for good")), Code::Fatal);
    begin(&newest(&cluster).await, "b").await;
}

/// Every code by which a broker refuses a message for good makes the transaction one that can only be given up.
#[tokio::test(start_paused = true)]
async fn a_refused_delivery_spoils_its_transaction() {
    let cluster = cluster().await;
    for _ in 0..20 {
        let producer = newest(&cluster).await;
        producer.begin().await.expect("begins");
        cluster.set_faults(Faults { delivery_refused: 1.0, ..Faults::default() });
        let refused = delivery_code(send(&producer, TOPIC, 0, "a").await);
        cluster.heal();
        assert_eq!(code(&producer.commit(deadline()).await.expect_err("no")), refused);
    }
    assert_eq!(uncommitted(&cluster, TOPIC), Vec::<String>::new());
}

/// Without a transaction a message is there at once, and a producer that cannot deliver one is broken: the next one would
/// leave a hole.
#[tokio::test(start_paused = true)]
async fn messages_outside_of_transactions_are_there_at_once() {
    let cluster = cluster().await;
    let plain = cluster.producer(&ProducerRole::Idempotent { limits: MessageLimits::same(1_000) }).expect("a producer");
    send(&plain, TOPIC, 0, "a").await.expect("delivered");
    assert_eq!(committed(&cluster, TOPIC), ["a"]);
    cluster.set_faults(Faults { delivery_refused: 1.0, ..Faults::default() });
    let refused = delivery_code(send(&plain, TOPIC, 0, "b").await);
    cluster.heal();
    assert_eq!(delivery_code(send(&plain, TOPIC, 0, "c").await), Code::Fatal);
    assert_ne!(refused, Code::Fatal);
}

/// Compaction leaves the newest record of each key, drops what was given up, and leaves offsets as they are.
#[tokio::test(start_paused = true)]
async fn compaction_leaves_holes() {
    let cluster = cluster().await;
    let producer = newest(&cluster).await;
    for value in ["a", "given up", "b"] {
        begin(&producer, value).await;
        match value {
            "given up" => producer.abort().await,
            _ => producer.commit(deadline()).await.expect("commits"),
        }
    }
    begin(&producer, "open").await;
    cluster.compact();
    let mut reader = cluster.reader(0..1, Isolation::Committed).expect("a reader");
    assert_eq!(read_to_end(&mut reader).await, [(4, "b".to_owned())]);
    assert_eq!(uncommitted(&cluster, PROGRESS), ["b", "open"], "what is not stable stays");
    assert_eq!(uncommitted(&cluster, TOPIC).len(), 4, "the other topic is not compacted");
}

/// A cluster out of reach: calls wait for it, as long as they may.
#[tokio::test(start_paused = true)]
async fn nobody_answers_while_the_cluster_is_out_of_reach() {
    let cluster = cluster().await;
    cluster.cut_off_for(Duration::from_secs(20));
    cluster.check_topics(1, MayMake::All).await.expect_err("not within the time for a request");
    let new = producer(&cluster);
    let timed_out = new.fence_others("lane 0", Duration::from_secs(5)).await.expect_err("not in time");
    assert_eq!(code(&timed_out), Code::OperationTimedOut);
    new.fence_others("lane 0", Duration::from_secs(60)).await.expect("when it is back");
}

/// Of a batch that is refused every message fails, and the client tells it of the first; alone, each is told of by itself.
#[tokio::test(start_paused = true)]
async fn a_refused_message_is_only_known_alone() {
    let cluster = cluster().await;
    cluster.refuse_messages(TOPIC, Some(("bad", Code::InvalidRecord)));
    let mut told = Vec::new();
    for batches in [Batches::Full, Batches::OfOne] {
        for _ in 0..20 {
            let producer = producer_with(&cluster, batches);
            producer.fence_others("lane 0", deadline() - Instant::now()).await.expect("fences");
            producer.begin().await.expect("begins");
            for value in ["good", "good", "bad", "good"] {
                let value = Some(value.as_bytes());
                let message = Outgoing { topic: TOPIC, partition: 0, by_hand: true, key: b"k", value, headers: &[] };
                producer.send(message, deadline()).await.expect("taken");
            }
            let Err(SendFault::Undelivered { code, message }) = producer.wait_delivered(deadline()).await else {
                panic!("it is refused");
            };
            assert_eq!(code, Code::InvalidRecord);
            told.push((batches, message));
        }
    }
    assert!(told.contains(&(Batches::Full, 0)), "{told:?}");
    assert!(told.iter().all(|(batches, message)| *batches == Batches::Full || *message == 2), "{told:?}");
}

/// After an election a leader shows less than what is committed for a moment, and does not answer where the partition ends
/// (KIP-207).
#[tokio::test(start_paused = true)]
async fn a_new_leader_shows_less_and_knows_it() {
    let cluster = cluster().await;
    let producer = newest(&cluster).await;
    for value in ["a", "b", "c"] {
        begin(&producer, value).await;
        producer.commit(deadline()).await.expect("commits");
    }
    let (stale_by, mut least_shown) = (Duration::from_secs(3), usize::MAX);
    for _ in 0..20 {
        cluster.set_faults(Faults { stale_end: 1.0, stale_by: stale_by..stale_by, ..Faults::default() });
        let mut reader = cluster.reader(0..1, Isolation::Committed).expect("a reader");
        let shown = read_to_end(&mut reader).await;
        least_shown = least_shown.min(shown.len());
        let refused = reader.end(0, deadline()).await.map_err(|error| code(&error));
        assert_eq!(refused, Err(Code::OffsetNotAvailable));
        cluster.change_faults(|faults| faults.stale_end = 0.0);
        sleep(stale_by).await;
        assert_eq!(reader.end(0, deadline()).await, Ok(6));
        assert_eq!(shown.len() + read_to_end(&mut reader).await.len(), 3, "the rest is shown then");
    }
    assert!(least_shown < 3, "only the marker of the last one was missing each time");
}
