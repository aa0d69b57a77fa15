//! The replay in a process of its own, so that the pipeline's CPU and memory are the pipeline's.

use std::net::Ipv4Addr;
use std::sync::Arc;

use anyhow::{Context, Result};
use clap::Args;
use serde_json::{Value, json};
use tailwater_simulation::replay::{self, LISTINGS_PER_SECOND_MAX, Profile, Replay, ReplaySettings};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use crate::clock::now_us;
use crate::helper::Helper;

/// All replays have the same records in every run.
const SEED: u64 = 6;

/// Lanes of a pipeline that has several.
pub const LANES: u32 = 4;
/// Shards for them: they are dealt out by their ids, so that few would leave some lanes without any.
pub const SHARDS_OF_LANES: u64 = 32;

/// Arguments of `serve`: what the replay is.
#[derive(Args, Clone, Debug)]
pub struct ServeArguments {
    /// A profile's name
    #[arg(long)]
    pub profile: String,
    /// Shards that are open at once
    #[arg(long)]
    pub shards: u64,
    /// Pages that are rendered
    #[arg(long)]
    pub pages: u64,
    /// Pages after which a shard ends
    #[arg(long)]
    pub shard_pages: Option<u64>,
    /// Shards that follow one after the other
    #[arg(long, default_value_t = 1)]
    pub generations: u64,
    /// Records a second of each shard
    #[arg(long)]
    pub rate: Option<u32>,
}

impl ServeArguments {
    /// Shards of so many pages each that were always there.
    pub fn finite(profile: &str, shards: u64, pages: u64, shard_pages: u64) -> Self {
        Self { profile: profile.into(), shards, pages, shard_pages: Some(shard_pages), generations: 1, rate: None }
    }

    /// Shards without end in which records arrive by the clock, or without a rate were always there.
    pub fn endless(profile: &str, shards: u64, rate: Option<u32>) -> Self {
        Self { profile: profile.into(), shards, pages: 8, shard_pages: None, generations: 1, rate }
    }
}

/// Serves on a free port, which it prints. Answers each line of the standard input with the calls until then.
pub fn serve(arguments: &ServeArguments) -> Result<()> {
    let known = Profile::ALL.into_iter().find(|(name, _)| *name == arguments.profile);
    let (_, profile) = known.with_context(|| format!("no profile is called {:?}", arguments.profile))?;
    let replay = Arc::new(Replay::new(ReplaySettings {
        profile,
        shards: arguments.shards,
        pages: arguments.pages,
        shard_pages: arguments.shard_pages,
        generations: arguments.generations,
        rate: arguments.rate,
        started_at_us: now_us(),
        listings_per_second_max: LISTINGS_PER_SECOND_MAX,
        seed: SEED,
    }));
    // One thread: the other cores are the pipeline's.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let mut stdout = tokio::io::stdout();
        stdout.write_all(format!("{}\n", listener.local_addr()?.port()).as_bytes()).await?;
        stdout.flush().await?;
        let (stop, stopped) = oneshot::channel::<()>();
        let serving =
            tokio::spawn(replay::serve(
                listener,
                Arc::clone(&replay),
                Arc::new(now_us),
                async move { drop(stopped.await) },
            ));
        let mut questions = tokio::io::BufReader::new(tokio::io::stdin()).lines();
        while questions.next_line().await?.is_some() {
            let calls = replay.calls();
            let answer = json!({
                "describe_stream": calls.describe_stream, "get_shard_iterator": calls.get_shard_iterator,
                "get_records": calls.get_records, "records": calls.records, "bytes": calls.bytes,
                "records_per_shard": replay.records_per_shard(),
            });
            stdout.write_all(format!("{answer}\n").as_bytes()).await?;
            stdout.flush().await?;
        }
        drop(stop);
        // Connections of a client that lives on would hold it open.
        serving.abort();
        Ok(())
    })
}

/// A replay server that runs for as long as this value lives.
pub struct ReplayServer {
    helper: Helper,
    pub endpoint: String,
}

/// What the server has answered.
#[derive(Clone, Copy, Debug, Default)]
pub struct Served {
    /// One for each shard that was ever asked for, before any of them expires.
    pub get_shard_iterator: u64,
    pub get_records: u64,
    /// Also those of answers that came too late and were asked for again.
    pub records: u64,
    pub bytes: u64,
    /// Records of each shard that ends.
    pub records_per_shard: u64,
    /// The server's own CPU.
    pub cpu_s: f64,
}

impl ReplayServer {
    pub fn start(arguments: &ServeArguments) -> Result<Self> {
        let mut command: Vec<String> = ["serve", "--profile", &arguments.profile].map(str::to_owned).into();
        let mut number = |flag: &str, value: Option<u64>| {
            command.extend(value.into_iter().flat_map(|value| [flag.to_owned(), value.to_string()]));
        };
        number("--shards", Some(arguments.shards));
        number("--pages", Some(arguments.pages));
        number("--shard-pages", arguments.shard_pages);
        number("--generations", Some(arguments.generations));
        number("--rate", arguments.rate.map(u64::from));
        let mut helper = Helper::start(&command)?;
        let endpoint = format!("http://127.0.0.1:{}", helper.line()?);
        Ok(Self { helper, endpoint })
    }

    /// Keeps the server to one processor.
    pub fn keep_to(&self, processor: usize) -> Result<()> {
        self.helper.keep_to(processor)
    }

    /// What it has answered until now.
    pub fn served(&mut self) -> Result<Served> {
        let answer: Value = serde_json::from_str(&self.helper.ask()?).context("the replay server's answer")?;
        let number = |name: &str| answer[name].as_u64().unwrap_or_default();
        Ok(Served {
            get_shard_iterator: number("get_shard_iterator"),
            get_records: number("get_records"),
            records: number("records"),
            bytes: number("bytes"),
            records_per_shard: number("records_per_shard"),
            cpu_s: self.helper.cpu_seconds()?,
        })
    }
}
