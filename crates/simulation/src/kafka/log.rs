//! The log of one partition: records and markers, what is stable, and which records a producer has written already. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;

use rdkafka::error::RDKafkaErrorCode;
use tailwater_sink_kafka::Isolation;

/// The broker's number of a producer.
pub(crate) type ProducerId = i64;
/// Grows with each take-over of a transactional id.
pub(crate) type Epoch = i32;

/// A fetch brings at least this part of what is left.
const LEFT_PER_FETCH: usize = 4;

/// A message as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The key.
    pub key: Vec<u8>,
    /// The value; nothing is a tombstone.
    pub value: Option<Vec<u8>>,
    /// Names and values of the headers, in their order.
    pub headers: Vec<(String, Vec<u8>)>,
}

/// Who writes a record, and as which of its records in this partition.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stamp {
    pub(crate) producer: ProducerId,
    pub(crate) epoch: Epoch,
    pub(crate) sequence: u64,
    pub(crate) is_transactional: bool,
}

/// A record in its place.
#[derive(Clone, Debug)]
pub(crate) struct Stored {
    pub(crate) offset: i64,
    pub(crate) at_ms: i64,
    pub(crate) record: Arc<Record>,
}

/// What became of a record's transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It has not ended in this partition.
    Open,
    /// Or the record is in none.
    Committed,
    Aborted,
}

#[derive(Clone, Debug)]
enum Entry {
    Record {
        producer: ProducerId,
        fate: Fate,
        at_ms: i64,
        record: Arc<Record>,
    },
    /// The end of a transaction takes an offset and is shown to nobody (Kafka's protocol, "Control Batches").
    Marker,
    /// Compacted away.
    Gone,
}

/// What the partition knows of a producer (Kafka, `ProducerStateEntry`).
#[derive(Clone, Copy, Debug)]
struct Writer {
    epoch: Epoch,
    next_sequence: u64,
}

/// A partition.
#[derive(Clone, Debug, Default)]
pub(crate) struct PartitionLog {
    entries: Vec<Entry>,
    /// The offset at which each open transaction began.
    open: BTreeMap<ProducerId, i64>,
    writers: BTreeMap<ProducerId, Writer>,
}

/// What a fetch brings.
#[derive(Clone, Debug)]
pub(crate) struct Fetched {
    pub(crate) records: Vec<Stored>,
    /// Where to go on.
    pub(crate) next: i64,
    /// Everything that may be shown was given.
    pub(crate) is_end: bool,
}

impl PartitionLog {
    /// Appends a record, or leaves it out when this producer has written it already. Gives its place if it is new.
    ///
    /// # Errors
    /// An epoch or a number that does not fit (KIP-98, "Idempotent Producer Guarantees").
    pub(crate) fn append(
        &mut self,
        stamp: Stamp,
        record: &Arc<Record>,
        at_ms: i64,
    ) -> Result<Option<Stored>, RDKafkaErrorCode> {
        if let Some(writer) = self.writers.get(&stamp.producer) {
            let expected = if stamp.epoch > writer.epoch { 0 } else { writer.next_sequence };
            if stamp.epoch < writer.epoch {
                return Err(RDKafkaErrorCode::InvalidProducerEpoch);
            }
            if stamp.sequence < expected {
                return Ok(None);
            }
            if stamp.sequence > expected {
                return Err(RDKafkaErrorCode::OutOfOrderSequenceNumber);
            }
        }
        let offset = self.end();
        let fate = if stamp.is_transactional { Fate::Open } else { Fate::Committed };
        if stamp.is_transactional {
            self.open.entry(stamp.producer).or_insert(offset);
        }
        self.writers.insert(stamp.producer, Writer { epoch: stamp.epoch, next_sequence: stamp.sequence + 1 });
        self.entries.push(Entry::Record { producer: stamp.producer, fate, at_ms, record: Arc::clone(record) });
        Ok(Some(Stored { offset, at_ms, record: Arc::clone(record) }))
    }

