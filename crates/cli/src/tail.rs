//! `tailwater tail TABLE`: prints the records of a table's stream as they come. It is the real reader and the real lane
//! loop with a sink that prints; progress is in memory and ends with the process.

mod printing_sink;
mod raw_tap;
mod readable;

use std::sync::Arc;
use std::time::Duration;

use clap::{Args, ValueEnum};
use tailwater_model::{Finished, PipelineIdentity, StreamIdentity, Trouble};
use tailwater_pipeline::{Ended, LaneSettings, PipelineStatus, StopSignal, run_pipeline};
use tailwater_sink_local::claim_stdout;
use tailwater_source_dynamodb::{
    DynamoDb, OnGap, ReaderSettings, StartAt, StreamApi, Table, VISIBLE_WITHIN, connect, open_stream,
};

use self::printing_sink::{Form, PrintingSink};
use self::raw_tap::{RawRecords, RawTap};
use crate::aws_arguments::{AwsArguments, duration};
use crate::streams::no_stream;

/// Shortest and longest wait between two looks at a shard. A person watches: two looks in a second are enough.
const POLL_INTERVALS: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(1));
/// Requests under way at once.
const FETCH_SLOTS: usize = 8;
/// Bytes of pages held at once.
const MEMORY_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Time between two complete listings of the shards.
const DISCOVERY_INTERVAL: Duration = Duration::from_secs(30);
/// Longest wait of a printed group for more; a person does not see it.
const GROUP_DELAY_MAX: Duration = Duration::from_millis(50);
/// Events and bytes printed in one go.
const GROUP_EVENTS_MAX: usize = 1000;
const GROUP_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Waits before the stream is opened again after trouble.
const REOPEN_DELAYS: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(10));
/// Longest time that the end may take.
const GRACE_PERIOD: Duration = Duration::from_secs(2);

/// Arguments of `tail`.
#[derive(Debug, Args)]
pub struct TailArguments {
    /// The table's name
    pub table: String,
    /// How to reach AWS.
    #[command(flatten)]
    pub aws: AwsArguments,
    /// Where to begin: with what is written from now on, or with the oldest record that is still there (up to 24 hours)
    #[arg(long, value_enum, default_value_t = Begin::Latest)]
    pub from: Begin,
    /// End after this many records
    #[arg(short = 'n', long = "number", value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub number: Option<u64>,
    /// End after this time, for example 10s
    #[arg(long = "for", value_name = "DURATION", value_parser = duration)]
    pub duration: Option<Duration>,
    /// Print each change as one line of plain JSON
    #[arg(long)]
    pub json: bool,
    /// Print each record as one line, exactly as the service sent it
    #[arg(long, conflicts_with = "json")]
    pub raw: bool,
}

/// Where to begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Begin {
    /// The oldest record that is still there.
    TrimHorizon,
    /// What is written from now on.
    Latest,
}

/// Prints until the number or the time is reached, the stream ends, the reader of stdout goes away, or Ctrl-C ends the
/// process: there is nothing to save.
pub async fn run(arguments: TailArguments) -> Result<(), Trouble> {
    let dynamodb = Box::pin(connect(&arguments.aws.settings())).await?;
    let table = Box::pin(dynamodb.describe_table(&arguments.table)).await?;
    if arguments.from == Begin::Latest {
        warn_of_silence(&dynamodb, &table).await?;
    }
    if arguments.raw {
        let records = RawRecords::default();
        let form = Form::Raw(Arc::clone(&records));
        print_stream(RawTap::new(dynamodb, records), &table, form, &arguments).await
    } else {
        let form = if arguments.json { Form::Json } else { Form::Readable(table.key_schema.clone()) };
        print_stream(dynamodb, &table, form, &arguments).await
    }
}

