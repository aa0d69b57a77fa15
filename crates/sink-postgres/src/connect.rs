//! From settings to a connection.

use std::sync::Arc;

use sqlx::postgres::{PgConnectOptions, PgSslMode};
use sqlx::{ConnectOptions, Error};
use tailwater_model::{Trouble, TroubleKind};

use crate::database_url::{SslMode, UrlParts, bad_url, parse};
use crate::session::{Session, SqlFault};
use crate::settings::{DatabaseUrl, PostgresSettings, TlsMode, TlsSettings};
use crate::transaction::TransactionSettings;

/// Longest `application_name` in bytes: Postgres cuts longer ones.
const APPLICATION_NAME_BYTES_MAX: usize = 63;

/// Variables of the environment that the driver takes in and cannot be told to leave. All others it would know are
/// overridden.
const FOREIGN_VARIABLES: [&str; 3] = ["PGOPTIONS", "PGSSLCERT", "PGSSLKEY"];

/// How to connect, checked. Knows the password, so it has no `Debug`.
#[derive(Clone)]
pub(crate) struct Address {
    options: PgConnectOptions,
    /// Host, port, database and user, for messages, as far as they may be shown.
    pub(crate) place: String,
    /// Parts that are not, each with what is shown in its place.
    hidden: Vec<(String, String)>,
    settings: Arc<TransactionSettings>,
}

/// Reads the URL and how it is to be protected; connects to nobody.
pub(crate) fn check_url(settings: &PostgresSettings) -> Result<(UrlParts, PgSslMode), Trouble> {
    let parts = parse(settings.url.expose())?;
    let ssl_mode = ssl_mode(&settings.tls, &parts)?;
    check_environment(&parts)?;
    Ok((parts, ssl_mode))
}

/// Reads the URL and the TLS settings; connects to nobody.
pub(crate) fn address(settings: &PostgresSettings) -> Result<Address, Trouble> {
    let (parts, ssl_mode) = check_url(settings)?;
    check_ca_file(&settings.tls)?;
    let UrlParts { host, port, user, password, database, .. } = &parts;
    let (place, hidden) = place(&settings.url, &parts);
    // Each part is set, so that nothing comes from the environment instead.
    let mut options = with_server_options(&parts.options)?
        .host(host)
        .port(*port)
        .username(user)
        .password(password)
        .database(database)
        .ssl_mode(ssl_mode);
    if host.starts_with('/') {
        options = options.socket(host);
    }
    options = match &settings.tls.ca_file {
        Some(ca_file) => options.ssl_root_cert(ca_file),
        None => options.ssl_root_cert_from_pem(Vec::new()),
    };
    if let Some(certificate) = &parts.certificate_file {
        options = options.ssl_client_cert(certificate);
    }
    if let Some(key) = &parts.key_file {
        options = options.ssl_client_key(key);
    }
    // The driver would log slow statements with their whole text; what a slow commit means for the pipeline its lane says.
    // Poolers refuse start-up parameters that they do not know, and this one is for numbers that no statement here reads.
    let options = options.extra_float_digits(None).disable_statement_logging();
    Ok(Address { options, place, hidden, settings: Arc::new(TransactionSettings::new(settings)) })
}

impl Address {
    /// Connects and logs in. `role` is what the session is for: a lane's number or a word.
    pub(crate) async fn connect(
        &self,
        settings: &PostgresSettings,
        pipeline: &str,
        role: &str,
    ) -> Result<Session, SqlFault> {
        let options = self.options.clone().application_name(&application_name(pipeline, role));
        match tokio::time::timeout(settings.connect_timeout, options.connect()).await {
            Ok(Ok(connection)) => Ok(Session::new(connection, settings.statement_timeout, Arc::clone(&self.settings))),
            Ok(Err(error)) => Err(self.without_hidden(error)),
            Err(_) => Err(SqlFault::NoAnswer(settings.connect_timeout)),
        }
    }

