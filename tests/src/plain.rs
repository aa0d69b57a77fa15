//! Plain JSON, a second time: what an item must look like in the sink, worked out apart from the engine.
//!
//! Numbers are exact: two are equal when they are the same decimal, however they are written. Sets are equal whatever
//! their order; that they arrive sorted is checked where a test asks for it.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt;

use anyhow::{Context, Result, bail, ensure};
use aws_sdk_dynamodb::types::AttributeValue;

use crate::table::Item;

/// A value of plain JSON.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Plain {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number.
    Number(Decimal),
    /// A string; binary values are base64 in one.
    Text(String),
    /// An array.
    List(Vec<Plain>),
    /// An object.
    Map(BTreeMap<String, Plain>),
}

/// A decimal number without rounding: `digits * 10^exponent`, with no zero at either end of `digits`.
#[derive(Clone, PartialEq, Eq)]
pub struct Decimal {
    negative: bool,
    digits: String,
    exponent: i64,
}

impl Decimal {
    /// Reads decimal text such as `-12.50e3`.
    pub fn parse(text: &str) -> Result<Self> {
        let (negative, rest) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
        let (mantissa, exponent) = rest.split_once(['e', 'E']).unwrap_or((rest, "0"));
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let all = format!("{whole}{fraction}");
        ensure!(!whole.is_empty() && all.bytes().all(|byte| byte.is_ascii_digit()), "{text:?} is no decimal number");
        let exponent: i64 = exponent.parse().with_context(|| format!("{text:?} is no decimal number"))?;
        let exponent = exponent - i64::try_from(fraction.len())?;
        let digits = all.trim_start_matches('0').trim_end_matches('0');
        if digits.is_empty() {
            return Ok(Self { negative: false, digits: "0".to_owned(), exponent: 0 });
        }
        let zeros_cut = all.len() - all.trim_end_matches('0').len();
        Ok(Self { negative, digits: digits.to_owned(), exponent: exponent + i64::try_from(zeros_cut)? })
    }

    /// The number when it is a whole one that fits, zero or more.
    pub fn whole(&self) -> Option<u64> {
        let zeros = usize::try_from(self.exponent).ok().filter(|_| !self.negative)?;
        (zeros < usize::from(u8::MAX)).then(|| format!("{}{}", self.digits, "0".repeat(zeros)))?.parse().ok()
    }

    /// The power of ten just above the first digit: decides the order of two numbers of one sign.
    fn magnitude(&self) -> i64 {
        self.digits.len() as i64 + self.exponent
    }
}

impl Ord for Decimal {
    fn cmp(&self, other: &Self) -> Ordering {
        let zero = |number: &Self| number.digits == "0";
        let sign = |number: &Self| if zero(number) { 0 } else { 1 - 2 * i32::from(number.negative) };
        let absolute = || self.magnitude().cmp(&other.magnitude()).then_with(|| self.digits.cmp(&other.digits));
        sign(self).cmp(&sign(other)).then_with(|| match sign(self) {
            0 => Ordering::Equal,
            1 => absolute(),
            _ => absolute().reverse(),
        })
    }
}

impl PartialOrd for Decimal {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Debug for Decimal {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}{}e{}", if self.negative { "-" } else { "" }, self.digits, self.exponent)
    }
}

impl Plain {
    /// What an item of the SDK must look like. Sets come out sorted: numbers by value, the others by their text.
    pub fn of_item(item: &Item) -> Result<Self> {
        item.iter()
            .map(|(name, value)| Ok((name.clone(), Self::of_value(value)?)))
            .collect::<Result<_>>()
            .map(Self::Map)
    }

    /// What one value must look like.
    pub fn of_value(value: &AttributeValue) -> Result<Self> {
        let base64 = |bytes: &[u8]| Self::Text(data_encoding::BASE64.encode(bytes));
        Ok(match value {
            AttributeValue::S(text) => Self::Text(text.clone()),
            AttributeValue::N(text) => Self::Number(Decimal::parse(text)?),
            AttributeValue::B(bytes) => base64(bytes.as_ref()),
            AttributeValue::Bool(value) => Self::Bool(*value),
            AttributeValue::Null(_) => Self::Null,
            AttributeValue::L(values) => Self::List(values.iter().map(Self::of_value).collect::<Result<_>>()?),
            AttributeValue::M(map) => Self::of_item(&map.clone().into_iter().collect())?,
            AttributeValue::Ss(texts) => Self::sorted(texts.iter().cloned().map(Self::Text).collect()),
            AttributeValue::Bs(members) => Self::sorted(members.iter().map(|bytes| base64(bytes.as_ref())).collect()),
            AttributeValue::Ns(texts) => {
                let numbers = texts.iter().map(|text| Decimal::parse(text).map(Self::Number));
                Self::sorted(numbers.collect::<Result<_>>()?)
            }
            other => bail!("the tests know no value like {other:?}"),
        })
    }

