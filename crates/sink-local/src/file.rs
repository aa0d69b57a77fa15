//! The `file` sink: JSON lines appended to a file, and the progress in a SQLite database beside it.
//!
//! A commit appends the lines, syncs them, and then commits the steps together with the new length of the file. Opening
//! cuts the file back to the recorded length. So after a kill or a power failure at any moment the file holds exactly
//! the lines that the progress stands for. A reader that follows the file may see lines a moment before they are
//! durable.
//!
//! Fencing by epoch is not enough here: a process that lost its lane would notice only after it had appended. So the
//! data file is locked for the life of the process, and a second process is refused at start.

mod data_file;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use sqlx::Connection;
use sqlx::sqlite::SqliteConnection;
use tailwater_model::{Checkpoints, Committed, Failure, Group, KeySchema, PipelineIdentity, Progress, Sink};
use tailwater_model::{Trouble, TroubleKind};

use self::data_file::DataFile;
use crate::accounting::set_refused_aside;
use crate::blocking::{BlockingResource, ResourceLost};
use crate::database::{Access, Fault, begin, connect, not_open};
use crate::json_lines::JsonLines;
use crate::progress::{Epoch, LaneClaim, braked, claim_lanes, migrate, open_lane, read_checkpoints, store_group};

/// Where to write to.
#[derive(Clone, Debug)]
pub struct FileSettings {
    /// The data file. It is made when it is missing; its directory must exist. Its progress is kept in a SQLite
    /// database whose name is this one with `.progress` behind it.
    pub path: PathBuf,
    /// More dead letters than this within a minute stop the pipeline.
    pub dead_letters_per_minute_max: u32,
}

/// Locks the data file and claims the pipeline's only lane.
///
/// Refused with trouble: more than one lane, a file that another process has locked, a file with content that this
/// pipeline did not write, and a file that is missing or shorter than the progress says.
pub async fn claim_file(
    settings: &FileSettings,
    identity: &PipelineIdentity,
    keys: &KeySchema,
) -> Result<Vec<FileLane>, Trouble> {
    if identity.lanes != 1 {
        let message = format!("the file sink has one lane, and the pipeline's file says {}", identity.lanes);
        return Err(Trouble::new(TroubleKind::Config, "sink.file.lanes", message).advise("set `lanes = 1`"));
    }
    let path = &settings.path;
    let progress_path = progress_path(path);
    let expected = recorded_length(&progress_path).await?;
    let mut data = BlockingResource::new(DataFile::unopened(path));
    data.run(move |data| data.open(expected.is_some_and(|length| length > 0))).await.map_err(lost)??;
    let per_minute_max = settings.dead_letters_per_minute_max;
    let claim = claim(&progress_path, identity, &mut data, per_minute_max)
        .await
        .map_err(|fault| fault.into_trouble(&progress_path))?;
    data.run(|data| data.sync_directory()).await.map_err(lost)??;
    Ok(vec![FileLane {
        progress_path,
        table: identity.stream.table.clone(),
        keys: Arc::new(keys.clone()),
        dead_letters_per_minute_max: per_minute_max,
        claim,
        data,
        session: None,
    }])
}

/// Takes the lane and checks the file against the recorded length, in one transaction: a refusal changes nothing.
async fn claim(
    progress_path: &Path,
    identity: &PipelineIdentity,
    data: &mut BlockingResource<DataFile>,
    per_minute_max: u32,
) -> Result<LaneClaim, Fault> {
    let mut connection = connect(progress_path, Access::Create).await?;
    let mut transaction = begin(&mut connection).await?;
    migrate(&mut transaction).await?;
    let other: Option<(String,)> = sqlx::query_as("select pipeline from tailwater_lanes where pipeline <> ?")
        .bind(&identity.name)
        .fetch_optional(&mut *transaction)
        .await?;
    if let Some((other,)) = other {
        let message = format!("{} belongs to pipeline {other:?}", progress_path.display());
        let trouble = Trouble::new(TroubleKind::Config, "sink.file.other_pipeline", message);
        return Err(Fault::halt(trouble.advise("give each pipeline a file of its own")));
    }
    let claim = claim_lanes(&mut transaction, identity, per_minute_max).await?.into_iter().next();
    let claim = claim.ok_or_else(|| Fault::from(sqlx::Error::RowNotFound))?;
    let recorded = stored_length(&mut transaction).await?;
    data.run(move |data| data.check(recorded))
        .await
        .map_err(|lost_data| Fault::halt(lost(lost_data)))?
        .map_err(Fault::halt)?;
    if recorded.is_none() {
        store_length(&mut transaction, &claim, 0).await?;
    }
    transaction.commit().await?;
    connection.close().await?;
    Ok(claim)
}

/// The stored progress of a pipeline, for people. Nothing when there is none beside the data file at `path`.
pub async fn file_checkpoints(path: &Path, pipeline: &str) -> Result<Option<Checkpoints>, Trouble> {
    read_checkpoints(&progress_path(path), pipeline).await
}

fn progress_path(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".progress");
    name.into()
}

