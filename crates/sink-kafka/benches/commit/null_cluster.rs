//! A Kafka that answers at once and keeps nothing but the progress: what is left is the sink's own work.

use std::collections::BTreeMap;
use std::collections::VecDeque;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rdkafka::error::KafkaError;
use tailwater_sink_kafka::{
    Acknowledged, ChangeHeader, Cluster, Deletes, DeliveryPromise, DirectLane, Fault, Format, Isolation, KafkaSettings,
    MayMake, MessageLimits, OnRepartition, Outgoing, Producer, ProducerRole, Read, Reader, SendFault, StoredRecord,
    TopicFacts, TopicLook, claim_on,
};
use tokio::time::Instant;

use crate::orders;

const PROGRESS_TOPIC: &str = "tailwater.progress";
/// Partitions of the topic of change events.
const PARTITIONS: i32 = 12;

/// The progress topic as compaction leaves it: the last value of each key.
type Compacted = Arc<Mutex<BTreeMap<Vec<u8>, Option<Vec<u8>>>>>;

type KeyAndValue = (Vec<u8>, Option<Vec<u8>>);

/// The cluster.
#[derive(Clone, Default)]
pub struct NullCluster(Compacted);

/// Its producer, which drops messages of data.
pub struct NullProducer(Compacted);

/// Reads what was in the progress topic when it was asked first.
pub struct NullReader {
    topic: Compacted,
    rest: Option<VecDeque<KeyAndValue>>,
    partitions: Range<u32>,
    offset: i64,
}

/// An open lane on such a cluster.
pub async fn lane(format: Format) -> DirectLane<NullCluster> {
    let settings = KafkaSettings {
        brokers: "nowhere:9092".into(),
        topic: "orders".into(),
        dead_letter_topic: "orders.dead-letters".into(),
        progress_topic: PROGRESS_TOPIC.into(),
        format,
        delete: Deletes::Event,
        headers: ChangeHeader::ALL.into(),
        delivery: DeliveryPromise::ExactlyOnce,
        on_repartition: OnRepartition::Stop,
        create_topics: None,
        tls: None,
        sasl: None,
        librdkafka: BTreeMap::new(),
        transaction_timeout: Duration::from_secs(60),
        request_timeout: Duration::from_secs(10),
        dead_letters_per_minute_max: 1_000,
        adopt: None,
    };
    let chance = fastrand::Rng::with_seed(1);
    let lanes = claim_on(NullCluster::default(), &settings, &orders::identity(), &orders::keys(), None, chance).await;
    lanes.expect("claimed").lanes.pop().expect("one lane")
}

impl Cluster for NullCluster {
    type Producer = NullProducer;
    type Reader = NullReader;

    fn producer(&self, _: &ProducerRole<'_>) -> Result<NullProducer, Fault> {
        Ok(NullProducer(Arc::clone(&self.0)))
    }

    fn reader(&self, lanes: Range<u32>, _: Isolation) -> Result<NullReader, Fault> {
        Ok(NullReader { topic: Arc::clone(&self.0), rest: None, partitions: lanes, offset: 0 })
    }

    async fn check_topics(&self, lanes: u32, _: MayMake) -> Result<TopicLook, Fault> {
        let facts = TopicFacts { data_partitions: PARTITIONS, limits: MessageLimits::same(1_000_000) };
        let data_ends = (0..PARTITIONS).map(|_| 0).collect();
        Ok(TopicLook { facts, data_ends, progress_partitions: lanes, is_complete: true })
    }
}

impl Producer for NullProducer {
    async fn fence_others(&self, _: &str, _: Duration) -> Result<(), KafkaError> {
        Ok(())
    }

    async fn begin(&self) -> Result<(), KafkaError> {
        Ok(())
    }

    async fn send(&self, message: Outgoing<'_>, _: Instant) -> Result<(), SendFault> {
        if message.topic == PROGRESS_TOPIC {
            let mut topic = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            topic.insert(message.key.to_vec(), message.value.map(<[u8]>::to_vec));
        }
        Ok(())
    }

    async fn wait_delivered(&self, _: Instant) -> Result<(), SendFault> {
        Ok(())
    }

    fn acknowledged(&self) -> Vec<Acknowledged> {
        Vec::new()
    }

    async fn commit(&self, _: Instant) -> Result<(), KafkaError> {
        Ok(())
    }

    async fn abort(&self) {}

    fn fault(&self, doing: &str, error: &KafkaError) -> Fault {
        Fault::of(doing, "nowhere", error, None)
    }
}

impl Reader for NullReader {
    async fn next<T: Send>(
        &mut self,
        _: Instant,
        decode: impl FnOnce(StoredRecord<'_>) -> T + Send,
    ) -> Result<Read<T>, KafkaError> {
        let topic = &self.topic;
        let rest = self.rest.get_or_insert_with(|| {
            let topic = topic.lock().unwrap_or_else(PoisonError::into_inner);
            topic.iter().map(|(key, value)| (key.clone(), value.clone())).collect()
        });
        if let Some((key, value)) = rest.pop_front() {
            self.offset += 1;
            let record =
                StoredRecord { partition: 0, offset: self.offset, at_ms: 0, key: &key, value: value.as_deref() };
            return Ok(Read::Record(decode(record)));
        }
        // Once more from the start when somebody asks again: what was written meanwhile is there then.
        match self.partitions.next() {
            Some(partition) => {
                Ok(Read::End { partition: partition.try_into().unwrap_or(i32::MAX), offset: self.offset })
            }
            None => {
                self.rest = None;
                Ok(Read::Nothing)
            }
        }
    }

    async fn end(&mut self, _: i32, _: Instant) -> Result<i64, KafkaError> {
        Ok(0)
    }

    fn fault(&self, doing: &str, error: &KafkaError) -> Fault {
        Fault::of(doing, "nowhere", error, None)
    }
}
