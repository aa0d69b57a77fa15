//! Finding the ends of JSON's tokens in bytes.

/// Why a token has no end, and where that was seen.
pub(crate) type TokenFault = (usize, &'static str);

/// The place of the closing quote in what begins inside of a string. Every escape on the way is checked.
pub(crate) fn string_end(bytes: &[u8]) -> Result<usize, TokenFault> {
    let mut at = 0;
    loop {
        at += plain_run(bytes.get(at..).unwrap_or_default());
        match bytes.get(at) {
            Some(b'"') => return Ok(at),
            Some(b'\\') => at = escape_end(bytes, at)?,
            Some(_) => return Err((at, "no bare control character in a string")),
            None => return Err((at, "a closing quote")),
        }
    }
}

/// How many bytes come before the first quote, backslash or control character, or before the end.
///
/// Eight bytes at a time: each step marks, in the high bit of every byte of the word, what is special. A borrow can
/// only make marks above a true one, and the lowest mark is the one that counts.
#[inline]
pub(crate) fn plain_run(bytes: &[u8]) -> usize {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGH_BITS: u64 = 0x8080_8080_8080_8080;
    let mut rest = bytes;
    while let Some((word, behind)) = rest.split_first_chunk::<8>() {
        let word = u64::from_le_bytes(*word);
        // This exchange maps a quote to 0x20 and control characters among themselves: one comparison finds both.
        let quote_or_control = (word ^ (ONES * 0x02)).wrapping_sub(ONES * 0x21);
        let backslash = (word ^ (ONES * b'\\' as u64)).wrapping_sub(ONES);
        // None of them has the high bit, so one mask of `word` serves all three.
        let marks = (quote_or_control | backslash) & !word & HIGH_BITS;
        if marks != 0 {
            return bytes.len() - rest.len() + (marks.trailing_zeros() / 8) as usize;
        }
        rest = behind;
    }
    let in_rest = rest.iter().position(|byte| matches!(byte, b'"' | b'\\' | 0..0x20)).unwrap_or(rest.len());
    bytes.len() - rest.len() + in_rest
}

/// The end of the escape that begins at `at`. A surrogate must come with its other half: a lone one is not Unicode.
fn escape_end(bytes: &[u8], at: usize) -> Result<usize, TokenFault> {
    match bytes.get(at + 1) {
        Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => Ok(at + 2),
        Some(b'u') => match hex4(bytes, at + 2) {
            Some(0xD800..=0xDBFF) => match (bytes.get(at + 6), bytes.get(at + 7), hex4(bytes, at + 8)) {
                (Some(b'\\'), Some(b'u'), Some(0xDC00..=0xDFFF)) => Ok(at + 12),
                _ => Err((at, "the second half of a surrogate pair")),
            },
            Some(0xDC00..=0xDFFF) | None => Err((at, "four hexadecimal digits of a character")),
            Some(_) => Ok(at + 6),
        },
        _ => Err((at, "an escape")),
    }
}

fn hex4(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at + 4)?.iter().try_fold(0, |value, byte| Some(value * 16 + char::from(*byte).to_digit(16)?))
}

/// Whether the text is base64 with padding, as DynamoDB writes it.
pub(crate) fn is_base64(text: &[u8]) -> bool {
    let body = text.strip_suffix(b"==").or_else(|| text.strip_suffix(b"=")).unwrap_or(text);
    text.len().is_multiple_of(4) && body.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_run_ends_where_a_byte_by_byte_search_says() {
        // Every byte at every place of the word, behind ordinary bytes of every kind.
        for filler in [b'a', b' ', b'!', b'#', b'[', b']', 0x7f, 0x80, 0xa2, 0xdc, 0xff] {
            for length in 0..20 {
                for at in 0..length {
                    for byte in 0..=u8::MAX {
                        let mut bytes = vec![filler; length];
                        bytes[at] = byte;
                        let special = |byte: &u8| matches!(byte, b'"' | b'\\' | 0..0x20);
                        let expected = bytes.iter().position(special).unwrap_or(length);
                        assert_eq!(plain_run(&bytes), expected, "{bytes:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn ends_are_found_behind_escapes() {
        assert_eq!(string_end(br#"a\"b\\"x"#), Ok(6));
        assert_eq!(string_end(br#"0123456\ud83d\ude00""#), Ok(19));
        assert_eq!(string_end(br"\ud83d\u0041"), Err((0, "the second half of a surrogate pair")));
        assert_eq!(string_end(b"ab\nc\""), Err((2, "no bare control character in a string")));
        assert_eq!(string_end(b"bc"), Err((2, "a closing quote")));
        assert_eq!(string_end(br"\u00"), Err((0, "four hexadecimal digits of a character")));
    }
}
