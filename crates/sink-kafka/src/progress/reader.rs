//! Reads partitions of the progress topic from their beginning, committed records only.

use std::collections::BTreeSet;
use std::time::Duration;

use rdkafka::Message;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use tailwater_model::{Trouble, TroubleKind};
use tokio::time::Instant;

use super::records::{ProgressRecord, SessionMark};
use super::state::LaneProgress;
use crate::client_config::reader_config;
use crate::context::KafkaContext;
use crate::fault::{Fault, Remedy, remedy};
use crate::settings::KafkaSettings;

/// Where reading begins. Not [`Offset::Beginning`]: librdkafka asks the broker for that, and half a second later when the
/// partition's leader is not known yet, as it never is here. What lies before the first record that is left counts as out
/// of range, and `auto.offset.reset` takes care of it.
const FIRST: Offset = Offset::Offset(0);
/// How long one look for a record may take before the deadline is looked at.
const POLL_TIMEOUT: Duration = Duration::from_millis(100);

/// Where to stop reading.
pub(crate) enum Until<'a> {
    /// At the end of each partition, as far as transactions have ended.
    End,
    /// At this session's own record: whatever was written before it has been read then.
    Session(&'a SessionMark),
}

/// A consumer of some partitions. It blocks: to be used on threads for that.
pub(crate) struct ProgressReader {
    consumer: BaseConsumer<KafkaContext>,
    topic: String,
    brokers: String,
    lanes: Vec<LaneProgress>,
    first_lane: u32,
    /// The partitions whose end was not reached yet.
    unread: BTreeSet<i32>,
}

impl ProgressReader {
    /// Begins at the beginning of the partitions of these lanes.
    pub(crate) fn new(settings: &KafkaSettings, lanes: std::ops::Range<u32>) -> Result<Self, Fault> {
        let context = KafkaContext::new(settings);
        let failed = |error: &KafkaError| Fault::of("reading the progress", &settings.brokers, error, None);
        let consumer: BaseConsumer<KafkaContext> =
            reader_config(settings)?.create_with_context(context).map_err(|error| failed(&error))?;
        let mut assigned = TopicPartitionList::new();
        let partitions: BTreeSet<i32> = lanes.clone().map(i32::try_from).filter_map(Result::ok).collect();
        for partition in &partitions {
            assigned
                .add_partition_offset(&settings.progress_topic, *partition, FIRST)
                .map_err(|error| failed(&error))?;
        }
        consumer.assign(&assigned).map_err(|error| failed(&error))?;
        Ok(Self {
            consumer,
            topic: settings.progress_topic.clone(),
            brokers: settings.brokers.clone(),
            first_lane: lanes.start,
            lanes: lanes.map(|_| LaneProgress::default()).collect(),
            unread: partitions,
        })
    }

    /// Reads on, and gives what was read so far, one per lane.
    ///
    /// # Errors
    /// When that takes longer than `within`, when the broker refuses, and when a record is not ours.
    pub(crate) fn read(&mut self, until: &Until<'_>, within: Duration) -> Result<&[LaneProgress], Fault> {
        let deadline = Instant::now() + within;
        let mut last_error = None;
        while !self.has_reached(until) {
            if Instant::now() >= deadline {
                let error = last_error
                    .unwrap_or(KafkaError::MessageConsumption(rdkafka::types::RDKafkaErrorCode::OperationTimedOut));
                let problem = self.consumer.context().last_problem();
                return Err(Fault::of(&self.doing(), &self.brokers, &error, problem));
            }
            match self.consumer.poll(POLL_TIMEOUT) {
                None => {}
                Some(Ok(message)) => {
                    let (partition, offset) = (message.partition(), message.offset());
                    let at_ms = message.timestamp().to_millis().unwrap_or_default();
                    let key = message.key().unwrap_or_default();
                    // Without a value it is a tombstone of somebody who tidied up.
                    let Some(value) = message.payload() else { continue };
                    let record = ProgressRecord::decode(key, value)
                        .map_err(|malformed| malformed.trouble(&self.topic, partition, offset))?;
                    let lane = u32::try_from(partition).ok().and_then(|lane| lane.checked_sub(self.first_lane));
                    let lane = lane.and_then(|lane| usize::try_from(lane).ok());
                    if let Some(lane) = lane.and_then(|lane| self.lanes.get_mut(lane)) {
                        lane.add(record, at_ms);
                    }
                }
                Some(Err(KafkaError::PartitionEOF(partition))) => {
                    self.unread.remove(&partition);
                }
                // What heals by itself is waited for until the deadline.
                Some(Err(error)) => match error.rdkafka_error_code().map(remedy) {
                    Some(Remedy::Halt) => {
                        return Err(Fault::of(&self.doing(), &self.brokers, &error, None));
                    }
                    _ => last_error = Some(error),
                },
            }
        }
        Ok(&self.lanes)
    }

    fn has_reached(&self, until: &Until<'_>) -> bool {
        match until {
            Until::End => self.unread.is_empty(),
            Until::Session(mark) => {
                self.lanes.iter().all(|lane| lane.session.as_ref().is_some_and(|session| session.fact == **mark))
            }
        }
    }

    fn doing(&self) -> String {
        format!("reading the progress topic {}", self.topic)
    }

    /// What was read, of a reader of one lane.
    pub(crate) fn into_lane(mut self) -> Result<LaneProgress, Fault> {
        self.lanes.pop().ok_or_else(|| {
            Fault::from(Trouble::new(TroubleKind::Runtime, "sink.kafka.no_lane", "a reader of no lane was asked"))
        })
    }
}
