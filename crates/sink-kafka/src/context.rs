//! What librdkafka calls back for: its log lines, the errors of its connections, and bearer tokens.

use std::error::Error;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rdkafka::ClientContext;
use rdkafka::client::OAuthToken;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use secrecy::{ExposeSecret, SecretString};
use tokio::time::Instant;

use crate::oauth::read_token;
use crate::settings::{KafkaSettings, SaslSettings};

/// How long an error of a connection explains what fails later. librdkafka tells an error again only after some thirty
/// seconds while nothing changes, so a shorter time would forget what still holds.
const PROBLEM_EXPLAINS: Duration = Duration::from_secs(90);
/// The longest text of an error that is kept, in bytes; librdkafka's own are below 512.
const PROBLEM_BYTES_MAX: usize = 1024;
/// What stands in a log line where a secret stood.
const REDACTED: &str = "[redacted]";
/// Parts of the names of the user's own properties whose values are secrets.
const SECRET_NAMES: [&str; 2] = ["password", "secret"];
/// What librdkafka's lines about failed connections are marked with.
const CONNECTION_FACILITY: &str = "FAIL";
/// What librdkafka's last lines about a producer have in them that another one came after. It calls that fatal, and the lane, which
/// looks who it was, tells it.
const FENCED_WORDS: [&str; 3] = ["fenced by a newer instance", "(_FENCED)", "(PRODUCER_FENCED)"];
/// How librdkafka ends a warning about a property that only the other kind of client knows. The user's properties go to
/// both kinds.
const IGNORED_BY_THIS_KIND: &str = "will be ignored by this";

/// What the clients of one pipeline share. Clones are the same context.
#[derive(Clone)]
pub(crate) struct KafkaContext {
    inner: Arc<Inner>,
}

/// Knows secrets, so it has no `Debug`.
struct Inner {
    /// What must never be shown. Not empty ones.
    secrets: Vec<SecretString>,
    tokens: TokenSource,
    /// The newest error of a connection.
    problem: Mutex<Option<Problem>>,
}

/// Where bearer tokens come from.
enum TokenSource {
    /// The broker does not ask for them.
    None,
    File(PathBuf),
    #[cfg(feature = "msk-iam")]
    MskIam {
        region: String,
    },
}

struct Problem {
    code: RDKafkaErrorCode,
    text: String,
    weight: Weight,
    at: Instant,
}

/// How much a problem explains. One that explains less does not take the place of one that explains more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Weight {
    /// That all brokers are down only says that each has a problem.
    Summary,
    /// A connection that the other side closed: often harmless, but also how a listener for TLS answers plain text.
    Closed,
    /// What librdkafka itself calls an error.
    Error,
}

impl KafkaContext {
    /// A context for clients of this cluster. Nothing is read yet.
    pub(crate) fn new(settings: &KafkaSettings) -> Self {
        let named_so =
            settings.librdkafka.iter().filter(|(name, _)| SECRET_NAMES.iter().any(|part| name.contains(part)));
        let mut secrets: Vec<SecretString> = named_so.map(|(_, value)| value.clone()).collect();
        secrets.extend(settings.tls.iter().filter_map(|tls| tls.key_password.clone()));
        let mut tokens = TokenSource::None;
        match &settings.sasl {
            None => {}
            Some(SaslSettings::Plain(login) | SaslSettings::ScramSha256(login) | SaslSettings::ScramSha512(login)) => {
                secrets.push(login.password.clone());
            }
            Some(SaslSettings::OAuthBearer { token_file }) => tokens = TokenSource::File(token_file.clone()),
            #[cfg(feature = "msk-iam")]
            Some(SaslSettings::MskIam { region }) => tokens = TokenSource::MskIam { region: region.clone() },
        }
        secrets.retain(|secret| !secret.expose_secret().is_empty());
        Self { inner: Arc::new(Inner { secrets, tokens, problem: Mutex::default() }) }
    }

