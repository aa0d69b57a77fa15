//! A producer whose deliveries are counted. It blocks and has to be polled: it belongs to the thread of a lane.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rdkafka::client::OAuthToken;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Message as _, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer, ProducerContext};
use rdkafka::util::Timeout;
use rdkafka::{ClientContext, Statistics};
use tailwater_model::{Trouble, TroubleKind};
use tokio::time::Instant;

use crate::context::KafkaContext;
use crate::fault::Fault;

/// How long one look for events may block. The wrapper polls until this has passed, so it is the grain of every wait.
const POLL_TIMEOUT: Duration = Duration::from_millis(1);
/// How long a new producer polls before its first call: a bearer token is asked for by an event.
const FIRST_POLL: Duration = Duration::from_millis(20);
/// How long one call of `init_transactions` may block before the wait is told and events are polled.
const FENCING_STEP: Duration = Duration::from_secs(2);
/// How long giving a transaction up may take; what is left then is given up by the next opening, or by the broker.
const ABORT_WITHIN: Duration = Duration::from_secs(5);

/// What came of the messages of a group. A producer with a failed delivery is thrown away, so this is never set back.
#[derive(Debug, Default)]
struct Deliveries {
    outstanding: usize,
    failed: Option<RDKafkaErrorCode>,
    /// A message whose key belongs to one partition was delivered to another one.
    strayed: bool,
}

/// The context of a lane's producer: the client's own, and the count of deliveries.
pub(crate) struct LaneContext {
    client: KafkaContext,
    deliveries: Mutex<Deliveries>,
}

impl ClientContext for LaneContext {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.client.log(level, facility, message);
    }

    fn stats(&self, statistics: Statistics) {
        self.client.stats(statistics);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.client.error(error, reason);
    }

    fn generate_oauth_token(&self, config: Option<&str>) -> Result<OAuthToken, Box<dyn std::error::Error>> {
        self.client.generate_oauth_token(config)
    }
}

impl ProducerContext for LaneContext {
    /// The partition that the message belongs to.
    type DeliveryOpaque = usize;

    fn delivery(&self, delivered: &DeliveryResult<'_>, partition: usize) {
        let mut deliveries = self.deliveries();
        deliveries.outstanding = deliveries.outstanding.saturating_sub(1);
        match delivered {
            Ok(message) => deliveries.strayed |= usize::try_from(message.partition()) != Ok(partition),
            Err((error, _)) => {
                let code = error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Fail);
                deliveries.failed.get_or_insert(code);
            }
        }
    }
}

impl LaneContext {
    /// Another thread that panicked while counting leaves a usable count.
    fn deliveries(&self) -> std::sync::MutexGuard<'_, Deliveries> {
        self.deliveries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why a group did not reach the broker whole.
#[derive(Debug)]
pub(crate) enum SendFault {
    Kafka(KafkaError),
    /// The topic has another number of partitions than the group was dealt to.
    Repartitioned,
}

impl From<KafkaError> for SendFault {
    fn from(error: KafkaError) -> Self {
        Self::Kafka(error)
    }
}

/// A message on its way: where to, and what.
pub(crate) struct Outgoing<'a> {
    pub(crate) topic: &'a str,
    /// The partition that the message belongs to.
    pub(crate) partition: i32,
    /// Whether the partition is told to librdkafka, or must be what its partitioner makes of the key.
    pub(crate) by_hand: bool,
    pub(crate) key: &'a [u8],
    pub(crate) value: Option<&'a [u8]>,
    pub(crate) headers: OwnedHeaders,
}

/// A producer of one lane.
pub(crate) struct LaneProducer {
    producer: BaseProducer<LaneContext>,
    brokers: String,
}

impl LaneProducer {
    /// A producer that is not connected yet.
    pub(crate) fn new(config: &ClientConfig, client: KafkaContext, brokers: &str) -> Result<Self, Fault> {
        let context = LaneContext { client, deliveries: Mutex::default() };
        let producer: BaseProducer<LaneContext> = config
            .create_with_context(context)
            .map_err(|error| Fault::of("making a producer", brokers, &error, None))?;
        Ok(Self { producer, brokers: brokers.to_owned() })
    }

    /// The fault of an error, with what librdkafka last told of its connections. After a fatal error every call and every
    /// delivery fails, mostly by another name: then the fatal one is meant.
    pub(crate) fn fault(&self, doing: &str, error: &KafkaError) -> Fault {
        let client = self.producer.client();
        let fatal = client.fatal_error().map(|(code, _)| KafkaError::Global(code));
        let meant = fatal.or_else(|| self.why_given_up(error));
        Fault::of(doing, &self.brokers, meant.as_ref().unwrap_or(error), client.context().client.last_problem())
    }

