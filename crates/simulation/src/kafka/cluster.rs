//! The model as clients see it: a way there and back that can break, and the sink's trait over it.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use tailwater_model::{Misfit, Trouble, TroubleKind};
use tailwater_sink_kafka::{
    Cluster, Fault, Isolation, KafkaSettings, MayMake, MessageLimits, ProducerRole, TopicFacts, TopicLook,
};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, sleep_until, timeout_at};

use super::broker::{Broker, Place, STALE_BY_MAX, Topic};
use super::log::PartitionLog;
use super::producer::ModelProducer;
use super::reader::ModelReader;

/// `max.message.bytes` of a new topic, as of Kafka.
const MESSAGE_BYTES_MAX: usize = 1_048_588;
/// The pause of a client before it asks again.
pub(crate) const RETRY_PAUSE: Duration = Duration::from_millis(100);
/// After so long the next leader may be deposed.
const DEPOSED_PAUSE: Duration = Duration::from_secs(60);
/// How the model is called where people read of it.
pub(crate) const NAME: &str = "the model";

/// A Kafka cluster in memory. Clones are the same cluster, each for a process of its own. Everything happens by tokio's
/// clock; every chance comes from the seed, so within one single-threaded runtime with a paused clock a run repeats exactly.
#[derive(Clone)]
pub struct ModelCluster {
    broker: Arc<Mutex<Broker>>,
    pub(crate) client: Arc<ClientSettings>,
}

/// What the sink's settings say to a client.
#[derive(Debug)]
pub(crate) struct ClientSettings {
    pub(crate) topic: Arc<str>,
    pub(crate) dead_letter_topic: Arc<str>,
    pub(crate) progress_topic: Arc<str>,
    pub(crate) transaction_timeout: Duration,
    /// An answer that takes longer is not waited for, and the request is sent again.
    pub(crate) request_timeout: Duration,
    /// Partitions of a topic of change events that is made.
    create_partitions: Option<usize>,
}

impl ClientSettings {
    fn new(settings: &KafkaSettings) -> Self {
        Self {
            topic: settings.topic.as_str().into(),
            dead_letter_topic: settings.dead_letter_topic.as_str().into(),
            progress_topic: settings.progress_topic.as_str().into(),
            transaction_timeout: settings.transaction_timeout,
            request_timeout: settings.request_timeout,
            create_partitions: settings
                .create_topics
                .as_ref()
                .map(|create| usize::try_from(create.partitions).unwrap_or(usize::MAX)),
        }
    }
}

impl std::fmt::Debug for ModelCluster {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("ModelCluster").field("client", &self.client).finish_non_exhaustive()
    }
}

/// What a request is about: which faults can meet it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Request {
    /// To the coordinator of a transactional id.
    Coordinator,
    /// The same, to end a transaction.
    End,
    Produce,
    Fetch,
    Metadata,
}

/// How a request fares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Answered,
    /// The connection breaks before it arrives.
    Refused,
    /// It never arrives.
    Lost,
    /// It is done, and the connection breaks, or there is silence.
    Unheard {
        breaks: bool,
    },
    /// It is done so much later, in silence.
    Late(Duration),
}

impl ModelCluster {
    /// A cluster with the topics that the settings name: the one of change events with so many partitions, the one of dead
    /// letters with one. The progress topic is made by the first look. Has to be made inside a tokio runtime.
    pub fn new(seed: u64, settings: &KafkaSettings, data_partitions: usize) -> Self {
        let client = ClientSettings::new(settings);
        let mut broker = Broker::new(seed);
        broker.topics.insert(Arc::clone(&client.topic), topic(data_partitions, false));
        broker.topics.insert(Arc::clone(&client.dead_letter_topic), topic(1, false));
        Self { broker: Arc::new(Mutex::new(broker)), client: Arc::new(client) }
    }

    /// The same cluster, for a process with other settings.
    #[must_use]
    pub fn with(&self, settings: &KafkaSettings) -> Self {
        Self { broker: Arc::clone(&self.broker), client: Arc::new(ClientSettings::new(settings)) }
    }

