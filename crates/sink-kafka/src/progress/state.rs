//! What the records of a partition add up to, and what a group does to it. Pure.

mod held;

use std::collections::BTreeMap;

use tailwater_model::{
    Batch, Counts, Failure, FirstListing, Group, Position, Progress, ServiceTime, ShardCheckpoint, ShardId,
};
use tailwater_model::{ShardProgress, Step, StreamIdentity, Trouble, TroubleKind};

use super::dead_letters::RecentDeadLetters;
use super::records::{GapKey, ProgressRecord, StoredGap, StoredShard, StoredStream};
use super::session::SessionMark;
use super::target::StoredTarget;
pub(crate) use held::lost_partition;

/// The most shards of other streams whose records one commit takes back (I6): the next one goes on.
const GONE_MAX: usize = 1000;

/// Everything that is durable for one lane.
#[derive(Clone, Debug, Default)]
pub(crate) struct LaneProgress {
    /// The newest opening; nothing in a partition that was never written to.
    pub(crate) session: Option<Timed<SessionMark>>,
    shards: BTreeMap<ShardKey, Timed<StoredShard>>,
    streams: BTreeMap<String, Timed<StoredStream>>,
    /// What shards accounted for that are not among `shards` any more.
    forgotten: Counts,
    topics: BTreeMap<String, i32>,
    /// What the progress of all lanes was made for.
    pub(crate) target: Option<StoredTarget>,
    /// What the last refused start left.
    pub(crate) salt: Option<String>,
    gaps: BTreeMap<GapKey, StoredGap>,
    /// Those of the last minute before the record was written.
    pub(crate) dead_letters: RecentDeadLetters,
    /// The `dead_letters_per_minute_max` that a person has to raise.
    pub(crate) brake: Option<Timed<u32>>,
    /// The newest barrier.
    pub(crate) barrier: Option<String>,
}

/// A fact with the time of its record, in milliseconds since 1970 by the broker's clock.
#[derive(Clone, Debug)]
pub(crate) struct Timed<T> {
    pub(crate) at_ms: i64,
    pub(crate) fact: T,
}

/// A shard of a stream.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
struct ShardKey {
    stream_arn: String,
    shard: ShardId,
}

/// What is known of a stream as a whole. Only the lane that stores it has it in its partition, and every lane tells it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct StreamFacts {
    /// The first complete listing.
    pub(crate) first_listing: Option<FirstListing>,
    /// When it was stored that the stream is known, by the broker's clock.
    pub(crate) known_at_ms: Option<i64>,
    /// When versions that stored no moments with the shards last had contact with the stream.
    last_contact: Option<ServiceTime>,
}

/// A step that does not fit to what is stored (I2).
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct StepRefused(String);

impl StepRefused {
    /// What is durable differs from what the lane believes, so the lane has to look again.
    pub(crate) fn failure(self) -> Failure {
        Failure::Reopen(Trouble::new(TroubleKind::Runtime, "sink.step_refused", self.0))
    }
}

impl LaneProgress {
    /// Adds a record, newer than all before. `at_ms` is the record's time.
    pub(crate) fn add(&mut self, record: ProgressRecord, at_ms: i64) {
        match record {
            ProgressRecord::Session(fact) => self.session = Some(Timed { at_ms, fact }),
            ProgressRecord::Shard { stream_arn, shard, stored } => {
                self.shards.insert(ShardKey { stream_arn, shard }, Timed { at_ms, fact: stored });
            }
            ProgressRecord::ShardGone { stream_arn, shard } => {
                self.shards.remove(&ShardKey { stream_arn, shard });
            }
            ProgressRecord::Stream { stream_arn, stored } => {
                self.streams.insert(stream_arn, Timed { at_ms, fact: stored });
            }
            ProgressRecord::StreamGone { stream_arn } => {
                self.streams.remove(&stream_arn);
            }
            ProgressRecord::Forgotten(counts) => self.forgotten = counts,
            ProgressRecord::Topic { name, partitions } => {
                self.topics.insert(name, partitions);
            }
            ProgressRecord::Target(stored) => self.target = Some(stored),
            ProgressRecord::Salt(salt) => self.salt = Some(salt),
            ProgressRecord::SaltGone => self.salt = None,
            ProgressRecord::Gap(gap, stored) => {
                self.gaps.insert(gap, stored);
            }
            ProgressRecord::DeadLetters(recent) => self.dead_letters = recent,
            ProgressRecord::Brake { per_minute_max } => self.brake = Some(Timed { at_ms, fact: per_minute_max }),
            ProgressRecord::BrakeGone => self.brake = None,
            ProgressRecord::Barrier(mark) => self.barrier = Some(mark),
            // They are of owners, and outside of what the fence keeps.
            ProgressRecord::Life(_) | ProgressRecord::HandedOver(_) => {}
        }
    }

