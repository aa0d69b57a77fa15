//! Exact decimal numbers: DynamoDB's `N`, up to 38 significant digits between 1E-130 and 1E+126. Never an `f64`.

use std::cmp::Ordering;
use std::fmt;

use thiserror::Error;

/// Largest magnitude of an exponent that is accepted. DynamoDB stays within 130; the room is for emulators. It bounds
/// the length of the written number, and is within what a reader of JSON can hold that knows `f64` only (308).
const EXPONENT_MAGNITUDE_MAX: i64 = 300;

/// A number without an exponent that is not longer is in range whatever its digits are.
const LENGTH_IN_RANGE: usize = 40;

/// An exact decimal number in normal form, so that equal numbers are equal values whatever their text was.
///
/// The value is `0.d1d2d3… × 10^exponent`, where the first and the last digit are not zero; zero has no digits.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Number {
    negative: bool,
    digits: String,
    exponent: i64,
}

/// Text that is not a number, or whose exponent is out of bounds.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("not a decimal number within DynamoDB's range")]
pub struct NumberFault;

impl Number {
    /// Accepts the JSON number grammar: `-`, digits, a fraction, an exponent.
    pub fn parse(text: &str) -> Result<Self, NumberFault> {
        if !is_json_number(text.as_bytes()) {
            return Err(NumberFault);
        }
        let (negative, unsigned) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, exponent.parse::<i64>().map_err(|_| NumberFault)?),
            None => (unsigned, 0),
        };
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let joined = format!("{whole}{fraction}");
        let leading_zeros = joined.bytes().take_while(|byte| *byte == b'0').count();
        let digits = joined.trim_matches('0').to_owned();
        if digits.is_empty() {
            return Ok(Self { negative: false, digits, exponent: 0 });
        }
        let point = i64::try_from(whole.len()).map_err(|_| NumberFault)?;
        let skipped = i64::try_from(leading_zeros).map_err(|_| NumberFault)?;
        let exponent = exponent.checked_add(point - skipped).ok_or(NumberFault)?;
        if exponent.abs() > EXPONENT_MAGNITUDE_MAX {
            return Err(NumberFault);
        }
        Ok(Self { negative, digits, exponent })
    }

    fn sign(&self) -> i8 {
        match (self.digits.is_empty(), self.negative) {
            (true, _) => 0,
            (false, true) => -1,
            (false, false) => 1,
        }
    }
}

impl Ord for Number {
    fn cmp(&self, other: &Self) -> Ordering {
        self.sign().cmp(&other.sign()).then_with(|| {
            // Without trailing zeros the digit texts compare like the fractions that they stand for.
            let magnitude = (self.exponent, &self.digits).cmp(&(other.exponent, &other.digits));
            if self.negative { magnitude.reverse() } else { magnitude }
        })
    }
}

impl PartialOrd for Number {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Writes plain decimal text without an exponent, as DynamoDB does.
impl fmt::Display for Number {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.digits.is_empty() {
            return out.write_str("0");
        }
        if self.negative {
            out.write_str("-")?;
        }
        let width = usize::try_from(self.exponent.unsigned_abs()).map_err(|_| fmt::Error)?;
        if self.exponent <= 0 {
            write!(out, "0.{}{}", "0".repeat(width), self.digits)
        } else if self.digits.len() <= width {
            write!(out, "{}{}", self.digits, "0".repeat(width - self.digits.len()))
        } else {
            let (whole, fraction) = self.digits.split_at(width);
            write!(out, "{whole}.{fraction}")
        }
    }
}

/// Whether the text is a number by the JSON grammar (RFC 8259, section 6).
fn is_json_number(text: &[u8]) -> bool {
    json_number(text).is_some_and(|number| number.length == text.len())
}

/// The length of the number at the start of the text, if [`Number::parse`] accepts that number.
#[inline]
pub(crate) fn number_length(text: &str) -> Option<usize> {
    let JsonNumber { length, has_exponent } = json_number(text.as_bytes())?;
    let is_in_range = (!has_exponent && length <= LENGTH_IN_RANGE) || Number::parse(&text[..length]).is_ok();
    is_in_range.then_some(length)
}

/// A number by the JSON grammar.
#[derive(Clone, Copy, PartialEq, Eq)]
struct JsonNumber {
    length: usize,
    has_exponent: bool,
}

/// The length of the number at the start of the text, by the JSON grammar alone.
pub(crate) fn json_number_length(text: &[u8]) -> Option<usize> {
    json_number(text).map(|number| number.length)
}

/// The number at the start of the text, by the JSON grammar. Nothing when there is none, or when it is
/// begun and not ended, as in `1.`, `1e` and `01`.
#[inline]
fn json_number(text: &[u8]) -> Option<JsonNumber> {
    let unsigned = text.strip_prefix(b"-").unwrap_or(text);
    let whole = digits_at_start(unsigned);
    if whole == 0 || (whole > 1 && unsigned[0] == b'0') {
        return None;
    }
    let mut rest = &unsigned[whole..];
    if !matches!(rest.first(), Some(b'.' | b'e' | b'E')) {
        // Most numbers.
        return Some(JsonNumber { length: text.len() - rest.len(), has_exponent: false });
    }
    if let Some(fraction) = rest.strip_prefix(b".") {
        let length = digits_at_start(fraction);
        if length == 0 {
            return None;
        }
        rest = &fraction[length..];
    }
    let has_exponent = matches!(rest.first(), Some(b'e' | b'E'));
    if has_exponent && let Some((_, exponent)) = rest.split_first() {
        let exponent = exponent.strip_prefix(b"+").or_else(|| exponent.strip_prefix(b"-")).unwrap_or(exponent);
        let length = digits_at_start(exponent);
        if length == 0 {
            return None;
        }
        rest = &exponent[length..];
    }
    Some(JsonNumber { length: text.len() - rest.len(), has_exponent })
}

fn digits_at_start(text: &[u8]) -> usize {
    text.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(text.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(text: &str) -> Number {
        Number::parse(text).unwrap_or_else(|fault| panic!("{text}: {fault}"))
    }

    #[test]
    fn equal_numbers_are_equal_whatever_their_text() {
        for (left, right) in [("1", "1.0"), ("0", "-0.00"), ("1e3", "1000"), ("0.10", "1E-1"), ("-5e0", "-5")] {
            assert_eq!(number(left), number(right), "{left} {right}");
        }
    }

    #[test]
    fn digits_stay_exact() {
        let digits = "12345678901234567890123456789012345678";
        assert_eq!(number(digits).to_string(), digits);
        assert_eq!(number("1E-130").to_string(), format!("0.{}1", "0".repeat(129)));
        assert_eq!(number("-9.99e125").to_string(), format!("-999{}", "0".repeat(123)));
        assert_eq!(number("120.5").to_string(), "120.5");
    }

    #[test]
    fn order_is_numeric() {
        let mut shuffled = ["10", "9", "-1", "-10", "0", "0.5", "9.75", "1e-9", "-0.5"].map(number);
        shuffled.sort();
        let sorted: Vec<_> = shuffled.iter().map(Number::to_string).collect();
        assert_eq!(sorted, ["-10", "-1", "-0.5", "0", "0.000000001", "0.5", "9", "9.75", "10"]);
    }

    #[test]
    fn what_is_not_a_number_is_refused() {
        for bad in ["", "-", "+1", " 1", "1_0", "NaN", "Infinity", "01", ".5", "1.", "1e", "1e+", "1e999", "0x1"] {
            assert_eq!(Number::parse(bad), Err(NumberFault), "{bad}");
        }
    }
}
