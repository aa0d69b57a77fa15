//! The statements about who owns a pipeline, as the sink's SQL says them.

use tailwater_sink_postgres::{Holder, StoredOwner};

use super::executing::{Change, Executing};
use super::progress_sql::lane_key;
use super::rows::{RowKey, RowValue};
use super::sql_error::SqlError;

fn owner_key(pipeline: &str) -> RowKey {
    RowKey::Owner(pipeline.to_owned())
}

/// Who holds a lane, seen by this owner with this claim.
pub(crate) fn holder(sql: &Executing, pipeline: &str, lane: i32, owner: &str, claim: i64) -> Holder {
    match sql.read(&lane_key(pipeline, lane)).as_deref() {
        Some(RowValue::Lane(row)) if row.owner == owner => Holder::Us,
        Some(RowValue::Lane(row)) => {
            let stored = stored_owner(sql, pipeline).filter(|stored| stored.owner == row.owner);
            if stored.is_some_and(|stored| stored.claim < claim) { Holder::Older } else { Holder::Another }
        }
        _ => Holder::Nobody,
    }
}

/// Makes an owner that of the pipeline, and gives the number of the claim.
pub(crate) async fn own(sql: &Executing, pipeline: &str, owner: &str) -> Result<i64, SqlError> {
    let owned = |claim, life| RowValue::Owner(StoredOwner { owner: owner.to_owned(), claim, life, released: false });
    let again = |stored: &RowValue| match stored {
        RowValue::Owner(stored) => Some(owned(stored.claim + 1, stored.life + 1)),
        _ => None,
    };
    sql.upsert(&owner_key(pipeline), owned(1, 1), again).await?;
    // `returning`: the lock is ours, so this does not wait.
    match sql.lock(&owner_key(pipeline)).await?.as_deref() {
        Some(RowValue::Owner(stored)) => Ok(stored.claim),
        _ => Ok(0),
    }
}

/// Raises the life of this owner, if it is the pipeline's.
pub(crate) async fn show_life(sql: &Executing, pipeline: &str, owner: &str) -> Result<bool, SqlError> {
    change(sql, pipeline, owner, |stored| StoredOwner { life: stored.life + 1, ..stored }).await
}

/// This owner has handed over, if the pipeline is its own.
pub(crate) async fn hand_over(sql: &Executing, pipeline: &str, owner: &str) -> Result<(), SqlError> {
    change(sql, pipeline, owner, |stored| StoredOwner { released: true, ..stored }).await.map(drop)
}

/// Who owns the pipeline.
pub(crate) fn stored_owner(sql: &Executing, pipeline: &str) -> Option<StoredOwner> {
    match sql.read(&owner_key(pipeline)).as_deref() {
        Some(RowValue::Owner(stored)) => Some(stored.clone()),
        _ => None,
    }
}

async fn change(
    sql: &Executing,
    pipeline: &str,
    owner: &str,
    change: impl Fn(StoredOwner) -> StoredOwner + Send,
) -> Result<bool, SqlError> {
    let changed = |value: &RowValue| match value {
        RowValue::Owner(stored) if stored.owner == owner => Change::Put(RowValue::Owner(change(stored.clone()))),
        _ => Change::Keep,
    };
    sql.change(&owner_key(pipeline), changed).await
}
