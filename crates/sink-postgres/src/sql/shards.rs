//! Statements about streams and shards.

use std::time::Duration;

use sqlx::Row;
use sqlx::postgres::PgRow;
use tailwater_model::{Counts, PipelineIdentity, ShardId, ShardProgress, Trouble};

use crate::fence::read_position;
use crate::lane::LaneIdentity;
use crate::session::{Session, SqlFault};
use crate::statements::{Answer, Move, NewShard, StoredStream};

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

const REGISTER_SQL: &str = "
insert into tailwater.shards
    (pipeline, stream_arn, lane, shard, parent, position, read, written, filtered, dead_lettered, suppressed)
select $1, $2, $3, step.*
from unnest($4::text[], $5::text[], $6::text[], $7::int8[], $8::int8[], $9::int8[], $10::int8[], $11::int8[]) as step
on conflict do nothing";

const ADVANCE_SQL: &str = "
update tailwater.shards as stored set position = step.ends, updated_at = now(),
    read = stored.read + step.read, written = stored.written + step.written,
    filtered = stored.filtered + step.filtered, dead_lettered = stored.dead_lettered + step.dead_lettered,
    suppressed = stored.suppressed + step.suppressed
from unnest($4::text[], $5::text[], $6::text[], $7::int8[], $8::int8[], $9::int8[], $10::int8[], $11::int8[])
    as step (shard, begins, ends, read, written, filtered, dead_lettered, suppressed)
where stored.pipeline = $1 and stored.stream_arn = $2 and stored.lane = $3
    and stored.shard = step.shard and stored.position = step.begins";

const ADD_STREAM_SQL: &str = "
insert into tailwater.streams (pipeline, stream_arn, table_name, table_id) values ($1, $2, $3, $4)
on conflict do nothing";

pub(super) async fn stored_shards(
    session: &mut Session,
    lane: &LaneIdentity,
) -> Answer<Result<Vec<ShardProgress>, Trouble>> {
    let (pipeline, stream) = (&lane.pipeline.name, &lane.pipeline.stream.stream_arn);
    let query = sqlx::query(SHARDS_SQL).bind(pipeline).bind(stream).bind(lane.number);
    session.rows(query).await?.iter().map(read_shard).collect()
}

fn read_shard(row: &PgRow) -> Answer<Result<ShardProgress, Trouble>> {
    let parent: Option<&str> = row.try_get("parent")?;
    let shard = ShardId::new(row.try_get("shard")?);
    let position = read_position(row.try_get("position")?);
    Ok(position.map(|position| ShardProgress { shard, parent: parent.map(ShardId::new), position }))
}

pub(super) async fn stored_stream(session: &mut Session, lane: &LaneIdentity) -> Answer<Option<StoredStream>> {
    let (pipeline, stream) = (&lane.pipeline.name, &lane.pipeline.stream.stream_arn);
    let Some(row) = session.row(sqlx::query(STREAM_SQL).bind(pipeline).bind(stream)).await? else { return Ok(None) };
    let since_contact: Option<f64> = row.try_get("since_contact")?;
    Ok(Some(StoredStream {
        stream_known: row.try_get("stream_known")?,
        // A clock that was set back makes the time negative: then the contact was just now.
        since_contact: since_contact.map(|seconds| Duration::try_from_secs_f64(seconds).unwrap_or_default()),
        previous_stream: row.try_get("previous_stream")?,
    }))
}

pub(super) async fn add_stream(session: &mut Session, identity: &PipelineIdentity) -> Answer<()> {
    let stream = &identity.stream;
    let query = sqlx::query(ADD_STREAM_SQL)
        .bind(&identity.name)
        .bind(&stream.stream_arn)
        .bind(&stream.table)
        .bind(&stream.table_id);
    session.execute(query).await.map(drop)
}

pub(super) async fn register(session: &mut Session, lane: &LaneIdentity, shards: &[NewShard<'_>]) -> Answer<u64> {
    let mut steps = Steps::default();
    for new in shards {
        steps.push(new.shard, new.parent.map(|parent| parent.as_str().to_owned()), new.to.to_string(), new.counts);
    }
    steps.apply(session, lane, REGISTER_SQL).await
}

pub(super) async fn advance(session: &mut Session, lane: &LaneIdentity, moves: &[Move<'_>]) -> Answer<u64> {
    let mut steps = Steps::default();
    for one in moves {
        steps.push(one.shard, Some(one.from.to_string()), one.to.to_string(), one.counts);
    }
    steps.apply(session, lane, ADVANCE_SQL).await
}

pub(super) async fn recount(session: &mut Session, lane: &LaneIdentity, refused: &[&ShardId]) -> Answer<()> {
    let shards: Vec<&str> = refused.iter().map(|shard| shard.as_str()).collect();
    // I9
    let query = sqlx::query(
        "update tailwater.shards as stored \
         set written = stored.written - refused.count, dead_lettered = stored.dead_lettered + refused.count \
         from (select shard, count(*) from unnest($3::text[]) as one (shard) group by shard) as refused \
         where stored.pipeline = $1 and stored.stream_arn = $2 and stored.shard = refused.shard",
    )
    .bind(&lane.pipeline.name)
    .bind(&lane.pipeline.stream.stream_arn)
    .bind(shards);
    session.execute(query).await.map(drop)
}

/// Steps as arrays.
#[derive(Default)]
struct Steps {
    shards: Vec<String>,
    /// The parent of a registration, the expected position of a move.
    begins: Vec<Option<String>>,
    ends: Vec<String>,
    counts: [Vec<i64>; 5],
}

impl Steps {
    fn push(&mut self, shard: &ShardId, begins: Option<String>, ends: String, counts: Counts) {
        self.shards.push(shard.as_str().to_owned());
        self.begins.push(begins);
        self.ends.push(ends);
        let figures = [counts.read, counts.written, counts.filtered, counts.dead_lettered, counts.suppressed];
        for (column, figure) in self.counts.iter_mut().zip(figures) {
            column.push(i64::try_from(figure).unwrap_or(i64::MAX));
        }
    }

    /// Gives how many shards fitted.
    async fn apply(self, session: &mut Session, lane: &LaneIdentity, sql: &'static str) -> Result<u64, SqlFault> {
        let query = sqlx::query(sql)
            .bind(&lane.pipeline.name)
            .bind(&lane.pipeline.stream.stream_arn)
            .bind(lane.number)
            .bind(self.shards)
            .bind(self.begins)
            .bind(self.ends);
        let query = self.counts.into_iter().fold(query, |query, column| query.bind(column));
        session.execute(query).await
    }
}
