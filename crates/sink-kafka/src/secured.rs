//! TLS and SASL: what of them librdkafka is told, after a look at the files.

use std::fs::File;
use std::io::Read;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use rdkafka::ClientConfig;
use secrecy::ExposeSecret;
use tailwater_model::{Trouble, TroubleKind};

use crate::settings::{Credentials, KafkaSettings, SaslSettings, TlsSettings};

/// How a PEM file tells that a certificate follows.
const CERTIFICATE_MARK: &str = "-----BEGIN CERTIFICATE-----";
/// How a PEM file ends the line that tells that a private key follows, whatever its kind.
const KEY_MARK: &str = "PRIVATE KEY-----";
/// The largest PEM file that is looked at; the bundle of all public authorities has some 250 KB.
const PEM_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// Sets everything about encryption and about who we are.
///
/// # Errors
/// Trouble of kind `Config` for keys that do not fit together and for files that are not what they should be; of kind
/// `Environment` for files that cannot be read.
pub(crate) fn set_security(settings: &KafkaSettings, config: &mut ClientConfig) -> Result<(), Trouble> {
    let protocol = match (&settings.tls, &settings.sasl) {
        (None, None) => "plaintext",
        (Some(_), None) => "ssl",
        (None, Some(_)) => "sasl_plaintext",
        (Some(_), Some(_)) => "sasl_ssl",
    };
    config.set("security.protocol", protocol);
    if let Some(tls) = &settings.tls {
        set_tls(tls, config)?;
    }
    match &settings.sasl {
        Some(sasl) if settings.tls.is_none() && !are_local(&settings.brokers) => {
            Err(secret_in_the_clear(&settings.brokers, sasl))
        }
        Some(sasl) => {
            set_sasl(sasl, config);
            Ok(())
        }
        None => Ok(()),
    }
}

/// What is wrong with the files of `[sink.kafka.tls]`, each under its key there. No message holds a path, for it may be a secret
/// gone astray.
pub fn tls_faults(tls: &TlsSettings) -> Vec<(&'static str, Trouble)> {
    let files = [
        ("ca_file", &tls.ca_file, CERTIFICATE_MARK),
        ("certificate_file", &tls.certificate_file, CERTIFICATE_MARK),
        ("key_file", &tls.key_file, KEY_MARK),
    ];
    let checked = files.into_iter().filter_map(|(key, path, mark)| Some((key, check_pem(key, path.as_deref()?, mark))));
    checked.filter_map(|(key, checked)| Some((key, checked.err()?))).collect()
}

fn set_tls(tls: &TlsSettings, config: &mut ClientConfig) -> Result<(), Trouble> {
    if let Some((_, trouble)) = tls_faults(tls).into_iter().next() {
        return Err(trouble);
    }
    config.set("enable.ssl.certificate.verification", "true").set("ssl.endpoint.identification.algorithm", "https");
    let authorities = match &tls.ca_file {
        Some(file) => file.clone(),
        None => system_authorities()?,
    };
    config.set("ssl.ca.location", path_text("tls.ca_file", &authorities)?);
    match (&tls.certificate_file, &tls.key_file) {
        (Some(certificate), Some(key)) => {
            config.set("ssl.certificate.location", path_text("tls.certificate_file", certificate)?);
            config.set("ssl.key.location", path_text("tls.key_file", key)?);
        }
        (None, None) => {}
        (Some(_), None) => return Err(half_a_pair("tls.certificate_file", "tls.key_file")),
        (None, Some(_)) => return Err(half_a_pair("tls.key_file", "tls.certificate_file")),
    }
    if let Some(password) = &tls.key_password {
        config.set("ssl.key.password", password.expose_secret());
    }
    Ok(())
}

/// Where this system keeps the authorities it trusts. Our OpenSSL is built in, and the path it was built with is no
/// system's.
fn system_authorities() -> Result<PathBuf, Trouble> {
    let found = openssl_probe::probe();
    found.cert_file.or_else(|| found.cert_dir.into_iter().next()).ok_or_else(|| {
        let message = "this system has no list of trusted certificate authorities where such lists usually are";
        Trouble::new(TroubleKind::Environment, "sink.kafka.tls_files", message)
            .advise("install the package ca-certificates, or name a PEM file in tls.ca_file of [sink.kafka]")
    })
}

