//! `[sink.postgres]`.

use secrecy::SecretString;
use tailwater_model::DeleteMode;
use tailwater_sink_postgres::{PostgresSettings, TlsMode, TlsSettings};
use url::Url;

use crate::configuration::interpolation::PLACEHOLDER;
use crate::configuration::limits::{CONNECT_TIMEOUT, LOCK_TIMEOUT, STATEMENT_TIMEOUT};
use crate::configuration::report::Report;
use crate::configuration::section::{Section, Text};
use crate::configuration::sink::target_table::check_identifier;
use crate::configuration::sink::{DELETE_MODES, Given, in_folder, target_table};
use crate::configuration::spec::SinkSpec;

const TLS_MODES: [(&str, TlsMode); 3] = [
    ("verify-full", TlsMode::VerifyFull),
    ("insecure-require", TlsMode::InsecureRequire),
    ("insecure-disable", TlsMode::InsecureDisable),
];

/// Reads the table. Nothing when it is faulty.
pub fn read(mut section: Section<'_>, given: &Given<'_>, report: &mut Report<'_>) -> Option<SinkSpec> {
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
    let table = target_table::read(&mut section, given, report);
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
