//! What the records of a partition add up to, and what a group does to it. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tailwater_model::{Batch, Counts, Failure, Group, Progress, ShardCheckpoint, ShardId, ShardProgress, Step};
use tailwater_model::{StreamIdentity, Trouble, TroubleKind};

use super::records::{GapKey, ProgressRecord, SessionMark, StoredShard, StoredStream};

/// Everything that is durable for one lane.
#[derive(Clone, Debug, Default)]
pub(crate) struct LaneProgress {
    /// The newest opening; nothing in a partition that was never written to.
    pub(crate) session: Option<Timed<SessionMark>>,
    shards: BTreeMap<ShardKey, Timed<StoredShard>>,
    streams: BTreeMap<String, Timed<StoredStream>>,
    topics: BTreeMap<String, i32>,
    gaps: BTreeSet<GapKey>,
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
            ProgressRecord::Stream { stream_arn, stored } => {
                self.streams.insert(stream_arn, Timed { at_ms, fact: stored });
            }
            ProgressRecord::Topic { name, partitions } => {
                self.topics.insert(name, partitions);
            }
            ProgressRecord::Gap(gap, _) => {
                self.gaps.insert(gap);
            }
        }
    }

    /// The partitions that the topic had when it was last written to.
    pub(crate) fn partitions_of(&self, topic: &str) -> Option<i32> {
        self.topics.get(topic).copied()
    }

    /// The records that a group adds: one per shard that moves, and those of gaps and contact. Every step is held to
    /// what is stored (I2).
    pub(crate) fn records_of(
        &self,
        group: &Group,
        stream: &StreamIdentity,
    ) -> Result<Vec<ProgressRecord>, StepRefused> {
        let mut moved: BTreeMap<ShardId, StoredShard> = BTreeMap::new();
        let mut records = Vec::new();
        for batch in &group.batches {
            let stored = self.moved_by(batch, moved.get(&batch.shard), &stream.stream_arn)?;
            moved.insert(batch.shard.clone(), stored);
            if let Some(gap) = &batch.gap {
                let key = GapKey::of(gap, &stream.stream_arn);
                if !self.gaps.contains(&key) {
                    records.push(ProgressRecord::Gap(key, gap.detail.clone()));
                }
            }
        }
        let stream_arn = &stream.stream_arn;
        records.extend(moved.into_iter().map(|(shard, stored)| ProgressRecord::Shard {
            stream_arn: stream_arn.clone(),
            shard,
            stored,
        }));
        if let Some(contact) = group.contact {
            let known = contact.stream_known || self.streams.get(stream_arn).is_some_and(|stored| stored.fact.known);
            let stored = StoredStream { table: stream.table.clone(), table_id: stream.table_id.clone(), known };
            records.push(ProgressRecord::Stream { stream_arn: stream_arn.clone(), stored });
        }
        Ok(records)
    }

    fn moved_by(
        &self,
        batch: &Batch,
        before: Option<&StoredShard>,
        stream_arn: &str,
    ) -> Result<StoredShard, StepRefused> {
        let key = ShardKey { stream_arn: stream_arn.to_owned(), shard: batch.shard.clone() };
        let before = before.or_else(|| self.shards.get(&key).map(|timed| &timed.fact));
        let mut stored = match (&batch.step, before) {
            (Step::Register { parent, position }, None) => {
                StoredShard { parent: parent.clone(), position: position.clone(), counts: Counts::default() }
            }
            (Step::Advance(advance), Some(before)) if before.position == advance.from => {
                StoredShard { position: advance.to.clone(), ..before.clone() }
            }
            (Step::Register { .. }, Some(_)) => {
                return Err(StepRefused(format!("shard {} is stored already: the step does not fit", batch.shard)));
            }
            (Step::Advance(advance), _) => {
                let message =
                    format!("shard {} is not stored at position {}: the step does not fit", batch.shard, advance.from);
                return Err(StepRefused(message));
            }
        };
        stored.counts += batch.counts;
        Ok(stored)
    }

    /// What the source needs to know, as of the newest session's record, which tells the time by the broker's clock.
    pub(crate) fn progress(&self, stream: &StreamIdentity) -> Progress {
        let mine = self.streams.get(&stream.stream_arn);
        let now_ms = self.session.as_ref().map(|session| session.at_ms);
        let since = |contact: &Timed<StoredStream>| {
            // A clock that was set back makes the time negative: then the contact was just now.
            now_ms.map(|now_ms| Duration::from_millis(u64::try_from(now_ms - contact.at_ms).unwrap_or_default()))
        };
        let shards = self.shards.iter().filter(|(key, _)| key.stream_arn == stream.stream_arn);
        Progress {
            shards: shards
                .map(|(key, stored)| ShardProgress {
                    shard: key.shard.clone(),
                    parent: stored.fact.parent.clone(),
                    position: stored.fact.position.clone(),
                })
                .collect(),
            stream_known: mine.is_some_and(|mine| mine.fact.known),
            since_contact: mine.and_then(since),
            previous_stream: None,
        }
    }

    /// The streams of the same table that were read before, with the time of the last sign of each.
    pub(crate) fn other_streams(&self, stream: &StreamIdentity) -> impl Iterator<Item = (i64, &str)> {
        let contacts = self.streams.iter().filter(|(_, stored)| stored.fact.known);
        contacts
            .map(|(arn, stored)| (stored.at_ms, arn.as_str()))
            .chain(self.shards.iter().map(|(key, stored)| (stored.at_ms, key.stream_arn.as_str())))
            .filter(|(_, arn)| *arn != stream.stream_arn && table_of(arn) == Some(stream.table.as_str()))
    }

    /// The stored shards, for people. The times are milliseconds since 1970.
    pub(crate) fn checkpoints(&self, lane: u32, time: impl Fn(i64) -> String) -> Vec<ShardCheckpoint> {
        let row = |(key, stored): (&ShardKey, &Timed<StoredShard>)| ShardCheckpoint {
            stream_arn: key.stream_arn.clone(),
            shard: key.shard.clone(),
            parent: stored.fact.parent.clone(),
            lane,
            position: stored.fact.position.clone(),
            counts: stored.fact.counts,
            updated_at: time(stored.at_ms),
        };
        self.shards.iter().map(row).collect()
    }

    /// Gaps on record.
    pub(crate) fn gap_count(&self) -> u64 {
        self.gaps.len() as u64
    }
}

