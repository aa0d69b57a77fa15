//! Interleavings of a few producers, with what they must come to.

use rdkafka::error::RDKafkaErrorCode;
use tokio::time::sleep;

use super::{Answer, Client, Isolation, Refusal, Seen, Site};

/// The transactional id of most clients.
const ID: &str = "one";

/// A producer that has fenced all before it.
async fn newest<S: Site>(site: &S, id: &str) -> S::Client {
    let client = site.client(id);
    client.init().await.expect("fences the others");
    client
}

/// Begins a transaction and sends these messages to the first partition.
async fn begin(client: &impl Client, values: &[&str]) {
    client.begin().await.expect("begins");
    for value in values {
        client.send(0, value).await.unwrap_or_else(|refused| panic!("{value} is not delivered: {refused:?}"));
    }
}

fn values(seen: Vec<Seen>) -> Vec<String> {
    seen.into_iter().map(|seen| seen.value).collect()
}

async fn committed(site: &impl Site) -> Vec<String> {
    values(site.seen(Isolation::Committed).await)
}

async fn uncommitted(site: &impl Site) -> Vec<String> {
    values(site.seen(Isolation::Uncommitted).await)
}

fn offsets(seen: &[Seen]) -> Vec<(i32, i64)> {
    seen.iter().map(|seen| (seen.partition, seen.offset)).collect()
}

/// The last stable offset is where the first open transaction begins: behind it nothing is seen, committed or not.
pub async fn an_open_transaction_hides_itself_and_what_lies_behind_it(site: &impl Site) {
    let (first, second) = (newest(site, ID).await, newest(site, "other").await);
    begin(&first, &["open"]).await;
    begin(&second, &["committed before"]).await;
    second.commit().await.expect("commits");
    site.write_plain(0, "plain").await;
    site.write_plain(1, "elsewhere").await;
    assert_eq!(committed(site).await, ["elsewhere"]);
    assert_eq!(uncommitted(site).await, ["open", "committed before", "plain", "elsewhere"]);
    first.commit().await.expect("commits");
    let all = ["open", "committed before", "plain", "elsewhere"];
    assert_eq!(committed(site).await, all, "by offset, whenever they were committed");
}

pub async fn an_aborted_transaction_is_never_seen(site: &impl Site) {
    let client = newest(site, ID).await;
    for (value, commits) in [("kept", true), ("given up", false), ("kept too", true)] {
        begin(&client, &[value]).await;
        if commits { client.commit().await } else { client.abort().await }.expect("ends");
    }
    assert_eq!(committed(site).await, ["kept", "kept too"]);
    assert_eq!(uncommitted(site).await, ["kept", "given up", "kept too"]);
}

/// A control record ends each transaction in each partition: offsets have holes, whoever reads.
pub async fn ends_of_transactions_take_offsets(site: &impl Site) {
    let client = newest(site, ID).await;
    begin(&client, &["a", "b"]).await;
    client.commit().await.expect("commits");
    begin(&client, &["given up"]).await;
    client.abort().await.expect("aborts");
    begin(&client, &["c"]).await;
    client.commit().await.expect("commits");
    assert_eq!(offsets(&site.seen(Isolation::Committed).await), [(0, 0), (0, 1), (0, 5)]);
    assert_eq!(offsets(&site.seen(Isolation::Uncommitted).await), [(0, 0), (0, 1), (0, 3), (0, 5)]);
}

pub async fn a_transaction_over_two_partitions_is_seen_in_both(site: &impl Site) {
    let client = newest(site, ID).await;
    begin(&client, &["a"]).await;
    client.send(1, "b").await.expect("delivered");
    assert_eq!(committed(site).await, Vec::<String>::new());
    client.commit().await.expect("commits");
    assert_eq!(offsets(&site.seen(Isolation::Committed).await), [(0, 0), (1, 0)]);
}

/// `init_transactions` ends what an older producer left open, and returns when that is so.
pub async fn a_newer_producer_ends_the_open_transaction_of_the_older_and_fences_it(site: &impl Site) {
    let first = newest(site, ID).await;
    begin(&first, &["lost"]).await;
    let second = newest(site, ID).await;
    site.write_plain(0, "plain").await;
    assert_eq!(committed(site).await, ["plain"], "what was open has ended");
    begin(&second, &["kept"]).await;
    second.commit().await.expect("commits");
    assert_eq!(first.commit().await, Err(Refusal::Fenced));
    assert_eq!(committed(site).await, ["plain", "kept"]);
}

