//! What progress is bound to (I11).

use sqlx::sqlite::SqliteConnection;
use tailwater_model::{Binding, TargetFacts, TargetState};

use super::now;
use crate::database::Fault;

/// Target, source, number, written and salt of a row.
type StoredTarget = (Option<String>, Option<String>, Option<i64>, Option<i64>, Option<String>);

/// What is stored, beside what is there.
pub(crate) async fn target_facts(
    connection: &mut SqliteConnection,
    pipeline: &str,
    wanted: Binding,
    (state, keeps_rows): (TargetState, bool),
) -> Result<TargetFacts, Fault> {
    let stored: Option<StoredTarget> =
        sqlx::query_as("select target, source, number, written, salt from tailwater_targets where pipeline = ?")
            .bind(pipeline)
            .fetch_optional(&mut *connection)
            .await?;
    let (target, source, number, written_before, salt) = stored.unwrap_or_default();
    let (has_progress, written): (bool, i64) = sqlx::query_as(
        "select exists (select 1 from tailwater_lanes where pipeline = ?1), \
         (select coalesce(sum(written), 0) from tailwater_shards where pipeline = ?1)",
    )
    .bind(pipeline)
    .fetch_one(&mut *connection)
    .await?;
    let newer: Option<(String,)> = sqlx::query_as(
        "select pipeline from tailwater_targets where pipeline <> ? and target = ? and number > ? \
         order by number desc limit 1",
    )
    .bind(pipeline)
    .bind(&wanted.target)
    .bind(number.unwrap_or_default())
    .fetch_optional(&mut *connection)
    .await?;
    Ok(TargetFacts {
        pipeline: pipeline.to_owned(),
        wanted,
        bound: target.zip(source).map(|(target, source)| Binding { target, source }),
        has_progress,
        has_written: written > 0,
        state,
        // A table has no identity: where rows of removed items stay, an empty one has lost what was written to it.
        is_another: keeps_rows && state == TargetState::Empty && written > written_before.unwrap_or_default(),
        newer_pipeline: newer.map(|(newer,)| newer),
        salt,
    })
}

/// Binds the progress, after that of all other pipelines, and uses up the salt.
pub(crate) async fn bind(connection: &mut SqliteConnection, pipeline: &str, binding: &Binding) -> Result<(), Fault> {
    sqlx::query(concat!(
        "insert into tailwater_targets (pipeline, target, source, number, written, bound_at) \
         values (?1, ?2, ?3, (select coalesce(max(number), 0) + 1 from tailwater_targets), \
         (select coalesce(sum(written), 0) from tailwater_shards where pipeline = ?1), ",
        now!(),
        ") on conflict do update set target = excluded.target, source = excluded.source, number = excluded.number, \
         written = excluded.written, bound_at = excluded.bound_at, salt = null"
    ))
    .bind(pipeline)
    .bind(&binding.target)
    .bind(&binding.source)
    .execute(connection)
    .await?;
    Ok(())
}

/// The salt of the pipeline's next token, made at random where there is none.
pub(crate) async fn leave_salt(connection: &mut SqliteConnection, pipeline: &str) -> Result<String, Fault> {
    let (salt,): (String,) = sqlx::query_as(
        "insert into tailwater_targets (pipeline, salt) values (?, lower(hex(randomblob(16)))) \
         on conflict do update set salt = coalesce(salt, excluded.salt) returning salt",
    )
    .bind(pipeline)
    .fetch_one(connection)
    .await?;
    Ok(salt)
}
