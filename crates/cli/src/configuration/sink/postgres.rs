//! `[sink.postgres]`.

use tailwater_model::DeleteMode;
use tailwater_sink_postgres::{DatabaseUrl, PostgresSettings, Setting, TlsMode, TlsSettings, faults, key_file};
use url::Url;

use crate::configuration::interpolation::{PLACEHOLDER, Resolved};
use crate::configuration::limits::{CONNECT_TIMEOUT, LOCK_TIMEOUT, STATEMENT_TIMEOUT};
use crate::configuration::report::Report;
use crate::configuration::secret_file::warn_of_exposed;
use crate::configuration::section::{Section, Text};
use crate::configuration::sink::database_url::{UrlKeys, encoded, shown};
use crate::configuration::sink::{DELETE_MODES, Given, in_folder, read_adopt, target_table};
use crate::configuration::spec::SinkSpec;

const TLS_MODES: [(&str, TlsMode); 3] = [
    ("verify-full", TlsMode::VerifyFull),
    ("insecure-require", TlsMode::InsecureRequire),
    ("insecure-disable", TlsMode::InsecureDisable),
];

/// Stand in for what is faulty or absent, so that the rest is looked at all the same.
const FINE_URL: &str = "postgres://user@localhost/database";
const FINE_NAME: &str = "fine";

/// What a password in the file is answered with.
const BY_REFERENCE: &str = "give it by reference: ${env:PG_PASSWORD} or ${file:/run/secrets/pg_password}";

/// Reads the table. Nothing when it is faulty.
pub fn read(mut section: Section<'_>, given: &Given<'_>, report: &mut Report<'_>) -> Option<SinkSpec> {
    let url = read_url(&mut section, report);
    let schema = section.text("schema", report).map(|schema| schema.value.text);
    let table = target_table::read(&mut section, given, report);
    let delete = section.choice("delete", &DELETE_MODES, report).unwrap_or(DeleteMode::Soft);
    let tls_place = section.place_of("tls");
    let mut tls = section.section("tls", report);
    let mode = tls.choice("mode", &TLS_MODES, report);
    let ca_place = if tls.is_present() { tls.place_of("ca_file") } else { tls_place };
    let ca_file = tls.text("ca_file", report).map(|path| in_folder(&path, report));
    tls.finish(report);
    let settings = PostgresSettings {
        url: url.clone().unwrap_or_else(|| FINE_URL.into()),
        schema: schema.unwrap_or_else(|| "public".into()),
        table: table.clone().unwrap_or_else(|| FINE_NAME.into()),
        delete,
        tls: TlsSettings { mode, ca_file },
        statement_timeout: section.duration("statement_timeout", STATEMENT_TIMEOUT, report),
        lock_timeout: section.duration("lock_timeout", LOCK_TIMEOUT, report),
        connect_timeout: section.duration("connect_timeout", CONNECT_TIMEOUT, report),
        dead_letters_per_minute_max: given.dead_letters_per_minute_max,
        adopt: read_adopt(&mut section, report),
    };
    for (setting, trouble) in faults(&settings) {
        let place = match setting {
            Setting::Url => section.place_of(if section.is_absent("url") { "host" } else { "url" }),
            Setting::Schema => section.place_of("schema"),
            Setting::Table => section.place_of("table"),
            Setting::CaFile => ca_place.clone(),
        };
        report.fault(&place, trouble.code, trouble.message, trouble.advice);
    }
    if let Some(file) = key_file(&settings) {
        warn_of_exposed(&file, &section.place_of("url"), report);
    }
    section.finish(report);
    (url.is_some() && table.is_some()).then_some(SinkSpec::Postgres(settings))
}

/// `url`, or the keys that say the same.
fn read_url(section: &mut Section<'_>, report: &mut Report<'_>) -> Option<DatabaseUrl> {
    let parts = ["host", "port", "user", "password", "database"];
    let written: Vec<_> = parts.into_iter().filter(|key| !section.is_absent(key)).collect();
    let keys = read_keys(section, !written.is_empty() && section.is_absent("url"), report);
    if section.is_absent("url") && !written.is_empty() {
        return keys;
    }
    for key in written {
        let message = "`url` says where to connect to already";
        report.fault(&section.place_of(key), "config.conflict", message, Some("keep one of the two".into()));
    }
    let url = section.required_text("url", "give it by reference: url = \"${env:PG_URL}\"", report)?;
    if url.value.text.is_empty() {
        let advice = "give the variable or the file that it refers to a value";
        report.fault(&url.place, "config.bad_value", "empty", Some(advice.into()));
        return None;
    }
    if has_literal_password(&url.value.shape) {
        report.warn(&url.place, "config.literal_secret", "a password stands in the file", Some(BY_REFERENCE.into()));
    }
    Some(database_url(encoded(&url.value), shown(&url.value), [&url]))
}

/// Of what came by references only their names are shown: a secret may have gone astray into any part.
fn database_url<'a>(url: String, shown: String, texts: impl IntoIterator<Item = &'a Text>) -> DatabaseUrl {
    let names: Vec<&str> = texts.into_iter().flat_map(|text| &text.value.names).map(String::as_str).collect();
    if names.is_empty() { url.into() } else { DatabaseUrl::partly_shown(url, shown, names.join(", ")) }
}

fn read_keys(section: &mut Section<'_>, are_needed: bool, report: &mut Report<'_>) -> Option<DatabaseUrl> {
    let mut text = |key, what: &str| {
        if are_needed { section.required_text(key, what, report) } else { section.text(key, report) }
    };
    let host = text("host", "say where the server is: host = \"db.example.org\"");
    let user = text("user", "say who logs in: user = \"writer\"");
    let database = text("database", "say which database: database = \"shop\"");
    let port = section.optional_number("port", 1, u16::MAX.into(), report);
    let password = section.text("password", report);
    if let Some(password) = password.as_ref().filter(|password| password.value.has_literal()) {
        report.warn(
            &password.place,
            "config.literal_secret",
            "a password stands in the file",
            Some(BY_REFERENCE.into()),
        );
    }
    let (host, user, database) = (host?, user?, database?);
    let url = |part: fn(&Resolved) -> String| {
        let (host, user, database) = (part(&host.value), part(&user.value), part(&database.value));
        let password = password.as_ref().map(|password| part(&password.value));
        UrlKeys { host, port, user, password, database }.url()
    };
    let (whole, shown) = (url(|value| value.text.clone()), url(|value| value.named(str::to_owned)));
    Some(database_url(whole, shown, [&host, &user, &database].into_iter().chain(&password)))
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
