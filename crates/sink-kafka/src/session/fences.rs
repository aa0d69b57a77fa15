//! How often a lane was fenced although nobody took it over. Pure: moments come from the caller.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

/// So many within [`WITHIN`] are not by chance: somebody else has the same `transactional.id`, and says so nowhere in our progress.
const FENCES_MAX: usize = 10;
/// A lane with little to do looks every ten seconds.
const WITHIN: Duration = Duration::from_secs(600);

/// The latest of them.
#[derive(Debug, Default)]
pub(super) struct Fences {
    /// [`FENCES_MAX`] at most (I6).
    at: VecDeque<Instant>,
}

impl Fences {
    /// The lane was fenced, and its progress names nobody who did that. Whether that came too often.
    pub(super) fn add(&mut self, now: Instant) -> bool {
        self.at.retain(|at| now.duration_since(*at) < WITHIN);
        self.at.push_back(now);
        let is_too_often = self.at.len() >= FENCES_MAX;
        if is_too_often {
            self.at.clear();
        }
        is_too_often
    }

    /// An opening failed for another reason: its requests may come late, and fence the lane itself.
    pub(super) fn clear(&mut self) {
        self.at.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lane_that_is_fenced_now_and_then_is_not_fenced_too_often() {
        let began = Instant::now();
        let every = |pause: Duration| {
            let mut fences = Fences::default();
            (0..100).find(|number| fences.add(began + pause * *number))
        };
        assert_eq!(every(Duration::from_secs(10)), Some(9));
        assert_eq!(every(Duration::from_secs(60)), Some(9));
        assert_eq!(every(Duration::from_secs(70)), None);
        let mut fences = Fences::default();
        for number in 0..100 {
            assert!(!fences.add(began + Duration::from_secs(number)), "{number}");
            if number % 9 == 8 {
                fences.clear();
            }
        }
    }
}