    /// The cluster's state as of now. A test that panicked while it looked leaves a usable one.
    pub(crate) fn broker(&self) -> MutexGuard<'_, Broker> {
        let mut broker = self.broker.lock().unwrap_or_else(PoisonError::into_inner);
        broker.advance();
        broker
    }

    /// Sends a request. Once it is on its way it no longer depends on who waits for it. Nothing comes back when the
    /// connection breaks, or when there is no answer by `until` or within the time for a request.
    pub(crate) async fn ask<T: Send + 'static>(
        &self,
        request: Request,
        until: Instant,
        serve: impl FnOnce(&mut Broker) -> T + Send + 'static,
    ) -> Option<T> {
        let until = until.min(Instant::now() + self.client.request_timeout);
        let (there, back, fate) = self.broker().trip(request);
        let (answer, answered) = oneshot::channel();
        let cluster = self.clone();
        tokio::spawn(async move {
            let late = if let Fate::Late(by) = fate { by } else { Duration::ZERO };
            sleep(there + late).await;
            let served = match fate {
                Fate::Refused | Fate::Lost => None,
                Fate::Answered | Fate::Unheard { .. } | Fate::Late(_) => Some(serve(&mut cluster.broker())),
            };
            sleep(back).await;
            match (fate, served) {
                (Fate::Answered, Some(served)) => drop(answer.send(served)),
                (Fate::Refused | Fate::Unheard { breaks: true }, _) => drop(answer),
                _ => {
                    // The client hears nothing, not even that the connection is gone.
                    sleep_until(until).await;
                    drop(answer);
                }
            }
        });
        timeout_at(until, answered).await.ok()?.ok()
    }

    /// Sends a request until it is answered. Nothing at the deadline.
    pub(crate) async fn ask_until<T: Send + 'static>(
        &self,
        request: Request,
        until: Instant,
        serve: impl Fn(&mut Broker) -> T + Clone + Send + 'static,
    ) -> Option<T> {
        loop {
            if let Some(answer) = self.ask(request, until, serve.clone()).await {
                return Some(answer);
            }
            if Instant::now() >= until {
                return None;
            }
            sleep(RETRY_PAUSE).await;
        }
    }

    /// Makes the topics that are missing, as far as they may be made.
    fn make_topics(&self, broker: &mut Broker, lanes: usize, may_make: MayMake) {
        let ClientSettings { topic: data, dead_letter_topic, progress_topic, create_partitions, .. } = &*self.client;
        let is_begun = broker.topics.contains_key(progress_topic);
        if may_make == MayMake::Nothing || (may_make == MayMake::AtClaim && is_begun) {
            return;
        }
        for (name, partitions) in [(data, *create_partitions), (dead_letter_topic, create_partitions.map(|_| 1))] {
            if let Some(partitions) = partitions {
                broker.topics.entry(Arc::clone(name)).or_insert_with(|| topic(partitions, false));
            }
        }
        broker.topics.entry(Arc::clone(progress_topic)).or_insert_with(|| topic(lanes, true));
    }

    /// What is told of a topic that is missing.
    fn missing(&self, name: &Arc<str>, may_make: MayMake) -> Fault {
        let (kind, code) = if may_make != MayMake::Nothing {
            (TroubleKind::Environment, "sink.kafka.topic_missing")
        } else if *name == self.client.topic {
            (TroubleKind::DataAtRisk, Misfit::Missing.code())
        } else {
            (TroubleKind::DataAtRisk, Misfit::ProgressGone.code())
        };
        Trouble::new(kind, code, format!("the topic {name} is missing")).into()
    }

    /// What is there of the topics, without the ends of partitions.
    fn look_at_topics(&self, broker: &mut Broker, lanes: u32, may_make: MayMake) -> Result<TopicLook, Fault> {
        if broker.topics_are_unknown() {
            return Err(self.fault("looking at the topics", RDKafkaErrorCode::UnknownTopicOrPartition));
        }
        broker.repartition(&self.client.topic);
        let lanes_wanted = usize::try_from(lanes).unwrap_or(usize::MAX);
        let was_begun = broker.topics.contains_key(&self.client.progress_topic);
        self.make_topics(broker, lanes_wanted, may_make);
        let names = [&self.client.topic, &self.client.dead_letter_topic, &self.client.progress_topic];
        let (mut limits, mut is_complete, hidden) = ([MESSAGE_BYTES_MAX; 3], true, broker.hides_limits);
        for (limit, name) in limits.iter_mut().zip(names) {
            match broker.topics.get(name) {
                // Who may not read a topic's settings takes Kafka's default for its limit.
                Some(topic) if !hidden => *limit = topic.message_bytes_max,
                Some(_) => {}
                None if may_make == MayMake::AtClaim && was_begun => is_complete = false,
                None => return Err(self.missing(name, may_make)),
            }
        }
        let partitions = |name: &Arc<str>| broker.topics.get(name).map_or(0, |topic| topic.partitions.len());
        let [data_bytes_max, dead_letter_bytes_max, progress_bytes_max] = limits;
        let limits = MessageLimits { data_bytes_max, dead_letter_bytes_max, ..MessageLimits::same(progress_bytes_max) };
        let data_partitions = i32::try_from(partitions(&self.client.topic)).unwrap_or(i32::MAX);
        let progress_partitions = u32::try_from(partitions(&self.client.progress_topic)).unwrap_or(u32::MAX);
        let facts = TopicFacts { data_partitions, limits };
        Ok(TopicLook { facts, data_ends: Vec::new(), progress_partitions, is_complete })
    }

    /// Where each partition of the topic of change events ends. A leader that has just changed does not tell for a while.
    async fn data_ends(&self, partitions: i32, until: Instant) -> Result<Vec<i64>, Fault> {
        loop {
            let topic = Arc::clone(&self.client.topic);
            let look = move |broker: &mut Broker| {
                let less = broker.told_less();
                let places = (0..partitions).map(|partition| Place { topic: Arc::clone(&topic), partition });
                let ends = places.map(|place| broker.end_of(&place, Isolation::Uncommitted));
                // Never nothing where there is something: an old leader has led for a while.
                ends.map(|end| end.map(|end| (end - less).max(end.min(1)))).collect::<Result<Vec<i64>, _>>()
            };
            match self.ask_until(Request::Metadata, until, look).await {
                Some(Ok(ends)) => return Ok(ends),
                Some(Err(_)) if Instant::now() < until => sleep(RETRY_PAUSE).await,
                failed => {
                    let code = failed.and_then(Result::err).unwrap_or(RDKafkaErrorCode::AllBrokersDown);
                    return Err(self.fault("looking where partitions end", code));
                }
            }
        }
    }

    fn fault(&self, doing: &str, code: RDKafkaErrorCode) -> Fault {
        Fault::of(doing, NAME, &KafkaError::Global(code), None)
    }
}

