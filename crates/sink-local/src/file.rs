//! The `file` sink: JSON lines appended to a file, and the progress in a SQLite database beside it.
//!
//! A commit stores how far it will write, appends the lines, syncs them, and then commits the steps together with the new
//! length of the file. Opening cuts off what a commit has left behind the recorded length, and nothing that reaches further:
//! that is data at risk. So after a kill or a power failure at any moment the file holds exactly the lines that the progress
//! stands for. A reader that follows the file may see lines a moment before they are durable.
//!
//! Fencing by epoch is not enough here: lines of a commit that nobody waits for any more may still be appended. So the data
//! file is locked as long as its lane is there. Whoever claims the pipeline writes that into the progress first; the owner so
//! far finds it with its next commit or sign of life and lets the file go.

mod belonging;
mod data_file;
mod recorded;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use sqlx::sqlite::SqliteConnection;
use tailwater_model::{
    Checkpoints, Claimed, Committed, Failure, Group, KeySchema, PipelineIdentity, Progress, Sink, Trouble, TroubleKind,
};
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep};

use self::belonging::bind_to_file;
use self::data_file::DataFile;
use self::recorded::Recorded;
use crate::accounting::set_refused_aside;
use crate::blocking::{BlockingResource, ResourceLost};
use crate::database::{Access, Fault, begin, closed, connect, not_open};
use crate::file_identity::FileIdentity;
use crate::json_lines::JsonLines;
use crate::progress::{
    Epoch, LaneClaim, SqliteOwnership, braked, claim_lanes, migrate, open_lane, read_checkpoints, store_group,
};

/// An owner that was replaced lets the data file go within this: its idle lane looks every ten seconds.
const GIVES_WAY_WITHIN: Duration = Duration::from_secs(30);
/// Time between two tries for the lock.
const LOCK_INTERVAL: Duration = Duration::from_millis(50);

/// Where to write to.
#[derive(Clone, Debug)]
pub struct FileSettings {
    /// The data file. It is made when it is missing; its directory must exist. Its progress is kept in a SQLite
    /// database whose name is this one with `.progress` behind it.
    pub path: PathBuf,
    /// More dead letters than this within a minute stop the pipeline.
    pub dead_letters_per_minute_max: u32,
    /// The token of a refused start: goes on although progress and file do not belong together.
    pub adopt: Option<String>,
}

/// Claims the pipeline's only lane, and locks the data file as soon as the owner so far lets it go.
///
/// Refused with trouble, before anything is taken: more than one lane, a file with content that this pipeline did not write,
/// and a file that is missing, or is shorter or longer than the progress can know. A file that another process has locked is waited for.
pub async fn claim_file(
    settings: &FileSettings,
    identity: &PipelineIdentity,
    keys: &KeySchema,
) -> Result<Claimed<FileLane, SqliteOwnership>, Trouble> {
    check_file(settings, identity, keys).await?;
    let (path, progress_path) = (&settings.path, progress_path(&settings.path));
    let claim = claim(settings, identity).await.map_err(|fault| fault.into_trouble(&progress_path))?;
    let is_begun = recorded(settings, identity).await?.is_some_and(|recorded| recorded.length > 0);
    let mut data = BlockingResource::new(DataFile::unopened(path));
    let is_there = data.run(move |data| data.open(!is_begun)).await.map_err(lost)??;
    if is_there {
        lock(&mut data).await?;
    }
    // Nobody else writes any more: once again, and for good.
    let recorded = recorded(settings, identity).await?;
    let look = data.run(move |data| data.look(recorded, u64::MAX)).await.map_err(lost)??;
    bind_to_file(settings, identity, keys, (recorded, look), Some(&claim)).await?;
    if !is_there {
        // It was adopted as missing.
        data.run(|data| data.open(true)).await.map_err(lost)??;
        lock(&mut data).await?;
    }
    data.run(|data| data.sync_directory()).await.map_err(lost)??;
    let turn = Arc::new(Mutex::new(()));
    let ownership = SqliteOwnership::new(&progress_path, claim.clone(), turn.clone());
    let lane = FileLane {
        progress_path,
        table: identity.stream.table.clone(),
        keys: Arc::new(keys.clone()),
        dead_letters_per_minute_max: settings.dead_letters_per_minute_max,
        claim,
        data,
        turn,
        session: None,
    };
    Ok(Claimed { lanes: vec![lane], ownership })
}

