//! The statements about what progress is bound to, as the sink's SQL says them.

use std::sync::Arc;

use tailwater_model::{Binding, DeleteMode, TargetFacts, TargetState};
use tailwater_sink_postgres::HeldLane;

use super::executing::{Change, Executing};
use super::progress_sql::count_lanes;
use super::rows::{RowKey, RowValue, TargetRow};
use super::sql_error::SqlError;

/// What is in the table, and what progress is bound to.
pub(crate) fn target_facts(
    sql: &Executing,
    table: &Arc<str>,
    pipeline: &str,
    (wanted, delete): (Binding, DeleteMode),
) -> TargetFacts {
    let oid = sql.with(|state| state.oids.get(table).copied());
    let state = match oid {
        None => TargetState::Missing,
        Some(_) if is_empty(sql, table) => TargetState::Empty,
        Some(_) => TargetState::Filled,
    };
    let TargetRow { bound, salt, begun, written } = stored(sql, pipeline);
    let number = bound.as_ref().map_or(0, |(_, _, number)| *number);
    let others = all(sql).into_iter().filter(|(of, _)| of != pipeline);
    let newer = others.filter_map(|(of, row)| {
        let (_, of_table, of_number) = row.bound?;
        (Some(of_table) == oid && of_number > number).then_some((of_number, of))
    });
    let written_by_shard = written_by_shard(sql, pipeline);
    let is_another_table = bound.as_ref().is_some_and(|(_, bound_to, _)| oid.is_some_and(|oid| oid != *bound_to));
    let has_lost_all = delete == DeleteMode::Soft && state == TargetState::Empty && written;
    TargetFacts {
        pipeline: pipeline.to_owned(),
        wanted,
        has_progress: count_lanes(sql, pipeline) > 0 && (!begun || !written_by_shard.is_empty()),
        has_begun: begun,
        has_written: written || written_by_shard.iter().any(|written| *written > 0),
        state,
        is_another: is_another_table || has_lost_all,
        is_ahead: false,
        newer_pipeline: newer.max().map(|(_, of)| of),
        bound: bound.map(|(binding, ..)| binding),
        salt,
    }
}

fn is_empty(sql: &Executing, table: &Arc<str>) -> bool {
    // Rows of mirror tables come last, behind this number that none has.
    let rows = sql.scan(RowKey::DeadLetter(u64::MAX), |key| matches!(key, RowKey::Mirror { .. }));
    !rows.iter().any(|(key, _)| matches!(key, RowKey::Mirror { table: of, .. } if of == table))
}

/// What each stored shard has written.
fn written_by_shard(sql: &Executing, of_pipeline: &str) -> Vec<i64> {
    let mine = |key: &RowKey| matches!(key, RowKey::Shard { pipeline, .. } if pipeline == of_pipeline);
    let from = RowKey::Shard { pipeline: of_pipeline.to_owned(), stream_arn: String::new(), shard: String::new() };
    let written = |value: &RowValue| match value {
        RowValue::Shard(row) => Some(row.counts.written),
        _ => None,
    };
    sql.scan(from, mine).iter().filter_map(|(_, value)| written(value)).collect()
}

fn stored(sql: &Executing, pipeline: &str) -> TargetRow {
    match sql.read(&RowKey::Target(pipeline.to_owned())).as_deref() {
        Some(RowValue::Target(row)) => row.clone(),
        _ => TargetRow::default(),
    }
}

fn all(sql: &Executing) -> Vec<(String, TargetRow)> {
    let found = sql.scan(RowKey::Target(String::new()), |key| matches!(key, RowKey::Target(_))).into_iter();
    let target = |(key, value): (RowKey, Arc<RowValue>)| match (key, &*value) {
        (RowKey::Target(pipeline), RowValue::Target(row)) => Some((pipeline, row.clone())),
        _ => None,
    };
    found.filter_map(target).collect()
}

/// Makes the table, if it is missing.
pub(crate) fn make_target(sql: &Executing, table: &Arc<str>) {
    sql.with(|state| state.make_table(table));
}

/// Binds the pipeline's progress to the table as it is now, after all others.
pub(crate) async fn bind(
    sql: &Executing,
    table: &Arc<str>,
    pipeline: &str,
    (binding, written): (Binding, bool),
) -> Result<(), SqlError> {
    let oid = sql.with(|state| state.oids.get(table).copied()).unwrap_or_default();
    let numbers = all(sql).into_iter().filter_map(|(_, row)| row.bound.map(|(_, _, number)| number));
    let bound = Some((binding, oid, numbers.max().unwrap_or_default() + 1));
    let row = TargetRow { bound, salt: None, begun: !written_by_shard(sql, pipeline).is_empty(), written };
    let again = row.clone();
    let key = RowKey::Target(pipeline.to_owned());
    sql.upsert(&key, RowValue::Target(row), |_| Some(RowValue::Target(again))).await.map(drop)
}

/// Uses up the salt, and stores that something was written, if so.
pub(crate) async fn confirm(sql: &Executing, pipeline: &str, written: bool) -> Result<(), SqlError> {
    change(sql, pipeline, |row| TargetRow { salt: None, written: row.written || written, ..row }).await
}

/// Stores that the pipeline has a shard, and that something was written, if so.
pub(crate) async fn mark_begun(sql: &Executing, pipeline: &str, written: bool) -> Result<(), SqlError> {
    change(sql, pipeline, |row| TargetRow { begun: true, written: row.written || written, ..row }).await
}

async fn change(
    sql: &Executing,
    pipeline: &str,
    change: impl Fn(TargetRow) -> TargetRow + Send,
) -> Result<(), SqlError> {
    let changed = |value: &RowValue| match value {
        RowValue::Target(row) => Change::Put(RowValue::Target(change(row.clone()))),
        _ => Change::Keep,
    };
    sql.change(&RowKey::Target(pipeline.to_owned()), changed).await.map(drop)
}

/// What the row of a lane that is held tells of the target.
pub(crate) fn held_lane(sql: &Executing, table: &Arc<str>, pipeline: &str) -> HeldLane {
    let stored = sql.read(&RowKey::Target(pipeline.to_owned()));
    let Some(RowValue::Target(row)) = stored.as_deref() else {
        return HeldLane { is_another_table: false, has_begun: true, has_written: true };
    };
    let oid = sql.with(|state| state.oids.get(table).copied());
    let is_another_table = row.bound.as_ref().zip(oid).is_some_and(|((_, bound_to, _), oid)| *bound_to != oid);
    HeldLane { is_another_table, has_begun: row.begun, has_written: row.written }
}

/// The salt of the pipeline's next token.
pub(crate) async fn leave_salt(sql: &Executing, pipeline: &str) -> Result<String, SqlError> {
    let before = stored(sql, pipeline);
    let new = || sql.with(|state| format!("{:032x}", state.chance.rng.u128(..)));
    let salt = before.salt.clone().unwrap_or_else(new);
    let row = RowValue::Target(TargetRow { salt: Some(salt.clone()), ..before });
    let again = row.clone();
    sql.upsert(&RowKey::Target(pipeline.to_owned()), row, |_| Some(again)).await?;
    Ok(salt)
}