    /// What refuses a login names the user, the database or the host.
    fn without_hidden(&self, error: Error) -> SqlFault {
        if self.hidden.is_empty() {
            return SqlFault::Driver(error);
        }
        let shown = |text: &str| {
            self.hidden.iter().fold(text.to_owned(), |text, (part, name)| text.replace(part.as_str(), name))
        };
        SqlFault::Driver(match error {
            Error::Database(error) => {
                let state = error.code().unwrap_or_default().into_owned();
                return SqlFault::Coded { state, message: shown(error.message()) };
            }
            Error::Io(error) => Error::Io(std::io::Error::new(error.kind(), shown(&error.to_string()))),
            Error::Tls(error) => Error::Tls(shown(&error.to_string()).into()),
            other => other,
        })
    }
}

/// Where it is, for messages, and the parts of it that are never shown, each with what is shown in its place.
fn place(url: &DatabaseUrl, parts: &UrlParts) -> (String, Vec<(String, String)>) {
    let place = |parts: &UrlParts| format!("{}:{}/{} as {}", parts.host, parts.port, parts.database, parts.user);
    let Some((shown, names)) = url.shown() else { return (place(parts), Vec::new()) };
    let shown = parse(shown).ok();
    let in_place = match &shown {
        Some(shown) => [&*shown.host, &*shown.database, &*shown.user],
        None => [names; 3],
    };
    let parts_in_place = [&parts.host, &parts.database, &parts.user].into_iter().zip(in_place);
    let differs = parts_in_place.filter(|(part, name)| part.as_str() != *name);
    let mut hidden: Vec<_> = differs.map(|(part, name)| (part.clone(), name.to_owned())).collect();
    // A part may be a piece of another one.
    hidden.sort_by_key(|(part, _)| std::cmp::Reverse(part.len()));
    (shown.as_ref().map_or_else(|| names.to_owned(), place), hidden)
}

fn application_name(pipeline: &str, role: &str) -> String {
    let room = APPLICATION_NAME_BYTES_MAX.saturating_sub("tailwater//".len() + role.len());
    // Postgres shows other characters as question marks, and U+0000 would end the start-up message.
    let pipeline: String = pipeline.chars().filter(char::is_ascii_graphic).take(room).collect();
    format!("tailwater/{pipeline}/{role}")
}

/// `tls.mode` decides. Without it a URL may ask for less than the full verification on this machine only; what it asks for
/// is never undercut.
fn ssl_mode(tls: &TlsSettings, parts: &UrlParts) -> Result<PgSslMode, Trouble> {
    let is_local = parts.is_local();
    let mode = match (tls.mode, parts.ssl_mode) {
        (Some(TlsMode::VerifyFull), _) => PgSslMode::VerifyFull,
        (Some(TlsMode::InsecureRequire), Some(SslMode::Verify)) => {
            return Err(bad_url("its `sslmode` asks for more than tls.mode").advise(CONTRADICTION));
        }
        (Some(TlsMode::InsecureRequire), _) => PgSslMode::Require,
        (Some(TlsMode::InsecureDisable), None | Some(SslMode::MayBePlain)) => PgSslMode::Disable,
        (Some(TlsMode::InsecureDisable), _) => {
            return Err(bad_url("its `sslmode` asks for more than tls.mode").advise(CONTRADICTION));
        }
        (None, None | Some(SslMode::MayBePlain)) if is_local && tls.ca_file.is_none() => PgSslMode::Prefer,
        (None, Some(SslMode::Require)) if is_local && tls.ca_file.is_none() => PgSslMode::Require,
        (None, Some(SslMode::MayBePlain)) => {
            return Err(bad_url("its `sslmode` would let passwords and items go in plain text").advise(
                "remove it: the connection is encrypted and verified then; or say what is meant with tls.mode = \
                 \"insecure-disable\" or \"insecure-require\"",
            ));
        }
        (None, _) => PgSslMode::VerifyFull,
    };
    if parts.binds_channel && !matches!(mode, PgSslMode::VerifyFull) {
        return Err(bad_url("it requires `channel_binding`, and the server's certificate is not verified")
            .advise("set tls.mode = \"verify-full\", which is as safe from somebody in between, or remove it"));
    }
    Ok(mode)
}

const CONTRADICTION: &str = "remove one of the two";

