//! The life of an owner: shown by the one who has the pipeline, watched by whoever stands by, ended by handing over.
//!
//! Whether an owner lives is judged by the watcher's own clock alone: it has seen no change of the sign of life for the
//! lease. No two clocks are compared. A wrong judgement costs a take-over and nothing else: the fence keeps what is right.

use std::time::Duration;

use tailwater_model::{Owner, Ownership, Trouble, TroubleKind};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval, sleep, timeout};
use tracing::{info, warn};

use crate::status::PipelineStatus;
use crate::stop::StopSignal;

/// An owner shows life so many times within a lease: one sign may be lost, and one may be late.
const SIGNS_PER_LEASE: u32 = 3;
/// How often somebody who stands by looks at the owner: a graceful stop is noticed within this.
const LOOK_INTERVAL: Duration = Duration::from_millis(250);
/// Where several stand by, each looks once more after a wait of its own, shorter than this: whoever waits longer finds that another
/// one has claimed the pipeline. Short, so that a graceful stop is still noticed soon.
const JITTER_MAX: Duration = Duration::from_millis(250);
/// Longest wait for one sign or look.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// Longest wait for handing over: a stop that has used up its grace period may wait for nothing any more, and a sink that does
/// not answer is why.
const HANDED_OVER_WITHIN: Duration = Duration::from_secs(2);
/// A look may take so long where the sink is slow, however short the lease.
const BLIND_MIN: Duration = Duration::from_secs(3);
/// Looks that fail for so long are more than a bad moment.
const BLIND_BORNE: Duration = Duration::from_secs(10);

/// When an owner shows life, whatever it does between two signs.
pub(crate) struct Signs {
    /// The time between two of them.
    period: Duration,
    due: Interval,
}

impl Signs {
    /// The first one is due at once.
    pub(crate) fn new(lease: Duration) -> Self {
        let period = lease / SIGNS_PER_LEASE;
        let mut due = interval(period);
        due.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { period, due }
    }

    /// A claim that was begun at this moment is a sign, too.
    pub(crate) fn claimed(&mut self, begun: Instant) {
        self.due.reset_at(begun + self.period);
    }
}

/// Does this work, and lets the owner show life meanwhile, if there is one. An error when it has lost the pipeline: the work is
/// dropped then, or stands where it was.
pub(crate) async fn alive<O: Ownership, T>(
    owner: Option<&mut O>,
    signs: &mut Signs,
    work: impl Future<Output = T>,
) -> Result<T, Trouble> {
    let Some(owner) = owner else { return Ok(work.await) };
    tokio::select! { biased;
        done = work => Ok(done),
        lost = show_life(owner, signs) => Err(lost),
    }
}

/// Shows life until the pipeline is not ours any more; gives that trouble. Whatever else goes wrong is told once and tried again:
/// the lanes have troubles of their own.
async fn show_life<O: Ownership>(ownership: &mut O, signs: &mut Signs) -> Trouble {
    let mut told = None;
    loop {
        signs.due.tick().await;
        match timeout(ANSWER_WITHIN, ownership.show_life()).await {
            Ok(Ok(())) => told = None,
            Ok(Err(trouble)) if is_lost(&trouble) => return trouble,
            Ok(Err(trouble)) => tell_once(&mut told, trouble.code, &trouble.message, "showing life"),
            Err(_) => tell_once(&mut told, no_answer().code, "no answer", "showing life"),
        }
    }
}

/// The claim does not hold any more.
pub(crate) fn is_lost(trouble: &Trouble) -> bool {
    matches!(trouble.kind, TroubleKind::Replaced | TroubleKind::ClaimLost)
}

/// What comes of watching an owner.
pub(crate) enum Watched {
    /// The pipeline is to be taken.
    Free,
    /// For a while nobody could look at the owner; the last trouble.
    Blind(Trouble),
    /// The process is asked to stop.
    Stopped,
}

/// Waits until the pipeline is to be taken: its owner has handed over or is not known any more, or has shown no life for the lease,
/// and none of the others that stand by was faster.
pub(crate) async fn watch<O: Ownership>(
    ownership: &mut O,
    lease: Duration,
    stop: &StopSignal,
    status: &PipelineStatus,
) -> Watched {
    let jitter = ownership.jitter(JITTER_MAX);
    let mut silence = Silence::new(lease);
    let (mut told, mut seen) = (None, None);
    let mut blind_since: Option<Instant> = None;
    // It was free when it was looked at last.
    let mut is_free = false;
    loop {
        tokio::select! { biased;
            () = stop.stopped() => return Watched::Stopped,
            () = sleep(if is_free { jitter } else { LOOK_INTERVAL }) => {}
        }
        let looked = tokio::select! { biased;
            () = stop.stopped() => return Watched::Stopped,
            looked = timeout(ANSWER_WITHIN, ownership.owner()) => looked.unwrap_or_else(|_| Err(no_answer())),
        };
        let was_free = is_free;
        if looked.is_ok() {
            (told, blind_since) = (None, None);
        }
        is_free = match looked {
            Ok(Owner::Nobody) => true,
            Ok(Owner::Somebody { mark, life }) => {
                tell_owner(&mut seen, mark, lease);
                let is_over = silence.is_over(life, Instant::now());
                status.owner_lives_at(silence.since());
                is_over
            }
            Err(trouble) => {
                tell_once(&mut told, trouble.code, &trouble.message, "looking at the owner");
                if blind_since.get_or_insert_with(Instant::now).elapsed() >= BLIND_BORNE {
                    return Watched::Blind(trouble);
                }
                false
            }
        };
        if is_free && was_free {
            info!(lease_seconds = lease.as_secs(), "the owner has handed over, or shows no life: taking the pipeline");
            return Watched::Free;
        }
    }
}

