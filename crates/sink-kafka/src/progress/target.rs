//! What is stored of the topic that progress was made for.

use serde::{Deserialize, Serialize};

/// What is stored of the target.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub(crate) struct StoredTarget {
    /// The topic of change events.
    pub(crate) topic: String,
    /// The DynamoDB table with its key.
    pub(crate) source: String,
    /// Where each partition of the topic ended when the pipeline was claimed last. An end never goes back, unless the topic is made
    /// again or loses what it had: librdkafka does not tell a topic's id.
    pub(crate) ends: Vec<i64>,
    /// Events that were accounted for as written when the progress was bound to it: later ones must have left something.
    pub(crate) written: u64,
}
