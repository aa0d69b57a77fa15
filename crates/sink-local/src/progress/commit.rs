//! What a commit stores beside the data: the fence, the steps, gaps, dead letters, and that the stream is known.

use sqlx::sqlite::SqliteConnection;
use tailwater_model::{Committed, DeadLetter, Failure, Gap, Group, ServiceTime, ShardId, Trouble, TroubleKind};

use super::brake::check_rate;
use super::steps::store_step;
use super::stream::store_first_listing;
use super::target::mark_begun;
use super::{Epoch, LaneClaim, now, taken_over};
use crate::database::Fault;

/// Stores all of the group but its events. The first statement is the fence. The caller commits, or rolls back after
/// an error.
pub(crate) async fn store_group(
    connection: &mut SqliteConnection,
    claim: &LaneClaim,
    epoch: Epoch,
    group: &Group,
    dead_letters_per_minute_max: u32,
) -> Result<Committed, Fault> {
    fence(connection, claim, epoch).await?;
    check_rate(connection, claim, group, dead_letters_per_minute_max).await?;
    for batch in &group.batches {
        store_step(connection, claim, batch).await?;
        if let Some(gap) = &batch.gap {
            store_gap(connection, claim, gap).await?;
        }
        for letter in &batch.dead_letters {
            store_dead_letter(connection, claim, letter).await?;
        }
    }
    if let Some(listing) = group.first_listing {
        store_first_listing(connection, claim, listing).await?;
    }
    let committed = Committed::of_group(group);
    mark_begun(connection, &claim.pipeline.name, group, committed.written).await?;
    Ok(committed)
}

/// Holds until the commit, because the transaction has the write lock (I2).
pub(crate) async fn fence(connection: &mut SqliteConnection, claim: &LaneClaim, epoch: Epoch) -> Result<(), Fault> {
    let found: Option<(String, i64)> =
        sqlx::query_as("select owner, epoch from tailwater_lanes where pipeline = ? and lane = ?")
            .bind(&claim.pipeline.name)
            .bind(claim.lane)
            .fetch_optional(connection)
            .await?;
    match found {
        Some((owner, stored)) if owner == claim.owner && stored == epoch.0 => Ok(()),
        Some((owner, _)) if owner == claim.owner => {
            let message = format!("lane {} was opened again by a newer session", claim.lane);
            Err(Failure::Reopen(Trouble::new(TroubleKind::Runtime, "sink.step_refused", message)).into())
        }
        _ => Err(Fault::halt(taken_over(claim))),
    }
}

async fn store_gap(connection: &mut SqliteConnection, claim: &LaneClaim, gap: &Gap) -> Result<(), sqlx::Error> {
    // The same gap may be found again after each restart: it is one gap, which has grown.
    sqlx::query(concat!(
        "insert into tailwater_gaps values (?, ?, ?, ?, ?, ?, ?, ?, ?, ",
        now!(),
        ") on conflict (pipeline, stream_arn, shard, cause, after_position, coalesce(since_ms, '')) do update set \
         until_ms = max(coalesce(until_ms, excluded.until_ms), excluded.until_ms), detail = excluded.detail, \
         stopped = excluded.stopped"
    ))
    .bind(&claim.pipeline.name)
    .bind(&claim.pipeline.stream.stream_arn)
    .bind(gap.shard.as_ref().map_or("", ShardId::as_str))
    .bind(gap.cause.as_str())
    .bind(gap.after.to_string())
    .bind(gap.since.map(ServiceTime::ms))
    .bind(gap.until.ms())
    .bind(&gap.detail)
    .bind(gap.stop)
    .execute(connection)
    .await
    .map(drop)
}

async fn store_dead_letter(
    connection: &mut SqliteConnection,
    claim: &LaneClaim,
    letter: &DeadLetter,
) -> Result<(), sqlx::Error> {
    sqlx::query(concat!("insert into tailwater_dead_letters values (null, ?, ?, ?, ?, ?, ?, ?, ?, ", now!(), ")"))
        .bind(&claim.pipeline.name)
        .bind(&claim.pipeline.stream.stream_arn)
        .bind(letter.shard.as_str())
        .bind(letter.sequence_number.to_string())
        .bind(&*letter.event_id)
        .bind(letter.code)
        .bind(&letter.error)
        .bind(&letter.record)
        .execute(connection)
        .await
        .map(drop)
}
