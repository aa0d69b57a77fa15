//! One pipeline file, from its text to its spec.

use std::path::Path;
use std::time::Duration;

use toml::de::DeTable;

use crate::configuration::interpolation::{Absent, Surroundings};
use crate::configuration::report::{Place, Report};
use crate::configuration::scalars::Bounds;
use crate::configuration::section::Section;
use crate::configuration::sink::Given;
use crate::configuration::spec::{PipelineSpec, SinkSpec};
use crate::configuration::{limits, sink, source, transforms};
use crate::output::Finding;

/// Less would take a pause of the sink or of the process for death; with more nobody waits.
const LEASE: Bounds<Duration> =
    Bounds { default: Duration::from_secs(15), min: Duration::from_secs(3), max: Duration::from_secs(600) };
/// Longest name of a pipeline, in characters.
const NAME_CHARACTERS_MAX: usize = 40;

/// Reads one file. The spec is there when the findings hold no fault.
pub fn read(
    path: &Path,
    text: &str,
    variable: &dyn Fn(&str) -> Option<String>,
    absent: Absent,
) -> (Option<PipelineSpec>, Vec<Finding>) {
    let file = path.display().to_string();
    let surroundings = Surroundings { variable, folder: path.parent().unwrap_or(Path::new("")), absent };
    let mut report = Report::new(&file, text, &surroundings);
    let (document, faults) = DeTable::parse_recoverable(text);
    for fault in &faults {
        let place = Place { path: String::new(), span: fault.span().unwrap_or(text.len()..text.len()) };
        // `message` is made of the parser's own words; its `Display` would show the line.
        report.fault(&place, "config.syntax", fault.message(), None);
    }
    // What the parser guessed after a syntax error would only give faults that nobody made.
    let spec = if faults.is_empty() { read_document(document.get_ref(), &file, &mut report) } else { None };
    let spec = spec.filter(|_| !report.has_faults());
    (spec, report.finish())
}

fn read_document(document: &DeTable<'_>, file: &str, report: &mut Report<'_>) -> Option<PipelineSpec> {
    let mut root = Section::root(document);
    let name = read_name(&mut root, report);
    let sink = root.section("sink", report);
    let group = if sink.is_absent("kafka") { limits::GROUP } else { limits::GROUP_OF_KAFKA };
    let limits = limits::read(root.section("limits", report), group, report);
    let source = source::read(root.section("source", report), report);
    let transforms = transforms::read(root.entry("transform"), report);
    let given = Given {
        pipeline: name.as_deref(),
        source_table: source.as_ref().map(|source| source.table.as_str()),
        dead_letters_per_minute_max: limits.dead_letters_per_minute_max,
        group_delay_max: limits.group_delay_max,
    };
    let sink = sink::read(sink, &given, report);
    let lanes = read_lanes(&mut root, sink.as_ref(), report);
    let lease = root.duration("lease", LEASE, report);
    if !report.has_faults() {
        limits::warn_of_a_full_memory(&limits, lanes, &root.place_of("lanes"), report);
    }
    root.finish(report);
    Some(PipelineSpec {
        file: file.to_owned(),
        name: name?,
        lanes,
        lease,
        source: source?,
        transforms,
        sink: sink?,
        limits,
    })
}

fn read_name(root: &mut Section<'_>, report: &mut Report<'_>) -> Option<String> {
    let name = root.required_text("name", "name the pipeline: name = \"shop-orders\"", report)?;
    let text = &name.value.text;
    let fine = (1..=NAME_CHARACTERS_MAX).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'_' | b'-'));
    if !fine {
        let message = "a name has 1 to 40 small letters, digits, `_` and `-`";
        report.fault(&name.place, "config.bad_value", message, Some("for example \"shop-orders\"".into()));
    }
    fine.then_some(name.value.text)
}

fn read_lanes(root: &mut Section<'_>, sink: Option<&SinkSpec>, report: &mut Report<'_>) -> u32 {
    let one_lane = Bounds { default: 1, min: 1, max: 1 };
    let bounds = match sink {
        Some(SinkSpec::Kafka(_) | SinkSpec::Postgres(_)) | None => limits::LANES,
        Some(SinkSpec::Sqlite(_)) => Bounds { default: 1, ..limits::LANES },
        // One file and one terminal have one writer.
        Some(SinkSpec::File(_) | SinkSpec::Stdout) => one_lane,
    };
    root.number("lanes", bounds, report)
}