/// The length in a progress database that may not be there yet, so that a missing data file is not simply made anew.
async fn recorded_length(progress_path: &Path) -> Result<Option<u64>, Trouble> {
    if !progress_path.exists() {
        return Ok(None);
    }
    let read = async {
        let mut connection = connect(progress_path, Access::Existing).await?;
        let mut transaction = begin(&mut connection).await?;
        migrate(&mut transaction).await?;
        stored_length(&mut transaction).await
    };
    read.await.map_err(|fault: Fault| fault.into_trouble(progress_path))
}

async fn stored_length(connection: &mut SqliteConnection) -> Result<Option<u64>, Fault> {
    let found: Option<(Option<i64>,)> =
        sqlx::query_as("select data_length_bytes from tailwater_lanes").fetch_optional(connection).await?;
    Ok(found.and_then(|(length,)| length).and_then(|length| u64::try_from(length).ok()))
}

async fn store_length(connection: &mut SqliteConnection, claim: &LaneClaim, length: u64) -> Result<(), Fault> {
    sqlx::query("update tailwater_lanes set data_length_bytes = ? where pipeline = ? and lane = ?")
        .bind(i64::try_from(length).unwrap_or(i64::MAX))
        .bind(&claim.pipeline.name)
        .bind(claim.lane)
        .execute(connection)
        .await?;
    Ok(())
}

/// The one lane that writes to a file.
pub struct FileLane {
    progress_path: PathBuf,
    table: String,
    keys: Arc<KeySchema>,
    dead_letters_per_minute_max: u32,
    claim: LaneClaim,
    data: BlockingResource<DataFile>,
    /// Taken out by a commit and put back only when it succeeded: after an error or a dropped future the lane has none
    /// and must be opened (I7).
    session: Option<Session>,
}

struct Session {
    connection: SqliteConnection,
    epoch: Epoch,
    /// Length of the data file in bytes that the progress stands for.
    length: u64,
}

impl Sink for FileLane {
    async fn open(&mut self) -> Result<Progress, Failure> {
        // The connection of a failed commit first: it may hold the write lock.
        self.session = None;
        let opened = open_session(&self.progress_path, &self.claim, &mut self.data).await;
        let (session, progress) = opened.map_err(|fault| fault.into_failure(&self.progress_path))?;
        self.session = Some(session);
        Ok(progress)
    }

    async fn commit(&mut self, mut group: Group) -> Result<Committed, Failure> {
        let mut session = self.session.take().ok_or_else(not_open)?;
        let mut lines = JsonLines::of(&group, &self.table, &self.keys);
        for batch in &mut group.batches {
            set_refused_aside(batch, |event| lines.push_change(event));
        }
        let lines = lines.into_text();
        let max = self.dead_letters_per_minute_max;
        let committed = match store(&mut session, &self.claim, &mut self.data, &group, lines, max).await {
            Ok(committed) => committed,
            Err(fault) => {
                let fault = braked(&mut session.connection, &self.claim, session.epoch, max, fault).await;
                return Err(fault.into_failure(&self.progress_path));
            }
        };
        self.session = Some(session);
        Ok(committed)
    }
}

async fn open_session(
    progress_path: &Path,
    claim: &LaneClaim,
    data: &mut BlockingResource<DataFile>,
) -> Result<(Session, Progress), Fault> {
    if !progress_path.exists() {
        let message = format!("{} is gone: it held the progress of the data file", progress_path.display());
        let trouble = Trouble::new(TroubleKind::DataAtRisk, "sink.file.progress_gone", message);
        return Err(Fault::halt(trouble.advise("put it back, or move the data file away too to begin anew")));
    }
    let mut connection = connect(progress_path, Access::Existing).await?;
    let mut transaction = begin(&mut connection).await?;
    let (epoch, progress) = open_lane(&mut transaction, claim).await?;
    let length = stored_length(&mut transaction).await?.unwrap_or_default();
    transaction.commit().await?;
    // I1: what is behind the recorded length belongs to a commit that never became durable.
    data.run(move |data| data.cut(length)).await.map_err(|lost_data| Fault::halt(lost(lost_data)))??;
    Ok((Session { connection, epoch, length }, progress))
}

/// The fence and the steps first, so that nothing is appended for a group that does not fit; then the lines, synced;
/// then the commit that makes them count.
async fn store(
    session: &mut Session,
    claim: &LaneClaim,
    data: &mut BlockingResource<DataFile>,
    group: &Group,
    lines: String,
    per_minute_max: u32,
) -> Result<Committed, Fault> {
    let mut transaction = begin(&mut session.connection).await?;
    let committed = store_group(&mut transaction, claim, session.epoch, group, per_minute_max).await?;
    let (from, to) = (session.length, session.length + lines.len() as u64);
    if from != to {
        data.run(move |data| data.append(from, &lines)).await.map_err(|lost_data| Fault::halt(lost(lost_data)))??;
        store_length(&mut transaction, claim, to).await?;
    }
    transaction.commit().await?;
    session.length = to;
    Ok(committed)
}

fn lost(_: ResourceLost) -> Trouble {
    let message = "writing to the data file panicked: please report this";
    Trouble::new(TroubleKind::Runtime, "sink.file.panic", message)
}