fn set_sasl(sasl: &SaslSettings, config: &mut ClientConfig) {
    let mut with = |mechanism: &str, credentials: Option<&Credentials>| {
        config.set("sasl.mechanism", mechanism);
        if let Some(Credentials { username, password }) = credentials {
            config.set("sasl.username", username).set("sasl.password", password.expose_secret());
        }
    };
    match sasl {
        SaslSettings::Plain(credentials) => with("PLAIN", Some(credentials)),
        SaslSettings::ScramSha256(credentials) => with("SCRAM-SHA-256", Some(credentials)),
        SaslSettings::ScramSha512(credentials) => with("SCRAM-SHA-512", Some(credentials)),
        SaslSettings::OAuthBearer { .. } => with("OAUTHBEARER", None),
        #[cfg(feature = "msk-iam")]
        SaslSettings::MskIam { .. } => with("OAUTHBEARER", None),
    }
}

/// Whether all of these brokers, `HOST:PORT,HOST:PORT`, are on this machine.
pub fn are_local(brokers: &str) -> bool {
    brokers.split(',').all(|broker| {
        let broker = broker.trim();
        let broker = broker.split_once("://").map_or(broker, |(_, address)| address);
        let host = broker.rsplit_once(':').map_or(broker, |(host, _)| host).trim_matches(['[', ']']);
        host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
    })
}

/// Why nobody logs in without TLS to brokers that are not all on this machine.
pub fn secret_in_the_clear(brokers: &str, sasl: &SaslSettings) -> Trouble {
    let why = match sasl {
        SaslSettings::Plain(_) | SaslSettings::OAuthBearer { .. } => {
            "the password or token of [sink.kafka] would go to them unencrypted, for everybody on the way to read"
        }
        #[cfg(feature = "msk-iam")]
        SaslSettings::MskIam { .. } => {
            "the token of [sink.kafka] would go to them unencrypted, for everybody on the way to read"
        }
        // A proof that the password is known: it cannot be used a second time, but guesses can be held against it.
        SaslSettings::ScramSha256(_) | SaslSettings::ScramSha512(_) => {
            "the login of [sink.kafka] would go to them unencrypted, and whoever keeps it can try passwords until one fits"
        }
    };
    let message = format!("not all of the brokers {brokers} are on this machine: {why}");
    Trouble::new(TroubleKind::Config, "sink.kafka.secret_in_the_clear", message)
        .advise("set tls = true in [sink.kafka] and name the brokers' TLS port")
}

fn half_a_pair(given: &str, missing: &str) -> Trouble {
    let message = format!("{given} of [sink.kafka] is set and {missing} is not: a broker is shown both or none");
    Trouble::new(TroubleKind::Config, "sink.kafka.tls_files", message)
        .advise(format!("set {missing}, or remove {given}"))
}

/// librdkafka's own messages name neither the key nor the file.
fn check_pem(key: &str, path: &Path, mark: &str) -> Result<(), Trouble> {
    let mut text = Vec::new();
    let read = File::open(path).and_then(|file| file.take(PEM_BYTES_MAX).read_to_end(&mut text));
    let (kind, why) = match read {
        Ok(_) if String::from_utf8_lossy(&text).contains(mark) => return Ok(()),
        Ok(_) => (TroubleKind::Config, format!("it holds no \"{mark}\"")),
        Err(error) => (TroubleKind::Environment, error.to_string()),
    };
    let message = format!("the tls.{key} of [sink.kafka] cannot be used: {why}");
    Err(Trouble::new(kind, "sink.kafka.tls_files", message).advise("name a PEM file that this process may read"))
}

