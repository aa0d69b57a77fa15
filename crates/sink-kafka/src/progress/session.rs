//! What a session says of its lane.

use serde::{Deserialize, Serialize};

/// One opening of a lane. The newest claim owns the lane; the epoch tells its openings apart.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub(crate) struct SessionMark {
    /// Whose progress this is.
    pub(crate) pipeline: String,
    /// Counts the take-overs of the pipeline.
    pub(crate) claim: u64,
    /// Random mark of the process that made the claim.
    pub(crate) owner: String,
    /// Counts the openings of the lane.
    pub(crate) epoch: u64,
    /// What there was beside it. Nothing in sessions from before this was kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) holds: Option<Holds>,
}

/// How much a loss would leave less of.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub(crate) struct Holds {
    /// Shards, streams, topics and targets in the lane's partition.
    pub(crate) facts: u64,
    /// Lanes that had been opened.
    pub(crate) lanes: u32,
}
