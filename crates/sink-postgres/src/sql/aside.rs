//! Statements about dead letters and gaps.

use sqlx::Row;
use tailwater_model::{DeadLetter, Gap, ShardId};

use super::moment::stored;
use crate::document::storable;
use crate::lane::LaneIdentity;
use crate::session::{Session, SqlFault};

/// The time of storing, and not `now()`, which is when the transaction began: isolating rows can take minutes.
const DEAD_LETTERS_SQL: &str = "
insert into tailwater.dead_letters
    (pipeline, stream_arn, shard, sequence_number, event_id, code, error, record, stored_at)
select $1, $2, letter.*, clock_timestamp()
from unnest($3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[]) as letter";

/// A lock of its own for each pipeline. The text before its name keeps it apart from other people's locks.
const LOCK_SQL: &str = "select pg_advisory_xact_lock(hashtextextended('tailwater.dead_letters ' || $1, 0))";

/// The moments are queries of their own, so that they are computed once and the index is searched by them. A clock that was set
/// back leaves times to come: they are not of the last minute.
const RECENT_SQL: &str = "
select count(*) from tailwater.dead_letters
where pipeline = $1 and stored_at > (select clock_timestamp() - interval '1 minute')
    and stored_at <= (select clock_timestamp())";

/// A gap that is found again, after a restart, is the same gap, and has grown.
const GAPS_SQL: &str = "
insert into tailwater.gaps (pipeline, stream_arn, shard, cause, after, since, until, detail, stopped)
select distinct on (shard, cause, after, since_ms) $1, $2, shard, cause, after, timestamptz 'epoch' + since_ms::float8 * interval '1 millisecond',
    timestamptz 'epoch' + until_ms::float8 * interval '1 millisecond', detail, stopped
from unnest($3::text[], $4::text[], $5::text[], $6::int8[], $7::int8[], $8::text[], $9::bool[])
    as gap (shard, cause, after, since_ms, until_ms, detail, stopped)
order by shard, cause, after, since_ms, until_ms desc
on conflict (pipeline, stream_arn, coalesce(shard, ''), cause, after, coalesce(since, '-infinity'))
do update set until = greatest(gaps.until, excluded.until), detail = excluded.detail, stopped = excluded.stopped";

/// Only upwards: other lanes may be storing.
const RAISE_SQL: &str = "
select setval(sequence, greatest_id) from (
    select pg_get_serial_sequence('tailwater.dead_letters', 'id')::regclass, max(id) from tailwater.dead_letters
    union all
    select pg_get_serial_sequence('tailwater.gaps', 'id')::regclass, max(id) from tailwater.gaps
) as numbered (sequence, greatest_id)
where greatest_id > coalesce(pg_sequence_last_value(sequence), 0)";

pub(super) async fn raise_sequences(session: &mut Session) -> Result<(), SqlFault> {
    session.run(RAISE_SQL).await
}

pub(super) async fn lock_dead_letters(session: &mut Session, lane: &LaneIdentity) -> Result<(), SqlFault> {
    session.execute(sqlx::query(LOCK_SQL).bind(&lane.pipeline.name)).await.map(drop)
}

pub(super) async fn recent_dead_letters(session: &mut Session, lane: &LaneIdentity) -> Result<u64, SqlFault> {
    let row = session.row(sqlx::query(RECENT_SQL).bind(&lane.pipeline.name)).await?;
    let count: i64 = row.ok_or(sqlx::Error::RowNotFound)?.try_get(0)?;
    Ok(u64::try_from(count).unwrap_or_default())
}

pub(super) async fn store_dead_letters(
    session: &mut Session,
    lane: &LaneIdentity,
    letters: &[DeadLetter],
) -> Result<(), SqlFault> {
    let column = |of: fn(&DeadLetter) -> &str| letters.iter().map(|letter| storable(of(letter))).collect::<Vec<_>>();
    let query = sqlx::query(DEAD_LETTERS_SQL)
        .bind(&lane.pipeline.name)
        .bind(&lane.pipeline.stream.stream_arn)
        .bind(column(|letter| letter.shard.as_str()))
        .bind(column(|letter| letter.sequence_number.as_str()))
        .bind(column(|letter| &letter.event_id))
        .bind(column(|letter| letter.code))
        .bind(column(|letter| &letter.error))
        .bind(column(|letter| &letter.record));
    session.execute(query).await.map(drop)
}

pub(super) async fn store_gaps(session: &mut Session, lane: &LaneIdentity, gaps: &[Gap]) -> Result<(), SqlFault> {
    let shards: Vec<Option<&str>> = gaps.iter().map(|gap| gap.shard.as_ref().map(ShardId::as_str)).collect();
    let query = sqlx::query(GAPS_SQL)
        .bind(&lane.pipeline.name)
        .bind(&lane.pipeline.stream.stream_arn)
        .bind(shards)
        .bind(gaps.iter().map(|gap| gap.cause.as_str()).collect::<Vec<_>>())
        .bind(gaps.iter().map(|gap| gap.after.to_string()).collect::<Vec<_>>())
        .bind(gaps.iter().map(|gap| gap.since.map(stored)).collect::<Vec<_>>())
        .bind(gaps.iter().map(|gap| stored(gap.until)).collect::<Vec<_>>())
        .bind(gaps.iter().map(|gap| storable(&gap.detail)).collect::<Vec<_>>())
        .bind(gaps.iter().map(|gap| gap.stop).collect::<Vec<_>>());
    session.execute(query).await.map(drop)
}
