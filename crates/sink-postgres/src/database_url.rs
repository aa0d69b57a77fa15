//! The URL of a database, read by the rules of libpq and without its surroundings: nothing of it comes from `PG…` variables or
//! from `~/.pgpass`. No message here shows any part of it, because any part may be a piece of the password that was not
//! percent-encoded.

use percent_encoding::percent_decode_str;
use tailwater_model::{Trouble, TroubleKind};
use url::Url;

/// What a server listens on unless the URL says otherwise.
const PORT_DEFAULT: u16 = 5432;

/// Parameters that may stand in the URL.
const PARAMETERS: [&str; 11] = [
    "host",
    "hostaddr",
    "port",
    "dbname",
    "user",
    "password",
    "options",
    "sslmode",
    "sslcert",
    "sslkey",
    "channel_binding",
];

/// Parameters of libpq that are said in another way here, and how.
const SAID_OTHERWISE: [(&str, &str); 6] = [
    ("sslrootcert", "tls.ca_file"),
    ("sslpassword", "a key file without a password"),
    ("sslcrl", "the server's own certificate"),
    ("connect_timeout", "connect_timeout, a key beside the URL"),
    ("application_name", "the pipeline's name"),
    ("passfile", "${file:…} in the URL"),
];

/// What `sslmode` asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SslMode {
    /// `disable`, `allow` and `prefer`: it may go without TLS.
    MayBePlain,
    /// `require`: TLS.
    Require,
    /// `verify-ca` and `verify-full`: TLS with a certificate that is verified.
    Verify,
}

/// The parts of a URL. Holds the password, so it has no `Debug`.
pub(crate) struct UrlParts {
    /// A name, an address without brackets, or the folder of a socket, which begins with `/`.
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) user: String,
    pub(crate) password: String,
    /// As the server takes it: the user's name unless the URL says otherwise.
    pub(crate) database: String,
    pub(crate) ssl_mode: Option<SslMode>,
    pub(crate) certificate_file: Option<String>,
    pub(crate) key_file: Option<String>,
    /// Settings of the server for the session, and whether `channel_binding` is required.
    pub(crate) options: Vec<String>,
    pub(crate) binds_channel: bool,
}

/// Reads a URL.
pub(crate) fn parse(text: &str) -> Result<UrlParts, Trouble> {
    let Some(rest) = text.strip_prefix("postgres://").or_else(|| text.strip_prefix("postgresql://")) else {
        return Err(bad_url("it does not begin with postgres://"));
    };
    let behind_host = rest.find(['/', '?', '#']).map_or("", |end| &rest[end..]);
    if behind_host.contains(['@', '#']) {
        // A password with such a character ends the host's part too early, and what follows would be shown as a name.
        return Err(bad_url("`@` or `#` stands behind the host"));
    }
    let authority = &rest[..rest.len() - behind_host.len()];
    let login = authority.rsplit_once('@').map_or("", |(login, _)| login);
    if login.contains(['@', ';']) && !login.contains(':') {
        // Typed in place of the colon, it makes the password a piece of the user's name.
        return Err(bad_url("`@` or `;` stands in the user's name, and no `:` before a password"));
    }
    let url = Url::parse(text).map_err(|fault| bad_url(&fault.to_string()))?;
    let host = decoded(url.host_str().unwrap_or_default())?;
    let mut parts = UrlParts {
        host: host.trim_matches(['[', ']']).to_owned(),
        port: url.port().unwrap_or(PORT_DEFAULT),
        user: decoded(url.username())?,
        password: decoded(url.password().unwrap_or_default())?,
        database: decoded(url.path().trim_start_matches('/'))?,
        ssl_mode: None,
        certificate_file: None,
        key_file: None,
        options: Vec::new(),
        binds_channel: false,
    };
    // As libpq reads it: a plus sign is no space.
    for pair in url.query().unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        parts.take(&decoded(key)?, decoded(value)?)?;
    }
    if parts.database.is_empty() {
        parts.database.clone_from(&parts.user);
    }
    for (what, part) in [("host", &parts.host), ("user", &parts.user)] {
        if part.is_empty() {
            return Err(bad_url(&format!("it names no {what}")));
        }
    }
    let all = [&parts.host, &parts.user, &parts.password, &parts.database];
    if all.into_iter().chain(&parts.options).any(|part| part.contains('\0')) {
        return Err(bad_url("it contains the character U+0000"));
    }
    Ok(parts)
}

impl UrlParts {
    /// Whether the host is this machine: a socket, or a loopback address.
    pub(crate) fn is_local(&self) -> bool {
        let address = self.host.parse::<std::net::IpAddr>();
        self.host.starts_with('/') || self.host == "localhost" || address.is_ok_and(|address| address.is_loopback())
    }

    fn take(&mut self, key: &str, value: String) -> Result<(), Trouble> {
        match key {
            "host" | "hostaddr" => self.host = value,
            "port" => self.port = value.parse().map_err(|_| bad_url("its `port` is not a port"))?,
            "dbname" => self.database = value,
            "user" => self.user = value,
            "password" => self.password = value,
            "options" => self.options.push(value),
            "sslmode" => self.ssl_mode = Some(ssl_mode(&value)?),
            "sslcert" => self.certificate_file = Some(value),
            "sslkey" => self.key_file = Some(value),
            "channel_binding" => self.binds_channel = value == "require",
            _ => match key.strip_prefix("options[").and_then(|name| name.strip_suffix(']')) {
                Some(name) => self.options.push(format!("-c {name}={value}")),
                None => return Err(unknown_parameter(key)),
            },
        }
        Ok(())
    }
}

