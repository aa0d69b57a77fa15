//! The URL of a database: as it stands in the file, with what references gave, or put together from keys of their own.
//!
//! A secret may hold any character. So what a reference gives for a part of a URL is percent-encoded for its place; a
//! reference that gives the whole URL, or all of its rest, gives it encoded already.

use std::ops::Range;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::configuration::interpolation::{PLACEHOLDER, Resolved};

/// Everything that could end a part of a URL, or mean something in it.
const PART: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// A host, perhaps with its port.
const HOST: &AsciiSet = &PART.remove(b':').remove(b'[').remove(b']');
/// A user, perhaps with the password.
const LOGIN: &AsciiSet = &PART.remove(b':');

/// The keys that say the same as a URL.
pub struct UrlKeys {
    /// A name, an address, or the folder of a socket.
    pub host: String,
    /// Nothing means the server's usual one.
    pub port: Option<u32>,
    /// Who logs in.
    pub user: String,
    /// With what, if anything.
    pub password: Option<String>,
    /// The database.
    pub database: String,
}

impl UrlKeys {
    /// The URL that they stand for.
    pub fn url(&self) -> String {
        let part = |text: &str| utf8_percent_encode(text, PART).to_string();
        let password = self.password.as_deref().map_or(String::new(), |password| format!(":{}", part(password)));
        // The name of a reference, as it is shown, is no address.
        let host = if self.host.contains(':') && !self.host.contains('$') {
            format!("[{}]", self.host.trim_matches(['[', ']']))
        } else {
            part(&self.host)
        };
        let port = self.port.map_or(String::new(), |port| format!(":{port}"));
        format!("postgres://{}{password}@{host}{port}/{}", part(&self.user), part(&self.database))
    }
}

/// The URL with what references gave encoded for its place.
pub fn encoded(value: &Resolved) -> String {
    let Some(begin) = value.text.find("://").map(|at| at + "://".len()) else { return value.text.clone() };
    // A reference that gives the scheme gives all that follows it, too.
    if value.references.first().is_some_and(|first| first.start < begin) {
        return value.text.clone();
    }
    let places = Places::of(value, begin);
    let mut out = String::new();
    let mut done = 0;
    for reference in &value.references {
        out.push_str(&value.text[done..reference.start]);
        match places.set_of(reference, value.text.len()) {
            Some(set) => out.extend(utf8_percent_encode(&value.text[reference.clone()], set)),
            None => out.push_str(&value.text[reference.clone()]),
        }
        done = reference.end;
    }
    out.push_str(&value.text[done..]);
    out
}

/// The URL with the name of each reference in place of what it gave. One that came whole names its server: else nobody could say
/// where a connection failed.
pub fn shown(value: &Resolved) -> String {
    let name = |name: &str| utf8_percent_encode(name, PART).to_string();
    match (server_of(value), value.names.first()) {
        (Some(server), Some(whole)) => format!("postgres://{}@{server}", name(whole)),
        _ => value.named(name),
    }
}

/// Host, port and database of a URL that came whole by one reference, where it is clear that no secret is among them: there is one
/// `@`, and before it nothing that would end the login early.
fn server_of(value: &Resolved) -> Option<&str> {
    let (_, rest) = value.text.split_once("://").filter(|_| value.shape == PLACEHOLDER)?;
    let (login, behind) = rest.split_once('@')?;
    let server = behind.split(['?', '#']).next()?;
    (!login.contains(['/', '?', '#']) && !behind.contains('@')).then_some(server)
}

/// Where the parts of a URL begin, by the characters that stand in the file itself.
struct Places {
    /// The `:` between user and password.
    colon: Option<usize>,
    /// The `@` before the host.
    at: Option<usize>,
    /// The end of host and port.
    end: usize,
}

impl Places {
    fn of(value: &Resolved, begin: usize) -> Self {
        let is_literal = |at: usize| !value.references.iter().any(|reference| reference.contains(&at));
        let literal = || {
            value.text[begin..].char_indices().map(|(at, found)| (begin + at, found)).filter(|(at, _)| is_literal(*at))
        };
        let end = literal().find(|(_, found)| matches!(found, '/' | '?' | '#')).map_or(value.text.len(), |(at, _)| at);
        let at = literal().rfind(|(at, found)| *at < end && *found == '@').map(|(at, _)| at);
        let colon = literal().find(|(place, found)| Some(*place) < at && *found == ':').map(|(at, _)| at);
        Self { colon, at, end }
    }

    /// What is to be encoded in a reference; nothing where it is the rest of the URL.
    fn set_of(&self, reference: &Range<usize>, length: usize) -> Option<&'static AsciiSet> {
        let is_login = self.at.is_some_and(|at| reference.start < at);
        if is_login {
            return Some(if self.colon.is_some() { PART } else { LOGIN });
        }
        if reference.start >= self.end && self.end < length {
            return Some(PART);
        }
        (reference.end < length).then_some(HOST)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::configuration::interpolation::{Absent, Surroundings, resolve};

