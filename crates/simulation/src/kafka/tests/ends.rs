//! Ends of transactions: decided, applied, late, unheard, and those that the coordinator makes itself.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use rdkafka::error::RDKafkaErrorCode as Code;
use tailwater_sink_kafka::{Cluster, Isolation, MessageLimits, Producer, ProducerRole, Reader};
use tokio::time::{Instant, sleep};

use super::{
    PROGRESS, REQUEST_TIMEOUT, TOPIC, TRANSACTION_TIMEOUT, begin, cluster, code, committed, deadline, delivery_code,
    newest, producer, read_to_end, send, uncommitted,
};
use crate::kafka::Faults;

const LATE: Duration = Duration::from_secs(40);

/// The coordinator answers when the end is decided; partitions learn of it by markers afterwards, and until then their
/// last stable offset stays (KIP-98, "EndTxnRequest", "WriteTxnMarkers").
#[tokio::test(start_paused = true)]
async fn a_commit_is_answered_before_it_is_stable() {
    let cluster = cluster().await;
    let takes = Duration::from_secs(2);
    cluster.set_faults(Faults { markers_take: takes..takes, ..Faults::default() });
    let producer = newest(&cluster).await;
    begin(&producer, "a").await;
    producer.commit(deadline()).await.expect("answered");
    assert_eq!(committed(&cluster, TOPIC), Vec::<String>::new());
    assert_eq!(cluster.offsets(PROGRESS), [(0, 1)]);
    let mut reader = cluster.reader(0..1, Isolation::Committed).expect("a reader");
    assert_eq!(read_to_end(&mut reader).await, [], "its end is the last stable offset");
    sleep(takes).await;
    assert_eq!(committed(&cluster, TOPIC), ["a"]);
    assert_eq!(cluster.offsets(PROGRESS), [(2, 2)], "the marker takes an offset");
    assert_eq!(read_to_end(&mut reader).await, [(0, "a".to_owned())]);
}

/// Readers of all records wait for no transaction (KIP-98, "Reading Transactional Messages"), and the partition ends for them
/// behind it (`ListOffsets` with an isolation level).
#[tokio::test(start_paused = true)]
async fn a_reader_of_all_records_waits_for_no_transaction() {
    let cluster = cluster().await;
    let producer = newest(&cluster).await;
    begin(&producer, "open").await;
    let plain = cluster.producer(&ProducerRole::Signs { limits: MessageLimits::same(1_000) }).expect("a producer");
    send(&plain, PROGRESS, 0, "sign").await.expect("delivered");
    let mut of_committed = cluster.reader(0..1, Isolation::Committed).expect("a reader");
    assert_eq!(read_to_end(&mut of_committed).await, []);
    let mut of_all = cluster.reader(0..1, Isolation::Uncommitted).expect("a reader");
    assert_eq!(read_to_end(&mut of_all).await, [(0, "open".to_owned()), (1, "sign".to_owned())]);
    for (reader, end) in [(&mut of_committed, 0), (&mut of_all, 2)] {
        assert_eq!(reader.end(0, deadline()).await, Ok(end));
    }
}

/// While an end is applied the coordinator answers CONCURRENT_TRANSACTIONS, also to a newer producer, which waits for it
/// (KIP-98, "Handling an InitPidRequest").
#[tokio::test(start_paused = true)]
async fn a_newer_producer_waits_for_an_end_that_is_applied() {
    let cluster = cluster().await;
    let takes = Duration::from_secs(7);
    cluster.set_faults(Faults { markers_take: takes..takes, ..Faults::default() });
    let first = newest(&cluster).await;
    begin(&first, "a").await;
    first.commit(deadline()).await.expect("answered");
    let began = Instant::now();
    let second = producer(&cluster);
    let refused = second.fence_others("lane 0", Duration::from_secs(1)).await.expect_err("it is being applied");
    assert_eq!(code(&refused), Code::ConcurrentTransactions);
    second.fence_others("lane 0", takes * 2).await.expect("fences");
    assert!(began.elapsed() >= takes, "{:?}", began.elapsed());
    assert_eq!(committed(&cluster, PROGRESS), ["a"], "what was decided is there when the fence stands");
}

/// The three unknown outcomes of `EndTxn`. One that is late keeps what it stands for hidden, and is applied while a newer
/// session reads already; who fences first ends it (M3 and M4 told of Kafka; I-59).
#[tokio::test(start_paused = true)]
async fn an_end_without_an_answer_has_three_outcomes() {
    for (faults, late) in [
        (Faults { end_answer_lost: 1.0, ..Faults::default() }, "a"),
        (Faults { end_lost: 1.0, ..Faults::default() }, ""),
        (Faults { end_late: 1.0, late_by: LATE..LATE, ..Faults::default() }, "a"),
    ] {
        let cluster = cluster().await;
        let producer = newest(&cluster).await;
        begin(&producer, "a").await;
        let is_late = faults.end_late > 0.0;
        cluster.set_faults(faults);
        let unknown = producer.commit(Instant::now() + REQUEST_TIMEOUT).await.expect_err("not answered");
        assert_eq!(code(&unknown), Code::OperationTimedOut);
        drop(producer);
        cluster.heal();
        if is_late {
            assert_eq!(committed(&cluster, TOPIC), Vec::<String>::new(), "not yet");
        }
        sleep(LATE).await;
        assert_eq!(committed(&cluster, TOPIC).join(""), late);
    }
    let cluster = cluster().await;
    let first = newest(&cluster).await;
    begin(&first, "never").await;
    cluster.set_faults(Faults { end_late: 1.0, late_by: LATE..LATE, ..Faults::default() });
    first.commit(Instant::now() + REQUEST_TIMEOUT).await.expect_err("not answered");
    cluster.heal();
    newest(&cluster).await;
    sleep(LATE).await;
    assert_eq!(committed(&cluster, TOPIC), Vec::<String>::new(), "the fence was first: the late end is refused");
}

