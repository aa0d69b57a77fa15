//! Time that is added to a record: records say when they arrived and when their page was answered.

use std::io::Read;
use std::process::{ChildStdout, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::clock::now_us;
use crate::files;
use crate::measure::{Bench, percentile};
use crate::pipeline::Pipeline;
use crate::server::{ReplayServer, ServeArguments};

const SHARDS: u64 = 8;
/// Bytes that are read at once: one line of them is looked at.
const PIECE_BYTES: usize = 64 << 10;

/// What the reader of the output saw.
struct Seen {
    /// Milliseconds from a record's arrival to its line.
    whole_ms: Vec<f64>,
    /// Milliseconds from the answer with the record to its line.
    added_ms: Vec<f64>,
    bytes: u64,
}

/// At three loads, with the waits of a plain file and with the shortest ones. The whole load is what comes through the same
/// pipe when all records were always there.
pub fn run(bench: &mut Bench) -> Result<()> {
    let capacity = capacity(bench)?;
    for (pace_name, pace) in [("default waits", files::DEFAULT_PACE), ("shortest waits", files::FASTEST_PACE)] {
        for percent in [10, 50, 80] {
            let rate = (capacity * f64::from(percent) / 100.0 / SHARDS as f64) as u32;
            bench.case(&format!("{percent} % load, {pace_name}"), |bench| {
                let (mut server, mut pipeline) = start(bench, Some(rate), pace)?;
                let warm = bench.pick(Duration::from_secs(4), Duration::from_secs(1));
                let length = bench.pick(Duration::from_secs(15), Duration::from_secs(2));
                let (before, began) = (server.served()?, Instant::now());
                let seen = read(pipeline.stdout()?, warm, length)?;
                let records = (server.served()?.records - before.records) as f64;
                ensure!(!seen.whole_ms.is_empty(), "no record came");
                Ok(vec![
                    ("records_per_s", records / began.elapsed().as_secs_f64()),
                    ("whole_p50_ms", percentile(&seen.whole_ms, 50)),
                    ("whole_p99_ms", percentile(&seen.whole_ms, 99)),
                    ("added_p50_ms", percentile(&seen.added_ms, 50)),
                    ("added_p99_ms", percentile(&seen.added_ms, 99)),
                    ("lines_looked_at", seen.whole_ms.len() as f64),
                ])
            })?;
        }
    }
    Ok(())
}

/// Records a second that come through the pipe when the source has them all.
fn capacity(bench: &Bench) -> Result<f64> {
    let (mut server, mut pipeline) = start(bench, None, files::FASTEST_PACE)?;
    let began = Instant::now();
    let length = bench.pick(Duration::from_secs(6), Duration::from_secs(1));
    let seen = read(pipeline.stdout()?, Duration::ZERO, length)?;
    let records = server.served()?.records as f64 / began.elapsed().as_secs_f64();
    tell!("whole load: {records:.0} records/s, {:.0} MB/s of lines", seen.bytes as f64 / 1e6 / length.as_secs_f64());
    Ok(records)
}

fn start(bench: &Bench, rate: Option<u32>, pace: &str) -> Result<(ReplayServer, Pipeline)> {
    let server = ReplayServer::start(&ServeArguments::endless("1k", SHARDS, rate))?;
    let file = files::write(bench.work.path(), "bench-latency", &server.endpoint, None, "[sink.stdout]", pace)?;
    let pipeline = Pipeline::start(&bench.tailwater, &file, Stdio::piped())?;
    Ok((server, pipeline))
}

/// Reads lines and looks at the last whole one of each piece, after a time to get warm.
fn read(mut output: ChildStdout, warm: Duration, length: Duration) -> Result<Seen> {
    let mut seen = Seen { whole_ms: Vec::new(), added_ms: Vec::new(), bytes: 0 };
    let mut piece = vec![0; PIECE_BYTES];
    let began = Instant::now();
    while began.elapsed() < warm + length {
        let count = output.read(&mut piece)?;
        ensure!(count > 0, "the pipeline ended early");
        let now_us = now_us();
        if began.elapsed() < warm {
            continue;
        }
        seen.bytes += count as u64;
        let text = String::from_utf8_lossy(&piece[..count]);
        if let (Some(arrived_ms), Some(served_us)) =
            (last_number(&text, "\"at_ms\":"), last_number(&text, "\"served_us\":"))
        {
            seen.whole_ms.push((now_us - arrived_ms * 1_000) as f64 / 1e3);
            seen.added_ms.push((now_us - served_us) as f64 / 1e3);
        }
    }
    Ok(seen)
}

/// The number after the name's last place in the text.
pub fn last_number(text: &str, name: &str) -> Option<i64> {
    let (_, rest) = text.rsplit_once(name)?;
    let digits = rest.find(|letter: char| !letter.is_ascii_digit()).context("cut off").ok()?;
    rest[..digits].parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_whole_number_is_found() {
        assert_eq!(last_number("{\"at_ms\":12}\n{\"at_ms\":34,", "\"at_ms\":"), Some(34));
        assert_eq!(last_number("{\"at_ms\":12", "\"at_ms\":"), None);
        assert_eq!(last_number("{}", "\"at_ms\":"), None);
    }
}
