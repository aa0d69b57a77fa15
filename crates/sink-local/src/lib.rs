//! The embedded sinks: `stdout`, `file` (JSON lines) and `sqlite` (a mirror of the table). They need nothing but a disk.
//!
//! `sqlite` keeps rows and progress in one database and one transaction. `file` keeps its progress in a SQLite database
//! beside the data file. `stdout` keeps progress in memory only.
//!
//! Deliberately absent: servers, schemas of their own per tool, and any knowledge of where events come from.

mod accounting;
mod blocking;
mod database;
mod file;
mod file_identity;
mod identifier;
mod json_lines;
mod mark;
mod mirror_table;
mod private_file;
mod progress;
mod read_mirror;
mod refused_rows;
mod sqlite;
mod stdout;

pub use database::database_path_fault;
pub use file::{FileLane, FileSettings, check_file, claim_file, file_checkpoints};
pub use mirror_table::table_name_fault;
pub use progress::SqliteOwnership;
pub use read_mirror::read_mirror;
pub use sqlite::{SqliteLane, SqliteSettings, check_sqlite, claim_sqlite, sqlite_checkpoints};
pub use stdout::{StdoutLane, claim_stdout};
