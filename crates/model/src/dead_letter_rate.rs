//! Too many dead letters in a minute are a configuration error: the pipeline stops before it puts a whole table aside.

use std::collections::VecDeque;
use std::time::Duration;

const WINDOW: Duration = Duration::from_secs(60);

/// Counts the dead letters of the last minute, over all lanes of a process. It knows no clock: whoever counts tells the
/// time.
#[derive(Debug)]
pub struct DeadLetterRate {
    per_minute_max: u32,
    /// Commits with dead letters; at most `per_minute_max + 1` of them before the limit is exceeded for good (I6).
    recent: VecDeque<(Duration, u64)>,
    exceeded: bool,
}

impl DeadLetterRate {
    /// Allows this many dead letters within any minute.
    pub fn new(per_minute_max: u32) -> Self {
        Self { per_minute_max, recent: VecDeque::new(), exceeded: false }
    }

    /// Takes note of dead letters that are durable. `now` is the time since any fixed moment, and never goes back.
    pub fn add(&mut self, now: Duration, dead_letters: u64) {
        if dead_letters == 0 || self.exceeded {
            return;
        }
        while self.recent.front().is_some_and(|(at, _)| now.saturating_sub(*at) >= WINDOW) {
            self.recent.pop_front();
        }
        self.recent.push_back((now, dead_letters));
        self.exceeded = self.recent.iter().map(|(_, count)| count).sum::<u64>() > u64::from(self.per_minute_max);
    }

    /// Whether the limit was exceeded once. It does not heal: a person is to look.
    pub fn is_exceeded(&self) -> bool {
        self.exceeded
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_falls_within_a_minute_adds_up() {
        let at = Duration::from_secs;
        let mut rate = DeadLetterRate::new(10);
        rate.add(at(0), 6);
        rate.add(at(59), 4);
        rate.add(at(60), 6);
        assert!(!rate.is_exceeded());
        rate.add(at(61), 1);
        assert!(rate.is_exceeded());
    }

    #[test]
    fn zero_allows_none() {
        let mut rate = DeadLetterRate::new(0);
        rate.add(Duration::ZERO, 0);
        assert!(!rate.is_exceeded());
        rate.add(Duration::ZERO, 1);
        assert!(rate.is_exceeded());
    }
}