    /// The partitions that the topic had when it was last written to.
    pub(crate) fn partitions_of(&self, topic: &str) -> Option<i32> {
        self.topics.get(topic).copied()
    }

    /// Events that were written, by what is accounted for, those of forgotten shards too.
    pub(crate) fn written(&self) -> u64 {
        let stored: u64 = self.shards.values().map(|stored| stored.fact.counts.written).sum();
        stored + self.forgotten.written
    }

    /// Whether every step of a group fits to what is stored (I2).
    pub(crate) fn check_steps(&self, group: &Group, stream: &StreamIdentity) -> Result<(), StepRefused> {
        let mut moved: BTreeMap<&ShardId, Option<&Position>> = BTreeMap::new();
        for batch in &group.batches {
            let stored = || {
                let key = ShardKey { stream_arn: stream.stream_arn.clone(), shard: batch.shard.clone() };
                self.shard(&key).map(|stored| &stored.position)
            };
            let before = moved.get(&batch.shard).copied().unwrap_or_else(stored);
            moved.insert(&batch.shard, position_after(batch, before)?);
        }
        Ok(())
    }

    /// The records that a group adds: one per shard that moves or is forgotten, and those of gaps and of the stream. Every
    /// step is held to what is stored (I2), as by [`check_steps`](Self::check_steps). Where the stream is known, since
    /// `known_at_ms` by the broker's clock, the table's earlier streams leave with them.
    pub(crate) fn records_of(
        &self,
        group: &Group,
        stream: &StreamIdentity,
        known_at_ms: Option<i64>,
    ) -> Result<Vec<ProgressRecord>, StepRefused> {
        let stream_arn = &stream.stream_arn;
        let mut moved: BTreeMap<ShardKey, Option<StoredShard>> = BTreeMap::new();
        let mut forgotten = self.forgotten;
        let mut records = Vec::new();
        for batch in &group.batches {
            let key = ShardKey { stream_arn: stream_arn.clone(), shard: batch.shard.clone() };
            let before = moved.get(&key).map_or_else(|| self.shard(&key), Option::as_ref);
            let stored = moved_by(batch, before)?;
            if let (None, Some(before)) = (&stored, before) {
                forgotten += before.counts;
                forgotten += batch.counts;
            }
            moved.insert(key, stored);
            if let Some(gap) = &batch.gap {
                // One that is found again has grown, and never shrinks.
                let key = GapKey::of(gap, stream_arn);
                let stored = StoredGap::of(gap).with(self.gaps.get(&key));
                records.push(ProgressRecord::Gap(key, stored));
            }
        }
        for (key, stored) in moved {
            match stored {
                Some(stored) => {
                    let ShardKey { stream_arn, shard } = key;
                    records.push(ProgressRecord::Shard { stream_arn, shard, stored });
                }
                // Of a shard that came and went within the group nothing is stored.
                None if self.shards.contains_key(&key) => records.push(gone(&key)),
                None => {}
            }
        }
        records.extend(self.stream_record(group, stream));
        if let Some(known_at_ms) = known_at_ms {
            records.extend(self.without_earlier_streams(stream, known_at_ms, &mut forgotten));
        }
        // One sum for all that leaves: a second record would take the place of the first.
        records.extend((forgotten != self.forgotten).then_some(ProgressRecord::Forgotten(forgotten)));
        Ok(records)
    }

