//! From a spec to an assembled pipeline: connects to both sides, checks that they fit, and claims the lanes. Nothing is
//! read yet, and nothing is written but the claim.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tailwater_model::{Finished, KeySchema, PipelineIdentity, Sink, Transform, Trouble, TroubleKind};
use tailwater_pipeline::{Ended, LaneSettings, PipelineStatus, StopSignal, run_pipeline};
use tailwater_sink_kafka::KafkaLane;
use tailwater_sink_local::{FileLane, SqliteLane, StdoutLane, claim_file, claim_sqlite, claim_stdout};
use tailwater_sink_postgres::{PostgresLane, claim};
use tailwater_source_dynamodb::{
    DynamoDb, OnGap, ReaderSettings, STREAM_GONE, SourceStatus, StatusReader, Table, connect, open_stream,
};
use tracing::info;

use crate::configuration::{LimitsSpec, PipelineSpec, SinkSpec, TransformSpec};
use crate::streams::{self, ChosenStream, Patience};

/// Waits before a lane is opened again after trouble, first and longest.
const REOPEN_DELAYS: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(30));

/// A pipeline that is connected on both sides and owns its lanes.
pub struct AssembledPipeline {
    /// Its name.
    pub name: String,
    source: ConnectedPipeline,
    until_tip: bool,
    sink: ClaimedSink,
}

/// The sessions of a sink, one per lane.
enum ClaimedSink {
    Kafka(Vec<KafkaLane>),
    Postgres(Vec<PostgresLane>),
    Sqlite(Vec<SqliteLane>),
    File(Vec<FileLane>),
    Stdout(Vec<StdoutLane>),
}

/// A pipeline whose source was reached and fits its file. Nothing was changed anywhere.
pub struct ConnectedPipeline {
    spec: PipelineSpec,
    dynamodb: DynamoDb,
    table: Table,
    stream: ChosenStream,
}

/// What tells of a running pipeline, whichever stream it reads.
#[derive(Clone, Default)]
pub struct PipelineView {
    /// What was carried.
    pub status: Arc<PipelineStatus>,
    source: Arc<Mutex<Option<StatusReader>>>,
}

impl PipelineView {
    /// How far the stream was read; nothing before the first one is opened.
    pub fn source(&self) -> Option<SourceStatus> {
        let source = self.source.lock().unwrap_or_else(PoisonError::into_inner).clone();
        source.map(|source| source.status())
    }

    fn reads(&self, source: StatusReader) {
        *self.source.lock().unwrap_or_else(PoisonError::into_inner) = Some(source);
    }
}

/// Connects to the source and checks that the table and its stream are what the file needs.
pub async fn connect_source(spec: PipelineSpec) -> Result<ConnectedPipeline, Trouble> {
    let dynamodb = Box::pin(connect(&spec.source.aws)).await?;
    let table = match Box::pin(dynamodb.describe_table(&spec.source.table)).await {
        Ok(table) => table,
        Err(trouble) => return Err(Box::pin(streams::without_table(&dynamodb, &spec, trouble)).await),
    };
    let stream = Box::pin(streams::first(&dynamodb, &table, &spec)).await?;
    check_renames(&spec.transforms, &table.key_schema)?;
    Ok(ConnectedPipeline { spec, dynamodb, table, stream })
}

impl ConnectedPipeline {
    /// The pipeline's name.
    pub fn name(&self) -> &str {
        &self.spec.name
    }

    /// Claims the lanes. A pipeline of the same name that runs elsewhere loses them by this.
    pub async fn claim(mut self, until_tip: bool) -> Result<AssembledPipeline, Trouble> {
        let mut sink = Box::pin(claim_lanes(&self.spec, &self.stream)).await?;
        // Whoever had the lanes until now may have gone over to another stream since ours was chosen; now nobody does.
        let chosen = Box::pin(streams::first(&self.dynamodb, &self.table, &self.spec)).await?;
        let is_another = chosen.identity != self.stream.identity;
        self.stream = chosen;
        if is_another {
            sink = Box::pin(claim_lanes(&self.spec, &self.stream)).await?;
        }
        streams::tell_first(&self.spec, &self.table, &self.stream.identity);
        Ok(AssembledPipeline { name: self.spec.name.clone(), source: self, until_tip, sink })
    }

