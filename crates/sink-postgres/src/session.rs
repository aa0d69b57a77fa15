//! One connection with a deadline on every answer.

use std::fmt;
use std::future::Future;
use std::time::Duration;

use sqlx::postgres::{PgArguments, PgConnection, PgRow};
use sqlx::query::Query;
use sqlx::{Postgres, SqlSafeStr};
use thiserror::Error;

/// How much later than the server's own `statement_timeout` we stop waiting for its answer: then the connection is dead
/// in a way that TCP has not told us (I6).
const ANSWER_GRACE: Duration = Duration::from_secs(10);

/// What can go wrong with a statement.
#[derive(Debug, Error)]
pub enum SqlFault {
    /// The driver or the server behind it says so.
    #[error(transparent)]
    Driver(#[from] sqlx::Error),
    /// No answer within this time: what the server did is unknown.
    #[error("no answer within {0:?}")]
    NoAnswer(Duration),
    /// The server took the statement well and kept another number of rows than it was sent.
    #[error("of {sent} rows the table kept {kept}")]
    Swallowed {
        /// Rows of the statement.
        sent: u64,
        /// Rows that it touched.
        kept: u64,
    },
    /// A server that is not behind the driver says so.
    #[error("{message} (SQLSTATE {state})")]
    Coded {
        /// SQLSTATE (PostgreSQL, appendix A "Error Codes").
        state: String,
        /// The primary message.
        message: String,
    },
}

impl SqlFault {
    /// The connection broke: what the server did is unknown.
    pub fn connection_lost() -> Self {
        Self::Driver(sqlx::Error::Io(std::io::ErrorKind::ConnectionReset.into()))
    }
}

/// A connection. After any fault but a refused row it is to be dropped: what the server did is unknown.
pub(crate) struct Session {
    connection: PgConnection,
    answer_within: Duration,
}

impl Session {
    pub(crate) fn new(connection: PgConnection, statement_timeout: Duration) -> Self {
        Self { connection, answer_within: statement_timeout + ANSWER_GRACE }
    }

    /// Runs one statement and gives the number of rows that it touched.
    pub(crate) async fn execute(&mut self, query: Query<'_, Postgres, PgArguments>) -> Result<u64, SqlFault> {
        let done = bounded(self.answer_within, query.execute(&mut self.connection)).await?;
        Ok(done.rows_affected())
    }

    /// Runs one query and gives all of its rows.
    pub(crate) async fn rows(&mut self, query: Query<'_, Postgres, PgArguments>) -> Result<Vec<PgRow>, SqlFault> {
        bounded(self.answer_within, query.fetch_all(&mut self.connection)).await
    }

    /// Runs one query that gives at most one row.
    pub(crate) async fn row(&mut self, query: Query<'_, Postgres, PgArguments>) -> Result<Option<PgRow>, SqlFault> {
        // Not `fetch_optional`: it leaves at the first row and an error behind that row would go unseen.
        Ok(self.rows(query).await?.into_iter().next())
    }

    /// Runs statements without parameters in one round trip.
    pub(crate) async fn run(&mut self, sql: impl SqlSafeStr) -> Result<(), SqlFault> {
        bounded(self.answer_within, sqlx::raw_sql(sql).execute(&mut self.connection)).await.map(drop)
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The connection knows the password.
        out.write_str("Session")
    }
}

async fn bounded<T>(limit: Duration, work: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, SqlFault> {
    match tokio::time::timeout(limit, work).await {
        Ok(done) => done.map_err(SqlFault::Driver),
        Err(_) => Err(SqlFault::NoAnswer(limit)),
    }
}
