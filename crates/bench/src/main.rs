//! `tailwater-bench`: what the crates measure of themselves, and whole pipelines against a replay and real servers, beside the
//! barest loop that does the same. `cargo x bench` builds and starts it.
//!
//! The replay server has a process of its own and so has the pipeline, which is the shipped program with a file that is
//! written here: what is measured is what users run. What is compared runs in turn with it, in the same run.
#![expect(clippy::print_stderr, reason = "a command line tool tells its last error by printing it")]
#![expect(clippy::disallowed_methods, reason = "it measures in real time")]

/// Prints a line; goes on when nobody reads any more.
macro_rules! tell {
    ($($argument:tt)*) => {{
        use std::io::Write as _;
        let _nobody_reads = writeln!(std::io::stdout().lock(), $($argument)*);
    }};
}

mod clock;
mod files;
mod hand_over;
mod helper;
mod idle;
mod inner;
mod kafka;
mod latency;
mod local;
mod machine;
mod measure;
mod pipeline;
mod postgres;
mod process;
mod server;
mod stalled;
mod start_up;
mod textbook;
mod year;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::{Args, Parser, Subcommand};

use crate::kafka::PretendBrokerArguments;
use crate::measure::{Bench, Scale};
use crate::server::ServeArguments;

/// A benchmark's name, what it measures, and the function that does it.
type Benchmark = (&'static str, &'static str, fn(&mut Bench) -> Result<()>);

/// All the benchmarks in the order in which they run.
const BENCHMARKS: [Benchmark; 14] = [
    ("inner", "decoding, encoders, transforms, commits, each alone", inner::run),
    ("e2e-null", "source to /dev/null as JSON lines, beside the SDK's types and serde_json", local::null),
    ("e2e-shards", "source to /dev/null from few and from many shards", local::shards),
    ("processors", "source to /dev/null on one processor and on two", local::processors),
    ("e2e-kafka", "source to Kafka, beside a bare producer and the SDK's types with one future a message", kafka::run),
    ("e2e-postgres", "source to a Postgres mirror, beside bare UNNEST statements with the same rows", postgres::mirror),
    ("e2e-hot-keys", "source to a Postgres mirror with few hot keys", postgres::hot_keys),
    ("e2e-sqlite", "source to a SQLite mirror", local::sqlite),
    ("idle", "what shards cost that nothing is written to", idle::run),
    ("latency", "time that is added to records, at 10 %, 50 % and 80 % load", latency::run),
    ("stalled", "memory while the sink stands still", stalled::run),
    ("start-up", "time from the start to the first record", start_up::run),
    ("shard-end", "a shard's last page to its child's first", hand_over::run),
    ("year", "what grows in a simulated year of 1 000 shards", year::run),
];

#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    command: BenchCommand,
}

#[derive(Subcommand)]
enum BenchCommand {
    /// Run benchmarks
    Run(RunArguments),
    /// Serve a replay until the standard input ends
    #[command(hide = true)]
    Serve(ServeArguments),
    /// Be a broker of Kafka that only pretends, until the standard input ends
    #[command(hide = true)]
    PretendBroker(PretendBrokerArguments),
}

/// Arguments of `run`.
#[derive(Args)]
struct RunArguments {
    /// Which benchmarks; none named means all
    names: Vec<String>,
    /// A few seconds each, only to see that everything runs: the figures mean nothing
    #[arg(long)]
    quick: bool,
    /// The program that is measured
    #[arg(long, value_name = "FILE")]
    tailwater: PathBuf,
    /// Where the figures go as JSON
    #[arg(long, value_name = "FILE")]
    results: PathBuf,
    /// Brokers of Kafka
    #[arg(long, env = "TAILWATER_TEST_KAFKA", default_value = "127.0.0.1:29092")]
    kafka: String,
    /// A superuser's URL of PostgreSQL
    #[arg(
        long,
        env = "TAILWATER_TEST_POSTGRES",
        hide_env_values = true,
        default_value = "postgres://tailwater:tailwater@127.0.0.1:25432/tailwater"
    )]
    postgres: String,
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().command {
        BenchCommand::Run(arguments) => run(arguments),
        BenchCommand::Serve(arguments) => server::serve(&arguments),
        BenchCommand::PretendBroker(arguments) => kafka::pretend_broker(&arguments),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: RunArguments) -> Result<()> {
    let names = BENCHMARKS.map(|(name, ..)| name);
    if let Some(unknown) = arguments.names.iter().find(|name| !names.contains(&name.as_str())) {
        bail!("no benchmark is called {unknown:?}: there are {}", names.join(", "));
    }
    let scale = if arguments.quick { Scale::Quick } else { Scale::Full };
    let mut bench = Bench::new(scale, arguments.tailwater, arguments.kafka, arguments.postgres)?;
    let mut failures = Vec::new();
    for (name, what, measure) in BENCHMARKS {
        if arguments.names.is_empty() || arguments.names.iter().any(|wanted| wanted == name) {
            bench.begin(name, what);
            // The others are worth having whatever happens to one.
            if let Err(error) = measure(&mut bench) {
                tell!("{name} failed: {error:#}");
                failures.push(name);
            }
        }
    }
    bench.write(&arguments.results).with_context(|| format!("cannot write {}", arguments.results.display()))?;
    tell!("\nfigures as JSON: {}", arguments.results.display());
    if failures.is_empty() { Ok(()) } else { bail!("failed: {}", failures.join(", ")) }
}
