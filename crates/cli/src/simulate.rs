//! `tailwater simulate`: the simulated DynamoDB with streams, for everybody's consumers.

mod faults;
mod replay;

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use clap::Args;
use tailwater_model::{Trouble, TroubleKind};
use tailwater_simulation::http::{Account, serve};
use tailwater_simulation::replay::serve as serve_replay;
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use crate::aws_arguments::duration;
use crate::clock::{now_ms, now_us};
use crate::output;
use crate::signals::StopRequests;
use crate::simulate::faults::{Faults, manners, wire};
use crate::simulate::replay::ReplayArguments;

/// Longest wait for requests that are still running when the server stops.
const SHUTDOWN_WAIT_MAX: Duration = Duration::from_secs(2);

/// What testers of consumers can ask for beside the protocol.
const CONTROL: &str = "\
At the same address, testers make things happen now and ask what really happened, for all streams
or for some with ?table=NAME or ?shard=ID. With AT=http://127.0.0.1:8000/_tailwater:
  curl -X POST $AT/rotate              open shards close, with one child each
  curl -X POST $AT/split               open shards close, with two children each
  curl -X POST \"$AT/trim?records=10\"   the oldest records go; without records= all
  curl -X POST $AT/expire              all iterators given out so far expire
  curl -X POST \"$AT/fail?error=ThrottlingException&operation=GetRecords&times=3\"
  curl $AT/truth                       all shards and all records there ever were
  curl $AT/unkind                      how often each unkind side showed itself";

/// Arguments of `simulate`.
#[derive(Debug, Args)]
#[command(after_help = CONTROL)]
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
         AWS_ACCESS_KEY_ID=any AWS_SECRET_ACCESS_KEY=any AWS_REGION={region} AWS_DEFAULT_REGION={region} \
         AWS_ENDPOINT_URL=http://{address} <your program>\n\
         Ctrl-C stops it; everything is in memory.\n",
        region = arguments.region
    ))?;
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

/// `10%`, `0.5%` or `10`: hundredths, from 0 to 100.
fn percent(text: &str) -> Result<f64, String> {
    let number: f64 =
        text.trim().trim_end_matches('%').trim().parse().map_err(|_| format!("{text:?} is no percentage"))?;
    if !text.contains('%') && number > 0.0 && number < 1.0 {
        return Err(format!("write {}% or {text}%", number * 100.0));
    }
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
        assert_eq!(percent("0.5%"), Ok(0.005));
        for bad in ["0.4", "101%", "-1", "ten", "", "NaN"] {
            assert!(percent(bad).is_err(), "{bad}");
        }
    }
}
