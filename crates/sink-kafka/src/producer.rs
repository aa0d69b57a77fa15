//! A producer whose deliveries are counted. It blocks and has to be polled: it belongs to the thread of a lane. None of its
//! futures ever waits for another one, so driving them needs no runtime.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rdkafka::client::OAuthToken;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Message as _};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _, ProducerContext};
use rdkafka::util::Timeout;
use rdkafka::{ClientContext, Statistics};
use tokio::time::Instant;

use crate::cluster::{Acknowledged, Outgoing, Producer, SendFault};
use crate::context::KafkaContext;
use crate::fault::Fault;
use crate::message::owned_headers;

/// The wait between two looks for events. The wrapper's own waiting is not used: it rounds what is left of a time-out down
/// to whole milliseconds, so the last one is spent in a busy loop, and with a time-out of 1 ms all of it.
const LOOK_INTERVAL: Duration = Duration::from_micros(500);
/// How long a new producer polls before its first call: a bearer token is asked for by an event.
const FIRST_POLL: Duration = Duration::from_millis(20);
/// How long one call of `init_transactions` may block before the wait is told and events are polled.
const FENCING_STEP: Duration = Duration::from_secs(2);
/// So soon after the transaction it is told which delivery has failed.
const TOLD_WITHIN: Duration = Duration::from_millis(500);
/// How long giving a transaction up may take; what is left then is given up by the next opening, or by the broker.
const ABORT_WITHIN: Duration = Duration::from_secs(5);

/// What came of the messages of a group. A producer with a failed delivery is thrown away, so this is never set back.
#[derive(Debug, Default)]
struct Deliveries {
    /// Since all were delivered last: the place that each message belongs to.
    places: Vec<Place>,
    /// The topics that were written to; there are three at most.
    topics: Vec<Arc<str>>,
    /// The least and the greatest offset of each place, since they were asked for last.
    acknowledged: BTreeMap<Place, (i64, i64)>,
    outstanding: usize,
    /// The first that failed for a reason of its own, and which of the messages it was; or one that was thrown out with it.
    failed: Option<(RDKafkaErrorCode, usize)>,
    /// A message whose key belongs to one partition was delivered to another one.
    strayed: bool,
}

/// A partition of one of the topics.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
struct Place {
    /// Its index.
    topic: usize,
    partition: i32,
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

impl Deliveries {
    /// A message is to be sent to this partition. Gives its number.
    fn begin(&mut self, topic: &str, partition: i32) -> usize {
        let known = self.topics.iter().position(|known| **known == *topic);
        let topic = known.unwrap_or_else(|| {
            self.topics.push(topic.into());
            self.topics.len() - 1
        });
        self.places.push(Place { topic, partition });
        self.outstanding += 1;
        self.places.len() - 1
    }

    /// A message was written.
    fn acknowledge(&mut self, number: usize, partition: i32, offset: i64) {
        let Some(meant) = self.places.get(number).copied() else {
            self.strayed = true;
            return;
        };
        self.strayed |= meant.partition != partition;
        // The broker does not tell the place of one that it had before.
        if offset >= 0 {
            let (first, last) = self.acknowledged.entry(Place { partition, ..meant }).or_insert((offset, offset));
            (*first, *last) = (offset.min(*first), offset.max(*last));
        }
    }

    /// The newest message was not taken: nobody will tell what became of it.
    fn take_back(&mut self) {
        self.places.pop();
        self.outstanding = self.outstanding.saturating_sub(1);
    }
}

impl ProducerContext for LaneContext {
    /// Which message it is.
    type DeliveryOpaque = usize;

    fn delivery(&self, delivered: &DeliveryResult<'_>, number: usize) {
        let mut deliveries = self.deliveries();
        deliveries.outstanding = deliveries.outstanding.saturating_sub(1);
        match delivered {
            Ok(message) => deliveries.acknowledge(number, message.partition(), message.offset()),
            Err((error, _)) => {
                let code = error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Fail);
                let is_told = deliveries.failed.is_some_and(|(told, _)| !is_thrown_out(told) || is_thrown_out(code));
                if !is_told {
                    deliveries.failed = Some((code, number));
                }
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

/// Its transaction cannot go on, because of another message: these may be told before that one.
fn is_thrown_out(code: RDKafkaErrorCode) -> bool {
    matches!(code, RDKafkaErrorCode::PurgeQueue | RDKafkaErrorCode::PurgeInflight)
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

    /// A transaction takes nothing more after a delivery that failed: then that is told, which is what was wrong.
    fn why_not_taken(&self, error: KafkaError) -> SendFault {
        if error == KafkaError::MessageProduction(RDKafkaErrorCode::State)
            && let Some((code, message)) = self.why_failed()
        {
            return SendFault::Undelivered { code, message };
        }
        error.into()
    }

    /// The delivery that failed, as soon as one is told that says why.
    fn why_failed(&self) -> Option<(RDKafkaErrorCode, usize)> {
        let until = Instant::now() + TOLD_WITHIN;
        loop {
            let failed = self.producer.context().deliveries().failed;
            if failed.is_some_and(|(code, _)| !is_thrown_out(code)) || Instant::now() >= until {
                return failed;
            }
            self.serve_or_wait();
        }
    }

    /// Serves one event, which may tell many deliveries. Waits a little where it told none.
    #[expect(clippy::disallowed_methods, reason = "on the lane's thread, which librdkafka's calls block as well")]
    fn serve_or_wait(&self) {
        let before = self.producer.context().deliveries().outstanding;
        self.producer.poll(Duration::ZERO);
        if self.producer.context().deliveries().outstanding == before {
            std::thread::sleep(LOOK_INTERVAL);
        }
    }

    /// Serves events: an idle client too has to renew its bearer token.
    pub(crate) fn poll(&self) {
        self.producer.poll(Duration::ZERO);
    }
}

impl Producer for LaneProducer {
    /// The wait is told.
    async fn fence_others(&self, lane: &str, within: Duration) -> Result<(), KafkaError> {
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
                    self.serve_or_wait();
                }
                Err(error) => return Err(error),
            }
        }
    }

