//! What a pipeline file says about a Postgres sink.

use std::path::PathBuf;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use tailwater_model::DeleteMode;

/// The URL of a database, `postgres://user:password@host:port/database`, with what may be shown of it. `Debug` does not print
/// the URL.
#[derive(Clone, Debug)]
pub struct DatabaseUrl {
    text: SecretString,
    /// Nothing where all may be shown but the password.
    shown: Option<Shown>,
}

#[derive(Clone, Debug)]
struct Shown {
    url: SecretString,
    names: String,
}

impl DatabaseUrl {
    /// A URL of which parts came from elsewhere. `shown` is the same with a name in place of each; `names` are all of them, for
    /// where the parts cannot be told from one another.
    pub fn partly_shown(text: String, shown: String, names: String) -> Self {
        Self { text: text.into(), shown: Some(Shown { url: shown.into(), names }) }
    }

    /// Whether both are the same, letter by letter.
    pub fn is_same(&self, other: &Self) -> bool {
        self.expose() == other.expose()
    }

    pub(crate) fn expose(&self) -> &str {
        self.text.expose_secret()
    }

    /// The URL as it may be shown without its password, and what is shown where that is no URL. Nothing where it is the URL
    /// itself.
    pub(crate) fn shown(&self) -> Option<(&str, &str)> {
        self.shown.as_ref().map(|shown| (shown.url.expose_secret(), &*shown.names))
    }
}

impl From<String> for DatabaseUrl {
    fn from(text: String) -> Self {
        Self { text: text.into(), shown: None }
    }
}

impl From<&str> for DatabaseUrl {
    fn from(text: &str) -> Self {
        text.to_owned().into()
    }
}

/// Where to write and how. `Debug` does not print the URL.
#[derive(Clone, Debug)]
pub struct PostgresSettings {
    /// Where to connect to.
    pub url: DatabaseUrl,
    /// Schema of the mirror table; made when missing. 1 to 63 bytes.
    pub schema: String,
    /// The mirror table; made when missing. 1 to 63 bytes.
    pub table: String,
    /// What becomes of the row of a removed item.
    pub delete: DeleteMode,
    /// How the connection is protected.
    pub tls: TlsSettings,
    /// Longest time that one statement may run, at least 1 ms.
    pub statement_timeout: Duration,
    /// Longest wait for a lock, at least 1 ms.
    pub lock_timeout: Duration,
    /// Longest time to connect and log in.
    pub connect_timeout: Duration,
    /// Most dead letters that the store takes within a minute, of all lanes of the pipeline together. With more the pipeline
    /// stops, and starts again only with a greater number.
    pub dead_letters_per_minute_max: u32,
    /// The token of a refused start: goes on although progress and table do not belong together.
    pub adopt: Option<String>,
}

/// How the connection is protected.
#[derive(Clone, Debug, Default)]
pub struct TlsSettings {
    /// Nothing means: `VerifyFull`, unless the host is a loopback address or a socket and no `ca_file` is given.
    pub mode: Option<TlsMode>,
    /// PEM file with certificate authorities to trust, besides the public ones.
    pub ca_file: Option<PathBuf>,
}

/// Degrees of protection. What is weaker than full verification says so in its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsMode {
    /// TLS, with the server's certificate and name verified.
    VerifyFull,
    /// TLS without any verification: safe against listeners only.
    InsecureRequire,
    /// No TLS.
    InsecureDisable,
}
