//! The statements about lanes, shards, gaps and dead letters, as the sink's SQL says them.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::commits::Claimed;
use super::executing::{Change, Executing};
use super::rows::{DeadLetterRow, GapRow, LaneRow, RowKey, RowValue, ShardRow, StoredCounts};
use super::sql_error::SqlError;

const MINUTE_MS: u64 = 60_000;

/// The row of a lane.
pub(crate) fn lane_key(pipeline: &str, lane: i32) -> RowKey {
    RowKey::Lane { pipeline: pipeline.to_owned(), lane }
}

pub(super) fn shard_key(pipeline: &str, stream_arn: &str, shard: &str) -> RowKey {
    RowKey::Shard { pipeline: pipeline.to_owned(), stream_arn: stream_arn.to_owned(), shard: shard.to_owned() }
}

/// `pg_advisory_xact_lock`: held until the transaction ends. No time-out but the statement's and the lock's.
pub(crate) async fn advisory_lock(sql: &Executing, number: i64) -> Result<(), SqlError> {
    sql.lock(&RowKey::AdvisoryLock(number)).await.map(drop)
}

/// Takes lanes 0 to `lanes` - 1 for a new owner: every epoch rises, in one order.
pub(crate) async fn take_lanes(sql: &Executing, pipeline: &str, lanes: i32, owner: &str) -> Result<(), SqlError> {
    claims(sql, pipeline, None, owner, None);
    for lane in 0..lanes {
        let first = RowValue::Lane(LaneRow { epoch: 1, owner: owner.to_owned(), brake: None });
        let taken = |stored: &RowValue| match stored {
            RowValue::Lane(row) => {
                Some(RowValue::Lane(LaneRow { epoch: row.epoch + 1, owner: owner.to_owned(), brake: row.brake }))
            }
            _ => None,
        };
        sql.upsert(&lane_key(pipeline, lane), first, taken).await?;
    }
    Ok(())
}

/// How many lanes the pipeline has.
pub(crate) fn count_lanes(sql: &Executing, pipeline: &str) -> i64 {
    let mine = |key: &RowKey| matches!(key, RowKey::Lane { pipeline: of, .. } if of == pipeline);
    let found = sql.scan(lane_key(pipeline, i32::MIN), mine).len();
    i64::try_from(found).unwrap_or(i64::MAX)
}

/// Raises the lane's epoch for its owner and gives it; nothing when the lane is not this owner's.
pub(crate) async fn bump_epoch(
    sql: &Executing,
    pipeline: &str,
    lane: i32,
    owner: &str,
) -> Result<Option<i64>, SqlError> {
    let key = lane_key(pipeline, lane);
    let raised = |value: &RowValue| match value {
        RowValue::Lane(row) if row.owner == owner => {
            Change::Put(RowValue::Lane(LaneRow { epoch: row.epoch + 1, ..row.clone() }))
        }
        _ => Change::Keep,
    };
    if !sql.change(&key, raised).await? {
        return Ok(None);
    }
    // `returning`: the lock is ours, so this does not wait.
    let epoch = match sql.lock(&key).await?.as_deref() {
        Some(RowValue::Lane(row)) => Some(row.epoch),
        _ => None,
    };
    claims(sql, pipeline, Some(lane), owner, epoch);
    Ok(epoch)
}

/// Locks the lane's row where epoch and owner are the expected ones. I2
pub(crate) async fn fence_lane(
    sql: &Executing,
    pipeline: &str,
    lane: i32,
    epoch: i64,
    owner: &str,
) -> Result<bool, SqlError> {
    claims(sql, pipeline, Some(lane), owner, Some(epoch));
    let held = |value: &RowValue| match value {
        RowValue::Lane(row) if row.epoch == epoch && row.owner == owner => Change::Put(value.clone()),
        _ => Change::Keep,
    };
    sql.change(&lane_key(pipeline, lane), held).await
}

/// The server notes under which ownership a session works, for those who look at its commits.
fn claims(sql: &Executing, pipeline: &str, lane: Option<i32>, owner: &str, epoch: Option<i64>) {
    let claimed = Claimed { pipeline: pipeline.to_owned(), lane, owner: owner.to_owned(), epoch };
    sql.with(|state| state.claims(sql.session(), claimed));
}

/// One shard's step.
#[derive(Clone, Debug)]
pub(crate) struct ShardStep {
    pub(crate) shard: String,
    /// The parent of a registration, the expected position of a move.
    pub(crate) begins: Option<String>,
    pub(crate) ends: String,
    pub(crate) read_until_ms: Option<i64>,
    pub(crate) counts: StoredCounts,
}

/// Which shards a step is about.
#[derive(Clone, Debug)]
pub(crate) struct LaneOfStream {
    pub(crate) pipeline: String,
    pub(crate) stream_arn: String,
    pub(crate) lane: i32,
}

