//! `tls` and `sasl`.

use std::path::PathBuf;

use secrecy::SecretString;
use tailwater_sink_kafka::{Credentials, SaslSettings, TlsSettings, are_local, secret_in_the_clear, tls_faults};
use toml::de::DeValue;

use crate::configuration::interpolation::Resolved;
use crate::configuration::report::{Place, Report};
use crate::configuration::secret_file::warn_of_exposed;
use crate::configuration::section::{Section, Text, wrong_type};
use crate::configuration::sink::check_path;
use crate::configuration::sink::kafka::brokers::Brokers;

const MECHANISMS: [(&str, Mechanism); 5] = [
    ("PLAIN", Mechanism::Plain),
    ("SCRAM-SHA-256", Mechanism::ScramSha256),
    ("SCRAM-SHA-512", Mechanism::ScramSha512),
    ("OAUTHBEARER", Mechanism::OAuthBearer),
    ("AWS_MSK_IAM", Mechanism::MskIam),
];

/// Keys of `[sink.kafka.sasl]` that belong to some mechanisms only.
const MECHANISM_KEYS: [&str; 4] = ["username", "password", "token_file", "region"];

/// `tls` as it stands in the file.
pub struct Tls {
    /// Nothing means plain text.
    pub settings: Option<TlsSettings>,
    /// Something about it is wrong, so that nothing can be said about encryption.
    is_faulty: bool,
}

/// `sasl` as it stands in the file.
pub struct Sasl {
    /// Who we are.
    pub settings: SaslSettings,
    place: Place,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mechanism {
    Plain,
    ScramSha256,
    ScramSha512,
    OAuthBearer,
    MskIam,
}

impl Mechanism {
    /// All of them are required.
    fn keys(self) -> &'static [&'static str] {
        match self {
            Self::Plain | Self::ScramSha256 | Self::ScramSha512 => &["username", "password"],
            Self::OAuthBearer => &["token_file"],
            Self::MskIam => &["region"],
        }
    }
}

/// Reads `tls = true` or `[sink.kafka.tls]`.
pub fn read_tls(section: &mut Section<'_>, report: &mut Report<'_>) -> Tls {
    let Some(entry) = section.entry("tls") else { return Tls { settings: None, is_faulty: false } };
    match entry.value {
        DeValue::Boolean(on) => Tls { settings: on.then(TlsSettings::default), is_faulty: false },
        DeValue::Table(table) => {
            let settings = read_tls_table(Section::of(table, entry.place), report);
            Tls { settings: Some(settings), is_faulty: false }
        }
        _ => {
            wrong_type(&entry, "true or a table", None, report);
            Tls { settings: None, is_faulty: true }
        }
    }
}

fn read_tls_table(mut section: Section<'_>, report: &mut Report<'_>) -> TlsSettings {
    let mut file = |key: &'static str, report: &mut Report<'_>| -> Option<PathBuf> {
        let path = section.text(key, report)?;
        check_path(&path, "give the path of a PEM file", report)
    };
    let (ca_file, certificate_file) = (file("ca_file", report), file("certificate_file", report));
    let key_file = file("key_file", report);
    if let Some(key_file) = &key_file {
        warn_of_exposed(key_file, &section.place_of("key_file"), report);
    }
    let key_password = section.text("key_password", report).and_then(|text| secret(text, report));
    for (key, needed) in
        [("certificate_file", "key_file"), ("key_file", "certificate_file"), ("key_password", "key_file")]
    {
        if !section.is_absent(key) && section.is_absent(needed) {
            let message = format!("`{key}` means nothing without `{needed}`");
            report.fault(&section.place_of(key), "config.conflict", message, Some(format!("add the `{needed}`")));
        }
    }
    let settings = TlsSettings { ca_file, certificate_file, key_file, key_password };
    for (key, trouble) in tls_faults(&settings) {
        report.fault(&section.place_of(key), trouble.code, trouble.message, trouble.advice);
    }
    section.finish(report);
    settings
}

