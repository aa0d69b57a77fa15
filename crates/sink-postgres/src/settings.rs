//! What a pipeline file says about a Postgres sink.

use std::path::PathBuf;
use std::time::Duration;

use secrecy::SecretString;
use tailwater_model::DeleteMode;

/// Where to write and how. `Debug` does not print the URL.
#[derive(Clone, Debug)]
pub struct PostgresSettings {
    /// `postgres://user:password@host:port/database`. Secret, because of the password.
    pub url: SecretString,
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