/// Stores new shards and gives how many were new.
pub(crate) async fn register_shards(
    sql: &Executing,
    of: &LaneOfStream,
    steps: Vec<ShardStep>,
) -> Result<u64, SqlError> {
    let mut new = 0;
    for step in steps {
        let key = shard_key(&of.pipeline, &of.stream_arn, &step.shard);
        let row = ShardRow {
            parent: step.begins,
            lane: of.lane,
            position: step.ends,
            read_until_ms: step.read_until_ms,
            updated_at_ms: sql.now_ms(),
            counts: step.counts,
        };
        new += u64::from(sql.insert_or_nothing(&key, RowValue::Shard(row)).await?);
    }
    Ok(new)
}

/// Moves shards that stand where their steps begin and gives how many did. I2
pub(crate) async fn advance_shards(sql: &Executing, of: &LaneOfStream, steps: Vec<ShardStep>) -> Result<u64, SqlError> {
    let mut moved = 0;
    for step in steps {
        let key = shard_key(&of.pipeline, &of.stream_arn, &step.shard);
        let advanced = |value: &RowValue| match value {
            RowValue::Shard(row) if row.lane == of.lane && step.begins.as_ref() == Some(&row.position) => {
                Change::Put(RowValue::Shard(ShardRow {
                    position: step.ends.clone(),
                    read_until_ms: step.read_until_ms.or(row.read_until_ms),
                    updated_at_ms: sql.now_ms(),
                    counts: sum(row.counts, step.counts),
                    ..row.clone()
                }))
            }
            _ => Change::Keep,
        };
        moved += u64::from(sql.change(&key, advanced).await?);
    }
    Ok(moved)
}

/// Removes shards that stand at their end and gives how many did. I2
pub(crate) async fn forget_shards(
    sql: &Executing,
    of: &LaneOfStream,
    shards: Vec<String>,
    end: &str,
) -> Result<u64, SqlError> {
    let mut removed = 0;
    for shard in shards {
        let drained = |value: &RowValue| match value {
            RowValue::Shard(row) if row.lane == of.lane && row.position == end => Change::Remove,
            _ => Change::Keep,
        };
        removed += u64::from(sql.change(&shard_key(&of.pipeline, &of.stream_arn, &shard), drained).await?);
    }
    Ok(removed)
}

fn sum(stored: StoredCounts, step: StoredCounts) -> StoredCounts {
    StoredCounts {
        read: stored.read.saturating_add(step.read),
        written: stored.written.saturating_add(step.written),
        filtered: stored.filtered.saturating_add(step.filtered),
        dead_lettered: stored.dead_lettered.saturating_add(step.dead_lettered),
        suppressed: stored.suppressed.saturating_add(step.suppressed),
    }
}

/// Moves one event per mention of a shard from the written ones to the dead letters. I9
pub(crate) async fn recount_refused(
    sql: &Executing,
    pipeline: &str,
    stream_arn: &str,
    refused: Vec<String>,
) -> Result<(), SqlError> {
    let mut counts = BTreeMap::<String, i64>::new();
    for shard in refused {
        *counts.entry(shard).or_default() += 1;
    }
    for (shard, count) in counts {
        let step = StoredCounts { written: -count, dead_lettered: count, ..StoredCounts::default() };
        let recounted = |value: &RowValue| match value {
            RowValue::Shard(row) => {
                Change::Put(RowValue::Shard(ShardRow { counts: sum(row.counts, step), ..row.clone() }))
            }
            _ => Change::Keep,
        };
        sql.change(&shard_key(pipeline, stream_arn, &shard), recounted).await?;
    }
    Ok(())
}

/// The shards of a lane with parent and position, by id.
pub(crate) fn shards_of_lane(sql: &Executing, of: &LaneOfStream) -> Vec<(String, ShardRow)> {
    let found = shards_of_stream(sql, &of.pipeline, &of.stream_arn);
    found.into_iter().filter(|(_, row)| row.lane == of.lane).collect()
}

/// The shards of a stream in all lanes, by id.
pub(crate) fn shards_of_stream(sql: &Executing, of_pipeline: &str, of_stream: &str) -> Vec<(String, ShardRow)> {
    let mine = |key: &RowKey| matches!(key, RowKey::Shard { pipeline, stream_arn, .. } if pipeline == of_pipeline && stream_arn == of_stream);
    let found = sql.scan(shard_key(of_pipeline, of_stream, ""), mine).into_iter();
    let shard = |(key, value): (RowKey, Arc<RowValue>)| match (key, &*value) {
        (RowKey::Shard { shard, .. }, RowValue::Shard(row)) => Some((shard, row.clone())),
        _ => None,
    };
    found.filter_map(shard).collect()
}

