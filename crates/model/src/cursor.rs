//! Reading compact JSON piece by piece: what the decoder of pages and the readers of items stand on.

use bytestring::ByteString;
use thiserror::Error;

use crate::descent::{Checker, Descent, Visitor, before, behind_run, inside};
use crate::item::Item;

/// JSON that is not in the expected form.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("byte {at}: expected {expected}")]
pub struct Malformed {
    /// Offset in bytes from the start of the text.
    pub at: usize,
    /// What the grammar wanted there.
    pub expected: &'static str,
}

/// Reads compact JSON from front to back. Every method leaves the cursor behind what it read.
#[derive(Debug)]
pub struct JsonCursor<'a> {
    /// What was not read yet.
    rest: &'a str,
    /// Bytes of the whole text.
    length: usize,
    descent: Descent,
}

impl<'a> JsonCursor<'a> {
    /// Begins at the first byte.
    pub fn new(text: &'a str) -> Self {
        Self { rest: text, length: text.len(), descent: Descent::default() }
    }

    /// Offset in bytes of what comes next.
    pub fn at(&self) -> usize {
        self.length - self.rest.len()
    }

    /// What was not read yet.
    pub fn rest(&self) -> &'a str {
        self.rest
    }

    /// The error of wanting something else here.
    #[cold]
    pub fn expected<T>(&self, expected: &'static str) -> Result<T, Malformed> {
        Err(Malformed { at: self.at(), expected })
    }

    /// The byte that comes next, if any.
    pub fn peek(&self) -> Option<u8> {
        self.rest.as_bytes().first().copied()
    }

    /// Reads `literal` if it comes next.
    #[inline(always)] // A literal that the compiler knows becomes one comparison of a word.
    pub fn take(&mut self, literal: &str) -> bool {
        let behind = self.rest.strip_prefix(literal);
        self.rest = behind.unwrap_or(self.rest);
        behind.is_some()
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
        let behind = self.descent.string(self.rest);
        let quoted = self.go_on(behind)?;
        Ok(inside(quoted, ""))
    }

    /// Reads a string that has no escapes.
    #[inline]
    pub fn plain_string(&mut self) -> Result<&'a str, Malformed> {
        self.expect("\"")?;
        let Some(behind) = behind_run(self.rest, "\"") else { return self.expected("a string without escapes") };
        let body = self.go_on(Some(behind))?;
        Ok(body.get(..body.len() - 1).unwrap_or_default())
    }

    /// Reads a number as text.
    pub fn number(&mut self) -> Result<&'a str, Malformed> {
        let behind = self.descent.number(self.rest);
        self.go_on(behind)
    }

    /// Reads any JSON value and gives its text.
    pub fn skip_value(&mut self) -> Result<&'a str, Malformed> {
        let behind = self.descent.value(self.rest, 0);
        self.go_on(behind)
    }

    /// Reads an item, checks all of it, and gives it as a slice of `page`, of which this cursor's text must be part.
    pub fn item(&mut self, page: &ByteString) -> Result<Item, Malformed> {
        let item = self.visit_item(&mut Checker)?;
        Ok(Item::of_checked(page.slice_ref(item)))
    }

    /// Reads an item, checks all of it, and tells the visitor. Gives its text.
    pub(crate) fn visit_item(&mut self, visitor: &mut impl Visitor<'a>) -> Result<&'a str, Malformed> {
        let behind = self.descent.item(self.rest, visitor, 0);
        self.go_on(behind)
    }

    /// Goes to what is left behind something, and gives that.
    #[inline(always)]
    fn go_on(&mut self, behind: Option<&'a str>) -> Result<&'a str, Malformed> {
        match behind {
            Some(behind) => {
                let read = before(self.rest, behind);
                self.rest = behind;
                Ok(read)
            }
            None => {
                let Descent { left, wanted } = self.descent;
                Err(Malformed { at: self.length - left, expected: wanted })
            }
        }
    }
}
