//! From a spec to an assembled pipeline: connects to both sides, checks that they fit, and claims the lanes. Nothing is
//! read yet, and nothing is written but the claim.

use std::sync::Arc;
use std::time::Duration;

use tailwater_model::{KeySchema, PipelineIdentity, Sink, StreamIdentity, Transform, Trouble, TroubleKind, ViewType};
use tailwater_pipeline::{Ended, LaneSettings, PipelineStatus, StopSignal, run_pipeline};
use tailwater_sink_kafka::KafkaLane;
use tailwater_sink_local::{FileLane, SqliteLane, StdoutLane, claim_file, claim_sqlite, claim_stdout};
use tailwater_sink_postgres::{PostgresLane, claim};
use tailwater_source_dynamodb::{AwsSettings, DynamoDb, ReaderSettings, Table, connect, open_stream};

use crate::configuration::{LimitsSpec, PipelineSpec, SinkSpec, SourceSpec, TransformSpec};

/// Waits before a lane is opened again after trouble, first and longest.
const REOPEN_DELAYS: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(30));

/// A pipeline that is connected on both sides and owns its lanes.
pub struct AssembledPipeline {
    /// Its name.
    pub name: String,
    dynamodb: DynamoDb,
    stream: StreamIdentity,
    reader: ReaderSettings,
    sink: ClaimedSink,
    transforms: Vec<Box<dyn Transform>>,
    lane: LaneSettings,
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
    keys: KeySchema,
    stream: StreamIdentity,
    /// What the stream's records carry. Nothing when the service does not say.
    view_type: Option<ViewType>,
}

/// Connects to the source and checks that the table and its stream are what the file needs.
pub async fn connect_source(spec: PipelineSpec) -> Result<ConnectedPipeline, Trouble> {
    let dynamodb = Box::pin(connect(&spec.source.aws)).await?;
    let table = Box::pin(dynamodb.describe_table(&spec.source.table)).await?;
    let (stream, view_type) = Box::pin(choose_stream(&dynamodb, &table, &spec)).await?;
    check_renames(&spec.transforms, &table.key_schema)?;
    Ok(ConnectedPipeline { spec, dynamodb, keys: table.key_schema, stream, view_type })
}

impl ConnectedPipeline {
    /// The pipeline's name.
    pub fn name(&self) -> &str {
        &self.spec.name
    }

    /// Claims the lanes. A pipeline of the same name that runs elsewhere loses them by this.
    pub async fn claim(self, until_tip: Option<i64>) -> Result<AssembledPipeline, Trouble> {
        let Self { spec, dynamodb, keys, stream, view_type } = self;
        let identity = PipelineIdentity { name: spec.name.clone(), lanes: spec.lanes, stream: stream.clone() };
        let sink = Box::pin(claim_lanes(&spec.sink, &identity, &keys, view_type)).await?;
        Ok(AssembledPipeline {
            name: spec.name,
            dynamodb,
            stream,
            reader: reader_settings(&spec.source, &spec.limits, until_tip),
            sink,
            transforms: spec.transforms.into_iter().map(boxed).collect(),
            lane: lane_settings(&spec.limits),
        })
    }
}

impl AssembledPipeline {
    /// Carries changes until the stop signal is given, the source is finished, or a person is needed.
    pub async fn run(self, stop: StopSignal, status: Arc<PipelineStatus>) -> Result<Ended, Trouble> {
        let Self { dynamodb, stream, reader, sink, transforms, lane, .. } = self;
        let source = StreamParts { dynamodb, stream, reader };
        match sink {
            ClaimedSink::Kafka(lanes) => carry(source, lanes, transforms, lane, stop, status).await,
            ClaimedSink::Postgres(lanes) => carry(source, lanes, transforms, lane, stop, status).await,
            ClaimedSink::Sqlite(lanes) => carry(source, lanes, transforms, lane, stop, status).await,
            ClaimedSink::File(lanes) => carry(source, lanes, transforms, lane, stop, status).await,
            ClaimedSink::Stdout(lanes) => carry(source, lanes, transforms, lane, stop, status).await,
        }
    }
}

struct StreamParts {
    dynamodb: DynamoDb,
    stream: StreamIdentity,
    reader: ReaderSettings,
}

async fn carry<K: Sink + 'static>(
    source: StreamParts,
    sinks: Vec<K>,
    transforms: Vec<Box<dyn Transform>>,
    lane: LaneSettings,
    stop: StopSignal,
    status: Arc<PipelineStatus>,
) -> Result<Ended, Trouble> {
    // The sink claimed one session per lane, so the two sides have the same number.
    let lanes = u32::try_from(sinks.len()).unwrap_or(u32::MAX);
    let readers = open_stream(source.dynamodb, source.stream, lanes, source.reader);
    let lanes = readers.into_iter().zip(sinks).collect();
    Box::pin(run_pipeline(lanes, transforms, lane, stop, status)).await
}

