//! The grammar of DynamoDB's typed JSON in its compact form (no white space, tags as AWS writes them): one recursive descent
//! that checks every byte and tells a visitor what it saw. Anything else is the fall-back decoder's business.

use crate::number::{json_number_length, number_length};
use crate::scan::{is_base64, plain_run, string_end};

/// Deepest nesting that is accepted. DynamoDB stops at 32 levels; the room is for emulators. It bounds the recursion.
pub const NESTING_DEPTH_MAX: u32 = 64;

/// What a walk over an item reports: the pieces of plain JSON, in order, as they stand in the typed text. Typed and
/// plain JSON differ only in the tags around values, in NULL and in sets, so everything else is copied as it is.
pub(crate) trait Visitor<'a> {
    /// The item was checked when it was made: ends are looked for, and grammar is not looked at again.
    const CHECKED_BEFORE: bool = false;
    /// A piece of plain JSON: a name with the brace or comma before it and the colon behind it, a value, a bracket.
    fn plain(&mut self, _text: &'a str) {}
    /// A set. `members` is the inside of the array: quoted strings with commas between.
    fn set(&mut self, _numeric: bool, _members: &'a str) {}
}

/// Checks and reports nothing.
pub(crate) struct Checker;
impl Visitor<'_> for Checker {}

/// The grammar: each method is given what is left of the text and gives what is left behind what it read, or nothing and
/// leaves here what it wanted and where. So the place goes from step to step in registers, and the error, which hardly ever
/// comes, costs the steps nothing.
#[derive(Debug)]
pub(crate) struct Descent {
    /// Bytes that were left where the grammar failed.
    pub(crate) left: usize,
    /// What the grammar wanted there.
    pub(crate) wanted: &'static str,
}

impl Default for Descent {
    fn default() -> Self {
        Self { left: 0, wanted: "JSON" }
    }
}

/// What stands before `behind`, which is the end of `text`.
#[inline(always)]
pub(crate) fn before<'a>(text: &'a str, behind: &str) -> &'a str {
    text.get(..text.len() - behind.len()).unwrap_or_default()
}

/// What is left behind `closing`, if nothing that is special in a string comes before it.
#[inline(always)]
pub(crate) fn behind_run<'a>(rest: &'a str, closing: &'static str) -> Option<&'a str> {
    let run = plain_run(rest.as_bytes());
    let closed = rest.as_bytes().get(run..)?.starts_with(closing.as_bytes());
    if closed { rest.get(run + closing.len()..) } else { None }
}

impl Descent {
    #[cold]
    fn want<T>(&mut self, rest: &str, wanted: &'static str) -> Option<T> {
        (self.left, self.wanted) = (rest.len(), wanted);
        None
    }

    #[inline(always)] // A literal that the compiler knows becomes one comparison of a word.
    fn need<'a>(&mut self, rest: &'a str, literal: &'static str) -> Option<&'a str> {
        match rest.strip_prefix(literal) {
            Some(behind) => Some(behind),
            None => self.want(rest, literal),
        }
    }