fn check_environment(parts: &UrlParts) -> Result<(), Trouble> {
    let is_overridden = |name: &str| match name {
        "PGSSLCERT" => parts.certificate_file.is_some(),
        "PGSSLKEY" => parts.key_file.is_some(),
        _ => false,
    };
    let set = |name: &&str| std::env::var_os(name).is_some_and(|value| !value.is_empty()) && !is_overridden(name);
    match FOREIGN_VARIABLES.iter().find(|name| set(name)) {
        Some(name) => Err(Trouble::new(
            TroubleKind::Config,
            "sink.postgres.environment",
            format!("the environment variable {name} is set and would change the connection to Postgres"),
        )
        .advise("unset it for Tailwater; the URL takes `options`, `sslcert` and `sslkey` after its `?`")),
        None => Ok(()),
    }
}

/// The driver takes whole command-line options of the server from a URL only.
fn with_server_options(server_options: &[String]) -> Result<PgConnectOptions, Trouble> {
    if server_options.is_empty() {
        return Ok(PgConnectOptions::new_without_pgpass());
    }
    let query =
        url::form_urlencoded::Serializer::new(String::new()).append_pair("options", &server_options.join(" ")).finish();
    format!("postgres://user:password@host?{query}").parse().map_err(|_| bad_url("its `options` cannot be passed on"))
}

