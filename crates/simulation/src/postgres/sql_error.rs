//! Errors by their SQLSTATE, with the primary messages of the real server.

use thiserror::Error;

/// What the server answers to a statement that failed.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{message} ({state})")]
pub struct SqlError {
    /// SQLSTATE (PostgreSQL, appendix A "Error Codes").
    pub state: &'static str,
    /// The primary message.
    pub message: String,
}

impl SqlError {
    pub(crate) fn new(state: &'static str, message: impl Into<String>) -> Self {
        Self { state, message: message.into() }
    }

    /// The primary message that PostgreSQL 17 gives for a state that the model raises on its own.
    pub(crate) fn of(state: &'static str) -> Self {
        let message = match state {
            "21000" => "ON CONFLICT DO UPDATE command cannot affect row a second time",
            "22021" => "invalid byte sequence for encoding \"UTF8\": 0x00",
            "22P05" => "unsupported Unicode escape sequence",
            "23505" => "duplicate key value violates unique constraint",
            "23514" => "new row violates check constraint",
            "25006" => "cannot execute UPDATE in a read-only transaction",
            "25P01" => "there is no transaction in progress",
            "25P02" => "current transaction is aborted, commands ignored until end of transaction block",
            "25P03" => "terminating connection due to idle-in-transaction timeout",
            "3B001" => "savepoint does not exist",
            "40001" => "could not serialize access due to concurrent update",
            "40P01" => "deadlock detected",
            "53100" => "could not extend file: No space left on device",
            "53300" => "sorry, too many clients already",
            "54000" => "index row size exceeds btree version 4 maximum 2704",
            "55P03" => "canceling statement due to lock timeout",
            "57014" => "canceling statement due to statement timeout",
            "57P01" => "terminating connection due to administrator command",
            "57P03" => "the database system is starting up",
            _ => "error",
        };
        Self::new(state, message)
    }
}
