//! `[sink.X]`.

use std::path::PathBuf;

use secrecy::SecretString;
use tailwater_model::DeleteMode;
use tailwater_sink_local::{FileSettings, SqliteSettings};
use tailwater_sink_postgres::{PostgresSettings, TlsMode, TlsSettings};
use url::Url;

use crate::configuration::interpolation::PLACEHOLDER;
use crate::configuration::limits::{CONNECT_TIMEOUT, LOCK_TIMEOUT, STATEMENT_TIMEOUT};
use crate::configuration::report::Report;
use crate::configuration::section::{Section, Text};
use crate::configuration::spec::SinkSpec;

const SINKS: [&str; 4] = ["postgres", "sqlite", "file", "stdout"];
const DELETE_MODES: [(&str, DeleteMode); 2] = [("soft", DeleteMode::Soft), ("hard", DeleteMode::Hard)];
const TLS_MODES: [(&str, TlsMode); 3] = [
    ("verify-full", TlsMode::VerifyFull),
    ("insecure-require", TlsMode::InsecureRequire),
    ("insecure-disable", TlsMode::InsecureDisable),
];

/// Longest identifier that PostgreSQL keeps whole, in bytes (`NAMEDATALEN` - 1).
const IDENTIFIER_BYTES_MAX: usize = 63;

/// What sinks take from the rest of the file.
pub struct Given<'a> {
    /// The source's table: the default name of the target. Nothing when it is faulty.
    pub source_table: Option<&'a str>,
    /// From `[limits]`.
    pub dead_letters_per_minute_max: u32,
}

/// Reads `[sink]`, which holds exactly one sink. Nothing when that one is faulty.
pub fn read(mut section: Section<'_>, given: &Given<'_>, report: &mut Report<'_>) -> Option<SinkSpec> {
    let postgres = section.section("postgres", report);
    let sqlite = section.section("sqlite", report);
    let file = section.section("file", report);
    let stdout = section.section("stdout", report);
    let mut written: Vec<_> = SINKS
        .into_iter()
        .zip([&postgres, &sqlite, &file, &stdout])
        .filter(|(_, sink)| sink.is_written())
        .map(|(name, sink)| (name, sink.place().clone()))
        .collect();
    written.sort_by_key(|(_, place)| place.span.start);
    let suggestion =
        || Some("a pipeline has exactly one of [sink.postgres], [sink.sqlite], [sink.file], [sink.stdout]".into());
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
        postgres.is_present().then(|| read_postgres(postgres, given, report)),
        sqlite.is_present().then(|| read_sqlite(sqlite, given, report)),
        file.is_present().then(|| read_file(file, given, report)),
        stdout.is_present().then(|| {
            stdout.finish(report);
            Some(SinkSpec::Stdout)
        }),
    ];
    section.finish(report);
    specs.into_iter().flatten().flatten().next()
}

fn read_postgres(mut section: Section<'_>, given: &Given<'_>, report: &mut Report<'_>) -> Option<SinkSpec> {
    let url = section.required_text("url", "give it by reference: url = \"${env:PG_URL}\"", report);
    let url = url.filter(|url| check_url(url, report));
    let schema = section.text("schema", report);
    if let Some(schema) = &schema {
        check_identifier(schema, report);
        if schema.value.text.starts_with("pg_") || schema.value.text == "tailwater" {
            let message = "PostgreSQL keeps schemas that begin with `pg_` to itself, and Tailwater keeps `tailwater`";
            report.fault(&schema.place, "config.bad_value", message, Some("the default is \"public\"".into()));
        }
    }
    let table = target_table(&mut section, given, report);
    let delete = section.choice("delete", &DELETE_MODES, report).unwrap_or(DeleteMode::Soft);
    let mut tls = section.section("tls", report);
    let mode = tls.choice("mode", &TLS_MODES, report);
    let ca_file = tls.text("ca_file", report).map(|path| in_folder(&path, report));
    tls.finish(report);
    let statement_timeout = section.duration("statement_timeout", STATEMENT_TIMEOUT, report);
    let lock_timeout = section.duration("lock_timeout", LOCK_TIMEOUT, report);
    let connect_timeout = section.duration("connect_timeout", CONNECT_TIMEOUT, report);
    section.finish(report);
    Some(SinkSpec::Postgres(PostgresSettings {
        url: SecretString::from(url?.value.text),
        schema: schema.map_or_else(|| "public".into(), |schema| schema.value.text),
        table: table?,
        delete,
        tls: TlsSettings { mode, ca_file },
        statement_timeout,
        lock_timeout,
        connect_timeout,
        dead_letters_per_minute_max: given.dead_letters_per_minute_max,
    }))
}

