//! `tailwater simulate`: the simulated DynamoDB with streams, for everybody's consumers.

mod replay;

use std::io;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use clap::{Args, ValueEnum};
use tailwater_model::{Trouble, TroubleKind};
use tailwater_simulation::http::{Account, WireManners, serve};
use tailwater_simulation::replay::serve as serve_replay;
use tailwater_simulation::service::Manners;
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use crate::aws_arguments::duration;
use crate::clock::{now_ms, now_us};
use crate::output;
use crate::signals::StopRequests;
use crate::simulate::replay::ReplayArguments;

/// Longest wait for requests that are still running when the server stops.
const SHUTDOWN_WAIT_MAX: Duration = Duration::from_secs(2);
/// Times vary by this part of what was asked for, so that not all shards close at once.
const SPREAD: f64 = 0.25;

/// Arguments of `simulate`.
#[derive(Debug, Args)]
pub struct SimulateArguments {
    /// Where to listen; port 0 takes any free one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8000")]
    pub listen: SocketAddr,
    /// The region in ARNs and records
    #[arg(long, default_value = "us-east-1")]
    pub region: String,
    /// Open shards of a new stream
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    pub shards: u16,
    /// Time until a shard closes and has children, for example 30s (AWS: about 4h)
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub rotate_every: Option<Duration>,
    /// How many of the shards that close split into two, for example 50%
    #[arg(long, value_name = "PERCENT", value_parser = percent)]
    pub splits: Option<f64>,
    /// Open shards of a stream at which splits become rotations
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    pub shards_max: u16,
    /// Time until records are trimmed, for example 10m (AWS: 24h)
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub trim_after: Option<Duration>,
    /// How long a shard iterator is good (AWS: 15m)
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub iterator_life: Option<Duration>,
    /// Most records of a page (AWS: 1000)
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub page_records_max: Option<u16>,
    /// How many calls are throttled, for example 10%
    #[arg(long, value_name = "PERCENT", value_parser = percent)]
    pub throttle: Option<f64>,
    /// How unkind the service is
    #[arg(long, value_enum, default_value_t = Faults::Ordinary)]
    pub faults: Faults,
    /// Where all chance starts from
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// A replay in place of the simulated service.
    #[command(flatten)]
    pub replay: ReplayArguments,
}

/// How unkind the service is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Faults {
    /// Everything at once, in order, and never an error
    None,
    /// As AWS is on an ordinary day: empty and short pages, late listings, rates, two readers of a shard
    Ordinary,
    /// Every error and every inconsistency that was ever seen, all the time
    Harsh,
}

/// Serves until a signal asks to stop.
pub async fn run(arguments: SimulateArguments) -> Result<(), Trouble> {
    let mut requests = StopRequests::listen()?;
    let listen = arguments.listen;
    let refused = |fault: io::Error| {
        Trouble::new(TroubleKind::Environment, "simulate.listen", format!("cannot listen on {listen}: {fault}"))
            .advise("choose another address with --listen; port 0 takes any free one")
    };
    let listener = TcpListener::bind(listen).await.map_err(refused)?;
    let address = listener.local_addr().map_err(refused)?;
    let stopped = Arc::new(Notify::new());
    let mut serving = start(listener, &arguments, Arc::clone(&stopped))?;
    output::answer(&format!(
        "simulating DynamoDB with streams at http://{address}; any credentials and the region {region} will do:\n  \
         AWS_ACCESS_KEY_ID=any AWS_SECRET_ACCESS_KEY=any AWS_REGION={region} AWS_ENDPOINT_URL=http://{address} <your program>\n\
         Ctrl-C stops it; everything is in memory.\n",
        region = arguments.region
    ));
    tokio::select! { biased;
        _ = requests.next() => {}
        ended = &mut serving => {
            let why = ended.map_or_else(|panic| panic.to_string(), |served| served.err().map_or_else(String::new, |fault| fault.to_string()));
            return Err(Trouble::new(TroubleKind::Runtime, "simulate.ended", format!("the server ended: {why}")));
        }
    }
    stopped.notify_one();
    let _ended_or_late = tokio::time::timeout(SHUTDOWN_WAIT_MAX, serving).await;
    Ok(())
}