/// Stores a brake where epoch and owner of the lane are the expected ones. I2
pub(crate) async fn store_brake(
    sql: &Executing,
    of: (&str, i32),
    epoch: i64,
    owner: &str,
    per_minute_max: u32,
) -> Result<bool, SqlError> {
    let braked = |value: &RowValue| match value {
        RowValue::Lane(row) if row.epoch == epoch && row.owner == owner => {
            Change::Put(RowValue::Lane(LaneRow { brake: Some((per_minute_max, sql.now_ms())), ..row.clone() }))
        }
        _ => Change::Keep,
    };
    sql.change(&lane_key(of.0, of.1), braked).await
}

/// Removes the brakes that are smaller than this, and gives the greatest that stays.
pub(crate) async fn lift_brakes(
    sql: &Executing,
    pipeline: &str,
    per_minute_max: u32,
) -> Result<Option<(u32, u64)>, SqlError> {
    let mine = |key: &RowKey| matches!(key, RowKey::Lane { pipeline: of, .. } if of == pipeline);
    let mut greatest = None;
    for (key, value) in sql.scan(lane_key(pipeline, i32::MIN), mine) {
        let RowValue::Lane(LaneRow { brake, .. }) = *value else { continue };
        if brake.is_some_and(|(stored, _)| stored >= per_minute_max) {
            greatest = greatest.max(brake);
            continue;
        }
        let lifted = |value: &RowValue| match value {
            RowValue::Lane(row) if row.brake.is_some() => {
                Change::Put(RowValue::Lane(LaneRow { brake: None, ..row.clone() }))
            }
            _ => Change::Keep,
        };
        sql.change(&key, lifted).await?;
    }
    Ok(greatest)
}

/// How many dead letters of the pipeline are not older than a minute.
pub(crate) fn recent_dead_letters(sql: &Executing, pipeline: &str) -> u64 {
    let (since_ms, now_ms) = (sql.now_ms().checked_sub(MINUTE_MS), sql.now_ms());
    let of_last_minute = |stored_ms: u64| stored_ms <= now_ms && since_ms.is_none_or(|since| stored_ms > since);
    let all = |key: &RowKey| matches!(key, RowKey::DeadLetter(_));
    let recent = |value: &RowValue| match value {
        RowValue::DeadLetter(row) => row.pipeline == pipeline && of_last_minute(row.stored_at_ms),
        _ => false,
    };
    sql.scan(RowKey::DeadLetter(0), all).iter().filter(|(_, value)| recent(value)).count() as u64
}

/// Keeps records aside.
pub(crate) async fn store_dead_letters(sql: &Executing, letters: Vec<DeadLetterRow>) -> Result<(), SqlError> {
    for mut letter in letters {
        letter.stored_at_ms = sql.now_ms();
        let texts =
            [&letter.shard, &letter.sequence_number, &letter.event_id, &letter.code, &letter.error, &letter.record];
        if texts.iter().any(|text| text.contains('\0')) {
            return Err(SqlError::of("22021"));
        }
        let number = sql.with(|state| state.engine.next_dead_letter());
        sql.insert(&RowKey::DeadLetter(number), RowValue::DeadLetter(letter)).await?;
    }
    Ok(())
}

/// One gap to record: its shard, cause and bound, and the rest of its row.
#[derive(Clone, Debug)]
pub(crate) struct GapToStore {
    pub(crate) shard: Option<String>,
    pub(crate) cause: String,
    pub(crate) after: String,
    pub(crate) since_ms: Option<i64>,
    pub(crate) row: GapRow,
}

/// Records gaps, of those with the same key the newest; one that is there already grows. I8
pub(crate) async fn store_gaps(
    sql: &Executing,
    pipeline: &str,
    stream_arn: &str,
    gaps: Vec<GapToStore>,
) -> Result<(), SqlError> {
    let mut newest: BTreeMap<RowKey, GapRow> = BTreeMap::new();
    for GapToStore { shard, cause, after, since_ms, row } in gaps {
        let (pipeline, stream_arn) = (pipeline.to_owned(), stream_arn.to_owned());
        let key = RowKey::Gap { pipeline, stream_arn, shard: shard.unwrap_or_default(), cause, after, since_ms };
        let is_newer = newest.get(&key).is_none_or(|other| other.until_ms < row.until_ms);
        if is_newer {
            newest.insert(key, row);
        }
    }
    for (key, row) in newest {
        let grown = row.clone();
        let merge = move |stored: &RowValue| match stored {
            RowValue::Gap(stored) => {
                Some(RowValue::Gap(GapRow { until_ms: stored.until_ms.max(grown.until_ms), ..grown }))
            }
            _ => None,
        };
        sql.upsert(&key, RowValue::Gap(row), merge).await?;
    }
    Ok(())
}
