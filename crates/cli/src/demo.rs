//! `tailwater demo`: a shop, its DynamoDB table, a pipeline and a mirror in SQLite, all in this one process and without
//! any configuration. The pipeline is the same as in `run`: the real reader over HTTP, the real lane loop, the real sink.

mod comparison;
mod live_view;
mod place;
mod server;
mod settling;
mod shop;
mod traffic;
mod words;

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use clap::Args;
use tailwater_model::{DeleteMode, KeySchema, PipelineIdentity, StreamIdentity, Trouble, TroubleKind};
use tailwater_pipeline::{Ended, LaneSettings, PipelineStatus, StopSignal, run_pipeline};
use tailwater_sink_local::{SqliteLane, SqliteSettings, claim_sqlite};
use tailwater_source_dynamodb::{
    DynamoDb, LaneReader, OnGap, ReaderSettings, StartAt, VISIBLE_WITHIN, connect_emulator, open_stream,
};
use tokio::task::JoinHandle;

use self::comparison::Comparison;
use self::live_view::{LiveLines, live_view, painted};
use self::place::Place;
use self::server::{ShopServer, ShopTable, manners};
use self::settling::Settling;
use self::traffic::{Rate, write_orders};
use crate::aws_arguments::duration;
use crate::clock::now_ms;
use crate::output::{self, CommandFailure};
use crate::signals::StopRequests;

/// Name of the demo's pipeline, under which its progress is stored.
const PIPELINE: &str = "demo";
/// Waits between two looks at the stream; the server is in this process, and looks cost nothing.
const POLL_INTERVALS: (Duration, Duration) = (Duration::from_millis(100), Duration::from_millis(400));
/// Bytes of pages held at once.
const MEMORY_BYTES_MAX: usize = 32 * 1024 * 1024;
/// Time between two prints of the live view, and how many of them make one line of progress.
const VIEW_INTERVAL: Duration = Duration::from_millis(500);
const VIEWS_PER_PROGRESS_LINE: u32 = 4;

/// Arguments of `demo`.
#[derive(Debug, Args)]
pub struct DemoArguments {
    /// End by itself after this time, for example 10s, with a summary; exit code 0 only if mirror and table are equal
    #[arg(long = "for", value_name = "DURATION", value_parser = duration)]
    pub duration: Option<Duration>,
    /// How fast the shop writes, in writes per second
    #[arg(long, value_name = "N/s", default_value = "20/s")]
    pub rate: Rate,
    /// Port of the embedded DynamoDB on 127.0.0.1 (any free one if left out)
    #[arg(long)]
    pub port: Option<u16>,
    /// Let the stream's shards rotate and split every few seconds, with the manners of AWS
    #[arg(long)]
    pub splits: bool,
    /// Keep the SQLite file in this directory; it must not hold one yet
    #[arg(long, value_name = "DIR")]
    pub keep: Option<PathBuf>,
}

/// Runs until the time is over or a signal asks to stop; then the mirror catches up and is compared with the table, item
/// by item. Succeeds only if they are equal. A second signal ends it at once, without the comparison.
pub async fn run(arguments: DemoArguments) -> Result<(), CommandFailure> {
    let mut requests = StopRequests::listen()?;
    let place = Place::make(arguments.keep.as_deref())?;
    let server = ShopServer::start(arguments.port.unwrap_or(0), manners(arguments.splits)).await?;
    let outcome = Box::pin(run_shop(&arguments, &place, &server, &mut requests)).await;
    server.stop().await;
    outcome
}

async fn run_shop(
    arguments: &DemoArguments,
    place: &Place,
    server: &ShopServer,
    requests: &mut StopRequests,
) -> Result<(), CommandFailure> {
    let mirror = place.mirror();
    let assembled = Box::pin(assemble(&server.endpoint_url(), &mirror)).await?;
    output::answer(&words::greeting(&server.endpoint_url(), &mirror, arguments.splits))?;

    let moving = arguments.splits.then(|| server.table());
    let (view, lines) = live_view(assembled.keys, output::columns());
    let stop = StopSignal::new();
    let status = Arc::new(PipelineStatus::new());
    let written = Arc::new(AtomicU64::new(0));
    let mut pipeline = tokio::spawn(run_pipeline(
        assembled.lanes,
        vec![Box::new(view)],
        lane_settings(),
        stop.clone(),
        Arc::clone(&status),
    ));
    let mut watching =
        AbortOnDrop(tokio::spawn(watch(lines, Arc::clone(&status), Arc::clone(&written), moving.clone())));

    let settling = Settling { table: server.table(), mirror, pipeline: PIPELINE };
    let settled = tokio::select! { biased;
        ended = &mut pipeline => joined(ended).and(Err(ended_early("the pipeline")))?,
        unwritten = &mut watching.0 => joined(unwritten.map(Err)).map_err(CommandFailure::from),
        settled = open_shop(arguments, &settling, &written, requests) => settled,
    };
    drop(watching);
    stop.stop();
    let _: Ended = joined(pipeline.await)?;
    let comparison = settled?;
    output::answer(&words::summary(
        written.load(Relaxed),
        &status.snapshot(),
        moving.map(|table| table.lineage()),
        &comparison,
        &place.fate(),
    ))?;
    if comparison.equal() { Ok(()) } else { Err(not_equal(&comparison).into()) }
}