    /// Whether nothing more is to be had of the stream: it was read to its end, or it is gone and a gap says what is lost.
    fn is_over(&self, outcome: &Result<Ended, Trouble>) -> bool {
        match outcome {
            Ok(ended) => *ended == Ended::Finished(Finished::StreamEnded),
            Err(trouble) => trouble.code == STREAM_GONE && self.spec.source.on_gap == OnGap::Continue,
        }
    }

    /// The stream that follows one that is over, with the sink claimed for it; nothing when there is none.
    async fn next(&self) -> Result<Option<(ChosenStream, ClaimedSink)>, Trouble> {
        let next = Box::pin(streams::next(&self.dynamodb, &self.spec, &self.stream.identity)).await?;
        let Some(next) = next else { return Ok(None) };
        if next.keys != self.stream.keys {
            return Err(streams::table_replaced(&self.spec, &self.stream.keys, &next.keys));
        }
        let sink = Box::pin(claim_lanes(&self.spec, &next)).await?;
        Ok(Some((next, sink)))
    }

    async fn carry(
        &self,
        sink: ClaimedSink,
        until_tip: bool,
        stop: &StopSignal,
        view: &PipelineView,
    ) -> Result<Ended, Trouble> {
        let reader = self.reader_settings(until_tip);
        match sink {
            ClaimedSink::Kafka(lanes) => self.carry_into(lanes, reader, stop, view).await,
            ClaimedSink::Postgres(lanes) => self.carry_into(lanes, reader, stop, view).await,
            ClaimedSink::Sqlite(lanes) => self.carry_into(lanes, reader, stop, view).await,
            ClaimedSink::File(lanes) => self.carry_into(lanes, reader, stop, view).await,
            ClaimedSink::Stdout(lanes) => self.carry_into(lanes, reader, stop, view).await,
        }
    }

    async fn carry_into<K: Sink + 'static>(
        &self,
        sinks: Vec<K>,
        reader: ReaderSettings,
        stop: &StopSignal,
        view: &PipelineView,
    ) -> Result<Ended, Trouble> {
        // The sink claimed one session per lane, so the two sides have the same number.
        let lanes = u32::try_from(sinks.len()).unwrap_or(u32::MAX);
        let (readers, source) = open_stream(self.dynamodb.clone(), self.stream.identity.clone(), lanes, reader);
        view.reads(source);
        let lanes = readers.into_iter().zip(sinks).collect();
        let transforms = self.spec.transforms.iter().cloned().map(boxed).collect();
        let settings = lane_settings(&self.spec.limits);
        Box::pin(run_pipeline(lanes, transforms, settings, stop.clone(), Arc::clone(&view.status))).await
    }

    fn reader_settings(&self, until_tip: bool) -> ReaderSettings {
        let (source, limits) = (&self.spec.source, &self.spec.limits);
        ReaderSettings {
            start: source.start,
            on_gap: source.on_gap,
            until_tip,
            follows: self.stream.follows.clone(),
            poll_interval_min: source.poll_interval_min,
            poll_interval_max: source.poll_interval_max,
            visible_within: source.visible_within,
            fetch_slots: limits.fetch_slots,
            memory_bytes_max: limits.memory_bytes_max,
            discovery_interval: limits.discovery_interval,
            seed: ambient_seed(),
        }
    }
}

impl AssembledPipeline {
    /// Carries changes until the stop signal is given, the source is finished, or a person is needed. A stream that was read
    /// to its end, or went with a gap on record, is followed by the next one of its table. After one that was read to its tip
    /// none is looked for: if there is one by now, it is younger than the run.
    pub async fn run(self, stop: StopSignal, view: PipelineView) -> Result<Ended, Trouble> {
        let Self { name, mut source, until_tip, mut sink } = self;
        loop {
            let outcome = source.carry(sink, until_tip, &stop, &view).await;
            if !source.is_over(&outcome) {
                return outcome;
            }
            let mut patience = Patience::default();
            let found = loop {
                match source.next().await {
                    Ok(found) => break found.ok_or_else(|| streams::turned_off(&source.spec)),
                    Err(trouble) => match patience.bear(trouble, &source.spec.name, &stop).await {
                        Ok(true) => {}
                        Ok(false) => return Ok(Ended::Stopped),
                        Err(trouble) if trouble.code == streams::NOT_FOUND => {
                            break Err(streams::deleted(&source.spec));
                        }
                        Err(trouble) => return Err(trouble),
                    },
                }
            };
            let (next, claimed) = match found {
                Ok(found) => found,
                Err(_) if until_tip || outcome.is_err() => return outcome,
                Err(none) => return Err(none),
            };
            info!(pipeline = name, stream = next.identity.stream_arn, "going on with the stream that follows");
            (source.stream, sink) = (next, claimed);
        }
    }
}