    /// A shard of this partition that another lane would look for elsewhere, where there are so many lanes.
    pub(crate) fn shard_of_another_lane(&self, number: u32, lanes: u32) -> Option<&ShardId> {
        self.shards.keys().map(|key| &key.shard).find(|shard| shard.lane(lanes) != number)
    }

    fn shard(&self, key: &ShardKey) -> Option<&StoredShard> {
        self.shards.get(key).map(|timed| &timed.fact)
    }

    /// The record of a stream that is listed or becomes known. What is stored of a known one stays.
    fn stream_record(&self, group: &Group, stream: &StreamIdentity) -> Option<ProgressRecord> {
        let FirstListing { at, is_stored, follows_another } = group.first_listing?;
        if self.streams.get(&stream.stream_arn).is_some_and(|stored| stored.fact.known) {
            return None;
        }
        let stored = StoredStream {
            table: stream.table.clone(),
            table_id: stream.table_id.clone(),
            known: is_stored,
            known_since_ms: Some(at.ms()),
            follows_another,
        };
        Some(ProgressRecord::Stream { stream_arn: stream.stream_arn.clone(), stored })
    }

    /// The records by which the table's earlier streams leave this partition, some of them at a time: what was stored of
    /// them before this one was known, at this time by the broker's clock, nobody asks for any more. What their shards
    /// accounted for is added to `forgotten`.
    fn without_earlier_streams(
        &self,
        stream: &StreamIdentity,
        known_at_ms: i64,
        forgotten: &mut Counts,
    ) -> Vec<ProgressRecord> {
        let is_earlier = |stream_arn: &str, at_ms: i64| is_other_stream(stream_arn, stream) && at_ms <= known_at_ms;
        let mut records = Vec::new();
        let shards = self.shards.iter().filter(|(key, stored)| is_earlier(&key.stream_arn, stored.at_ms));
        for (key, stored) in shards.take(GONE_MAX) {
            *forgotten += stored.fact.counts;
            records.push(gone(key));
        }
        let streams = self.streams.iter().filter(|(stream_arn, stored)| is_earlier(stream_arn, stored.at_ms));
        records.extend(streams.map(|(arn, _)| ProgressRecord::StreamGone { stream_arn: arn.clone() }));
        records
    }

    /// What this partition says of a stream as a whole.
    pub(crate) fn stream_facts(&self, stream_arn: &str) -> Option<StreamFacts> {
        let Timed { at_ms, fact } = self.streams.get(stream_arn)?;
        let last_contact = fact.known_since_ms.is_none().then(|| ServiceTime::from_ms(*at_ms));
        let at = fact.known_since_ms.map(ServiceTime::from_ms).or(last_contact.filter(|_| fact.known));
        Some(StreamFacts {
            first_listing: at.map(|at| FirstListing {
                at,
                is_stored: fact.known,
                follows_another: fact.follows_another,
            }),
            known_at_ms: Some(*at_ms).filter(|_| fact.known),
            last_contact,
        })
    }

    /// The id of the table that a stream is of.
    pub(crate) fn table_id_of(&self, stream_arn: &str) -> Option<&str> {
        self.streams.get(stream_arn).map(|stored| stored.fact.table_id.as_str())
    }

    /// What is stored of the shards of a stream.
    pub(crate) fn shards_of(&self, stream_arn: &str, facts: StreamFacts) -> impl Iterator<Item = ShardProgress> {
        let shards = self.shards.iter().filter(move |(key, _)| key.stream_arn == stream_arn);
        shards.map(move |(key, stored)| ShardProgress {
            shard: key.shard.clone(),
            parent: stored.fact.parent.clone(),
            position: stored.fact.position.clone(),
            read_until: stored.fact.read_until.or(facts.last_contact),
        })
    }

    /// What the source needs to know.
    pub(crate) fn progress(&self, stream: &StreamIdentity, facts: StreamFacts) -> Progress {
        let shards = self.shards_of(&stream.stream_arn, facts).collect();
        Progress { shards, first_listing: facts.first_listing, previous_stream: None }
    }

