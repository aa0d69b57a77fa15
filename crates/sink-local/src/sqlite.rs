//! The `sqlite` sink: the mirror table and the progress in one database and one transaction, so each change has its
//! effect exactly once.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use sqlx::Connection;
use sqlx::sqlite::SqliteConnection;
use tailwater_model::{
    Checkpoints, Claimed, Committed, DeleteMode, Failure, Fit, Group, Key, KeySchema, Misfit, PipelineIdentity,
    Progress, Sink,
};
use tailwater_model::{Folded, Trouble, TroubleKind, fold_by_key};
use tokio::sync::Mutex;

use crate::accounting::set_refused_aside;
use crate::database::{Access, Fault, begin, closed, connect, database_path_fault, may_be_made, not_open};
use crate::file_identity::{FileIdentity, sync_parent_directory};
use crate::mark::{is_marked, put_mark};
use crate::mirror_table::MirrorTable;
use crate::progress::{
    Epoch, LaneClaim, SqliteOwnership, bind, braked, claim_lanes, confirm, lacks_mark, leave_salt, migrate,
};
use crate::progress::{open_lane, read_checkpoints, store_group, store_mark, target_facts};
use crate::refused_rows::{Failures, RowFault, SetAside};

/// Where to mirror to.
#[derive(Clone, Debug)]
pub struct SqliteSettings {
    /// The database file. It is made when it is missing; its directory must exist.
    pub path: PathBuf,
    /// The mirror table. It is made when it is missing.
    pub table: String,
    /// What becomes of the row of a removed item.
    pub delete: DeleteMode,
    /// More dead letters than this within a minute stop the pipeline.
    pub dead_letters_per_minute_max: u32,
    /// The token of a refused start: goes on although progress and table do not belong together.
    pub adopt: Option<String>,
}

/// Makes the tables when they are missing and takes over all lanes of the pipeline, in one transaction. Another process
/// that runs the same pipeline is shut out from then on.
///
/// Refused with trouble: a mirror table of another shape, a lane count that differs from the stored one, a database
/// that cannot be opened or was written by a newer version, and progress and a table that do not belong together (I11).
pub async fn claim_sqlite(
    settings: &SqliteSettings,
    identity: &PipelineIdentity,
    keys: &KeySchema,
) -> Result<Claimed<SqliteLane, SqliteOwnership>, Trouble> {
    let table = table_of(settings, keys)?;
    let path = &settings.path;
    let claims = claim(settings, identity, &table).await.map_err(|fault| fault.into_trouble(path))?;
    sync_parent_directory(path).map_err(|error| Fault::from(sqlx::Error::Io(error)).into_trouble(path))?;
    let table = Arc::new(table);
    let turn = Arc::new(Mutex::new(()));
    // Every lane has the claim, and there is one at the least.
    let first = claims.first().cloned().ok_or_else(|| Fault::from(sqlx::Error::RowNotFound).into_trouble(path))?;
    let ownership = SqliteOwnership::new(path, first, turn.clone());
    let lane = |claim| SqliteLane {
        path: path.clone(),
        keys: keys.clone(),
        dead_letters_per_minute_max: settings.dead_letters_per_minute_max,
        claim,
        table: table.clone(),
        turn: turn.clone(),
        failures: Failures::default(),
        session: None,
    };
    Ok(Claimed { lanes: claims.into_iter().map(lane).collect(), ownership })
}

/// Whether the pipeline could be claimed. Takes nothing from anybody, and leaves everything as it is; but a refusal that may be
/// lifted by a token stores what that is made of.
///
/// # Errors
/// As [`claim_sqlite`].
pub async fn check_sqlite(
    settings: &SqliteSettings,
    identity: &PipelineIdentity,
    keys: &KeySchema,
) -> Result<(), Trouble> {
    let table = table_of(settings, keys)?;
    let path = &settings.path;
    if may_be_made(path) {
        return Ok(());
    }
    let check = async {
        let mut connection = connect(path, Access::Existing).await?;
        let checked = try_take(&mut connection, settings, identity, &table).await;
        closed(connection, checked).await
    };
    check.await.map_err(|fault: Fault| fault.into_trouble(path))
}

/// What can be said of the settings before the file is looked at.
fn table_of(settings: &SqliteSettings, keys: &KeySchema) -> Result<MirrorTable, Trouble> {
    match database_path_fault(&settings.path) {
        Some(trouble) => Err(trouble),
        None => MirrorTable::new(&settings.table, keys, settings.delete),
    }
}

/// Takes the pipeline and gives it back.
async fn try_take(
    connection: &mut SqliteConnection,
    settings: &SqliteSettings,
    identity: &PipelineIdentity,
    table: &MirrorTable,
) -> Result<(), Fault> {
    let mut transaction = begin(connection).await?;
    match take(&mut transaction, settings, identity, table).await? {
        Ok(_) => transaction.rollback().await?,
        Err(refused) => {
            transaction.commit().await?;
            return Err(Fault::halt(refused));
        }
    }
    Ok(())
}

