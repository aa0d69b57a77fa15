//! The text of a page, gathered as it arrives: the one place where a page's bytes are copied and its UTF-8 is checked, while
//! they are still near.

use bytestring::ByteString;

use crate::page::{PAGE_BYTES_MAX, PageFault};

/// Bytes of the longest character in UTF-8.
const CHARACTER_BYTES_MAX: usize = 4;

/// What has arrived of a page. After a fault, what else arrives is dropped.
#[derive(Debug, Default)]
pub(crate) struct PageText {
    text: String,
    /// The first bytes of a character whose others are in the next piece.
    begun: Vec<u8>,
    fault: Option<PageFault>,
}

/// Checks size and encoding of a whole body and gives it an owner.
///
/// # Errors
/// A body of more than [`PAGE_BYTES_MAX`] bytes, and one that is not UTF-8.
pub fn page_text(body: &[u8]) -> Result<ByteString, PageFault> {
    let mut text = PageText::with_room(body.len());
    text.push(body);
    text.end()
}

impl PageText {
    /// Nothing yet, and room for so many bytes, or for the most that is accepted.
    pub(crate) fn with_room(bytes: usize) -> Self {
        Self { text: String::with_capacity(bytes.min(PAGE_BYTES_MAX)), ..Self::default() }
    }

    /// Adds a piece.
    pub(crate) fn push(&mut self, piece: &[u8]) {
        if self.fault.is_none() {
            self.fault = self.append(piece).err();
        }
    }

    /// The whole text.
    pub(crate) fn end(mut self) -> Result<ByteString, PageFault> {
        match self.fault {
            Some(fault) => Err(fault),
            None if !self.begun.is_empty() => Err(PageFault::NotUtf8 { valid_up_to: self.text.len() }),
            None => {
                // A body whose length was not told grew by doubling, and what is held is what is counted.
                self.text.shrink_to_fit();
                // From a `String` there is no second check.
                Ok(self.text.into())
            }
        }
    }

    fn append(&mut self, piece: &[u8]) -> Result<(), PageFault> {
        if self.text.len() + self.begun.len() + piece.len() > PAGE_BYTES_MAX {
            return Err(PageFault::TooLarge);
        }
        let rest = self.append_begun(piece)?;
        let (whole, begun) = rest.split_at(rest.len() - begun_at_end(rest));
        let Ok(text) = simdutf8::basic::from_utf8(whole) else {
            let valid = simdutf8::compat::from_utf8(whole).map_or_else(|fault| fault.valid_up_to(), str::len);
            return Err(PageFault::NotUtf8 { valid_up_to: self.text.len() + valid });
        };
        self.text.push_str(text);
        self.begun.extend_from_slice(begun);
        Ok(())
    }

    /// Ends the character that is begun, and gives what is left of the piece.
    fn append_begun<'p>(&mut self, piece: &'p [u8]) -> Result<&'p [u8], PageFault> {
        let mut rest = piece;
        while !self.begun.is_empty()
            && let Some((byte, behind)) = rest.split_first()
        {
            self.begun.push(*byte);
            rest = behind;
            match std::str::from_utf8(&self.begun) {
                Ok(character) => {
                    self.text.push_str(character);
                    self.begun.clear();
                }
                Err(fault) if fault.error_len().is_none() => {}
                Err(_) => return Err(PageFault::NotUtf8 { valid_up_to: self.text.len() }),
            }
        }
        Ok(rest)
    }
}

/// How many bytes at the end of a piece belong to a character that goes on behind it.
fn begun_at_end(piece: &[u8]) -> usize {
    let last = piece.iter().rev().take(CHARACTER_BYTES_MAX - 1).zip(1..);
    // The high bits of a character's first byte count its bytes; all others have one of them set.
    let first = last.map(|(byte, back)| (byte.leading_ones() as usize, back)).find(|(bytes, _)| *bytes != 1);
    first.filter(|(bytes, back)| bytes > back).map_or(0, |(_, back)| back)
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn gathered<'p>(pieces: impl IntoIterator<Item = &'p [u8]>) -> Result<ByteString, PageFault> {
        let mut text = PageText::default();
        pieces.into_iter().for_each(|piece| text.push(piece));
        text.end()
    }

    /// What the standard library says of the whole.
    fn expected(bytes: &[u8]) -> Result<ByteString, PageFault> {
        let text = std::str::from_utf8(bytes).map(ByteString::from);
        text.map_err(|fault| PageFault::NotUtf8 { valid_up_to: fault.valid_up_to() })
    }

    #[test]
    fn a_page_is_the_same_in_pieces_of_any_size() {
        let text = "ascii, größe, 漢字, 😀, ";
        for size in 1..=text.len() {
            assert_eq!(gathered(text.as_bytes().chunks(size)), Ok(text.into()), "{size}");
        }
    }

    #[test]
    fn what_is_too_large_is_refused_and_not_kept() {
        let piece = vec![b' '; PAGE_BYTES_MAX / 2 + 1];
        assert_eq!(gathered([&*piece, &piece, b"x"]), Err(PageFault::TooLarge));
        assert_eq!(gathered([&piece[1..], &piece[1..]]).map(|text| text.len()), Ok(PAGE_BYTES_MAX));
    }

    proptest! {
        #[test]
        fn faults_are_found_where_they_are(
            pieces in vec(
                prop_oneof![any::<String>().prop_map(String::into_bytes), vec(any::<u8>(), 0..6)],
                0..6,
            ),
            size in 1_usize..9,
        ) {
            let bytes = pieces.concat();
            prop_assert_eq!(gathered(bytes.chunks(size)), expected(&bytes));
            prop_assert_eq!(gathered(pieces.iter().map(Vec::as_slice)), expected(&bytes));
            prop_assert_eq!(page_text(&bytes), expected(&bytes));
        }
    }
}
