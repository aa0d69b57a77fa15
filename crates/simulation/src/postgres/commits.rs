//! The order of all commits, for checkers and for a fail-over.

use std::collections::VecDeque;
use std::sync::Arc;

use super::rows::{RowKey, RowValue};

/// Most commits that a fail-over can lose: so many are kept with what was before them.
pub const FAIL_OVER_COMMITS_MAX: usize = 64;

/// One transaction that changed rows.
#[derive(Clone, Debug)]
pub struct CommitView {
    /// Its place in the order of all commits, from 1. After a fail-over the numbers of lost commits come again.
    pub number: u64,
    /// What the session knew of itself; nothing when it neither claimed nor opened a lane.
    pub claimed: Option<Claimed>,
    /// Each row once, in the order in which the locks were taken.
    pub changes: Vec<RowChange>,
}

/// Under which ownership a session works, as it told the server in its last statement about a lane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claimed {
    /// The pipeline's name.
    pub pipeline: String,
    /// The lane; nothing for a claim, which takes all lanes.
    pub lane: Option<i32>,
    /// The mark of the process.
    pub owner: String,
    /// The epoch that the session was given or names; nothing for a claim.
    pub epoch: Option<i64>,
}

/// One row of a transaction.
#[derive(Clone, Debug)]
pub struct RowChange {
    /// The row.
    pub key: RowKey,
    /// What it was; nothing when it did not exist.
    pub before: Option<Arc<RowValue>>,
    /// What it is; nothing when it was removed.
    pub after: Option<Arc<RowValue>>,
}

/// What a watcher is told, in the order in which it happens.
#[derive(Debug)]
pub enum Happening<'a> {
    /// A transaction became visible.
    Committed(&'a CommitView),
    /// These commits, oldest first, are gone as a whole: the server is as it was before them.
    FailedOver(&'a [CommitView]),
}

/// Told of everything that becomes visible, at that instant. It must not ask the server anything: the server is locked.
pub type Watch = Box<dyn FnMut(Happening<'_>) + Send>;

/// All commits by number; the last of them with what was before.
#[derive(Default)]
pub(crate) struct CommitLog {
    last: u64,
    /// All that ever became visible, lost ones included, and rows that they changed.
    commits: u64,
    mutations: u64,
    recent: VecDeque<CommitView>,
    watch: Option<Watch>,
}

impl CommitLog {
    pub(crate) fn last(&self) -> u64 {
        self.last
    }

    pub(crate) fn commits(&self) -> u64 {
        self.commits
    }

    pub(crate) fn mutations(&self) -> u64 {
        self.mutations
    }

    pub(crate) fn watch(&mut self, watch: Watch) {
        self.watch = Some(watch);
    }

    pub(crate) fn push(&mut self, commit: CommitView) {
        self.last = commit.number;
        self.commits += 1;
        self.mutations += commit.changes.len() as u64;
        if let Some(watch) = &mut self.watch {
            watch(Happening::Committed(&commit));
        }
        if self.recent.len() == FAIL_OVER_COMMITS_MAX {
            self.recent.pop_front();
        }
        self.recent.push_back(commit);
    }

    /// Takes back the last `count` commits, oldest first.
    pub(crate) fn lose(&mut self, count: usize) -> Vec<CommitView> {
        let lost: Vec<CommitView> = self.recent.drain(self.recent.len().saturating_sub(count)..).collect();
        if let Some(first) = lost.first() {
            self.last = first.number - 1;
        }
        if let Some(watch) = &mut self.watch {
            watch(Happening::FailedOver(&lost));
        }
        lost
    }
}
