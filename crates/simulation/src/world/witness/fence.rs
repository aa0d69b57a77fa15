//! Who owns a lane.

use super::Witness;
use crate::world::ground::Landing;

impl Witness {
    /// P4: once a lane has a newer epoch, nothing lands under an older one.
    pub(super) fn check_fence(&mut self, landing: &Landing) {
        let newest = self.epochs.get(&landing.lane).copied().unwrap_or_default();
        if landing.epoch < newest {
            let detail = format!("lane {} wrote under epoch {} after epoch {newest}", landing.lane, landing.epoch);
            self.violated("P4 fence", detail);
        } else {
            self.epoch_raised(landing.lane, landing.epoch);
        }
    }

    /// A process has claimed the pipeline, for this stream.
    pub fn claimed(&mut self, stream_arn: &str) {
        if self.is_lost {
            self.violated("I11 begun upon in silence", "a claim after a loss".to_owned());
        }
        if self.claimed.as_deref() == Some(stream_arn) {
            self.claimed_again += 1;
        }
        self.claimed = Some(stream_arn.to_owned());
    }

    /// Claims that were made for the stream that the one before was made for, too: not because another one followed.
    pub fn claimed_again(&self) -> u64 {
        self.claimed_again
    }

    /// A newer owner or session holds this lane now: what comes under an older epoch was not fenced (P4).
    pub fn epoch_raised(&mut self, lane: u32, epoch: u64) {
        let newest = self.epochs.entry(lane).or_default();
        if epoch > *newest {
            *newest = epoch;
            self.began_ms.insert(lane, self.clock.now_ms());
        }
    }
}