async fn claim(
    settings: &SqliteSettings,
    identity: &PipelineIdentity,
    table: &MirrorTable,
) -> Result<Vec<LaneClaim>, Fault> {
    let mut connection = connect(&settings.path, Access::Create).await?;
    let taken = take_for_good(&mut connection, settings, identity, table).await;
    closed(connection, taken).await
}

async fn take_for_good(
    connection: &mut SqliteConnection,
    settings: &SqliteSettings,
    identity: &PipelineIdentity,
    table: &MirrorTable,
) -> Result<Vec<LaneClaim>, Fault> {
    let mut transaction = begin(connection).await?;
    let taken = take(&mut transaction, settings, identity, table).await?;
    transaction.commit().await?;
    let (claims, fit) = taken.map_err(Fault::halt)?;
    if settings.adopt.is_some() {
        tracing::info!(pipeline = identity.name.as_str(), "{}", fit.token_words());
    }
    Ok(claims)
}

/// The inner error is a refusal whose salt is to be committed; nothing else was written then.
async fn take(
    transaction: &mut SqliteConnection,
    settings: &SqliteSettings,
    identity: &PipelineIdentity,
    table: &MirrorTable,
) -> Result<Result<(Vec<LaneClaim>, Fit), Trouble>, Fault> {
    migrate(transaction).await?;
    let (pipeline, look) = (&identity.name, table.look(transaction).await?);
    let target = target_facts(transaction, pipeline, table.binding(identity), &look).await?;
    let fit = match target.fit(settings.adopt.as_deref()) {
        Ok(fit) => fit,
        Err(misfit) => {
            let salt = leave_salt(transaction, pipeline).await?;
            return Ok(Err(target.refusal_with(misfit, &salt, restoring(misfit))));
        }
    };
    table.create_or_check(transaction).await?;
    let claims = claim_lanes(transaction, identity, settings.dead_letters_per_minute_max).await?;
    match fit {
        Fit::Bound => confirm(transaction, pipeline, target.is_written(fit)).await?,
        Fit::Bind | Fit::Adopt => bind(transaction, pipeline, &target.wanted, target.is_written(fit)).await?,
    }
    if lacks_mark(transaction, pipeline).await? {
        let mark = put_mark(transaction, table.name()).await?;
        store_mark(transaction, pipeline, &mark).await?;
    }
    Ok(Ok((claims, fit)))
}

/// A file that is copied over the database would be read together with the log of the one before.
fn restoring(misfit: Misfit) -> &'static str {
    match misfit {
        Misfit::NoProgress | Misfit::Missing | Misfit::Replaced => {
            " (a copy of the whole file takes the place of the file and of the -wal and -shm beside it)"
        }
        _ => "",
    }
}

/// The stored progress of a pipeline, for people. Nothing when the file is missing or the pipeline was never run there.
pub async fn sqlite_checkpoints(path: &Path, pipeline: &str) -> Result<Option<Checkpoints>, Trouble> {
    read_checkpoints(path, pipeline).await
}

/// One lane that writes to SQLite.
pub struct SqliteLane {
    path: PathBuf,
    keys: KeySchema,
    dead_letters_per_minute_max: u32,
    claim: LaneClaim,
    table: Arc<MirrorTable>,
    /// The lanes of a process write in turn. SQLite has one writer anyway, and a queue is fair where its busy timeout is
    /// not. It also keeps our connections from writing and checkpointing at the same moment, which could corrupt a
    /// database in WAL mode before SQLite 3.51.3 (<https://www.sqlite.org/wal.html>, "The WAL-Reset Bug").
    turn: Arc<Mutex<()>>,
    failures: Failures,
    /// Taken out by a commit and put back only when it succeeded: after an error or a dropped future the lane has none
    /// and must be opened (I7).
    session: Option<Session>,
}

struct Session {
    connection: SqliteConnection,
    epoch: Epoch,
    file: FileIdentity,
}

impl Sink for SqliteLane {
    async fn open(&mut self) -> Result<Progress, Failure> {
        // The connection of a failed commit first: it may hold the write lock.
        self.session = None;
        let _turn = self.turn.lock().await;
        let file = FileIdentity::of_path(&self.path).map_err(|_| database_gone(&self.path))?;
        let (connection, epoch, progress) =
            open_session(&self.path, &self.claim, &self.table).await.map_err(|fault| fault.into_failure(&self.path))?;
        self.session = Some(Session { connection, epoch, file });
        Ok(progress)
    }

