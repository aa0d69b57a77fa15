//! Moments that have not come yet, told by a clock of the service that was ahead.

use std::time::Duration;

use tailwater_model::{ServiceTime, ShardId};

use super::ShardGraph;
use super::listing::Absence;
use super::missing::{Missing, MissingParent};
use super::read_until::{EmptyRun, UNREAD_MAX};
use super::shard::{Origin, ReadFrom, Shard, Stage};

/// The service's clocks differ by less. A stored moment that is further ahead of an answer was told by a wrong clock.
const AHEAD_MAX: Duration = Duration::from_secs(60);
/// So much longer than without suspicion a shard counts as unread whose moment is wrong.
const SUSPICIOUS_BY: Duration = Duration::from_secs(1);

impl ShardGraph {
    /// What is stored may be from a time when the service's clock was ahead, and the first answer afterwards shows it. Such a
    /// moment proves nothing: believed, it would hide the loss of a day, and a bounded run would be at its end at once. Its
    /// shard may have been unread for as long as the stream keeps records.
    pub(super) fn forget_the_future(&mut self, answered: ServiceTime) {
        let (newest, unread_since) = (answered.plus(AHEAD_MAX), answered.minus(UNREAD_MAX).minus(SUSPICIOUS_BY));
        let is_ahead = |moment: &Option<ServiceTime>| moment.is_some_and(|moment| moment > newest);
        let mut wrong: Vec<ShardId> = Vec::new();
        for (id, shard) in &mut self.shards {
            if !is_ahead(&shard.read_until) {
                continue;
            }
            shard.read_until = Some(unread_since);
            shard.was_read = false;
            if let Some(chain) = shard.chain_mut().filter(|chain| is_ahead(&chain.durable_until)) {
                chain.durable_until = Some(unread_since);
            }
            wrong.push(id.clone());
        }
        if let Some(first) = wrong.first() {
            let shards = wrong.len();
            tracing::warn!(shard = %first, shards, "what is stored says that shards were read until moments that have not come yet: \
                the service's clock was ahead then. They count as unread for a day");
        }
        wrong.iter().for_each(|id| self.settle(id));
    }

    /// The dates that leapt ahead were wrong: by those that came now the clock is at this moment, so much behind. What they told is
    /// set right, and what is stored of it is stored again: a later process would take it for unread.
    pub fn clock_went_back(&mut self, to: ServiceTime, by: Duration) {
        let ahead = Ahead { now: to, by };
        self.now = to;
        self.begun = self.begun.map(|moment| ahead.corrected(moment));
        self.disabled_at = self.disabled_at.map(|moment| ahead.corrected(moment));
        self.shards.values_mut().for_each(|shard| shard.set_right(&ahead));
        self.missing_parents.values_mut().for_each(|parent| *parent = MissingParent::default());
        self.doubts_due = true;
        self.settle_all();
        self.changes += 1;
    }
}

/// How far the service's clock was ahead, and what it shows now.
struct Ahead {
    now: ServiceTime,
    by: Duration,
}

impl Ahead {
    fn is_of_future(&self, moment: ServiceTime) -> bool {
        moment > self.now.plus(AHEAD_MAX)
    }

    fn corrected(&self, moment: ServiceTime) -> ServiceTime {
        if self.is_of_future(moment) { moment.minus(self.by).min(self.now) } else { moment }
    }
}

impl Shard {
    /// What was counted in both times would prove too much, or nothing for as long as the clock was ahead: it begins anew.
    fn set_right(&mut self, ahead: &Ahead) {
        let correct = |moment: ServiceTime| ahead.corrected(moment);
        self.read_until = self.read_until.map(correct);
        self.open_at = self.open_at.map(correct);
        self.closed_by = self.closed_by.map(correct);
        self.seen_at = correct(self.seen_at);
        self.absence = Absence::default();
        self.missing = Missing::default();
        if let Origin::Lost(found) = &mut self.origin {
            *found = correct(*found);
        }
        match &mut self.stage {
            Stage::Readable(_, reading) => {
                (reading.ends_told, reading.ends_since) = (0, None);
                if let ReadFrom::Behind(found) = &mut reading.from {
                    *found = correct(*found);
                }
            }
            Stage::Drained(_, ended) => ended.gone_since = ended.gone_since.map(correct),
            _ => {}
        }
        let Some(chain) = self.chain_mut() else { return };
        chain.empty = EmptyRun::default();
        // Not known until it is stored again.
        let is_right = |moment: &ServiceTime| !ahead.is_of_future(*moment);
        chain.durable_until = chain.durable_until.filter(is_right);
        for pending in &mut chain.pending {
            pending.read_until = pending.read_until.filter(is_right);
            if pending.read_until.is_none() {
                chain.durable_until = None;
            }
        }
    }
}