/// The driver takes a file without certificates in silence.
pub(crate) fn check_ca_file(tls: &TlsSettings) -> Result<(), Trouble> {
    let Some(path) = &tls.ca_file else { return Ok(()) };
    let why = match std::fs::read_to_string(path) {
        Ok(text) if text.contains("-----BEGIN CERTIFICATE-----") => return Ok(()),
        Ok(_) => "it holds no certificate".to_owned(),
        Err(error) => error.to_string(),
    };
    Err(Trouble::new(
        TroubleKind::Config,
        "sink.postgres.ca_file",
        format!("the file of tls.ca_file cannot be used: {why}"),
    )
    .advise("name a PEM file with the certificate of the authority that signed the server's"))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tailwater_model::DeleteMode;

    use super::*;

    fn settings(url: &str) -> PostgresSettings {
        PostgresSettings {
            url: url.into(),
            schema: "s".into(),
            table: "t".into(),
            delete: DeleteMode::Soft,
            tls: TlsSettings::default(),
            statement_timeout: Duration::from_secs(30),
            lock_timeout: Duration::from_secs(10),
            connect_timeout: Duration::from_secs(5),
            dead_letters_per_minute_max: 10,
            adopt: None,
        }
    }

    fn try_mode(url: &str, mode: Option<TlsMode>, ca_file: Option<&str>) -> Result<String, Trouble> {
        let settings =
            PostgresSettings { tls: TlsSettings { mode, ca_file: ca_file.map(Into::into) }, ..settings(url) };
        Ok(format!("{:?}", address(&settings)?.options.get_ssl_mode()))
    }

    fn mode(url: &str, mode: Option<TlsMode>, ca_file: Option<&str>) -> String {
        try_mode(url, mode, ca_file).unwrap_or_else(|trouble| panic!("{url}: {trouble}"))
    }

    #[test]
    fn everything_but_loopback_is_verified_by_default() {
        assert_eq!(mode("postgres://u:p@db.example.org/d", None, None), "VerifyFull");
        assert_eq!(mode("postgres://u:p@10.0.0.1/d", None, None), "VerifyFull");
        for local in ["localhost", "127.0.0.1:5433", "127.8.9.1", "[::1]:5432", "%2Fvar%2Frun%2Fpostgresql"] {
            assert_eq!(mode(&format!("postgres://u:p@{local}/d"), None, None), "Prefer", "{local}");
        }
        let ca_file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(ca_file.path(), "-----BEGIN CERTIFICATE-----").expect("writes");
        assert_eq!(mode("postgres://u:p@localhost/d", None, ca_file.path().to_str()), "VerifyFull");
        assert_eq!(mode("postgres://u:p@localhost/d", Some(TlsMode::VerifyFull), None), "VerifyFull");
        assert_eq!(mode("postgres://u:p@db.example.org/d", Some(TlsMode::InsecureRequire), None), "Require");
        assert_eq!(mode("postgres://u:p@db.example.org/d", Some(TlsMode::InsecureDisable), None), "Disable");
        // A name that only looks like this machine.
        assert_eq!(mode("postgres://u:p@localhost.example.org/d", None, None), "VerifyFull");
    }

    #[test]
    fn what_a_url_asks_for_is_never_undercut() {
        let remote = |query: &str| format!("postgres://u:p@db.example.org/d?{query}");
        for asked in ["sslmode=require", "sslmode=verify-ca", "sslmode=require&channel_binding=require"] {
            assert_eq!(mode(&remote(asked), None, None), "VerifyFull", "{asked}");
            assert!(try_mode(&remote(asked), Some(TlsMode::InsecureDisable), None).is_err(), "{asked}");
        }
        assert_eq!(mode(&remote("sslmode=require"), Some(TlsMode::InsecureRequire), None), "Require");
        assert_eq!(mode(&remote("sslmode=disable"), Some(TlsMode::InsecureDisable), None), "Disable");
        assert_eq!(mode(&remote("sslmode=prefer"), Some(TlsMode::VerifyFull), None), "VerifyFull");
        for (asked, mode) in [
            ("sslmode=disable", None),
            ("sslmode=prefer", None),
            ("sslmode=verify-full", Some(TlsMode::InsecureRequire)),
            ("channel_binding=require", Some(TlsMode::InsecureRequire)),
        ] {
            assert_eq!(try_mode(&remote(asked), mode, None).map_err(|trouble| trouble.code), Err("sink.postgres.url"));
        }
        assert_eq!(mode("postgres://u:p@localhost/d?sslmode=require", None, None), "Require");
        assert_eq!(mode("postgres://u:p@localhost/d?sslmode=disable", None, None), "Prefer");
        assert_eq!(mode("postgres://u:p@localhost/d?sslmode=verify-ca", None, None), "VerifyFull");
    }

    #[test]
    fn messages_name_the_place_without_the_password() {
        let address = address(&settings("postgres://u:hunter2@db.example.org:6432/d")).expect("a good URL");
        assert_eq!(address.place, "db.example.org:6432/d as u");
        assert!(!format!("{:?}", settings("postgres://u:hunter2@h/d")).contains("hunter2"));
    }

    #[test]
    fn what_came_from_elsewhere_is_in_no_message() {
        let name = "%24%7Benv%3AX%7D";
        for (url, shown, place) in [
            ("postgres://hunter2:writer@h/d", format!("postgres://{name}:writer@h/d"), "h:5432/d as ${env:X}"),
            ("postgres://w;hunter2:@h/d", format!("postgres://w;{name}:@h/d"), "h:5432/d as w;${env:X}"),
            ("postgres://u@hunter2/d", format!("postgres://u@{name}/d"), "${env:X}:5432/d as u"),
            ("postgres://u@h/hunter2", format!("postgres://u@h/{name}"), "h:5432/${env:X} as u"),
            ("postgres://h/d?user=hunter2", format!("postgres://h/d?user={name}"), "h:5432/d as ${env:X}"),
            ("postgres://u@h:2222/hunter2", format!("postgres://u@h:{name}/{name}"), "${env:X}"),
            ("postgres://hunter2@h/d", name.to_owned(), "${env:X}"),
        ] {
            let url = DatabaseUrl::partly_shown(url.into(), shown, "${env:X}".into());
            let address = address(&PostgresSettings { url, ..settings("") }).expect("a good URL");
            assert_eq!(address.place, place);
            // A server names a part as a whole.
            let part = if place.ends_with("w;${env:X}") { "w;hunter2" } else { "hunter2" };
            let refused = std::io::Error::other(format!("no such user, host or database: {part}"));
            let told = address.without_hidden(Error::Io(refused)).trouble("connecting", &address.place);
            assert!(!format!("{told:?}").contains("hunter2") && told.message.contains("${env:X}"), "{told:?}");
        }
    }

    #[test]
    fn options_of_the_server_are_passed_on() {
        let url = "postgres://u@h/d?options=-c%20geqo%3Doff%20--jit%3Doff&options[work_mem]=8MB";
        let address = address(&settings(url)).expect("a good URL");
        assert_eq!(address.options.get_options(), Some("-c geqo=off --jit=off -c work_mem=8MB"));
        assert_eq!(address.options.get_username(), "u");
    }

    #[test]
    fn the_application_name_fits() {
        assert_eq!(application_name("orders", "3"), "tailwater/orders/3");
        let long = application_name(&"å x\0".repeat(100), "claim");
        assert!(long.len() <= APPLICATION_NAME_BYTES_MAX && long.is_ascii() && !long.contains('\0'));
        assert!(application_name(&"y".repeat(100), "31").ends_with("/31"));
    }
}
