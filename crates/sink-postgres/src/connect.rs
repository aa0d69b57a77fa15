//! From settings to a connection: the URL, TLS, and what every session is set to.

use std::net::IpAddr;
use std::path::Path;

use secrecy::ExposeSecret;
use sqlx::ConnectOptions;
use sqlx::postgres::{PgConnectOptions, PgSslMode};
use tailwater_model::{Trouble, TroubleKind};

use crate::session::{Session, SqlFault};
use crate::settings::{PostgresSettings, TlsMode, TlsSettings};

/// Parameters that may stand in the URL. What the settings say otherwise may not, and what the driver would ignore
/// may not either.
const URL_PARAMETERS: [&str; 9] =
    ["host", "hostaddr", "port", "dbname", "user", "password", "options", "sslcert", "sslkey"];

/// After this idle time the server asks whether we are still there, in seconds; without it a lost machine would keep its
/// locks for two hours.
const KEEPALIVE_IDLE_S: &str = "30";
/// Pause between such questions, in seconds.
const KEEPALIVE_INTERVAL_S: &str = "10";
/// Unanswered questions before the server gives the session up.
const KEEPALIVE_COUNT: &str = "3";
/// Longest `application_name` in bytes: Postgres cuts longer ones.
const APPLICATION_NAME_BYTES_MAX: usize = 63;

/// How to connect, checked. Knows the password, so it has no `Debug`.
#[derive(Clone)]
pub(crate) struct Address {
    options: PgConnectOptions,
    /// Host, port, database and user, for messages.
    pub(crate) place: String,
}

/// Reads the URL and the TLS settings; connects to nobody.
pub(crate) fn address(settings: &PostgresSettings) -> Result<Address, Trouble> {
    let url = settings.url.expose_secret();
    check_url(url)?;
    let options: PgConnectOptions = url.parse().map_err(|fault: sqlx::Error| bad_url(fault.to_string()))?;
    let host = options.get_host().trim_matches(['[', ']']).to_owned();
    let is_local = options.get_socket().is_some() || is_local(&host);
    let shown_host = options.get_socket().map_or_else(|| host.clone(), |socket| socket.display().to_string());
    let place = format!(
        "{shown_host}:{}/{} as {}",
        options.get_port(),
        options.get_database().unwrap_or(options.get_username()),
        options.get_username(),
    );
    let mut options = options.host(&host).ssl_mode(ssl_mode(&settings.tls, is_local));
    if let Some(ca_file) = &settings.tls.ca_file {
        check_ca_file(ca_file)?;
        options = options.ssl_root_cert(ca_file);
    }
    // The driver would log slow statements with their whole text; what a slow commit means for the pipeline its lane says.
    let options = options.options(session_settings(settings)).disable_statement_logging();
    Ok(Address { options, place })
}

/// What holds for every session, whatever the role or the database are set to.
fn session_settings(settings: &PostgresSettings) -> [(&'static str, String); 11] {
    let statement_timeout = settings.statement_timeout.as_millis().max(1).to_string();
    [
        ("search_path", "pg_catalog".into()),
        ("TimeZone", "UTC".into()),
        ("statement_timeout", statement_timeout.clone()),
        ("lock_timeout", settings.lock_timeout.as_millis().max(1).to_string()),
        // Between two statements we only compute: whoever is silent this long is gone.
        ("idle_in_transaction_session_timeout", statement_timeout),
        // Each statement must see what was committed before it began: the fence waits for locks.
        ("default_transaction_isolation", "read committed".into()),
        // Arrays are planned as ten elements, so keys are looked up in the index and never by a scan of the table.
        ("plan_cache_mode", "force_generic_plan".into()),
        ("row_security", "off".into()),
        ("tcp_keepalives_idle", KEEPALIVE_IDLE_S.into()),
        ("tcp_keepalives_interval", KEEPALIVE_INTERVAL_S.into()),
        ("tcp_keepalives_count", KEEPALIVE_COUNT.into()),
    ]
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
            Ok(connection) => Ok(Session::new(connection?, settings.statement_timeout)),
            Err(_) => Err(SqlFault::NoAnswer(settings.connect_timeout)),
        }
    }
}

fn application_name(pipeline: &str, role: &str) -> String {
    let room = APPLICATION_NAME_BYTES_MAX.saturating_sub("tailwater//".len() + role.len());
    // Postgres shows other characters as question marks, and U+0000 would end the start-up message.
    let pipeline: String = pipeline.chars().filter(char::is_ascii_graphic).take(room).collect();
    format!("tailwater/{pipeline}/{role}")
}