/// Whether the pipeline could be claimed. Takes nothing from anybody, and leaves everything as it is; but a refusal that may be
/// lifted by a token stores what that is made of.
///
/// # Errors
/// As [`claim_file`], but for a lock that somebody has.
pub async fn check_file(settings: &FileSettings, identity: &PipelineIdentity, keys: &KeySchema) -> Result<(), Trouble> {
    if identity.lanes != 1 {
        let message = format!("the file sink has one lane, and the pipeline's file says {}", identity.lanes);
        return Err(Trouble::new(TroubleKind::Config, "sink.file.lanes", message).advise("set `lanes = 1`"));
    }
    let mut data = BlockingResource::new(DataFile::unopened(&settings.path));
    // Whoever runs it may write meanwhile: it was no longer before than its progress says after that, and is no shorter after that.
    let length_before =
        data.run(|data| if data.open(false)? { data.length() } else { Ok(0) }).await.map_err(lost)??;
    let recorded = recorded(settings, identity).await?;
    let look = data.run(move |data| data.look(recorded, length_before)).await.map_err(lost)??;
    if recorded.is_none() && look.length == 0 {
        return Ok(());
    }
    bind_to_file(settings, identity, keys, (recorded, look), None).await
}

/// Waits until the owner so far lets the data file go.
async fn lock(data: &mut BlockingResource<DataFile>) -> Result<(), Trouble> {
    let deadline = Instant::now() + GIVES_WAY_WITHIN;
    while !data.run(|data| data.try_lock()).await.map_err(lost)?? {
        if Instant::now() >= deadline {
            return data.run(|data| Err(data.locked_trouble())).await.map_err(lost)?;
        }
        sleep(LOCK_INTERVAL).await;
    }
    Ok(())
}

/// Takes the lane, in one transaction.
async fn claim(settings: &FileSettings, identity: &PipelineIdentity) -> Result<LaneClaim, Fault> {
    let mut connection = connect(&progress_path(&settings.path), Access::Create).await?;
    let claim = take_for_good(&mut connection, settings, identity).await;
    closed(connection, claim).await
}

async fn take_for_good(
    connection: &mut SqliteConnection,
    settings: &FileSettings,
    identity: &PipelineIdentity,
) -> Result<LaneClaim, Fault> {
    let mut transaction = begin(connection).await?;
    let claim = take(&mut transaction, settings, identity).await?;
    transaction.commit().await?;
    Ok(claim)
}

async fn take(
    transaction: &mut SqliteConnection,
    settings: &FileSettings,
    identity: &PipelineIdentity,
) -> Result<LaneClaim, Fault> {
    migrate(transaction).await?;
    check_pipeline(transaction, &progress_path(&settings.path), identity).await?;
    let claims = claim_lanes(transaction, identity, settings.dead_letters_per_minute_max).await?;
    claims.into_iter().next().ok_or_else(|| Fault::from(sqlx::Error::RowNotFound))
}

