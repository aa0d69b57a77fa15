//! Statements about what progress is bound to (I11).

use sqlx::{AssertSqlSafe, Row};
use tailwater_model::{Binding, PipelineIdentity, TargetFacts, TargetState};

use crate::mirror_table::MirrorTable;
use crate::session::Session;
use crate::statements::{Answer, Unready};
use crate::table_shape::look_at_table;

/// Other pipelines count where they were bound to this very table after this one.
const BOUND_SQL: &str = "
select mine.target, mine.source, mine.salt, coalesce(mine.target_oid <> present.oid, false) as is_another,
    exists (select from tailwater.lanes where pipeline = $1) as has_progress,
    exists (select from tailwater.shards where pipeline = $1 and written > 0) as has_written,
    (select other.pipeline from tailwater.targets as other
     where other.pipeline <> $1 and other.target_oid = present.oid and other.number > coalesce(mine.number, 0)
     order by other.number desc limit 1) as newer_pipeline
from (select (select c.oid::int8 from pg_class c join pg_namespace n on n.oid = c.relnamespace
              where n.nspname = $2 and c.relname = $3) as oid) as present
    left join tailwater.targets as mine on mine.pipeline = $1";

const BIND_SQL: &str = "
insert into tailwater.targets (pipeline, target, target_oid, source, number, bound_at)
select $1, $2, c.oid::int8, $3, (select coalesce(max(number), 0) + 1 from tailwater.targets), now()
from pg_class c join pg_namespace n on n.oid = c.relnamespace where n.nspname = $4 and c.relname = $5
on conflict (pipeline) do update set target = excluded.target, target_oid = excluded.target_oid, source = excluded.source,
    number = excluded.number, bound_at = excluded.bound_at, salt = null";

const SALT_SQL: &str = "
insert into tailwater.targets (pipeline, salt) values ($1, gen_random_uuid()::text)
on conflict (pipeline) do update set salt = coalesce(targets.salt, excluded.salt)
returning salt";

pub(super) async fn target_facts(
    session: &mut Session,
    table: &MirrorTable,
    identity: &PipelineIdentity,
    wanted: Binding,
) -> Result<TargetFacts, Unready> {
    let state = match look_at_table(session, table).await? {
        None => TargetState::Missing,
        // What is no table is told with its shape.
        Some(look) if look.is_table && has_rows(session, table).await? => TargetState::Filled,
        Some(_) => TargetState::Empty,
    };
    let query = sqlx::query(BOUND_SQL).bind(&identity.name).bind(table.schema.name()).bind(table.table.name());
    let row = session.row(query).await?.ok_or(sqlx::Error::RowNotFound)?;
    let (target, source): (Option<String>, Option<String>) = (row.try_get("target")?, row.try_get("source")?);
    Ok(TargetFacts {
        pipeline: identity.name.clone(),
        wanted,
        bound: target.zip(source).map(|(target, source)| Binding { target, source }),
        has_progress: row.try_get("has_progress")?,
        has_written: row.try_get("has_written")?,
        state,
        is_another: row.try_get("is_another")?,
        newer_pipeline: row.try_get("newer_pipeline")?,
        salt: row.try_get("salt")?,
    })
}

async fn has_rows(session: &mut Session, table: &MirrorTable) -> Answer<bool> {
    let look = session.ask(AssertSqlSafe(format!("select 1 from {} limit 1", table.place()))).await?;
    Ok(!look.is_empty())
}

pub(super) async fn bind(session: &mut Session, table: &MirrorTable, pipeline: &str, binding: &Binding) -> Answer<()> {
    let query = sqlx::query(BIND_SQL).bind(pipeline).bind(&binding.target).bind(&binding.source);
    session.execute(query.bind(table.schema.name()).bind(table.table.name())).await.map(drop)
}

pub(super) async fn leave_salt(session: &mut Session, pipeline: &str) -> Answer<String> {
    let row = session.row(sqlx::query(SALT_SQL).bind(pipeline)).await?.ok_or(sqlx::Error::RowNotFound)?;
    Ok(row.try_get("salt")?)
}
