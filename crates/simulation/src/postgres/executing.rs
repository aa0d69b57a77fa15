//! What a running statement can do with rows: read by its snapshot, wait for locks, look again, write.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::engine::Lock;
use super::row_versions::{Statement, Stored};
use super::rows::{RowKey, RowValue};
use super::server::{ModelServer, State};
use super::sql_error::SqlError;

/// How long a transaction waits for a lock before it looks for a circle, once (PostgreSQL, `deadlock_timeout`; this is its
/// default).
const DEADLOCK_TIMEOUT: Duration = Duration::from_secs(1);

/// What becomes of a row that a statement found.
pub(crate) enum Change {
    /// The condition does not hold: the row stays.
    Keep,
    /// It is this now.
    Put(RowValue),
    /// It goes away.
    Remove,
}

/// One statement at work. Each gets a snapshot of its own.
#[derive(Clone)]
pub(crate) struct Executing {
    server: ModelServer,
    statement: Statement,
    session: u64,
    lock_timeout: Duration,
    read_only: bool,
}

impl Executing {
    pub(crate) fn new(
        server: ModelServer,
        statement: Statement,
        session: u64,
        lock_timeout: Duration,
        read_only: bool,
    ) -> Self {
        Self { server, statement, session, lock_timeout, read_only }
    }

    /// A look at the server's whole state; for what is no row.
    pub(crate) fn with<T>(&self, look: impl FnOnce(&mut State) -> T) -> T {
        look(&mut self.server.state())
    }

    pub(crate) fn session(&self) -> u64 {
        self.session
    }

    /// Whether the server is a standby for this session.
    pub(crate) fn read_only(&self) -> bool {
        self.read_only
    }

    /// Milliseconds of the server's clock.
    pub(crate) fn now_ms(&self) -> u64 {
        self.server.now_ms()
    }

    pub(crate) fn read(&self, key: &RowKey) -> Stored {
        self.server.state().engine.visible(self.statement, key)
    }

    pub(crate) fn scan(&self, from: RowKey, wanted: impl Fn(&RowKey) -> bool) -> Vec<(RowKey, Arc<RowValue>)> {
        self.server.state().engine.visible_from(self.statement, from, wanted)
    }

    /// Takes a row's lock and gives its newest version. Waits for whoever holds it, in the order of arrival.
    ///
    /// # Errors
    /// 55P03 after `lock_timeout`. 40P01 for who finds itself in a circle after [`DEADLOCK_TIMEOUT`]: that is who waited
    /// first, unless it had looked before the circle was closed.
    pub(crate) async fn lock(&self, key: &RowKey) -> Result<Stored, SqlError> {
        let began = Instant::now();
        let deadline = began + self.lock_timeout;
        let mut look_at = deadline.min(began + DEADLOCK_TIMEOUT);
        loop {
            let woken = match self.server.state().engine.lock(self.statement.transaction, key)? {
                Lock::Ours(newest) => return Ok(newest),
                Lock::Waits(woken) => woken,
            };
            if timeout_at(look_at, woken.notified()).await.is_ok() {
                continue;
            }
            if Instant::now() >= deadline {
                return Err(SqlError::of("55P03"));
            }
            if self.server.state().engine.waits_in_a_circle(self.statement.transaction) {
                return Err(SqlError::of("40P01"));
            }
            look_at = deadline;
        }
    }

    fn put(&self, key: &RowKey, value: Stored) {
        self.server.state().engine.put(self.statement, key, value);
    }

    fn check_writes(&self) -> Result<(), SqlError> {
        if self.read_only { Err(SqlError::of("25006")) } else { Ok(()) }
    }

    /// `update` or `delete` of one row. Rows that the snapshot does not show, or that do not fit as it shows them, are
    /// passed by without waiting; the others are locked and looked at again, each by itself.
    pub(crate) async fn change(&self, key: &RowKey, decide: impl Fn(&RowValue) -> Change) -> Result<bool, SqlError> {
        self.check_writes()?;
        let Some(seen) = self.read(key) else { return Ok(false) };
        if matches!(decide(&seen), Change::Keep) {
            return Ok(false);
        }
        let Some(newest) = self.lock(key).await? else { return Ok(false) };
        match decide(&newest) {
            Change::Keep => return Ok(false),
            Change::Put(value) => self.put(key, Some(Arc::new(value))),
            Change::Remove => self.put(key, None),
        }
        Ok(true)
    }

    /// `insert … on conflict do nothing`. Waits for a transaction that has the row in hand, for only its end tells whether
    /// there is a conflict.
    pub(crate) async fn insert_or_nothing(&self, key: &RowKey, value: RowValue) -> Result<bool, SqlError> {
        self.check_writes()?;
        let (in_doubt, exists) = {
            let state = self.server.state();
            (state.engine.in_doubt(self.statement.transaction, key), state.engine.exists(key))
        };
        if exists && !in_doubt {
            return Ok(false);
        }
        if self.lock(key).await?.is_some() {
            return Ok(false);
        }
        self.put(key, Some(Arc::new(value)));
        Ok(true)
    }

    /// A plain `insert`.
    ///
    /// # Errors
    /// 23505 when the row exists.
    pub(crate) async fn insert(&self, key: &RowKey, value: RowValue) -> Result<(), SqlError> {
        if self.insert_or_nothing(key, value).await? { Ok(()) } else { Err(SqlError::of("23505")) }
    }

    /// `insert … on conflict do update … where`: the condition and the new values see the newest version, whatever the
    /// snapshot shows.
    ///
    /// # Errors
    /// 21000 when this statement wrote the row already.
    pub(crate) async fn upsert(
        &self,
        key: &RowKey,
        value: RowValue,
        merge: impl FnOnce(&RowValue) -> Option<RowValue>,
    ) -> Result<bool, SqlError> {
        self.check_writes()?;
        let newest = self.lock(key).await?;
        if self.server.state().engine.written_by(self.statement, key) {
            return Err(SqlError::of("21000"));
        }
        let value = match newest {
            None => Some(value),
            Some(stored) => merge(&stored),
        };
        let written = value.is_some();
        if let Some(value) = value {
            self.put(key, Some(Arc::new(value)));
        }
        Ok(written)
    }
}