/// The table in a stream's ARN, `arn:aws:dynamodb:REGION:ACCOUNT:table/NAME/stream/LABEL`.
fn table_of(stream_arn: &str) -> Option<&str> {
    stream_arn.split('/').nth(1)
}

#[cfg(test)]
mod tests {
    use tailwater_model::{Advance, Contact, Position};

    use super::*;

    fn stream(label: &str) -> StreamIdentity {
        let stream_arn = format!("arn:aws:dynamodb:eu-west-1:1:table/orders/stream/{label}");
        StreamIdentity { table: "orders".into(), table_id: "t".into(), stream_arn }
    }

    fn batch(step: Step, read: u64) -> Batch {
        let counts = Counts { read, written: read, ..Counts::default() };
        let shard = ShardId::new("shardId-1");
        Batch { shard, step, events: Vec::new(), dead_letters: Vec::new(), gap: None, counts, bytes: 0 }
    }

    fn register() -> Batch {
        batch(Step::Register { parent: None, position: Position::Start }, 0)
    }

    fn advance(from: Position, to: Position) -> Batch {
        batch(Step::Advance(Advance { from, to }), 3)
    }

    fn after(digits: &str) -> Position {
        Position::parse(&format!("after:{digits}")).expect("a position")
    }

    /// Stores a group as a commit does.
    fn store(progress: &mut LaneProgress, batches: Vec<Batch>, at_ms: i64) -> Result<usize, StepRefused> {
        let group = Group { batches, contact: Some(Contact { stream_known: true }) };
        let records = progress.records_of(&group, &stream("a"))?;
        let count = records.len();
        records.into_iter().for_each(|record| progress.add(record, at_ms));
        Ok(count)
    }

    #[test]
    fn steps_of_a_group_follow_one_another_and_give_one_record() {
        let mut progress = LaneProgress::default();
        let (one, two) = (after("100000000000000000001"), after("100000000000000000002"));
        let group = vec![register(), advance(Position::Start, one.clone()), advance(one, two.clone())];
        assert_eq!(store(&mut progress, group, 5), Ok(2), "one of the shard, one of the contact");
        let told = progress.progress(&stream("a"));
        assert_eq!(told.shards[0].position, two);
        assert!(told.stream_known);
        let rows = progress.checkpoints(3, |at_ms| at_ms.to_string());
        assert_eq!((rows[0].counts.read, rows[0].lane, rows[0].updated_at.as_str()), (6, 3, "5"));
    }

    #[test]
    fn a_step_that_does_not_fit_is_refused() {
        let mut progress = LaneProgress::default();
        assert!(store(&mut progress, vec![advance(Position::Start, Position::End)], 1).is_err(), "not registered");
        assert!(store(&mut progress, vec![register(), register()], 1).is_err(), "registered twice in a group");
        assert_eq!(store(&mut progress, vec![register()], 1), Ok(2));
        assert!(store(&mut progress, vec![register()], 1).is_err(), "registered before");
        let elsewhere = advance(after("100000000000000000001"), Position::End);
        assert!(store(&mut progress, vec![elsewhere], 1).is_err(), "another position");
        assert_eq!(store(&mut progress, vec![advance(Position::Start, Position::End)], 1), Ok(2));
    }

    #[test]
    fn the_time_since_the_contact_is_told_by_the_brokers_clock() {
        let mut progress = LaneProgress::default();
        let mark = SessionMark { pipeline: "p".into(), claim: 1, owner: "o".into(), epoch: 1 };
        assert_eq!(progress.progress(&stream("a")).since_contact, None);
        assert_eq!(store(&mut progress, vec![register()], 1_000), Ok(2));
        progress.add(ProgressRecord::Session(mark.clone()), 61_000);
        assert_eq!(progress.progress(&stream("a")).since_contact, Some(Duration::from_secs(60)));
        progress.add(ProgressRecord::Session(mark), 0);
        assert_eq!(progress.progress(&stream("a")).since_contact, Some(Duration::ZERO));
    }

    #[test]
    fn another_stream_of_the_same_table_is_seen() {
        let mut progress = LaneProgress::default();
        assert_eq!(store(&mut progress, vec![register()], 7), Ok(2));
        let seen = |label| progress.other_streams(&stream(label)).map(|(at, _)| at).collect::<Vec<_>>();
        assert_eq!(seen("b"), [7, 7], "its contact and its shard");
        assert!(seen("a").is_empty());
        let table = StreamIdentity { table: "customers".into(), ..stream("b") };
        assert_eq!(progress.other_streams(&table).count(), 0);
        assert!(progress.progress(&stream("b")).shards.is_empty(), "progress is the stream's own");
    }
}
