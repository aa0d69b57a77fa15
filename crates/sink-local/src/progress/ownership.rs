//! Who owns a pipeline in a SQLite database: shown, looked at and handed over. Each time through a connection of its own, so
//! that nothing of it is open while nobody asks.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use sqlx::Connection;
use sqlx::sqlite::SqliteConnection;
use tailwater_model::{Owner, Ownership, Trouble};
use tokio::sync::Mutex;

use super::{LaneClaim, taken_over};
use crate::database::{Access, Fault, begin, connect};

/// The claim of a pipeline whose progress is in a SQLite database.
#[derive(Clone, Debug)]
pub struct SqliteOwnership {
    path: PathBuf,
    claim: LaneClaim,
    /// That of the lanes: all writers of a process write in turn.
    turn: Arc<Mutex<()>>,
}

impl SqliteOwnership {
    /// Of the claim that one of the lanes has.
    pub(crate) fn new(path: &Path, claim: LaneClaim, turn: Arc<Mutex<()>>) -> Self {
        Self { path: path.to_owned(), claim, turn }
    }

    /// Whether the row was this owner's.
    async fn update(&self, sql: &'static str) -> Result<bool, Fault> {
        let _turn = self.turn.lock().await;
        let mut connection = connect(&self.path, Access::Existing).await?;
        let mut transaction = begin(&mut connection).await?;
        let updated =
            sqlx::query(sql).bind(&self.claim.pipeline.name).bind(&self.claim.owner).execute(&mut *transaction).await?;
        transaction.commit().await?;
        connection.close().await?;
        Ok(updated.rows_affected() == 1)
    }

    /// Nothing where the row is gone, or the table with it.
    async fn look(&self) -> Result<Option<(String, i64, bool)>, Fault> {
        let mut connection = connect(&self.path, Access::Read).await?;
        let (is_there,): (bool,) =
            sqlx::query_as("select exists (select 1 from sqlite_schema where name = 'tailwater_owners')")
                .fetch_one(&mut connection)
                .await?;
        let mut found = None;
        if is_there {
            found = sqlx::query_as("select owner, life, released from tailwater_owners where pipeline = ?")
                .bind(&self.claim.pipeline.name)
                .fetch_optional(&mut connection)
                .await?;
        }
        connection.close().await?;
        Ok(found)
    }
}

impl Ownership for SqliteOwnership {
    fn mark(&self) -> &str {
        &self.claim.owner
    }

    async fn show_life(&mut self) -> Result<(), Trouble> {
        let shown = self.update("update tailwater_owners set life = life + 1 where pipeline = ? and owner = ?").await;
        if shown.map_err(|fault| fault.into_trouble(&self.path))? { Ok(()) } else { Err(taken_over(&self.claim)) }
    }

    async fn owner(&mut self) -> Result<Owner, Trouble> {
        match self.look().await.map_err(|fault| fault.into_trouble(&self.path))? {
            None | Some((_, _, true)) => Ok(Owner::Nobody),
            Some((owner, life, false)) => Ok(Owner::Somebody { life: format!("{owner} {life}"), mark: owner }),
        }
    }

    async fn release(&mut self) -> Result<(), Trouble> {
        let released = self.update("update tailwater_owners set released = 1 where pipeline = ? and owner = ?").await;
        released.map(drop).map_err(|fault| fault.into_trouble(&self.path))
    }
}

/// Takes the ownership with the lanes, inside their transaction.
pub(super) async fn own(connection: &mut SqliteConnection, pipeline: &str, owner: &str) -> Result<(), Fault> {
    sqlx::query(
        "insert into tailwater_owners (pipeline, owner, life, released) values (?, ?, 1, 0) \
         on conflict do update set owner = excluded.owner, life = life + 1, released = 0",
    )
    .bind(pipeline)
    .bind(owner)
    .execute(connection)
    .await?;
    Ok(())
}