/// A stream that is off has nothing newer. One that is on always has an open shard. Emulators that name an end of it all the same make the reader leave it
/// out, as it leaves out closed shards when it begins with what is newest.
async fn warn_of_silence(dynamodb: &DynamoDb, table: &Table) -> Result<(), Trouble> {
    let Some(stream) = &table.stream else { return Ok(()) };
    if !stream.enabled {
        tracing::warn!(
            "the stream of {} is turned off; nothing will be shown from `latest`: use --from trim-horizon for what is left in it",
            table.name
        );
        return Ok(());
    }
    let shards = Box::pin(dynamodb.stream_description(&table.name, &stream.arn)).await?.shards;
    if !shards.is_empty() && shards.iter().all(|shard| shard.ending.is_some()) {
        tracing::warn!(
            "the stream of {} is on, but its service says that every shard is closed; nothing will be shown from \
             `latest`: use --from trim-horizon",
            table.name
        );
    }
    Ok(())
}

async fn print_stream<A: StreamApi>(
    api: A,
    table: &Table,
    form: Form,
    arguments: &TailArguments,
) -> Result<(), Trouble> {
    let stream = stream_identity(table).ok_or_else(|| no_stream(&table.name, &arguments.aws.settings()))?;
    let identity = PipelineIdentity { name: "tail".into(), lanes: 1, stream };
    let (sources, _) = open_stream(api, identity.stream.clone(), identity.lanes, reader_settings(arguments.from));
    let stop = StopSignal::new();
    let lanes = sources
        .into_iter()
        .zip(claim_stdout(&identity, &table.key_schema).lanes)
        .map(|(source, memory)| (source, PrintingSink::new(memory, form.clone(), arguments.number, stop.clone())));
    let status = Arc::new(PipelineStatus::new());
    let pipeline = Box::pin(run_pipeline(lanes.collect(), Vec::new(), lane_settings(), stop.clone(), status));
    let ended = match arguments.duration {
        None => pipeline.await,
        Some(duration) => {
            tokio::spawn(async move {
                tokio::time::sleep(duration).await;
                stop.stop();
            });
            pipeline.await
        }
    };
    match ended {
        Ok(Ended::Finished(Finished::StreamEnded)) => {
            tracing::warn!("the stream of {} was turned off and has been read to its end", table.name);
            Ok(())
        }
        Ok(_) => Ok(()),
        // Whoever reads our output has seen enough.
        Err(trouble) if trouble.code == printing_sink::STDOUT_CLOSED => Ok(()),
        Err(trouble) => Err(trouble),
    }
}

fn stream_identity(table: &Table) -> Option<StreamIdentity> {
    let stream_arn = table.stream.as_ref()?.arn.clone();
    Some(StreamIdentity { table: table.name.clone(), table_id: table.table_id.clone(), stream_arn })
}

fn reader_settings(from: Begin) -> ReaderSettings {
    ReaderSettings {
        start: match from {
            Begin::TrimHorizon => StartAt::TrimHorizon,
            Begin::Latest => StartAt::Latest,
        },
        // Nothing downstream depends on what is printed: a gap is shown, and printing goes on.
        on_gap: OnGap::Continue,
        until_tip: false,
        follows: None,
        poll_interval_min: POLL_INTERVALS.0,
        poll_interval_max: POLL_INTERVALS.1,
        visible_within: VISIBLE_WITHIN,
        fetch_slots: FETCH_SLOTS,
        memory_bytes_max: MEMORY_BYTES_MAX,
        discovery_interval: DISCOVERY_INTERVAL,
        seed: 0,
    }
}

fn lane_settings() -> LaneSettings {
    LaneSettings {
        group_events_max: GROUP_EVENTS_MAX,
        group_bytes_max: GROUP_BYTES_MAX,
        group_delay_max: GROUP_DELAY_MAX,
        reopen_delay_min: REOPEN_DELAYS.0,
        reopen_delay_max: REOPEN_DELAYS.1,
        grace_period: GRACE_PERIOD,
        seed: 0,
    }
}
