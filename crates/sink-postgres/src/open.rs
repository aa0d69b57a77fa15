//! Opening a lane: the epoch is bumped first, which waits for a commit that is still in flight, and only then is the
//! progress read. So the answer is the truth, whatever became of the last commit (I7).

use std::time::Duration;

use sqlx::Row;
use sqlx::postgres::PgRow;
use tailwater_model::{Failure, Progress, ShardId, ShardProgress, Trouble, TroubleKind};

use crate::fence::{Holder, fenced, read_position};
use crate::lane::LaneIdentity;
use crate::session::{Session, SqlFault};

const BUMP_SQL: &str = "
update tailwater.lanes set epoch = epoch + 1, opened_at = now()
where pipeline = $1 and lane = $2 and owner = $3::uuid
returning epoch";

const HOLDER_SQL: &str = "select owner = $3::uuid from tailwater.lanes where pipeline = $1 and lane = $2";

const SHARDS_SQL: &str = "
select shard, parent, position from tailwater.shards
where pipeline = $1 and stream_arn = $2 and lane = $3
order by shard";

const STREAM_SQL: &str = "
select stream_known, extract(epoch from clock_timestamp() - last_contact_at)::float8 as since_contact,
    (select other.stream_arn from tailwater.streams as other
     where other.pipeline = $1 and other.stream_arn <> $2 and other.table_name = mine.table_name
        and (other.last_contact_at is not null or exists (
            select from tailwater.shards as shard
            where shard.pipeline = $1 and shard.stream_arn = other.stream_arn))
     order by other.last_contact_at desc nulls last, other.first_seen_at desc
     limit 1) as previous_stream
from tailwater.streams as mine
where pipeline = $1 and stream_arn = $2";

const READ_ONLY_SQL: &str = "select pg_is_in_recovery(), current_setting('transaction_read_only')::bool";

/// What went wrong while opening.
enum OpenFault {
    Sql(SqlFault),
    Failure(Failure),
}

impl From<SqlFault> for OpenFault {
    fn from(fault: SqlFault) -> Self {
        Self::Sql(fault)
    }
}

impl From<sqlx::Error> for OpenFault {
    fn from(error: sqlx::Error) -> Self {
        Self::Sql(SqlFault::Driver(error))
    }
}

/// A server that takes no writes, as after a fail-over to a standby.
pub(crate) async fn read_only_trouble(session: &mut Session, place: &str) -> Result<Option<Trouble>, SqlFault> {
    let Some(row) = session.row(sqlx::query(READ_ONLY_SQL)).await? else { return Ok(None) };
    let (standby, read_only): (bool, bool) = (row.try_get(0)?, row.try_get(1)?);
    let why = match (standby, read_only) {
        (true, _) => "is a standby",
        (false, true) => "is set to read-only transactions",
        (false, false) => return Ok(None),
    };
    Ok(Some(
        Trouble::new(
            TroubleKind::Environment,
            "sink.postgres.read_only",
            format!("Postgres at {place} {why}, so nothing can be written"),
        )
        .advise("lead the URL to the primary, or correct default_transaction_read_only"),
    ))
}

/// Takes the lane under a new epoch and reads what is durable.
pub(crate) async fn open(session: &mut Session, lane: &LaneIdentity) -> Result<(i64, Progress), Failure> {
    match try_open(session, lane).await {
        Ok(opened) => Ok(opened),
        Err(OpenFault::Failure(failure)) => Err(failure),
        Err(OpenFault::Sql(fault)) => Err(fault.failure(&lane.doing("opening"), lane.place())),
    }
}

async fn try_open(session: &mut Session, lane: &LaneIdentity) -> Result<(i64, Progress), OpenFault> {
    session.run("begin").await?;
    if let Some(trouble) = read_only_trouble(session, lane.place()).await? {
        return Err(OpenFault::Failure(Failure::Reopen(trouble)));
    }
    let query = sqlx::query(BUMP_SQL).bind(&lane.pipeline.name).bind(lane.number).bind(&lane.owner);
    let Some(row) = session.row(query).await? else {
        let holder = holder(session, lane).await?;
        return Err(OpenFault::Failure(fenced(lane, holder)));
    };
    let epoch: i64 = row.try_get(0)?;
    let progress = read_progress(session, lane).await?;
    session.run("commit").await?;
    Ok((epoch, progress))
}

/// Who holds the lane.
pub(crate) async fn holder(session: &mut Session, lane: &LaneIdentity) -> Result<Holder, SqlFault> {
    let query = sqlx::query(HOLDER_SQL).bind(&lane.pipeline.name).bind(lane.number).bind(&lane.owner);
    Ok(match session.row(query).await? {
        None => Holder::Nobody,
        Some(row) if row.try_get(0)? => Holder::Us,
        Some(_) => Holder::Another,
    })
}

async fn read_progress(session: &mut Session, lane: &LaneIdentity) -> Result<Progress, OpenFault> {
    let (pipeline, stream) = (&lane.pipeline.name, &lane.pipeline.stream.stream_arn);
    let query = sqlx::query(SHARDS_SQL).bind(pipeline).bind(stream).bind(lane.number);
    let shards = session.rows(query).await?.iter().map(read_shard).collect::<Result<_, _>>()?;
    let Some(row) = session.row(sqlx::query(STREAM_SQL).bind(pipeline).bind(stream)).await? else {
        return Ok(Progress { shards, ..Progress::default() });
    };
    let since_contact: Option<f64> = row.try_get("since_contact")?;
    Ok(Progress {
        shards,
        stream_known: row.try_get("stream_known")?,
        // A clock that was set back makes the time negative: then the contact was just now.
        since_contact: since_contact.map(|seconds| Duration::try_from_secs_f64(seconds).unwrap_or_default()),
        previous_stream: row.try_get("previous_stream")?,
    })
}

fn read_shard(row: &PgRow) -> Result<ShardProgress, OpenFault> {
    let parent: Option<&str> = row.try_get("parent")?;
    let position = read_position(row.try_get("position")?).map_err(Failure::Halt).map_err(OpenFault::Failure)?;
    Ok(ShardProgress { shard: ShardId::new(row.try_get("shard")?), parent: parent.map(ShardId::new), position })
}
