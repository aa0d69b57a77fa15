//! Rows of the mirror table that its users' constraints, triggers and limits refuse: what an error says of a row, and what
//! becomes of it.

use std::collections::{BTreeMap, BTreeSet};

use tailwater_model::{Change, DeleteMode, Folded, Group, Key, Rejected};

use crate::database::Fault;

/// After so many commits that failed with the same code and none that succeeded, it is not by chance: a row is at fault.
const FAILURES_MAX: u32 = 3;

/// What SQLite said of one row. Codes: <https://www.sqlite.org/rescode.html>.
#[derive(Debug)]
pub(crate) enum RowFault {
    /// An error.
    Error(sqlx::Error),
    /// None, and it did not keep the row: a trigger with `raise(ignore)`.
    Swallowed,
}

/// Whether a row is at fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Blame {
    Row,
    /// By this code, when it comes again and again.
    Unknown(i32),
    /// What may heal, or concerns the database as a whole.
    NoRow,
}

impl RowFault {
    fn code(&self) -> Option<i32> {
        match self {
            Self::Error(error) => error.as_database_error().and_then(|error| error.code()?.parse().ok()),
            Self::Swallowed => None,
        }
    }

    fn blame(&self) -> Blame {
        match (self, self.code().map(|code| code & 0xff)) {
            // TOOBIG, CONSTRAINT and MISMATCH.
            (Self::Swallowed, _) | (_, Some(18..=20)) => Blame::Row,
            // A trigger's own trouble is an ERROR, and an extension may answer anything; but so is a table that was dropped.
            (_, Some(code @ (1 | 2 | 12 | 16 | 21 | 25))) => Blame::Unknown(code),
            _ => Blame::NoRow,
        }
    }

    /// Why the row's record is a dead letter. What a trigger says is left out: it may quote an item.
    fn rejected(&self) -> Rejected {
        /// `SQLITE_CONSTRAINT_TRIGGER`: `raise(abort | fail | rollback, …)`.
        const RAISED: i32 = 1811;
        let message = match (self, self.code()) {
            (Self::Swallowed, _) => {
                let message = "the row is as it was, and there was no error: a trigger ignored the change";
                return Rejected { code: "sink.sqlite.swallowed", message: message.into() };
            }
            (_, Some(RAISED)) => "a trigger refuses the row".to_owned(),
            (Self::Error(error), Some(code)) if matches!(code & 0xff, 18..=20) => {
                format!("SQLite refuses the row: {error}")
            }
            (_, code) => format!("SQLite refuses the row each time, code {}", code.unwrap_or_default()),
        };
        Rejected { code: "sink.sqlite.refused", message }
    }
}

/// The failures of a lane since its last commit. They outlive its sessions, and end with the process.
#[derive(Debug, Default)]
pub(crate) struct Failures {
    /// There are only so many codes (I6).
    by_code: BTreeMap<i32, u32>,
}

impl Failures {
    /// Why the row is refused, as far as it is known by now that it is. What is not known yet is counted.
    ///
    /// # Errors
    /// Nobody knows that it is the row.
    pub(crate) fn refusal(&mut self, fault: RowFault) -> Result<Rejected, Fault> {
        let blame = fault.blame();
        let is_refusal = match blame {
            Blame::Row => true,
            Blame::NoRow => false,
            Blame::Unknown(code) => {
                let count = self.by_code.entry(code).or_default();
                *count = count.saturating_add(1);
                *count > FAILURES_MAX
            }
        };
        match fault {
            RowFault::Error(error) if !is_refusal => Err(match blame {
                Blame::Unknown(code) => Fault::Row(code),
                Blame::Row | Blame::NoRow => error.into(),
            }),
            fault => Ok(fault.rejected()),
        }
    }

    /// A commit succeeded.
    pub(crate) fn end(&mut self) {
        self.by_code.clear();
    }
}

/// Rows that are set aside, one after the other.
#[derive(Debug, Default)]
pub(crate) struct SetAside {
    /// Removed items whose old image is refused, and whose rows are only marked.
    marked: BTreeSet<Key>,
}

impl SetAside {
    /// Takes a refused row out of the group; its record goes to the dead letters (I5). P1: an item is gone whatever its old image
    /// holds, so its row is marked without one. In the place of anything else comes what the item was before, if it is of this
    /// group.
    pub(crate) fn refuse(
        &mut self,
        group: &mut Group,
        folded: &mut Folded,
        key: &Key,
        delete: DeleteMode,
        rejected: Rejected,
    ) {
        let Some(mut event) = folded.latest.remove(key) else { return };
        let is_marked = self.marked.remove(key);
        let is_to_be_marked =
            !is_marked && delete == DeleteMode::Soft && matches!(event.change, Change::Remove { old: Some(_), .. });
        let batch = group.batches.iter_mut().find(|batch| batch.shard == event.source.shard);
        // A record whose mark is refused, too, is a dead letter already.
        if let (false, Some(batch)) = (is_marked, batch) {
            let Rejected { code, message } = rejected;
            let marked =
                if is_to_be_marked { "the row is marked as deleted without the item's last state: " } else { "" };
            batch.refuse(&event, Rejected { code, message: format!("{marked}{message}") });
        }
        if is_to_be_marked {
            if let Change::Remove { old, .. } = &mut event.change {
                *old = None;
            }
            self.marked.insert(key.clone());
            folded.latest.insert(key.clone(), event);
        } else if let Some(before) = folded.overtaken.get_mut(key).and_then(Vec::pop) {
            folded.latest.insert(key.clone(), before);
        }
    }
}
