//! Reading DynamoDB's typed JSON in its compact form (no white space, tags as AWS writes them): one recursive descent
//! that checks every byte and tells a visitor what it saw. Anything else is the fall-back decoder's business.

use bytestring::ByteString;
use thiserror::Error;

use crate::item::Item;
use crate::number::json_number_length;
use crate::scan::{is_base64, plain_run_end, string_end};

/// Deepest nesting that is accepted. DynamoDB stops at 32 levels; the room is for emulators. It bounds the recursion.
pub const NESTING_DEPTH_MAX: u32 = 64;

/// JSON that is not in the expected form.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("byte {at}: expected {expected}")]
pub struct Malformed {
    /// Offset in bytes from the start of the text.
    pub at: usize,
    /// What the grammar wanted there.
    pub expected: &'static str,
}

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
struct Checker;
impl Visitor<'_> for Checker {}

/// Reads compact JSON from front to back. Every method leaves the cursor behind what it read.
#[derive(Debug)]
pub struct JsonCursor<'a> {
    text: &'a str,
    at: usize,
    /// What the step that failed wanted at `at`. Inner steps answer `None` and leave their words here, because a whole
    /// `Malformed` handed up through every step costs as much as the reading itself.
    wanted: &'static str,
}

impl<'a> JsonCursor<'a> {
    /// Begins at the first byte.
    pub fn new(text: &'a str) -> Self {
        Self { text, at: 0, wanted: "JSON" }
    }

    /// Offset in bytes of what comes next.
    pub fn at(&self) -> usize {
        self.at
    }

    /// The error of wanting something else here.
    #[cold]
    pub fn expected<T>(&self, expected: &'static str) -> Result<T, Malformed> {
        Err(Malformed { at: self.at, expected })
    }

    /// The byte that comes next, if any.
    pub fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    /// Reads `literal` if it comes next.
    #[inline(always)] // A literal that the compiler knows becomes one comparison of a word.
    pub fn take(&mut self, literal: &str) -> bool {
        let found = self.rest().starts_with(literal.as_bytes());
        if found {
            self.at += literal.len();
        }
        found
    }

    /// Reads `literal`, which must come next.
    #[inline]
    pub fn expect(&mut self, literal: &'static str) -> Result<(), Malformed> {
        if self.take(literal) { Ok(()) } else { self.expected(literal) }
    }

    /// Reads `,` and answers true, or reads `close` and answers false.
    #[inline]
    pub fn comma_or(&mut self, close: &'static str) -> Result<bool, Malformed> {
        if self.take(",") {
            return Ok(true);
        }
        self.expect(close)?;
        Ok(false)
    }