    /// Writes the marker that ends a producer's transaction here.
    pub(crate) fn end_transaction(&mut self, producer: ProducerId, epoch: Epoch, commits: bool) {
        if let Some(first) = self.open.remove(&producer) {
            let ended = if commits { Fate::Committed } else { Fate::Aborted };
            for entry in self.entries.iter_mut().skip(usize::try_from(first).unwrap_or(usize::MAX)) {
                if let Entry::Record { producer: of, fate: fate @ Fate::Open, .. } = entry
                    && *of == producer
                {
                    *fate = ended;
                }
            }
        }
        let writer = self.writers.entry(producer).or_insert(Writer { epoch, next_sequence: 0 });
        if epoch > writer.epoch {
            *writer = Writer { epoch, next_sequence: 0 };
        }
        self.entries.push(Entry::Marker);
    }

    /// The offset behind the last entry (the high watermark).
    pub(crate) fn end(&self) -> i64 {
        offset_of(self.entries.len())
    }

    /// The last stable offset: where the first open transaction begins. Readers of committed records see nothing from
    /// there on, not even what is committed (KIP-98, "Reading Transactional Messages").
    pub(crate) fn last_stable(&self) -> i64 {
        self.open.values().copied().min().unwrap_or_else(|| self.end())
    }

    /// Where the partition ends for such readers.
    pub(crate) fn end_for(&self, isolation: Isolation) -> i64 {
        match isolation {
            Isolation::Committed => self.last_stable(),
            Isolation::Uncommitted => self.end(),
        }
    }

    /// Records from an offset on, up to what is shown: so many at most, or a part of what is left where that is more. In Kafka a
    /// fetch is bounded by bytes, and small records come by the ten thousand.
    pub(crate) fn fetch(&self, from: i64, records_max: usize, shown: i64, isolation: Isolation) -> Fetched {
        let shows_all = isolation == Isolation::Uncommitted;
        let end = self.end_for(isolation).min(shown);
        let left = usize::try_from(end - from.max(0)).unwrap_or_default();
        let records_max = records_max.max(left / LEFT_PER_FETCH);
        let mut fetched = Fetched { records: Vec::new(), next: from.max(0), is_end: false };
        while fetched.next < end && fetched.records.len() < records_max {
            let at = self.at(fetched.next).filter(|(_, _, fate)| shows_all || *fate == Fate::Committed);
            fetched.records.extend(at.map(|(stored, _, _)| stored));
            fetched.next += 1;
        }
        fetched.is_end = fetched.next >= end;
        fetched
    }

    fn at(&self, offset: i64) -> Option<(Stored, ProducerId, Fate)> {
        match self.entries.get(usize::try_from(offset).ok()?)? {
            Entry::Record { producer, fate, at_ms, record } => {
                Some((Stored { offset, at_ms: *at_ms, record: Arc::clone(record) }, *producer, *fate))
            }
            Entry::Marker | Entry::Gone => None,
        }
    }

    /// Every record that is left, with its producer and fate, stable or not.
    pub(crate) fn all(&self) -> impl Iterator<Item = (Stored, ProducerId, Fate)> {
        (0..self.end()).filter_map(|offset| self.at(offset))
    }

    /// The records of a producer's open transaction.
    pub(crate) fn open_records(&self, producer: ProducerId) -> impl Iterator<Item = Stored> {
        let first = self.open.get(&producer).copied().unwrap_or_else(|| self.end());
        let of_producer = move |(stored, of, fate): (Stored, ProducerId, Fate)| {
            (of == producer && fate == Fate::Open).then_some(stored)
        };
        (first..self.end()).filter_map(|offset| self.at(offset)).filter_map(of_producer)
    }

    /// Deletes all records, open ones too. Offsets stay as they are.
    pub(crate) fn purge(&mut self) {
        self.open.clear();
        self.entries.fill(Entry::Gone);
    }

    /// Drops stable records that were aborted or whose key has a newer committed one (`cleanup.policy=compact`). Offsets
    /// stay as they are.
    pub(crate) fn compact(&mut self) {
        let stable = self.last_stable();
        let mut newest: BTreeMap<Vec<u8>, i64> = BTreeMap::new();
        for (stored, _, fate) in self.all().filter(|(stored, _, _)| stored.offset < stable) {
            if fate == Fate::Committed {
                newest.insert(stored.record.key.clone(), stored.offset);
            }
        }
        for (index, entry) in self.entries.iter_mut().enumerate() {
            let offset = offset_of(index);
            if let Entry::Record { record, .. } = entry
                && offset < stable
                && newest.get(&record.key) != Some(&offset)
            {
                *entry = Entry::Gone;
            }
        }
    }
}

fn offset_of(index: usize) -> i64 {
    i64::try_from(index).unwrap_or(i64::MAX)
}