    fn sorted(mut members: Vec<Self>) -> Self {
        members.sort();
        Self::List(members)
    }

    /// Reads JSON text; a name that occurs twice in an object is an error.
    pub fn parse(json: &str) -> Result<Self> {
        let mut rest = json;
        let value = parse_value(&mut rest).with_context(|| format!("not plain JSON: {json}"))?;
        ensure!(rest.trim_start().is_empty(), "something follows the JSON: {json}");
        Ok(value)
    }

    /// The member of an object.
    pub fn get(&self, name: &str) -> Option<&Self> {
        match self {
            Self::Map(map) => map.get(name),
            _ => None,
        }
    }

    /// The text of a string.
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }
}

fn take(rest: &mut &str, token: &str) -> bool {
    *rest = rest.trim_start();
    rest.strip_prefix(token).inspect(|after| *rest = after).is_some()
}

fn parse_value(rest: &mut &str) -> Result<Plain> {
    for (token, value) in [("null", Plain::Null), ("true", Plain::Bool(true)), ("false", Plain::Bool(false))] {
        if take(rest, token) {
            return Ok(value);
        }
    }
    if rest.starts_with('"') {
        return parse_text(rest).map(Plain::Text);
    }
    if take(rest, "[") {
        let mut members = Vec::new();
        while !take(rest, "]") {
            ensure!(members.is_empty() || take(rest, ","), "no comma at {rest:.40}");
            members.push(parse_value(rest)?);
        }
        return Ok(Plain::List(members));
    }
    if take(rest, "{") {
        let mut members = BTreeMap::new();
        while !take(rest, "}") {
            ensure!(members.is_empty() || take(rest, ","), "no comma at {rest:.40}");
            *rest = rest.trim_start();
            let name = parse_text(rest)?;
            ensure!(take(rest, ":"), "no colon after {name:?}");
            ensure!(members.insert(name.clone(), parse_value(rest)?).is_none(), "{name:?} stands there twice");
        }
        return Ok(Plain::Map(members));
    }
    let end = rest.find(|c: char| !matches!(c, '0'..='9' | '+' | '-' | '.' | 'e' | 'E')).unwrap_or(rest.len());
    let (number, after) = rest.split_at(end);
    *rest = after;
    Decimal::parse(number).map(Plain::Number)
}

fn parse_text(rest: &mut &str) -> Result<String> {
    let mut stream = serde_json::Deserializer::from_str(rest).into_iter::<String>();
    let text = stream.next().context("no string")?.context("no string")?;
    let end = stream.byte_offset();
    *rest = &rest[end..];
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_compared_as_decimals() -> Result<()> {
        let same = [("1", "1.000"), ("0", "-0.0"), ("1E-130", "0.1e-129"), ("1200", "12e2"), ("-5", "-5.0E+0")];
        for (left, right) in same {
            assert_eq!(Decimal::parse(left)?, Decimal::parse(right)?);
        }
        let digits = "12345678901234567890123456789012345678";
        assert_ne!(Decimal::parse(digits)?, Decimal::parse("12345678901234567890123456789012345679")?);
        let wholes = [("120", Some(120)), ("0", Some(0)), ("1.5", None), ("-1", None), ("1e125", None)];
        for (text, whole) in wholes {
            assert_eq!(Decimal::parse(text)?.whole(), whole, "{text}");
        }
        let rising = ["-1e3", "-12", "-1.5", "0", "1e-130", "0.2", "1", "9", "10", "1e125"];
        let numbers = rising.iter().map(|text| Decimal::parse(text)).collect::<Result<Vec<_>>>()?;
        assert!(numbers.is_sorted(), "{numbers:?}");
        for wrong in ["", "-", "1.2.3", "NaN", "0x1", "1e", ".5"] {
            assert!(Decimal::parse(wrong).is_err(), "{wrong:?}");
        }
        Ok(())
    }

    #[test]
    fn json_is_read_exactly() -> Result<()> {
        let value = Plain::parse(r#" {"a.b\"":[1.50, {}, [], "\u00e9\u0000", null], "": true} "#)?;
        let list = value.get("a.b\"").context("the list")?;
        let expected = [
            Plain::Number(Decimal::parse("1.5")?),
            Plain::Map(BTreeMap::new()),
            Plain::List(Vec::new()),
            Plain::Text("é\0".to_owned()),
            Plain::Null,
        ];
        assert_eq!(list, &Plain::List(expected.to_vec()));
        assert_eq!(value.get(""), Some(&Plain::Bool(true)));
        for wrong in [r#"{"a":1,"a":1}"#, "[1 2]", "{", "1 1", "\"x", r#"{"a" 1}"#, "nul"] {
            assert!(Plain::parse(wrong).is_err(), "{wrong}");
        }
        Ok(())
    }
}