    async fn begin(&self) -> Result<(), KafkaError> {
        self.producer.begin_transaction()
    }

    async fn send(&self, message: Outgoing<'_>, deadline: Instant) -> Result<(), SendFault> {
        let Outgoing { topic, partition, by_hand, key, value, headers } = message;
        let number = self.producer.context().deliveries().begin(topic, partition);
        let mut record = BaseRecord::with_opaque_to(topic, number).key(key);
        if !headers.is_empty() {
            record = record.headers(owned_headers(headers));
        }
        if by_hand {
            record = record.partition(partition);
        }
        if let Some(value) = value {
            record = record.payload(value);
        }
        loop {
            match self.producer.send(record) {
                Ok(()) => return Ok(()),
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), returned))
                    if Instant::now() < deadline =>
                {
                    record = returned;
                    self.serve_or_wait();
                }
                // The client itself holds a message to the limit that it was given: that is as if the broker had refused it.
                Err((KafkaError::MessageProduction(code), _)) if code == RDKafkaErrorCode::MessageSizeTooLarge => {
                    self.producer.context().deliveries().take_back();
                    return Err(SendFault::Undelivered { code, message: number });
                }
                Err((error, _)) => {
                    self.producer.context().deliveries().take_back();
                    return Err(self.why_not_taken(error));
                }
            }
        }
    }

    async fn wait_delivered(&self, deadline: Instant) -> Result<(), SendFault> {
        loop {
            let has_failed = self.producer.context().deliveries().failed.is_some();
            if let Some((code, message)) = has_failed.then(|| self.why_failed()).flatten() {
                return Err(SendFault::Undelivered { code, message });
            }
            {
                let mut deliveries = self.producer.context().deliveries();
                if deliveries.strayed {
                    return Err(SendFault::Repartitioned);
                }
                if deliveries.outstanding == 0 {
                    deliveries.places.clear();
                    return Ok(());
                }
            }
            if Instant::now() >= deadline {
                return Err(KafkaError::MessageProduction(RDKafkaErrorCode::MessageTimedOut).into());
            }
            self.serve_or_wait();
        }
    }

    fn acknowledged(&self) -> Vec<Acknowledged> {
        let mut deliveries = self.producer.context().deliveries();
        let places = std::mem::take(&mut deliveries.acknowledged);
        let of_place = |(place, (first, last)): (Place, (i64, i64))| {
            let topic = Arc::clone(deliveries.topics.get(place.topic)?);
            Some(Acknowledged { topic, partition: place.partition, first, last })
        };
        places.into_iter().filter_map(of_place).collect()
    }

    async fn commit(&self, deadline: Instant) -> Result<(), KafkaError> {
        self.producer.commit_transaction(Timeout::After(deadline.saturating_duration_since(Instant::now())))
    }

    /// Readers of the topics then need not wait for its time-out.
    async fn abort(&self) {
        self.producer.purge(rdkafka::producer::PurgeConfig::default().queue().inflight());
        // What is purged is told as failed deliveries. librdkafka waits until they are served, and does not serve them itself.
        let until = Instant::now() + ABORT_WITHIN;
        while self.producer.context().deliveries().outstanding > 0 && Instant::now() < until {
            self.serve_or_wait();
        }
        if let Err(error) = self.producer.abort_transaction(Timeout::After(ABORT_WITHIN)) {
            tracing::debug!("a transaction could not be aborted: {error}");
        }
    }

    /// The fault of an error, with what librdkafka last told of its connections. After a fatal error every call and every
    /// delivery fails, mostly by another name: then the fatal one is meant.
    fn fault(&self, doing: &str, error: &KafkaError) -> Fault {
        let client = self.producer.client();
        let fatal = client.fatal_error().map(|(code, _)| KafkaError::Global(code));
        let meant = fatal.or_else(|| self.why_given_up(error));
        Fault::of(doing, &self.brokers, meant.as_ref().unwrap_or(error), client.context().client.last_problem())
    }
}