fn ssl_mode(word: &str) -> Result<SslMode, Trouble> {
    match word {
        "disable" | "allow" | "prefer" => Ok(SslMode::MayBePlain),
        "require" => Ok(SslMode::Require),
        "verify-ca" | "verify-full" => Ok(SslMode::Verify),
        _ => Err(bad_url("its `sslmode` is none of disable, allow, prefer, require, verify-ca, verify-full")),
    }
}

fn unknown_parameter(key: &str) -> Trouble {
    // Only names of this file are shown: what stands there may be a secret gone astray.
    match SAID_OTHERWISE.iter().find(|(name, _)| *name == key) {
        Some((name, otherwise)) => {
            bad_url(&format!("`{name}` has no effect there")).advise(format!("remove it; instead there is {otherwise}"))
        }
        None => bad_url(&format!("a parameter after `?` is none of {}", PARAMETERS.join(", "))),
    }
}

fn decoded(part: &str) -> Result<String, Trouble> {
    let text = percent_decode_str(part).decode_utf8().map_err(|_| bad_url("a part of it is not UTF-8"))?;
    Ok(text.into_owned())
}

/// What is wrong with a URL, in words of this crate.
pub(crate) fn bad_url(why: &str) -> Trouble {
    Trouble::new(TroubleKind::Config, "sink.postgres.url", format!("the Postgres URL cannot be used: {why}")).advise(
        "write it as postgres://USER:PASSWORD@HOST:PORT/DATABASE, with special characters percent-encoded; or give host, \
         user, password and database as keys of their own, as they are",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(url: &str) -> UrlParts {
        parse(url).unwrap_or_else(|trouble| panic!("{url}: {trouble}"))
    }

    #[test]
    fn every_part_is_read() {
        let found = parts("postgres://wr%40iter:%2F%23%3F%40%25%3A%20%C3%A9@db.example.org:6432/sh%2Fop?options[a]=b");
        assert_eq!((&*found.user, &*found.password, &*found.database), ("wr@iter", "/#?@%: é", "sh/op"));
        assert_eq!((&*found.host, found.port, found.options), ("db.example.org", 6432, vec!["-c a=b".to_owned()]));
        let found = parts("postgresql://u@%2Fvar%2Frun?host=/run&port=1&dbname=d&user=v&password=p%40");
        assert_eq!((&*found.host, found.port, &*found.database), ("/run", 1, "d"));
        assert_eq!((&*found.user, &*found.password, found.is_local()), ("v", "p@", true));
        let found = parts("postgres://u@[::1]");
        assert_eq!((&*found.host, found.port, &*found.database, found.is_local()), ("::1", 5432, "u", true));
        assert_eq!(parts("postgres://u:a@b:c@h/d").password, "a@b:c");
        assert_eq!(parts("postgres://u@h/d?password=a+b%2B%20%C3%A9é").password, "a+b+ éé");
        assert_eq!(parts("postgres://a%40b%3B@h/d").user, "a@b;");
    }

    #[test]
    fn what_is_copied_from_a_providers_page_is_taken() {
        for (query, mode, binds) in [
            ("sslmode=require", Some(SslMode::Require), false),
            ("sslmode=require&channel_binding=require", Some(SslMode::Require), true),
            ("sslmode=verify-full", Some(SslMode::Verify), false),
            ("sslmode=prefer", Some(SslMode::MayBePlain), false),
            ("", None, false),
        ] {
            let found = parts(&format!("postgres://u:p@h/d?{query}"));
            assert_eq!((found.ssl_mode, found.binds_channel), (mode, binds), "{query}");
        }
    }

    #[test]
    fn a_bad_url_is_told_without_any_of_it() {
        for url in [
            "mysql://u:hunter2@h/d",
            "hunter2",
            "postgres://u:hunter2@h:notaport/d",
            "postgres://u:p@h/d?passwrod=hunter2",
            "postgres://u:p@h/d?hunter2",
            "postgres://u:p@h/d?sslmode=hunter2",
            "postgres://u:p@h/d?port=hunter2",
            "postgres://u:p@h/d?sslhunter2=1",
            "postgres://u:hunter2%00@h/d",
            "postgres://u:hunter2%FF@h/d",
            "postgres://h:hunter2/d",
            "postgres://writer:/hunter2@h/d",
            "postgres://writer:42/hunter2@h/d",
            "postgres://writer:#hunter2@h/d",
            "postgres://writer:7#hunter2@h/d",
            "postgres://writer:7?sslhunter2@h/d",
            "postgres://writer:a@b/hunter2@h/d",
            "postgres://writer@hunter2@h/d",
            "postgres://writer;hunter2@h/d",
            "postgres://:hunter2@h/d",
            "postgres:///hunter2",
        ] {
            let Err(trouble) = parse(url) else { panic!("{url} was taken") };
            assert_eq!((trouble.kind, trouble.code), (TroubleKind::Config, "sink.postgres.url"));
            assert!(trouble.advice.is_some() && !format!("{trouble:?}").contains("hunter2"), "{trouble:?}");
        }
        let trouble = parse("postgres://u:p@h/d?sslrootcert=ca.pem").err().expect("is refused");
        assert!(trouble.advice.is_some_and(|advice| advice.contains("tls.ca_file")));
    }
}