/// A topic as it is made.
pub(crate) fn topic(partitions: usize, is_compacted: bool) -> Topic {
    let partitions = vec![PartitionLog::default(); partitions];
    Topic { partitions, message_bytes_max: MESSAGE_BYTES_MAX, is_compacted, refused: None }
}

impl Cluster for ModelCluster {
    type Producer = ModelProducer;
    type Reader = ModelReader;

    fn producer(&self, role: &ProducerRole<'_>) -> Result<ModelProducer, Fault> {
        Ok(ModelProducer::new(self.clone(), role))
    }

    fn reader(&self, lanes: Range<u32>, isolation: Isolation) -> Result<ModelReader, Fault> {
        let partitions = lanes.map(i32::try_from).filter_map(Result::ok);
        let positions: BTreeMap<i32, i64> = partitions.map(|partition| (partition, 0)).collect();
        Ok(ModelReader::new(self.clone(), Arc::clone(&self.client.progress_topic), positions, isolation))
    }

    async fn check_topics(&self, lanes: u32, may_make: MayMake) -> Result<TopicLook, Fault> {
        let until = Instant::now() + self.client.request_timeout;
        let cluster = self.clone();
        let look = move |broker: &mut Broker| cluster.look_at_topics(broker, lanes, may_make);
        let looked = self.ask_until(Request::Metadata, until, look).await;
        let looked =
            looked.unwrap_or_else(|| Err(self.fault("looking at the topics", RDKafkaErrorCode::AllBrokersDown)));
        let look = looked?;
        let data_ends = self.data_ends(look.facts.data_partitions, until).await?;
        Ok(TopicLook { data_ends, ..look })
    }
}

impl Broker {
    /// By how much less a leader tells that was deposed and has not heard of it. That may begin with this question.
    fn told_less(&mut self) -> i64 {
        let now = Instant::now();
        let may_begin = self.deposed_until.is_none_or(|until| now >= until + DEPOSED_PAUSE);
        if may_begin && self.chance.bites("deposed", |faults| faults.deposed) {
            self.deposed_until = Some(now + self.chance.time(|faults| &faults.deposed_by));
        }
        if self.deposed_until.is_some_and(|until| now < until) { STALE_BY_MAX.into() } else { 0 }
    }

    /// The times there and back of a request, and how it fares.
    fn trip(&mut self, request: Request) -> (Duration, Duration, Fate) {
        let (mut there, back) =
            (self.chance.time(|faults| &faults.latency), self.chance.time(|faults| &faults.latency));
        if self.chance.bites("slow", |faults| faults.slow) {
            there += self.chance.time(|faults| &faults.slow_by);
        }
        (there, back, self.fate(request))
    }

    fn fate(&mut self, request: Request) -> Fate {
        let now = Instant::now();
        if self.unreachable_until.is_some_and(|until| now < until) {
            return Fate::Refused;
        }
        let chance = &mut self.chance;
        if chance.bites("outage", |faults| faults.outage) {
            self.unreachable_until = Some(now + chance.time(|faults| &faults.outage_by));
            return Fate::Refused;
        }
        if chance.bites("hang", |faults| faults.hang) {
            return Fate::Lost;
        }
        let (unheard, late) = match request {
            Request::End => {
                if chance.bites("end_lost", |faults| faults.end_lost) {
                    return if chance.rng.bool() { Fate::Lost } else { Fate::Refused };
                }
                let unheard = chance.bites("end_answer_lost", |faults| faults.end_answer_lost);
                (unheard, !unheard && chance.bites("end_late", |faults| faults.end_late))
            }
            Request::Fetch if chance.bites("fetch_failed", |faults| faults.fetch_failed) => return Fate::Refused,
            Request::Coordinator | Request::Produce | Request::Fetch | Request::Metadata => {
                let unheard = chance.bites("answer_lost", |faults| faults.answer_lost);
                (unheard, !unheard && chance.bites("late", |faults| faults.late))
            }
        };
        match (unheard, late) {
            (true, _) => Fate::Unheard { breaks: chance.rng.bool() },
            (false, true) => Fate::Late(chance.time(|faults| &faults.late_by)),
            (false, false) => Fate::Answered,
        }
    }
}