async fn claim_lanes(spec: &PipelineSpec, stream: &ChosenStream) -> Result<ClaimedSink, Trouble> {
    let ChosenStream { identity, view_type, keys, .. } = stream;
    let identity = PipelineIdentity { name: spec.name.clone(), lanes: spec.lanes, stream: identity.clone() };
    Ok(match &spec.sink {
        SinkSpec::Kafka(settings) => {
            let lanes = Box::pin(tailwater_sink_kafka::claim(settings, &identity, keys, *view_type)).await?;
            ClaimedSink::Kafka(lanes)
        }
        SinkSpec::Postgres(settings) => ClaimedSink::Postgres(Box::pin(claim(settings, &identity, keys)).await?),
        SinkSpec::Sqlite(settings) => ClaimedSink::Sqlite(Box::pin(claim_sqlite(settings, &identity, keys)).await?),
        SinkSpec::File(settings) => ClaimedSink::File(Box::pin(claim_file(settings, &identity, keys)).await?),
        SinkSpec::Stdout => ClaimedSink::Stdout(claim_stdout(&identity, keys)),
    })
}

/// The key is the identity of an item in every sink: under another name nobody would find it.
fn check_renames(transforms: &[TransformSpec], keys: &KeySchema) -> Result<(), Trouble> {
    let renamed = transforms.iter().flat_map(|transform| match transform {
        TransformSpec::Rename(rename) => rename.renamed().filter_map(|path| path.top_level()).collect(),
        TransformSpec::Keep(_) | TransformSpec::Select(_) => Vec::new(),
    });
    let keys: Vec<_> = keys.attributes().map(|attribute| attribute.name.as_str()).collect();
    match renamed.into_iter().find(|name| keys.contains(name)) {
        Some(name) => Err(Trouble::new(
            TroubleKind::Config,
            "config.rename_key",
            format!("a [[transform]] renames {name:?}, which is part of the table's key"),
        )
        .advise("leave key attributes out of `rename`")),
        None => Ok(()),
    }
}

fn boxed(transform: TransformSpec) -> Box<dyn Transform> {
    match transform {
        TransformSpec::Keep(keep) => Box::new(keep),
        TransformSpec::Select(select) => Box::new(select),
        TransformSpec::Rename(rename) => Box::new(rename),
    }
}

fn lane_settings(limits: &LimitsSpec) -> LaneSettings {
    LaneSettings {
        group_events_max: limits.group_events_max,
        group_bytes_max: limits.group_bytes_max,
        group_delay_max: limits.group_delay_max,
        reopen_delay_min: REOPEN_DELAYS.0,
        reopen_delay_max: REOPEN_DELAYS.1,
        grace_period: limits.grace_period,
        seed: ambient_seed(),
    }
}

/// Processes that were started together must not retry together.
#[expect(clippy::disallowed_methods, reason = "the program's edge: from here on the seed is handed down")]
fn ambient_seed() -> u64 {
    fastrand::u64(..)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use tailwater_model::{KeyAttribute, KeyKind};
    use tailwater_transform::{AttributePath, RenameAttributes};

    use super::*;

    #[test]
    fn a_key_attribute_keeps_its_name() {
        let keys = KeySchema { partition: KeyAttribute { name: "id".into(), kind: KeyKind::S }, sort: None };
        for (path, refused) in [("id", true), ("customer.id", false), ("name", false)] {
            let path = AttributePath::parse(path).expect("a path");
            let rename = RenameAttributes::new(BTreeMap::from([(path, "x".into())])).expect("a rename");
            assert_eq!(check_renames(&[TransformSpec::Rename(rename)], &keys).is_err(), refused);
        }
    }
}
