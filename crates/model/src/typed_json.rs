//! Reading DynamoDB's typed JSON in its compact form (no white space, tags as AWS writes them): one recursive descent
//! that checks every byte and tells a visitor what it saw. Anything else is the fall-back decoder's business.

use bytestring::ByteString;
use thiserror::Error;

use crate::item::Item;
use crate::number::is_json_number;

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

/// What a walk over an item reports, in order. Texts are JSON string bodies, still escaped.
pub(crate) trait Visitor<'a> {
    fn map_begin(&mut self) {}
    fn name(&mut self, _escaped: &'a str) {}
    fn map_end(&mut self) {}
    fn list_begin(&mut self) {}
    fn list_end(&mut self) {}
    fn string(&mut self, _escaped: &'a str) {}
    fn number(&mut self, _digits: &'a str) {}
    fn binary(&mut self, _base64: &'a str) {}
    fn boolean(&mut self, _value: bool) {}
    fn null(&mut self) {}
    /// `members` is the inside of the array: quoted strings with commas between.
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
}

impl<'a> JsonCursor<'a> {
    /// Begins at the first byte.
    pub fn new(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    /// Offset in bytes of what comes next.
    pub fn at(&self) -> usize {
        self.at
    }

    /// The error of wanting something else here.
    pub fn expected<T>(&self, expected: &'static str) -> Result<T, Malformed> {
        Err(Malformed { at: self.at, expected })
    }

    fn rest(&self) -> &'a [u8] {
        self.text.as_bytes().get(self.at..).unwrap_or_default()
    }

    /// The byte that comes next, if any.
    pub fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    /// Reads `literal` if it comes next.
    pub fn take(&mut self, literal: &str) -> bool {
        let found = self.rest().starts_with(literal.as_bytes());
        if found {
            self.at += literal.len();
        }
        found
    }

    /// Reads `literal`, which must come next.
    pub fn expect(&mut self, literal: &'static str) -> Result<(), Malformed> {
        if self.take(literal) { Ok(()) } else { self.expected(literal) }
    }

    /// Reads `,` and answers true, or reads `close` and answers false.
    pub fn comma_or(&mut self, close: &'static str) -> Result<bool, Malformed> {
        if self.take(",") {
            return Ok(true);
        }
        self.expect(close)?;
        Ok(false)
    }

    fn slice(&self, from: usize, to: usize) -> &'a str {
        self.text.get(from..to).unwrap_or_default()
    }

    /// Reads a string and gives its body, still escaped.
    pub fn string(&mut self) -> Result<&'a str, Malformed> {
        self.expect("\"")?;
        let from = self.at;
        self.at = string_end(self.text.as_bytes(), from)?;
        self.at += 1;
        Ok(self.slice(from, self.at - 1))
    }

    /// Reads a number as text.
    pub fn number(&mut self) -> Result<&'a str, Malformed> {
        let length = self
            .rest()
            .iter()
            .position(|byte| !matches!(byte, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E'))
            .unwrap_or(self.rest().len());
        let text = self.slice(self.at, self.at + length);
        if !is_json_number(text.as_bytes()) {
            return self.expected("a number");
        }
        self.at += length;
        Ok(text)
    }

    /// Reads any JSON value and gives its text.
    pub fn skip_value(&mut self) -> Result<&'a str, Malformed> {
        let from = self.at;
        self.skip_nested(0)?;
        Ok(self.slice(from, self.at))
    }

    fn skip_nested(&mut self, depth: u32) -> Result<(), Malformed> {
        if depth > NESTING_DEPTH_MAX {
            return self.expected("less nesting");
        }
        match self.peek() {
            Some(b'"') => self.string().map(drop),
            Some(b'{') => {
                self.at += 1;
                if self.take("}") {
                    return Ok(());
                }
                loop {
                    self.string()?;
                    self.expect(":")?;
                    self.skip_nested(depth + 1)?;
                    if !self.comma_or("}")? {
                        return Ok(());
                    }
                }
            }
            Some(b'[') => {
                self.at += 1;
                if self.take("]") {
                    return Ok(());
                }
                loop {
                    self.skip_nested(depth + 1)?;
                    if !self.comma_or("]")? {
                        return Ok(());
                    }
                }
            }
            _ if self.take("true") || self.take("false") || self.take("null") => Ok(()),
            _ => self.number().map(drop),
        }
    }

    /// Reads an item, checks all of it, and gives it as a slice of `page`, of which this cursor's text must be part.
    pub fn item(&mut self, page: &ByteString) -> Result<Item, Malformed> {
        let from = self.at;
        self.walk_item(&mut Checker, 0)?;
        Ok(Item::of_checked(page.slice_ref(self.slice(from, self.at))))
    }

    pub(crate) fn check_item(&mut self) -> Result<(), Malformed> {
        self.walk_item(&mut Checker, 0)
    }

    pub(crate) fn walk_item(&mut self, visitor: &mut impl Visitor<'a>, depth: u32) -> Result<(), Malformed> {
        if depth > NESTING_DEPTH_MAX {
            return self.expected("less nesting");
        }
        self.expect("{")?;
        visitor.map_begin();
        if !self.take("}") {
            loop {
                visitor.name(self.string()?);
                self.expect(":")?;
                self.walk_value(visitor, depth + 1)?;
                if !self.comma_or("}")? {
                    break;
                }
            }
        }
        visitor.map_end();
        Ok(())
    }

    pub(crate) fn walk_value(&mut self, visitor: &mut impl Visitor<'a>, depth: u32) -> Result<(), Malformed> {
        self.expect("{\"")?;
        match self.peek() {
            Some(b'S') if self.take("S\":") => visitor.string(self.string()?),
            Some(b'N') if self.take("N\":\"") => visitor.number(self.quoted_number()?),
            Some(b'B') if self.take("BOOL\":") => visitor.boolean(self.boolean()?),
            Some(b'N') if self.take("NULL\":") => {
                self.boolean()?;
                visitor.null();
            }
            Some(b'M') if self.take("M\":") => self.walk_item(visitor, depth)?,
            Some(b'L') if self.take("L\":[") => self.walk_list(visitor, depth)?,
            Some(b'B') if self.take("B\":\"") => visitor.binary(self.quoted_base64()?),
            Some(b'S') if self.take("SS\":[") => visitor.set(false, self.members(|cursor| cursor.string().map(drop))?),
            Some(b'N') if self.take("NS\":[") => visitor.set(true, self.members(Self::number_member)?),
            Some(b'B') if self.take("BS\":[") => visitor.set(false, self.members(Self::base64_member)?),
            _ => return self.expected("one of the type tags S, N, B, BOOL, NULL, M, L, SS, NS, BS"),
        }
        self.expect("}")
    }

    fn walk_list(&mut self, visitor: &mut impl Visitor<'a>, depth: u32) -> Result<(), Malformed> {
        if depth > NESTING_DEPTH_MAX {
            return self.expected("less nesting");
        }
        visitor.list_begin();
        if !self.take("]") {
            loop {
                self.walk_value(visitor, depth + 1)?;
                if !self.comma_or("]")? {
                    break;
                }
            }
        }
        visitor.list_end();
        Ok(())
    }

    fn boolean(&mut self) -> Result<bool, Malformed> {
        if self.take("true") {
            return Ok(true);
        }
        self.expect("false")?;
        Ok(false)
    }

    /// Reads up to and with the closing quote of a string that has no escapes.
    fn plain_body(&mut self) -> Result<&'a str, Malformed> {
        let Some(length) = self.rest().iter().position(|byte| *byte == b'"') else {
            return self.expected("a closing quote");
        };
        let body = self.slice(self.at, self.at + length);
        self.at += length + 1;
        Ok(body)
    }

    fn quoted_number(&mut self) -> Result<&'a str, Malformed> {
        let at = self.at;
        let body = self.plain_body()?;
        if is_json_number(body.as_bytes()) { Ok(body) } else { Err(Malformed { at, expected: "a decimal number" }) }
    }

    fn quoted_base64(&mut self) -> Result<&'a str, Malformed> {
        let at = self.at;
        let body = self.plain_body()?;
        if is_base64(body.as_bytes()) { Ok(body) } else { Err(Malformed { at, expected: "base64" }) }
    }

    fn number_member(&mut self) -> Result<(), Malformed> {
        self.expect("\"")?;
        self.quoted_number().map(drop)
    }

    fn base64_member(&mut self) -> Result<(), Malformed> {
        self.expect("\"")?;
        self.quoted_base64().map(drop)
    }

    fn members(&mut self, one: impl Fn(&mut Self) -> Result<(), Malformed>) -> Result<&'a str, Malformed> {
        let from = self.at;
        if self.take("]") {
            return Ok("");
        }
        loop {
            one(self)?;
            if !self.comma_or("]")? {
                return Ok(self.slice(from, self.at - 1));
            }
        }
    }
}

