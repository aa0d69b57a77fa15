//! What the sink asks of Kafka. The protocol of a lane (its session) is written against these traits and stands once.
//! What ships asks librdkafka; a model of Kafka is the other one that answers, in virtual time.
//!
//! Errors are librdkafka's own, so that one table sorts them for whoever answers. The protocol looks at nothing but their
//! codes: a model tells them as [`KafkaError::Global`] or [`KafkaError::MessageProduction`]. (An `RDKafkaError`, which also
//! says that a transaction has to be given up, can only be made by librdkafka; whoever needs to know that does so below
//! these traits, and [`Producer::fault`] is where the error that is meant takes the place of the one that was seen.)

use std::future::Future;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use tokio::time::Instant;

use crate::client_config::{Isolation, ProducerRole};
use crate::fault::Fault;
use crate::message::Header;
use crate::topics::{MayMake, TopicLook};

/// A Kafka cluster, as one process sees it. Shared by all lanes of the process.
pub trait Cluster: Send + Sync + 'static {
    /// How a lane writes.
    type Producer: Producer;
    /// How progress is read.
    type Reader: Reader;

    /// A new producer. It is not connected yet, and fences nobody before [`Producer::fence_others`]. Dropping it closes the
    /// client: what it has not sent is never sent, what was sent may still arrive, and a transaction that it left open
    /// stays so until the next [`Producer::fence_others`] of the same id, or until `transaction_timeout` has passed.
    ///
    /// # Errors
    /// When no client can be made of the settings.
    fn producer(&self, role: &ProducerRole<'_>) -> Result<Self::Producer, Fault>;

    /// A new reader of the progress topic's partitions of these lanes (a lane's number is its partition's), each from its
    /// first record that is left.
    ///
    /// # Errors
    /// When no client can be made of the settings.
    fn reader(&self, lanes: Range<u32>, isolation: Isolation) -> Result<Self::Reader, Fault>;

    /// Looks at the three topics, and makes those that are missing, as far as they may be made. The progress topic must have a
    /// partition per lane.
    ///
    /// # Errors
    /// A fault that needs a person when there is to be no lane, or a topic cannot hold what it is to; and [`Fault::of`] for
    /// what the cluster answers.
    fn check_topics(&self, lanes: u32, may_make: MayMake) -> impl Future<Output = Result<TopicLook, Fault>> + Send;
}

/// A producer of one lane, used by one caller at a time. Every method but [`fault`](Self::fault) and
/// [`abort`](Self::abort) may find that another producer came with the same `transactional.id`:
/// [`Fenced`](rdkafka::error::RDKafkaErrorCode::Fenced), [`ProducerFenced`](rdkafka::error::RDKafkaErrorCode::ProducerFenced)
/// or [`InvalidProducerEpoch`](rdkafka::error::RDKafkaErrorCode::InvalidProducerEpoch).
pub trait Producer: Send + Sync + 'static {
    /// Fences every earlier producer of the same `transactional.id` (`init_transactions`). Kafka first ends the transaction
    /// that such a one left open; that is waited for, at most `within`. `lane` names the lane in what is logged.
    ///
    /// # Errors
    /// Those of the broker; [`OperationTimedOut`](rdkafka::error::RDKafkaErrorCode::OperationTimedOut) or
    /// [`ConcurrentTransactions`](rdkafka::error::RDKafkaErrorCode::ConcurrentTransactions) when the time has passed.
    fn fence_others(&self, lane: &str, within: Duration) -> impl Future<Output = Result<(), KafkaError>> + Send;

    /// Begins a transaction. The broker learns of it by the first message.
    ///
    /// # Errors
    /// When the producer was fenced or is broken.
    fn begin(&self) -> impl Future<Output = Result<(), KafkaError>> + Send;

    /// Puts a message into the client's queue, and waits while that is full, at most until the deadline. Messages of a
    /// partition keep their order.
    ///
    /// # Errors
    /// The message is not taken; or the delivery of one before has failed.
    fn send(&self, message: Outgoing<'_>, deadline: Instant) -> impl Future<Output = Result<(), SendFault>> + Send;

    /// Waits until the broker has acknowledged everything that was sent.
    ///
    /// # Errors
    /// The first delivery that failed; a message that came into another partition than it was sent for; and
    /// [`MessageTimedOut`](rdkafka::error::RDKafkaErrorCode::MessageTimedOut) at the deadline. What was sent may have
    /// been written all the same.
    fn wait_delivered(&self, deadline: Instant) -> impl Future<Output = Result<(), SendFault>> + Send;

    /// Where messages were written that were acknowledged since this was asked last; nothing of those whose place the broker does
    /// not tell.
    fn acknowledged(&self) -> Vec<Acknowledged>;

    /// Commits the open transaction.
    ///
    /// # Errors
    /// After any the transaction's fate is unknown: it may be committed, now or later.
    fn commit(&self, deadline: Instant) -> impl Future<Output = Result<(), KafkaError>> + Send;

    /// Gives the open transaction up, as far as that is possible soon. Whoever opens the lane next does it otherwise, or
    /// the broker.
    fn abort(&self) -> impl Future<Output = ()> + Send;

    /// What an error of this producer means; `doing` says what failed ("opening lane 3 of pipeline x").
    fn fault(&self, doing: &str, error: &KafkaError) -> Fault;
}

