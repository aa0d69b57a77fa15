//! One row with its versions: what each statement sees of it, and who has it in hand.

use std::collections::VecDeque;
use std::sync::Arc;

use super::rows::RowValue;

/// A transaction.
pub(crate) type TransactionId = u64;

/// A row that exists, or the fact that none does.
pub(crate) type Stored = Option<Arc<RowValue>>;

/// One statement with the snapshot that it took when it began.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Statement {
    pub(crate) transaction: TransactionId,
    pub(crate) snapshot: u64,
    pub(crate) number: u64,
}

/// The versions of a row, its lock, and who waits for it.
#[derive(Default)]
pub(crate) struct Row {
    /// Oldest first; by the number of their commit.
    pub(crate) versions: Vec<(u64, Stored)>,
    pub(crate) holder: Option<TransactionId>,
    /// What the holder made of it.
    pub(crate) pending: Option<Pending>,
    /// Who waits for the lock, in the order in which they came.
    pub(crate) queue: VecDeque<TransactionId>,
}

/// A version that is not committed.
#[derive(Clone)]
pub(crate) struct Pending {
    pub(crate) value: Stored,
    /// The statement that wrote it last.
    pub(crate) statement: u64,
}

impl Row {
    pub(crate) fn newest_committed(&self) -> Option<&Arc<RowValue>> {
        self.versions.last().and_then(|(_, value)| value.as_ref())
    }

    pub(crate) fn newest(&self) -> Stored {
        match &self.pending {
            Some(pending) => pending.value.clone(),
            None => self.newest_committed().cloned(),
        }
    }

    pub(crate) fn visible(&self, statement: Statement) -> Stored {
        match &self.pending {
            // A statement does not see what it does itself.
            Some(pending) if self.holder == Some(statement.transaction) && pending.statement < statement.number => {
                pending.value.clone()
            }
            _ => {
                let seen = self.versions.iter().rev().find(|(number, _)| *number <= statement.snapshot);
                seen.and_then(|(_, value)| value.clone())
            }
        }
    }

    /// Drops versions that nobody can see any more: all but the newest of those that the oldest snapshot covers.
    pub(crate) fn forget_before(&mut self, oldest: u64) {
        let covered = self.versions.iter().filter(|(number, _)| *number <= oldest).count();
        self.versions.drain(..covered.saturating_sub(1));
        if covered > 0 && matches!(self.versions.as_slice(), [(_, None)]) {
            self.versions.clear();
        }
    }
}
