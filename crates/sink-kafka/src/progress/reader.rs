//! Reads lanes' partitions of the progress topic from their beginning.

use std::ops::Range;
use std::time::Duration;

use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use tailwater_model::{Trouble, TroubleKind};
use tokio::time::Instant;

use super::partitions::Partitions;
use super::records::{Malformed, ProgressRecord};
use super::session::SessionMark;
use super::state::LaneProgress;
use crate::client_config::Isolation;
use crate::cluster::{Cluster, Reader, StoredRecord};
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
    partitions: Partitions<R>,
    topic: String,
    lanes: Vec<LaneProgress>,
    first_lane: u32,
}

/// Everything that is stored for a pipeline of so many lanes, one per lane.
///
/// # Errors
/// When nothing more comes for `request_timeout`, when the broker refuses, and when a record is not ours.
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
        let reader = cluster.reader(lanes.clone(), Isolation::Committed)?;
        Ok(Self {
            partitions: Partitions::new(reader, lanes.clone()),
            topic: settings.progress_topic.clone(),
            first_lane: lanes.start,
            lanes: lanes.map(|_| LaneProgress::default()).collect(),
        })
    }

    /// Reads on, and gives what was read so far, one per lane. However much there is: what ends the reading is that nothing more
    /// comes, or a long log could never be read.
    ///
    /// # Errors
    /// When nothing more comes for as long as `within`, when the broker refuses, and when a record is not ours.
    pub(crate) async fn read(&mut self, until: &Until<'_>, within: Duration) -> Result<&[LaneProgress], Fault> {
        let mut deadline = Instant::now() + within;
        let mut last_error = None;
        self.partitions.begin();
        while !self.has_reached(until) {
            if Instant::now() >= deadline {
                let error = last_error.unwrap_or(KafkaError::MessageConsumption(RDKafkaErrorCode::OperationTimedOut));
                return Err(self.fault(&error));
            }
            let failed = match self.partitions.next(deadline, decoded).await {
                Ok(Some(read)) => {
                    self.add(read)?;
                    deadline = Instant::now() + within;
                    None
                }
                Ok(None) if matches!(until, Until::End) => self.partitions.ask_ends(deadline).await.err(),
                Ok(None) => None,
                Err(error) => Some(error),
            };
            // What heals by itself is waited for until the deadline.
            if let Some(error) = failed {
                if error.rdkafka_error_code().map(remedy) == Some(Remedy::Halt) {
                    return Err(self.fault(&error));
                }
                last_error = Some(error);
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
            Until::End => self.partitions.are_read(),
            Until::Barrier(mark) => self.lanes.iter().all(|lane| lane.barrier.as_deref() == Some(*mark)),
            Until::Session(mark) => {
                self.lanes.iter().all(|lane| lane.session.as_ref().is_some_and(|session| session.fact == **mark))
            }
        }
    }

    fn fault(&self, error: &KafkaError) -> Fault {
        let unread: Vec<_> = self.partitions.unread().map(|partition| partition.to_string()).collect();
        let doing = format!("reading the progress topic {} (partition {})", self.topic, unread.join(", "));
        self.partitions.reader().fault(&doing, error)
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

fn decoded(stored: &StoredRecord<'_>) -> Decoded {
    let StoredRecord { partition, offset, at_ms, .. } = *stored;
    Decoded { partition, offset, at_ms, record: ProgressRecord::of(stored) }
}
