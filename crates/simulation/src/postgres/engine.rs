//! Rows, versions, row locks and transactions. Pure: no time and no waiting, so every interleaving can be written down.
//!
//! As PostgreSQL under READ COMMITTED ("Transaction Isolation", 13.2.1): a statement sees what was committed before it
//! began and what its own transaction did before; a row that another transaction changed is waited for and then looked at
//! again, that row only. An error ends what its transaction did since the last savepoint, with the locks.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::Notify;

use super::commits::{Claimed, CommitLog, CommitView, RowChange};
use super::row_versions::{Pending, Row, Statement, Stored, TransactionId};
use super::rows::{RowKey, RowValue};
use super::sql_error::SqlError;

/// All rows with everybody who works on them.
#[derive(Default)]
pub(crate) struct Engine {
    rows: BTreeMap<RowKey, Row>,
    transactions: BTreeMap<TransactionId, Transaction>,
    transactions_begun: u64,
    statements_begun: u64,
    dead_letters: u64,
    pub(crate) log: CommitLog,
}

#[derive(Default)]
struct Transaction {
    aborted: bool,
    /// What to put back, newest last.
    undo: Vec<Undo>,
    savepoints: Vec<Savepoint>,
    waits_for: Option<RowKey>,
    woken: Arc<Notify>,
    /// The snapshot of the statement that runs.
    snapshot: Option<u64>,
}

struct Savepoint {
    name: &'static str,
    undo: usize,
}

struct Undo {
    key: RowKey,
    /// Nothing: the lock was taken by this change.
    before: Option<Option<Pending>>,
}

/// What came of asking for a row's lock.
pub(crate) enum Lock {
    /// It is ours; the row's newest version is this.
    Ours(Stored),
    /// Another transaction has it. Ask again after being woken.
    Waits(Arc<Notify>),
}

impl Engine {
    pub(crate) fn begin(&mut self) -> TransactionId {
        self.transactions_begun += 1;
        self.transactions.insert(self.transactions_begun, Transaction::default());
        self.transactions_begun
    }

    /// Every statement takes a snapshot of its own.
    pub(crate) fn begin_statement(&mut self, id: TransactionId) -> Result<Statement, SqlError> {
        let snapshot = self.log.last();
        let transaction = self.transactions.get_mut(&id).ok_or_else(|| SqlError::of("25P01"))?;
        if transaction.aborted {
            return Err(SqlError::of("25P02"));
        }
        transaction.snapshot = Some(snapshot);
        self.statements_begun += 1;
        Ok(Statement { transaction: id, snapshot, number: self.statements_begun })
    }

    pub(crate) fn end_statement(&mut self, id: TransactionId) {
        if let Some(transaction) = self.transactions.get_mut(&id) {
            transaction.snapshot = None;
        }
    }

    /// The row as the statement's snapshot shows it.
    pub(crate) fn visible(&self, statement: Statement, key: &RowKey) -> Stored {
        self.rows.get(key).and_then(|row| row.visible(statement))
    }

    /// All rows from `from` on for as long as `wanted`, as the statement's snapshot shows them.
    pub(crate) fn visible_from(
        &self,
        statement: Statement,
        from: RowKey,
        wanted: impl Fn(&RowKey) -> bool,
    ) -> Vec<(RowKey, Arc<RowValue>)> {
        let rows = self.rows.range(from..).take_while(|(key, _)| wanted(key));
        rows.filter_map(|(key, row)| row.visible(statement).map(|value| (key.clone(), value))).collect()
    }

    /// The newest committed rows, for those who look from outside.
    pub(crate) fn committed(&self) -> impl Iterator<Item = (&RowKey, &Arc<RowValue>)> {
        self.rows.iter().filter_map(|(key, row)| row.newest_committed().map(|value| (key, value)))
    }

    /// Takes the row's lock, or queues for it.
    pub(crate) fn lock(&mut self, id: TransactionId, key: &RowKey) -> Result<Lock, SqlError> {
        let row = self.rows.entry(key.clone()).or_default();
        match row.holder {
            Some(holder) if holder == id => {}
            None => {
                row.holder = Some(id);
                self.taken(id, key);
            }
            Some(_) => {
                let transaction = self.transactions.get_mut(&id).ok_or_else(|| SqlError::of("25P01"))?;
                if transaction.waits_for.as_ref() != Some(key) {
                    transaction.waits_for = Some(key.clone());
                    self.rows.entry(key.clone()).or_default().queue.push_back(id);
                }
                return Ok(Lock::Waits(Arc::clone(&transaction.woken)));
            }
        }
        let row = self.rows.get(key);
        Ok(Lock::Ours(row.and_then(Row::newest)))
    }

