//! Reads lanes' partitions of the progress topic from their beginning.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use tailwater_model::{Trouble, TroubleKind};
use tokio::time::Instant;

use super::records::{Malformed, ProgressRecord, SessionMark};
use super::state::LaneProgress;
use crate::cluster::{Cluster, Read, Reader, StoredRecord};
use crate::fault::{Fault, Remedy, remedy};
use crate::settings::KafkaSettings;

/// Where to stop reading.
pub(crate) enum Until<'a> {
    /// At the end of each partition, as far as transactions have ended, as its leader tells it after the reading has begun.
    End,
    /// At this barrier: whatever was written before it has been read then, whatever brokers show.
    Barrier(&'a str),
    /// At this session's own record, in the same way.
    Session(&'a SessionMark),
}

/// What the partitions of some lanes hold, as far as it was read.
pub(crate) struct ProgressReader<R> {
    reader: R,
    topic: String,
    lanes: Vec<LaneProgress>,
    first_lane: u32,
    /// Behind what was read of each partition.
    positions: BTreeMap<i32, i64>,
}

/// Everything that is stored for a pipeline of so many lanes, one per lane.
///
/// # Errors
/// When that takes longer than `request_timeout`, when the broker refuses, and when a record is not ours.
pub(crate) async fn read_lanes<C: Cluster>(
    cluster: &C,
    settings: &KafkaSettings,
    lanes: u32,
) -> Result<Vec<LaneProgress>, Fault> {
    if lanes == 0 {
        return Ok(Vec::new());
    }
    let mut reader = ProgressReader::new(cluster, settings, 0..lanes)?;
    reader.read(&Until::End, settings.request_timeout).await?;
    Ok(reader.lanes)
}

impl<R: Reader> ProgressReader<R> {
    /// Begins at the beginning of the partitions of these lanes.
    pub(crate) fn new(
        cluster: &impl Cluster<Reader = R>,
        settings: &KafkaSettings,
        lanes: Range<u32>,
    ) -> Result<Self, Fault> {
        Ok(Self {
            reader: cluster.reader(lanes.clone())?,
            topic: settings.progress_topic.clone(),
            first_lane: lanes.start,
            positions: lanes
                .clone()
                .map(i32::try_from)
                .filter_map(Result::ok)
                .map(|partition| (partition, 0))
                .collect(),
            lanes: lanes.map(|_| LaneProgress::default()).collect(),
        })
    }

    /// Reads on, and gives what was read so far, one per lane.
    ///
    /// # Errors
    /// When that takes longer than `within`, when the broker refuses, and when a record is not ours.
    pub(crate) async fn read(&mut self, until: &Until<'_>, within: Duration) -> Result<&[LaneProgress], Fault> {
        let deadline = Instant::now() + within;
        let mut ends = BTreeMap::new();
        let mut last_error = None;
        while !self.has_reached(until, &ends) {
            if Instant::now() >= deadline {
                let error = last_error.unwrap_or(KafkaError::MessageConsumption(RDKafkaErrorCode::OperationTimedOut));
                return Err(self.reader.fault(&self.doing(), &error));
            }
            let read = self.reader.next(deadline, decoded).await;
            let shown_is_read = matches!(read, Ok(Read::Nothing | Read::End { .. }));
            let mut failed = match read {
                Ok(Read::Nothing) => None,
                Ok(Read::Record(read)) => {
                    self.add(read)?;
                    None
                }
                Ok(Read::End { partition, offset }) => {
                    self.reached(partition, offset);
                    None
                }
                Err(error) => Some(error),
            };
            if shown_is_read && matches!(until, Until::End) {
                failed = self.ask_ends(&mut ends, deadline).await.err();
            }
            // What heals by itself is waited for until the deadline.
            if let Some(error) = failed {
                if error.rdkafka_error_code().map(remedy) == Some(Remedy::Halt) {
                    return Err(self.reader.fault(&self.doing(), &error));
                }
                last_error = Some(error);
            }
        }
        Ok(&self.lanes)
    }

    /// Asks where the partitions end, each until it has answered once.
    async fn ask_ends(&mut self, ends: &mut BTreeMap<i32, i64>, deadline: Instant) -> Result<(), KafkaError> {
        for partition in self.positions.keys() {
            if !ends.contains_key(partition) {
                ends.insert(*partition, self.reader.end(*partition, deadline).await?);
            }
        }
        Ok(())
    }

    fn reached(&mut self, partition: i32, offset: i64) {
        if let Some(position) = self.positions.get_mut(&partition) {
            *position = offset.max(*position);
        }
    }

    fn add(&mut self, read: Decoded) -> Result<(), Trouble> {
        let Decoded { partition, offset, at_ms, record } = read;
        self.reached(partition, offset.saturating_add(1));
        // Without a record it is a tombstone of somebody who tidied up.
        let Some(record) = record else { return Ok(()) };
        let record = record.map_err(|malformed| malformed.trouble(&self.topic, partition, offset))?;
        let lane = u32::try_from(partition).ok().and_then(|lane| lane.checked_sub(self.first_lane));
        let lane = lane.and_then(|lane| usize::try_from(lane).ok());
        if let Some(lane) = lane.and_then(|lane| self.lanes.get_mut(lane)) {
            lane.add(record, at_ms);
        }
        Ok(())
    }

    fn has_reached(&self, until: &Until<'_>, ends: &BTreeMap<i32, i64>) -> bool {
        match until {
            Until::End => self
                .positions
                .iter()
                .all(|(partition, position)| ends.get(partition).is_some_and(|end| position >= end)),
            Until::Barrier(mark) => self.lanes.iter().all(|lane| lane.barrier.as_deref() == Some(*mark)),
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

/// A record with its place and time.
struct Decoded {
    partition: i32,
    offset: i64,
    at_ms: i64,
    /// Nothing for a tombstone that says nothing.
    record: Option<Result<ProgressRecord, Malformed>>,
}

fn decoded(stored: StoredRecord<'_>) -> Decoded {
    let StoredRecord { partition, offset, at_ms, key, value } = stored;
    let record = match value {
        Some(value) => Some(ProgressRecord::decode(key, value)),
        None => ProgressRecord::decode_gone(key).map(Ok),
    };
    Decoded { partition, offset, at_ms, record }
}
