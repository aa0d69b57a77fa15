//! The progress of a lane, kept in its partition of the progress topic: records, what they add up to, and reading them.
//!
//! The partition is a log of facts under keys; compaction keeps the newest of each key. Only the owner of the lane's
//! `transactional.id` can add to it, so the log needs no locks: the fence is Kafka's own.

mod dead_letters;
mod partitions;
mod reader;
mod records;
mod session;
mod state;
mod target;

pub(crate) use dead_letters::AllDeadLetters;
pub(crate) use partitions::Partitions;
pub(crate) use reader::{ProgressReader, Until, read_lanes};
pub(crate) use records::{ClaimMark, ProgressRecord};
pub(crate) use session::{Holds, SessionMark};
pub(crate) use state::{LaneProgress, StepRefused, StreamFacts, lost_partition};
pub(crate) use target::StoredTarget;