    /// Whether the transaction waits for itself by way of others.
    pub(crate) fn waits_in_a_circle(&self, id: TransactionId) -> bool {
        let mut at = id;
        // Everybody waits for one row at most, so a way that is longer than this goes round in a circle without us.
        for _ in 0..=self.transactions.len() {
            let waits_for = self.transactions.get(&at).and_then(|transaction| transaction.waits_for.as_ref());
            let Some(holder) = waits_for.and_then(|key| self.rows.get(key)).and_then(|row| row.holder) else {
                return false;
            };
            if holder == id {
                return true;
            }
            at = holder;
        }
        false
    }

    fn taken(&mut self, id: TransactionId, key: &RowKey) {
        if let Some(transaction) = self.transactions.get_mut(&id) {
            transaction.waits_for = None;
            transaction.undo.push(Undo { key: key.clone(), before: None });
        }
    }

    /// Whether some other transaction has changed the row and has not ended: then nobody knows yet whether it exists.
    pub(crate) fn in_doubt(&self, id: TransactionId, key: &RowKey) -> bool {
        self.rows.get(key).is_some_and(|row| row.pending.is_some() && row.holder != Some(id))
    }

    /// Whether the row exists, by what is newest: a unique index looks past every snapshot.
    pub(crate) fn exists(&self, key: &RowKey) -> bool {
        self.rows.get(key).and_then(Row::newest).is_some()
    }

    /// Whether this statement has written the row already.
    pub(crate) fn written_by(&self, statement: Statement, key: &RowKey) -> bool {
        let pending = self.rows.get(key).and_then(|row| row.pending.as_ref());
        pending.is_some_and(|pending| pending.statement == statement.number)
    }

    /// Changes a row whose lock is ours.
    pub(crate) fn put(&mut self, statement: Statement, key: &RowKey, value: Stored) {
        let Some(row) = self.rows.get_mut(key).filter(|row| row.holder == Some(statement.transaction)) else { return };
        let before = row.pending.replace(Pending { value, statement: statement.number });
        if let Some(transaction) = self.transactions.get_mut(&statement.transaction) {
            transaction.undo.push(Undo { key: key.clone(), before: Some(before) });
        }
    }

    /// The next value of the identity column of the dead letters. Sequences do not roll back.
    pub(crate) fn next_dead_letter(&mut self) -> u64 {
        self.dead_letters += 1;
        self.dead_letters
    }

    /// Leaves the queue, after a time-out or the end of a session.
    pub(crate) fn stop_waiting(&mut self, id: TransactionId) {
        let Some(transaction) = self.transactions.get_mut(&id) else { return };
        if let Some(key) = transaction.waits_for.take()
            && let Some(row) = self.rows.get_mut(&key)
        {
            row.queue.retain(|waiting| *waiting != id);
        }
    }

    pub(crate) fn savepoint(&mut self, id: TransactionId, name: &'static str) -> Result<(), SqlError> {
        let transaction = self.live(id)?;
        let undo = transaction.undo.len();
        transaction.savepoints.push(Savepoint { name, undo });
        Ok(())
    }

    pub(crate) fn release_savepoint(&mut self, id: TransactionId, name: &str) -> Result<(), SqlError> {
        let transaction = self.live(id)?;
        let at = transaction.savepoints.iter().rposition(|savepoint| savepoint.name == name);
        transaction.savepoints.truncate(at.ok_or_else(|| SqlError::of("3B001"))?);
        Ok(())
    }

    /// Undoes what came after the savepoint and makes an aborted transaction live again.
    pub(crate) fn rollback_to(&mut self, id: TransactionId, name: &str) -> Result<(), SqlError> {
        let transaction = self.transactions.get_mut(&id).ok_or_else(|| SqlError::of("25P01"))?;
        let at = transaction.savepoints.iter().rposition(|savepoint| savepoint.name == name);
        let at = at.ok_or_else(|| SqlError::of("3B001"))?;
        transaction.savepoints.truncate(at + 1);
        transaction.aborted = false;
        let mark = transaction.savepoints.get(at).map_or(0, |savepoint| savepoint.undo);
        self.undo_to(id, mark);
        Ok(())
    }

    fn live(&mut self, id: TransactionId) -> Result<&mut Transaction, SqlError> {
        let transaction = self.transactions.get_mut(&id).ok_or_else(|| SqlError::of("25P01"))?;
        if transaction.aborted { Err(SqlError::of("25P02")) } else { Ok(transaction) }
    }

