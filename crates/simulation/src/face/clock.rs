//! The service's time in a world.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use tailwater_model::ServiceTime;
use tokio::time::Instant;

use super::{SimulatedStream, lock};

/// How far off a wrong date is.
const WRONG_BY: Duration = Duration::from_secs(24 * 60 * 60);
/// Dates that one worker hears from a wrong one on, that one counted, before another may be wrong: where two of three are wrong by
/// the same day, nobody can tell which.
const RIGHT_DATES_MIN: u32 = 5;

/// The virtual time of the service, in milliseconds since 1970: it runs with tokio's clock, and leaps where the machines
/// of the workers stand still. Clones are the same clock.
#[derive(Clone, Debug)]
pub struct VirtualClock {
    started: Instant,
    started_ms: i64,
    leapt_ms: Arc<AtomicI64>,
}

impl VirtualClock {
    /// A clock that shows `started_ms` now. Has to be made inside a tokio runtime.
    pub fn starting_at(started_ms: i64) -> Self {
        Self { started: Instant::now(), started_ms, leapt_ms: Arc::default() }
    }

    /// The service's time goes on by so much, while tokio's, which is that of the workers, stands still.
    pub fn leap(&self, by: Duration) {
        self.leapt_ms.fetch_add(i64::try_from(by.as_millis()).unwrap_or(i64::MAX), Ordering::SeqCst);
    }

    /// The time now.
    pub fn now_ms(&self) -> i64 {
        self.started_ms + self.elapsed_ms()
    }

    /// What a `Date` header says now: whole seconds.
    fn date(&self) -> ServiceTime {
        ServiceTime::from_ms(self.now_ms().div_euclid(1000) * 1000)
    }

    /// A moment in seconds since the world began.
    pub fn told(&self, moment_ms: i64) -> String {
        let since_ms = moment_ms - self.started_ms;
        format!("{}.{:03}", since_ms / 1000, since_ms % 1000)
    }

    /// Milliseconds since the world began.
    pub fn elapsed_ms(&self) -> i64 {
        let run = i64::try_from(self.started.elapsed().as_millis()).unwrap_or(i64::MAX);
        run + self.leapt_ms.load(Ordering::SeqCst)
    }
}

impl SimulatedStream {
    /// The date that an answer comes with now.
    pub(super) fn date(&self) -> ServiceTime {
        let mut network = lock(&self.network);
        let date = self.clock.date().plus(network.faults.dates_ahead);
        if self.right_dates_due.load(Ordering::SeqCst) > 0 {
            return date;
        }
        let chance = network.faults.wrong_date;
        if !network.bites("wrong_date", chance) {
            return date;
        }
        self.right_dates_due.store(RIGHT_DATES_MIN, Ordering::SeqCst);
        if network.rng.bool() { date.plus(WRONG_BY) } else { date.minus(WRONG_BY) }
    }

    /// An answer came to the worker with its date. What is lost on its way tells it nothing.
    pub(super) fn date_heard(&self) {
        let one_less = |due: u32| due.checked_sub(1);
        // None is due any more.
        let _none_left = self.right_dates_due.fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_less);
    }
}
