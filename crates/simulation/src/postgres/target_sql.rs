//! The statements about what progress is bound to, as the sink's SQL says them.

use std::sync::Arc;

use tailwater_model::{Binding, TargetFacts, TargetState};

use super::executing::Executing;
use super::progress_sql::count_lanes;
use super::rows::{RowKey, RowValue, TargetRow};
use super::sql_error::SqlError;

/// What is in the table, and what progress is bound to.
pub(crate) fn target_facts(sql: &Executing, table: &Arc<str>, pipeline: &str, wanted: Binding) -> TargetFacts {
    let oid = sql.with(|state| state.oids.get(table).copied());
    let state = match oid {
        None => TargetState::Missing,
        Some(_) if is_empty(sql, table) => TargetState::Empty,
        Some(_) => TargetState::Filled,
    };
    let TargetRow { bound, salt } = stored(sql, pipeline);
    let number = bound.as_ref().map_or(0, |(_, _, number)| *number);
    let others = all(sql).into_iter().filter(|(of, _)| of != pipeline);
    let newer = others.filter_map(|(of, row)| {
        let (_, of_table, of_number) = row.bound?;
        (Some(of_table) == oid && of_number > number).then_some((of_number, of))
    });
    TargetFacts {
        pipeline: pipeline.to_owned(),
        wanted,
        has_progress: count_lanes(sql, pipeline) > 0,
        has_written: has_written(sql, pipeline),
        state,
        is_another: bound.as_ref().is_some_and(|(_, bound_to, _)| oid.is_some_and(|oid| oid != *bound_to)),
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

fn has_written(sql: &Executing, of_pipeline: &str) -> bool {
    let mine = |key: &RowKey| matches!(key, RowKey::Shard { pipeline, .. } if pipeline == of_pipeline);
    let from = RowKey::Shard { pipeline: of_pipeline.to_owned(), stream_arn: String::new(), shard: String::new() };
    let written = |value: &RowValue| matches!(value, RowValue::Shard(row) if row.counts.written > 0);
    sql.scan(from, mine).iter().any(|(_, value)| written(value))
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
pub(crate) async fn bind(sql: &Executing, table: &Arc<str>, pipeline: &str, binding: Binding) -> Result<(), SqlError> {
    let oid = sql.with(|state| state.oids.get(table).copied()).unwrap_or_default();
    let numbers = all(sql).into_iter().filter_map(|(_, row)| row.bound.map(|(_, _, number)| number));
    let row = TargetRow { bound: Some((binding, oid, numbers.max().unwrap_or_default() + 1)), salt: None };
    let again = row.clone();
    let key = RowKey::Target(pipeline.to_owned());
    sql.upsert(&key, RowValue::Target(row), |_| Some(RowValue::Target(again))).await.map(drop)
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