fn path_text<'a>(key: &str, path: &'a Path) -> Result<&'a str, Trouble> {
    path.to_str().ok_or_else(|| {
        let message = format!("the {key} of [sink.kafka], {}, cannot be used: its path is not UTF-8", path.display());
        Trouble::new(TroubleKind::Config, "sink.kafka.tls_files", message).advise("give the file another name")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::sample;

    fn plain() -> SaslSettings {
        SaslSettings::Plain(Credentials { username: "u".into(), password: "canary".into() })
    }

    fn configured(settings: &KafkaSettings) -> Result<ClientConfig, Trouble> {
        let mut config = ClientConfig::new();
        set_security(settings, &mut config).map(|()| config)
    }

    #[test]
    fn a_login_goes_unencrypted_to_this_machine_only() {
        let bearer = || SaslSettings::OAuthBearer { token_file: "/t".into() };
        let scram = || SaslSettings::ScramSha256(Credentials { username: "u".into(), password: "canary".into() });
        for (brokers, sasl, allowed) in [
            ("localhost:9092", plain(), true),
            ("127.0.0.1:9092, [::1]:9092", plain(), true),
            ("PLAINTEXT://127.8.9.1:9092", bearer(), true),
            ("127.0.0.1:9092,kafka:9092", plain(), false),
            ("localhost.example.org", plain(), false),
            ("10.0.0.1:9092", bearer(), false),
            ("", plain(), false),
            ("localhost:9092", scram(), true),
            ("kafka:9092", scram(), false),
        ] {
            let settings = KafkaSettings { brokers: brokers.into(), sasl: Some(sasl), ..sample() };
            let answer = configured(&settings);
            assert_eq!(answer.is_ok(), allowed, "{brokers}");
            if let Err(trouble) = answer {
                assert_eq!((trouble.kind, trouble.code), (TroubleKind::Config, "sink.kafka.secret_in_the_clear"));
                assert!(!format!("{trouble:?}").contains("canary"));
            }
            let encrypted = KafkaSettings { tls: Some(TlsSettings::default()), ..settings };
            assert_eq!(configured(&encrypted).expect("is encrypted").get("security.protocol"), Some("sasl_ssl"));
        }
    }

    #[test]
    fn certificates_and_names_are_verified_against_a_list_that_is_there() {
        let settings = KafkaSettings { tls: Some(TlsSettings::default()), ..sample() };
        let config = configured(&settings).expect("this system has such a list");
        assert_eq!(config.get("security.protocol"), Some("ssl"));
        assert_eq!(config.get("enable.ssl.certificate.verification"), Some("true"));
        assert_eq!(config.get("ssl.endpoint.identification.algorithm"), Some("https"));
        assert!(config.get("ssl.ca.location").is_some_and(|list| Path::new(list).exists()));
        assert_eq!(configured(&sample()).expect("plain").get("security.protocol"), Some("plaintext"));
    }

    #[test]
    fn a_file_that_cannot_be_used_is_told_by_its_key() {
        let dir = tempfile::tempdir().expect("a folder");
        let file = |name: &str, text: &str| {
            let path = dir.path().join(name);
            std::fs::write(&path, text).expect("writes");
            Some(path)
        };
        let good = || file("good.pem", "-----BEGIN CERTIFICATE-----\n-----BEGIN EC PRIVATE KEY-----\n");
        let tls = |ca_file, certificate_file, key_file| TlsSettings {
            ca_file,
            certificate_file,
            key_file,
            key_password: Some("canary".into()),
        };
        let missing = || Some(dir.path().join("missing.pem"));
        for (tls, says, kind) in [
            (tls(missing(), None, None), "tls.ca_file", TroubleKind::Environment),
            (tls(file("empty.pem", ""), None, None), "tls.ca_file", TroubleKind::Config),
            (tls(good(), missing(), good()), "tls.certificate_file", TroubleKind::Environment),
            (
                tls(good(), good(), file("no-key.pem", "-----BEGIN CERTIFICATE-----")),
                "tls.key_file",
                TroubleKind::Config,
            ),
            (tls(good(), good(), None), "tls.key_file is not", TroubleKind::Config),
            (tls(good(), None, good()), "tls.certificate_file is not", TroubleKind::Config),
            (tls(Some(dir.path().to_owned()), None, None), "tls.ca_file", TroubleKind::Environment),
        ] {
            let settings = KafkaSettings { tls: Some(tls), ..sample() };
            let trouble = configured(&settings).expect_err(says);
            assert_eq!((trouble.kind, trouble.code), (kind, "sink.kafka.tls_files"), "{trouble:?}");
            assert!(trouble.message.contains(says) && trouble.advice.is_some(), "{trouble:?}");
            assert!(!format!("{trouble:?} {settings:?}").contains("canary"));
            assert!(!trouble.message.contains(".pem"), "a path may be a secret gone astray: {trouble:?}");
        }
        configured(&KafkaSettings { tls: Some(tls(good(), good(), good())), ..sample() }).expect("looks good");
    }
}
