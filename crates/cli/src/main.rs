//! The `tailwater` binary: pipeline file → spec → assembled pipeline → run, and the commands around it.
//!
//! Deliberately absent: everything that another program could want. What is here only reads files and arguments,
//! connects the other crates, and talks to the person at the terminal.

mod arguments;
mod assemble;
mod aws_arguments;
mod checkpoints;
mod claims;
mod clock;
mod configuration;
mod demo;
mod image_diff;
mod logging;
mod output;
mod panics;
mod progress_log;
mod run;
mod signals;
mod simulate;
mod stream;
mod streams;
mod tail;
mod validate;
mod version;

use std::process::ExitCode;

use clap::Parser;
use tailwater_model::{Trouble, TroubleKind};

use crate::arguments::{Arguments, CheckpointsCommand, Command};
use crate::output::{CommandFailure, Telling};

/// Messages are made and freed by the thousand: the C library's own allocator took a sixth of all CPU on the way to Kafka
/// (docs/decisions/20261127-mimalloc-in-the-program.md).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let Arguments { log_format, command } = Arguments::parse();
    let log = logging::start(log_format, command.logs_progress());
    panics::tell_in_log();
    let telling = Telling { command: command.name(), json: command.wants_json(), log_format };
    let outcome = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => {
            let outcome = runtime.block_on(Box::pin(dispatch(command)));
            // Without waiting: a blocking call may hang for ever, and what was not durable is read again.
            runtime.shutdown_background();
            outcome
        }
        Err(fault) => Err(Trouble::new(
            TroubleKind::Environment,
            "process.no_runtime",
            format!("the operating system refused threads or timers: {fault}"),
        )
        .into()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => output::report_failure(telling, &failure, &log),
    }
}

async fn dispatch(command: Command) -> Result<(), CommandFailure> {
    match command {
        Command::Run(arguments) => run::run(arguments).await,
        Command::Validate(arguments) => validate::run(&arguments),
        Command::Demo(arguments) => demo::run(arguments).await,
        Command::Simulate(arguments) => Ok(simulate::run(arguments).await?),
        Command::Tail(arguments) => Ok(tail::run(arguments).await?),
        Command::Stream(command) => Ok(stream::run(command).await?),
        Command::Checkpoints(CheckpointsCommand::Show(arguments)) => checkpoints::show(arguments).await,
        Command::Version(arguments) => version::run(&arguments),
    }
}
