//! Shards that nothing is written to.

use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use crate::files;
use crate::measure::Bench;
use crate::pipeline::Pipeline;
use crate::process::{cpu_seconds, memory_mib};
use crate::server::{ReplayServer, ServeArguments};

/// Longest wait until every shard was asked for once. Listing 10 000 takes ten seconds at AWS's rate.
const ALL_WITHIN: Duration = Duration::from_secs(120);
/// Time for the waits between polls to grow to their longest.
const SETTLED_AFTER: Duration = Duration::from_secs(10);
const LOOK_INTERVAL: Duration = Duration::from_millis(20);

/// CPU, memory and calls of an idle pipeline.
pub fn run(bench: &mut Bench) -> Result<()> {
    for shards in bench.pick(&[1, 100, 1_000, 10_000][..], &[1, 100]) {
        bench.case(&format!("{shards} shards"), |bench| {
            let mut server = ReplayServer::start(&ServeArguments::endless("1k", *shards, Some(0)))?;
            let file = files::write(
                bench.work.path(),
                "bench-idle",
                &server.endpoint,
                None,
                "[sink.stdout]",
                files::DEFAULT_PACE,
            )?;
            let pipeline = Pipeline::start(&bench.tailwater, &file, Stdio::null())?;
            while server.served()?.get_shard_iterator < *shards {
                ensure!(pipeline.started_at.elapsed() < ALL_WITHIN, "not all shards were polled in time");
                std::thread::sleep(LOOK_INTERVAL);
            }
            let all_after = pipeline.started_at.elapsed();
            std::thread::sleep(bench.pick(SETTLED_AFTER, Duration::from_secs(2)));
            let (began, cpu_before, before) = (Instant::now(), cpu_seconds(pipeline.pid())?, server.served()?);
            std::thread::sleep(bench.pick(Duration::from_secs(15), Duration::from_secs(2)));
            let (seconds, after) = (began.elapsed().as_secs_f64(), server.served()?);
            let cpu_s = cpu_seconds(pipeline.pid())? - cpu_before;
            let calls = (after.get_records - before.get_records) as f64;
            let (memory_mib, peak_mib) = memory_mib(pipeline.pid())?;
            Ok(vec![
                ("calls_per_shard_per_s", calls / seconds / *shards as f64),
                ("cpu_percent", 100.0 * cpu_s / seconds),
                ("cpu_us_per_call", cpu_s * 1e6 / calls),
                ("memory_mib", memory_mib),
                ("peak_mib", peak_mib),
                ("all_polled_after_s", all_after.as_secs_f64()),
            ])
        })?;
    }
    Ok(())
}