/// Begins to serve what was asked for.
fn start(
    listener: TcpListener,
    arguments: &SimulateArguments,
    stopped: Arc<Notify>,
) -> Result<JoinHandle<io::Result<()>>, Trouble> {
    let asked = async move { stopped.notified().await };
    if let Some(replay) = arguments.replay.render(arguments.shards, arguments.seed, now_us()) {
        return Ok(tokio::spawn(serve_replay(listener, Arc::new(replay), Arc::new(now_us), asked)));
    }
    let account = Account::new(arguments.seed, &arguments.region, manners(arguments), wire(arguments.faults));
    let account = account.map_err(|fault| {
        Trouble::new(TroubleKind::Runtime, "simulate.tables", format!("the embedded tables cannot be made: {fault}"))
    })?;
    Ok(tokio::spawn(serve(listener, Arc::new(Mutex::new(account)), Arc::new(now_ms), asked)))
}

fn manners(arguments: &SimulateArguments) -> Manners {
    let mut manners = match arguments.faults {
        Faults::None => Manners::kind(),
        Faults::Ordinary => Manners::default(),
        Faults::Harsh => harsh(),
    };
    manners.shards_at_start = usize::from(arguments.shards);
    manners.open_shards_max = usize::from(arguments.shards_max);
    if let Some(after) = arguments.rotate_every {
        manners.rotate_after_ms = Some(about(after));
    }
    if let Some(splits) = arguments.splits {
        manners.split = splits;
    }
    if let Some(after) = arguments.trim_after {
        let after_ms = milliseconds(after);
        manners.trim_after_ms = after_ms..=after_ms.saturating_add(after_ms / 4);
    }
    if let Some(life) = arguments.iterator_life {
        manners.iterator_life_ms = milliseconds(life);
    }
    if let Some(records) = arguments.page_records_max {
        manners.page_records_max = usize::from(records);
    }
    if let Some(throttled) = arguments.throttle {
        manners.throttled = throttled;
    }
    manners
}

/// Everything that was ever seen. What would stop a careful consumer for good (no access, a lost shard) is left out.
fn harsh() -> Manners {
    Manners {
        split: 0.3,
        stalled: 0.01,
        listing_page_max: 7,
        listing_shuffled: true,
        child_listed_late: 0.5,
        closed_listed_late: 0.3,
        listing_empty: 0.05,
        listing_page_empty: 0.05,
        shard_unlisted: 0.02,
        shard_listed_twice: 0.1,
        page_empty: 0.3,
        page_short: 0.5,
        throttled: 0.05,
        limit_exceeded: 0.05,
        throughput_exceeded: 0.02,
        internal_error: 0.03,
        unavailable: 0.02,
        expired_early: 0.03,
        iterator_forgotten: 0.01,
        expired_token: 0.005,
        unknown_code: 0.01,
        ..Manners::default()
    }
}

fn wire(faults: Faults) -> WireManners {
    match faults {
        Faults::None | Faults::Ordinary => WireManners::default(),
        Faults::Harsh => WireManners {
            html: 0.01,
            empty: 0.01,
            truncated: 0.01,
            wrong_checksum: 0.01,
            long_message: 0.005,
            slow: 0.005,
        },
    }
}

fn milliseconds(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX / 4).min(i64::MAX / 4)
}

fn about(time: Duration) -> RangeInclusive<i64> {
    let middle = milliseconds(time);
    let spread = (middle as f64 * SPREAD) as i64;
    (middle - spread).max(1)..=(middle + spread).max(1)
}

/// `10%`, `0.5%` or `10`: hundredths, from 0 to 100.
fn percent(text: &str) -> Result<f64, String> {
    let number: f64 =
        text.trim().trim_end_matches('%').trim().parse().map_err(|_| format!("{text:?} is no percentage"))?;
    if (0.0..=100.0).contains(&number) {
        Ok(number / 100.0)
    } else {
        Err("a percentage lies between 0% and 100%".into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentages_are_read_and_bounded() {
        assert_eq!(percent("10%"), Ok(0.1));
        assert_eq!(percent("0"), Ok(0.0));
        assert_eq!(percent("100 %"), Ok(1.0));
        for bad in ["101%", "-1", "ten", "", "NaN"] {
            assert!(percent(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn times_are_spread_and_never_nothing() {
        assert_eq!(about(Duration::from_secs(4)), 3000..=5000);
        assert_eq!(about(Duration::ZERO), 1..=1);
    }
}