    /// The newest error of a connection that may still explain a call that only timed out: a refused connection, a failed
    /// login, a certificate. Told by librdkafka to whoever polls, so poll before asking.
    ///
    /// Nothing clears a problem but its age: librdkafka does not say when a connection is good again.
    pub(crate) fn last_problem(&self) -> Option<(RDKafkaErrorCode, String)> {
        let problem = self.problem();
        let problem = problem.as_ref().filter(|problem| problem.at.elapsed() <= PROBLEM_EXPLAINS)?;
        Some((problem.code, problem.text.clone()))
    }

    fn remember(&self, code: RDKafkaErrorCode, text: &str, weight: Weight) {
        let mut problem = self.problem();
        let explains = |known: &Problem| known.weight > weight && known.at.elapsed() <= PROBLEM_EXPLAINS;
        if !problem.as_ref().is_some_and(explains) {
            *problem = Some(Problem { code, text: shorten(text), weight, at: Instant::now() });
        }
    }

    /// Another thread that panicked here leaves a usable problem.
    fn problem(&self) -> std::sync::MutexGuard<'_, Option<Problem>> {
        self.inner.problem.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The text without any secret.
    fn redact(&self, text: &str) -> String {
        let secrets = self.inner.secrets.iter().map(ExposeSecret::expose_secret);
        secrets.fold(
            text.to_owned(),
            |text, secret| if text.contains(secret) { text.replace(secret, REDACTED) } else { text },
        )
    }
}

fn shorten(text: &str) -> String {
    text[..text.floor_char_boundary(PROBLEM_BYTES_MAX)].to_owned()
}

/// The message without the name of the thread that librdkafka puts in front.
fn without_thread(message: &str) -> &str {
    let stripped = message.strip_prefix("[thrd:").and_then(|rest| rest.split_once("]: "));
    stripped.map_or(message, |(_, message)| message)
}

impl ClientContext for KafkaContext {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        let message = self.redact(without_thread(message));
        if facility == CONNECTION_FACILITY && matches!(level, RDKafkaLogLevel::Info) {
            self.remember(RDKafkaErrorCode::BrokerTransportFailure, &message, Weight::Closed);
        }
        let is_fenced = FENCED_WORDS.iter().any(|words| message.contains(words));
        match level {
            RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical if is_fenced => {
                tracing::debug!(target: "librdkafka", facility, "{message}");
            }
            RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical => {
                tracing::error!(target: "librdkafka", facility, "{message}");
            }
            RDKafkaLogLevel::Error | RDKafkaLogLevel::Warning if message.contains(IGNORED_BY_THIS_KIND) => {
                tracing::debug!(target: "librdkafka", facility, "{message}");
            }
            // Comes a second time as an error.
            RDKafkaLogLevel::Error if facility == CONNECTION_FACILITY => {
                tracing::debug!(target: "librdkafka", facility, "{message}");
            }
            // librdkafka tries again by itself after what it calls errors; what it gives up comes as a call's error.
            RDKafkaLogLevel::Error | RDKafkaLogLevel::Warning => {
                tracing::warn!(target: "librdkafka", facility, "{message}");
            }
            RDKafkaLogLevel::Notice => tracing::info!(target: "librdkafka", facility, "{message}"),
            RDKafkaLogLevel::Info | RDKafkaLogLevel::Debug => {
                tracing::debug!(target: "librdkafka", facility, "{message}");
            }
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        let code = error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Fail);
        let reason = self.redact(reason);
        // Every client of every lane tells of each broken connection; what it breaks is told once, by the call that fails.
        tracing::debug!(target: "librdkafka", ?code, "{reason}");
        let is_summary = code == RDKafkaErrorCode::AllBrokersDown;
        self.remember(code, &reason, if is_summary { Weight::Summary } else { Weight::Error });
    }

    fn generate_oauth_token(&self, _config: Option<&str>) -> Result<OAuthToken, Box<dyn Error>> {
        #[expect(clippy::disallowed_methods, reason = "a bearer token expires by the wall clock")]
        let now = jiff::Timestamp::now();
        let token = match &self.inner.tokens {
            TokenSource::None => Err("the settings name no source of bearer tokens".to_owned()),
            TokenSource::File(path) => read_token(path, now),
            #[cfg(feature = "msk-iam")]
            TokenSource::MskIam { region } => crate::msk_iam::fetch_token(region, now),
        };
        Ok(token?)
    }
}

