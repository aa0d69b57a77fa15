//! The knobs of unkindness, and how often each one bit.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

use fastrand::Rng;

/// What the cluster and the way there do to clients. Probabilities are from 0 (never) to 1 (always), drawn from the
/// cluster's seeded generator. `Faults::default()` is a kind cluster without any delay.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Faults {
    /// What every request takes, there and back each. Empty means: no time at all.
    pub latency: Range<Duration>,
    /// Per request: it takes longer by a time out of `slow_by`.
    pub slow: f64,
    /// How much longer a slow request takes.
    pub slow_by: Range<Duration>,
    /// Per request: from now on nobody reaches the cluster, for a time out of `outage_by`.
    pub outage: f64,
    /// How long the cluster is out of reach.
    pub outage_by: Range<Duration>,
    /// Per request: it never arrives, and nobody says so.
    pub hang: f64,
    /// Per request but the end of a transaction: done, and the connection breaks before the answer.
    pub answer_lost: f64,
    /// Per request but the end of a transaction: not answered, and done later by a time out of `late_by`.
    pub late: f64,
    /// Per end of a transaction: done, and the answer is lost (the first unknown outcome).
    pub end_answer_lost: f64,
    /// Per end of a transaction: lost on its way (the second).
    pub end_lost: f64,
    /// Per end of a transaction: not answered, and done later by a time out of `late_by` (the third).
    pub end_late: f64,
    /// How much later what is late arrives.
    pub late_by: Range<Duration>,
    /// What the markers of a decided end take to each partition. Until then it is not stable there.
    pub markers_take: Range<Duration>,
    /// Per decided end: its markers take longer by a time out of `late_by`.
    pub markers_late: f64,
    /// Per request to the coordinator: it has moved or is starting, and says so.
    pub coordinator_moved: f64,
    /// Per produce request: too few replicas are in step. The client tries again.
    pub not_enough_replicas: f64,
    /// Per produce request, fetch and look at the topics: from now on no broker knows the topics, for a time out of
    /// `metadata_lost_by`.
    pub metadata_lost: f64,
    /// How long the topics are unknown.
    pub metadata_lost_by: Range<Duration>,
    /// Per produce request: refused for good by a code of the broker's. The transaction has to be given up.
    pub delivery_refused: f64,
    /// Per produce request: the client finds itself broken for good.
    pub fatal: f64,
    /// Per fetch: the connection breaks.
    pub fetch_failed: f64,
    /// Per fetch and question for a partition's end: its leader has changed, and shows less than what is committed, for a time
    /// out of `stale_by`. Asked for the end it says that it does not know it.
    pub stale_end: f64,
    /// How long it shows less.
    pub stale_by: Range<Duration>,
    /// Per question where the topic of change events ends: an old leader answers, which has not heard of the new one, for a time out
    /// of `deposed_by`. It tells less than there is, and not soon again.
    pub deposed: f64,
    /// How long the old leader answers.
    pub deposed_by: Range<Duration>,
    /// Per decided end: afterwards the compacted topics are compacted.
    pub compacted: f64,
    /// Per look at the topics: the topic of change events has got one partition more, up to [`PARTITIONS_MAX`].
    pub repartitioned: f64,
}

/// Partitions to which [`Faults::repartitioned`] lets a topic grow.
pub(crate) const PARTITIONS_MAX: usize = 8;

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