    fn resolved(raw: &str, value: &str) -> Resolved {
        let variable = |name: &str| (name == "X").then(|| value.to_owned());
        let resolved =
            resolve(raw, &Surroundings { variable: &variable, folder: Path::new(""), absent: Absent::IsAFault });
        resolved.unwrap_or_else(|fault| panic!("{fault:?}"))
    }

    fn encoded_of(raw: &str, value: &str) -> String {
        encoded(&resolved(raw, value))
    }

    #[test]
    fn a_url_that_came_whole_names_its_server() {
        const NAME: &str = "%24%7Benv%3AX%7D";
        for (value, server) in [
            ("postgres://u:secret@db:6432/shop?sslmode=require", Some("db:6432/shop")),
            ("postgres://u:sec%40ret@db", Some("db")),
            ("postgres://u:sec@ret@db/shop", None),
            ("postgres://u:sec/ret@db/shop", None),
            ("postgres://u:12#secret@db/shop", None),
            ("postgres://u:12?secret@db/shop", None),
            ("postgres://secret:u@db/shop", Some("db/shop")),
            ("secret", None),
        ] {
            let expected = server.map_or(NAME.to_owned(), |server| format!("postgres://{NAME}@{server}"));
            assert_eq!(shown(&resolved("${env:X}", value)), expected, "{value}");
        }
    }

    #[test]
    fn what_a_reference_gives_stays_in_its_place() {
        for (raw, value, url) in [
            ("postgres://u:${env:X}@h/d", "/#?@%: é", "postgres://u:%2F%23%3F%40%25%3A%20%C3%A9@h/d"),
            ("postgres://u:a${env:X}b@h/d", "@", "postgres://u:a%40b@h/d"),
            ("postgres://u:${env:X}${env:X}@h/d?x=${env:X}", "/", "postgres://u:%2F%2F@h/d?x=%2F"),
            ("postgres://${env:X}:p@h/d", "a:b/", "postgres://a%3Ab%2F:p@h/d"),
            // User and password in one.
            ("postgres://${env:X}@h/d", "u:/#", "postgres://u:%2F%23@h/d"),
            ("postgres://u:p@${env:X}/d", "db.example.org:6432", "postgres://u:p@db.example.org:6432/d"),
            ("postgres://u:p@${env:X}/d", "[::1]", "postgres://u:p@[::1]/d"),
            ("postgres://u:p@${env:X}/d", "/run/postgresql", "postgres://u:p@%2Frun%2Fpostgresql/d"),
            ("postgres://u:p@h:${env:X}/d", "6432", "postgres://u:p@h:6432/d"),
            ("postgres://u:p@h/${env:X}", "sh?op", "postgres://u:p@h/sh%3Fop"),
            ("postgres://u:p@h/d?password=${env:X}", "&=", "postgres://u:p@h/d?password=%26%3D"),
            // A whole, or all of its rest, is encoded where it comes from.
            ("${env:X}", "postgres://u:%2F@h/d", "postgres://u:%2F@h/d"),
            ("${env:X}/d", "postgres://u:%2F@h", "postgres://u:%2F@h/d"),
            ("postgres://${env:X}", "u:%2F@h/d", "postgres://u:%2F@h/d"),
            ("postgres://u:p@${env:X}", "h:1/d?sslmode=require", "postgres://u:p@h:1/d?sslmode=require"),
            ("postgres://u:p@h/d", "", "postgres://u:p@h/d"),
            ("no url ${env:X}", "/", "no url /"),
        ] {
            assert_eq!(encoded_of(raw, value), url, "{raw} {value}");
        }
    }

    #[test]
    fn keys_make_a_url() {
        let keys = |host: &str| UrlKeys {
            host: host.into(),
            port: Some(6432),
            user: "wr@iter".into(),
            password: Some("/#?@%: é".into()),
            database: "sh/op".into(),
        };
        let rest = "postgres://wr%40iter:%2F%23%3F%40%25%3A%20%C3%A9@";
        for (host, written) in [("db.example.org", "db.example.org"), ("::1", "[::1]"), ("/run", "%2Frun")] {
            assert_eq!(keys(host).url(), format!("{rest}{written}:6432/sh%2Fop"));
        }
        let shown = UrlKeys { host: "${env:H}".into(), ..keys("") };
        assert!(shown.url().contains("@%24%7Benv%3AH%7D:6432/"), "{}", shown.url());
        let short = UrlKeys { port: None, password: None, ..keys("h") };
        assert_eq!(short.url(), "postgres://wr%40iter@h/sh%2Fop");
    }
}
