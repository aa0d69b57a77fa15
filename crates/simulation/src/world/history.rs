//! What the service knows to be true about one stream, indexed for the witness and the oracle.

use std::collections::BTreeMap;

use tailwater_model::Position;

use crate::service::{TrueRecord, Truth};

/// A record that was written, trimmed or not.
#[derive(Clone, Debug)]
pub struct Written {
    /// DynamoDB's id of the record.
    pub event_id: String,
    /// The shard.
    pub shard: String,
    /// The key in typed JSON.
    pub key: String,
    /// The new image in typed JSON.
    pub new: Option<String>,
    /// Its place in the shard.
    pub sequence_number: String,
    /// Its place among the changes of its item, from 0.
    pub ordinal: usize,
    /// The service no longer has it.
    pub trimmed: bool,
}

/// The truth of one stream.
#[derive(Debug, Default)]
pub struct History {
    /// All records in the order in which they became known.
    pub records: Vec<Written>,
    /// Their places by event id.
    pub by_event_id: BTreeMap<String, usize>,
    of_key: BTreeMap<String, Vec<usize>>,
    of_shard: BTreeMap<String, Vec<usize>>,
    shards: BTreeMap<String, KnownShard>,
}

#[derive(Debug)]
struct KnownShard {
    parent: Option<String>,
    closed: bool,
    trimmed: bool,
}

impl History {
    /// Takes in what is new.
    pub fn learn<'a>(&mut self, truth: Truth<'a>, stream_arn: &'a str) {
        for shard in truth.shards().filter(|shard| shard.stream_arn == stream_arn) {
            let known = KnownShard {
                parent: shard.parent.map(ToOwned::to_owned),
                closed: shard.closed_at_ms.is_some(),
                trimmed: shard.gone,
            };
            self.shards.insert(shard.id.to_owned(), known);
        }
        let (mut shard, mut at) = ("", 0);
        for record in truth.records(stream_arn) {
            at = if record.shard == shard { at + 1 } else { 0 };
            shard = record.shard;
            match self.of_shard.get(shard).and_then(|of_shard| of_shard.get(at)) {
                Some(known) => self.records[*known].trimmed = record.trimmed,
                None => self.push(&record),
            }
        }
    }

    fn push(&mut self, record: &TrueRecord<'_>) {
        let (key, index) = (&record.change.key, self.records.len());
        let of_key = self.of_key.entry(key.clone()).or_default();
        self.records.push(Written {
            event_id: record.event_id.to_owned(),
            shard: record.shard.to_owned(),
            key: key.clone(),
            new: record.change.new.clone(),
            sequence_number: record.sequence_number.clone(),
            ordinal: of_key.len(),
            trimmed: record.trimmed,
        });
        of_key.push(index);
        self.of_shard.entry(record.shard.to_owned()).or_default().push(index);
        self.by_event_id.insert(record.event_id.to_owned(), index);
    }

    /// The changes of an item, oldest first.
    pub fn of_key(&self, key: &str) -> &[usize] {
        self.of_key.get(key).map_or(&[], Vec::as_slice)
    }

    /// The records of a shard in stream order.
    pub fn of_shard(&self, shard: &str) -> &[usize] {
        self.of_shard.get(shard).map_or(&[], Vec::as_slice)
    }

    /// The shards that ever had records, with these in stream order.
    pub fn shards_with_records(&self) -> impl Iterator<Item = (&String, &Vec<usize>)> {
        self.of_shard.iter()
    }

    /// The keys with their changes.
    pub fn keys(&self) -> impl Iterator<Item = (&String, &Vec<usize>)> {
        self.of_key.iter()
    }

    /// The parent of a shard.
    pub fn parent(&self, shard: &str) -> Option<&String> {
        self.shards.get(shard)?.parent.as_ref()
    }

    /// Whether a shard is another one or descends from it.
    pub fn comes_from(&self, shard: &str, ancestor: &str) -> bool {
        std::iter::successors(Some(shard), |shard| self.parent(shard).map(String::as_str)).any(|one| one == ancestor)
    }

    /// The service no longer has anything of this shard.
    pub fn shard_is_trimmed(&self, shard: &str) -> bool {
        self.shards.get(shard).is_none_or(|shard| shard.trimmed)
    }

    /// No record will be added.
    pub fn shard_is_closed(&self, shard: &str) -> bool {
        self.shards.get(shard).is_none_or(|shard| shard.closed)
    }

    /// Whether the position of its shard stands for this record.
    pub fn covered(&self, index: usize, positions: &BTreeMap<String, Position>) -> bool {
        let record = &self.records[index];
        match positions.get(&record.shard) {
            None | Some(Position::Start) => false,
            Some(Position::End) => true,
            Some(Position::After(number)) => {
                let of_shard = self.of_shard(&record.shard);
                let at = of_shard.iter().position(|at| self.records[*at].sequence_number == number.as_str());
                at.is_some_and(|at| of_shard.iter().position(|one| *one == index) <= Some(at))
            }
        }
    }

    /// Records were trimmed before they were settled.
    pub fn lost_records(&self, settled: &[bool]) -> bool {
        self.records.iter().zip(settled).any(|(record, settled)| record.trimmed && !settled)
    }

    /// Something was trimmed before it was carried: records, or a shard that was not drained.
    pub fn lost_unread(&self, settled: &[bool], positions: &BTreeMap<String, Position>) -> bool {
        let undrained =
            |(id, shard): (&String, &KnownShard)| shard.trimmed && positions.get(id) != Some(&Position::End);
        self.lost_records(settled) || self.shards.iter().any(undrained)
    }

    /// Whether the record of this position was trimmed. Then the service cannot be asked what came after it: it says
    /// "trimmed" whether anything was lost or not.
    pub fn position_is_trimmed(&self, shard: &str, position: Option<&Position>) -> bool {
        let Some(Position::After(number)) = position else { return false };
        let of_shard = self.of_shard(shard).iter().map(|index| &self.records[*index]);
        self.shard_is_trimmed(shard)
            || of_shard.clone().any(|record| record.sequence_number == number.as_str() && record.trimmed)
    }

    /// A shard that is still there and not stored, or closed and not drained; also one that is gone and not given up yet.
    pub fn undrained(&self, positions: &BTreeMap<String, Position>) -> Option<String> {
        let waiting = |(id, shard): &(&String, &KnownShard)| match positions.get(*id) {
            None => !shard.trimmed,
            Some(position) => shard.closed && *position != Position::End,
        };
        self.shards.iter().find(waiting).map(|(id, _)| id.clone())
    }

    /// Shards that are still there.
    pub fn shards_listed(&self) -> usize {
        self.shards.values().filter(|shard| !shard.trimmed).count()
    }

    /// Open shards.
    pub fn open_shards(&self) -> Vec<String> {
        self.shards.iter().filter(|(_, shard)| !shard.closed).map(|(id, _)| id.clone()).collect()
    }
}
