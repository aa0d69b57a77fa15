//! What the service knows to be true about the streams of one table, indexed for the witness and the oracle.

use std::collections::BTreeMap;

use tailwater_model::Position;

use super::promise::Promise;
use crate::service::{TrueRecord, TrueShard, Truth};

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
    /// When it was written.
    pub created_at_ms: i64,
    /// From when on it could be read.
    pub visible_at_ms: i64,
    /// The service no longer has it.
    pub trimmed: bool,
    /// It was written before the pipeline's start, and may come or not.
    pub is_optional: bool,
    /// A rule of the user drops it.
    pub is_filtered: bool,
}

impl Written {
    /// Nobody can miss it in the sink.
    pub fn is_excused(&self) -> bool {
        self.is_free() || self.is_filtered
    }

    /// Nobody has to read it.
    pub fn is_free(&self) -> bool {
        self.trimmed || self.is_optional
    }
}

/// The truth of the streams of one table, one after the other.
#[derive(Debug, Default)]
pub struct History {
    promise: Promise,
    /// All records in the order in which they became known.
    pub records: Vec<Written>,
    /// Their places by event id.
    pub by_event_id: BTreeMap<String, usize>,
    of_key: BTreeMap<String, Vec<usize>>,
    of_shard: BTreeMap<String, Vec<usize>>,
    shards: BTreeMap<String, KnownShard>,
    /// ARNs, oldest first.
    streams: Vec<String>,
}

#[derive(Debug)]
struct KnownShard {
    /// The number of its stream.
    stream: usize,
    parent: Option<String>,
    closed_at_ms: Option<i64>,
    trimmed: bool,
    /// Of its known records, so many of the oldest are known to be trimmed.
    unreadable: usize,
}

impl History {
    /// The truth under this promise.
    pub fn under(promise: Promise) -> Self {
        Self { promise, ..Self::default() }
    }

    /// The pipeline has begun with this stream.
    pub fn started(&mut self, first_stream: usize) {
        self.promise.first_stream = first_stream;
        self.judge_again();
    }

    /// Everything is stored that the start of the pipeline needs.
    pub fn known(&mut self, at_ms: i64) {
        self.promise.since_ms.get_or_insert(at_ms);
        self.judge_again();
    }

    /// Whether a record came too late for a run that was to end at the tip.
    pub fn is_late(&self, record: &Written) -> bool {
        record.visible_at_ms - record.created_at_ms > self.promise.visible_within_ms
    }

    /// One of the streams is there no more.
    pub fn has_gone_stream(&self) -> bool {
        (0..self.streams.len()).any(|stream| self.is_gone(stream))
    }

    /// The stream of this shard is there no more.
    pub fn is_of_gone_stream(&self, shard: &str) -> bool {
        self.stream_of(shard).is_some_and(|stream| self.is_gone(stream))
    }

    /// A stream that is there has an open shard, or shards that are younger than a day.
    fn is_gone(&self, stream: usize) -> bool {
        self.shards.values().filter(|shard| shard.stream == stream).all(|shard| shard.trimmed)
    }

    fn judge_again(&mut self) {
        for record in &mut self.records {
            let stream = self.shards.get(&record.shard).map_or(0, |shard| shard.stream);
            record.is_optional = self.promise.is_optional(stream, record.created_at_ms);
        }
    }

    /// Takes in what is new.
    pub fn learn(&mut self, truth: Truth<'_>) {
        for shard in truth.shards() {
            self.learn_shard(&shard);
        }
        for shard in truth.shards() {
            let known = self.of_shard(shard.id).len();
            for record in shard.records_from(known) {
                self.push(&record);
            }
        }
    }

    fn learn_shard(&mut self, shard: &TrueShard<'_>) {
        if !self.shards.contains_key(shard.id) {
            let stream = self.learn_stream(shard.stream_arn);
            let parent = shard.parent.map(ToOwned::to_owned);
            let new = KnownShard { stream, parent, closed_at_ms: None, trimmed: false, unreadable: 0 };
            self.shards.insert(shard.id.to_owned(), new);
        }
        let Some(known) = self.shards.get_mut(shard.id) else { return };
        known.closed_at_ms = shard.closed_at_ms;
        known.trimmed = shard.gone;
        let of_shard = self.of_shard.get(shard.id).map_or(&[][..], Vec::as_slice);
        let unreadable = shard.unreadable().min(of_shard.len());
        for index in of_shard.get(known.unreadable..unreadable).unwrap_or_default() {
            self.records[*index].trimmed = true;
        }
        known.unreadable = unreadable;
    }

    fn learn_stream(&mut self, arn: &str) -> usize {
        self.streams.iter().position(|known| known == arn).unwrap_or_else(|| {
            self.streams.push(arn.to_owned());
            self.streams.len() - 1
        })
    }

