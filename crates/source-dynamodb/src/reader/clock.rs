//! The service's clock as its answers tell it, carried on between them by this machine's.

use std::time::Duration;

use tailwater_model::ServiceTime;
use tokio::time::Instant;

use crate::api::When;

/// A `Date` tells whole seconds.
const DATE_UNIT: Duration = Duration::from_secs(1);
/// How far a `Date` may be from what the ones before it let expect, and be believed at once. The service has many machines,
/// whose clocks differ by less than that.
const LEAP_MAX: Duration = Duration::from_secs(60);
/// So many leaping dates in a row that agree are believed: this machine's clock stood still, or was it that jumped.
const LEAPS_PROVE: u32 = 3;

/// A `Date` that does not go on for so long stands still.
const STANDS_STILL_AFTER: Duration = Duration::from_secs(120);
/// That is said so often.
const TOLD_EVERY: Duration = Duration::from_secs(10 * 60);

/// What is known of the service's clock. One date alone can be wrong: it counts once another one bears it out.
#[derive(Debug, Default)]
pub(super) struct ServiceClock {
    told: Option<(ServiceTime, Instant)>,
    /// The dates in a row that leap and agree.
    leap: Option<Leap>,
    /// Dates that leapt are believed, and nobody has told it yet.
    leapt: Option<Leapt>,
    /// The last leap that was believed, as long as none has taken it back.
    last_leap: Option<Leapt>,
    newest: Option<Newest>,
    told_at: Option<Instant>,
}

/// Dates that are far from what the ones before them let expect, and not from one another.
#[derive(Clone, Copy, Debug)]
struct Leap {
    to: ServiceTime,
    at: Instant,
    dates: u32,
}

/// The newest date that was believed.
#[derive(Debug)]
struct Newest {
    date: ServiceTime,
    /// When it came first.
    first: Instant,
    /// When it, or an older one, came last.
    last: Instant,
}

/// The service's clock went on somewhere else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Leapt {
    /// What the dates before let expect.
    pub from: ServiceTime,
    /// What the dates since then tell.
    pub to: ServiceTime,
    /// The clock is where it would be without the leap before this one: the dates between the two were wrong.
    pub takes_back: bool,
}

impl Leapt {
    /// As far as the other one, the other way.
    fn is_opposite_of(self, other: Self) -> bool {
        let lengths = |leap: Self| (leap.to.since(leap.from), leap.from.since(leap.to));
        let ((ahead, back), (other_ahead, other_back)) = (lengths(self), lengths(other));
        ahead.abs_diff(other_back).max(back.abs_diff(other_ahead)) <= LEAP_MAX
    }
}

/// No other date bears this one out. What was answered is asked again, which consumes nothing: [`Self::TRIES_MAX`] times, and
/// then taken with bounds that hold whichever date is right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct InDoubt(When);

impl InDoubt {
    /// Where each answer to one caller has such a date, no more can be known.
    const TRIES_MAX: u32 = LEAPS_PROVE + 1;

    /// The bounds, when it was asked often enough; counts the tries.
    pub(super) fn taken_after(self, tries: &mut u32) -> Option<When> {
        *tries += 1;
        (*tries >= Self::TRIES_MAX).then_some(self.0)
    }
}

impl ServiceClock {
    /// Takes the date of an answer. The moment of asking is never told too late, and that of the answer never too early.
    pub fn answered(&mut self, date: ServiceTime, asked_at: Instant, answered_at: Instant) -> Result<When, InDoubt> {
        let told =
            When { asked: date.minus(answered_at.saturating_duration_since(asked_at)), answered: date.plus(DATE_UNIT) };
        let Some(expected) = self.at(asked_at) else {
            self.told = Some((told.asked, asked_at));
            return Err(InDoubt(told));
        };
        self.leap = if agree(told.asked, expected) { None } else { Some(self.leap_to(told.asked, asked_at)) };
        if self.leap.is_none_or(|leap| leap.dates >= LEAPS_PROVE) {
            return Ok(self.believe(date, told, asked_at, answered_at));
        }
        let expected_answer = expected.plus(answered_at.saturating_duration_since(asked_at)).plus(DATE_UNIT);
        Err(InDoubt(When { asked: told.asked.min(expected), answered: told.answered.max(expected_answer) }))
    }

