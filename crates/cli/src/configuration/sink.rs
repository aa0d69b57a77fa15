//! `[sink.X]`.

mod database_url;
mod kafka;
mod local;
mod postgres;
mod target_table;

use std::path::PathBuf;
use std::time::Duration;

use tailwater_model::DeleteMode;

use crate::configuration::report::Report;
use crate::configuration::section::{Section, Text};
use crate::configuration::spec::SinkSpec;

const SINKS: [&str; 5] = ["kafka", "postgres", "sqlite", "file", "stdout"];
const DELETE_MODES: [(&str, DeleteMode); 2] = [("soft", DeleteMode::Soft), ("hard", DeleteMode::Hard)];

/// What sinks take from the rest of the file.
pub struct Given<'a> {
    /// The pipeline's name. Nothing when it is faulty.
    pub pipeline: Option<&'a str>,
    /// The source's table: the default name of the target. Nothing when it is faulty.
    pub source_table: Option<&'a str>,
    /// From `[limits]`.
    pub dead_letters_per_minute_max: u32,
    /// From `[limits]`.
    pub group_delay_max: Duration,
}

/// Reads `[sink]`, which holds exactly one sink. Nothing when that one is faulty.
pub fn read(mut section: Section<'_>, given: &Given<'_>, report: &mut Report<'_>) -> Option<SinkSpec> {
    let kafka = section.section("kafka", report);
    let postgres = section.section("postgres", report);
    let sqlite = section.section("sqlite", report);
    let file = section.section("file", report);
    let stdout = section.section("stdout", report);
    let mut written: Vec<_> = SINKS
        .into_iter()
        .zip([&kafka, &postgres, &sqlite, &file, &stdout])
        .filter(|(_, sink)| sink.is_written())
        .map(|(name, sink)| (name, sink.place().clone()))
        .collect();
    written.sort_by_key(|(_, place)| place.span.start);
    let suggestion = || {
        let names = SINKS.map(|name| format!("[sink.{name}]")).join(", ");
        Some(format!("a pipeline has exactly one of {names}"))
    };
    match written.as_slice() {
        [] => report.fault(section.place(), "config.missing_key", "a sink is missing", suggestion()),
        [_] => {}
        [(first, _), others @ ..] => {
            for (_, place) in others {
                report.fault(place, "config.conflict", format!("[sink.{first}] is there already"), suggestion());
            }
        }
    }
    let specs = [
        kafka.is_present().then(|| kafka::read(kafka, given, report)),
        postgres.is_present().then(|| postgres::read(postgres, given, report)),
        sqlite.is_present().then(|| local::read_sqlite(sqlite, given, report)),
        file.is_present().then(|| local::read_file(file, given, report)),
        stdout.is_present().then(|| {
            stdout.finish(report);
            Some(SinkSpec::Stdout)
        }),
    ];
    section.finish(report);
    specs.into_iter().flatten().flatten().next()
}

/// The token of a refused start. A left-over one does nothing.
fn read_adopt(section: &mut Section<'_>, report: &mut Report<'_>) -> Option<String> {
    section.text("adopt", report).map(|token| token.value.text)
}

/// Relative paths begin in the folder of the pipeline file, so that progress is found again from wherever it is run.
fn in_folder(path: &Text, report: &Report<'_>) -> PathBuf {
    report.surroundings.folder.join(&path.value.text)
}

/// A path as it is used, or a fault with what to write.
fn check_path(path: &Text, advice: &str, report: &mut Report<'_>) -> Option<PathBuf> {
    if path.value.text.is_empty() || path.value.text.contains('\0') {
        report.fault(&path.place, "config.bad_value", "not a path", Some(advice.to_owned()));
        return None;
    }
    Some(in_folder(path, report))
}
