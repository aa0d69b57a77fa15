//! `[sink.sqlite]` and `[sink.file]`.

use std::path::PathBuf;

use tailwater_model::DeleteMode;
use tailwater_sink_local::{FileSettings, SqliteSettings, database_path_fault, table_name_fault};

use crate::configuration::report::Report;
use crate::configuration::section::Section;
use crate::configuration::sink::{DELETE_MODES, Given, check_path, read_adopt, target_table};
use crate::configuration::spec::SinkSpec;

/// Reads `[sink.sqlite]`. Nothing when it is faulty.
pub fn read_sqlite(mut section: Section<'_>, given: &Given<'_>, report: &mut Report<'_>) -> Option<SinkSpec> {
    let path = required_path(&mut section, "path = \"orders.db\"", report);
    if let Some(trouble) = path.as_deref().and_then(database_path_fault) {
        report.fault(&section.place_of("path"), trouble.code, trouble.message, trouble.advice);
    }
    let table = target_table::read(&mut section, given, report);
    if let Some(trouble) = table.as_deref().and_then(table_name_fault) {
        report.fault(&section.place_of("table"), trouble.code, trouble.message, trouble.advice);
    }
    let delete = section.choice("delete", &DELETE_MODES, report).unwrap_or(DeleteMode::Soft);
    let adopt = read_adopt(&mut section, report);
    section.finish(report);
    let dead_letters_per_minute_max = given.dead_letters_per_minute_max;
    Some(SinkSpec::Sqlite(SqliteSettings { path: path?, table: table?, delete, dead_letters_per_minute_max, adopt }))
}

/// Reads `[sink.file]`. Nothing when it is faulty.
pub fn read_file(mut section: Section<'_>, given: &Given<'_>, report: &mut Report<'_>) -> Option<SinkSpec> {
    let path = required_path(&mut section, "path = \"orders.jsonl\"", report);
    let adopt = read_adopt(&mut section, report);
    section.finish(report);
    let dead_letters_per_minute_max = given.dead_letters_per_minute_max;
    Some(SinkSpec::File(FileSettings { path: path?, dead_letters_per_minute_max, adopt }))
}

fn required_path(section: &mut Section<'_>, example: &str, report: &mut Report<'_>) -> Option<PathBuf> {
    let advice = format!("say where to write: {example}");
    let path = section.required_text("path", &advice, report)?;
    check_path(&path, &advice, report)
}
