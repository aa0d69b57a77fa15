//! From a spec to a running pipeline: connects to the source, checks that both sides fit, and puts the parts together as
//! often as the pipeline is claimed.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tailwater_model::{
    Claimed, Finished, KeySchema, PipelineIdentity, StreamIdentity, Transform, Trouble, TroubleKind,
};
use tailwater_pipeline::{Assembly, Ended, Following, LaneSettings, PipelineStatus, RunSettings, StopSignal, run};
use tailwater_source_dynamodb::{
    DynamoDb, LaneReader, OnGap, ReaderSettings, STREAM_GONE, SourceStatus, StatusReader, Table, connect, open_stream,
};
use tracing::{info, warn};

use crate::claims::{Claims, Stdout};
use crate::configuration::{LimitsSpec, PipelineSpec, SinkSpec, TransformSpec};
use crate::streams::{self, ChosenStream, Patience};

/// Waits before a lane is opened again after trouble, first and longest.
const REOPEN_DELAYS: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(30));

/// A pipeline whose source was reached and fits its file. Nothing was changed anywhere.
pub struct ConnectedPipeline {
    spec: PipelineSpec,
    dynamodb: DynamoDb,
    table: Table,
    stream: ChosenStream,
}

/// A pipeline and its sink, which is claimed as often as that is needed.
struct Pipeline<C> {
    source: ConnectedPipeline,
    sink: C,
    until_tip: bool,
    /// The last stream that was read to its end here: it is not begun again.
    ended: Option<StreamIdentity>,
    view: PipelineView,
    patience: Patience,
    was_told: bool,
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
    let (table, stream) = Box::pin(choose(&dynamodb, &spec)).await?;
    check_renames(&spec.transforms, &table.key_schema)?;
    dynamodb.check_dates(&table.name, &stream.identity.stream_arn).await?;
    Ok(ConnectedPipeline { spec, dynamodb, table, stream })
}

/// The table as it is now, and the stream of it to begin with.
async fn choose(dynamodb: &DynamoDb, spec: &PipelineSpec) -> Result<(Table, ChosenStream), Trouble> {
    let table = match Box::pin(dynamodb.describe_table(&spec.source.table)).await {
        Ok(table) => table,
        Err(trouble) => return Err(Box::pin(streams::without_table(dynamodb, spec, trouble)).await),
    };
    let stream = Box::pin(streams::first(dynamodb, &table, spec)).await?;
    Ok((table, stream))
}

impl ConnectedPipeline {
    /// The pipeline's name.
    pub fn name(&self) -> &str {
        &self.spec.name
    }

    /// Where changes come from, in words.
    pub fn source(&self) -> String {
        format!("table {} in {}", self.table.name, self.dynamodb.place())
    }

    /// Where they go, in words.
    pub fn target(&self) -> String {
        self.spec.sink.target()
    }

    /// Whether its sink could be claimed. Takes nothing from anybody.
    pub async fn check_sink(&self) -> Result<(), Trouble> {
        let (identity, stream) = (self.identity(), &self.stream);
        match &self.spec.sink {
            SinkSpec::Kafka(settings) => settings.check(&identity, stream).await,
            SinkSpec::Postgres(settings) => settings.check(&identity, stream).await,
            SinkSpec::Sqlite(settings) => settings.check(&identity, stream).await,
            SinkSpec::File(settings) => settings.check(&identity, stream).await,
            SinkSpec::Stdout => Stdout.check(&identity, stream).await,
        }
    }

    /// Claims the lanes and carries changes until the stop signal is given, the source is finished, or a person is needed. A
    /// pipeline of the same name that runs elsewhere loses its lanes by this, and stands by.
    ///
    /// A stream that was read to its end, or went with a gap on record, is followed by the next one of its table. After one
    /// that was read to its tip none is looked for: if there is one by now, it is younger than the run.
    pub async fn run(self, until_tip: bool, stop: StopSignal, view: PipelineView) -> Result<Ended, Trouble> {
        match self.spec.sink.clone() {
            SinkSpec::Kafka(settings) => self.run_into(*settings, until_tip, stop, view).await,
            SinkSpec::Postgres(settings) => self.run_into(settings, until_tip, stop, view).await,
            SinkSpec::Sqlite(settings) => self.run_into(settings, until_tip, stop, view).await,
            SinkSpec::File(settings) => self.run_into(settings, until_tip, stop, view).await,
            SinkSpec::Stdout => self.run_into(Stdout, until_tip, stop, view).await,
        }
    }

    async fn run_into<C: Claims>(
        self,
        sink: C,
        until_tip: bool,
        stop: StopSignal,
        view: PipelineView,
    ) -> Result<Ended, Trouble> {
        let lane = lane_settings(&self.spec.limits);
        let settings = RunSettings { lane, lease: self.spec.lease, stands_by: !until_tip };
        let status = Arc::clone(&view.status);
        let patience = Patience::default();
        let pipeline = Pipeline { source: self, sink, until_tip, ended: None, view, patience, was_told: false };
        Box::pin(run(pipeline, settings, stop, status)).await
    }