    #[inline]
    pub(crate) fn string<'a>(&mut self, rest: &'a str) -> Option<&'a str> {
        let body = self.need(rest, "\"")?;
        match behind_run(body, "\"") {
            Some(behind) => Some(behind),
            None => self.escaped(body),
        }
    }

    /// A string behind its opening quote. Every escape is checked.
    #[inline(never)]
    fn escaped<'a>(&mut self, body: &'a str) -> Option<&'a str> {
        match string_end(body.as_bytes()) {
            Ok(end) => body.get(end + 1..),
            Err((at, wanted)) => self.want(body.get(at..).unwrap_or_default(), wanted),
        }
    }

    pub(crate) fn number<'a>(&mut self, rest: &'a str) -> Option<&'a str> {
        match json_number_length(rest.as_bytes()) {
            Some(length) => rest.get(length..),
            None => self.want(rest, "a number"),
        }
    }

    /// Any JSON.
    pub(crate) fn value<'a>(&mut self, rest: &'a str, depth: u32) -> Option<&'a str> {
        if depth > NESTING_DEPTH_MAX {
            return self.want(rest, "less nesting");
        }
        match rest.as_bytes().first() {
            Some(b'"') => self.string(rest),
            Some(b'{') => self.members(rest, "{", "}", |descent, rest| {
                let rest = descent.string(rest)?;
                let rest = descent.need(rest, ":")?;
                descent.value(rest, depth + 1)
            }),
            Some(b'[') => self.members(rest, "[", "]", |descent, rest| descent.value(rest, depth + 1)),
            _ => ["true", "false", "null"]
                .into_iter()
                .find_map(|word| rest.strip_prefix(word))
                .or_else(|| self.number(rest)),
        }
    }

    /// What stands between brackets, with commas between.
    #[inline(always)]
    fn members<'a>(
        &mut self,
        rest: &'a str,
        open: &'static str,
        close: &'static str,
        mut member: impl FnMut(&mut Self, &'a str) -> Option<&'a str>,
    ) -> Option<&'a str> {
        let mut rest = self.need(rest, open)?;
        if let Some(behind) = rest.strip_prefix(close) {
            return Some(behind);
        }
        loop {
            rest = member(self, rest)?;
            match rest.strip_prefix(",") {
                Some(behind) => rest = behind,
                None => return self.need(rest, close),
            }
        }
    }

    /// An item, or a map inside of one.
    pub(crate) fn item<'a>(&mut self, rest: &'a str, visitor: &mut impl Visitor<'a>, depth: u32) -> Option<&'a str> {
        if depth > NESTING_DEPTH_MAX {
            return self.want(rest, "less nesting");
        }
        let mut from = rest;
        let mut rest = self.need(rest, "{")?;
        if let Some(behind) = rest.strip_prefix("}") {
            visitor.plain("{}");
            return Some(behind);
        }
        loop {
            let name = self.need(rest, "\"")?;
            rest = match behind_run(name, "\":") {
                Some(behind) => behind,
                None => {
                    let behind = self.escaped(name)?;
                    self.need(behind, ":")?
                }
            };
            visitor.plain(before(from, rest));
            rest = self.tagged(rest, visitor, depth + 1)?;
            from = rest;
            match rest.strip_prefix(",") {
                Some(behind) => rest = behind,
                None => {
                    visitor.plain("}");
                    return self.need(rest, "}");
                }
            }
        }
    }

    /// A value with its type tag.
    #[inline(always)] // Without it the call costs more than most values.
    fn tagged<'a, V: Visitor<'a>>(&mut self, rest: &'a str, visitor: &mut V, depth: u32) -> Option<&'a str> {
        let behind = if let Some(string) = rest.strip_prefix("{\"S\":") {
            let body = self.need(string, "\"")?;
            if let Some(behind) = behind_run(body, "\"}") {
                visitor.plain(string.get(..string.len() - behind.len() - 1).unwrap_or_default());
                return Some(behind);
            }
            let behind = self.escaped(body)?;
            visitor.plain(before(string, behind));
            behind
        } else if let Some(number) = rest.strip_prefix("{\"N\":\"") {
            let behind = if V::CHECKED_BEFORE { behind_run(number, "\"") } else { self.quoted_number(number) }?;
            visitor.plain(number.get(..number.len() - behind.len() - 1).unwrap_or_default());
            behind
        } else if let Some(map) = rest.strip_prefix("{\"M\":") {
            self.item(map, visitor, depth)?
        } else if let Some(list) = rest.strip_prefix("{\"L\":") {
            self.list(list, visitor, depth)?
        } else {
            self.rarely_tagged(rest, visitor)?
        };
        self.need(behind, "}")
    }

    /// The other types.
    fn rarely_tagged<'a>(&mut self, rest: &'a str, visitor: &mut impl Visitor<'a>) -> Option<&'a str> {
        if let Some(boolean) = rest.strip_prefix("{\"BOOL\":") {
            let behind = self.boolean(boolean)?;
            visitor.plain(before(boolean, behind));
            Some(behind)
        } else if let Some(boolean) = rest.strip_prefix("{\"NULL\":") {
            visitor.plain("null");
            self.boolean(boolean)
        } else if let Some(binary) = rest.strip_prefix("{\"B\":") {
            let behind = self.base64(binary)?;
            visitor.plain(before(binary, behind));
            Some(behind)
        } else if let Some(set) = rest.strip_prefix("{\"SS\":") {
            let behind = self.members(set, "[", "]", Self::string)?;
            visitor.set(false, inside(set, behind));
            Some(behind)
        } else if let Some(set) = rest.strip_prefix("{\"NS\":") {
            let behind = self.members(set, "[", "]", |descent, member| {
                let number = descent.need(member, "\"")?;
                descent.quoted_number(number)
            })?;
            visitor.set(true, inside(set, behind));
            Some(behind)
        } else if let Some(set) = rest.strip_prefix("{\"BS\":") {
            let behind = self.members(set, "[", "]", Self::base64)?;
            visitor.set(false, inside(set, behind));
            Some(behind)
        } else {
            let tag = self.need(rest, "{\"")?;
            self.want(tag, "one of the type tags S, N, B, BOOL, NULL, M, L, SS, NS, BS")
        }
    }

    fn list<'a>(&mut self, rest: &'a str, visitor: &mut impl Visitor<'a>, depth: u32) -> Option<&'a str> {
        if depth > NESTING_DEPTH_MAX {
            return self.want(rest, "less nesting");
        }
        let mut rest = self.need(rest, "[")?;
        if let Some(behind) = rest.strip_prefix("]") {
            visitor.plain("[]");
            return Some(behind);
        }
        visitor.plain("[");
        loop {
            rest = self.tagged(rest, visitor, depth + 1)?;
            match rest.strip_prefix(",") {
                Some(behind) => rest = behind,
                None => {
                    visitor.plain("]");
                    return self.need(rest, "]");
                }
            }
            visitor.plain(",");
        }
    }

    fn boolean<'a>(&mut self, rest: &'a str) -> Option<&'a str> {
        rest.strip_prefix("true").or_else(|| self.need(rest, "false"))
    }

    /// A number and its closing quote.
    fn quoted_number<'a>(&mut self, rest: &'a str) -> Option<&'a str> {
        match number_length(rest) {
            Some(length) if rest.as_bytes().get(length) == Some(&b'"') => rest.get(length + 1..),
            _ => self.want(rest, "a decimal number within DynamoDB's range"),
        }
    }

    /// Base64 in quotes.
    fn base64<'a>(&mut self, rest: &'a str) -> Option<&'a str> {
        let text = self.need(rest, "\"")?;
        match behind_run(text, "\"") {
            Some(behind) if is_base64(&text.as_bytes()[..text.len() - behind.len() - 1]) => Some(behind),
            _ => self.want(text, "base64"),
        }
    }
}

/// What stands between the first and the last byte of what ends before `behind`: in brackets, in quotes.
pub(crate) fn inside<'a>(set: &'a str, behind: &str) -> &'a str {
    set.get(1..set.len() - behind.len() - 1).unwrap_or_default()
}
