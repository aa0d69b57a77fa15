//! What the network does to calls.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

/// What the network and the front of the service do to calls. Probabilities are per call, from 0 to 1; the default is a
/// network that takes no time.
#[derive(Clone, Debug, Default)]
pub struct NetworkFaults {
    /// What every call takes, there and back each. Empty means: no time.
    pub latency: Range<Duration>,
    /// It takes seconds.
    pub slow: f64,
    /// Never answered.
    pub hang: f64,
    /// The connection breaks before the call is done.
    pub refused: f64,
    /// The connection breaks after the call was done.
    pub answer_lost: f64,
    /// The body ends early.
    pub truncated: f64,
    /// The body is something else.
    pub malformed: f64,
    /// A page of HTML with status 503.
    pub html: f64,
    /// Something else than the service answers, and does not know the operation.
    pub misdirected: f64,
    /// A page of an open shard comes without what names the next one, as if the shard had ended; never twice in a row.
    pub end_invented: f64,
    /// The date of an answer is a day off; of one worker's never two of five.
    pub wrong_date: f64,
    /// All dates are so much ahead.
    pub dates_ahead: Duration,
}

/// How often each network fault bit, by name.
pub type NetworkHits = BTreeMap<&'static str, u64>;
