//! Looking at topics by metadata. A consumer looks, for its events can be served: bearer tokens, and the reasons why
//! there is no connection. It blocks.

use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::metadata::Metadata;
use tokio::time::Instant;

use crate::client_config::{Isolation, looker_config};
use crate::context::KafkaContext;
use crate::fault::{Fault, Remedy};
use crate::settings::KafkaSettings;

/// How long a new client serves events before its first request, where that needs a bearer token.
const FIRST_POLL: Duration = Duration::from_millis(50);
/// The first wait for an answer. It doubles, so that a slow broker is heard; in between it is looked at why there is none.
const ANSWER_WAIT_MIN: Duration = Duration::from_millis(500);
/// The pause before asking again after an answer that is not final.
const PAUSE: Duration = Duration::from_millis(100);
/// A topic counts as missing when brokers have said so for this long: one that has just started may not know yet.
const MISSING_FOR_MIN: Duration = Duration::from_secs(3);
/// How long one question for a partition's end may take before it is asked again: its leader may be another one by then.
const END_TIMEOUT: Duration = Duration::from_secs(5);
/// Events served between two requests, at most.
const EVENTS_MAX: usize = 100;

/// Waiting for an answer does not help where the connection fails for these reasons.
const HOPELESS_CODES: [&str; 2] = ["sink.kafka.authentication", "sink.kafka.tls"];

/// What is known of a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TopicShape {
    pub(super) partitions: i32,
    /// Copies of the first partition.
    pub(super) replication: usize,
    /// Whether each partition has a leader.
    led: bool,
}

/// What a look brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Looked {
    There(TopicShape),
    Missing {
        /// Brokers of the cluster.
        brokers: usize,
    },
}

/// A client that looks.
pub(super) struct MetadataClient<'a> {
    settings: &'a KafkaSettings,
    consumer: BaseConsumer<KafkaContext>,
}

impl<'a> MetadataClient<'a> {
    pub(super) fn connect(settings: &'a KafkaSettings) -> Result<Self, Fault> {
        // Messages of open transactions have their offsets, too.
        let consumer: BaseConsumer<KafkaContext> = looker_config(settings, Isolation::Uncommitted)?
            .create_with_context(KafkaContext::new(settings))
            .map_err(|error| Fault::of("making a client", &settings.brokers, &error, None))?;
        let client = Self { settings, consumer };
        if settings.has_bearer_token() {
            client.pause(FIRST_POLL);
        }
        Ok(client)
    }

    /// Looks until a broker has answered, `request_timeout` long at most.
    pub(super) fn look(&self, topic: &str) -> Result<Looked, Fault> {
        self.look_until(topic, self.deadline(), |_| true)
    }

    /// The same for a topic that one broker did not know: waits whether it comes to be known.
    pub(super) fn look_longer(&self, topic: &str) -> Result<Looked, Fault> {
        let settled = Instant::now() + MISSING_FOR_MIN.min(self.settings.request_timeout);
        let is_final = |looked: &Looked| matches!(looked, Looked::There(_)) || Instant::now() >= settled;
        self.look_until(topic, self.deadline(), is_final)
    }

    /// Waits until a topic that was made is known, with a leader for each partition.
    pub(super) fn wait_made(&self, topic: &str) -> Result<TopicShape, Fault> {
        let is_led = |looked: &Looked| matches!(looked, Looked::There(shape) if shape.led);
        match self.look_until(topic, self.deadline(), is_led)? {
            Looked::There(shape) => Ok(shape),
            Looked::Missing { .. } => Err(self.fault(topic, RDKafkaErrorCode::UnknownTopicOrPartition)),
        }
    }

    /// Where each of so many partitions ends, as its leader tells.
    pub(super) fn ends(&self, topic: &str, partitions: i32) -> Result<Vec<i64>, Fault> {
        let deadline = self.deadline();
        (0..partitions).map(|partition| self.end(topic, partition, deadline)).collect()
    }

    fn end(&self, topic: &str, partition: i32, deadline: Instant) -> Result<i64, Fault> {
        loop {
            let within = deadline.saturating_duration_since(Instant::now()).min(END_TIMEOUT);
            let error = match self.consumer.fetch_watermarks(topic, partition, within) {
                Ok((_, end)) => return Ok(end),
                Err(error) => error,
            };
            self.serve_events();
            let fault =
                Fault::of(&doing(topic), &self.settings.brokers, &error, self.consumer.context().last_problem());
            if fault.remedy == Remedy::Halt || Instant::now() >= deadline {
                return Err(fault);
            }
            self.pause(PAUSE);
        }
    }

    fn deadline(&self) -> Instant {
        Instant::now() + self.settings.request_timeout
    }

    fn look_until(&self, topic: &str, deadline: Instant, is_final: impl Fn(&Looked) -> bool) -> Result<Looked, Fault> {
        let mut wait = ANSWER_WAIT_MIN;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let answer = self.consumer.fetch_metadata(Some(topic), wait.min(left));
            let fault = match answer.and_then(|metadata| shape_of(&metadata, topic)) {
                Ok(looked) if is_final(&looked) => return Ok(looked),
                // It was not yet what was waited for.
                Ok(_) => self.fault(topic, RDKafkaErrorCode::LeaderNotAvailable),
                Err(error) => {
                    self.serve_events();
                    let problem = self.consumer.context().last_problem();
                    Fault::of(&doing(topic), &self.settings.brokers, &error, problem)
                }
            };
            let is_hopeless = fault.remedy == Remedy::Halt || HOPELESS_CODES.contains(&fault.trouble.code);
            if is_hopeless || Instant::now() >= deadline {
                return Err(fault);
            }
            self.pause(PAUSE);
            wait = wait.saturating_mul(2);
        }
    }

    fn fault(&self, topic: &str, code: RDKafkaErrorCode) -> Fault {
        Fault::of(&doing(topic), &self.settings.brokers, &KafkaError::MetadataFetch(code), None)
    }

    /// Serves events for so long. Errors among them are remembered by the context, and nothing is subscribed to.
    fn pause(&self, time: Duration) {
        let until = Instant::now() + time;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let _remembered = self.consumer.poll(left);
            if left.is_zero() {
                return;
            }
        }
    }

    fn serve_events(&self) {
        for _ in 0..EVENTS_MAX {
            if self.consumer.poll(Duration::ZERO).is_none() {
                return;
            }
        }
    }
}

fn doing(topic: &str) -> String {
    format!("looking at the topic \"{topic}\"")
}

/// What the answer says about the topic.
fn shape_of(metadata: &Metadata, topic: &str) -> Result<Looked, KafkaError> {
    let missing = Looked::Missing { brokers: metadata.brokers().len() };
    let Some(found) = metadata.topics().iter().find(|found| found.name() == topic) else { return Ok(missing) };
    match found.error().map(RDKafkaErrorCode::from) {
        Some(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic) => return Ok(missing),
        Some(code) => return Err(KafkaError::MetadataFetch(code)),
        None => {}
    }
    let partitions = found.partitions();
    // A topic that is just being made or deleted.
    if partitions.is_empty() {
        return Err(KafkaError::MetadataFetch(RDKafkaErrorCode::LeaderNotAvailable));
    }
    Ok(Looked::There(TopicShape {
        partitions: i32::try_from(partitions.len()).unwrap_or(i32::MAX),
        replication: partitions.first().map_or(0, |first| first.replicas().len()),
        led: partitions.iter().all(|partition| partition.leader() >= 0),
    }))
}
