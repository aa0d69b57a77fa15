//! What is told of a lane that opens again and again: an outage is one thing, and the line of progress tells that it lasts.

use std::time::Duration;

use tokio::time::Instant;

/// The same trouble of a lane is told again after this time.
const TOLD_AGAIN_AFTER: Duration = Duration::from_secs(60);

/// The trouble that a lane told last.
#[derive(Debug, Default)]
pub(crate) struct ReopenLog {
    told: Option<(&'static str, Instant)>,
    untold: u64,
}

impl ReopenLog {
    /// Whether trouble with this code is to be told now; if so, how many times none was told before.
    pub(crate) fn admits(&mut self, code: &'static str) -> Option<u64> {
        if self.told.is_some_and(|(before, at)| before == code && at.elapsed() < TOLD_AGAIN_AFTER) {
            self.untold += 1;
            return None;
        }
        self.told = Some((code, Instant::now()));
        Some(std::mem::take(&mut self.untold))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_outage_is_told_once_a_minute_and_other_trouble_at_once() {
        let mut log = ReopenLog::default();
        let mut told = 0;
        for _ in 0..110 {
            told += u32::from(log.admits("sink.postgres.connection").is_some());
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        assert_eq!(told, 2);
        assert_eq!(log.admits("sink.postgres.lock_timeout"), Some(49));
        assert_eq!(log.admits("sink.postgres.connection"), Some(0));
    }
}
