//! Reads partitions of the progress topic on, and knows when their ends are reached.

use std::collections::BTreeMap;
use std::ops::Range;

use rdkafka::error::KafkaError;
use tokio::time::Instant;

use crate::cluster::{Read, Reader, StoredRecord};

/// A reader, with what it has come to.
pub(crate) struct Partitions<R> {
    reader: R,
    /// Behind what was read of each partition.
    positions: BTreeMap<i32, i64>,
    /// Where each partition ends, as its leader told since the reading began.
    ends: BTreeMap<i32, i64>,
}

impl<R: Reader> Partitions<R> {
    /// Those of these lanes, by a new reader of them.
    pub(crate) fn new(reader: R, lanes: Range<u32>) -> Self {
        let positions = lanes.map(i32::try_from).filter_map(Result::ok).map(|partition| (partition, 0)).collect();
        Self { reader, positions, ends: BTreeMap::new() }
    }

    /// Begins to read on: ends have to be told anew.
    pub(crate) fn begin(&mut self) {
        self.ends.clear();
    }

    /// Whether every partition has told its end and was read up to it.
    pub(crate) fn are_read(&self) -> bool {
        self.unread().next().is_none()
    }

    /// Those that have not told their end, or were not read up to it.
    pub(crate) fn unread(&self) -> impl Iterator<Item = i32> {
        let is_read = |partition: i32, position: i64| self.ends.get(&partition).is_some_and(|end| position >= *end);
        self.positions
            .iter()
            .filter(move |(partition, position)| !is_read(**partition, **position))
            .map(|(partition, _)| *partition)
    }

    /// The next record; nothing where none is shown for now.
    ///
    /// # Errors
    /// Those of the broker. One that may pass is no reason not to ask again.
    pub(crate) async fn next<T: Send>(
        &mut self,
        deadline: Instant,
        decode: impl FnOnce(&StoredRecord<'_>) -> T + Send,
    ) -> Result<Option<T>, KafkaError> {
        match self.reader.next(deadline, |record| (record.partition, record.offset, decode(&record))).await? {
            Read::Nothing => Ok(None),
            Read::End { partition, offset } => {
                self.reached(partition, offset);
                Ok(None)
            }
            Read::Record((partition, offset, decoded)) => {
                self.reached(partition, offset.saturating_add(1));
                Ok(Some(decoded))
            }
        }
    }

    /// Asks where the partitions end, each until it has answered once. Only after [`next`](Self::next) has shown nothing: a
    /// client that was never polled may have no bearer token.
    ///
    /// # Errors
    /// As [`next`](Self::next).
    pub(crate) async fn ask_ends(&mut self, deadline: Instant) -> Result<(), KafkaError> {
        for partition in self.positions.keys() {
            if !self.ends.contains_key(partition) {
                self.ends.insert(*partition, self.reader.end(*partition, deadline).await?);
            }
        }
        Ok(())
    }

    /// The reader, for the meaning of its errors.
    pub(crate) fn reader(&self) -> &R {
        &self.reader
    }

    fn reached(&mut self, partition: i32, offset: i64) {
        if let Some(position) = self.positions.get_mut(&partition) {
            *position = offset.max(*position);
        }
    }
}