fn is_local(host: &str) -> bool {
    host.starts_with('/') || host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn ssl_mode(tls: &TlsSettings, is_local: bool) -> PgSslMode {
    match tls.mode {
        Some(TlsMode::VerifyFull) => PgSslMode::VerifyFull,
        Some(TlsMode::InsecureRequire) => PgSslMode::Require,
        Some(TlsMode::InsecureDisable) => PgSslMode::Disable,
        None if is_local && tls.ca_file.is_none() => PgSslMode::Prefer,
        None => PgSslMode::VerifyFull,
    }
}

/// The driver takes a file without certificates in silence, and names no file that it cannot read.
fn check_ca_file(path: &Path) -> Result<(), Trouble> {
    let why = match std::fs::read_to_string(path) {
        Ok(text) if text.contains("-----BEGIN CERTIFICATE-----") => return Ok(()),
        Ok(_) => "it holds no certificate".to_owned(),
        Err(error) => error.to_string(),
    };
    Err(Trouble::new(
        TroubleKind::Config,
        "sink.postgres.ca_file",
        format!("the tls.ca_file {} cannot be used: {why}", path.display()),
    )
    .advise("name a PEM file with the certificate of the authority that signed the server's"))
}

fn check_url(url: &str) -> Result<(), Trouble> {
    if !url.starts_with("postgres://") && !url.starts_with("postgresql://") {
        return Err(bad_url("it does not begin with postgres://".into()));
    }
    let query = url.split_once('?').map_or("", |(_, query)| query);
    for parameter in query.split('&').filter(|pair| !pair.is_empty()) {
        let key = parameter.split('=').next().unwrap_or_default();
        if key.starts_with("ssl") && !URL_PARAMETERS.contains(&key) {
            return Err(bad_url(format!("`{key}` has no effect there"))
                .advise("remove it and say the same with tls.mode and tls.ca_file"));
        }
        if !URL_PARAMETERS.contains(&key) && !key.starts_with("options[") {
            return Err(bad_url(format!("a parameter after `?` is none of {}", URL_PARAMETERS.join(", "))));
        }
    }
    Ok(())
}

fn bad_url(why: String) -> Trouble {
    // Never the URL: it holds the password.
    Trouble::new(TroubleKind::Config, "sink.postgres.url", format!("the Postgres URL cannot be used: {why}"))
        .advise("write it as postgres://user:password@host:port/database")
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
        }
    }

    fn mode(url: &str, mode: Option<TlsMode>, ca_file: Option<&str>) -> String {
        let settings =
            PostgresSettings { tls: TlsSettings { mode, ca_file: ca_file.map(Into::into) }, ..settings(url) };
        let address = address(&settings).unwrap_or_else(|trouble| panic!("{trouble}"));
        format!("{:?}", address.options.get_ssl_mode())
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
    fn a_bad_url_is_told_without_the_url() {
        for url in [
            "mysql://u:hunter2@h/d",
            "hunter2",
            "postgres://u:hunter2@h:notaport/d",
            "postgres://u:hunter2@h/d?sslmode=require",
            "postgres://u:p@h/d?passwrod=hunter2",
            "postgres://u:p@h/d?hunter2",
        ] {
            let Err(trouble) = address(&settings(url)) else { panic!("{url} was taken") };
            assert_eq!((trouble.kind, trouble.code), (TroubleKind::Config, "sink.postgres.url"));
            assert!(!format!("{trouble:?}").contains("hunter2"), "{trouble:?}");
            assert!(!format!("{:?}", settings(url)).contains("hunter2"));
        }
    }

    #[test]
    fn messages_name_the_place_without_the_password() {
        let address = address(&settings("postgres://u:hunter2@db.example.org:6432/d")).expect("a good URL");
        assert_eq!(address.place, "db.example.org:6432/d as u");
    }

    #[test]
    fn the_application_name_fits() {
        assert_eq!(application_name("orders", "3"), "tailwater/orders/3");
        let long = application_name(&"å x\0".repeat(100), "claim");
        assert!(long.len() <= APPLICATION_NAME_BYTES_MAX && long.is_ascii() && !long.contains('\0'));
        assert!(application_name(&"y".repeat(100), "31").ends_with("/31"));
    }
}
