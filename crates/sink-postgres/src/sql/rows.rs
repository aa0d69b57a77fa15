//! Rows to arrays to statements. Each statement does one thing: joined in one they would bring removed rows back.

use sqlx::postgres::PgArguments;
use sqlx::query::Query;
use sqlx::{Postgres, Row as _};
use tailwater_model::{KeyKind, KeyValue};

use crate::mirror_table::{MirrorTable, audited};
use crate::prepare::{Row, Write};
use crate::session::{Session, SqlFault};

pub(super) async fn upsert(session: &mut Session, table: &MirrorTable, rows: &[&Row]) -> Result<u64, SqlFault> {
    count(session, bind_changes(sqlx::query(audited(&table.upsert_sql)), table, rows)).await
}

pub(super) async fn mark(session: &mut Session, table: &MirrorTable, rows: &[&Row]) -> Result<u64, SqlFault> {
    count(session, bind_changes(sqlx::query(audited(&table.mark_sql)), table, rows)).await
}

pub(super) async fn remove(session: &mut Session, table: &MirrorTable, rows: &[&Row]) -> Result<u64, SqlFault> {
    count(session, bind_keys(sqlx::query(audited(&table.remove_sql)), table, rows)).await
}

type Statement<'q> = Query<'q, Postgres, PgArguments>;

/// The number that a statement gives.
async fn count(session: &mut Session, statement: Statement<'_>) -> Result<u64, SqlFault> {
    let row = session.row(statement).await?.ok_or(sqlx::Error::RowNotFound)?;
    let count: i64 = row.try_get(0)?;
    Ok(u64::try_from(count).unwrap_or_default())
}

fn bind_keys<'q>(query: Statement<'q>, table: &MirrorTable, rows: &[&Row]) -> Statement<'q> {
    table.key_columns.iter().enumerate().fold(query, |query, (at, column)| {
        let values = rows.iter().map(|row| row.key.values().get(at));
        match column.kind {
            KeyKind::S => query.bind(
                values
                    .map(|value| match value {
                        Some(KeyValue::S(text)) => Some(text.clone()),
                        _ => None,
                    })
                    .collect::<Vec<_>>(),
            ),
            KeyKind::N => query.bind(
                values
                    .map(|value| match value {
                        Some(KeyValue::N(number)) => Some(number.to_string()),
                        _ => None,
                    })
                    .collect::<Vec<_>>(),
            ),
            KeyKind::B => query.bind(
                values
                    .map(|value| match value {
                        Some(KeyValue::B(bytes)) => Some(bytes.clone()),
                        _ => None,
                    })
                    .collect::<Vec<_>>(),
            ),
        }
    })
}

fn bind_changes<'q>(query: Statement<'q>, table: &MirrorTable, rows: &[&Row]) -> Statement<'q> {
    let documents: Vec<&str> = rows.iter().map(|row| document(&row.write)).collect();
    let ops: Vec<&str> = rows.iter().map(|row| row.event.change.name()).collect();
    let seqs: Vec<&str> = rows.iter().map(|row| row.event.source.sequence_number.as_str()).collect();
    let event_ids: Vec<&str> = rows.iter().map(|row| &*row.event.source.event_id).collect();
    let created_at_ms: Vec<i64> = rows.iter().map(|row| row.event.source.created_at_ms).collect();
    let deleted: Vec<bool> = rows.iter().map(|row| !matches!(row.write, Write::State { deleted: false, .. })).collect();
    bind_keys(query, table, rows).bind(documents).bind(ops).bind(seqs).bind(event_ids).bind(created_at_ms).bind(deleted)
}

fn document(write: &Write) -> &str {
    match write {
        Write::State { document, .. } | Write::Mark { document } => document,
        // Never asked for: removals bind keys only.
        Write::Remove => "",
    }
}