    /// This date with those before it that leap to where it does: one that leaps elsewhere bears none of them out.
    fn leap_to(&self, to: ServiceTime, at: Instant) -> Leap {
        let before = self.leap.filter(|leap| agree(carried((leap.to, leap.at), at), to));
        Leap { to, at, dates: before.map_or(1, |leap| leap.dates + 1) }
    }

    fn believe(&mut self, date: ServiceTime, told: When, asked_at: Instant, answered_at: Instant) -> When {
        let has_leapt = self.leap.take().is_some();
        match &mut self.newest {
            Some(newest) if date == newest.date || (date < newest.date && !has_leapt) => {
                newest.last = newest.last.max(answered_at);
            }
            newest => *newest = Some(Newest { date, first: answered_at, last: answered_at }),
        }
        if has_leapt && let Some(from) = self.at(asked_at) {
            let leapt = Leapt { from, to: told.asked, takes_back: false };
            let takes_back = self.last_leap.is_some_and(|last| leapt.is_opposite_of(last));
            self.last_leap = (!takes_back).then_some(leapt);
            self.leapt = Some(Leapt { takes_back, ..leapt });
        }
        self.told = Some((told.asked, asked_at));
        told
    }

    /// A leap that is believed, to be told once.
    pub fn take_leapt(&mut self) -> Option<Leapt> {
        self.leapt.take()
    }

    /// For how long the dates have stood still, to be said now and then: nothing that goes by time can be known. A service that does
    /// not answer tells no date, and one in doubt says nothing.
    pub fn standstill(&mut self, now: Instant) -> Option<Duration> {
        let newest = self.newest.as_ref()?;
        let still = newest.last.saturating_duration_since(newest.first);
        if still < STANDS_STILL_AFTER || self.told_at.is_some_and(|told_at| now - told_at < TOLD_EVERY) {
            return None;
        }
        self.told_at = Some(now);
        Some(still)
    }

    /// The service's time at this moment of ours; nothing before the first answer.
    pub fn at(&self, moment: Instant) -> Option<ServiceTime> {
        Some(carried(self.told?, moment))
    }
}

/// What a clock that showed this at one moment shows at another.
fn carried((told, at): (ServiceTime, Instant), moment: Instant) -> ServiceTime {
    told.plus(moment.saturating_duration_since(at)).minus(at.saturating_duration_since(moment))
}

