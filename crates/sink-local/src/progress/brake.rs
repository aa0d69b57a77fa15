//! The brake on dead letters ([`tailwater_model::Brake`]) in SQLite: looked at and counted within the commit's transaction, which
//! has the write lock, so no other lane stores any meanwhile.

use sqlx::sqlite::SqliteConnection;
use tailwater_model::{Brake, Group, TooManyDeadLetters};

use super::commit::fence;
use super::{Epoch, LaneClaim, now};
use crate::database::{Fault, begin};

/// Where a person finds the stored ones.
const WHERE_TO_LOOK: &str = "`select code, error, count(*) from tailwater_dead_letters group by 1, 2`";

/// Looks whether the store may take the group's dead letters, before it does.
pub(super) async fn check_rate(
    connection: &mut SqliteConnection,
    claim: &LaneClaim,
    group: &Group,
    per_minute_max: u32,
) -> Result<(), Fault> {
    let letters = group.batches.iter().flat_map(|batch| &batch.dead_letters);
    if letters.clone().next().is_none() {
        return Ok(());
    }
    // A clock that was set back leaves times to come: they are not of the last minute.
    let (recent,): (i64,) = sqlx::query_as(concat!(
        "select count(*) from tailwater_dead_letters where pipeline = ? \
         and stored_at > strftime('%Y-%m-%dT%H:%M:%fZ', 'now', '-' || ? || ' seconds') and stored_at <= ",
        now!()
    ))
    .bind(&claim.pipeline.name)
    .bind(TooManyDeadLetters::WINDOW.as_secs().to_string())
    .fetch_one(connection)
    .await?;
    let recent = u64::try_from(recent).unwrap_or_default();
    TooManyDeadLetters::check(recent, letters, per_minute_max).map_err(Fault::TooManyDeadLetters)
}

/// Stores the brake where that is what a commit failed for. Nothing else of the commit was stored.
pub(crate) async fn braked(
    connection: &mut SqliteConnection,
    claim: &LaneClaim,
    epoch: Epoch,
    per_minute_max: u32,
    fault: Fault,
) -> Fault {
    let Fault::TooManyDeadLetters(exceeded) = fault else { return fault };
    match store(connection, claim, epoch, per_minute_max).await {
        Ok(()) => Fault::halt(exceeded.trouble(WHERE_TO_LOOK)),
        // Without the brake this is no reason to halt: the group is read again, and is as much too much.
        Err(fault) => fault,
    }
}

async fn store(
    connection: &mut SqliteConnection,
    claim: &LaneClaim,
    epoch: Epoch,
    per_minute_max: u32,
) -> Result<(), Fault> {
    let mut transaction = begin(connection).await?;
    fence(&mut transaction, claim, epoch).await?;
    sqlx::query(concat!(
        "update tailwater_lanes set brake = ?, braked_at = ",
        now!(),
        " where pipeline = ? and lane = ?"
    ))
    .bind(per_minute_max)
    .bind(&claim.pipeline.name)
    .bind(claim.lane)
    .execute(&mut *transaction)
    .await?;
    Ok(transaction.commit().await?)
}

/// Lifts the pipeline's brakes that are smaller than this.
///
/// # Errors
/// One is not.
pub(super) async fn lift(connection: &mut SqliteConnection, pipeline: &str, per_minute_max: u32) -> Result<(), Fault> {
    sqlx::query("update tailwater_lanes set brake = null, braked_at = null where pipeline = ? and brake < ?")
        .bind(pipeline)
        .bind(per_minute_max)
        .execute(&mut *connection)
        .await?;
    let left: Option<(u32, String)> = sqlx::query_as(
        "select brake, braked_at from tailwater_lanes where pipeline = ? and brake is not null order by brake desc limit 1",
    )
    .bind(pipeline)
    .fetch_optional(connection)
    .await?;
    match left {
        None => Ok(()),
        Some((brake, since)) => {
            let brake = Brake { per_minute_max: brake, since };
            Err(Fault::halt(brake.trouble(pipeline, per_minute_max, WHERE_TO_LOOK)))
        }
    }
}
