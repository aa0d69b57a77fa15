//! What a partition must still hold: each session says how much there was beside it, so that a loss is seen although the session
//! is there. Pure.

use tailwater_model::ShardId;

use super::{LaneProgress, ProgressRecord, ShardKey};

impl LaneProgress {
    /// Facts that stay until they are taken back, and whose number therefore tells of a loss: shards, streams, topics and the
    /// target.
    fn held(&self) -> usize {
        self.shards.len() + self.streams.len() + self.topics.len() + usize::from(self.target.is_some())
    }

    /// The same once these records are added, of which no two are of the same fact.
    pub(crate) fn held_with(&self, records: &[ProgressRecord]) -> u64 {
        let holds = |stream_arn: &str, shard: &ShardId| {
            self.shards.contains_key(&ShardKey { stream_arn: stream_arn.to_owned(), shard: shard.clone() })
        };
        let (mut added, mut removed) = (0, 0);
        for record in records {
            match record {
                ProgressRecord::Shard { stream_arn, shard, .. } => added += usize::from(!holds(stream_arn, shard)),
                ProgressRecord::ShardGone { stream_arn, shard } => removed += usize::from(holds(stream_arn, shard)),
                ProgressRecord::Stream { stream_arn, .. } => {
                    added += usize::from(!self.streams.contains_key(stream_arn));
                }
                ProgressRecord::StreamGone { stream_arn } => {
                    removed += usize::from(self.streams.contains_key(stream_arn));
                }
                ProgressRecord::Topic { name, .. } => added += usize::from(!self.topics.contains_key(name)),
                ProgressRecord::Target(_) => added += usize::from(self.target.is_none()),
                _ => {}
            }
        }
        (self.held() + added).saturating_sub(removed) as u64
    }

    /// Whether nothing of a pipeline's progress is here.
    pub(crate) fn is_empty(&self) -> bool {
        self.session.is_none() && self.held() == 0
    }

    /// Whether less is here than there was beside the newest session.
    pub(crate) fn has_lost(&self) -> bool {
        let holds = self.session.as_ref().and_then(|session| session.fact.holds);
        holds.is_some_and(|holds| (self.held() as u64) < holds.facts)
    }
}

/// The first partition that has lost part of its lane's progress, of those of all lanes. That a partition holds nothing at all only
/// the others can tell: a lane that was never opened has none.
pub(crate) fn lost_partition(stored: &[LaneProgress]) -> Option<usize> {
    let sessions = || stored.iter().filter_map(|lane| lane.session.as_ref()).map(|session| &session.fact);
    // What older claims have said was judged by the newest one.
    let newest = sessions().map(|session| session.claim).max();
    let of_newest = sessions().filter(|session| Some(session.claim) == newest);
    let opened = of_newest.filter_map(|session| session.holds).map(|holds| holds.lanes).max().unwrap_or(0);
    let is_one_gone = (sessions().count() as u64) < u64::from(opened);
    let has_none = |lane: &LaneProgress| is_one_gone && lane.session.is_none();
    stored.iter().position(|lane| lane.has_lost() || has_none(lane))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::progress::{Holds, SessionMark};

    fn session(claim: u64, holds: Option<(u64, u32)>) -> ProgressRecord {
        let holds = holds.map(|(facts, lanes)| Holds { facts, lanes });
        ProgressRecord::Session(SessionMark { pipeline: "orders".into(), claim, owner: "a".into(), epoch: 1, holds })
    }

    fn topic(name: &str) -> ProgressRecord {
        ProgressRecord::Topic { name: name.into(), partitions: 2 }
    }

    fn lane(records: Vec<ProgressRecord>) -> LaneProgress {
        let mut lane = LaneProgress::default();
        records.into_iter().for_each(|record| lane.add(record, 0));
        lane
    }

    #[test]
    fn what_is_added_and_taken_back_is_counted() {
        let gone = |shard| ProgressRecord::ShardGone { stream_arn: "arn".into(), shard: ShardId::new(shard) };
        let mut lane = lane(vec![topic("a")]);
        assert!(!lane.is_empty() && LaneProgress::default().is_empty());
        for (record, held) in [
            (topic("a"), 1),
            (topic("b"), 2),
            (gone("shardId-1"), 2),
            (ProgressRecord::StreamGone { stream_arn: "arn".into() }, 2),
            (ProgressRecord::SaltGone, 2),
        ] {
            assert_eq!(lane.held_with(std::slice::from_ref(&record)), held, "{record:?}");
            lane.add(record, 0);
            assert_eq!(lane.held_with(&[]), held);
        }
    }

    #[test]
    fn a_partition_that_lost_something_is_found() {
        let whole = || lane(vec![topic("a"), session(3, Some((1, 2)))]);
        let purged = || lane(vec![session(3, Some((1, 2)))]);
        let empty = LaneProgress::default;
        for (stored, lost) in [
            (vec![whole(), whole()], None),
            (vec![empty(), empty()], None),
            (vec![whole(), purged()], Some(1)),
            (vec![purged(), whole()], Some(0)),
            (vec![whole(), empty()], Some(1)),
            (vec![empty(), whole()], Some(0)),
            // Only the first lane was opened.
            (vec![lane(vec![topic("a"), session(1, Some((1, 1)))]), empty()], None),
            // Of an earlier version.
            (vec![lane(vec![session(3, None)]), empty()], None),
            // A person has adopted what was left, and the process ended before it opened the second lane.
            (vec![lane(vec![topic("a"), session(4, Some((1, 2)))]), empty(), whole()], None),
        ] {
            assert_eq!(lost_partition(&stored), lost, "{stored:?}");
        }
    }
}
