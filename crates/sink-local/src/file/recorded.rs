//! How much of the data file its progress stands for.

use sqlx::sqlite::SqliteConnection;

use crate::database::{Fault, begin};
use crate::progress::{Epoch, LaneClaim, fence};

/// Bytes of the data file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Recorded {
    /// What commits have made durable.
    pub(super) length: u64,
    /// How far the commit behind it may have written. What reaches further was not written by one commit: the progress is older than
    /// the file, or somebody else writes.
    pub(super) length_max: u64,
}

/// Nothing before the first claim has bound the progress.
pub(super) async fn stored(connection: &mut SqliteConnection) -> Result<Option<Recorded>, Fault> {
    let found: Option<(Option<i64>, Option<i64>)> =
        sqlx::query_as("select data_length_bytes, data_length_bytes_max from tailwater_lanes")
            .fetch_optional(connection)
            .await?;
    let (length, length_max) = found.unwrap_or_default();
    let bytes = |stored: i64| u64::try_from(stored).ok();
    let Some(length) = length.and_then(bytes) else { return Ok(None) };
    // Versions before this column did not say how far.
    Ok(Some(Recorded { length, length_max: length_max.and_then(bytes).unwrap_or(u64::MAX) }))
}

/// The file is durable so far.
pub(super) async fn store(connection: &mut SqliteConnection, claim: &LaneClaim, length: u64) -> Result<(), Fault> {
    sqlx::query(
        "update tailwater_lanes set data_length_bytes = ?3, data_length_bytes_max = ?3 where pipeline = ?1 and lane = ?2",
    )
    .bind(&claim.pipeline.name)
    .bind(claim.lane)
    .bind(integer(length))
    .execute(connection)
    .await?;
    Ok(())
}

/// Tells, durably and before the first byte, how far the next commit will write.
pub(super) async fn reserve(
    connection: &mut SqliteConnection,
    claim: &LaneClaim,
    epoch: Epoch,
    length_max: u64,
) -> Result<(), Fault> {
    let mut transaction = begin(connection).await?;
    fence(&mut transaction, claim, epoch).await?;
    sqlx::query("update tailwater_lanes set data_length_bytes_max = ?3 where pipeline = ?1 and lane = ?2")
        .bind(&claim.pipeline.name)
        .bind(claim.lane)
        .bind(integer(length_max))
        .execute(&mut *transaction)
        .await?;
    Ok(transaction.commit().await?)
}

fn integer(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}
