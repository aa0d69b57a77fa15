//! What most tests need together: a source table, a database, a pipeline between them, and a folder.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use aws_sdk_dynamodb::types::StreamViewType;
use tempfile::TempDir;

use crate::patience::{Look, wait_until};
use crate::pipeline::{Pipeline, postgres_sink, set_url};
use crate::postgres::Database;
use crate::process::{Environment, Outcome, Tailwater, environment};
use crate::table::SourceTable;
use crate::{audit, compare, stream};

/// The mirror table's name in its database.
pub const MIRROR: &str = "orders";
/// A bounded run starts, connects, carries what there is and ends.
pub const RUN_WITHIN: Duration = Duration::from_secs(150);
/// An ordered stop: the grace period of the pipeline and some time for a busy machine.
pub const STOP_WITHIN: Duration = Duration::from_secs(20);

/// The stage of one test.
pub struct Scene {
    /// The source.
    pub table: SourceTable,
    /// The sink.
    pub database: Database,
    /// The pipeline between them.
    pub pipeline: Pipeline,
    /// What the process finds in its environment.
    pub environment: Environment,
    dir: TempDir,
}

impl Scene {
    /// A table with a stream, an empty database, and a pipeline into `orders` with soft deletes.
    pub async fn new() -> Result<Self> {
        Self::with_table(SourceTable::create(Some(StreamViewType::NewAndOldImages)).await?).await
    }

    /// The same for a table that the test made.
    pub async fn with_table(table: SourceTable) -> Result<Self> {
        let database = Database::create().await?;
        let dir = tempfile::tempdir()?;
        let mut environment = environment(dir.path());
        set_url(&mut environment, database.url());
        let pipeline = Pipeline::new(&table.name, postgres_sink(MIRROR, "soft"));
        Ok(Self { table, database, pipeline, environment, dir })
    }

    /// The same as `new`, with the mirror already made and every change of its rows noted from the first on.
    pub async fn audited() -> Result<Self> {
        let scene = Self::new().await?;
        scene.audit().await?;
        Ok(scene)
    }

    /// Has `tailwater` make the mirror, and begins to note every change of its rows.
    pub async fn audit(&self) -> Result<()> {
        self.run_to_tip().await?;
        audit::install(&self.database, MIRROR).await
    }

    /// The test's folder.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Starts `tailwater run FILE`.
    pub fn start(&self) -> Result<Tailwater> {
        let path = self.pipeline.write(self.dir())?;
        Tailwater::start(self.dir(), &["run", text(&path)?], &self.environment)
    }

    /// Runs `tailwater run FILE --until tip`, whatever comes of it.
    pub async fn try_to_tip(&self) -> Result<Outcome> {
        let path = self.pipeline.write(self.dir())?;
        Tailwater::run(self.dir(), &["run", text(&path)?, "--until", "tip"], &self.environment, RUN_WITHIN).await
    }

    /// The same; it must end well.
    pub async fn run_to_tip(&self) -> Result<Outcome> {
        self.try_to_tip().await?.must_exit_with(0)
    }

    /// Holds the mirror against the source.
    pub async fn compare(&self) -> Result<()> {
        compare::check(&self.table.scan().await?, &self.database.mirror(MIRROR).await?)
    }

    /// Waits until the mirror equals the source, which nobody writes to any more.
    pub async fn catches_up(&self, within: Duration) -> Result<()> {
        wait_until("the mirror equals the source", within, || async {
            Ok(match self.compare().await {
                Ok(()) => Look::Done,
                Err(difference) => Look::NotYet(format!("{difference:#}")),
            })
        })
        .await
    }

    /// Waits until at least `more` row changes were noted beyond what there is now.
    pub async fn carries(&self, more: i64, within: Duration) -> Result<()> {
        let count = || self.database.number("select count(*) from audit.changes");
        let goal = count().await? + more;
        wait_until("changes are carried", within, || async {
            let now = count().await?;
            Ok(Look::when(now >= goal, format!("{now} row changes of {goal}")))
        })
        .await
    }

    /// Holds every row change against the stream, the mirror against the source, and the accounts against both.
    pub async fn check_exactly_once(&self) -> Result<()> {
        let arn = self.table.stream_arn().await?.context("the table has no stream")?;
        let stream = stream::read(&arn).await?;
        audit::check(&audit::changes(&self.database).await?, &stream)?;
        let accounts = "select concat_ws(' ', sum(read), sum(written), sum(filtered + dead_lettered + suppressed))
            from tailwater.shards";
        let expected = format!("{0} {0} 0", stream.len());
        let accounts = self.database.texts(accounts).await?;
        ensure!(accounts == [expected.clone()], "read, written, other: {accounts:?}, and should be {expected:?}");
        self.compare().await
    }
}

fn text(path: &Path) -> Result<&str> {
    path.to_str().context("a path that is no text")
}
