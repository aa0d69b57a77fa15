//! Mirrors DynamoDB tables into Postgres: rows and progress commit in one transaction, fenced by an epoch per lane.
//!
//! [`claim`] prepares the database and takes a pipeline over; each [`PostgresLane`] is a `Sink` with a connection of its
//! own. Progress, gaps and dead letters live in the schema `tailwater`; [`checkpoints`] lists them.
//!
//! Deliberately absent: retries (reopening is the only recovery, I7), connection pools, session locks, and any SQL text
//! with a name in it that did not pass through `identifier`.

mod bisect;
mod checkpoints;
mod claim;
mod connect;
mod document;
mod fault;
mod fence;
mod identifier;
mod keep_aside;
mod lane;
mod migrate;
mod mirror_table;
mod open;
mod prepare;
mod session;
mod settings;
mod table_shape;
mod write_rows;

pub use checkpoints::checkpoints;
pub use claim::claim;
pub use lane::PostgresLane;
pub use settings::{PostgresSettings, TlsMode, TlsSettings};
