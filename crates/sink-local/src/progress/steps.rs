//! The steps of shards: each applies only where it fits (I2).

use sqlx::sqlite::SqliteConnection;
use tailwater_model::{Advance, Batch, Failure, Position, ServiceTime, ShardId, Step, Trouble, TroubleKind};

use super::{LaneClaim, now};
use crate::database::Fault;

/// Stores the step of a batch, with how far in time its shard was read.
pub(super) async fn store_step(
    connection: &mut SqliteConnection,
    claim: &LaneClaim,
    batch: &Batch,
) -> Result<(), Fault> {
    let stored = match &batch.step {
        Step::Register { parent, position } => register(connection, claim, batch, parent.as_ref(), position).await?,
        Step::Advance(advance) => self::advance(connection, claim, batch, advance).await?,
        Step::Forget => forget(connection, claim, &batch.shard).await?,
    };
    if stored == 1 {
        return Ok(());
    }
    // I2: what is durable differs from what the lane believes, so the lane has to look again.
    let step = match &batch.step {
        Step::Register { .. } => "is stored already".to_owned(),
        Step::Advance(advance) => format!("is not stored at position {}", advance.from),
        Step::Forget => format!("is not stored at position {}", Position::End),
    };
    let message = format!("shard {} {step}: the step does not fit", batch.shard);
    Err(Failure::Reopen(Trouble::new(TroubleKind::Runtime, "sink.step_refused", message)).into())
}

async fn register(
    connection: &mut SqliteConnection,
    claim: &LaneClaim,
    batch: &Batch,
    parent: Option<&ShardId>,
    position: &Position,
) -> Result<u64, sqlx::Error> {
    let counts = &batch.counts;
    let inserted = sqlx::query(concat!(
        "insert into tailwater_shards (pipeline, stream_arn, shard, parent, lane, position, read_until_ms, \
         read, written, filtered, dead_lettered, suppressed, updated_at) values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ",
        now!(),
        ") on conflict do nothing"
    ))
    .bind(&claim.pipeline.name)
    .bind(&claim.pipeline.stream.stream_arn)
    .bind(batch.shard.as_str())
    .bind(parent.map(ShardId::as_str))
    .bind(claim.lane)
    .bind(position.to_string())
    .bind(batch.read_until.map(ServiceTime::ms))
    .bind(integer(counts.read))
    .bind(integer(counts.written))
    .bind(integer(counts.filtered))
    .bind(integer(counts.dead_lettered))
    .bind(integer(counts.suppressed))
    .execute(connection)
    .await?;
    Ok(inserted.rows_affected())
}

async fn advance(
    connection: &mut SqliteConnection,
    claim: &LaneClaim,
    batch: &Batch,
    advance: &Advance,
) -> Result<u64, sqlx::Error> {
    let counts = &batch.counts;
    let updated = sqlx::query(concat!(
        "update tailwater_shards set position = ?, read_until_ms = coalesce(?, read_until_ms), read = read + ?, \
         written = written + ?, filtered = filtered + ?, dead_lettered = dead_lettered + ?, \
         suppressed = suppressed + ?, updated_at = ",
        now!(),
        " where pipeline = ? and stream_arn = ? and shard = ? and lane = ? and position = ?"
    ))
    .bind(advance.to.to_string())
    .bind(batch.read_until.map(ServiceTime::ms))
    .bind(integer(counts.read))
    .bind(integer(counts.written))
    .bind(integer(counts.filtered))
    .bind(integer(counts.dead_lettered))
    .bind(integer(counts.suppressed))
    .bind(&claim.pipeline.name)
    .bind(&claim.pipeline.stream.stream_arn)
    .bind(batch.shard.as_str())
    .bind(claim.lane)
    .bind(advance.from.to_string())
    .execute(connection)
    .await?;
    Ok(updated.rows_affected())
}

async fn forget(connection: &mut SqliteConnection, claim: &LaneClaim, shard: &ShardId) -> Result<u64, sqlx::Error> {
    let deleted = sqlx::query(
        "delete from tailwater_shards \
         where pipeline = ? and stream_arn = ? and shard = ? and lane = ? and position = ?",
    )
    .bind(&claim.pipeline.name)
    .bind(&claim.pipeline.stream.stream_arn)
    .bind(shard.as_str())
    .bind(claim.lane)
    .bind(Position::End.to_string())
    .execute(connection)
    .await?;
    Ok(deleted.rows_affected())
}

/// SQLite's integers end at 2^63 - 1, which no count of records reaches.
fn integer(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
