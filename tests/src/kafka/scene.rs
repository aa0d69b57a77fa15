//! What the tests of the Kafka sink need together: a source table, topics, a pipeline between them, and a folder.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use aws_sdk_dynamodb::types::StreamViewType;
use tempfile::TempDir;

use super::admin;
use super::history::{self, Deletes, Found};
use super::reader::{self, Isolation, Message};
use crate::counted::Ledger;
use crate::endpoints;
use crate::patience::{Look, wait_until};
use crate::pipeline::Pipeline;
use crate::process::{Environment, Outcome, Tailwater, environment};
use crate::scene::RUN_WITHIN;
use crate::stream::{self, StreamEvent};
use crate::table::SourceTable;

/// Partitions of the topic of change events: more than one, so that order can get lost.
pub const PARTITIONS: u32 = 4;
/// What a process warns of where a broker's disk is all that has the progress.
pub const ONE_COPY: &str = "the progress has one copy";

/// The stage of one test.
pub struct KafkaScene {
    /// The source.
    pub table: SourceTable,
    /// The pipeline, of a unique name.
    pub pipeline: Pipeline,
    /// What the process finds in its environment.
    pub environment: Environment,
    /// The bootstrap address.
    pub brokers: String,
    /// The topic of the change events; its name is the table's.
    pub topic: String,
    dir: TempDir,
}

impl KafkaScene {
    /// A table with a stream, and a pipeline into a topic of the shared Kafka that the pipeline makes itself.
    pub async fn new() -> Result<Self> {
        Self::on(&endpoints::kafka_bootstrap()).await
    }

    /// The same on another Kafka.
    pub async fn on(brokers: &str) -> Result<Self> {
        let mut scene = Self::without_topics(brokers).await?;
        scene.add(&format!("create_topics = {{ partitions = {PARTITIONS}, replication = 1 }}"));
        Ok(scene)
    }

    /// The same on a cluster of three: every topic has three copies, and two of them have what is acknowledged.
    pub async fn on_three(brokers: &str) -> Result<Self> {
        let mut scene = Self::without_topics(brokers).await?;
        let config = "config = { \"min.insync.replicas\" = \"2\" }";
        scene.add(&format!("create_topics = {{ partitions = {PARTITIONS}, replication = 3, {config} }}"));
        Ok(scene)
    }

    /// The same with a pipeline that makes no topics.
    pub async fn without_topics(brokers: &str) -> Result<Self> {
        Self::with_table(brokers, SourceTable::create(Some(StreamViewType::NewAndOldImages)).await?)
    }

    /// The same with a table that the test made.
    pub fn with_table(brokers: &str, table: SourceTable) -> Result<Self> {
        let dir = tempfile::tempdir()?;
        let sink = format!("[sink.kafka]\nbrokers = \"{brokers}\"\n");
        let mut pipeline = Pipeline::new(&table.name, sink);
        // The names of the other topics and of the transactions follow from the pipeline's.
        pipeline.name.clone_from(&table.name);
        let (topic, brokers) = (table.name.clone(), brokers.to_owned());
        Ok(Self { table, pipeline, environment: environment(dir.path()), brokers, topic, dir })
    }

    /// Adds a line to `[sink.kafka]`.
    pub fn add(&mut self, line: &str) {
        self.pipeline.sink.push_str(line);
        self.pipeline.sink.push('\n');
    }

    /// The test's folder.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The topic of the dead letters.
    pub fn dead_letter_topic(&self) -> String {
        format!("{}-dead-letters", self.pipeline.name)
    }

    /// The topic of the progress.
    pub fn progress_topic(&self) -> String {
        format!("{}-progress", self.pipeline.name)
    }

    /// Starts `tailwater run FILE`.
    pub fn start(&self) -> Result<Tailwater> {
        Tailwater::start(self.dir(), &["run", &self.file()?], &self.environment)
    }

    /// Runs `tailwater run FILE --until tip`, whatever comes of it.
    pub async fn try_to_tip(&self) -> Result<Outcome> {
        self.command(&["run", &self.file()?, "--until", "tip"]).await
    }