/// Another owner than the last one is told.
fn tell_owner(seen: &mut Option<String>, owner: String, lease: Duration) {
    if seen.as_ref() != Some(&owner) {
        info!(
            owner,
            lease_seconds = lease.as_secs(),
            "another process has the pipeline: it is taken when that one hands over, or shows no life for the lease"
        );
        *seen = Some(owner);
    }
}

fn no_answer() -> Trouble {
    Trouble::new(TroubleKind::Environment, "sink.no_answer", "no answer")
}

/// Hands over, as far as that is possible soon. Where it is not, whoever stands by waits for the lease.
pub(crate) async fn release<O: Ownership>(ownership: &mut O) {
    let why = match timeout(HANDED_OVER_WITHIN, ownership.release()).await {
        Ok(Ok(())) => return,
        Ok(Err(trouble)) => trouble.message,
        Err(_) => "no answer".to_owned(),
    };
    warn!("handing the pipeline over failed: {why}; whoever stands by waits for the lease");
}

/// Another trouble than the last one is told.
fn tell_once(told: &mut Option<&'static str>, code: &'static str, message: &str, doing: &str) {
    if told.replace(code) != Some(code) {
        warn!(code, "{doing} failed: {message}; trying again");
    }
}

/// How long an owner has been silent, as far as it was looked at.
struct Silence {
    lease: Duration,
    /// The last sign of life, and since when it is the last: where it was found by a look, it may be as old as the look before.
    last: Option<(String, Instant)>,
    looked_at: Option<Instant>,
}

impl Silence {
    fn new(lease: Duration) -> Self {
        Self { lease, last: None, looked_at: None }
    }

    /// Since when the last sign of life is the last.
    fn since(&self) -> Option<Instant> {
        self.last.as_ref().map(|(_, since)| *since)
    }

    /// Takes a look in, and tells whether the owner was silent for the lease. Who could not look for as long as an owner may
    /// be silent between two signs, because the sink was away or this process stood still, begins anew: the owner may not
    /// have been able to show life either.
    fn is_over(&mut self, life: String, now: Instant) -> bool {
        let blind_max = (self.lease / SIGNS_PER_LEASE).max(BLIND_MIN);
        let was_blind = self.looked_at.is_some_and(|looked| now.saturating_duration_since(looked) > blind_max);
        let looked_before = self.looked_at.replace(now).filter(|_| !was_blind);
        match &self.last {
            Some((last, since)) if *last == life && !was_blind => now.saturating_duration_since(*since) >= self.lease,
            _ => {
                let since = looked_before.map_or(now, |before| before.max(now - LOOK_INTERVAL));
                self.last = Some((life, since));
                false
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Looks at these seconds, and what is seen; gives at which of them the silence was over.
    fn over(lease: u64, looks: &[(u64, &str)]) -> Option<u64> {
        let (mut silence, begin) = (Silence::new(Duration::from_secs(lease)), Instant::now());
        looks
            .iter()
            .find_map(|(at, life)| silence.is_over((*life).to_owned(), begin + Duration::from_secs(*at)).then_some(*at))
    }

    #[test]
    fn a_silence_is_over_after_the_lease_and_not_before() {
        let silent: Vec<(u64, &str)> = (0..40).map(|at| (at, "1")).collect();
        assert_eq!(over(15, &silent), Some(15));
        let lives: Vec<(u64, &str)> = (0..40).map(|at| (at, ["1", "2", "3", "4"][at as usize / 10])).collect();
        assert_eq!(over(15, &lives), None);
        // What was there before is a sign of life, too.
        assert_eq!(over(15, &[(0, "1"), (5, "1"), (10, "2"), (15, "1"), (20, "1"), (25, "1"), (29, "1")]), None);
    }

    #[test]
    fn a_silence_begins_with_the_look_before_the_one_that_found_the_last_sign() {
        let (mut silence, begin) = (Silence::new(Duration::from_secs(3)), Instant::now());
        let over_at = (0..20).map(|look| 250 * look).find(|ms| {
            let life = if *ms < 2000 { "1" } else { "2" };
            silence.is_over(life.to_owned(), begin + Duration::from_millis(*ms))
        });
        assert_eq!(over_at, Some(4750));
    }

    #[test]
    fn who_was_blind_begins_anew() {
        assert_eq!(over(15, &[(0, "1"), (5, "1"), (10, "1"), (15, "1")]), Some(15));
        assert_eq!(over(15, &[(0, "1"), (5, "1"), (11, "1"), (16, "1"), (21, "1")]), None);
        assert_eq!(over(15, &[(0, "1"), (100, "1"), (105, "1"), (110, "1"), (115, "1")]), Some(115));
    }
}
