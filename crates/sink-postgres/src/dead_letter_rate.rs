//! Too many dead letters in a minute are a configuration error: the pipeline stops before it puts a whole table aside.

use std::collections::VecDeque;
use std::time::Duration;

use tailwater_model::{Trouble, TroubleKind};
use tokio::time::Instant;

const WINDOW: Duration = Duration::from_secs(60);

/// Counts the dead letters of the last minute, over all lanes of a process.
#[derive(Debug)]
pub(crate) struct DeadLetterRate {
    per_minute_max: u32,
    /// Commits with dead letters; at most `per_minute_max + 1` of them before the limit is exceeded for good (I6).
    recent: VecDeque<(Instant, u64)>,
    exceeded: bool,
}

impl DeadLetterRate {
    pub(crate) fn new(per_minute_max: u32) -> Self {
        Self { per_minute_max, recent: VecDeque::new(), exceeded: false }
    }

    /// Takes note of dead letters that are durable.
    pub(crate) fn add(&mut self, now: Instant, dead_letters: u64) {
        if dead_letters == 0 || self.exceeded {
            return;
        }
        while self.recent.front().is_some_and(|(at, _)| now.duration_since(*at) >= WINDOW) {
            self.recent.pop_front();
        }
        self.recent.push_back((now, dead_letters));
        self.exceeded = self.recent.iter().map(|(_, count)| count).sum::<u64>() > u64::from(self.per_minute_max);
    }

    /// Why the pipeline has to stop, once the limit was exceeded. It does not heal: a person is to look.
    pub(crate) fn trouble(&self) -> Option<Trouble> {
        self.exceeded.then(|| {
            Trouble::new(
                TroubleKind::Config,
                "sink.dead_letter_rate",
                format!(
                    "more than {} records went to the dead letters within a minute, so the pipeline stopped; they are \
                     kept whole in tailwater.dead_letters and nothing is lost",
                    self.per_minute_max
                ),
            )
            .advise(
                "look at `select code, error, count(*) from tailwater.dead_letters group by 1, 2`, correct the \
                 pipeline, or raise dead_letters_per_minute_max, and start again",
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_falls_within_a_minute_adds_up() {
        let start = Instant::now();
        let mut rate = DeadLetterRate::new(10);
        rate.add(start, 6);
        rate.add(start + Duration::from_secs(59), 4);
        rate.add(start + Duration::from_secs(60), 6);
        assert!(rate.trouble().is_none());
        rate.add(start + Duration::from_secs(61), 1);
        assert_eq!(rate.trouble().map(|trouble| trouble.code), Some("sink.dead_letter_rate"));
    }

    #[test]
    fn zero_allows_none() {
        let mut rate = DeadLetterRate::new(0);
        rate.add(Instant::now(), 0);
        assert!(rate.trouble().is_none());
        rate.add(Instant::now(), 1);
        assert!(rate.trouble().is_some());
    }
}