async fn claim_lanes(
    sink: &SinkSpec,
    identity: &PipelineIdentity,
    keys: &KeySchema,
    view_type: Option<ViewType>,
) -> Result<ClaimedSink, Trouble> {
    Ok(match sink {
        SinkSpec::Kafka(settings) => {
            let lanes = Box::pin(tailwater_sink_kafka::claim(settings, identity, keys, view_type)).await?;
            ClaimedSink::Kafka(lanes)
        }
        SinkSpec::Postgres(settings) => ClaimedSink::Postgres(Box::pin(claim(settings, identity, keys)).await?),
        SinkSpec::Sqlite(settings) => ClaimedSink::Sqlite(Box::pin(claim_sqlite(settings, identity, keys)).await?),
        SinkSpec::File(settings) => ClaimedSink::File(Box::pin(claim_file(settings, identity, keys)).await?),
        SinkSpec::Stdout => ClaimedSink::Stdout(claim_stdout(identity, keys)),
    })
}

/// The stream to read, with its view type: the one that the file names, or the table's newest. Refuses one that the sink
/// cannot use.
async fn choose_stream(
    dynamodb: &DynamoDb,
    table: &Table,
    spec: &PipelineSpec,
) -> Result<(StreamIdentity, Option<ViewType>), Trouble> {
    let identity = |arn: &str| StreamIdentity {
        table: table.name.clone(),
        table_id: table.table_id.clone(),
        stream_arn: arn.to_owned(),
    };
    let (stream, view) = match (&spec.source.stream_arn, &table.stream) {
        (Some(arn), newest) if newest.as_ref().is_none_or(|newest| newest.arn != *arn) => {
            (identity(arn), dynamodb.stream_description(&table.name, arn).await?.view_type)
        }
        (_, Some(newest)) => {
            if !newest.enabled {
                tracing::warn!(
                    pipeline = spec.name,
                    table = table.name,
                    "the stream is turned off: what is in it is carried, then the pipeline ends"
                );
            }
            (identity(&newest.arn), Some(newest.view_type))
        }
        (_, None) => return Err(no_stream(&table.name, &spec.source.aws)),
    };
    // A service that does not say its view type is taken at its records.
    match view {
        Some(view) if spec.sink.mirrors() && !view.images().new => Err(view_type(&table.name, view, spec)),
        _ => Ok((stream, view)),
    }
}

fn no_stream(table: &str, aws: &AwsSettings) -> Trouble {
    Trouble::new(TroubleKind::Environment, "source.no_stream", format!("the table {table} has no stream"))
        .advise(format!("tailwater stream enable {table} --view NEW_AND_OLD_IMAGES{}", aws_flags(aws)))
}

fn view_type(table: &str, view: ViewType, spec: &PipelineSpec) -> Trouble {
    let (sink, flags) = (spec.sink.name(), aws_flags(&spec.source.aws));
    Trouble::new(
        TroubleKind::Environment,
        "source.view_type",
        format!("the stream of {table} is {}, but [sink.{sink}] mirrors items and needs the new image", view.as_str()),
    )
    .advise(format!(
        "a view type cannot be changed in place; turn the stream off and on, which makes a new one:\n\
         tailwater stream disable {table}{flags}\n\
         tailwater stream enable {table} --view NEW_AND_OLD_IMAGES{flags}"
    ))
}

/// The flags with which another command reaches the same table.
fn aws_flags(aws: &AwsSettings) -> String {
    [("region", &aws.region), ("endpoint-url", &aws.endpoint_url), ("profile", &aws.profile)]
        .into_iter()
        .filter_map(|(flag, value)| value.as_ref().map(|value| format!(" --{flag} {value}")))
        .collect()
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

fn reader_settings(source: &SourceSpec, limits: &LimitsSpec, until_tip: Option<i64>) -> ReaderSettings {
    ReaderSettings {
        start: source.start,
        on_gap: source.on_gap,
        until_tip,
        poll_interval_min: source.poll_interval_min,
        poll_interval_max: source.poll_interval_max,
        fetch_slots: limits.fetch_slots,
        memory_bytes_max: limits.memory_bytes_max,
        discovery_interval: limits.discovery_interval,
        seed: ambient_seed(),
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
    fn the_advice_reaches_the_same_table() {
        let aws = AwsSettings { endpoint_url: Some("http://127.0.0.1:8000".into()), ..AwsSettings::default() };
        assert_eq!(
            no_stream("orders", &aws).advice.as_deref(),
            Some("tailwater stream enable orders --view NEW_AND_OLD_IMAGES --endpoint-url http://127.0.0.1:8000")
        );
    }

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