async fn check_pipeline(
    connection: &mut SqliteConnection,
    progress_path: &Path,
    identity: &PipelineIdentity,
) -> Result<(), Fault> {
    let other: Option<(String,)> = sqlx::query_as("select pipeline from tailwater_lanes where pipeline <> ?")
        .bind(&identity.name)
        .fetch_optional(connection)
        .await?;
    let Some((other,)) = other else { return Ok(()) };
    let message = format!("{} belongs to pipeline {other:?}", progress_path.display());
    let trouble = Trouble::new(TroubleKind::Config, "sink.file.other_pipeline", message);
    Err(Fault::halt(trouble.advise("give each pipeline a file of its own")))
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

/// What the progress stands for, if there is progress that these settings can claim. The claim is taken back, with everything else.
async fn recorded(settings: &FileSettings, identity: &PipelineIdentity) -> Result<Option<Recorded>, Trouble> {
    let progress_path = progress_path(&settings.path);
    if !progress_path.exists() {
        return Ok(None);
    }
    let read = async {
        let mut connection = connect(&progress_path, Access::Existing).await?;
        let recorded = try_take(&mut connection, settings, identity).await;
        closed(connection, recorded).await
    };
    read.await.map_err(|fault: Fault| fault.into_trouble(&progress_path))
}

async fn try_take(
    connection: &mut SqliteConnection,
    settings: &FileSettings,
    identity: &PipelineIdentity,
) -> Result<Option<Recorded>, Fault> {
    let mut transaction = begin(connection).await?;
    take(&mut transaction, settings, identity).await?;
    let recorded = recorded::stored(&mut transaction).await?;
    transaction.rollback().await?;
    Ok(recorded)
}

/// The one lane that writes to a file.
pub struct FileLane {
    progress_path: PathBuf,
    table: String,
    keys: Arc<KeySchema>,
    dead_letters_per_minute_max: u32,
    claim: LaneClaim,
    data: BlockingResource<DataFile>,
    /// The lane and whoever shows its owner's life write in turn, as the lanes of the `sqlite` sink do.
    turn: Arc<Mutex<()>>,
    /// Taken out by a commit and put back only when it succeeded: after an error or a dropped future the lane has none
    /// and must be opened (I7).
    session: Option<Session>,
}

struct Session {
    connection: SqliteConnection,
    epoch: Epoch,
    progress_file: FileIdentity,
    /// Length of the data file in bytes that the progress stands for.
    length: u64,
}

impl Sink for FileLane {
    async fn open(&mut self) -> Result<Progress, Failure> {
        // The connection of a failed commit first: it may hold the write lock.
        self.session = None;
        let _turn = self.turn.lock().await;
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
        let turn = self.turn.lock().await;
        let stored = match store(&mut session, &self.claim, &mut self.data, &group, lines, max).await {
            Ok(committed) => Ok(committed),
            Err(fault) => Err(braked(&mut session.connection, &self.claim, session.epoch, max, fault).await),
        };
        drop(turn);
        let committed = stored.map_err(|fault| fault.into_failure(&self.progress_path))?;
        if FileIdentity::of_path(&self.progress_path).ok() != Some(session.progress_file) {
            return Err(Failure::Halt(progress_gone(&self.progress_path)));
        }
        self.session = Some(session);
        Ok(committed)
    }
}

async fn open_session(
    progress_path: &Path,
    claim: &LaneClaim,
    data: &mut BlockingResource<DataFile>,
) -> Result<(Session, Progress), Fault> {
    let progress_file = FileIdentity::of_path(progress_path).map_err(|_| Fault::halt(progress_gone(progress_path)))?;
    let mut connection = connect(progress_path, Access::Existing).await?;
    let mut transaction = begin(&mut connection).await?;
    let (epoch, progress) = open_lane(&mut transaction, claim).await?;
    let recorded = recorded::stored(&mut transaction).await?.unwrap_or(Recorded { length: 0, length_max: 0 });
    transaction.commit().await?;
    // I1: what is behind the recorded length belongs to a commit that never became durable.
    data.run(move |data| data.cut(recorded)).await.map_err(|lost_data| Fault::halt(lost(lost_data)))??;
    Ok((Session { connection, epoch, progress_file, length: recorded.length }, progress))
}

/// I8: SQLite goes on writing to a file that was moved or deleted, where no start will find the progress.
fn progress_gone(progress_path: &Path) -> Trouble {
    let message =
        format!("{} was moved, deleted or replaced: it held the progress of the data file", progress_path.display());
    Trouble::new(TroubleKind::DataAtRisk, "sink.file.progress_gone", message)
        .advise("put it back; another start says how to go on without it")
}

/// First how far the lines will reach, durably; then the fence and the steps, so that nothing is appended for a group that does not
/// fit; then the lines, synced; then the commit that makes them count.
async fn store(
    session: &mut Session,
    claim: &LaneClaim,
    data: &mut BlockingResource<DataFile>,
    group: &Group,
    lines: String,
    per_minute_max: u32,
) -> Result<Committed, Fault> {
    let (from, to) = (session.length, session.length + lines.len() as u64);
    if from != to {
        recorded::reserve(&mut session.connection, claim, session.epoch, to).await?;
    }
    let mut transaction = begin(&mut session.connection).await?;
    let committed = store_group(&mut transaction, claim, session.epoch, group, per_minute_max).await?;
    if from != to {
        data.run(move |data| data.append(from, &lines)).await.map_err(|lost_data| Fault::halt(lost(lost_data)))??;
        recorded::store(&mut transaction, claim, to).await?;
    }
    transaction.commit().await?;
    session.length = to;
    Ok(committed)
}

fn lost(_: ResourceLost) -> Trouble {
    let message = "writing to the data file panicked: please report this";
    Trouble::new(TroubleKind::Runtime, "sink.file.panic", message)
}