    /// The streams of the same table that were read before, with the time of the last sign of each.
    pub(crate) fn other_streams(&self, stream: &StreamIdentity) -> impl Iterator<Item = (i64, &str)> {
        let known = self.streams.iter().filter(|(_, stored)| stored.fact.known);
        known
            .map(|(arn, stored)| (stored.at_ms, arn.as_str()))
            .chain(self.shards.iter().map(|(key, stored)| (stored.at_ms, key.stream_arn.as_str())))
            .filter(|(_, arn)| is_other_stream(arn, stream))
    }

    /// The stored shards, for people. The times are milliseconds since 1970.
    pub(crate) fn checkpoints(
        &self,
        lane: u32,
        facts: impl Fn(&str) -> StreamFacts,
        time: impl Fn(i64) -> String,
    ) -> Vec<ShardCheckpoint> {
        let row = |(key, stored): (&ShardKey, &Timed<StoredShard>)| ShardCheckpoint {
            stream_arn: key.stream_arn.clone(),
            shard: key.shard.clone(),
            parent: stored.fact.parent.clone(),
            lane,
            position: stored.fact.position.clone(),
            read_until: stored.fact.read_until.or_else(|| facts(&key.stream_arn).last_contact),
            counts: stored.fact.counts,
            updated_at: time(stored.at_ms),
        };
        self.shards.iter().map(row).collect()
    }

    /// Records that went to the dead letters, those of forgotten shards too.
    pub(crate) fn dead_letter_count(&self) -> u64 {
        let stored: u64 = self.shards.values().map(|stored| stored.fact.counts.dead_lettered).sum();
        stored + self.forgotten.dead_lettered
    }

    /// The gaps on record. One of the whole stream may stand in several lanes.
    pub(crate) fn gaps(&self) -> impl Iterator<Item = &GapKey> {
        self.gaps.keys()
    }

    /// When the newest of them was found.
    pub(crate) fn gaps_until(&self) -> Option<ServiceTime> {
        self.gaps.values().filter_map(StoredGap::until).max()
    }
}

/// What becomes of a shard by a batch; nothing when it is forgotten.
fn moved_by(batch: &Batch, before: Option<&StoredShard>) -> Result<Option<StoredShard>, StepRefused> {
    let Some(position) = position_after(batch, before.map(|before| &before.position))? else { return Ok(None) };
    let parent = match &batch.step {
        Step::Register { parent, .. } => parent.clone(),
        Step::Advance(_) | Step::Forget => before.and_then(|before| before.parent.clone()),
    };
    let mut counts = before.map(|before| before.counts).unwrap_or_default();
    counts += batch.counts;
    let read_until = batch.read_until.or_else(|| before?.read_until);
    Ok(Some(StoredShard { parent, position: position.clone(), read_until, counts }))
}

/// Where a shard stands after a batch; nothing when it is forgotten.
fn position_after<'a>(batch: &'a Batch, before: Option<&Position>) -> Result<Option<&'a Position>, StepRefused> {
    let shard = &batch.shard;
    match (&batch.step, before) {
        (Step::Register { position, .. }, None) => Ok(Some(position)),
        (Step::Advance(advance), Some(before)) if *before == advance.from => Ok(Some(&advance.to)),
        (Step::Forget, Some(Position::End)) => Ok(None),
        (Step::Register { .. }, Some(_)) => {
            Err(StepRefused(format!("shard {shard} is stored already: the step does not fit")))
        }
        (Step::Advance(_) | Step::Forget, _) => {
            let from = if let Step::Advance(advance) = &batch.step { &advance.from } else { &Position::End };
            Err(StepRefused(format!("shard {shard} is not stored at position {from}: the step does not fit")))
        }
    }
}

fn gone(key: &ShardKey) -> ProgressRecord {
    ProgressRecord::ShardGone { stream_arn: key.stream_arn.clone(), shard: key.shard.clone() }
}

/// Whether it is another stream of the same table, which its ARN names:
/// `arn:aws:dynamodb:REGION:ACCOUNT:table/NAME/stream/LABEL`.
fn is_other_stream(stream_arn: &str, stream: &StreamIdentity) -> bool {
    stream_arn != stream.stream_arn && stream_arn.split('/').nth(1) == Some(stream.table.as_str())
}

#[cfg(test)]
mod tests;