/// A reader of some partitions of the progress topic, each in its order.
pub trait Reader: Send {
    /// The next record, or that a partition has no more for now. Of committed records, those of transactions that were given
    /// up are left out, and none is shown that lies behind a transaction that is still open. Gives `decode` the record, at most
    /// once a call, so that nobody keeps it. Waits no longer than until the deadline, and may answer [`Read::Nothing`]
    /// earlier.
    ///
    /// # Errors
    /// Those of the broker. One that may pass is no reason not to ask again.
    fn next<T: Send>(
        &mut self,
        deadline: Instant,
        decode: impl FnOnce(StoredRecord<'_>) -> T + Send,
    ) -> impl Future<Output = Result<Read<T>, KafkaError>> + Send;

    /// Where a partition ends for now (`ListOffsets`). Of committed records: everything before this offset has been committed or
    /// given up. Of all records: everything before it is on all replicas in step. Told by the partition's leader, which does not
    /// answer while it may not know it: after an election, replicas show less than there is for a moment, and whoever reads then
    /// comes to an [`Read::End`] too early
    /// (<https://cwiki.apache.org/confluence/display/KAFKA/KIP-207%3A+Offsets+returned+by+ListOffsetsResponse+should+be+monotonically+increasing+even+during+a+partition+leader+change>).
    /// 0 where nothing is left.
    ///
    /// # Errors
    /// Those of the broker. One that may pass is no reason not to ask again.
    fn end(&mut self, partition: i32, deadline: Instant) -> impl Future<Output = Result<i64, KafkaError>> + Send;

    /// What an error of this reader means.
    fn fault(&self, doing: &str, error: &KafkaError) -> Fault;
}

/// What a reader found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Read<T> {
    /// Nothing so far.
    Nothing,
    /// A record, as it was decoded.
    Record(T),
    /// Everything in this partition was read that the broker shows; of committed records, up to the first transaction that is
    /// still open. Told when it becomes so; records that come afterwards are read as before.
    End {
        /// The partition.
        partition: i32,
        /// The next record has this offset, or a greater one.
        offset: i64,
    },
}

/// A record of the progress topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoredRecord<'a> {
    /// The partition it was read from.
    pub partition: i32,
    /// Its place there. Offsets grow, with holes.
    pub offset: i64,
    /// Its time in milliseconds since 1970, by the broker's clock.
    pub at_ms: i64,
    /// The key; empty where it has none.
    pub key: &'a [u8],
    /// The value; nothing in a tombstone.
    pub value: Option<&'a [u8]>,
}

/// A message on its way: where to, and what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outgoing<'a> {
    /// The topic.
    pub topic: &'a str,
    /// The partition that the message belongs to.
    pub partition: i32,
    /// Whether the partition is told to the client, or must be what its partitioner makes of the key (murmur2, and the
    /// topic's number of partitions as it is now): where that is another one, the message has strayed.
    pub by_hand: bool,
    /// The key.
    pub key: &'a [u8],
    /// The value; nothing is a tombstone.
    pub value: Option<&'a [u8]>,
    /// The headers, in their order.
    pub headers: &'a [Header<'a>],
}

/// Where messages of one partition were written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acknowledged {
    /// The topic.
    pub topic: Arc<str>,
    /// The partition.
    pub partition: i32,
    /// The least offset.
    pub first: i64,
    /// The greatest.
    pub last: i64,
}

/// Why messages did not reach the broker whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SendFault {
    /// Kafka says why.
    Kafka(KafkaError),
    /// The first delivery that failed.
    Undelivered {
        /// What the broker or the client has against it.
        code: RDKafkaErrorCode,
        /// Which message it was of those that were sent since all were delivered last, from 0. Where messages go in
        /// [full](crate::Batches::Full) batches, another one of its batch may be meant.
        message: usize,
    },
    /// The topic has another number of partitions than the group was dealt to.
    Repartitioned,
}

impl From<KafkaError> for SendFault {
    fn from(error: KafkaError) -> Self {
        Self::Kafka(error)
    }
}
