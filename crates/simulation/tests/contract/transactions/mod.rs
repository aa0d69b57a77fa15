//! Transactions of Kafka below the sink, on a real cluster and on the model of it: who is fenced, and what a reader sees
//! when.
//!
//! Each interleaving is written once over [`Site`]. What it must come to is what Apache Kafka 4.1 does, and stands here as
//! plain values: a model that is kinder or harsher fails, and so does a cluster that has changed its manners.

mod interleavings;
mod model;
mod real;

use std::time::Duration;

use rdkafka::error::{KafkaError, RDKafkaErrorCode};

/// What a client is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refusal {
    /// Somebody else came with the same transactional id, or the broker gave the transaction up.
    Fenced,
    /// Everything else, by its code.
    Code(RDKafkaErrorCode),
}

type Answer = Result<(), Refusal>;

/// A record that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Seen {
    partition: i32,
    offset: i64,
    value: String,
}

/// Which records a reader is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Isolation {
    Committed,
    Uncommitted,
}

/// A topic with two partitions, and clients of its cluster. Their transactional ids are the site's own.
trait Site {
    type Client: Client;

    /// Transactions are given up when they are older than this, at the latest after another [`Self::GIVEN_UP_WITHIN`].
    const TRANSACTION_TIMEOUT: Duration;
    const GIVEN_UP_WITHIN: Duration;
    /// What the topic takes in one message, far less than the client was told.
    const MESSAGE_BYTES_MAX: usize;

    /// A producer with this transactional id. It fences nobody before [`Client::init`].
    fn client(&self, id: &str) -> Self::Client;

    /// Writes a message outside of any transaction.
    async fn write_plain(&self, partition: i32, value: &str);

    /// Everything up to the end that this isolation level shows.
    async fn seen(&self, isolation: Isolation) -> Vec<Seen>;
}

/// A producer.
trait Client {
    async fn init(&self) -> Answer;

    async fn begin(&self) -> Answer;

    /// Sends one message and waits for its delivery.
    async fn send(&self, partition: i32, value: &str) -> Answer;

    async fn commit(&self) -> Answer;

    async fn abort(&self) -> Answer;
}

/// What an error says, whatever the call was.
fn refusal(error: &KafkaError) -> Refusal {
    let code = error.rdkafka_error_code().expect("a code");
    match code {
        RDKafkaErrorCode::Fenced | RDKafkaErrorCode::ProducerFenced | RDKafkaErrorCode::InvalidProducerEpoch => {
            Refusal::Fenced
        }
        other => Refusal::Code(other),
    }
}

/// One test for each interleaving on one site.
macro_rules! every_interleaving {
    ($stand:path: $($name:ident),* $(,)?) => {
        $(
            #[test]
            fn $name() {
                $stand(async |site| super::interleavings::$name(site).await);
            }
        )*
    };
    ($stand:path) => {
        $crate::transactions::every_interleaving! { $stand:
            an_open_transaction_hides_itself_and_what_lies_behind_it,
            an_aborted_transaction_is_never_seen,
            ends_of_transactions_take_offsets,
            a_transaction_over_two_partitions_is_seen_in_both,
            a_newer_producer_ends_the_open_transaction_of_the_older_and_fences_it,
            a_producer_that_is_not_initialized_fences_nobody,
            a_fenced_producer_that_begins_anew_writes_nothing_that_is_seen,
            a_fenced_producer_stays_fenced,
            an_empty_transaction_asks_nobody,
            a_transaction_outlives_its_client,
            a_transaction_that_is_too_old_is_given_up_and_its_producer_fenced,
            a_message_that_the_topic_does_not_take_spoils_its_transaction,
        }
    };
}
use every_interleaving;
