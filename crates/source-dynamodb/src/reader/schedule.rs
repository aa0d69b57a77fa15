//! Which shard of a lane is read next: by the time of its next poll, and among those whose time has come the most urgent.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap};
use std::time::Duration;

use tailwater_model::ShardId;
use tokio::time::Instant;

/// A shard that waited this long for a fetch slot goes before more urgent ones.
const SLOT_WAIT_MAX: Duration = Duration::from_secs(5);

/// How near a shard's unread records are to being trimmed. Sorts the most urgent first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Urgency {
    /// There was more to read; its last record was created at this time, in milliseconds since 1970. Shards that were
    /// never read stand at the lowest value.
    Behind(i64),
    /// Its last page was empty.
    CaughtUp,
}

/// The shards of a lane that wait for their next poll. A shard is in it at most once.
#[derive(Default)]
pub(super) struct Schedule {
    later: BinaryHeap<Reverse<(Instant, ShardId, Urgency)>>,
    due_by_urgency: BTreeSet<(Urgency, Instant, ShardId)>,
    due_by_time: BTreeSet<(Instant, ShardId, Urgency)>,
}

impl Schedule {
    /// Polls this shard at `at` or soon after.
    pub fn insert(&mut self, at: Instant, shard: ShardId, urgency: Urgency) {
        self.later.push(Reverse((at, shard, urgency)));
    }

    /// Takes the next shard whose time has come. Ties go by shard id.
    pub fn take_due(&mut self, now: Instant) -> Option<ShardId> {
        while self.later.peek().is_some_and(|Reverse((at, ..))| *at <= now) {
            if let Some(Reverse((at, shard, urgency))) = self.later.pop() {
                self.due_by_urgency.insert((urgency, at, shard.clone()));
                self.due_by_time.insert((at, shard, urgency));
            }
        }
        let overdue = self.due_by_time.first().filter(|(at, ..)| now.duration_since(*at) > SLOT_WAIT_MAX);
        let (urgency, at, shard) = match overdue {
            Some((at, shard, urgency)) => (*urgency, *at, shard.clone()),
            None => self.due_by_urgency.first()?.clone(),
        };
        self.due_by_urgency.remove(&(urgency, at, shard.clone()));
        self.due_by_time.remove(&(at, shard.clone(), urgency));
        Some(shard)
    }

    /// When the next shard is due that is not due yet.
    pub fn wake_at(&self) -> Option<Instant> {
        self.later.peek().map(|Reverse((at, ..))| *at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn time_first_then_urgency_and_nobody_starves() {
        let now = Instant::now();
        let second = Duration::from_secs(1);
        let shard = |name: &str| ShardId::new(name);
        let mut schedule = Schedule::default();
        schedule.insert(now, shard("caught-up"), Urgency::CaughtUp);
        schedule.insert(now, shard("younger"), Urgency::Behind(200));
        schedule.insert(now, shard("older"), Urgency::Behind(100));
        schedule.insert(now + second, shard("later"), Urgency::Behind(i64::MIN));
        assert_eq!(schedule.take_due(now), Some(shard("older")));
        assert_eq!(schedule.wake_at(), Some(now + second));
        assert_eq!(schedule.take_due(now + second), Some(shard("later")));
        let overdue = now + SLOT_WAIT_MAX + second;
        schedule.insert(overdue, shard("newest"), Urgency::Behind(1));
        assert_eq!(schedule.take_due(overdue), Some(shard("caught-up")), "it waited too long");
        assert_eq!(schedule.take_due(overdue), Some(shard("younger")));
        assert_eq!(schedule.take_due(overdue), Some(shard("newest")));
        assert_eq!(schedule.take_due(overdue), None);
    }
}
