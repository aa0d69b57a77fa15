//! Statements about what progress is bound to (I11).

use sqlx::{AssertSqlSafe, Row};
use tailwater_model::{Binding, DeleteMode, PipelineIdentity, TargetFacts, TargetState};

use crate::inline::Inline;
use crate::lane::LaneIdentity;
use crate::mirror_table::MirrorTable;
use crate::session::Session;
use crate::statements::{Answer, Unready};
use crate::table_shape::look_at_table;

/// Other pipelines count where they were bound to this very table after this one. What shards say of writing counts where the
/// row of the target was removed by hand.
const BOUND_SQL: &str = "
select mine.target, mine.source, mine.salt, coalesce(mine.target_oid <> present.oid, false) as is_another_table,
    exists (select from tailwater.lanes where pipeline = $1)
        and (not coalesce(mine.begun, false) or exists (select from tailwater.shards where pipeline = $1)) as has_progress,
    coalesce(mine.begun, false) as has_begun, coalesce(mine.written, false) as written_since_bound,
    coalesce(mine.written, false)
        or exists (select from tailwater.shards where pipeline = $1 and shards.written > 0) as has_written,
    (select other.pipeline from tailwater.targets as other
     where other.pipeline <> $1 and other.target_oid = present.oid and other.number > coalesce(mine.number, 0)
     order by other.number desc limit 1) as newer_pipeline
from (select (select c.oid::int8 from pg_class c join pg_namespace n on n.oid = c.relnamespace
              where n.nspname = $2 and c.relname = $3) as oid) as present
    left join tailwater.targets as mine on mine.pipeline = $1";

const BIND_SQL: &str = "
insert into tailwater.targets (pipeline, target, target_oid, source, number, bound_at, begun, written)
select $1, $2, c.oid::int8, $3, (select coalesce(max(number), 0) + 1 from tailwater.targets), now(),
    exists (select from tailwater.shards where pipeline = $1), $6
from pg_class c join pg_namespace n on n.oid = c.relnamespace where n.nspname = $4 and c.relname = $5
on conflict (pipeline) do update set target = excluded.target, target_oid = excluded.target_oid, source = excluded.source,
    number = excluded.number, bound_at = excluded.bound_at, begun = excluded.begun, written = excluded.written, salt = null";

const CONFIRM_SQL: &str = "update tailwater.targets set salt = null, written = written or $2 where pipeline = $1";

const MARK_SQL: &str = "
update tailwater.targets set begun = true, written = written or $2::bool where pipeline = $1";

const SALT_SQL: &str = "
insert into tailwater.targets (pipeline, salt) values ($1, gen_random_uuid()::text)
on conflict (pipeline) do update set salt = coalesce(targets.salt, excluded.salt)
returning salt";

pub(super) async fn target_facts(
    session: &mut Session,
    table: &MirrorTable,
    identity: &PipelineIdentity,
    wanted: Binding,
    delete: DeleteMode,
) -> Result<TargetFacts, Unready> {
    let look = look_at_table(session, table).await?;
    let query = sqlx::query(BOUND_SQL).bind(&identity.name).bind(table.schema.name()).bind(table.table.name());
    let row = session.row(query).await?.ok_or(sqlx::Error::RowNotFound)?;
    // Behind it: what is said to be written is in the table by now, also where another lane has just committed for the first time.
    let state = match look {
        None => TargetState::Missing,
        // What is no table is told with its shape.
        Some(look) if look.is_table && has_rows(session, table).await? => TargetState::Filled,
        Some(_) => TargetState::Empty,
    };
    let (target, source): (Option<String>, Option<String>) = (row.try_get("target")?, row.try_get("source")?);
    let (is_another_table, is_written): (bool, bool) =
        (row.try_get("is_another_table")?, row.try_get("written_since_bound")?);
    // Rows of removed items stay: an empty table has lost what was written to it.
    let has_lost_all = delete == DeleteMode::Soft && state == TargetState::Empty && is_written;
    Ok(TargetFacts {
        pipeline: identity.name.clone(),
        wanted,
        bound: target.zip(source).map(|(target, source)| Binding { target, source }),
        has_progress: row.try_get("has_progress")?,
        has_begun: row.try_get("has_begun")?,
        has_written: row.try_get("has_written")?,
        state,
        is_another: is_another_table || has_lost_all,
        is_ahead: false,
        newer_pipeline: row.try_get("newer_pipeline")?,
        salt: row.try_get("salt")?,
    })
}

async fn has_rows(session: &mut Session, table: &MirrorTable) -> Answer<bool> {
    let look = session.ask(AssertSqlSafe(format!("select 1 from {} limit 1", table.place()))).await?;
    Ok(!look.is_empty())
}

pub(super) async fn bind(
    session: &mut Session,
    table: &MirrorTable,
    pipeline: &str,
    binding: &Binding,
    is_written: bool,
) -> Answer<()> {
    let query = sqlx::query(BIND_SQL).bind(pipeline).bind(&binding.target).bind(&binding.source);
    session.execute(query.bind(table.schema.name()).bind(table.table.name()).bind(is_written)).await.map(drop)
}

pub(super) async fn confirm(session: &mut Session, pipeline: &str, is_written: bool) -> Answer<()> {
    session.execute(sqlx::query(CONFIRM_SQL).bind(pipeline).bind(is_written)).await.map(drop)
}

pub(super) async fn mark_begun(session: &mut Session, lane: &LaneIdentity, is_written: bool) -> Answer<()> {
    let mark = Inline::new(MARK_SQL).text(&lane.pipeline.name).number(is_written.into());
    session.run(mark.sql()).await
}

pub(super) async fn leave_salt(session: &mut Session, pipeline: &str) -> Answer<String> {
    let row = session.row(sqlx::query(SALT_SQL).bind(pipeline)).await?.ok_or(sqlx::Error::RowNotFound)?;
    Ok(row.try_get("salt")?)
}
