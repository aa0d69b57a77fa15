//! The knobs of unkindness, and how often each one bit.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

use fastrand::Rng;

/// What the server does to its clients. Probabilities are from 0 (never) to 1 (always), drawn from the server's seeded
/// generator. `Faults::default()` is a kind server without any delay.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Faults {
    /// Per connection: refused with 53300, too many clients.
    pub too_many_clients: f64,
    /// Per connection: refused with 57P03, as while the server starts.
    pub starting_up: f64,
    /// Per connection: nobody answers until the client gives up.
    pub connect_hang: f64,
    /// Per connection: it leads to a standby, where every write is refused with 25006.
    pub read_only: f64,
    /// Per statement: the session is ended with 57P01.
    pub admin_shutdown: f64,
    /// Per statement: the connection is cut before the statement arrives.
    pub connection_cut: f64,
    /// Per statement that writes: 40001.
    pub serialization_failure: f64,
    /// Per statement that writes: 40P01, as if by a circle with a session of somebody else.
    pub deadlock: f64,
    /// Per statement that writes: 53100.
    pub disk_full: f64,
    /// Per statement: never answered; the session lives on with its locks until the client goes away.
    pub hang: f64,
    /// Per statement: it takes longer by a time out of `slow_by`.
    pub slow: f64,
    /// How much longer a slow statement takes. Empty means: not at all.
    pub slow_by: Range<Duration>,
    /// What every statement takes. Empty means: no time at all.
    pub latency: Range<Duration>,
    /// Per commit: applied, and the answer is lost (the first unknown outcome).
    pub commit_reply_lost: f64,
    /// Per commit: lost on its way, never applied (the second).
    pub commit_lost: f64,
    /// Per commit: the connection breaks, and the commit is applied later by a time out of `commit_late_by`, with its locks
    /// held until then (the third).
    pub commit_late: f64,
    /// How much later a late commit lands. Empty means: at once.
    pub commit_late_by: Range<Duration>,
    /// Per connection that its client leaves: the server does not notice, as with a lost machine, and the session keeps
    /// its locks until a time-out ends it.
    pub half_open: f64,
    /// Per commit: afterwards the primary is lost, and with it the last 1 to `fail_over_commits_max` commits as a whole.
    pub fail_over: f64,
    /// Most commits that a fail-over loses. 0 means: none are lost, but every session is.
    pub fail_over_commits_max: u32,
    /// A document with this text in it violates a check constraint of the user: 23514.
    pub refused_text: Option<String>,
    /// Triggers of the user.
    pub triggers: Vec<Trigger>,
}

/// What a trigger of the user does before a row is inserted or updated whose document has a text in it, or before such a row is
/// deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trigger {
    /// The text.
    pub text: String,
    /// What becomes of the row.
    pub answer: TriggerAnswer,
}

/// How a trigger ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TriggerAnswer {
    /// Before an insert or update it raises an exception with this SQLSTATE, whatever its author chose.
    Raises(&'static str),
    /// Before an insert or update it returns null: the row is left out of the statement, which does well.
    Null,
    /// Before an update it returns the old row: the row stays as it is, and the statement does well.
    OldRow,
    /// Before a delete it returns null: the row stays, and the statement does well.
    NullForDelete,
}

impl Faults {
    /// What the user has put on the table, without anything that the server does by itself.
    pub(crate) fn of_the_user(&self) -> Self {
        let (refused_text, triggers) = (self.refused_text.clone(), self.triggers.clone());
        Self { refused_text, triggers, ..Self::default() }
    }
}

/// How often each fault bit, by name.
pub type Hits = BTreeMap<&'static str, u64>;

/// The knobs with the chance that they are drawn by.
#[derive(Debug)]
pub(crate) struct Chance {
    pub(crate) faults: Faults,
    pub(crate) rng: Rng,
    pub(crate) hits: Hits,
}

impl Chance {
    pub(crate) fn new(seed: u64) -> Self {
        Self { faults: Faults::default(), rng: Rng::with_seed(seed), hits: Hits::new() }
    }

    /// Counts something that happened.
    pub(crate) fn hit(&mut self, name: &'static str) {
        *self.hits.entry(name).or_default() += 1;
    }

    /// Whether the fault bites now. Draws nothing when the knob is off, so a knob that nobody turned changes no run.
    pub(crate) fn bites(&mut self, name: &'static str, knob: fn(&Faults) -> f64) -> bool {
        let probability = knob(&self.faults);
        if probability <= 0.0 || self.rng.f64() >= probability {
            return false;
        }
        self.hit(name);
        true
    }

    /// A time out of the range, the start of an empty one.
    pub(crate) fn time(&mut self, range: fn(&Faults) -> &Range<Duration>) -> Duration {
        let Range { start, end } = range(&self.faults).clone();
        let (low, high) = (start.as_micros(), end.as_micros());
        let (Ok(low), Ok(high)) = (u64::try_from(low), u64::try_from(high)) else { return start };
        if low >= high { start } else { Duration::from_micros(self.rng.u64(low..high)) }
    }
}
