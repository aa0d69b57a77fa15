//! The schema `tailwater` by numbered migrations.
//!
//! Not sqlx's `Migrator`: it runs `create schema if not exists` and `create table if not exists` at every start, which
//! Postgres refuses to a role without the right to create even when both exist; and it holds a session lock, which a
//! pooler breaks. Here a role that may only write can start as soon as somebody has migrated.

use sqlx::Row;
use tailwater_model::{Trouble, TroubleKind};

use crate::session::{Session, SqlFault};

/// In order; a migration that was released never changes.
const MIGRATIONS: [&str; 8] = [
    include_str!("../migrations/0001_progress.sql"),
    include_str!("../migrations/0002_read_until.sql"),
    include_str!("../migrations/0003_first_listing.sql"),
    include_str!("../migrations/0004_brake.sql"),
    include_str!("../migrations/0005_owners.sql"),
    include_str!("../migrations/0006_targets.sql"),
    include_str!("../migrations/0007_follows_another.sql"),
    include_str!("../migrations/0008_begun_and_written.sql"),
];

/// Serializes everybody who claims or migrates, until the end of the transaction. Any constant does; this is
/// "tailwatr" in ASCII.
const LOCK: i64 = 0x7461_696C_7761_7472;

const CREATE_SCHEMA: &str = "
create schema tailwater;
comment on schema tailwater is 'Progress of Tailwater pipelines: lanes, streams, shards, gaps and dead letters. Do not edit.';
";

const CREATE_MIGRATIONS: &str = "
create table tailwater.migrations (
    version integer primary key,
    applied_at timestamptz not null default now()
);
comment on table tailwater.migrations is 'Which versions of this schema were applied.';
";

/// Why a migration did not happen.
pub(crate) enum MigrateFault {
    Sql(SqlFault),
    /// The database was used by a newer Tailwater.
    Newer(i32),
}

impl From<SqlFault> for MigrateFault {
    fn from(fault: SqlFault) -> Self {
        Self::Sql(fault)
    }
}

impl MigrateFault {
    pub(crate) fn trouble(&self, place: &str) -> Trouble {
        match self {
            Self::Sql(fault) => {
                let trouble = fault.trouble("preparing the schema tailwater", place);
                if trouble.code != "sink.postgres.denied" {
                    return trouble;
                }
                trouble.advise(
                    "give the role the right once: `grant create on database … to …`, or have an administrator run \
                     `create schema tailwater authorization …`; after an update start once with the role that owns its tables",
                )
            }
            Self::Newer(version) => Trouble::new(
                TroubleKind::Environment,
                "sink.newer_schema",
                format!(
                    "the schema tailwater at {place} is at version {version}, and this Tailwater knows versions up to {}",
                    MIGRATIONS.len()
                ),
            )
            .advise("use the newer Tailwater that made it"),
        }
    }
}

/// Brings the schema to this version, inside the caller's transaction.
pub(crate) async fn migrate(session: &mut Session) -> Result<(), MigrateFault> {
    session.execute(sqlx::query("select pg_advisory_xact_lock($1)").bind(LOCK)).await?;
    let present = session.rows(sqlx::query("select 1 where to_regclass('tailwater.migrations') is not null")).await?;
    if present.is_empty() {
        begin_schema(session).await?;
    }
    let row = session.row(sqlx::query("select coalesce(max(version), 0) from tailwater.migrations")).await?;
    let applied: i32 = row.map_or(Ok(0), |row| row.try_get(0)).map_err(SqlFault::Driver)?;
    let done = usize::try_from(applied).unwrap_or(0);
    if done > MIGRATIONS.len() {
        return Err(MigrateFault::Newer(applied));
    }
    for (migration, version) in MIGRATIONS.iter().zip(1_i32..).skip(done) {
        session.run(*migration).await?;
        session.execute(sqlx::query("insert into tailwater.migrations (version) values ($1)").bind(version)).await?;
    }
    Ok(())
}

async fn begin_schema(session: &mut Session) -> Result<(), SqlFault> {
    let exists = session.rows(sqlx::query("select 1 from pg_namespace where nspname = 'tailwater'")).await?;
    // Unless an administrator made it for us: then no right to create schemas is needed.
    if exists.is_empty() {
        session.run(CREATE_SCHEMA).await?;
    }
    session.run(CREATE_MIGRATIONS).await
}