/// Reads `[sink.kafka.sasl]`. Nothing when it is faulty.
pub fn read_sasl(mut section: Section<'_>, report: &mut Report<'_>) -> Option<Sasl> {
    let word = section.required_text("mechanism", "for example mechanism = \"SCRAM-SHA-512\"", report);
    let chosen = word.and_then(|word| Some((word.choice(&MECHANISMS, report)?, word)));
    let [username, password, token_file, region] = MECHANISM_KEYS.map(|key| match &chosen {
        Some((mechanism, word)) => read_key(&mut section, key, *mechanism, word, report),
        None => section.text(key, report),
    });
    section.finish(report);
    let (mechanism, word) = chosen?;
    let credentials = |report: &mut Report<'_>| {
        let (username, password) = (username.and_then(|text| filled(text, report)), password);
        let password = password.and_then(|text| secret(text, report));
        Some(Credentials { username: username?.value.text, password: password? })
    };
    let settings = match mechanism {
        Mechanism::Plain => SaslSettings::Plain(credentials(report)?),
        Mechanism::ScramSha256 => SaslSettings::ScramSha256(credentials(report)?),
        Mechanism::ScramSha512 => SaslSettings::ScramSha512(credentials(report)?),
        Mechanism::OAuthBearer => {
            let token = token_file?;
            let token_file = check_path(&token, "give the path of the file with the token", report)?;
            warn_of_exposed(&token_file, &token.place, report);
            SaslSettings::OAuthBearer { token_file }
        }
        Mechanism::MskIam => msk_iam(filled(region?, report)?, &word.place, report)?,
    };
    Some(Sasl { settings, place: word.place })
}

fn read_key(
    section: &mut Section<'_>,
    key: &'static str,
    mechanism: Mechanism,
    word: &Text,
    report: &mut Report<'_>,
) -> Option<Text> {
    // The word is one of ours, so it can be shown.
    let word = &word.value.text;
    if mechanism.keys().contains(&key) {
        return section.required_text(key, &format!("{word} needs it"), report);
    }
    if let Some(entry) = section.entry(key) {
        let message = format!("`{key}` means nothing with {word}");
        let needed = mechanism.keys().join("` and `");
        report.fault(&entry.place, "config.conflict", message, Some(format!("{word} takes `{needed}`")));
    }
    None
}

#[cfg(feature = "msk-iam")]
#[expect(clippy::unnecessary_wraps, reason = "it can fail where the feature is off")]
fn msk_iam(region: Text, _: &Place, _: &mut Report<'_>) -> Option<SaslSettings> {
    Some(SaslSettings::MskIam { region: region.value.text })
}

#[cfg(not(feature = "msk-iam"))]
fn msk_iam(_: Text, mechanism: &Place, report: &mut Report<'_>) -> Option<SaslSettings> {
    report.fault(
        mechanism,
        "config.not_built",
        "this tailwater was built without IAM for Amazon MSK",
        Some("build it in: cargo install --path crates/cli --features msk-iam".into()),
    );
    None
}

/// Refuses to log in unencrypted over a network, and warns of items that go so.
pub fn check(brokers: &Brokers, tls: &Tls, sasl: Option<&Sasl>, report: &mut Report<'_>) {
    if are_local(&brokers.list) || tls.settings.is_some() || tls.is_faulty {
        return;
    }
    if let Some(sasl) = sasl {
        let trouble = secret_in_the_clear(&brokers.list, &sasl.settings);
        report.fault(&sasl.place, trouble.code, trouble.message, trouble.advice);
    } else {
        report.warn(
            &brokers.place,
            "config.plain_text",
            "items travel unencrypted to a broker on another host",
            Some("add `tls = true` and name the brokers' TLS port, where they have one".into()),
        );
    }
}

fn secret(text: Text, report: &mut Report<'_>) -> Option<SecretString> {
    let text = filled(text, report)?;
    warn_of_literal(&text.value, &text.place, report);
    Some(SecretString::from(text.value.text))
}

/// Warns of a password that stands in the file.
pub fn warn_of_literal(password: &Resolved, place: &Place, report: &mut Report<'_>) {
    if password.has_literal() {
        report.warn(
            place,
            "config.literal_secret",
            "a password stands in the file",
            Some("give it by reference: ${env:KAFKA_PASSWORD} or ${file:/run/secrets/kafka_password}".into()),
        );
    }
}

fn filled(text: Text, report: &mut Report<'_>) -> Option<Text> {
    let fine = !text.value.text.is_empty() && !text.value.text.contains('\0');
    if !fine {
        report.fault(&text.place, "config.bad_value", "empty, or with U+0000 inside", None);
    }
    fine.then_some(text)
}
