//! The three statements that write a mirror table, with what a real one refuses.

use std::sync::Arc;

use tailwater_model::{Key, KeyValue};
use tailwater_sink_postgres::{Row, Write};

use super::executing::{Change, Executing};
use super::faults::{Faults, TriggerAnswer};
use super::rows::{MirrorRow, RowKey, RowValue};
use super::sql_error::SqlError;

/// Largest row of a btree index in bytes (PostgreSQL 17, "btree version 4 maximum").
const INDEX_ROW_BYTES_MAX: usize = 2704;
/// What an index row needs beside the bytes of its values: measured, 3,072 bytes of text make a row of 3,088.
const INDEX_ROW_BYTES_BESIDE: usize = 16;

/// One row to write.
#[derive(Clone, Debug)]
pub(crate) struct RowToWrite {
    pub(crate) key: Key,
    pub(crate) row: MirrorRow,
}

/// A row of the sink.
pub(crate) fn row_to_write(row: &Row) -> RowToWrite {
    let (document, deleted) = match &row.write {
        Write::State { document, deleted } => (document.as_str(), *deleted),
        Write::Mark { document } => (document.as_str(), true),
        // Never asked for: removals have keys only.
        Write::Remove => ("", true),
    };
    let source = &row.event.source;
    let row_of_table = MirrorRow {
        document: document.into(),
        op: row.event.change.name().into(),
        sequence_number: source.sequence_number.as_str().into(),
        event_id: (*source.event_id).into(),
        created_at_ms: source.created_at_ms,
        deleted,
    };
    RowToWrite { key: row.key.clone(), row: row_of_table }
}

/// Whether an upsert replaces the document of a row that exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Document {
    Replaced,
    Kept,
}

/// `insert … on conflict do update`, in the order of the rows. Gives how many are there then as they were sent: without those
/// that a trigger left out, or as they were before.
pub(crate) async fn upsert_rows(
    sql: &Executing,
    table: &Arc<str>,
    rows: Vec<RowToWrite>,
    document: Document,
) -> Result<u64, SqlError> {
    let user = sql.with(|state| state.chance.faults.of_the_user());
    let mut kept = 0;
    // Parameters are read before the first row is touched.
    for RowToWrite { key, row } in &rows {
        check_text(key, row)?;
    }
    for RowToWrite { key, row } in rows {
        if escapes_nul(&row.document) {
            return Err(SqlError::of("22P05"));
        }
        if !passes(&user, &row.document)? {
            sql.with(|state| state.chance.hit("swallowed"));
            continue;
        }
        check_row(&key)?;
        let place = RowKey::Mirror { table: Arc::clone(table), key };
        if answers(&user, TriggerAnswer::OldRow, &row.document) && sql.lock(&place).await?.is_some() {
            sql.with(|state| state.chance.hit("swallowed"));
            continue;
        }
        let mut merged = row.clone();
        if let (Document::Kept, Some(RowValue::Mirror(stored))) = (document, sql.lock(&place).await?.as_deref()) {
            // An update runs triggers and checks of its own, on the row as it will be.
            merged.document = Arc::clone(&stored.document);
            if !passes(&user, &merged.document)? {
                sql.with(|state| state.chance.hit("swallowed"));
                continue;
            }
        }
        sql.upsert(&place, RowValue::Mirror(row), |_| Some(RowValue::Mirror(merged))).await?;
        kept += 1;
    }
    Ok(kept)
}

/// Whether the user's triggers let the document through. Then the user's constraint looks at it.
fn passes(user: &Faults, document: &str) -> Result<bool, SqlError> {
    match user.triggers.iter().find(|trigger| document.contains(&trigger.text)).map(|trigger| trigger.answer) {
        Some(TriggerAnswer::Raises(state)) => return Err(SqlError::of(state)),
        Some(TriggerAnswer::Null) => return Ok(false),
        Some(TriggerAnswer::OldRow | TriggerAnswer::NullForDelete) | None => {}
    }
    if user.refused_text.as_ref().is_some_and(|text| document.contains(text)) {
        return Err(SqlError::of("23514"));
    }
    Ok(true)
}

/// Whether a trigger of the user answers this for the document.
fn answers(user: &Faults, answer: TriggerAnswer, document: &str) -> bool {
    user.triggers.iter().any(|trigger| trigger.answer == answer && document.contains(&trigger.text))
}

/// `delete … using`, in the order of the keys. Gives how many rows the statement saw and did not remove.
pub(crate) async fn remove_rows(sql: &Executing, table: &Arc<str>, keys: Vec<Key>) -> Result<u64, SqlError> {
    let user = sql.with(|state| state.chance.faults.of_the_user());
    let stays = |row: &RowValue| matches!(row, RowValue::Mirror(row) if answers(&user, TriggerAnswer::NullForDelete, &row.document));
    let mut stayed = 0;
    if keys.iter().any(has_nul) {
        return Err(SqlError::of("22021"));
    }
    for key in keys {
        let place = RowKey::Mirror { table: Arc::clone(table), key };
        let is_there = sql.read(&place).is_some();
        let removed = sql.change(&place, |row| if stays(row) { Change::Keep } else { Change::Remove }).await?;
        if is_there && !removed {
            sql.with(|state| state.chance.hit("swallowed"));
            stayed += 1;
        }
    }
    Ok(stayed)
}

fn has_nul(key: &Key) -> bool {
    key.values().iter().any(|value| matches!(value, KeyValue::S(text) if text.contains('\0')))
}

/// Text has no U+0000 in it.
fn check_text(key: &Key, row: &MirrorRow) -> Result<(), SqlError> {
    if has_nul(key) || row.document.contains('\0') { Err(SqlError::of("22021")) } else { Ok(()) }
}

/// What the primary key refuses.
fn check_row(key: &Key) -> Result<(), SqlError> {
    let bytes = key.values().iter().map(|value| match value {
        KeyValue::S(text) => text.len(),
        // `numeric` keeps four decimal digits in two bytes.
        KeyValue::N(number) => number.to_string().len().div_ceil(2),
        KeyValue::B(bytes) => bytes.len(),
    });
    if bytes.sum::<usize>() + INDEX_ROW_BYTES_BESIDE > INDEX_ROW_BYTES_MAX {
        return Err(SqlError::of("54000"));
    }
    Ok(())
}

/// Whether a JSON text has the escape of U+0000, which jsonb cannot hold (PostgreSQL, "JSON Types").
fn escapes_nul(json: &str) -> bool {
    let mut escaped = false;
    json.char_indices().any(|(at, character)| {
        let starts = escaped;
        escaped = !escaped && character == '\\';
        starts && json[at..].starts_with("u0000")
    })
}
