//! The sinks as a pipeline takes them: what each of them is checked and claimed by.

use tailwater_model::{Claimed, Ownership, PipelineIdentity, Sink, Trouble, Unshared};
use tailwater_sink_kafka::{KafkaLane, KafkaOwnership, KafkaSettings};
use tailwater_sink_local::{
    FileLane, FileSettings, SqliteLane, SqliteOwnership, SqliteSettings, StdoutLane, check_file, check_sqlite,
    claim_file, claim_sqlite, claim_stdout,
};
use tailwater_sink_postgres::{PostgresLane, PostgresOwnership, PostgresSettings, check_claim, claim};
use tracing::info;

use crate::streams::ChosenStream;

/// A sink that has not been claimed.
pub trait Claims: Clone + Send + Sync + 'static {
    /// One session of one lane.
    type Lane: Sink + 'static;
    /// Who owns the pipeline there.
    type Ownership: Ownership + 'static;

    /// Whether the pipeline could be claimed, as far as that can be seen. Takes nothing from anybody.
    fn check(
        &self,
        identity: &PipelineIdentity,
        stream: &ChosenStream,
    ) -> impl Future<Output = Result<(), Trouble>> + Send;

    /// Claims the lanes. A pipeline of the same name that runs elsewhere loses them by this.
    fn claim(
        &self,
        identity: &PipelineIdentity,
        stream: &ChosenStream,
    ) -> impl Future<Output = Result<Claimed<Self::Lane, Self::Ownership>, Trouble>> + Send;
}

impl Claims for KafkaSettings {
    type Lane = KafkaLane;
    type Ownership = KafkaOwnership;

    async fn check(&self, identity: &PipelineIdentity, stream: &ChosenStream) -> Result<(), Trouble> {
        Box::pin(tailwater_sink_kafka::check_claim(self, identity, &stream.keys, stream.view_type)).await
    }

    async fn claim(
        &self,
        identity: &PipelineIdentity,
        stream: &ChosenStream,
    ) -> Result<Claimed<KafkaLane, KafkaOwnership>, Trouble> {
        let claimed = Box::pin(tailwater_sink_kafka::claim(self, identity, &stream.keys, stream.view_type)).await?;
        tell_used_up(self.adopt.as_ref(), &identity.name);
        Ok(claimed)
    }
}

impl Claims for PostgresSettings {
    type Lane = PostgresLane;
    type Ownership = PostgresOwnership;

    async fn check(&self, identity: &PipelineIdentity, stream: &ChosenStream) -> Result<(), Trouble> {
        Box::pin(check_claim(self, identity, &stream.keys)).await
    }

    async fn claim(
        &self,
        identity: &PipelineIdentity,
        stream: &ChosenStream,
    ) -> Result<Claimed<PostgresLane, PostgresOwnership>, Trouble> {
        Box::pin(claim(self, identity, &stream.keys)).await
    }
}

impl Claims for SqliteSettings {
    type Lane = SqliteLane;
    type Ownership = SqliteOwnership;

    async fn check(&self, identity: &PipelineIdentity, stream: &ChosenStream) -> Result<(), Trouble> {
        Box::pin(check_sqlite(self, identity, &stream.keys)).await
    }

    async fn claim(
        &self,
        identity: &PipelineIdentity,
        stream: &ChosenStream,
    ) -> Result<Claimed<SqliteLane, SqliteOwnership>, Trouble> {
        Box::pin(claim_sqlite(self, identity, &stream.keys)).await
    }
}

impl Claims for FileSettings {
    type Lane = FileLane;
    type Ownership = SqliteOwnership;

    async fn check(&self, identity: &PipelineIdentity, stream: &ChosenStream) -> Result<(), Trouble> {
        Box::pin(check_file(self, identity, &stream.keys)).await
    }

    async fn claim(
        &self,
        identity: &PipelineIdentity,
        stream: &ChosenStream,
    ) -> Result<Claimed<FileLane, SqliteOwnership>, Trouble> {
        Box::pin(claim_file(self, identity, &stream.keys)).await
    }
}

/// A token is good once; what is left over in the file does nothing. The other sinks tell whether it was used.
fn tell_used_up(adopt: Option<&String>, pipeline: &str) {
    if adopt.is_some() {
        info!(pipeline, "progress and target belong together: a token does nothing any more, `adopt` can be removed");
    }
}

/// The standard output, which is the process' own.
#[derive(Clone, Copy, Debug)]
pub struct Stdout;

impl Claims for Stdout {
    type Lane = StdoutLane;
    type Ownership = Unshared;

    async fn check(&self, _: &PipelineIdentity, _: &ChosenStream) -> Result<(), Trouble> {
        Ok(())
    }

    async fn claim(
        &self,
        identity: &PipelineIdentity,
        stream: &ChosenStream,
    ) -> Result<Claimed<StdoutLane, Unshared>, Trouble> {
        Ok(claim_stdout(identity, &stream.keys))
    }
}
