//! What a world needs of a sink's model: sessions for a new owner, faults, and a watch over everything that becomes durable.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tailwater_model::{Claimed, Ownership, PipelineIdentity, Position, Sink, Trouble};

use super::witness::Witness;

/// A sink's model as a world uses it. Clones are the same ground.
pub trait Ground: Clone + Send + Sync + 'static {
    /// One session of one lane.
    type Lane: Sink + 'static;
    /// What is said of an owner.
    type Ownership: Ownership + 'static;

    /// Makes a new owner: one session per lane. Whoever owned the lanes before loses them. It reports what becomes durable
    /// to the witness that the ground was made with.
    fn claim(&self, identity: &PipelineIdentity) -> impl Future<Output = ClaimResult<Self>> + Send;

    /// Sets the faults from now on; `SinkFaults::default()` heals. What is under way still lands.
    fn set_faults(&self, faults: &SinkFaults);

    /// How often each fault bit, by the name of its field.
    fn hits(&self) -> BTreeMap<&'static str, u64>;

    /// What is durable now.
    fn durable(&self) -> Durable;

    /// Somebody loses something that no process of the pipeline may pass over; nobody is at work. Answers whether there was
    /// something to lose, and does nothing where there was not.
    fn lose(&self, _loss: Loss) -> bool {
        false
    }
}

/// What a sink can lose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// The progress; the target is still there.
    Progress,
    /// The target is made again, empty; the progress is still there.
    Target,
}

/// What becomes of a claim.
pub type ClaimResult<G> = Result<Claimed<<G as Ground>::Lane, <G as Ground>::Ownership>, Trouble>;

/// What a sink does to its clients, in terms that every kind of sink has. Probabilities are per call, from 0 to 1.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SinkFaults {
    /// A claim or the opening of a session fails.
    pub unreachable: f64,
    /// A call takes seconds.
    pub slow: f64,
    /// A call is answered long after anybody waited for it, if at all.
    pub hang: f64,
    /// A commit is applied, and its answer is lost.
    pub reply_lost: f64,
    /// A commit is lost on its way.
    pub not_applied: f64,
    /// A commit fails, and is applied later.
    pub applied_later: f64,
    /// Items with this text in them are refused: their events are dead letters.
    pub refused_text: Option<String>,
}

/// What a sink holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Durable {
    /// The items by key: typed JSON of the key, and what is known of its last or of all its changes.
    pub items: BTreeMap<String, Vec<Held>>,
    /// The position of each shard.
    pub positions: BTreeMap<String, Position>,
    /// Gaps on record: the shard if one is meant, and the cause.
    pub gaps: Vec<(Option<String>, String)>,
    /// Event ids of the dead letters, in order.
    pub dead_letters: Vec<String>,
}

/// A change as a sink holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// The event's id.
    pub event_id: String,
    /// Whether the item is there after it.
    pub present: bool,
    /// The new image in typed JSON, where the sink keeps it as it came.
    pub image: Option<String>,
}

/// One commit, at the instant at which it becomes visible.
#[derive(Clone, Debug, Default)]
pub struct Landing {
    /// The lane that committed.
    pub lane: u32,
    /// Its epoch.
    pub epoch: u64,
    /// The changes, in the order in which they became visible.
    pub changes: Vec<LandedChange>,
    /// Positions before and after, in order. Nothing before means that the shard was not stored.
    pub steps: Vec<(String, Option<Position>, Position)>,
    /// Gaps: the shard if one is meant, the cause, the position that is complete.
    pub gaps: Vec<(Option<String>, String)>,
    /// Until when gaps tell of losses, of those too that were on record: the shard and milliseconds since 1970.
    pub gaps_until: Vec<(Option<String>, i64)>,
    /// Event ids of new dead letters.
    pub dead_letters: Vec<String>,
    /// Shards whose progress was removed.
    pub forgotten: Vec<String>,
    /// It stored that the stream is known.
    pub known: bool,
}

/// A change of one item in a landing.
#[derive(Clone, Debug)]
pub struct LandedChange {
    /// The item's key in typed JSON.
    pub key: String,
    /// The event's id.
    pub event_id: String,
    /// The new image in typed JSON; nothing when the item is gone or the sink does not keep it as it came.
    pub image: Option<String>,
}

/// The witness as grounds hold it.
pub type SharedWitness = Arc<Mutex<Witness>>;

/// A world that failed still wants to be looked at.
pub(super) fn lock<T>(state: &Mutex<T>) -> MutexGuard<'_, T> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}