    /// The same; it must end well.
    pub async fn run_to_tip(&self) -> Result<Outcome> {
        self.try_to_tip().await?.must_exit_with(0)
    }

    /// Runs any command of `tailwater` to its end.
    pub async fn command(&self, arguments: &[&str]) -> Result<Outcome> {
        Tailwater::run(self.dir(), arguments, &self.environment, RUN_WITHIN).await
    }

    /// Writes the pipeline file and returns its path.
    pub fn file(&self) -> Result<String> {
        Ok(self.pipeline.write(self.dir())?.to_str().context("a path that is no text")?.to_owned())
    }

    /// The stream as the SDK reads it.
    pub async fn stream(&self) -> Result<Vec<StreamEvent>> {
        stream::read(&self.table.stream_arn().await?.context("the table has no stream")?).await
    }

    /// The messages of the change events that a consumer sees which reads what is committed.
    pub async fn committed(&self) -> Result<Vec<Message>> {
        reader::read(&self.brokers, &self.topic, Isolation::ReadCommitted).await
    }

    /// The committed messages of the dead letters.
    pub async fn dead_letters(&self) -> Result<Vec<Message>> {
        reader::read(&self.brokers, &self.dead_letter_topic(), Isolation::ReadCommitted).await
    }

    /// How many messages of change events stand in transactions that were aborted: a consumer sees them only when it
    /// reads what is not committed.
    pub async fn aborted_messages(&self) -> Result<usize> {
        let all = reader::read(&self.brokers, &self.topic, Isolation::ReadUncommitted).await?;
        Ok(all.len() - self.committed().await?.len())
    }

    /// Waits until at least `more` committed messages are there beyond what there is now.
    pub async fn carries(&self, more: usize, within: Duration) -> Result<()> {
        let goal = self.count().await? + more;
        self.reaches(goal, within).await
    }

    /// Waits until the committed messages are at least as many as the stream stands for. Nobody may write any more.
    pub async fn catches_up(&self, deletes: Deletes, within: Duration) -> Result<()> {
        let goal = history::messages_expected(&self.stream().await?, deletes);
        self.reaches(goal, within).await
    }

    async fn reaches(&self, goal: usize, within: Duration) -> Result<()> {
        wait_until("messages are carried", within, || async {
            Ok(match self.count().await {
                Ok(now) => Look::when(now >= goal, format!("{now} committed messages of {goal}")),
                // A broker that was just killed may not know yet who leads what.
                Err(error) => Look::NotYet(format!("{error:#}")),
            })
        })
        .await
    }

    /// Committed messages now; none while the topic is not there.
    async fn count(&self) -> Result<usize> {
        if reader::topic_exists(&self.brokers, &self.topic).await? { Ok(self.committed().await?.len()) } else { Ok(0) }
    }

    /// Holds the committed messages against the stream, the ledger of all writes and the table: exactly once.
    pub async fn check_exactly_once(&self, deletes: Deletes, ledger: &Ledger) -> Result<Found> {
        let messages = self.committed().await?;
        let found = history::exactly_once(&messages, &self.stream().await?, deletes)?;
        self.check_content(&messages, ledger).await?;
        Ok(found)
    }

    /// The same where repeats are allowed.
    pub async fn check_at_least_once(&self, deletes: Deletes, ledger: &Ledger) -> Result<Found> {
        let messages = self.committed().await?;
        let found = history::at_least_once(&messages, &self.stream().await?, deletes)?;
        self.check_content(&messages, ledger).await?;
        Ok(found)
    }

    async fn check_content(&self, messages: &[Message], ledger: &Ledger) -> Result<()> {
        history::check_ledger(messages, ledger)?;
        history::check_final(messages, &self.table.scan().await?)
    }
}

impl Drop for KafkaScene {
    /// Deletes the topics, so that a Kafka that stays up does not fill with them.
    fn drop(&mut self) {
        let topics = [self.topic.clone(), self.dead_letter_topic(), self.progress_topic()];
        // Some tests never come to make them, and a failing one has better things to say.
        let _ = admin::delete_topics(&self.brokers, &topics);
    }
}