    async fn commit(&mut self, mut group: Group) -> Result<Committed, Failure> {
        let mut session = self.session.take().ok_or_else(not_open)?;
        for batch in &mut group.batches {
            set_refused_aside(batch, |event| self.table.accept(event));
        }
        let events = group.batches.iter_mut().flat_map(|batch| std::mem::take(&mut batch.events));
        let mut folded = fold_by_key(events, &self.keys);
        let turn = Arc::clone(&self.turn).lock_owned().await;
        let stored = self.store(&mut session, &mut group, &mut folded).await;
        drop(turn);
        let committed = stored.map_err(|fault| fault.into_failure(&self.path))?;
        self.failures.end();
        if FileIdentity::of_path(&self.path).ok() != Some(session.file) {
            return Err(database_gone(&self.path));
        }
        self.session = Some(session);
        Ok(committed)
    }
}

impl SqliteLane {
    /// Stores the group, and once more without each row that is refused: a trigger may have ended the transaction with it.
    async fn store(
        &mut self,
        session: &mut Session,
        group: &mut Group,
        folded: &mut Folded,
    ) -> Result<Committed, Fault> {
        let (max, mut aside) = (self.dead_letters_per_minute_max, SetAside::default());
        loop {
            let (key, fault) = match store(session, &self.claim, &self.table, group, folded, max).await {
                Ok(committed) => return Ok(committed),
                Err(Unstored::Row(key, fault)) => (key, fault),
                Err(Unstored::Whole(fault)) => {
                    return Err(braked(&mut session.connection, &self.claim, session.epoch, max, fault).await);
                }
            };
            let rejected = self.failures.refusal(fault)?;
            aside.refuse(group, folded, &key, self.table.delete_mode(), rejected);
            // A trigger may have ended the transaction, which its connection does not know.
            let spoiled = std::mem::replace(&mut session.connection, connect(&self.path, Access::Existing).await?);
            // Whatever it says of that, it is closed then, and its locks are gone.
            let _closed = spoiled.close().await;
        }
    }
}

/// Why a group was not stored.
enum Unstored {
    /// This row was not kept.
    Row(Key, RowFault),
    Whole(Fault),
}

impl From<Fault> for Unstored {
    fn from(fault: Fault) -> Self {
        Self::Whole(fault)
    }
}

impl From<sqlx::Error> for Unstored {
    fn from(error: sqlx::Error) -> Self {
        Self::Whole(error.into())
    }
}

async fn open_session(
    path: &Path,
    claim: &LaneClaim,
    table: &MirrorTable,
) -> Result<(SqliteConnection, Epoch, Progress), Fault> {
    let mut connection = connect(path, Access::Existing).await?;
    let mut transaction = begin(&mut connection).await?;
    let (epoch, progress) = open_lane(&mut transaction, claim).await?;
    // I11, I8: an empty table in place of one that was written to would hide that its rows are missing.
    let look = table.look(&mut transaction).await?;
    let (pipeline, wanted) = (&claim.pipeline.name, table.binding(&claim.pipeline));
    let target = target_facts(&mut transaction, pipeline, wanted, &look).await?;
    if let Some(misfit) = target.loss() {
        return Err(Fault::halt(target.loss_trouble(misfit)));
    }
    table.create_or_check(&mut transaction).await?;
    transaction.commit().await?;
    Ok((connection, epoch, progress))
}

/// Steps and rows in one transaction (I1). An error drops the transaction, and the caller drops the connection: a
/// commit is never tried on a transaction that has seen an error.
async fn store(
    session: &mut Session,
    claim: &LaneClaim,
    table: &MirrorTable,
    group: &Group,
    folded: &Folded,
    per_minute_max: u32,
) -> Result<Committed, Unstored> {
    let mut transaction = begin(&mut session.connection).await?;
    if !is_marked(&mut transaction, &claim.pipeline.name, table.name()).await? {
        return Err(Unstored::Whole(table_replaced(table.name()).into()));
    }
    let committed = store_group(&mut transaction, claim, session.epoch, group, per_minute_max).await?;
    for (key, event) in &folded.latest {
        let applied = table.apply(&mut transaction, key, event).await;
        applied.map_err(|fault| Unstored::Row(key.clone(), fault))?;
    }
    transaction.commit().await?;
    Ok(committed)
}

/// Opening tells what it is.
fn table_replaced(table: &str) -> Failure {
    let message = format!("the table {table:?} was dropped or replaced, so nothing was written");
    Failure::Reopen(Trouble::new(TroubleKind::Runtime, "sink.sqlite.table_replaced", message))
}

/// I8: SQLite goes on writing to a file that was moved or deleted, where nobody will find the rows.
fn database_gone(path: &Path) -> Failure {
    let message = format!("the database {} was moved, deleted or replaced while the pipeline ran", path.display());
    Failure::Halt(Trouble::new(TroubleKind::DataAtRisk, "sink.sqlite.gone", message).advise(
        "put the file back (with the files -wal and -shm beside it) before starting again: a new one begins empty and \
         at the trim horizon",
    ))
}