/// `EndTxn` does not name its transaction: a late one ends whatever the same producer has open then, half written as it is
/// (KIP-890, "Motivation"; Jepsen's report on Bufstream 0.1.3).
#[tokio::test(start_paused = true)]
async fn a_late_end_tears_the_next_transaction_of_the_same_producer() {
    let cluster = cluster().await;
    let producer = newest(&cluster).await;
    begin(&producer, "a").await;
    cluster.set_faults(Faults { end_late: 1.0, late_by: LATE..LATE, ..Faults::default() });
    let committing = producer.commit(deadline());
    let healing = async {
        sleep(REQUEST_TIMEOUT / 2).await;
        cluster.heal();
    };
    let (answer, ()) = tokio::join!(committing, healing);
    answer.expect("the client asked again by itself");
    producer.begin().await.expect("begins");
    send(&producer, TOPIC, 1, "b").await.expect("delivered");
    sleep(LATE).await;
    assert_eq!(committed(&cluster, TOPIC), ["a", "b"], "committed by the end of the first");
    assert_eq!(committed(&cluster, PROGRESS), ["a"]);
    let refused = delivery_code(send(&producer, TOPIC, 1, "c").await);
    assert_eq!(refused, Code::InvalidTransactionalState, "the broker knows of no open transaction");
}

/// A transaction older than its timeout is aborted by the coordinator, which fences its producer (KIP-98, KIP-360).
#[tokio::test(start_paused = true)]
async fn a_transaction_that_is_too_old_is_given_up_and_its_producer_fenced() {
    let cluster = cluster().await;
    let first = newest(&cluster).await;
    begin(&first, "a").await;
    sleep(TRANSACTION_TIMEOUT - Duration::from_secs(1)).await;
    assert_eq!(cluster.offsets(TOPIC)[1], (0, 1), "it hides itself");
    sleep(Duration::from_secs(1)).await;
    assert_eq!(cluster.offsets(TOPIC)[1], (2, 2));
    assert_eq!((committed(&cluster, TOPIC), uncommitted(&cluster, TOPIC)), (vec![], vec!["a".to_owned()]));
    let fenced = first.commit(deadline()).await.expect_err("fenced");
    assert_eq!(code(&fenced), Code::Fenced);
    for again in [first.begin().await, first.commit(deadline()).await] {
        assert_eq!(code(&again.expect_err("for good")), Code::Fenced, "a fenced producer answers nothing else");
    }
}

/// A request that is on its way no longer needs its client: a late `InitProducerId` of a dead one fences who came since.
#[tokio::test(start_paused = true)]
async fn what_a_dead_client_sent_still_arrives() {
    let cluster = cluster().await;
    cluster.set_faults(Faults { late: 1.0, late_by: LATE..LATE, ..Faults::default() });
    let dead = producer(&cluster);
    let gave_up = tokio::time::timeout(Duration::from_secs(1), dead.fence_others("lane 0", LATE)).await;
    assert!(gave_up.is_err(), "the client dies while it waits");
    drop(dead);
    cluster.heal();
    let live = newest(&cluster).await;
    begin(&live, "a").await;
    sleep(LATE).await;
    assert_eq!(code(&live.commit(deadline()).await.expect_err("fenced")), Code::Fenced);
    assert_eq!(committed(&cluster, TOPIC), Vec::<String>::new());
}

/// The watch is told when an end is decided, of everything in the transaction at once.
#[tokio::test(start_paused = true)]
async fn the_watch_sees_whole_transactions_only() {
    let cluster = cluster().await;
    let told = Arc::new(Mutex::new(Vec::new()));
    let telling = Arc::clone(&told);
    cluster.watch(Box::new(move |landed| telling.lock().expect("no panic").push(landed.clone())));
    let producer = newest(&cluster).await;
    begin(&producer, "given up").await;
    producer.abort().await;
    assert!(told.lock().expect("no panic").is_empty());
    begin(&producer, "kept").await;
    producer.commit(deadline()).await.expect("commits");
    let told = told.lock().expect("no panic");
    let [landed] = told.as_slice() else { panic!("{told:?}") };
    assert_eq!(landed.transactional_id.as_deref(), Some("lane-0"));
    let places: Vec<_> = landed.records.iter().map(|record| (&*record.place.topic, record.offset)).collect();
    assert_eq!(places, [(TOPIC, 2), (PROGRESS, 2)], "behind the given-up record and its marker");
}
