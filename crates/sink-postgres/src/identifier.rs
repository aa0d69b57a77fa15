//! The only place where names and values become part of SQL text. Everything else is a constant or a bind parameter.

use std::fmt;

use thiserror::Error;

/// Longest identifier in bytes (PostgreSQL, "Identifiers and Key Words": NAMEDATALEN - 1). Longer ones would be cut
/// silently, and two could become one.
pub(crate) const IDENTIFIER_BYTES_MAX: usize = 63;

/// A name that Postgres can hold exactly. It displays quoted: formatting it into SQL is always safe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Identifier(String);

/// A name that Postgres cannot hold.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub(crate) enum IdentifierFault {
    #[error("is empty")]
    Empty,
    #[error("has {0} bytes, and Postgres allows {IDENTIFIER_BYTES_MAX}")]
    TooLong(usize),
    #[error("contains the character U+0000")]
    Nul,
}

impl Identifier {
    pub(crate) fn parse(name: &str) -> Result<Self, IdentifierFault> {
        if name.is_empty() {
            Err(IdentifierFault::Empty)
        } else if name.contains('\0') {
            Err(IdentifierFault::Nul)
        } else if name.len() > IDENTIFIER_BYTES_MAX {
            Err(IdentifierFault::TooLong(name.len()))
        } else {
            Ok(Self(name.to_owned()))
        }
    }

    /// The bare name, for bind parameters and messages.
    pub(crate) fn name(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Identifier {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "\"{}\"", self.0.replace('"', "\"\""))
    }
}

/// Text as an SQL string, where there are no bind parameters. U+0000 is left out: no literal can hold it.
pub(crate) struct Literal<'a>(pub(crate) &'a str);

impl fmt::Display for Literal<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The E form means the same whatever `standard_conforming_strings` says.
        write!(out, "E'{}'", self.0.replace('\0', "").replace('\\', "\\\\").replace('\'', "''"))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Reads a quoted identifier as Postgres' scanner does (scan.l, `xdstart` to `xdstop`); nothing may follow it.
    fn unquote(quoted: &str) -> Option<String> {
        let mut name = String::new();
        let mut rest = quoted.strip_prefix('"')?.chars();
        loop {
            match (rest.next()?, rest.clone().next()) {
                ('"', Some('"')) => {
                    rest.next();
                    name.push('"');
                }
                ('"', None) => return Some(name),
                ('"', Some(_)) => return None,
                (character, _) => name.push(character),
            }
        }
    }

    proptest! {
        #[test]
        fn a_name_is_quoted_exactly_or_refused(name in "\\PC{0,70}|[\"'\\\\;\u{0}\n -]{0,20}") {
            match Identifier::parse(&name) {
                Ok(identifier) => prop_assert_eq!(unquote(&identifier.to_string()), Some(name)),
                Err(IdentifierFault::Empty) => prop_assert!(name.is_empty()),
                Err(IdentifierFault::Nul) => prop_assert!(name.contains('\0')),
                Err(IdentifierFault::TooLong(bytes)) => {
                    prop_assert!(bytes == name.len() && bytes > IDENTIFIER_BYTES_MAX);
                }
            }
        }

        #[test]
        fn a_literal_ends_only_where_it_should(text in "\\PC{0,40}|['\\\\;]{0,20}") {
            let quoted = Literal(&text).to_string();
            let body = quoted.strip_prefix("E'").and_then(|rest| rest.strip_suffix('\'')).expect("quotes");
            // Without the doubled characters no special one is left.
            let bare = body.replace("\\\\", "").replace("''", "");
            prop_assert!(!bare.contains(['\'', '\\']), "{}", quoted);
        }
    }

    #[test]
    fn bounds_are_in_bytes() {
        assert!(Identifier::parse(&"x".repeat(63)).is_ok());
        assert_eq!(Identifier::parse(&"é".repeat(32)), Err(IdentifierFault::TooLong(64)));
        assert_eq!(Identifier::parse(r#"a"b"#).map(|name| name.to_string()), Ok(r#""a""b""#.to_owned()));
    }
}
