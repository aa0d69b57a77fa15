//! Statements about lanes and their owners.

use sqlx::Row;
use sqlx::postgres::PgRow;
use tailwater_model::Brake;

use crate::fence::Holder;
use crate::inline::Inline;
use crate::lane::LaneIdentity;
use crate::mirror_table::MirrorTable;
use crate::session::{Session, SqlFault};
use crate::statements::{HeldLane, WriteAccess};

const BUMP_SQL: &str = "
update tailwater.lanes set epoch = epoch + 1, opened_at = now()
where pipeline = $1 and lane = $2 and owner = $3::uuid
returning epoch";

const HOLDER_SQL: &str = "
select lanes.owner = $3::uuid, coalesce(owners.claim < $4, false)
from tailwater.lanes left join tailwater.owners using (pipeline, owner) where pipeline = $1 and lane = $2";

/// A mirror table that is missing is no other one: whoever writes to it is told.
const LANE_SQL: &str = "
update tailwater.lanes as mine set committed_at = now()
from (values (1)) as one left join tailwater.targets as target on target.pipeline = $1
where mine.pipeline = $1 and mine.lane = $2 and mine.epoch = $3 and mine.owner = $4::uuid
returning coalesce(target.target_oid <> pg_catalog.to_regclass($5)::oid::int8, false),
    coalesce(target.begun, true), coalesce(target.written, true)";

const READ_ONLY_SQL: &str = "select pg_is_in_recovery(), current_setting('transaction_read_only')::bool";

/// The rows are taken in one order, so that two who claim cannot deadlock with one another.
const LANES_SQL: &str = "
insert into tailwater.lanes (pipeline, lane, epoch, owner)
select $1, lane, 1, $3::uuid from generate_series(0, $2 - 1) as lane
on conflict (pipeline, lane) do update set epoch = lanes.epoch + 1, owner = excluded.owner, claimed_at = now()";

const BRAKE_SQL: &str = "
update tailwater.lanes set brake = $5, braked_at = now()
where pipeline = $1 and lane = $2 and epoch = $3 and owner = $4::uuid";

const LIFT_SQL: &str = "
with lifted as (
    update tailwater.lanes set brake = null, braked_at = null where pipeline = $1 and brake < $2
)
select brake, to_char(braked_at at time zone 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')
from tailwater.lanes where pipeline = $1 and brake >= $2 order by brake desc limit 1";

pub(super) async fn write_access(session: &mut Session) -> Result<WriteAccess, SqlFault> {
    let row = only(session.ask(READ_ONLY_SQL).await?)?;
    let (standby, read_only): (bool, bool) = (row.try_get(0)?, row.try_get(1)?);
    Ok(match (standby, read_only) {
        (true, _) => WriteAccess::Standby,
        (false, true) => WriteAccess::ReadOnly,
        (false, false) => WriteAccess::Writable,
    })
}

pub(super) async fn bump_epoch(session: &mut Session, lane: &LaneIdentity) -> Result<Option<i64>, SqlFault> {
    let bump = of_owner(BUMP_SQL, lane);
    Ok(session.ask(bump.sql()).await?.first().map(|row| row.try_get(0)).transpose()?)
}

pub(super) async fn holder(session: &mut Session, lane: &LaneIdentity) -> Result<Holder, SqlFault> {
    let rows = session.ask(of_owner(HOLDER_SQL, lane).number(lane.claim).sql()).await?;
    let Some(row) = rows.first() else { return Ok(Holder::Nobody) };
    let (is_ours, is_older): (bool, bool) = (row.try_get(0)?, row.try_get(1)?);
    Ok(match (is_ours, is_older) {
        (true, _) => Holder::Us,
        (false, true) => Holder::Older,
        (false, false) => Holder::Another,
    })
}

pub(super) async fn hold_lane(
    session: &mut Session,
    table: &MirrorTable,
    lane: &LaneIdentity,
    epoch: i64,
) -> Result<Option<HeldLane>, SqlFault> {
    let hold = Inline::new(LANE_SQL).text(&lane.pipeline.name).number(lane.number.into()).number(epoch);
    let rows = session.ask(hold.text(&lane.owner).text(&table.place()).sql()).await?;
    let Some(row) = rows.first() else { return Ok(None) };
    Ok(Some(HeldLane { is_another_table: row.try_get(0)?, has_begun: row.try_get(1)?, has_written: row.try_get(2)? }))
}

pub(super) async fn lane_count(session: &mut Session, pipeline: &str) -> Result<i64, SqlFault> {
    let count = Inline::new("select count(*) from tailwater.lanes where pipeline = $1").text(pipeline);
    Ok(only(session.ask(count.sql()).await?)?.try_get(0)?)
}

pub(super) async fn new_owner(session: &mut Session) -> Result<String, SqlFault> {
    Ok(only(session.ask("select gen_random_uuid()::text").await?)?.try_get(0)?)
}

pub(super) async fn take_lanes(session: &mut Session, pipeline: &str, lanes: i32, owner: &str) -> Result<(), SqlFault> {
    session.run(Inline::new(LANES_SQL).text(pipeline).number(lanes.into()).text(owner).sql()).await
}

fn of_owner(sql: &'static str, lane: &LaneIdentity) -> Inline {
    Inline::new(sql).text(&lane.pipeline.name).number(lane.number.into()).text(&lane.owner)
}

fn only(rows: Vec<PgRow>) -> Result<PgRow, SqlFault> {
    Ok(rows.into_iter().next().ok_or(sqlx::Error::RowNotFound)?)
}

pub(super) async fn store_brake(
    session: &mut Session,
    lane: &LaneIdentity,
    epoch: i64,
    per_minute_max: u32,
) -> Result<u64, SqlFault> {
    let query = sqlx::query(BRAKE_SQL).bind(&lane.pipeline.name).bind(lane.number).bind(epoch).bind(&lane.owner);
    session.execute(query.bind(i64::from(per_minute_max))).await
}

pub(super) async fn lift_brakes(
    session: &mut Session,
    pipeline: &str,
    per_minute_max: u32,
) -> Result<Option<Brake>, SqlFault> {
    let query = sqlx::query(LIFT_SQL).bind(pipeline).bind(i64::from(per_minute_max));
    let Some(row) = session.row(query).await? else { return Ok(None) };
    let (brake, since): (i64, String) = (row.try_get(0)?, row.try_get(1)?);
    Ok(Some(Brake { per_minute_max: u32::try_from(brake).unwrap_or(u32::MAX), since }))
}
