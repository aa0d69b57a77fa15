//! What becomes of a commit on its way.

use std::time::Duration;

use super::State;

/// How a commit fares.
pub(super) enum Fate {
    Applied,
    ReplyLost,
    NotApplied,
    AppliedLater(Duration),
}

impl State {
    pub(super) fn bites(&mut self, name: &'static str, probability: f64) -> bool {
        if probability <= 0.0 || self.rng.f64() >= probability {
            return false;
        }
        *self.hits.entry(name).or_default() += 1;
        true
    }

    pub(super) fn fate(&mut self) -> Fate {
        let faults = self.faults.clone();
        if self.bites("reply_lost", faults.reply_lost) {
            return Fate::ReplyLost;
        }
        if self.bites("not_applied", faults.not_applied) {
            return Fate::NotApplied;
        }
        if self.bites("applied_later", faults.applied_later) {
            return Fate::AppliedLater(Duration::from_millis(self.rng.u64(10..20_000)));
        }
        Fate::Applied
    }
}
