//! Mirrors DynamoDB tables into Postgres: rows and progress commit in one transaction, fenced by an epoch per lane.
//!
//! [`claim`] prepares the database and takes a pipeline over; each [`PostgresLane`] is a `Sink` with a connection of its
//! own. The protocol of a lane stands over two traits, [`Server`] and [`Statements`]; `sql` is PostgreSQL behind them.
//! Progress, gaps and dead letters live in the schema `tailwater`; [`checkpoints`] lists them.
//!
//! Deliberately absent: retries (reopening is the only recovery, I7), connection pools, anything that a session of the server
//! would have to remember from one transaction to the next (named statements, settings, locks: a pooler gives each transaction
//! another session), and any SQL text with a name or a value in it that did not pass through `identifier`. Its statements run
//! where a user's functions are found, too: names of tables are qualified, and so are functions that take arguments of any
//! type, for one of the user's with the exact types would be taken before them.

mod bisect;
mod brake;
mod check;
mod checkpoints;
mod claim;
mod connect;
mod database_url;
mod document;
mod failures;
mod fault;
mod fence;
mod identifier;
mod inline;
mod lane;
mod migrate;
mod mirror_table;
mod open;
mod ownership;
mod prepare;
mod session;
mod settings;
mod sql;
mod statements;
mod table_shape;
mod transaction;
mod write_rows;

pub use check::{Setting, faults, key_file};
pub use checkpoints::checkpoints;
pub use claim::{check_claim, claim, claim_on};
pub use document::storable;
pub use fence::Holder;
pub use lane::{LaneIdentity, MirrorLane, PostgresLane};
pub use ownership::{MirrorOwnership, PostgresOwnership};
pub use prepare::{Row, Write};
pub use session::SqlFault;
pub use settings::{DatabaseUrl, PostgresSettings, TlsMode, TlsSettings};
pub use sql::{PostgresServer, PostgresSession};
pub use statements::{
    Answer, HeldLane, Move, NewShard, Server, Statements, StoredOwner, StoredStream, Unready, WriteAccess,
};