    /// A statement failed: what was done since the last savepoint is undone at once, its locks are free, and nothing but a
    /// rollback is accepted from now on.
    pub(crate) fn abort(&mut self, id: TransactionId) {
        self.stop_waiting(id);
        let Some(transaction) = self.transactions.get_mut(&id) else { return };
        transaction.aborted = true;
        transaction.snapshot = None;
        let mark = transaction.savepoints.last().map_or(0, |savepoint| savepoint.undo);
        self.undo_to(id, mark);
    }

    pub(crate) fn rollback(&mut self, id: TransactionId) {
        self.stop_waiting(id);
        self.undo_to(id, 0);
        self.transactions.remove(&id);
    }

    fn undo_to(&mut self, id: TransactionId, mark: usize) {
        let Some(transaction) = self.transactions.get_mut(&id) else { return };
        let undone = transaction.undo.split_off(mark.min(transaction.undo.len()));
        for Undo { key, before } in undone.into_iter().rev() {
            match before {
                Some(before) => {
                    if let Some(row) = self.rows.get_mut(&key) {
                        row.pending = before;
                    }
                }
                None => self.free(&key),
            }
        }
    }

    /// Gives the lock to whoever came first, or to nobody.
    fn free(&mut self, key: &RowKey) {
        let Some(row) = self.rows.get_mut(key) else { return };
        row.pending = None;
        row.holder = row.queue.pop_front();
        match row.holder {
            None if row.versions.is_empty() => {
                self.rows.remove(key);
            }
            None => {}
            Some(next) => {
                self.taken(next, key);
                if let Some(transaction) = self.transactions.get(&next) {
                    transaction.woken.notify_one();
                }
            }
        }
    }

    /// Makes the transaction's changes visible, in one instant. A transaction that was aborted is rolled back, and nothing
    /// is wrong with that: the server answers `ROLLBACK` instead of `COMMIT`, and drivers do not look (faults M1, M2).
    pub(crate) fn commit(&mut self, id: TransactionId, claimed: Option<Claimed>) {
        let Some(transaction) = self.transactions.get(&id) else { return };
        if transaction.aborted {
            return self.rollback(id);
        }
        let locked: Vec<RowKey> =
            transaction.undo.iter().filter(|undo| undo.before.is_none()).map(|undo| undo.key.clone()).collect();
        let number = self.log.last() + 1;
        let oldest = self.oldest_snapshot(id);
        let mut changes = Vec::new();
        for key in &locked {
            let Some(row) = self.rows.get_mut(key) else { continue };
            let Some(Pending { value, .. }) = row.pending.take() else { continue };
            let before = row.newest_committed().cloned();
            if before.is_none() && value.is_none() {
                continue; // Made and removed again within the transaction.
            }
            row.versions.push((number, value.clone()));
            row.forget_before(oldest);
            changes.push(RowChange { key: key.clone(), before, after: value });
        }
        if !changes.is_empty() {
            self.log.push(CommitView { number, claimed, changes });
        }
        // Only now: whoever waited sees the whole commit.
        for key in &locked {
            self.free(key);
        }
        self.transactions.remove(&id);
    }

    /// The oldest snapshot that a running statement of somebody else still needs.
    fn oldest_snapshot(&self, committing: TransactionId) -> u64 {
        let others = self.transactions.iter().filter(|(id, _)| **id != committing);
        others.filter_map(|(_, transaction)| transaction.snapshot).min().unwrap_or(u64::MAX)
    }

    /// Loses the last commits as a whole and every transaction that is open: another machine is the primary now, and it had
    /// not received them yet.
    pub(crate) fn fail_over(&mut self, commits_lost: usize) -> Vec<CommitView> {
        let open: Vec<TransactionId> = self.transactions.keys().copied().collect();
        for id in open {
            self.rollback(id);
        }
        let lost = self.log.lose(commits_lost);
        let number = self.log.last();
        for change in lost.iter().rev().flat_map(|commit| &commit.changes) {
            let row = self.rows.entry(change.key.clone()).or_default();
            row.versions = change.before.clone().map(|value| (number, Some(value))).into_iter().collect();
        }
        self.rows.retain(|_, row| !row.versions.is_empty());
        lost
    }

    /// Drops rows while nobody works on any.
    pub(crate) fn drop_rows(&mut self, wanted: impl Fn(&RowKey) -> bool) {
        self.rows.retain(|key, _| !wanted(key));
    }

    /// Transactions that have not ended, for those who look from outside.
    pub(crate) fn open_transactions(&self) -> usize {
        self.transactions.len()
    }
}
