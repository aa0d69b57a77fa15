//! Reads lanes' partitions of the progress topic from their beginning.

use std::collections::BTreeSet;
use std::ops::Range;
use std::time::Duration;

use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use tailwater_model::{Trouble, TroubleKind};
use tokio::time::Instant;

use super::records::{Malformed, ProgressRecord, SessionMark};
use super::state::LaneProgress;
use crate::client_config::Isolation;
use crate::cluster::{Cluster, Read, Reader, StoredRecord};
use crate::fault::{Fault, Remedy, remedy};
use crate::settings::KafkaSettings;

/// Where to stop reading.
pub(crate) enum Until<'a> {
    /// At the end of each partition, as far as transactions have ended.
    End,
    /// At this session's own record: whatever was written before it has been read then.
    Session(&'a SessionMark),
}

/// What the partitions of some lanes hold, as far as it was read.
pub(crate) struct ProgressReader<R> {
    reader: R,
    topic: String,
    lanes: Vec<LaneProgress>,
    first_lane: u32,
    /// The partitions whose end was not reached yet.
    unread: BTreeSet<i32>,
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
            reader: cluster.reader(lanes.clone(), Isolation::Committed)?,
            topic: settings.progress_topic.clone(),
            first_lane: lanes.start,
            unread: lanes.clone().map(i32::try_from).filter_map(Result::ok).collect(),
            lanes: lanes.map(|_| LaneProgress::default()).collect(),
        })
    }

    /// Reads on, and gives what was read so far, one per lane.
    ///
    /// # Errors
    /// When that takes longer than `within`, when the broker refuses, and when a record is not ours.
    pub(crate) async fn read(&mut self, until: &Until<'_>, within: Duration) -> Result<&[LaneProgress], Fault> {
        let deadline = Instant::now() + within;
        let mut last_error = None;
        while !self.has_reached(until) {
            if Instant::now() >= deadline {
                let error = last_error.unwrap_or(KafkaError::MessageConsumption(RDKafkaErrorCode::OperationTimedOut));
                return Err(self.reader.fault(&self.doing(), &error));
            }
            match self.reader.next(deadline, decoded).await {
                Ok(Read::Nothing) => {}
                Ok(Read::Record(read)) => self.add(read)?,
                Ok(Read::End(partition)) => {
                    self.unread.remove(&partition);
                }
                // What heals by itself is waited for until the deadline.
                Err(error) => match error.rdkafka_error_code().map(remedy) {
                    Some(Remedy::Halt) => return Err(self.reader.fault(&self.doing(), &error)),
                    _ => last_error = Some(error),
                },
            }
        }
        Ok(&self.lanes)
    }

    fn add(&mut self, read: Decoded) -> Result<(), Trouble> {
        let Decoded { partition, offset, at_ms, record } = read;
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