    fn identity(&self) -> PipelineIdentity {
        PipelineIdentity { name: self.spec.name.clone(), lanes: self.spec.lanes, stream: self.stream.identity.clone() }
    }

    /// Whether nothing more is to be had of the stream: it was read to its end, or it is gone and a gap says what is lost.
    fn is_over(&self, outcome: &Result<Ended, Trouble>) -> bool {
        match outcome {
            Ok(ended) => *ended == Ended::Finished(Finished::StreamEnded),
            Err(trouble) => trouble.code == STREAM_GONE && self.spec.source.on_gap == OnGap::Continue,
        }
    }

    /// The stream that follows one that is over; nothing when there is none.
    async fn next(&self) -> Result<Option<ChosenStream>, Trouble> {
        let next = Box::pin(streams::next(&self.dynamodb, &self.spec, &self.stream.identity)).await?;
        match next {
            Some(next) if next.keys != self.stream.keys => {
                Err(streams::table_replaced(&self.spec, &self.stream.keys, &next.keys))
            }
            next => Ok(next),
        }
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

impl<C: Claims> Assembly for Pipeline<C> {
    type Source = LaneReader<DynamoDb>;
    type Sink = C::Lane;
    type Ownership = C::Ownership;

    async fn choose(&mut self) -> Result<StreamIdentity, Trouble> {
        let source = &mut self.source;
        let (dynamodb, spec) = (&source.dynamodb, &source.spec);
        if let Some(ended) = &self.ended
            && Box::pin(streams::is_last_read(spec, ended)).await?
        {
            let next = Box::pin(streams::next(dynamodb, spec, ended)).await?;
            source.stream = next.ok_or_else(|| streams::turned_off(spec))?;
        } else {
            // Also where others have gone further meanwhile.
            (source.table, source.stream) = Box::pin(choose(dynamodb, spec)).await?;
        }
        Ok(source.stream.identity.clone())
    }

    async fn claim(&mut self) -> Result<Claimed<C::Lane, C::Ownership>, Trouble> {
        self.sink.claim(&self.source.identity(), &self.source.stream).await
    }

    fn read(&mut self, lanes: Vec<C::Lane>) -> Vec<(LaneReader<DynamoDb>, C::Lane)> {
        let source = &self.source;
        if !std::mem::replace(&mut self.was_told, true) {
            streams::tell_first(&source.spec, &source.table, &source.stream.identity);
        }
        self.patience = Patience::default();
        // The sink claimed one session per lane, so the two sides have the same number.
        let count = u32::try_from(lanes.len()).unwrap_or(u32::MAX);
        let settings = source.reader_settings(self.until_tip);
        let (readers, status) = open_stream(source.dynamodb.clone(), source.stream.identity.clone(), count, settings);
        self.view.reads(status);
        readers.into_iter().zip(lanes).collect()
    }

    fn transforms(&self) -> Vec<Box<dyn Transform>> {
        self.source.spec.transforms.iter().cloned().map(boxed).collect()
    }

    async fn follow(&mut self, outcome: Result<Ended, Trouble>, stop: &StopSignal) -> Following {
        if !self.source.is_over(&outcome) {
            return Following::End(outcome);
        }
        let spec = &self.source.spec;
        let mut patience = Patience::default();
        let found = loop {
            match self.source.next().await {
                Ok(found) => break found.ok_or_else(|| streams::turned_off(spec)),
                Err(trouble) => match patience.bear(trouble, &spec.name, stop).await {
                    Ok(true) => {}
                    Ok(false) => return Following::End(Ok(Ended::Stopped)),
                    Err(trouble) if trouble.code == streams::NOT_FOUND => break Err(streams::deleted(spec)),
                    Err(trouble) => return Following::End(Err(trouble)),
                },
            }
        };
        match found {
            Ok(next) => {
                let stream = &next.identity.stream_arn;
                if *stream == self.source.stream.identity.stream_arn {
                    warn!(pipeline = spec.name, stream, "it was called turned off, and is on: going on with it");
                } else {
                    info!(pipeline = spec.name, stream, "going on with the stream that follows");
                }
                self.ended = Some(self.source.stream.identity.clone());
                Following::Stream
            }
            Err(_) if self.until_tip || outcome.is_err() => Following::End(outcome),
            Err(none) => Following::End(Err(none)),
        }
    }

    async fn bear(&mut self, trouble: Trouble, stop: &StopSignal) -> Result<bool, Trouble> {
        self.patience.bear(trouble, &self.source.spec.name, stop).await
    }
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
