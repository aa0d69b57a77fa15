//! What is typed on the command line, exactly as typed.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::demo::DemoArguments;
use crate::simulate::SimulateArguments;
use crate::stream::StreamCommand;
use crate::tail::TailArguments;

/// Carries every change of a DynamoDB table downstream.
#[derive(Debug, Parser)]
#[command(name = "tailwater", version, propagate_version = true, disable_help_subcommand = true)]
#[command(after_help = "Exit codes: 0 fine, 1 failed while running, 2 wrong file or command, 3 something outside is \
                        unreachable, denied or not as needed, 4 data at risk (a gap), 5 the stream was turned off and \
                        everything in it was carried, 129/130/143 forced by a second signal.")]
pub struct Arguments {
    /// How log lines on stderr look. The filter is TAILWATER_LOG, for example `debug` or `info,tailwater=trace`.
    #[arg(long, global = true, value_enum, default_value_t = LogFormat::Auto, env = "TAILWATER_LOG_FORMAT")]
    pub log_format: LogFormat,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// `pretty` on a terminal, `json` otherwise.
    Auto,
    /// For people.
    Pretty,
    /// One JSON object per line.
    Json,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run one or more pipelines in the foreground
    Run(RunArguments),
    /// Check pipeline files offline and report every fault at once
    Validate(ValidateArguments),
    /// Watch changes flow, with everything in this one process and no configuration
    Demo(DemoArguments),
    /// Serve a simulated DynamoDB whose streams rotate, split, trim and fail, to test any consumer against
    Simulate(SimulateArguments),
    /// Print the changes of a table as they come
    Tail(TailArguments),
    /// Turn a table's stream on or off, or look at its shards
    #[command(subcommand)]
    Stream(StreamCommand),
    /// Look at the stored progress of a pipeline
    #[command(subcommand)]
    Checkpoints(CheckpointsCommand),
    /// Print the version
    Version(VersionArguments),
}

impl Command {
    /// The command's name in the JSON envelope.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Run(_) => "run",
            Self::Validate(_) => "validate",
            Self::Demo(_) => "demo",
            Self::Simulate(_) => "simulate",
            Self::Tail(_) => "tail",
            Self::Stream(_) => "stream",
            Self::Checkpoints(_) => "checkpoints",
            Self::Version(_) => "version",
        }
    }

    /// Whether stdout is for a program to read, so that a failure is told as JSON too.
    pub fn wants_json(&self) -> bool {
        match self {
            Self::Validate(arguments) => arguments.json,
            Self::Checkpoints(CheckpointsCommand::Show(arguments)) => arguments.json,
            Self::Version(arguments) => arguments.json,
            Self::Stream(command) => command.wants_json(),
            Self::Run(_) | Self::Demo(_) | Self::Simulate(_) | Self::Tail(_) => false,
        }
    }

    /// Whether log lines are how the command shows what it does. The others only log warnings by default.
    pub fn logs_progress(&self) -> bool {
        matches!(self, Self::Run(_))
    }
}

/// Arguments of `run`.
#[derive(Debug, Args)]
pub struct RunArguments {
    /// Pipeline files, or folders of which every *.toml is taken
    #[arg(required = true, value_name = "FILE|DIR")]
    pub paths: Vec<PathBuf>,
    /// Stop by itself: `tip` ends when everything that was created before the start is in the sink (a shard is done when it
    /// gives a younger record, or fifty-one empty pages in a row)
    #[arg(long, value_enum)]
    pub until: Option<Until>,
}

/// Where a bounded run ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Until {
    /// At the tip of the stream.
    Tip,
}

/// Arguments of `validate`.
#[derive(Debug, Args)]
pub struct ValidateArguments {
    /// Pipeline files, or folders of which every *.toml is taken
    #[arg(required = true, value_name = "FILE|DIR")]
    pub paths: Vec<PathBuf>,
    /// Let a stand-in take the place of each variable and file that is not here, as in CI, and check all else
    #[arg(long)]
    pub without_secrets: bool,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

/// The commands under `checkpoints`.
#[derive(Debug, Subcommand)]
pub enum CheckpointsCommand {
    /// Show how far every shard was carried
    Show(CheckpointsShowArguments),
}

/// Arguments of `checkpoints show`.
#[derive(Debug, Args)]
pub struct CheckpointsShowArguments {
    /// The pipeline file
    pub file: PathBuf,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `version`.
#[derive(Debug, Args)]
pub struct VersionArguments {
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}
