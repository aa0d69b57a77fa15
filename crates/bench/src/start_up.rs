//! From the start of the program to the first record that leaves it.

use std::io::Read;
use std::process::Stdio;

use anyhow::{Result, ensure};

use crate::files;
use crate::measure::Bench;
use crate::pipeline::Pipeline;
use crate::server::{ReplayServer, ServeArguments};

/// With few shards and with many.
pub fn run(bench: &mut Bench) -> Result<()> {
    for shards in bench.pick(&[1, 10_000][..], &[1]) {
        bench.case(&format!("{shards} shards"), |bench| {
            let server = ReplayServer::start(&ServeArguments::endless("1k", *shards, None))?;
            let file = files::write(
                bench.work.path(),
                "bench-start",
                &server.endpoint,
                None,
                "[sink.stdout]",
                files::DEFAULT_PACE,
            )?;
            let mut pipeline = Pipeline::start(&bench.tailwater, &file, Stdio::piped())?;
            let count = pipeline.stdout()?.read(&mut [0; 1])?;
            ensure!(count == 1, "the pipeline ended early");
            Ok(vec![("first_record_ms", pipeline.started_at.elapsed().as_secs_f64() * 1e3)])
        })?;
    }
    Ok(())
}
