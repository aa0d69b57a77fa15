//! `cargo x`: the developer's own commands. One file per command; this one only deals them out.
#![expect(clippy::print_stderr, reason = "a command line tool tells its last error by printing it")]
#![expect(clippy::disallowed_methods, reason = "it measures and waits in real time, without an async runtime")]

/// Prints a line. Unlike `println!` it goes on when nobody reads any more (`cargo x test | head`): servers that were
/// started must still be stopped.
macro_rules! tell {
    ($($argument:tt)*) => {{
        use std::io::Write as _;
        let _nobody_reads = writeln!(std::io::stdout().lock(), $($argument)*);
    }};
}

mod bench;
mod bench_end_to_end;
mod chaos;
mod command;
mod compose;
mod counts;
mod deny;
mod endpoints;
mod foreign;
mod interrupt;
mod peers;
mod planted;
mod prerequisites;
mod servers;
mod simulate;
mod test;
mod tidy;
mod workspace;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

use crate::servers::ServerName;

/// The developer's own commands.
#[derive(Parser)]
#[command(name = "cargo x", bin_name = "cargo x")]
struct Arguments {
    #[command(subcommand)]
    command: XtaskCommand,
}

#[derive(Subcommand)]
enum XtaskCommand {
    /// Start the real servers of the tests (all, or the named ones) and wait until they are ready.
    Up {
        /// Which servers; none named means all.
        servers: Vec<ServerName>,
    },
    /// Stop the servers that were started from this checkout (all, or the named ones).
    Down {
        /// Which servers; none named means all.
        servers: Vec<ServerName>,
    },
    /// Show which servers are ready.
    Servers,
    /// Check and test everything; servers that are not running are started, and stopped at the end.
    Test {
        /// Leave out what needs servers or an optimized build.
        #[arg(long, conflicts_with = "compose")]
        quick: bool,
        /// Only bring up docker-compose.yml and test that, in containers that are removed again (CI does it too).
        #[arg(long)]
        compose: bool,
    },
    /// Kill Tailwater and Kafka at random moments under load, many times, and show that nothing is lost or doubled.
    Chaos {
        /// How often each test kills Tailwater.
        #[arg(long, default_value_t = chaos::KILLS)]
        kills: u64,
        /// How often the broker is killed.
        #[arg(long, default_value_t = chaos::BROKER_KILLS)]
        broker_kills: u64,
        /// How often a leader, a coordinator or Tailwater is killed where three brokers are a cluster.
        #[arg(long, default_value_t = chaos::CLUSTER_KILLS)]
        cluster_kills: u64,
        /// Where all chance starts from; without it, another one each time.
        #[arg(long)]
        seed: Option<u64>,
    },
    /// Let seeded worlds drive the engine through every fault: `cargo x simulate --seeds 0..500`; `--help` tells the rest.
    #[command(disable_help_flag = true)]
    Simulate {
        /// What the program of the worlds takes.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Plant known bugs into a copy of the checkout, one by one, and see how many seeds the worlds take to find each, or whether
    /// its test finds it (start the servers before: `cargo x up`).
    Planted {
        /// Which bugs, by the names of their patches; none named means all.
        bugs: Vec<String>,
    },
    /// Check the rules of the house: crate edges, sizes, module docs, white space, reasons.
    Tidy,
    /// Count the instructions of the hottest paths and hold them to bench/counts.toml.
    Counts {
        /// Hold what is counted now.
        #[arg(long)]
        accept: bool,
    },
    /// Let Tailwater and what one would take in its place read the same replay, and compare them.
    Peers,
    /// Let other people's consumers (KCL, boto3, the Go and the Node SDK) read `tailwater simulate`, and hold them to every
    /// change once and in order.
    Foreign(foreign::ForeignArguments),
    /// Measure: the instructions of the hottest paths (`counts`), single functions (`inner`), and whole pipelines against a replay
    /// (`e2e-kafka`, `idle`, …; an unknown name is answered with all of them).
    Bench {
        /// Which benchmarks; none named means all.
        names: Vec<String>,
        /// Seconds each, only to see that everything runs.
        #[arg(long)]
        quick: bool,
    },
    /// Check licences, banned crates and sources of the dependencies (installs cargo-deny where it is missing).
    Deny,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(arguments.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: XtaskCommand) -> Result<()> {
    interrupt::listen()?;
    match command {
        XtaskCommand::Up { servers } => servers::up(named_or_all(&servers)),
        XtaskCommand::Down { servers } => servers::down(named_or_all(&servers)),
        XtaskCommand::Servers => servers::status(),
        XtaskCommand::Test { compose: true, .. } => test::run(test::Scope::Compose),
        XtaskCommand::Test { quick: true, .. } => test::run(test::Scope::Quick),
        XtaskCommand::Test { .. } => test::run(test::Scope::Full),
        XtaskCommand::Chaos { kills, broker_kills, cluster_kills, seed } => {
            chaos::run(kills, broker_kills, cluster_kills, seed)
        }
        XtaskCommand::Simulate { arguments } => simulate::run(&arguments),
        XtaskCommand::Planted { bugs } => planted::run(&bugs),
        XtaskCommand::Tidy => tidy::run(),
        XtaskCommand::Counts { accept } => counts::run(accept),
        XtaskCommand::Foreign(arguments) => foreign::run(&arguments),
        XtaskCommand::Peers => peers::run(),
        XtaskCommand::Bench { names, quick } => bench::run(&names, quick),
        XtaskCommand::Deny => deny::run(),
    }
}

fn named_or_all(names: &[ServerName]) -> &[ServerName] {
    if names.is_empty() { &ServerName::ALL } else { names }
}
