//! Tells of dead letters in the log: a line for each shard and code, and for more of the same only one in a while.

use std::collections::BTreeMap;
use std::time::Duration;

use tailwater_model::{DeadLetterReason, ShardId};
use tokio::time::Instant;
use tracing::warn;

/// Between two lines about the same shard and code.
const INTERVAL: Duration = Duration::from_secs(60);
/// Shards and codes that are remembered at most (I6); of more than these within one interval nothing is told.
const KEPT_MAX: usize = 1000;

/// What a lane has told.
#[derive(Debug, Default)]
pub(crate) struct DeadLetterLog {
    told: BTreeMap<(ShardId, &'static str), Told>,
}

#[derive(Debug)]
struct Told {
    at: Instant,
    /// Letters since then.
    untold: u64,
}

impl DeadLetterLog {
    /// Tells of a commit that stored dead letters.
    // Out of the way of every commit, which has none.
    #[cold]
    pub(crate) fn tell(&mut self, lane: usize, reasons: &[DeadLetterReason]) {
        let now = Instant::now();
        for reason in reasons {
            if let Some(letters) = self.due(reason, now) {
                let DeadLetterReason { shard, code, error, .. } = reason;
                warn!(lane, %shard, code, letters, "in the dead letters: {error}");
            }
        }
    }

    /// How many letters a line is to tell of now; nothing when it is too soon.
    fn due(&mut self, reason: &DeadLetterReason, now: Instant) -> Option<u64> {
        let is_recent = |told: &Told| now.saturating_duration_since(told.at) < INTERVAL;
        let key = (reason.shard.clone(), reason.code);
        if let Some(told) = self.told.get_mut(&key) {
            if is_recent(told) {
                told.untold += reason.letters;
                return None;
            }
            let letters = told.untold + reason.letters;
            *told = Told { at: now, untold: 0 };
            return Some(letters);
        }
        if self.told.len() >= KEPT_MAX {
            self.told.retain(|_, told| is_recent(told));
        }
        if self.told.len() >= KEPT_MAX {
            return None;
        }
        self.told.insert(key, Told { at: now, untold: 0 });
        Some(reason.letters)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reason(shard: usize, code: &'static str, letters: u64) -> DeadLetterReason {
        DeadLetterReason { shard: ShardId::new(&shard.to_string()), code, error: "no".into(), letters }
    }

    #[test]
    fn a_shard_and_code_are_told_once_a_minute_with_what_came_meanwhile() {
        let (mut log, began) = (DeadLetterLog::default(), Instant::now());
        let at = |seconds| began + Duration::from_secs(seconds);
        for (seconds, shard, code, letters, told) in [
            (0, 1, "a", 3, Some(3)),
            (0, 1, "a", 1, None),
            (1, 1, "b", 1, Some(1)),
            (1, 2, "a", 1, Some(1)),
            (59, 1, "a", 2, None),
            (60, 1, "a", 1, Some(4)),
            (119, 1, "a", 1, None),
            (200, 1, "a", 1, Some(2)),
        ] {
            assert_eq!(log.due(&reason(shard, code, letters), at(seconds)), told, "{shard} {code} at {seconds} s");
        }
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let (mut log, began) = (DeadLetterLog::default(), Instant::now());
        for shard in 0..KEPT_MAX {
            assert_eq!(log.due(&reason(shard, "a", 1), began), Some(1));
        }
        assert_eq!(log.due(&reason(KEPT_MAX, "a", 1), began), None);
        assert_eq!(log.due(&reason(KEPT_MAX, "a", 1), began + INTERVAL), Some(1));
        assert_eq!(log.told.len(), 1);
    }
}
