//! What progress is bound to (I11).

use sqlx::sqlite::SqliteConnection;
use tailwater_model::{Binding, Group, Step, TargetFacts, TargetState};

use super::now;
use crate::database::Fault;

/// What is there where the file says that the target is.
#[derive(Debug)]
pub(crate) struct TargetLook {
    pub(crate) state: TargetState,
    /// Rows of removed items stay in it.
    pub(crate) keeps_rows: bool,
    /// The marks that it has.
    pub(crate) marks: Vec<String>,
}

/// Target, source, number, begun, written, mark and salt of a row.
type StoredTarget = (Option<String>, Option<String>, Option<i64>, bool, bool, Option<String>, Option<String>);

/// What is stored, beside what is there.
pub(crate) async fn target_facts(
    connection: &mut SqliteConnection,
    pipeline: &str,
    wanted: Binding,
    look: &TargetLook,
) -> Result<TargetFacts, Fault> {
    let stored: Option<StoredTarget> = sqlx::query_as(
        "select target, source, number, begun, written, mark, salt from tailwater_targets where pipeline = ?",
    )
    .bind(pipeline)
    .fetch_optional(&mut *connection)
    .await?;
    let (target, source, number, has_begun, is_written, mark, salt) = stored.unwrap_or_default();
    // What shards say of writing counts where the row of the target was removed by hand.
    let (has_lanes, has_shards, has_written): (bool, bool, bool) = sqlx::query_as(
        "select exists (select 1 from tailwater_lanes where pipeline = ?1), \
         exists (select 1 from tailwater_shards where pipeline = ?1), \
         exists (select 1 from tailwater_shards where pipeline = ?1 and written > 0)",
    )
    .bind(pipeline)
    .fetch_one(&mut *connection)
    .await?;
    // SQLite takes names for equal that differ only in the case of ASCII letters.
    let newer: Option<(String,)> = sqlx::query_as(
        "select pipeline from tailwater_targets where pipeline <> ? and target = ? collate nocase and number > ? \
         order by number desc limit 1",
    )
    .bind(pipeline)
    .bind(&wanted.target)
    .bind(number.unwrap_or_default())
    .fetch_optional(&mut *connection)
    .await?;
    let same =
        |target: String| if target.eq_ignore_ascii_case(&wanted.target) { wanted.target.clone() } else { target };
    let bound = target.zip(source).map(|(target, source)| Binding { target: same(target), source });
    let lacks_mark = mark.is_some_and(|mark| !look.marks.contains(&mark));
    // Where rows of removed items stay, an empty table has lost what was written to it.
    let has_lost_all = look.keeps_rows && look.state == TargetState::Empty && is_written;
    Ok(TargetFacts {
        pipeline: pipeline.to_owned(),
        bound,
        wanted,
        has_progress: has_lanes && (has_shards || !has_begun),
        has_begun,
        has_written: is_written || has_written,
        state: look.state,
        is_another: lacks_mark || has_lost_all,
        is_ahead: false,
        newer_pipeline: newer.map(|(newer,)| newer),
        salt,
    })
}

/// Binds the progress, after that of all other pipelines, and uses up the salt.
pub(crate) async fn bind(
    connection: &mut SqliteConnection,
    pipeline: &str,
    binding: &Binding,
    is_written: bool,
) -> Result<(), Fault> {
    sqlx::query(concat!(
        "insert into tailwater_targets (pipeline, target, source, number, begun, written, bound_at) \
         values (?1, ?2, ?3, (select coalesce(max(number), 0) + 1 from tailwater_targets), \
         exists (select 1 from tailwater_shards where pipeline = ?1), ?4, ",
        now!(),
        ") on conflict do update set target = excluded.target, source = excluded.source, number = excluded.number, \
         begun = excluded.begun, written = excluded.written, bound_at = excluded.bound_at, mark = null, salt = null"
    ))
    .bind(pipeline)
    .bind(&binding.target)
    .bind(&binding.source)
    .bind(is_written)
    .execute(connection)
    .await?;
    Ok(())
}

/// The binding stands: uses up the salt, and stores that something was written, if so.
pub(crate) async fn confirm(connection: &mut SqliteConnection, pipeline: &str, is_written: bool) -> Result<(), Fault> {
    sqlx::query("update tailwater_targets set salt = null, written = max(written, ?2) where pipeline = ?1")
        .bind(pipeline)
        .bind(is_written)
        .execute(connection)
        .await?;
    Ok(())
}

/// Whether no mark of the target is stored: of a new binding, and of one of an earlier version.
pub(crate) async fn lacks_mark(connection: &mut SqliteConnection, pipeline: &str) -> Result<bool, Fault> {
    let (lacks,): (bool,) =
        sqlx::query_as("select exists (select 1 from tailwater_targets where pipeline = ? and mark is null)")
            .bind(pipeline)
            .fetch_one(connection)
            .await?;
    Ok(lacks)
}

/// Stores the mark that the target has.
pub(crate) async fn store_mark(connection: &mut SqliteConnection, pipeline: &str, mark: &str) -> Result<(), Fault> {
    sqlx::query("update tailwater_targets set mark = ?2 where pipeline = ?1")
        .bind(pipeline)
        .bind(mark)
        .execute(connection)
        .await?;
    Ok(())
}

/// Stores with a commit that the pipeline has a shard, and that something was written, if so.
pub(super) async fn mark_begun(
    connection: &mut SqliteConnection,
    pipeline: &str,
    group: &Group,
    written: u64,
) -> Result<(), Fault> {
    let registers = group.batches.iter().any(|batch| matches!(batch.step, Step::Register { .. }));
    if registers || written > 0 {
        sqlx::query(
            "update tailwater_targets set begun = 1, written = max(written, ?2) \
             where pipeline = ?1 and (begun = 0 or written < ?2)",
        )
        .bind(pipeline)
        .bind(written > 0)
        .execute(connection)
        .await?;
    }
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
