//! Attribute paths as users write them, and the tree in which a transform looks names up.

use std::collections::BTreeMap;
use std::fmt;

use thiserror::Error;

/// Most segments of a path: DynamoDB nests at most 32 levels (Developer Guide, "Service, account, and table quotas").
pub const SEGMENTS_MAX: usize = 32;

/// The place of an attribute: names from the top level inwards through maps. Elements of lists have no path.
///
/// Written with dots between the names, as TOML writes dotted keys. A name that holds a dot, a quote, a bracket, a
/// backslash or white space is written in quotes, in which `\"` and `\\` are escapes: `"first.last".given`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct AttributePath(Vec<String>);

/// A text that is not an attribute path.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("character {at}: {problem}")]
pub struct AttributePathFault {
    /// Where, counted in characters from 1.
    pub at: usize,
    /// What is wrong there and how to write it instead.
    pub problem: &'static str,
}

impl AttributePath {
    /// Reads a path such as `customer.address.city`.
    pub fn parse(text: &str) -> Result<Self, AttributePathFault> {
        let mut reader = PathReader { rest: text, at: 1 };
        let mut segments = Vec::new();
        loop {
            segments.push(reader.segment()?);
            if segments.len() > SEGMENTS_MAX {
                return Err(reader.fault("a path has at most 32 names, because DynamoDB nests no deeper"));
            }
            match reader.take() {
                None => return Ok(Self(segments)),
                Some('.') => {}
                Some(_) => {
                    return Err(AttributePathFault {
                        at: reader.at - 1,
                        problem: "after a quoted name only a dot may follow",
                    });
                }
            }
        }
    }

    /// The names from the top level inwards; at least one, none empty.
    pub fn segments(&self) -> &[String] {
        &self.0
    }

    /// The name of a top-level attribute, if the path means one as a whole.
    pub fn top_level(&self) -> Option<&str> {
        match self.0.as_slice() {
            [only] => Some(only),
            _ => None,
        }
    }
}

impl fmt::Display for AttributePath {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, segment) in self.0.iter().enumerate() {
            if index > 0 {
                out.write_str(".")?;
            }
            if segment.chars().any(needs_quotes) {
                write!(out, "\"{}\"", segment.replace('\\', "\\\\").replace('"', "\\\""))?;
            } else {
                out.write_str(segment)?;
            }
        }
        Ok(())
    }
}

fn needs_quotes(character: char) -> bool {
    matches!(character, '.' | '"' | '[' | ']' | '\\') || character.is_whitespace() || character.is_control()
}

struct PathReader<'a> {
    rest: &'a str,
    at: usize,
}

impl PathReader<'_> {
    fn fault(&self, problem: &'static str) -> AttributePathFault {
        AttributePathFault { at: self.at, problem }
    }

    fn peek(&self) -> Option<char> {
        self.rest.chars().next()
    }

    fn take(&mut self) -> Option<char> {
        let mut characters = self.rest.chars();
        let character = characters.next()?;
        self.rest = characters.as_str();
        self.at += 1;
        Some(character)
    }

    fn segment(&mut self) -> Result<String, AttributePathFault> {
        let segment = if self.peek() == Some('"') { self.quoted()? } else { self.bare()? };
        if segment.is_empty() {
            return Err(self.fault("an attribute name is missing here"));
        }
        Ok(segment)
    }

    fn bare(&mut self) -> Result<String, AttributePathFault> {
        let mut segment = String::new();
        while let Some(character) = self.peek().filter(|character| *character != '.') {
            match character {
                '[' | ']' => {
                    return Err(self.fault("elements of lists cannot be chosen; put a name with a bracket in quotes"));
                }
                _ if needs_quotes(character) => {
                    return Err(self.fault("put a name with white space, a quote or a backslash in quotes"));
                }
                _ => segment.extend(self.take()),
            }
        }
        Ok(segment)
    }

    fn quoted(&mut self) -> Result<String, AttributePathFault> {
        let opening = self.fault("the quote that opens here is never closed");
        self.take();
        let mut segment = String::new();
        loop {
            match self.take() {
                None => return Err(opening),
                Some('"') => return Ok(segment),
                Some('\\') => match self.take() {
                    Some(escaped @ ('"' | '\\')) => segment.push(escaped),
                    _ => {
                        let problem = "inside quotes a backslash stands only before a quote or a backslash";
                        return Err(AttributePathFault { at: self.at - 1, problem });
                    }
                },
                Some(character) => segment.push(character),
            }
        }
    }
}

/// Paths by name, so that a transform looks at each attribute once. `T` is what is to happen at the end of a path.
#[derive(Clone, Debug)]
pub(crate) struct PathTree<T> {
    pub(crate) here: Option<T>,
    pub(crate) inside: BTreeMap<String, PathTree<T>>,
}

impl<T> PathTree<T> {
    pub(crate) fn of(paths: impl IntoIterator<Item = (AttributePath, T)>) -> Self {
        let mut root = Self { here: None, inside: BTreeMap::new() };
        for (AttributePath(segments), what) in paths {
            let node = segments.into_iter().fold(&mut root, |node, segment| {
                node.inside.entry(segment).or_insert_with(|| Self { here: None, inside: BTreeMap::new() })
            });
            node.here = Some(what);
        }
        root
    }

    /// Whether one of the paths ends at this one or above it.
    pub(crate) fn covers(&self, path: &[String]) -> bool {
        let Some((name, rest)) = path.split_first() else { return false };
        self.inside.get(name).is_some_and(|node| node.here.is_some() || node.covers(rest))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn paths_are_names_between_dots() {
        for (text, segments) in [
            ("a", vec!["a"]),
            ("a.b.c", vec!["a", "b", "c"]),
            ("\"a.b\".c", vec!["a.b", "c"]),
            ("c.\"a.b\"", vec!["c", "a.b"]),
            (r#""a\"b\\c""#, vec!["a\"b\\c"]),
            ("Größe.#1$-_:", vec!["Größe", "#1$-_:"]),
            ("\"white space\".\"l[0]\"", vec!["white space", "l[0]"]),
        ] {
            assert_eq!(
                AttributePath::parse(text).map(|path| path.0),
                Ok(segments.iter().map(|s| (*s).into()).collect())
            );
        }
    }

    #[test]
    fn faults_say_where_and_what() {
        for (text, at, words) in [
            ("", 1, "name is missing"),
            (".a", 1, "name is missing"),
            ("a.", 3, "name is missing"),
            ("a..b", 3, "name is missing"),
            ("\"\"", 3, "name is missing"),
            ("a b", 2, "white space"),
            ("a\"b\"", 2, "quote"),
            ("ä[0]", 2, "elements of lists"),
            ("x.\"a.b", 3, "never closed"),
            ("\"a\"b", 4, "only a dot"),
            (r#""a\n""#, 4, "backslash"),
            (&["a"; 33].join("."), 66, "at most 32"),
        ] {
            let fault = AttributePath::parse(text).expect_err(text);
            assert_eq!(fault.at, at, "{text}");
            assert!(fault.problem.contains(words), "{text}: {fault}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(segments in prop::collection::vec("\\PC{1,6}", 1..6)) {
            let path = AttributePath(segments);
            prop_assert_eq!(AttributePath::parse(&path.to_string()), Ok(path));
        }

        #[test]
        fn nothing_panics(text in "[a.\"\\\\\\[ ä]{0,12}") {
            if let Ok(path) = AttributePath::parse(&text) {
                prop_assert_eq!(AttributePath::parse(&path.to_string()), Ok(path));
            }
        }
    }
}