/// Lets the shop write until its time is over or somebody asks to stop, and then settles.
async fn open_shop(
    arguments: &DemoArguments,
    settling: &Settling,
    written: &Arc<AtomicU64>,
    requests: &mut StopRequests,
) -> Result<Comparison, CommandFailure> {
    let stop = StopSignal::new();
    let mut traffic = pin!(write_orders(settling.table.clone(), arguments.rate, Arc::clone(written), stop.clone()));
    let time_is_over = async {
        match arguments.duration {
            Some(duration) => tokio::time::sleep(duration).await,
            None => std::future::pending().await,
        }
    };
    let mut asked = false;
    tokio::select! { biased;
        _ = requests.next() => asked = true,
        () = time_is_over => {}
        ended = &mut traffic => {
            ended?;
            return Err(ended_early("the shop").into());
        }
    }
    stop.stop();
    traffic.await?;
    output::answer(&words::catching_up(asked, arguments.splits))?;
    tokio::select! { biased;
        code = requests.next() => Err(CommandFailure::Forced(code)),
        comparison = settling.settle() => Ok(comparison?),
    }
}

/// A task that ends with its owner.
struct AbortOnDrop(JoinHandle<Trouble>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Both ends of the pipeline, and the key of its table.
struct Assembled {
    lanes: Vec<(LaneReader<DynamoDb>, SqliteLane)>,
    keys: KeySchema,
}

/// Makes both ends of the pipeline, in the same way as for any other table.
async fn assemble(endpoint_url: &str, mirror: &Path) -> Result<Assembled, Trouble> {
    let dynamodb = connect_emulator(endpoint_url);
    let table = dynamodb.describe_table(shop::TABLE).await?;
    let stream = table.stream.ok_or_else(|| ended_early("the stream of the embedded table"))?;
    let stream = StreamIdentity { table: table.name, table_id: table.table_id, stream_arn: stream.arn };
    let identity = PipelineIdentity { name: PIPELINE.into(), lanes: 1, stream };
    let sink = SqliteSettings {
        path: mirror.to_owned(),
        table: shop::TABLE.into(),
        // A row for each item and no others: that is what can be compared.
        delete: DeleteMode::Hard,
        dead_letters_per_minute_max: 100,
        adopt: None,
    };
    let sinks = claim_sqlite(&sink, &identity, &table.key_schema).await?.lanes;
    let (sources, _) = open_stream(dynamodb, identity.stream, identity.lanes, reader_settings());
    Ok(Assembled { lanes: sources.into_iter().zip(sinks).collect(), keys: table.key_schema })
}

fn reader_settings() -> ReaderSettings {
    ReaderSettings {
        // Whatever was written before the first look counts, too.
        start: StartAt::TrimHorizon,
        on_gap: OnGap::Stop,
        until_tip: false,
        follows: None,
        poll_interval_min: POLL_INTERVALS.0,
        poll_interval_max: POLL_INTERVALS.1,
        visible_within: VISIBLE_WITHIN,
        fetch_slots: 2,
        memory_bytes_max: MEMORY_BYTES_MAX,
        discovery_interval: Duration::from_secs(30),
        seed: 0,
    }
}

fn lane_settings() -> LaneSettings {
    LaneSettings {
        group_events_max: 1000,
        group_bytes_max: 8 * 1024 * 1024,
        group_delay_max: Duration::from_millis(50),
        reopen_delay_min: Duration::from_millis(200),
        reopen_delay_max: Duration::from_secs(5),
        grace_period: Duration::from_secs(5),
        seed: 0,
    }
}

/// Prints the changes that pass and, less often, how it goes. Ends when nothing can be printed any more.
async fn watch(
    mut lines: LiveLines,
    status: Arc<PipelineStatus>,
    written: Arc<AtomicU64>,
    moving: Option<ShopTable>,
) -> Trouble {
    let colours = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let (mut not_shown, mut ticks_told) = (0, 0_u32);
    let mut ticks = tokio::time::interval(VIEW_INTERVAL);
    loop {
        ticks.tick().await;
        ticks_told = ticks_told.wrapping_add(1);
        let (shown, left_out) = lines.take();
        not_shown += left_out;
        let mut text: Vec<String> = shown.into_iter().map(|line| if colours { painted(&line) } else { line }).collect();
        if ticks_told.is_multiple_of(VIEWS_PER_PROGRESS_LINE) {
            let lineage = moving.as_ref().map(ShopTable::lineage);
            let line = words::progress(written.load(Relaxed), not_shown, lineage, &status.snapshot(), now_ms());
            text.push(output::printable(&line));
            not_shown = 0;
        }
        if !text.is_empty()
            && let Err(unwritten) = output::answer_styled(&text.join("\n"))
        {
            return unwritten;
        }
    }
}

fn joined<T>(ended: Result<Result<T, Trouble>, tokio::task::JoinError>) -> Result<T, Trouble> {
    ended.unwrap_or_else(|fault| {
        let message = format!("a part of the demo broke down: {fault}");
        Err(Trouble::new(TroubleKind::Runtime, "demo.panic", message).advise("this is a bug in Tailwater"))
    })
}

fn ended_early(part: &str) -> Trouble {
    Trouble::new(TroubleKind::Runtime, "demo.ended_early", format!("{part} ended by itself"))
        .advise("this is a bug in Tailwater")
}

fn not_equal(comparison: &Comparison) -> Trouble {
    let differing = comparison.differing;
    let message = format!("the mirror is not equal to the table: {differing} differences");
    Trouble::new(TroubleKind::DataAtRisk, "demo.not_equal", message).advise(
        "look for dead letters in the SQLite file's progress tables: a value that a mirror cannot hold is kept there",
    )
}
