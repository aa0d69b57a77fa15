//! To nowhere, and to a SQLite file.

use std::process::Stdio;

use anyhow::Result;
use tailwater_simulation::replay::Profile;

use crate::measure::{Bench, Figures};
use crate::pipeline::Pipeline;
use crate::server::{ReplayServer, ServeArguments};
use crate::{files, textbook};

/// Shards of a replay: each is fetched while others are decoded.
pub const SHARDS: u64 = 4;
/// Pages that are rendered, and that come again and again.
const PAGES: u64 = 8;
/// Pages of all shards together when their number is what is varied; at least one each.
const PAGES_IN_ALL: u64 = 2_000;

/// Every profile to `/dev/null` as JSON lines, in turn with the textbook loop over the same pages.
pub fn null(bench: &mut Bench) -> Result<()> {
    let profiles = bench.pick(Profile::ALL.len(), 1);
    for (profile, _) in Profile::ALL.into_iter().take(profiles) {
        bench.case(profile, |bench| {
            let (shard_pages, textbook_pages) = bench.pick((400, 80), (20, 4));
            let mut server = ReplayServer::start(&ServeArguments::finite(profile, SHARDS, PAGES, shard_pages))?;
            let file = files::write(
                bench.work.path(),
                "bench-null",
                &server.endpoint,
                None,
                "[sink.stdout]",
                files::BACKLOG_PACE,
            )?;
            let before = server.served()?;
            let pipeline = Pipeline::start(&bench.tailwater, &file, Stdio::null())?;
            let taken = pipeline.until_drained(SHARDS)?;
            drop(pipeline);
            let served = server.served()?;
            let records = (SHARDS * served.records_per_shard) as f64;
            let textbook = bench.runtime.block_on(textbook::read(&server.endpoint, textbook_pages))?;
            let (cpu_us, textbook_cpu_us) =
                (taken.cpu_s * 1e6 / records, textbook.cpu_s * 1e6 / textbook.records as f64);
            Ok(vec![
                ("records_per_s", records / taken.wall_s),
                ("wire_mb_per_s", served.bytes as f64 / 1e6 / taken.wall_s),
                ("cpu_us_per_record", cpu_us),
                ("wire_mb_per_cpu_s", served.bytes as f64 / 1e6 / taken.cpu_s),
                ("server_cpu_us_per_record", (served.cpu_s - before.cpu_s) * 1e6 / records),
                ("textbook_cpu_us_per_record", textbook_cpu_us),
                ("textbook_records_per_s", textbook.records as f64 / textbook.wall_s),
                ("cpu_ratio", textbook_cpu_us / cpu_us),
                ("peak_mib", taken.peak_mib),
            ])
        })?;
    }
    Ok(())
}

/// Records of a kilobyte to `/dev/null` from few and from many shards: what a record costs must not grow with them.
pub fn shards(bench: &mut Bench) -> Result<()> {
    for shards in bench.pick(&[1, 100, 1_000, 10_000][..], &[1, 100]) {
        bench.case(&format!("{shards} shards"), |bench| {
            let shard_pages = (bench.pick(PAGES_IN_ALL, 1) / shards).max(1);
            let mut server = ReplayServer::start(&ServeArguments::finite("1k", *shards, PAGES, shard_pages))?;
            let file = files::write(
                bench.work.path(),
                "bench-shards",
                &server.endpoint,
                None,
                "[sink.stdout]",
                files::BACKLOG_PACE,
            )?;
            let pipeline = Pipeline::start(&bench.tailwater, &file, Stdio::null())?;
            let taken = pipeline.until_drained(*shards)?;
            let mut figures = carried((shards * server.served()?.records_per_shard) as f64, taken.wall_s, taken.cpu_s);
            figures.push(("peak_mib", taken.peak_mib));
            Ok(figures)
        })?;
    }
    Ok(())
}

/// Records of a kilobyte to `/dev/null`, program and replay together on one processor and on two.
pub fn processors(bench: &mut Bench) -> Result<()> {
    bench.case("1k", |bench| {
        let rate = |pinned: bool| -> Result<f64> {
            let shard_pages = bench.pick(400, 20);
            let mut server = ReplayServer::start(&ServeArguments::finite("1k", SHARDS, PAGES, shard_pages))?;
            let (folder, endpoint) = (bench.work.path(), &server.endpoint);
            let file = files::write(folder, "bench-cores", endpoint, None, "[sink.stdout]", files::BACKLOG_PACE)?;
            let pipeline = if pinned {
                server.keep_to(0)?;
                Pipeline::start_on(0, &bench.tailwater, &file, Stdio::null())?
            } else {
                Pipeline::start(&bench.tailwater, &file, Stdio::null())?
            };
            let taken = pipeline.until_drained(SHARDS)?;
            Ok((SHARDS * server.served()?.records_per_shard) as f64 / taken.wall_s)
        };
        let (one, two) = (rate(true)?, rate(false)?);
        Ok(vec![("one_records_per_s", one), ("two_records_per_s", two), ("ratio", two / one)])
    })
}

/// Records of a kilobyte, each of another item, into a new SQLite file.
pub fn sqlite(bench: &mut Bench) -> Result<()> {
    bench.case("1k", |bench| {
        let pages = bench.pick(40, 2);
        let mut server = ReplayServer::start(&ServeArguments::finite("1k", SHARDS, pages, pages))?;
        let database = tempfile::tempdir()?;
        let sink =
            format!("[sink.sqlite]\npath = \"{}\"\ntable = \"mirror\"", database.path().join("bench.db").display());
        let file = files::write(bench.work.path(), "bench-sqlite", &server.endpoint, None, &sink, files::BACKLOG_PACE)?;
        let pipeline = Pipeline::start(&bench.tailwater, &file, Stdio::null())?;
        let taken = pipeline.until_drained(SHARDS)?;
        Ok(carried((SHARDS * server.served()?.records_per_shard) as f64, taken.wall_s, taken.cpu_s))
    })
}

/// The figures that every sink has.
pub fn carried(records: f64, wall_s: f64, cpu_s: f64) -> Figures {
    vec![
        ("records", records),
        ("records_per_s", records / wall_s),
        ("cpu_us_per_record", cpu_s * 1e6 / records),
        ("cpu_of_wall_percent", 100.0 * cpu_s / wall_s),
    ]
}
