//! From the page that ends a shard to the first page of its child.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::files;
use crate::measure::{Bench, percentile};
use crate::pipeline::Pipeline;
use crate::server::{ReplayServer, ServeArguments};

/// Records a second of each lineage: a shard of one page of 1 000 of them lasts a second.
const RATE: u32 = 1_000;

/// When the first and the last page of a shard were answered, in microseconds since 1970.
type Pages = (i64, i64);

/// Shards of a thousand records that end every second, with the waits of a plain file and with the shortest ones; one
/// lineage, and some whose shards all end at once.
pub fn run(bench: &mut Bench) -> Result<()> {
    let cases = [
        ("1 shard, default waits", 1, files::DEFAULT_PACE),
        ("1 shard, shortest waits", 1, files::FASTEST_PACE),
        ("4 at once, shortest", 4, files::FASTEST_PACE),
    ];
    for (case, lineages, pace) in cases {
        bench.case(case, |bench| {
            let generations = bench.pick(20, 4);
            let replay = ServeArguments {
                shard_pages: Some(1),
                pages: 1,
                generations,
                ..ServeArguments::endless("tiny", lineages, Some(RATE))
            };
            let server = ReplayServer::start(&replay)?;
            let file = files::write(bench.work.path(), "bench-end", &server.endpoint, None, "[sink.stdout]", pace)?;
            let mut pipeline = Pipeline::start(&bench.tailwater, &file, Stdio::piped())?;
            let wanted = (lineages * generations) as usize * RATE as usize;
            let mut shards: BTreeMap<u64, Pages> = BTreeMap::new();
            for line in BufReader::new(pipeline.stdout()?).lines().take(wanted) {
                let (shard, served_us) = place(&line?)?;
                let pages = shards.entry(shard).or_insert((served_us, served_us));
                *pages = (pages.0.min(served_us), pages.1.max(served_us));
            }
            let pauses: Vec<f64> = shards
                .iter()
                .filter_map(|(shard, pages)| Some((shards.get(&(shard + lineages))?.0 - pages.1) as f64 / 1e3))
                .collect();
            ensure!(pauses.len() as u64 == lineages * (generations - 1), "{} hand-overs were seen", pauses.len());
            Ok(vec![
                ("p50_ms", percentile(&pauses, 50)),
                ("p99_ms", percentile(&pauses, 99)),
                ("hand_overs", pauses.len() as f64),
            ])
        })?;
    }
    Ok(())
}

/// The number of a line's shard, and when the record's page was answered.
fn place(line: &str) -> Result<(u64, i64)> {
    let change: Value = serde_json::from_str(line).context("a line is no JSON")?;
    let number = change["shard"].as_str().and_then(|shard| shard.rsplit_once('-')?.1.parse().ok());
    let served = change["new"]["served_us"].as_i64();
    number.zip(served).with_context(|| format!("a line without shard or time: {line}"))
}
