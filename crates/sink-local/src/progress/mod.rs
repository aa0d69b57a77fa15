//! Progress in SQLite: migrations, claiming the lanes of a pipeline, and opening one. All functions work inside a
//! transaction of the caller that holds the write lock.

mod brake;
mod checkpoints;
mod commit;
mod ownership;
mod steps;
mod stream;
mod target;

use std::sync::Arc;

use sqlx::sqlite::SqliteConnection;
use tailwater_model::{Failure, PipelineIdentity, Position, Progress, Trouble, TroubleKind};

pub(crate) use self::brake::braked;
pub(crate) use self::checkpoints::read_checkpoints;
pub(crate) use self::commit::{fence, store_group};
pub use self::ownership::SqliteOwnership;
use self::ownership::own;
use self::stream::read_progress;
pub(crate) use self::target::{TargetLook, bind, confirm, lacks_mark, leave_salt, store_mark, target_facts};
use crate::database::Fault;

/// The present moment by the database's clock, in the one form in which times are stored.
macro_rules! now {
    () => {
        "strftime('%Y-%m-%dT%H:%M:%fZ', 'now')"
    };
}
pub(crate) use now;

/// The schema, one entry per version. Entries are only ever added.
const MIGRATIONS: [&str; 8] = [
    include_str!("../../migrations/0001_progress.sql"),
    include_str!("../../migrations/0002_read_until.sql"),
    include_str!("../../migrations/0003_first_listing.sql"),
    include_str!("../../migrations/0004_brake.sql"),
    include_str!("../../migrations/0005_owners.sql"),
    include_str!("../../migrations/0006_targets.sql"),
    include_str!("../../migrations/0007_follows_another.sql"),
    include_str!("../../migrations/0008_begun_and_written.sql"),
];

/// Brings the schema to this program's version.
pub(crate) async fn migrate(connection: &mut SqliteConnection) -> Result<(), Fault> {
    sqlx::raw_sql(
        "create table if not exists tailwater_migrations (version integer primary key, applied_at text not null) strict",
    )
    .execute(&mut *connection)
    .await?;
    let (applied,): (i64,) = sqlx::query_as("select coalesce(max(version), 0) from tailwater_migrations")
        .fetch_one(&mut *connection)
        .await?;
    let applied = usize::try_from(applied).unwrap_or_default();
    if applied > MIGRATIONS.len() {
        let message = format!(
            "the progress tables have version {applied}, and this program knows versions up to {}",
            MIGRATIONS.len()
        );
        let trouble = Trouble::new(TroubleKind::Environment, "sink.newer_schema", message);
        return Err(Fault::halt(trouble.advise("run the version of tailwater that wrote them, or a newer one")));
    }
    for (index, migration) in MIGRATIONS.into_iter().enumerate().skip(applied) {
        sqlx::raw_sql(migration).execute(&mut *connection).await?;
        sqlx::query(concat!("insert into tailwater_migrations values (?, ", now!(), ")"))
            .bind(index as i64 + 1)
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
}

/// Who owns a lane: the process that wrote its nonce last.
#[derive(Clone, Debug)]
pub(crate) struct LaneClaim {
    pub(crate) pipeline: Arc<PipelineIdentity>,
    pub(crate) lane: u32,
    owner: String,
}

/// Takes all lanes of the pipeline away from whoever had them, and raises their epochs. Refused while a brake on dead letters is
/// there that this number does not lift.
pub(crate) async fn claim_lanes(
    connection: &mut SqliteConnection,
    identity: &PipelineIdentity,
    dead_letters_per_minute_max: u32,
) -> Result<Vec<LaneClaim>, Fault> {
    // SQLite's own randomness: an owner must differ from every other one, also of processes started at the same time.
    let (owner,): (String,) = sqlx::query_as("select lower(hex(randomblob(16)))").fetch_one(&mut *connection).await?;
    let (stored,): (i64,) = sqlx::query_as("select count(*) from tailwater_lanes where pipeline = ?")
        .bind(&identity.name)
        .fetch_one(&mut *connection)
        .await?;
    if stored != 0 && stored != i64::from(identity.lanes) {
        return Err(Fault::halt(lane_count_trouble(identity, stored)));
    }
    brake::lift(connection, &identity.name, dead_letters_per_minute_max).await?;
    for lane in 0..identity.lanes {
        sqlx::query(concat!(
            "insert into tailwater_lanes (pipeline, lane, epoch, owner, claimed_at) values (?, ?, 1, ?, ",
            now!(),
            ") on conflict do update set epoch = epoch + 1, owner = excluded.owner, claimed_at = excluded.claimed_at"
        ))
        .bind(&identity.name)
        .bind(lane)
        .bind(&owner)
        .execute(&mut *connection)
        .await?;
    }
    own(&mut *connection, &identity.name, &owner).await?;
    let stream = &identity.stream;
    sqlx::query(concat!(
        "insert into tailwater_streams (pipeline, stream_arn, table_name, table_id, claimed_at) values (?, ?, ?, ?, ",
        now!(),
        ") on conflict do update set claimed_at = excluded.claimed_at"
    ))
    .bind(&identity.name)
    .bind(&stream.stream_arn)
    .bind(&stream.table)
    .bind(&stream.table_id)
    .execute(&mut *connection)
    .await?;
    let pipeline = Arc::new(identity.clone());
    Ok((0..identity.lanes).map(|lane| LaneClaim { pipeline: pipeline.clone(), lane, owner: owner.clone() }).collect())
}

fn lane_count_trouble(identity: &PipelineIdentity, stored: i64) -> Trouble {
    let PipelineIdentity { name, lanes, .. } = identity;
    let message = format!("pipeline {name:?} was started with {stored} lanes before, and its file now says {lanes}");
    Trouble::new(TroubleKind::Config, "sink.lane_count", message).advise(format!(
        "set `lanes = {stored}` again: shards are dealt to lanes by that number. To change it, give the pipeline a new \
         name: it then begins at the place that `start` says, once the table is adopted, as the next start tells"
    ))
}

/// Raises the lane's epoch, which shuts out every other session of it, and only then reads what is durable.
pub(crate) async fn open_lane(
    connection: &mut SqliteConnection,
    claim: &LaneClaim,
) -> Result<(Epoch, Progress), Fault> {
    let raised: Option<(i64,)> = sqlx::query_as(
        "update tailwater_lanes set epoch = epoch + 1 where pipeline = ? and lane = ? and owner = ? returning epoch",
    )
    .bind(&claim.pipeline.name)
    .bind(claim.lane)
    .bind(&claim.owner)
    .fetch_optional(&mut *connection)
    .await?;
    let Some((epoch,)) = raised else { return Err(Fault::halt(taken_over(claim))) };
    Ok((Epoch(epoch), read_progress(connection, claim).await?))
}

/// The number of a session of a lane. Only the newest may commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Epoch(i64);

fn taken_over(claim: &LaneClaim) -> Trouble {
    let name = &claim.pipeline.name;
    let message = format!("another process took over pipeline {name:?}; this one can write no more");
    Trouble::new(TroubleKind::Replaced, "sink.taken_over", message)
        .advise("give this pipeline another name if it is meant to be another")
}

fn parse_position(text: &str) -> Result<Position, Fault> {
    Position::parse(text).map_err(|fault| {
        let trouble = Trouble::new(TroubleKind::DataAtRisk, "sink.progress_unreadable", fault.to_string());
        Fault::Failure(Failure::Halt(trouble.advise("restore the database from a backup: something else wrote to it")))
    })
}
