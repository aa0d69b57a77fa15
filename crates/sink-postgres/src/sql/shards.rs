//! Statements about shards.

use sqlx::Row;
use sqlx::postgres::PgRow;
use tailwater_model::{Counts, Position, ServiceTime, ShardId, ShardProgress, Trouble};

use super::moment::{moment, stored};
use crate::fence::read_position;
use crate::inline::Inline;
use crate::lane::LaneIdentity;
use crate::session::{Session, SqlFault};
use crate::statements::{Answer, Move, NewShard};

const SHARDS_SQL: &str = "
select shard, parent, position,
    (extract(epoch from coalesce(read_until, last_contact_at)) * 1000)::int8 as read_until_ms
from tailwater.shards left join tailwater.streams using (pipeline, stream_arn)
where pipeline = $1 and stream_arn = $2 and lane = coalesce($3, lane)
order by shard";

const REGISTER_SQL: &str = "
insert into tailwater.shards
    (pipeline, stream_arn, lane, shard, parent, position, read_until,
    read, written, filtered, dead_lettered, suppressed)
select $1, $2, $3, shard, parent, position, timestamptz 'epoch' + read_until_ms::float8 * interval '1 millisecond',
    read, written, filtered, dead_lettered, suppressed
from unnest($4::text[], $5::text[], $6::text[], $7::int8[],
        $8::int8[], $9::int8[], $10::int8[], $11::int8[], $12::int8[])
    as step (shard, parent, position, read_until_ms, read, written, filtered, dead_lettered, suppressed)
on conflict do nothing
returning 1";

const ADVANCE_SQL: &str = "
update tailwater.shards as stored set position = step.ends, updated_at = now(),
    read_until = coalesce(timestamptz 'epoch' + step.read_until_ms::float8 * interval '1 millisecond', stored.read_until),
    read = stored.read + step.read, written = stored.written + step.written,
    filtered = stored.filtered + step.filtered, dead_lettered = stored.dead_lettered + step.dead_lettered,
    suppressed = stored.suppressed + step.suppressed
from unnest($4::text[], $5::text[], $6::text[], $7::int8[],
        $8::int8[], $9::int8[], $10::int8[], $11::int8[], $12::int8[])
    as step (shard, begins, ends, read_until_ms, read, written, filtered, dead_lettered, suppressed)
where stored.pipeline = $1 and stored.stream_arn = $2 and stored.lane = $3
    and stored.shard = step.shard and stored.position = step.begins
returning 1";

const FORGET_SQL: &str = "
delete from tailwater.shards as stored using pg_catalog.unnest($4::text[]) as step (shard)
where stored.pipeline = $1 and stored.stream_arn = $2 and stored.lane = $3
    and stored.shard = step.shard and stored.position = $5";

/// The shards of a stream that belong to this lane, or to any.
pub(super) async fn stored_shards(
    session: &mut Session,
    pipeline: &str,
    stream_arn: &str,
    lane: Option<i32>,
) -> Answer<Result<Vec<ShardProgress>, Trouble>> {
    let query = sqlx::query(SHARDS_SQL).bind(pipeline).bind(stream_arn).bind(lane);
    session.rows(query).await?.iter().map(read_shard).collect()
}

fn read_shard(row: &PgRow) -> Answer<Result<ShardProgress, Trouble>> {
    let parent: Option<&str> = row.try_get("parent")?;
    let shard = ShardId::new(row.try_get("shard")?);
    let position = read_position(row.try_get("position")?);
    let read_until = moment(row, "read_until_ms")?;
    Ok(position.map(|position| ShardProgress { shard, parent: parent.map(ShardId::new), position, read_until }))
}

pub(super) async fn register(session: &mut Session, lane: &LaneIdentity, shards: &[NewShard<'_>]) -> Answer<u64> {
    let mut steps = Steps::default();
    for new in shards {
        let parent = new.parent.map(|parent| parent.as_str().to_owned());
        steps.push(new.shard, parent, new.to, new.read_until, new.counts);
    }
    steps.apply(session, lane, REGISTER_SQL).await
}

pub(super) async fn advance(session: &mut Session, lane: &LaneIdentity, moves: &[Move<'_>]) -> Answer<u64> {
    let mut steps = Steps::default();
    for one in moves {
        steps.push(one.shard, Some(one.from.to_string()), one.to, one.read_until, one.counts);
    }
    steps.apply(session, lane, ADVANCE_SQL).await
}

pub(super) async fn forget(session: &mut Session, lane: &LaneIdentity, shards: &[&ShardId]) -> Answer<u64> {
    let query = sqlx::query(FORGET_SQL)
        .bind(&lane.pipeline.name)
        .bind(&lane.pipeline.stream.stream_arn)
        .bind(lane.number)
        .bind(shards.iter().map(|shard| shard.as_str()).collect::<Vec<_>>())
        .bind(Position::End.to_string());
    session.execute(query).await
}

pub(super) async fn recount(session: &mut Session, lane: &LaneIdentity, refused: &[&ShardId]) -> Answer<()> {
    let shards: Vec<&str> = refused.iter().map(|shard| shard.as_str()).collect();
    // I9
    let query = sqlx::query(
        "update tailwater.shards as stored \
         set written = stored.written - refused.count, dead_lettered = stored.dead_lettered + refused.count \
         from (select shard, count(*) from pg_catalog.unnest($3::text[]) as one (shard) group by shard) as refused \
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
    read_until_ms: Vec<Option<i64>>,
    counts: [Vec<i64>; 5],
}

impl Steps {
    fn push(
        &mut self,
        shard: &ShardId,
        begins: Option<String>,
        ends: &Position,
        read_until: Option<ServiceTime>,
        counts: Counts,
    ) {
        self.shards.push(shard.as_str().to_owned());
        self.begins.push(begins);
        self.ends.push(ends.to_string());
        self.read_until_ms.push(read_until.map(stored));
        let figures = [counts.read, counts.written, counts.filtered, counts.dead_lettered, counts.suppressed];
        for (column, figure) in self.counts.iter_mut().zip(figures) {
            column.push(i64::try_from(figure).unwrap_or(i64::MAX));
        }
    }

    /// Gives how many shards fitted.
    async fn apply(self, session: &mut Session, lane: &LaneIdentity, sql: &'static str) -> Result<u64, SqlFault> {
        let statement = Inline::new(sql)
            .text(&lane.pipeline.name)
            .text(&lane.pipeline.stream.stream_arn)
            .number(lane.number.into())
            .texts(self.shards.iter().map(|shard| Some(shard.as_str())))
            .texts(self.begins.iter().map(Option::as_deref))
            .texts(self.ends.iter().map(|end| Some(end.as_str())))
            .numbers(self.read_until_ms);
        let statement = self
            .counts
            .into_iter()
            .fold(statement, |statement, column| statement.numbers(column.into_iter().map(Some)));
        Ok(session.ask(statement.sql()).await?.len() as u64)
    }
}