/// Bytes that end the plain run of a string: the quote, the backslash, and control characters.
const SPECIAL: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 0x20 {
        table[byte] = true;
        byte += 1;
    }
    table[b'"' as usize] = true;
    table[b'\\' as usize] = true;
    table
};

fn string_end(bytes: &[u8], from: usize) -> Result<usize, Malformed> {
    let mut at = from;
    loop {
        let rest = bytes.get(at..).unwrap_or_default();
        let Some(run) = rest.iter().position(|byte| SPECIAL[usize::from(*byte)]) else {
            return Err(Malformed { at, expected: "a closing quote" });
        };
        at += run;
        match rest[run] {
            b'"' => return Ok(at),
            b'\\' => at = escape_end(bytes, at)?,
            _ => return Err(Malformed { at, expected: "no bare control character in a string" }),
        }
    }
}

/// The end of the escape that begins at `at`. A surrogate must come with its other half: a lone one is not Unicode.
fn escape_end(bytes: &[u8], at: usize) -> Result<usize, Malformed> {
    match bytes.get(at + 1) {
        Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => Ok(at + 2),
        Some(b'u') => match hex4(bytes, at + 2) {
            Some(0xD800..=0xDBFF) => match (bytes.get(at + 6), bytes.get(at + 7), hex4(bytes, at + 8)) {
                (Some(b'\\'), Some(b'u'), Some(0xDC00..=0xDFFF)) => Ok(at + 12),
                _ => Err(Malformed { at, expected: "the second half of a surrogate pair" }),
            },
            Some(0xDC00..=0xDFFF) | None => Err(Malformed { at, expected: "four hexadecimal digits of a character" }),
            Some(_) => Ok(at + 6),
        },
        _ => Err(Malformed { at, expected: "an escape" }),
    }
}

fn hex4(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at + 4)?.iter().try_fold(0, |value, byte| Some(value * 16 + char::from(*byte).to_digit(16)?))
}

fn is_base64(text: &[u8]) -> bool {
    let body = text.strip_suffix(b"==").or_else(|| text.strip_suffix(b"=")).unwrap_or(text);
    text.len().is_multiple_of(4) && body.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/'))
}
