//! The cluster that ships: librdkafka's clients. Everything here blocks inside the future that it gives, and none of these
//! futures ever waits for another one, but looking at the topics.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::Message;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use tokio::time::Instant;

use crate::client_config::{Isolation, ProducerRole, producer_config, reader_config};
use crate::cluster::{Cluster, Read, Reader, StoredRecord};
use crate::context::KafkaContext;
use crate::fault::Fault;
use crate::producer::LaneProducer;
use crate::settings::KafkaSettings;
use crate::topics::{MayMake, TopicLook, check_topics};

/// Where reading begins. Not [`Offset::Beginning`]: librdkafka asks the broker for that, and half a second later when the
/// partition's leader is not known yet, as it never is here. What lies before the first record that is left counts as out
/// of range, and `auto.offset.reset` takes care of it.
const FIRST: Offset = Offset::Offset(0);
/// How long one look for a record may take before the deadline is looked at.
const POLL_TIMEOUT: Duration = Duration::from_millis(100);
/// How long one question for a partition's end may take before it is asked again: its leader may be another one by then.
const END_TIMEOUT: Duration = Duration::from_secs(5);

/// The brokers that the settings name.
pub(crate) struct Brokers {
    settings: KafkaSettings,
}

impl Brokers {
    pub(crate) fn new(settings: &KafkaSettings) -> Self {
        Self { settings: settings.clone() }
    }
}

impl Cluster for Brokers {
    type Producer = LaneProducer;
    type Reader = PartitionReader;

    fn producer(&self, role: &ProducerRole<'_>) -> Result<LaneProducer, Fault> {
        let settings = &self.settings;
        LaneProducer::new(&producer_config(settings, role)?, KafkaContext::new(settings), &settings.brokers)
    }

    fn reader(&self, lanes: Range<u32>, isolation: Isolation) -> Result<PartitionReader, Fault> {
        PartitionReader::new(&self.settings, lanes, isolation)
    }

    async fn check_topics(&self, lanes: u32, may_make: MayMake) -> Result<TopicLook, Fault> {
        check_topics(&self.settings, lanes, may_make).await
    }
}

/// A consumer of some partitions.
pub(crate) struct PartitionReader {
    consumer: Arc<BaseConsumer<KafkaContext>>,
    topic: String,
    brokers: String,
}

impl PartitionReader {
    fn new(settings: &KafkaSettings, lanes: Range<u32>, isolation: Isolation) -> Result<Self, Fault> {
        let context = KafkaContext::new(settings);
        let failed = |error: &KafkaError| Fault::of("reading the progress", &settings.brokers, error, None);
        let consumer: BaseConsumer<KafkaContext> =
            reader_config(settings, isolation)?.create_with_context(context).map_err(|error| failed(&error))?;
        let mut assigned = TopicPartitionList::new();
        for partition in lanes.map(i32::try_from).filter_map(Result::ok) {
            assigned
                .add_partition_offset(&settings.progress_topic, partition, FIRST)
                .map_err(|error| failed(&error))?;
        }
        consumer.assign(&assigned).map_err(|error| failed(&error))?;
        Ok(Self {
            consumer: Arc::new(consumer),
            topic: settings.progress_topic.clone(),
            brokers: settings.brokers.clone(),
        })
    }

    /// Behind everything that was taken out of the client's queue, ends of transactions too.
    fn position(&self, partition: i32) -> Result<i64, KafkaError> {
        let positions = self.consumer.position()?;
        match positions.find_partition(&self.topic, partition).map(|found| found.offset()) {
            Some(Offset::Offset(offset)) => Ok(offset),
            // Nothing was there yet.
            _ => Ok(0),
        }
    }
}

impl Drop for PartitionReader {
    /// Closing takes a tenth of a second or more, and nobody has to wait for it: it matters where a pipeline is taken over.
    fn drop(&mut self) {
        let last = Arc::clone(&self.consumer);
        // Where no thread is to be had it is closed here, after all.
        let _closing = std::thread::Builder::new().name("closing".into()).spawn(move || drop(last));
    }
}

impl Reader for PartitionReader {
    async fn next<T: Send>(
        &mut self,
        _deadline: Instant,
        decode: impl FnOnce(StoredRecord<'_>) -> T + Send,
    ) -> Result<Read<T>, KafkaError> {
        match self.consumer.poll(POLL_TIMEOUT) {
            None => Ok(Read::Nothing),
            Some(Ok(message)) => Ok(Read::Record(decode(StoredRecord {
                partition: message.partition(),
                offset: message.offset(),
                at_ms: message.timestamp().to_millis().unwrap_or_default(),
                key: message.key().unwrap_or_default(),
                value: message.payload(),
            }))),
            Some(Err(KafkaError::PartitionEOF(partition))) => {
                Ok(Read::End { partition, offset: self.position(partition)? })
            }
            Some(Err(error)) => Err(error),
        }
    }

    async fn end(&mut self, partition: i32, deadline: Instant) -> Result<i64, KafkaError> {
        let within = deadline.saturating_duration_since(Instant::now()).min(END_TIMEOUT);
        let (first, end) = self.consumer.fetch_watermarks(&self.topic, partition, within)?;
        Ok(if first == end { 0 } else { end })
    }

    fn fault(&self, doing: &str, error: &KafkaError) -> Fault {
        Fault::of(doing, &self.brokers, error, self.consumer.context().last_problem())
    }
}
