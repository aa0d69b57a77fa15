//! PostgreSQL in memory, with the manners that hurt: row locks that are waited for, a snapshot per statement, transactions
//! that an error aborts and `commit` does not complain about, sessions that outlive their clients, commits of unknown fate,
//! and fail-overs that lose the last commits as a whole.
//!
//! It stands behind the sink's own trait of typed statements, so the lane that runs over it is the one that ships.
//!
//! Deliberately absent: SQL text (the real server tests that), isolation levels other than READ COMMITTED, indexes beside
//! the keys, and rights.

mod backend;
mod commits;
mod engine;
mod executing;
mod faults;
mod look;
mod mirror_sql;
mod owner_sql;
mod progress_sql;
mod row_versions;
mod rows;
mod server;
mod session;
mod sql_error;
mod statements;
mod stream_sql;
mod table;
mod target_sql;
#[cfg(test)]
mod tests;

#[cfg(test)]
pub(crate) use backend::{Command, SessionTimes};
pub use commits::{Claimed, CommitView, FAIL_OVER_COMMITS_MAX, Happening, RowChange, Watch};
#[cfg(test)]
pub(crate) use executing::{Change, Executing};
pub use faults::{Faults, Hits, Trigger, TriggerAnswer};
pub use look::{GapLook, LaneLook, MirrorLook, ShardLook, StreamLook};
pub use rows::{
    DeadLetterRow, GapRow, LaneRow, MirrorRow, RowKey, RowValue, ShardRow, StoredCounts, StreamRow, TargetRow,
};
pub use server::ModelServer;
pub use session::ModelSession;
#[cfg(test)]
pub(crate) use session::SessionFault;
pub use sql_error::SqlError;
pub use statements::ModelStatements;
pub use table::ModelTable;