pub async fn a_producer_that_is_not_initialized_fences_nobody(site: &impl Site) {
    let first = newest(site, ID).await;
    begin(&first, &["a"]).await;
    let second = site.client(ID);
    let refused = second.begin().await;
    assert!(matches!(refused, Err(Refusal::Code(_))), "{refused:?}");
    first.send(0, "b").await.expect("still the owner");
    first.commit().await.expect("commits");
    assert_eq!(committed(site).await, ["a", "b"]);
}

pub async fn a_fenced_producer_that_begins_anew_writes_nothing_that_is_seen(site: &impl Site) {
    let first = newest(site, ID).await;
    let second = newest(site, ID).await;
    first.begin().await.expect("the broker is not asked");
    // A fenced producer's messages are refused, by their delivery or by the commit.
    let _refused_or_not: Answer = first.send(0, "stale").await;
    assert_eq!(first.commit().await, Err(Refusal::Fenced));
    begin(&second, &["kept"]).await;
    second.commit().await.expect("commits");
    assert_eq!(committed(site).await, ["kept"]);
    assert_eq!(uncommitted(site).await, ["kept"], "the broker took nothing of the fenced one");
}

pub async fn a_fenced_producer_stays_fenced(site: &impl Site) {
    let first = newest(site, ID).await;
    begin(&first, &["lost"]).await;
    drop(newest(site, ID).await);
    assert_eq!(first.commit().await, Err(Refusal::Fenced));
    for again in [first.commit().await, first.begin().await, first.commit().await] {
        assert_eq!(again, Err(Refusal::Fenced), "it answers nothing else");
    }
    assert_eq!(committed(site).await, Vec::<String>::new());
}

/// The broker learns of a transaction by its first message. So an empty one commits well, fenced or not, and proves
/// nothing about who owns the id.
pub async fn an_empty_transaction_asks_nobody(site: &impl Site) {
    let first = newest(site, ID).await;
    let _second = newest(site, ID).await;
    first.begin().await.expect("begins");
    first.commit().await.expect("nobody was asked");
    assert_eq!(uncommitted(site).await, Vec::<String>::new());
}

/// A client that goes away leaves its transaction open: it hides what comes behind it until somebody ends it.
pub async fn a_transaction_outlives_its_client(site: &impl Site) {
    let first = newest(site, ID).await;
    begin(&first, &["left open"]).await;
    drop(first);
    site.write_plain(0, "plain").await;
    assert_eq!(committed(site).await, Vec::<String>::new());
    drop(newest(site, ID).await);
    assert_eq!(committed(site).await, ["plain"]);
    assert_eq!(uncommitted(site).await, ["left open", "plain"]);
}

pub async fn a_transaction_that_is_too_old_is_given_up_and_its_producer_fenced<S: Site>(site: &S) {
    let client = newest(site, ID).await;
    begin(&client, &["too old"]).await;
    site.write_plain(0, "plain").await;
    assert_eq!(committed(site).await, Vec::<String>::new());
    sleep(S::TRANSACTION_TIMEOUT + S::GIVEN_UP_WITHIN).await;
    assert_eq!(committed(site).await, ["plain"]);
    assert_eq!(client.commit().await, Err(Refusal::Fenced));
    begin(&newest(site, ID).await, &["goes on"]).await;
}

pub async fn a_message_that_the_topic_does_not_take_spoils_its_transaction<S: Site>(site: &S) {
    let client = newest(site, ID).await;
    begin(&client, &["a"]).await;
    let refused = client.send(0, &"x".repeat(S::MESSAGE_BYTES_MAX)).await;
    assert_eq!(refused, Err(Refusal::Code(RDKafkaErrorCode::MessageSizeTooLarge)));
    let answer = client.commit().await;
    assert!(matches!(answer, Err(Refusal::Code(_))), "{answer:?}");
    client.abort().await.expect("it can be given up");
    // librdkafka 2.12 does not see yet that a number of its messages is lost. Whoever throws the producer away never meets
    // this.
    client.begin().await.expect("begins");
    let spoiled = client.send(0, "b").await;
    assert!(matches!(spoiled, Err(Refusal::Code(_))), "{spoiled:?}");
    client.abort().await.expect("it can be given up, too");
    begin(&client, &["c"]).await;
    client.commit().await.expect("and the producer goes on");
    assert_eq!(committed(site).await, ["c"]);
}