/// Whether two clocks of the service may show both at once.
fn agree(one: ServiceTime, other: ServiceTime) -> bool {
    one.since(other).max(other.since(one)) <= LEAP_MAX
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: ServiceTime = ServiceTime::from_ms(1_700_000_000_000);

    #[tokio::test(start_paused = true)]
    async fn bounds_hold_the_truth() {
        let mut clock = ServiceClock::default();
        let now = Instant::now();
        assert_eq!(clock.at(now), None);
        let rtt = Duration::from_millis(300);
        assert!(clock.answered(START, now, now).is_err(), "one date proves nothing");
        let when = clock.answered(START, now, now + rtt).expect("borne out");
        assert_eq!((when.asked, when.answered), (START.minus(rtt), START.plus(DATE_UNIT)));
        assert_eq!(clock.at(now + Duration::from_secs(10)), Some(START.minus(rtt).plus(Duration::from_secs(10))));
    }

    #[tokio::test(start_paused = true)]
    async fn one_date_that_leaps_decides_nothing() {
        let now = Instant::now();
        let day = Duration::from_secs(86_400);
        for leap in [START.plus(day), START.minus(day)] {
            let mut clock = ServiceClock::default();
            assert!(clock.answered(START, now, now).is_err());
            assert!(clock.answered(leap, now, now).is_err());
            let when = clock.answered(START, now, now).expect("as if nothing had been");
            assert_eq!((when.asked, when.answered), (START, START.plus(DATE_UNIT)));
            let mut clock = ServiceClock::default();
            let mut answered = |date| clock.answered(date, now, now).ok().map(|when| when.asked);
            let moments = [leap, START, START, START].map(&mut answered);
            assert_eq!(moments, [None, None, None, Some(START)], "the first of all is no better");
        }
    }

    /// A caller whose answers all come from a machine with another clock, among others that go on.
    #[tokio::test(start_paused = true)]
    async fn what_is_always_in_doubt_is_taken_with_careful_bounds() {
        let mut clock = ServiceClock::default();
        let now = Instant::now();
        let ahead = START.plus(Duration::from_secs(3_600));
        assert!(clock.answered(START, now, now).is_err());
        let mut tries = 0;
        let mut taken = Vec::new();
        for _ in 0..InDoubt::TRIES_MAX {
            clock.answered(START, now, now).expect("another caller's");
            let doubt = clock.answered(ahead, now, now).expect_err("it leaps");
            taken.extend(doubt.taken_after(&mut tries));
        }
        assert_eq!(taken, [When { asked: START, answered: ahead.plus(DATE_UNIT) }]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_date_that_stands_still_is_said_now_and_then() {
        let mut clock = ServiceClock::default();
        let now = Instant::now();
        let mut told = Vec::new();
        for second in 0..1_000 {
            let at = now + Duration::from_secs(second);
            let _of_no_interest = clock.answered(START.plus(Duration::from_secs(second.min(100))), at, at);
            told.extend(clock.standstill(at).map(|still| (second, still.as_secs())));
        }
        assert_eq!(told, [(220, 120), (820, 720)]);
    }

    /// A date from another day, told once, is no newest one: behind it the right ones would seem to stand still.
    #[tokio::test(start_paused = true)]
    async fn one_date_that_leaps_does_not_make_the_others_stand_still() {
        let mut clock = ServiceClock::default();
        let now = Instant::now();
        for second in 0..1_000 {
            let at = now + Duration::from_secs(second);
            let leap = Duration::from_secs(if second == 10 { 86_400 } else { 0 });
            let _of_no_interest = clock.answered(START.plus(Duration::from_secs(second)).plus(leap), at, at);
            assert_eq!(clock.standstill(at), None);
        }
    }

    /// An outage of two minutes, and the first date after it is another machine's.
    #[tokio::test(start_paused = true)]
    async fn a_service_that_does_not_answer_has_no_clock_that_stands_still() {
        let mut clock = ServiceClock::default();
        let now = Instant::now();
        for second in 0..10 {
            let at = now + Duration::from_secs(second);
            let _of_no_interest = clock.answered(START.plus(Duration::from_secs(second)), at, at);
        }
        let at = now + Duration::from_secs(140);
        let date = START.plus(Duration::from_secs(140) + LEAP_MAX + DATE_UNIT);
        assert!(clock.answered(date, at, at).is_err(), "in doubt");
        assert_eq!(clock.standstill(at), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_leap_back_takes_back_the_one_before_it() {
        let day = Duration::from_secs(86_400);
        let now = Instant::now();
        let mut clock = ServiceClock::default();
        assert!(clock.answered(START, now, now).is_err());
        clock.answered(START, now, now).expect("borne out");
        let mut leapt_to = |date| {
            let _of_no_interest = [(); 3].map(|()| clock.answered(date, now, now));
            clock.take_leapt().expect("three agree").takes_back
        };
        let (tomorrow, yesterday) = (START.plus(day), START.minus(day));
        assert_eq!([tomorrow, START, yesterday, START].map(&mut leapt_to), [false, true, false, true]);
        assert_eq!([tomorrow, START.plus(day / 2)].map(&mut leapt_to), [false, false], "not where it was");
    }

    /// A machine wakes up, and one of the first dates that it hears is another day's.
    #[tokio::test(start_paused = true)]
    async fn dates_that_leap_to_different_moments_bear_one_another_out_in_nothing() {
        let now = Instant::now();
        let hours = |hours: u64| START.plus(Duration::from_secs(3_600 * hours));
        let mut clock = ServiceClock::default();
        assert!(clock.answered(START, now, now).is_err());
        clock.answered(START, now, now).expect("borne out");
        let (woken, wrong) = (hours(15), hours(39));
        let dates = [woken, woken, wrong, woken, wrong, woken, woken, woken];
        let moments = dates.map(|date| clock.answered(date, now, now).ok().map(|when| when.asked));
        assert_eq!(moments, [None, None, None, None, None, None, None, Some(woken)]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_clock_that_stood_still_is_set_by_dates_that_agree() {
        let mut clock = ServiceClock::default();
        let now = Instant::now();
        assert!(clock.answered(START, now, now).is_err());
        let later = START.plus(Duration::from_secs(30 * 3600));
        let moments = [(); 3].map(|()| clock.answered(later, now, now).ok().map(|when| when.asked));
        assert_eq!(moments, [None, None, Some(later)]);
        assert_eq!(clock.at(now), Some(later));
        assert_eq!(clock.take_leapt(), Some(Leapt { from: START, to: later, takes_back: false }));
        clock.answered(later, now, now).expect("as before");
        assert_eq!(clock.take_leapt(), None, "it is told once");
    }
}