    /// Reads a string and gives its body, still escaped.
    #[inline]
    pub fn string(&mut self) -> Result<&'a str, Malformed> {
        let from = self.at;
        let end = self.skip_string();
        self.or_fault(end)?;
        Ok(self.slice(from + 1, self.at - 1))
    }

    /// Reads a string, if one comes next.
    #[inline(always)]
    pub(crate) fn next_string(&mut self) -> Option<&'a str> {
        let from = self.at;
        self.skip_string()?;
        Some(self.slice(from + 1, self.at - 1))
    }

    /// Reads a string that has no escapes.
    #[inline]
    pub fn plain_string(&mut self) -> Result<&'a str, Malformed> {
        self.expect("\"")?;
        let from = self.at;
        self.at = plain_run_end(self.text.as_bytes(), from);
        self.expect("\"")?;
        Ok(self.slice(from, self.at - 1))
    }

    /// Reads a number as text.
    pub fn number(&mut self) -> Result<&'a str, Malformed> {
        let from = self.at;
        let end = self.skip_number();
        self.or_fault(end)?;
        Ok(self.slice(from, self.at))
    }

    /// Reads any JSON value and gives its text.
    pub fn skip_value(&mut self) -> Result<&'a str, Malformed> {
        let from = self.at;
        let end = self.skip_nested(0);
        self.or_fault(end)?;
        Ok(self.slice(from, self.at))
    }

    /// Reads an item, checks all of it, and gives it as a slice of `page`, of which this cursor's text must be part.
    pub fn item(&mut self, page: &ByteString) -> Result<Item, Malformed> {
        let from = self.at;
        self.check_item()?;
        Ok(Item::of_checked(page.slice_ref(self.slice(from, self.at))))
    }

    pub(crate) fn check_item(&mut self) -> Result<(), Malformed> {
        self.visit_item(&mut Checker)
    }

    /// Reads an item, checks all of it, and tells the visitor.
    pub(crate) fn visit_item(&mut self, visitor: &mut impl Visitor<'a>) -> Result<(), Malformed> {
        let end = self.walk_item(visitor, 0);
        self.or_fault(end)
    }

    #[inline(always)]
    fn or_fault(&self, end: Option<()>) -> Result<(), Malformed> {
        match end {
            Some(()) => Ok(()),
            None => self.expected(self.wanted),
        }
    }

    #[cold]
    fn want<T>(&mut self, wanted: &'static str) -> Option<T> {
        self.wanted = wanted;
        None
    }

    #[inline(always)]
    fn need(&mut self, literal: &'static str) -> Option<()> {
        if self.take(literal) { Some(()) } else { self.want(literal) }
    }

    fn rest(&self) -> &'a [u8] {
        self.text.as_bytes().get(self.at..).unwrap_or_default()
    }

    #[inline(always)]
    fn slice(&self, from: usize, to: usize) -> &'a str {
        self.text.get(from..to).unwrap_or_default()
    }

    #[inline]
    fn skip_string(&mut self) -> Option<()> {
        self.need("\"")?;
        self.at = plain_run_end(self.text.as_bytes(), self.at);
        if self.take("\"") { Some(()) } else { self.skip_escaped() }
    }

    /// The rest of a string from its first special byte on.
    #[inline(never)]
    fn skip_escaped(&mut self) -> Option<()> {
        match string_end(self.text.as_bytes(), self.at) {
            Ok(end) => {
                self.at = end + 1;
                Some(())
            }
            Err((at, wanted)) => {
                self.at = at;
                self.want(wanted)
            }
        }
    }

    fn skip_number(&mut self) -> Option<()> {
        match json_number_length(self.rest()) {
            Some(length) => {
                self.at += length;
                Some(())
            }
            None => self.want("a number"),
        }
    }

    fn skip_nested(&mut self, depth: u32) -> Option<()> {
        if depth > NESTING_DEPTH_MAX {
            return self.want("less nesting");
        }
        match self.peek() {
            Some(b'"') => self.skip_string(),
            Some(b'{') => {
                self.at += 1;
                if self.take("}") {
                    return Some(());
                }
                loop {
                    self.skip_string()?;
                    self.need(":")?;
                    self.skip_nested(depth + 1)?;
                    if !self.take(",") {
                        return self.need("}");
                    }
                }
            }
            Some(b'[') => {
                self.at += 1;
                if self.take("]") {
                    return Some(());
                }
                loop {
                    self.skip_nested(depth + 1)?;
                    if !self.take(",") {
                        return self.need("]");
                    }
                }
            }
            _ if self.take("true") || self.take("false") || self.take("null") => Some(()),
            _ => self.skip_number(),
        }
    }

    fn walk_item(&mut self, visitor: &mut impl Visitor<'a>, depth: u32) -> Option<()> {
        if depth > NESTING_DEPTH_MAX {
            return self.want("less nesting");
        }
        let mut from = self.at;
        self.need("{")?;
        if self.take("}") {
            visitor.plain("{}");
            return Some(());
        }
        loop {
            self.skip_string()?;
            self.need(":")?;
            visitor.plain(self.slice(from, self.at));
            self.walk_value(visitor, depth + 1)?;
            from = self.at;
            if !self.take(",") {
                visitor.plain("}");
                return self.need("}");
            }
        }
    }

    #[inline(always)] // Without it the call costs more than most values.
    fn walk_value<V: Visitor<'a>>(&mut self, visitor: &mut V, depth: u32) -> Option<()> {
        match self.rest().get(2) {
            Some(b'S') if self.take("{\"S\":") => {
                let from = self.at;
                self.skip_string()?;
                visitor.plain(self.slice(from, self.at));
            }
            Some(b'N') if self.take("{\"N\":\"") => {
                visitor.plain(if V::CHECKED_BEFORE { self.quoted_run()? } else { self.quoted_number()? })
            }
            Some(b'B') if self.take("{\"BOOL\":") => visitor.plain(self.boolean()?),
            Some(b'N') if self.take("{\"NULL\":") => {
                self.boolean()?;
                visitor.plain("null");
            }
            Some(b'M') if self.take("{\"M\":") => self.walk_item(visitor, depth)?,
            Some(b'L') if self.take("{\"L\":") => self.walk_list(visitor, depth)?,
            Some(b'B') if self.take("{\"B\":\"") => {
                let from = self.at - 1;
                self.quoted_base64()?;
                visitor.plain(self.slice(from, self.at));
            }
            Some(b'S') if self.take("{\"SS\":[") => visitor.set(false, self.members(Self::skip_string)?),
            Some(b'N') if self.take("{\"NS\":[") => visitor.set(true, self.members(Self::number_member)?),
            Some(b'B') if self.take("{\"BS\":[") => visitor.set(false, self.members(Self::base64_member)?),
            _ => {
                self.need("{\"")?;
                return self.want("one of the type tags S, N, B, BOOL, NULL, M, L, SS, NS, BS");
            }
        }
        self.need("}")
    }

    fn walk_list(&mut self, visitor: &mut impl Visitor<'a>, depth: u32) -> Option<()> {
        if depth > NESTING_DEPTH_MAX {
            return self.want("less nesting");
        }
        self.need("[")?;
        if self.take("]") {
            visitor.plain("[]");
            return Some(());
        }
        visitor.plain("[");
        loop {
            self.walk_value(visitor, depth + 1)?;
            if !self.take(",") {
                visitor.plain("]");
                return self.need("]");
            }
            visitor.plain(",");
        }
    }

    fn boolean(&mut self) -> Option<&'static str> {
        if self.take("true") {
            return Some("true");
        }
        self.need("false")?;
        Some("false")
    }

    /// Reads what has no quote in it, up to and with the closing quote.
    #[inline(always)]
    fn quoted_run(&mut self) -> Option<&'a str> {
        let from = self.at;
        self.at = plain_run_end(self.text.as_bytes(), from);
        self.need("\"")?;
        Some(self.slice(from, self.at - 1))
    }

    /// Reads a number up to and with the closing quote.
    fn quoted_number(&mut self) -> Option<&'a str> {
        let from = self.at;
        match json_number_length(self.rest()) {
            Some(length) if self.text.as_bytes().get(from + length) == Some(&b'"') => {
                self.at = from + length + 1;
                Some(self.slice(from, from + length))
            }
            _ => self.want("a decimal number"),
        }
    }

    /// Reads base64 up to and with the closing quote.
    fn quoted_base64(&mut self) -> Option<()> {
        let bytes = self.text.as_bytes();
        let end = plain_run_end(bytes, self.at);
        if bytes.get(end) == Some(&b'"') && is_base64(&bytes[self.at..end]) {
            self.at = end + 1;
            return Some(());
        }
        self.want("base64")
    }

    fn number_member(&mut self) -> Option<()> {
        self.need("\"")?;
        self.quoted_number().map(drop)
    }

    fn base64_member(&mut self) -> Option<()> {
        self.need("\"")?;
        self.quoted_base64()
    }

    fn members(&mut self, one: impl Fn(&mut Self) -> Option<()>) -> Option<&'a str> {
        let from = self.at;
        if self.take("]") {
            return Some("");
        }
        loop {
            one(self)?;
            if !self.take(",") {
                self.need("]")?;
                return Some(self.slice(from, self.at - 1));
            }
        }
    }
}