    /// A transaction that cannot go on throws its messages out and takes no more: deliveries and sending say only that.
    /// Each call for the transaction then tells why, and beginning one is such a call that does nothing else.
    fn why_given_up(&self, error: &KafkaError) -> Option<KafkaError> {
        use RDKafkaErrorCode::{PurgeInflight, PurgeQueue, State};
        let KafkaError::MessageProduction(PurgeQueue | PurgeInflight | State) = error else { return None };
        match self.producer.begin_transaction() {
            Err(KafkaError::Transaction(why)) if why.txn_requires_abort() => Some(KafkaError::Transaction(why)),
            Ok(()) | Err(_) => None,
        }
    }

    /// Fences every earlier producer of the same `transactional.id`. Kafka first ends the transaction that such a one
    /// left open, and no later than when it times out: that wait is told.
    pub(crate) fn fence_others(&self, lane: &str, within: Duration) -> Result<(), KafkaError> {
        self.producer.poll(FIRST_POLL);
        let began = Instant::now();
        loop {
            let left = within.saturating_sub(began.elapsed());
            match self.producer.init_transactions(Timeout::After(left.min(FENCING_STEP))) {
                Ok(()) => return Ok(()),
                Err(KafkaError::Transaction(error)) if error.is_retriable() && !left.is_zero() => {
                    let problem = self.producer.context().client.last_problem().map(|(_, reason)| reason);
                    tracing::info!(
                        problem,
                        waiting_s = began.elapsed().as_secs(),
                        within_s = within.as_secs(),
                        "{lane}: waiting for Kafka to end what an earlier owner left open, or to answer at all"
                    );
                    self.producer.poll(POLL_TIMEOUT);
                }
                Err(error) => return Err(error),
            }
        }
    }

    pub(crate) fn begin(&self) -> Result<(), KafkaError> {
        self.producer.begin_transaction()
    }

    /// Puts a message into librdkafka's queue, and waits while that is full.
    pub(crate) fn send(&self, message: Outgoing<'_>, deadline: Instant) -> Result<(), KafkaError> {
        let Outgoing { topic, partition, by_hand, key, value, headers } = message;
        let opaque = usize::try_from(partition).unwrap_or_default();
        let mut record = BaseRecord::with_opaque_to(topic, opaque).key(key).headers(headers);
        if by_hand {
            record = record.partition(partition);
        }
        if let Some(value) = value {
            record = record.payload(value);
        }
        self.producer.context().deliveries().outstanding += 1;
        loop {
            match self.producer.send(record) {
                Ok(()) => return Ok(()),
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), returned))
                    if Instant::now() < deadline =>
                {
                    record = returned;
                    self.producer.poll(POLL_TIMEOUT);
                }
                Err((error, _)) => return Err(error),
            }
        }
    }

    /// Waits until the broker has acknowledged all messages.
    pub(crate) fn wait_delivered(&self, deadline: Instant) -> Result<(), SendFault> {
        loop {
            {
                let deliveries = self.producer.context().deliveries();
                if let Some(code) = deliveries.failed {
                    return Err(KafkaError::MessageProduction(code).into());
                }
                if deliveries.strayed {
                    return Err(SendFault::Repartitioned);
                }
                if deliveries.outstanding == 0 {
                    return Ok(());
                }
            }
            if Instant::now() >= deadline {
                return Err(KafkaError::MessageProduction(RDKafkaErrorCode::MessageTimedOut).into());
            }
            self.producer.poll(POLL_TIMEOUT);
        }
    }

    pub(crate) fn commit(&self, deadline: Instant) -> Result<(), KafkaError> {
        self.producer.commit_transaction(Timeout::After(deadline.saturating_duration_since(Instant::now())))
    }

    /// Gives the open transaction up, so that readers of the topics need not wait for its time-out. It may fail: then
    /// the next opening does it, or the broker.
    pub(crate) fn abort(&self) {
        self.producer.purge(rdkafka::producer::PurgeConfig::default().queue().inflight());
        if let Err(error) = self.producer.abort_transaction(Timeout::After(ABORT_WITHIN)) {
            tracing::debug!("a transaction could not be aborted: {error}");
        }
    }

    /// Serves events: an idle client too has to renew its bearer token.
    pub(crate) fn poll(&self) {
        self.producer.poll(Duration::ZERO);
    }
}

/// What is told when the number of partitions is not the one that was written down.
pub(crate) fn repartitioned(topic: &str, before: Option<i32>, now: Option<i32>) -> Trouble {
    let told = |count: Option<i32>| count.map_or("another number of".to_owned(), |count| count.to_string());
    Trouble::new(
        TroubleKind::Environment,
        "sink.kafka.repartitioned",
        format!(
            "topic {topic} has {} partitions and had {}: messages of one key would be in two partitions, and their order \
             would be lost",
            told(now),
            told(before)
        ),
    )
    .advise(
        "let consumers read what is there to its end, then set on_repartition = \"continue\" in [sink.kafka] to go on \
         with the new number; or write to a new topic",
    )
}
