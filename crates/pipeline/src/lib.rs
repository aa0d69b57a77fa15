//! The lane loop: pulls batches from a source, applies transforms, commits groups to a sink, and opens again after
//! trouble. Supervises the lanes of one pipeline, stands by when another process takes it over, and keeps its status.
//!
//! Deliberately absent: AWS, Kafka, SQL. It knows the traits of `model` and nothing behind them.

mod collect;
mod dead_letter_log;
mod delay;
mod group_size;
mod lane;
mod ownership;
mod refusals;
mod reopen_log;
mod run;
mod status;
mod stop;
mod supervise;

pub use lane::LaneSettings;
pub use run::{Assembly, ClaimOf, Following, RunSettings, run};
pub use status::{LaneState, PipelineStatus, StatusSnapshot};
pub use stop::StopSignal;
pub use supervise::{Ended, run_pipeline};
