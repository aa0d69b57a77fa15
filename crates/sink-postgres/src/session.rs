//! One connection with a deadline on every answer.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use sqlx::postgres::{PgArguments, PgConnection, PgRow};
use sqlx::query::Query;
use sqlx::{AssertSqlSafe, Postgres, SqlSafeStr};
use thiserror::Error;

use crate::transaction::{Mode, TransactionSettings};

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
    /// The server took the statement well, and not every row is as the statement says.
    #[error("of {sent} rows {done} are as they were sent")]
    Swallowed {
        /// Rows of the statement.
        sent: u64,
        /// Rows that are as it says.
        done: u64,
    },
    /// The server, or what stands before it, did not take this setting.
    #[error("the setting {0} does not hold although it was made")]
    NotSet(&'static str),
    /// A server that is not behind the driver says so, or one of whose words some are not to be shown.
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
///
/// Nothing of a transaction outlives it, on neither side: no prepared statement has a name and no setting holds for the
/// session, so each transaction may meet another session of the server, as behind a pooler. Queries with bind parameters
/// belong into a transaction, for they take two round trips.
pub(crate) struct Session {
    connection: PgConnection,
    answer_within: Duration,
    settings: Arc<TransactionSettings>,
    /// A transaction that begins together with its first statement.
    begins: Option<Mode>,
}

impl Session {
    pub(crate) fn new(
        connection: PgConnection,
        statement_timeout: Duration,
        settings: Arc<TransactionSettings>,
    ) -> Self {
        Self { connection, answer_within: statement_timeout + ANSWER_GRACE, settings, begins: None }
    }

    /// Begins a transaction. It is told to the server together with the first statement.
    pub(crate) fn begin(&mut self, mode: Mode) {
        self.begins = Some(mode);
    }

    /// Commits the transaction.
    pub(crate) async fn commit(&mut self) -> Result<(), SqlFault> {
        self.end("commit").await
    }

    /// Rolls the transaction back.
    pub(crate) async fn rollback(&mut self) -> Result<(), SqlFault> {
        self.end("rollback").await
    }

    async fn end(&mut self, sql: &'static str) -> Result<(), SqlFault> {
        // One that has not begun has nothing to end.
        if self.begins.take().is_some() { Ok(()) } else { self.run(sql).await }
    }

    /// Runs one statement with bind parameters and gives the number of rows that it touched.
    pub(crate) async fn execute(&mut self, query: Query<'_, Postgres, PgArguments>) -> Result<u64, SqlFault> {
        self.begin_now().await?;
        let query = query.persistent(false);
        let done = bounded(self.answer_within, query.execute(&mut self.connection)).await?;
        Ok(done.rows_affected())
    }

    /// Runs one query with bind parameters and gives all of its rows.
    pub(crate) async fn rows(&mut self, query: Query<'_, Postgres, PgArguments>) -> Result<Vec<PgRow>, SqlFault> {
        self.begin_now().await?;
        bounded(self.answer_within, query.persistent(false).fetch_all(&mut self.connection)).await
    }

    /// Runs one query with bind parameters that gives at most one row.
    pub(crate) async fn row(&mut self, query: Query<'_, Postgres, PgArguments>) -> Result<Option<PgRow>, SqlFault> {
        // Not `fetch_optional`: it leaves at the first row and an error behind that row would go unseen.
        Ok(self.rows(query).await?.into_iter().next())
    }

    /// Runs statements without bind parameters in one round trip, and gives all of their rows.
    pub(crate) async fn ask(&mut self, sql: impl SqlSafeStr) -> Result<Vec<PgRow>, SqlFault> {
        let Some(mode) = self.begins.take() else {
            return bounded(self.answer_within, sqlx::raw_sql(sql).fetch_all(&mut self.connection)).await;
        };
        let whole = format!("{}; {}", self.settings.begin(mode), sql.into_sql_str().as_str());
        let whole = sqlx::raw_sql(AssertSqlSafe(whole));
        let mut rows = bounded(self.answer_within, whole.fetch_all(&mut self.connection)).await?.into_iter();
        self.settings.check(&rows.next().ok_or(sqlx::Error::RowNotFound)?)?;
        Ok(rows.collect())
    }

    /// Runs statements without bind parameters in one round trip.
    pub(crate) async fn run(&mut self, sql: impl SqlSafeStr) -> Result<(), SqlFault> {
        self.ask(sql).await.map(drop)
    }

    /// A statement with bind parameters cannot come together with others.
    async fn begin_now(&mut self) -> Result<(), SqlFault> {
        if self.begins.is_some() { self.run("").await } else { Ok(()) }
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
