//! What a lane's failed commits tell of its rows. Pure: no I/O, no clock.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::fault::Blame;
use crate::session::SqlFault;

/// After so many commits that failed with the same SQLSTATE and none that succeeded, it is not by chance: a row is at
/// fault, or the rows are too many for one statement.
const FAILURES_MAX: u32 = 3;
/// Most SQLSTATEs that are counted at the same time (I6). A lane that fails in more ways begins to count anew.
const STATES_MAX: usize = 16;

/// The failures of a lane since its last commit. They outlive its sessions, and end with the process.
#[derive(Debug)]
pub(crate) struct Failures {
    by_state: BTreeMap<String, u32>,
    statement_rows_max: usize,
}

impl Failures {
    pub(crate) fn none() -> Self {
        Self { by_state: BTreeMap::new(), statement_rows_max: usize::MAX }
    }

    /// Most rows that one statement may have, at least 1.
    pub(crate) fn statement_rows_max(&self) -> usize {
        self.statement_rows_max
    }

    /// Whether the values of some row are at fault, as far as it is known by now.
    pub(crate) fn is_refusal(&self, fault: &SqlFault) -> bool {
        match fault.blame() {
            Blame::Row => true,
            Blame::Unknown(state) => self.by_state.get(state).is_some_and(|count| *count >= FAILURES_MAX),
            Blame::Amount(_) | Blame::NoRow => false,
        }
    }

    /// A commit of so many rows failed.
    pub(crate) fn add(&mut self, fault: &SqlFault, rows: usize) {
        match fault.blame() {
            Blame::Unknown(state) => drop(self.count(state)),
            Blame::Amount(state) if self.count(state) >= FAILURES_MAX => {
                self.statement_rows_max = self.statement_rows_max.min(rows).div_ceil(2).max(1);
            }
            Blame::Amount(_) | Blame::Row | Blame::NoRow => {}
        }
    }

    fn count(&mut self, state: &str) -> u32 {
        if self.by_state.len() == STATES_MAX && !self.by_state.contains_key(state) {
            self.by_state.clear();
        }
        let count = self.by_state.entry(state.to_owned()).or_default();
        *count = count.saturating_add(1);
        *count
    }

    /// A commit of so many rows succeeded, and took so long.
    pub(crate) fn end(&mut self, rows: usize, took: Duration, statement_timeout: Duration) {
        self.by_state.clear();
        // More rows than one statement may have now came through in half of its time: so would twice as many in one.
        if rows > self.statement_rows_max && took < statement_timeout / 2 {
            self.statement_rows_max = self.statement_rows_max.saturating_mul(2);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(30);

    fn fault(state: &str) -> SqlFault {
        SqlFault::Coded { state: state.into(), message: String::new() }
    }

    #[test]
    fn each_state_is_counted_by_itself_until_a_commit() {
        let mut failures = Failures::none();
        for time in 0..FAILURES_MAX {
            assert!(!failures.is_refusal(&fault("21000")) && !failures.is_refusal(&fault("MY001")), "{time}");
            failures.add(&fault("21000"), 10);
            failures.add(&fault("08006"), 10);
            failures.add(&fault("MY001"), 10);
        }
        assert!(failures.is_refusal(&fault("21000")) && failures.is_refusal(&fault("MY001")));
        assert!(!failures.is_refusal(&fault("08006")) && !failures.is_refusal(&fault("0A000")));
        failures.end(10, Duration::ZERO, TIMEOUT);
        assert!(!failures.is_refusal(&fault("21000")));
    }

    #[test]
    fn as_many_states_as_there_are_take_no_room() {
        let mut failures = Failures::none();
        (0..10_000).for_each(|n| failures.add(&fault(&format!("U{n:04}")), 1));
        assert!(failures.by_state.len() <= STATES_MAX);
    }

    #[test]
    fn statements_shrink_to_one_row_and_grow_again() {
        let mut failures = Failures::none();
        let mut sizes = Vec::new();
        for _ in 0..8 {
            failures.add(&fault("57014"), 10);
            sizes.push(failures.statement_rows_max());
        }
        assert_eq!(sizes, [usize::MAX, usize::MAX, 5, 3, 2, 1, 1, 1]);
        assert!(!failures.is_refusal(&fault("57014")), "a slow row is not a refused one");
        failures.end(1, Duration::ZERO, TIMEOUT);
        failures.end(10, TIMEOUT / 2, TIMEOUT);
        assert_eq!(failures.statement_rows_max(), 1, "nothing shows that more would fit");
        for _ in 0..100 {
            failures.end(usize::MAX, Duration::ZERO, TIMEOUT);
        }
        assert_eq!(failures.statement_rows_max(), usize::MAX);
    }
}