fn read_sqlite(mut section: Section<'_>, given: &Given<'_>, report: &mut Report<'_>) -> Option<SinkSpec> {
    let path = required_path(&mut section, "path = \"orders.db\"", report);
    let table = target_table(&mut section, given, report);
    let delete = section.choice("delete", &DELETE_MODES, report).unwrap_or(DeleteMode::Soft);
    section.finish(report);
    let dead_letters_per_minute_max = given.dead_letters_per_minute_max;
    Some(SinkSpec::Sqlite(SqliteSettings { path: path?, table: table?, delete, dead_letters_per_minute_max }))
}

fn read_file(mut section: Section<'_>, given: &Given<'_>, report: &mut Report<'_>) -> Option<SinkSpec> {
    let path = required_path(&mut section, "path = \"orders.jsonl\"", report);
    section.finish(report);
    let dead_letters_per_minute_max = given.dead_letters_per_minute_max;
    Some(SinkSpec::File(FileSettings { path: path?, dead_letters_per_minute_max }))
}

fn required_path(section: &mut Section<'_>, example: &str, report: &mut Report<'_>) -> Option<PathBuf> {
    let path = section.required_text("path", &format!("say where to write: {example}"), report)?;
    if path.value.text.is_empty() || path.value.text.contains('\0') {
        report.fault(&path.place, "config.bad_value", "not a path", Some(format!("say where to write: {example}")));
        return None;
    }
    Some(in_folder(&path, report))
}

/// Relative paths begin in the folder of the pipeline file, so that progress is found again from wherever it is run.
fn in_folder(path: &Text, report: &Report<'_>) -> PathBuf {
    report.surroundings.folder.join(&path.value.text)
}

fn target_table(section: &mut Section<'_>, given: &Given<'_>, report: &mut Report<'_>) -> Option<String> {
    if let Some(table) = section.text("table", report) {
        return check_identifier(&table, report).then_some(table.value.text);
    }
    let table = given.source_table?;
    if table.len() > IDENTIFIER_BYTES_MAX {
        let message = "the name of the source table is too long for the target: 63 bytes at most";
        report.fault(&section.absent("table"), "config.missing_key", message, Some("give a shorter `table`".into()));
        return None;
    }
    Some(table.to_owned())
}

fn check_identifier(name: &Text, report: &mut Report<'_>) -> bool {
    let text = &name.value.text;
    let fine = (1..=IDENTIFIER_BYTES_MAX).contains(&text.len()) && !text.contains('\0');
    if !fine {
        report.fault(&name.place, "config.bad_value", "a name has 1 to 63 bytes and no U+0000", None);
    }
    fine
}

/// Checks the URL without showing any of it, and warns of a password that stands in the file.
fn check_url(url: &Text, report: &mut Report<'_>) -> bool {
    let parsed = Url::parse(&url.value.text).ok().filter(|url| matches!(url.scheme(), "postgres" | "postgresql"));
    if parsed.is_none() {
        report.fault(
            &url.place,
            "config.bad_value",
            "not a URL of the form postgres://USER:PASSWORD@HOST:PORT/DATABASE",
            Some("write special characters of a password percent-encoded".into()),
        );
    }
    if has_literal_password(&url.value.shape) {
        report.warn(
            &url.place,
            "config.literal_secret",
            "a password stands in the file",
            Some("give it by reference: ${env:PG_PASSWORD} or ${file:/run/secrets/pg_password}".into()),
        );
    }
    parsed.is_some()
}

fn has_literal_password(shape: &str) -> bool {
    let Ok(url) = Url::parse(shape) else { return false };
    let in_query = url.query_pairs().filter(|(key, _)| key == "password").map(|(_, value)| value.into_owned());
    url.password().map(str::to_owned).into_iter().chain(in_query).any(|text| !text.replace(PLACEHOLDER, "").is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_literal_password_counts() {
        for (shape, literal) in [
            ("postgres://u:secret@h/d", true),
            (&*format!("postgres://u:secret@{PLACEHOLDER}/d"), true),
            ("postgres://h/d?password=secret", true),
            (&*format!("postgres://u:{PLACEHOLDER}@h/d"), false),
            (&*format!("postgres://u:a{PLACEHOLDER}@h/d"), true),
            (PLACEHOLDER, false),
            ("postgres://u@h/d", false),
            ("postgres://u:@h/d", false),
        ] {
            assert_eq!(has_literal_password(shape), literal, "{shape}");
        }
    }
}
