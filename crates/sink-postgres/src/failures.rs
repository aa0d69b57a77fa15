//! What a lane's failed commits tell of its rows. Pure: no I/O, no clock.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::fault::Blame;
use crate::session::SqlFault;

/// After so many commits that failed with the same SQLSTATE and none that succeeded, it is not by chance: a row is at
/// fault, or the rows are too many for one statement.
const FAILURES_MAX: u32 = 3;
/// So many rows, all refused with the same SQLSTATE, which says nothing of values, and none written in between: it is the table
/// that refuses them.
const ROWS_REFUSED_ALIKE_MAX: usize = 10;
/// Most SQLSTATEs that are counted at the same time (I6). A lane that fails in more ways begins to count anew.
const STATES_MAX: usize = 16;

/// The failures of a lane since its last commit. They outlive its sessions, and end with the process.
#[derive(Debug)]
pub(crate) struct Failures {
    by_state: BTreeMap<String, u32>,
    statement_rows_max: usize,
    /// Of the groups since a row was last written.
    refused_alike: Option<RefusedAlike>,
}

/// Rows that were refused with the same SQLSTATE, and no other row was written.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct RefusedAlike {
    state: String,
    rows: usize,
}

impl RefusedAlike {
    /// Whether the table refuses every row, by all that is known.
    pub(crate) fn is_of_table(&self) -> bool {
        self.rows >= ROWS_REFUSED_ALIKE_MAX
    }
}

impl Failures {
    pub(crate) fn none() -> Self {
        Self { by_state: BTreeMap::new(), statement_rows_max: usize::MAX, refused_alike: None }
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

    /// What it adds up to that these of a group's rows are refused, after the groups before it: nothing when a row was written,
    /// or refused in another way.
    pub(crate) fn refused_alike(&self, rows: usize, refused: &[(usize, SqlFault)]) -> Option<RefusedAlike> {
        let state = refused.first()?.1.state_beside_values()?;
        if refused.len() < rows || refused.iter().any(|(_, fault)| fault.state_beside_values() != Some(state)) {
            return None;
        }
        let before = self.refused_alike.as_ref().filter(|before| before.state == state).map_or(0, |before| before.rows);
        Some(RefusedAlike { state: state.to_owned(), rows: before + rows })
    }

    /// A commit of so many rows succeeded, and took so long.
    pub(crate) fn end(
        &mut self,
        (rows, refused_alike): (usize, Option<RefusedAlike>),
        took: Duration,
        statement_timeout: Duration,
    ) {
        self.by_state.clear();
        if rows > 0 {
            self.refused_alike = refused_alike;
        }
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
        failures.end((10, None), Duration::ZERO, TIMEOUT);
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
        failures.end((1, None), Duration::ZERO, TIMEOUT);
        failures.end((10, None), TIMEOUT / 2, TIMEOUT);
        assert_eq!(failures.statement_rows_max(), 1, "nothing shows that more would fit");
        for _ in 0..100 {
            failures.end((usize::MAX, None), Duration::ZERO, TIMEOUT);
        }
        assert_eq!(failures.statement_rows_max(), usize::MAX);
    }

    /// Commits groups of rows that were all refused, but for as many as are `written`. Gives after how many groups it is the
    /// table.
    fn groups_until_table(states: &str, rows: usize, written: usize) -> Option<usize> {
        let states: Vec<&str> = states.split(' ').collect();
        let mut failures = Failures::none();
        (1..=100).find(|group| {
            let refused: Vec<_> = (written..rows).map(|row| (row, fault(states[group % states.len()]))).collect();
            let alike = failures.refused_alike(rows, &refused);
            let is_of_table = alike.as_ref().is_some_and(RefusedAlike::is_of_table);
            failures.end((rows, alike), Duration::ZERO, TIMEOUT);
            // Nothing to write is no answer.
            failures.end((0, None), Duration::ZERO, TIMEOUT);
            is_of_table
        })
    }

    #[test]
    fn a_table_that_refuses_every_row_is_told_from_rows_that_are_refused() {
        for (states, rows, written, groups) in [
            ("0A000", ROWS_REFUSED_ALIKE_MAX, 0, Some(1)),
            ("55000", 1, 0, Some(ROWS_REFUSED_ALIKE_MAX)),
            ("XX000", 4, 0, Some(3)),
            // Poison, however much of it there is.
            ("22P02", 1_000, 0, None),
            ("23514", 1_000, 0, None),
            ("P0001", 1_000, 0, None),
            // What a trigger raises is its author's.
            ("MY001", 1_000, 0, None),
            // Some row is taken, or refused for another reason.
            ("0A000", 1_000, 1, None),
            ("0A000 55000", ROWS_REFUSED_ALIKE_MAX - 1, 0, None),
        ] {
            assert_eq!(groups_until_table(states, rows, written), groups, "{states} {rows} {written}");
        }
    }
}
