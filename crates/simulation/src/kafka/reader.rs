//! A consumer of some partitions.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use tailwater_sink_kafka::{Fault, Isolation, Read, Reader, StoredRecord};
use tokio::time::{Instant, sleep_until};

use super::broker::Place;
use super::cluster::{ModelCluster, NAME, Request};
use super::log::{Fetched, Stored};

/// Records of a partition that one fetch brings at most.
const FETCH_RECORDS_MAX: usize = 50;
/// How long one look for a record may take before the deadline is looked at.
const POLL_TIMEOUT: Duration = Duration::from_millis(100);

/// A reader. It remembers how far it has come, and nothing of the cluster.
pub struct ModelReader {
    cluster: ModelCluster,
    topic: Arc<str>,
    positions: BTreeMap<i32, i64>,
    /// The end of each partition that was told last.
    told_ends: BTreeMap<i32, i64>,
    read: VecDeque<Step>,
    isolation: Isolation,
}

/// What comes next to whoever reads.
enum Step {
    Record(i32, Stored),
    End(i32, i64),
}

impl ModelReader {
    pub(crate) fn new(
        cluster: ModelCluster,
        topic: Arc<str>,
        positions: BTreeMap<i32, i64>,
        isolation: Isolation,
    ) -> Self {
        Self { cluster, topic, positions, told_ends: BTreeMap::new(), read: VecDeque::new(), isolation }
    }

    async fn fetch(&mut self, until: Instant) -> Result<(), KafkaError> {
        let (topic, positions, isolation) = (Arc::clone(&self.topic), self.positions.clone(), self.isolation);
        let fetching = self.cluster.ask(Request::Fetch, until, move |broker| {
            if broker.topics_are_unknown() {
                return Err(RDKafkaErrorCode::UnknownTopicOrPartition);
            }
            let of_each = positions.into_iter().map(|(partition, from)| {
                let place = Place { topic: Arc::clone(&topic), partition };
                Ok((partition, broker.fetch(&place, from, FETCH_RECORDS_MAX, isolation)?))
            });
            of_each.collect::<Result<Vec<_>, _>>()
        });
        let fetched = match fetching.await {
            Some(Ok(fetched)) => fetched,
            Some(Err(code)) => return Err(KafkaError::MessageConsumption(code)),
            None => return Err(KafkaError::MessageConsumption(RDKafkaErrorCode::BrokerTransportFailure)),
        };
        for (partition, Fetched { records, next, is_end }) in fetched {
            self.positions.insert(partition, next);
            self.read.extend(records.into_iter().map(|stored| Step::Record(partition, stored)));
            if is_end && self.told_ends.insert(partition, next) != Some(next) {
                self.read.push_back(Step::End(partition, next));
            }
        }
        Ok(())
    }
}

impl Reader for ModelReader {
    async fn next<T: Send>(
        &mut self,
        deadline: Instant,
        decode: impl FnOnce(StoredRecord<'_>) -> T + Send,
    ) -> Result<Read<T>, KafkaError> {
        if self.read.is_empty() {
            let until = deadline.min(Instant::now() + POLL_TIMEOUT);
            if let Err(error) = self.fetch(deadline).await {
                // A client waits before it connects again.
                sleep_until(until).await;
                return Err(error);
            }
            if self.read.is_empty() {
                sleep_until(until).await;
            }
        }
        Ok(match self.read.pop_front() {
            None => Read::Nothing,
            Some(Step::End(partition, offset)) => Read::End { partition, offset },
            Some(Step::Record(partition, Stored { offset, at_ms, record })) => Read::Record(decode(StoredRecord {
                partition,
                offset,
                at_ms,
                key: &record.key,
                value: record.value.as_deref(),
            })),
        })
    }

    async fn end(&mut self, partition: i32, deadline: Instant) -> Result<i64, KafkaError> {
        let (place, isolation) = (Place { topic: Arc::clone(&self.topic), partition }, self.isolation);
        let asking = self.cluster.ask(Request::Fetch, deadline, move |broker| {
            if broker.topics_are_unknown() {
                return Err(RDKafkaErrorCode::UnknownTopicOrPartition);
            }
            broker.end_of(&place, isolation)
        });
        let code = match asking.await {
            Some(Ok(end)) => return Ok(end),
            Some(Err(code)) => code,
            None => RDKafkaErrorCode::BrokerTransportFailure,
        };
        // A client waits before it asks again.
        sleep_until(deadline.min(Instant::now() + POLL_TIMEOUT)).await;
        Err(KafkaError::MetadataFetch(code))
    }

    fn fault(&self, doing: &str, error: &KafkaError) -> Fault {
        Fault::of(doing, NAME, error, None)
    }
}