    fn push(&mut self, record: &TrueRecord<'_>) {
        let (key, index) = (&record.change.key, self.records.len());
        let stream = self.stream_of(record.shard).unwrap_or_default();
        let of_key = self.of_key.entry(key.clone()).or_default();
        self.records.push(Written {
            event_id: record.event_id.to_owned(),
            shard: record.shard.to_owned(),
            key: key.clone(),
            new: record.change.new.clone(),
            sequence_number: record.sequence_number.clone(),
            ordinal: of_key.len(),
            created_at_ms: record.created_at_ms,
            visible_at_ms: record.visible_at_ms,
            trimmed: record.trimmed,
            is_optional: self.promise.is_optional(stream, record.created_at_ms),
            is_filtered: self.promise.is_filtered(record.change),
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

    /// The number of the stream of a shard, counted from the oldest.
    pub fn stream_of(&self, shard: &str) -> Option<usize> {
        self.shards.get(shard).map(|shard| shard.stream)
    }

    /// How many streams there are or were.
    pub fn streams(&self) -> usize {
        self.streams.len()
    }

    /// The ARN of a stream.
    pub fn stream_arn(&self, number: usize) -> Option<&String> {
        self.streams.get(number)
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
        self.shards.get(shard).is_none_or(|shard| shard.closed_at_ms.is_some())
    }

    /// It was over by then, and a pipeline that begins then or later with what is written from now on leaves it out: nobody waits for
    /// its end.
    pub fn is_left_out(&self, shard: &str, by_ms: i64) -> bool {
        let Promise { from_latest, first_stream, .. } = self.promise;
        let known = self.shards.get(shard).filter(|shard| from_latest && shard.stream == first_stream);
        known.and_then(|shard| shard.closed_at_ms).is_some_and(|closed_at_ms| closed_at_ms <= by_ms)
    }

    /// The records of a shard that its position stands for, in stream order.
    pub fn covered_of(&self, shard: &str, positions: &BTreeMap<String, Position>) -> &[usize] {
        let of_shard = self.of_shard(shard);
        match positions.get(shard) {
            None | Some(Position::Start) => &[],
            Some(Position::End) => of_shard,
            Some(Position::After(number)) => {
                let number = number.as_str();
                // Numbers of one length are in the order of their digits.
                let rank = |index: &usize| {
                    let other = self.records[*index].sequence_number.as_str();
                    (other.len(), other).cmp(&(number.len(), number))
                };
                of_shard.binary_search_by(rank).map_or(&[], |at| &of_shard[..=at])
            }
        }
    }

    /// Whether the position of its shard stands for this record.
    pub fn covered(&self, index: usize, positions: &BTreeMap<String, Position>) -> bool {
        let covered = self.covered_of(&self.records[index].shard, positions);
        // Records of a shard are learnt in their order.
        covered.last().is_some_and(|last| index <= *last)
    }

    /// Records that were promised were trimmed before they were settled.
    pub fn lost_records(&self, settled: &[bool]) -> bool {
        self.records.iter().zip(settled).any(|(record, settled)| record.trimmed && !record.is_optional && !settled)
    }

    /// Something was trimmed before it was carried: records, or a shard that was not drained.
    pub fn lost_unread(&self, settled: &[bool], positions: &BTreeMap<String, Position>) -> bool {
        let undrained =
            |(id, shard): (&String, &KnownShard)| shard.trimmed && positions.get(id) != Some(&Position::End);
        self.lost_records(settled) || self.shards.iter().any(undrained)
    }

    /// The same of this shard, of those that it comes from and of those that come from it.
    pub fn lineage_lost_unread(&self, shard: &str, settled: &[bool], positions: &BTreeMap<String, Position>) -> bool {
        let is_of_lineage = |other: &str| self.comes_from(shard, other) || self.comes_from(other, shard);
        let lost = |index: &usize| {
            let record = &self.records[*index];
            record.trimmed && !record.is_optional && !settled[*index]
        };
        self.shards.iter().filter(|(id, _)| is_of_lineage(id)).any(|(id, known)| {
            let is_undrained = known.trimmed && positions.get(id) != Some(&Position::End);
            is_undrained || self.of_shard(id).iter().any(lost)
        })
    }

    /// Whether the record of this position was trimmed. Then the service cannot be asked what came after it: it says
    /// "trimmed" whether anything was lost or not.
    pub fn position_is_trimmed(&self, shard: &str, position: &Position) -> bool {
        let Position::After(number) = position else { return false };
        let of_shard = self.of_shard(shard).iter().map(|index| &self.records[*index]);
        self.shard_is_trimmed(shard)
            || of_shard.clone().any(|record| record.sequence_number == number.as_str() && record.trimmed)
    }

    /// A shard that is still there and not stored, or closed and not drained; also one that is gone and not given up yet,
    /// if it is of this stream or a later one.
    pub fn undrained(&self, positions: &BTreeMap<String, Position>, of_stream: usize) -> Option<String> {
        let waiting = |(id, shard): &(&String, &KnownShard)| match positions.get(*id) {
            None => !shard.trimmed,
            Some(position) => shard.closed_at_ms.is_some() && *position != Position::End,
        };
        self.shards.iter().filter(|(_, shard)| shard.stream >= of_stream).find(waiting).map(|(id, _)| id.clone())
    }

    /// Shards that are still there although all that came from them has gone: until they go, too, nothing shows what followed.
    pub fn outlive_their_children(&self) -> impl Iterator<Item = &String> {
        let mut is_shown: BTreeMap<&String, bool> = BTreeMap::new();
        for (id, shard) in &self.shards {
            if let Some(parent) = shard.parent.as_ref().filter(|parent| !self.shard_is_trimmed(parent)) {
                *is_shown.entry(parent).or_default() |= !self.shard_is_trimmed(id);
            }
        }
        is_shown.into_iter().filter(|(_, is_shown)| !is_shown).map(|(id, _)| id)
    }

    /// Shards that are still there.
    pub fn shards_listed(&self) -> usize {
        self.shards.values().filter(|shard| !shard.trimmed).count()
    }

    /// Open shards.
    pub fn open_shards(&self) -> Vec<String> {
        self.shards.iter().filter(|(_, shard)| shard.closed_at_ms.is_none()).map(|(id, _)| id.clone()).collect()
    }
}
