//! Finds the rows that Postgres refuses, inside the transaction, and writes all others.

use std::ops::Range;

use crate::failures::Failures;
use crate::prepare::Row;
use crate::session::SqlFault;
use crate::statements::Statements;
use crate::write_rows::write_rows;

/// Writes the rows, halving what is refused until single rows remain. Gives the refused ones by index, with the
/// reason. At most two attempts per row (I6). What a refusal is depends on the lane's earlier failures.
///
/// Any fault but a refused row ends it: then the transaction is lost.
pub(crate) async fn write_isolating<S: Statements>(
    session: &mut S,
    rows: &[Row],
    failures: &Failures,
) -> Result<Vec<(usize, SqlFault)>, SqlFault> {
    // Constraints that were deferred to the commit would fail where no single row can be found any more.
    session.constraints_immediate().await?;
    let rows_max = failures.statement_rows_max();
    let mut refused = Vec::new();
    let mut left: Vec<Range<usize>> = Vec::new();
    left.push(0..rows.len());
    while let Some(range) = left.pop() {
        let Some(part) = rows.get(range.clone()).filter(|part| !part.is_empty()) else { continue };
        session.savepoint().await?;
        match write_rows(session, part, rows_max).await {
            Ok(()) => session.release().await?,
            Err(fault) if failures.is_refusal(&fault) => {
                session.rollback_to().await?;
                if part.len() == 1 {
                    refused.push((range.start, fault));
                } else {
                    let middle = range.start + part.len() / 2;
                    // The left half comes off first: rows are written in the order of keys.
                    left.push(middle..range.end);
                    left.push(range.start..middle);
                }
            }
            Err(fault) => return Err(fault),
        }
    }
    Ok(refused)
}
