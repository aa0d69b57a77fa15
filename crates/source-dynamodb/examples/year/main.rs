//! A year of a stream whose 1 000 open shards rotate every four hours, in paused time: what grows with the age of a
//! pipeline, and what does not. The reader is the shipping one; service and sink are in memory.
//!
//! Fails when the rows of the sink, the calls of `DescribeStream` or the memory of the last day are above those of the second
//! one by more than their room. The first day is that of the start, with a day of closed shards to be read.
//!
//! Each poll finds a record, as those of a busy stream do, so few of them do: a year has twenty million with half an hour
//! between two.
//!
//! Usage: `year DAYS POLL_SECONDS DISCOVERY_SECONDS`. `cargo x bench year` runs it.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a table is what this is for")]
#![expect(clippy::disallowed_methods, reason = "opening a lane is measured in real time")]

mod lane;
mod service;
mod table;

use std::process::ExitCode;
use std::time::Duration;

use tailwater_model::StreamIdentity;
use tailwater_source_dynamodb::{LaneReader, OnGap, ReaderSettings, StartAt, VISIBLE_WITHIN, open_stream};
use tokio::task::JoinSet;
use tokio::time::Instant;

use lane::{Lane, Outcome};
use service::{Calls, Service};
use table::{Day, Table};

const LANES: u32 = 4;
const DAY: Duration = Duration::from_secs(24 * 3600);

#[tokio::main(flavor = "current_thread", start_paused = true)]
async fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1).map(|argument| argument.parse::<u32>());
    let (Some(Ok(days)), Some(Ok(poll)), Some(Ok(discovery))) = (arguments.next(), arguments.next(), arguments.next())
    else {
        eprintln!("usage: year DAYS POLL_SECONDS DISCOVERY_SECONDS");
        return ExitCode::FAILURE;
    };
    let [poll_interval, discovery_interval] = [poll, discovery].map(|seconds| Duration::from_secs(seconds.into()));
    match year(days, settings(poll_interval, discovery_interval)).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Lets the days pass; between two of them every lane opens again.
async fn year(days: u32, settings: ReaderSettings) -> Outcome<()> {
    let service = Service::begin()?;
    let stream = StreamIdentity { table: "Orders".into(), table_id: "id".into(), stream_arn: "arn".into() };
    let (readers, _) = open_stream(service.clone(), stream, LANES, settings);
    let mut lanes: Vec<Lane> = readers.into_iter().map(Lane::new).collect();
    open_all(&mut lanes).await?;
    let begun = Instant::now();
    let mut table = Table::begin();
    let mut before = Calls::default();
    for number in 1..=days {
        lanes = carry_until(lanes, begun + DAY * number).await?;
        let calls = service.calls();
        let reopening = median(open_all(&mut lanes).await?);
        let rows = lanes.iter().map(Lane::rows).sum();
        table.add(Day::new(number, rows, reopening, calls.since(before))?, number == days);
        before = calls;
    }
    table.judge()
}

/// All lanes side by side up to this moment.
async fn carry_until(lanes: Vec<Lane>, end: Instant) -> Outcome<Vec<Lane>> {
    let mut running: JoinSet<Outcome<Lane>> = lanes.into_iter().map(|lane| lane.carry_until(end)).collect();
    let mut lanes = Vec::new();
    while let Some(lane) = running.join_next().await {
        lanes.push(lane??);
    }
    Ok(lanes)
}

async fn open_all(lanes: &mut [Lane]) -> Outcome<Vec<Duration>> {
    let mut times = Vec::new();
    for lane in lanes {
        let begun = std::time::Instant::now();
        lane.open().await?;
        times.push(begun.elapsed());
    }
    Ok(times)
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

fn settings(poll_interval: Duration, discovery_interval: Duration) -> ReaderSettings {
    ReaderSettings {
        start: StartAt::TrimHorizon,
        on_gap: OnGap::Stop,
        until_tip: false,
        follows: None,
        poll_interval_min: poll_interval,
        poll_interval_max: poll_interval,
        visible_within: VISIBLE_WITHIN,
        fetch_slots: 8,
        memory_bytes_max: 128 << 20,
        discovery_interval,
        seed: 1,
    }
}

/// What reads the stream.
type Reader = LaneReader<Service>;
