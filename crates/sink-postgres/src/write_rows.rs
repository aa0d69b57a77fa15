//! The rows of a group, in at most three statements.

use crate::prepare::{Row, Write};
use crate::session::SqlFault;
use crate::statements::Statements;

/// Writes the rows.
pub(crate) async fn write_rows<S: Statements>(session: &mut S, rows: &[Row]) -> Result<(), SqlFault> {
    let states = select(rows, |write| matches!(write, Write::State { .. }));
    if !states.is_empty() {
        session.upsert(&states).await?;
    }
    let marks = select(rows, |write| matches!(write, Write::Mark { .. }));
    if !marks.is_empty() {
        session.mark(&marks).await?;
    }
    let removals = select(rows, |write| matches!(write, Write::Remove));
    if !removals.is_empty() {
        session.remove(&removals).await?;
    }
    Ok(())
}

fn select(rows: &[Row], wanted: impl Fn(&Write) -> bool) -> Vec<&Row> {
    rows.iter().filter(|row| wanted(&row.write)).collect()
}