impl ConsumerContext for KafkaContext {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::{Credentials, TlsSettings, sample};

    fn context() -> KafkaContext {
        let tls = TlsSettings { key_password: Some("canary-key".into()), ..TlsSettings::default() };
        let login = Credentials { username: "u".into(), password: "canary-password".into() };
        KafkaContext::new(&KafkaSettings {
            tls: Some(tls),
            sasl: Some(SaslSettings::Plain(login)),
            librdkafka: [
                ("ssl.keystore.password".to_owned(), "canary-store".into()),
                ("linger.ms".to_owned(), "5".into()),
                ("client.dns.lookup".to_owned(), "".into()),
            ]
            .into(),
            ..sample()
        })
    }

    fn raise(context: &KafkaContext, code: RDKafkaErrorCode, reason: &str) {
        context.error(KafkaError::Global(code), reason);
    }

    #[tokio::test(start_paused = true)]
    async fn the_newest_problem_explains_and_grows_old() {
        let context = context();
        assert_eq!(context.last_problem(), None);
        raise(&context, RDKafkaErrorCode::AllBrokersDown, "1/1 brokers are down");
        assert_eq!(context.last_problem().map(|(code, _)| code), Some(RDKafkaErrorCode::AllBrokersDown));
        context.log(RDKafkaLogLevel::Info, CONNECTION_FACILITY, "[thrd:x]: x: Disconnected: connection closed by peer");
        raise(&context, RDKafkaErrorCode::AllBrokersDown, "1/1 brokers are down");
        let expected = (RDKafkaErrorCode::BrokerTransportFailure, "x: Disconnected: connection closed by peer");
        assert_eq!(context.last_problem(), Some((expected.0, expected.1.to_owned())));
        raise(&context, RDKafkaErrorCode::BrokerTransportFailure, "refused");
        raise(&context, RDKafkaErrorCode::Authentication, "login with canary-password failed");
        raise(&context.clone(), RDKafkaErrorCode::AllBrokersDown, "1/1 brokers are down");
        context.log(RDKafkaLogLevel::Info, CONNECTION_FACILITY, "Disconnected");
        context.log(RDKafkaLogLevel::Info, "CONFIG", "nothing of interest");
        let expected = (RDKafkaErrorCode::Authentication, "login with [redacted] failed".to_owned());
        assert_eq!(context.last_problem(), Some(expected));
        tokio::time::advance(PROBLEM_EXPLAINS + Duration::from_millis(1)).await;
        assert_eq!(context.last_problem(), None);
        raise(&context, RDKafkaErrorCode::AllBrokersDown, "1/1 brokers are down");
        assert!(context.last_problem().is_some());
    }

    #[test]
    fn secrets_are_taken_out_and_little_is_kept() {
        let context = context();
        let line = "conf: canary-key canary-store canary-password linger.ms = 5";
        assert_eq!(context.redact(line), "conf: [redacted] [redacted] [redacted] linger.ms = 5");
        raise(&context, RDKafkaErrorCode::Fail, &"å".repeat(PROBLEM_BYTES_MAX));
        assert!(context.last_problem().is_some_and(|(_, text)| text.len() <= PROBLEM_BYTES_MAX));
    }

    #[test]
    fn tokens_come_from_the_file_of_the_settings() {
        let refused = context().generate_oauth_token(None).err().expect("there is no source");
        assert!(refused.to_string().contains("no source"), "{refused}");
        let sasl = Some(SaslSettings::OAuthBearer { token_file: "/missing/token".into() });
        let refused = KafkaContext::new(&KafkaSettings { sasl, ..sample() }).generate_oauth_token(None);
        assert!(refused.err().is_some_and(|why| why.to_string().contains("/missing/token")));
    }
}
