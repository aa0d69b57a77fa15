//! To Kafka, beside a bare producer that is handed the same messages, and beside what a careful team writes first.

mod bare;
mod broker;
mod pretend;
mod topics;

use std::process::Stdio;
use std::time::Duration;

use anyhow::Result;

pub use pretend::{PretendBrokerArguments, serve as pretend_broker};

use crate::files;
use crate::local::carried;
use crate::measure::{Bench, Figures};
use crate::pipeline::Pipeline;
use crate::server::{LANES, ReplayServer, SHARDS_OF_LANES as SHARDS, ServeArguments};
use crate::textbook;
use broker::{Broker, Kind};
use topics::Topics;

/// Pages that are rendered, and that come again and again.
const PAGES: u64 = 8;
/// Time in which lanes open and queues fill.
const WARM: Duration = Duration::from_secs(3);
/// Time that is measured.
const LENGTH: Duration = Duration::from_secs(6);

/// What is measured, and how all producers compress.
struct Case {
    name: &'static str,
    broker: Kind,
    delivery: &'static str,
    compression: &'static str,
    /// Whether the messages of all producers have the sink's seven headers or none.
    headers: bool,
}

/// The sink's own compression is `zstd`.
const CASES: [Case; 8] = [
    real("zstd", "exactly-once", "zstd"),
    real("zstd, at least once", "at-least-once", "zstd"),
    real("lz4", "exactly-once", "lz4"),
    pretended("pretended: zstd", "zstd"),
    pretended("pretended: lz4", "lz4"),
    pretended("pretended: none", "none"),
    Case { headers: false, ..pretended("pretended, no headers: lz4", "lz4") },
    Case { headers: false, ..pretended("pretended, no headers: none", "none") },
];

const fn real(name: &'static str, delivery: &'static str, compression: &'static str) -> Case {
    Case { name, broker: Kind::Real, delivery, compression, headers: true }
}

const fn pretended(name: &'static str, compression: &'static str) -> Case {
    Case { name, broker: Kind::Pretended, delivery: "exactly-once", compression, headers: true }
}

/// Records of a kilobyte, in turn with a bare producer and with the SDK's types.
pub fn run(bench: &mut Bench) -> Result<()> {
    let messages = with_broker(bench, Kind::Real, messages)?;
    for case in CASES {
        bench.case(case.name, |bench| {
            with_broker(bench, case.broker, |bench, broker, topics| measure(bench, broker, topics, &case, &messages))
        })?;
    }
    Ok(())
}

/// Does something with a broker and topics, which are gone afterwards.
fn with_broker<T>(bench: &Bench, kind: Kind, work: impl FnOnce(&Bench, &str, &Topics) -> Result<T>) -> Result<T> {
    let topics = Topics::new();
    let broker = Broker::start(bench, kind, &topics)?;
    let done = work(bench, &broker.address, &topics);
    broker.end(bench, &topics)?;
    done
}

/// The messages of some shards: the very bytes that the sink produces.
fn messages(bench: &Bench, brokers: &str, topics: &Topics) -> Result<Vec<bare::Parts>> {
    let mut server = ReplayServer::start(&ServeArguments::finite("1k", SHARDS, PAGES, bench.pick(25, 1)))?;
    carry(bench, brokers, &server, topics, &CASES[0])?.until_drained(SHARDS)?;
    bare::messages(brokers, &topics.changes, SHARDS * server.served()?.records_per_shard)
}

fn carry(bench: &Bench, brokers: &str, server: &ReplayServer, topics: &Topics, case: &Case) -> Result<Pipeline> {
    let Topics { changes, letters, progress, .. } = topics;
    let (delivery, compression) = (case.delivery, case.compression);
    let headers = if case.headers { "" } else { "headers = []\n" };
    let sink = format!(
        "[sink.kafka]\nbrokers = \"{brokers}\"\ntopic = \"{changes}\"\ndead_letter_topic = \"{letters}\"\n\
         progress_topic = \"{progress}\"\ndelivery = \"{delivery}\"\n{headers}\
         [sink.kafka.librdkafka]\n\"compression.type\" = \"{compression}\""
    );
    let file = files::write(bench.work.path(), &topics.run, &server.endpoint, Some(LANES), &sink, files::BACKLOG_PACE)?;
    Pipeline::start(&bench.tailwater, &file, Stdio::null())
}

fn measure(bench: &Bench, brokers: &str, topics: &Topics, case: &Case, messages: &[bare::Parts]) -> Result<Figures> {
    let mut server = ReplayServer::start(&ServeArguments::endless("1k", SHARDS, None))?;
    let pipeline = carry(bench, brokers, &server, topics, case)?;
    let ours = pipeline.meanwhile(&mut server, WARM, bench.pick(LENGTH, WARM))?;
    drop(pipeline);
    let bare = bare::produce(brokers, &topics.bare, case, messages.to_vec())?;
    let producer = bare::config(brokers, case.compression).create()?;
    let pages = bench.pick(40, 1);
    let produced = textbook::produce(&server.endpoint, pages, &producer, &topics.textbook, case.headers);
    let textbook = bench.runtime.block_on(produced)?;
    let mut figures = carried(ours.records, ours.wall_s, ours.cpu_s);
    let messages = messages.len() as f64;
    let textbook_cpu_us = textbook.cpu_s * 1e6 / textbook.records as f64;
    figures.extend([
        ("bare_records_per_s", messages / bare.wall_s),
        ("bare_cpu_us_per_record", bare.cpu_s * 1e6 / messages),
        ("wall_ratio", (ours.records / ours.wall_s) / (messages / bare.wall_s)),
        ("textbook_cpu_us_per_record", textbook_cpu_us),
        ("cpu_ratio", textbook_cpu_us / (ours.cpu_s * 1e6 / ours.records)),
    ]);
    Ok(figures)
}
