//! A sink that takes nothing: memory must stay within what the file allows.

use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::files;
use crate::measure::Bench;
use crate::pipeline::Pipeline;
use crate::process::memory_mib;
use crate::server::{ReplayServer, ServeArguments};

/// `memory_bytes_max` of a file that says nothing about it (README, "limits").
const BUDGET_MIB: f64 = 128.0;

/// All shards have a backlog, and nobody reads the pipe that the lines go into.
pub fn run(bench: &mut Bench) -> Result<()> {
    for shards in bench.pick(&[100, 10_000][..], &[100]) {
        bench.case(&format!("{shards} shards"), |bench| {
            let server = ReplayServer::start(&ServeArguments::endless("1k", *shards, None))?;
            let file = files::write(
                bench.work.path(),
                "bench-stalled",
                &server.endpoint,
                None,
                "[sink.stdout]",
                files::DEFAULT_PACE,
            )?;
            let mut pipeline = Pipeline::start(&bench.tailwater, &file, Stdio::piped())?;
            let unread = pipeline.stdout()?;
            let (length, mut halfway_mib) = (bench.pick(Duration::from_secs(60), Duration::from_secs(4)), 0.0);
            let began = Instant::now();
            while began.elapsed() < length {
                std::thread::sleep(length / 20);
                if began.elapsed() < length / 2 {
                    halfway_mib = memory_mib(pipeline.pid())?.0;
                }
            }
            let (memory_mib, peak_mib) = memory_mib(pipeline.pid())?;
            drop(unread);
            Ok(vec![
                ("halfway_mib", halfway_mib),
                ("end_mib", memory_mib),
                ("peak_mib", peak_mib),
                ("peak_of_budget_percent", 100.0 * peak_mib / BUDGET_MIB),
            ])
        })?;
    }
    Ok(())
}
