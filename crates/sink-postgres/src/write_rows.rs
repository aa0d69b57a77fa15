//! The rows of a group, in at most three statements for each piece of them.

use crate::prepare::{Row, Write};
use crate::session::SqlFault;
use crate::statements::Statements;

/// Writes the rows, at most so many (at least 1) in one statement.
pub(crate) async fn write_rows<S: Statements>(
    session: &mut S,
    rows: &[Row],
    statement_rows_max: usize,
) -> Result<(), SqlFault> {
    for piece in rows.chunks(statement_rows_max) {
        let states = select(piece, |write| matches!(write, Write::State { .. }));
        if !states.is_empty() {
            all_done(&states, session.upsert(&states).await?)?;
        }
        let marks = select(piece, |write| matches!(write, Write::Mark { .. }));
        if !marks.is_empty() {
            all_done(&marks, session.mark(&marks).await?)?;
        }
        let removals = select(piece, |write| matches!(write, Write::Remove));
        if !removals.is_empty() {
            // A row that was not there is removed, too.
            let stayed = session.remove(&removals).await?;
            all_done(&removals, (removals.len() as u64).saturating_sub(stayed))?;
        }
    }
    Ok(())
}

fn select(rows: &[Row], wanted: impl Fn(&Write) -> bool) -> Vec<&Row> {
    rows.iter().filter(|row| wanted(&row.write)).collect()
}

/// P1: a trigger that answers null or the old row leaves the table as it is, without any error.
fn all_done(rows: &[&Row], done: u64) -> Result<(), SqlFault> {
    let sent = rows.len() as u64;
    if done == sent { Ok(()) } else { Err(SqlFault::Swallowed { sent, done }) }
}
