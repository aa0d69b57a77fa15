//! An item: a slice of the page it came in, checked once and never turned into a tree.

use std::borrow::Cow;

use bytestring::ByteString;

use crate::cursor::{JsonCursor, Malformed};
use crate::descent::Checker;
use crate::lenient::value_extent;

/// DynamoDB's row, or a part of one (the key). Opaque: encoders and transforms read it through methods.
///
/// Inside it is always compact typed JSON that was checked when the item was made, usually a slice that shares the
/// bytes of its page. Whoever changes an item writes new typed JSON (`docs/decisions/20261123-item-is-always-bytes.md`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item(ByteString);

impl Item {
    /// Takes compact typed JSON, for example `{"Id":{"S":"7"}}`, and checks all of it.
    pub fn parse(json: ByteString) -> Result<Self, Malformed> {
        let mut cursor = JsonCursor::new(&json);
        cursor.visit_item(&mut Checker)?;
        if cursor.peek().is_some() {
            return cursor.expected("the end of the item");
        }
        Ok(Self(json))
    }

    /// An item without attributes.
    pub(crate) fn empty() -> Self {
        Self(ByteString::from_static("{}"))
    }

    pub(crate) fn of_checked(json: ByteString) -> Self {
        Self(json)
    }

    /// The item as compact typed JSON: lossless, as DynamoDB tells it.
    pub fn typed_json(&self) -> &str {
        &self.0
    }

    /// Whether the bytes of this item are among those of the other one, so that it holds no memory of its own beside it.
    pub fn shares(&self, other: &Self) -> bool {
        let addresses = |item: &Self| {
            let bytes = item.0.as_bytes().as_ptr_range();
            (bytes.start.addr(), bytes.end.addr())
        };
        let ((start, end), (other_start, other_end)) = (addresses(self), addresses(other));
        other_start <= start && end <= other_end
    }

    /// The attributes of the top level, in the order in which they came.
    pub fn attributes(&self) -> Attributes<'_> {
        Attributes(&self.0)
    }
}

/// A JSON string body, still escaped.
#[derive(Clone, Copy, Debug)]
pub struct Text<'a>(pub(crate) &'a str);

impl<'a> Text<'a> {
    /// As it stands between the quotes.
    pub fn escaped(self) -> &'a str {
        self.0
    }

    /// Whether this is the text that is meant.
    pub fn means(self, text: &str) -> bool {
        if self.0.contains('\\') { self.unescaped() == text } else { self.0 == text }
    }

    /// The text that is meant. Borrowed when nothing was escaped.
    pub fn unescaped(self) -> Cow<'a, str> {
        if !self.0.contains('\\') {
            return Cow::Borrowed(self.0);
        }
        // The body was checked when the item was made, so the parser has nothing to refuse.
        Cow::Owned(serde_json::from_str(&format!("\"{}\"", self.0)).unwrap_or_else(|_| self.0.to_owned()))
    }
}

/// A name with its value.
#[derive(Clone, Copy, Debug)]
pub struct Attribute<'a> {
    /// The attribute's name.
    pub name: Text<'a>,
    value: &'a str,
}

impl<'a> Attribute<'a> {
    /// The value as typed JSON, for example `{"S":"7"}`.
    pub fn typed_json(&self) -> &'a str {
        self.value
    }

    /// The value by kind.
    pub fn value(&self) -> Value<'a> {
        let mut cursor = JsonCursor::new(self.value);
        let body = if cursor.take("{\"S\":") {
            cursor.string().map(|body| Value::S(Text(body)))
        } else if cursor.take("{\"N\":") {
            cursor.string().map(Value::N)
        } else if cursor.take("{\"B\":") {
            cursor.string().map(Value::B)
        } else if cursor.take("{\"M\":") {
            Ok(Value::M(Attributes(cursor.rest())))
        } else {
            Ok(Value::Other)
        };
        body.unwrap_or(Value::Other)
    }
}

/// The kinds of value that a key or a path can meet.
#[derive(Debug)]
pub enum Value<'a> {
    /// A string.
    S(Text<'a>),
    /// A number, as decimal text.
    N(&'a str),
    /// Binary, as base64.
    B(&'a str),
    /// A map.
    M(Attributes<'a>),
    /// Any other type.
    Other,
}

/// Walks the attributes of a map. The text was checked when its item was made, so the walk looks for ends alone: nothing
/// in it can fail, and no nesting that was accepted is too deep for it.
#[derive(Debug)]
pub struct Attributes<'a>(&'a str);

impl<'a> Iterator for Attributes<'a> {
    type Item = Attribute<'a>;

    fn next(&mut self) -> Option<Attribute<'a>> {
        let inside = self.0.strip_prefix(['{', ',']).filter(|inside| !inside.starts_with('}'))?;
        let (quoted, behind) = split_value(inside);
        let (value, behind) = split_value(behind.strip_prefix(':').unwrap_or(behind));
        self.0 = behind;
        Some(Attribute { name: Text(quoted.get(1..quoted.len().saturating_sub(1)).unwrap_or_default()), value })
    }
}

fn split_value(text: &str) -> (&str, &str) {
    text.split_at(value_extent(text).map_or(text.len(), str::len))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(json: &str) -> Result<Item, Malformed> {
        Item::parse(ByteString::from(json))
    }

    #[test]
    fn every_type_is_taken_as_it_is() {
        let json = r#"{"s":{"S":"a\"\\\u0000\ud83d\ude00é"},"n":{"N":"-1.5E+10"},"b":{"B":"AAE="},"t":{"BOOL":true},"x":{"NULL":true},"m":{"M":{"l":{"L":[{"S":""},{"M":{}},{"L":[]}]}}},"ss":{"SS":["b","a"]},"ns":{"NS":["2","10"]},"bs":{"BS":["AA==",""]}}"#;
        assert_eq!(parse(json).expect("valid").typed_json(), json);
        assert_eq!(parse("{}").expect("valid").attributes().count(), 0);
    }

    #[test]
    fn what_is_not_typed_json_is_refused_with_its_place() {
        for (json, at) in [
            ("", 0),
            ("{", 1),
            (r#"{"a":1}"#, 5),
            (r#"{"a":{"X":"1"}}"#, 7),
            (r#"{"a":{"N":"1x"}}"#, 11),
            (r#"{"a":{"N":""}}"#, 11),
            (r#"{"a":{"S":"\ud800"}}"#, 11),
            (r#"{"a":{"S":"\q"}}"#, 11),
            (r#"{"a":{"B":"A"}}"#, 11),
            (r#"{"a":{"S":"x"}"#, 14),
            (r#"{"a":{"S":"x"}} "#, 15),
            (r#"{"a": {"S":"x"}}"#, 5),
            (r#"{"a":{"S":"x","N":"1"}}"#, 13),
        ] {
            assert_eq!(parse(json).map_err(|fault| fault.at), Err(at), "{json}");
        }
        let deep = format!("{}{}{}", r#"{"a":{"M":"#.repeat(70), "{}", "}}".repeat(70));
        assert!(parse(&deep).is_err());
    }

    #[test]
    fn the_deepest_item_that_is_accepted_is_walked_to_its_end() {
        let maps = |wraps: usize| format!("{}{}{}", r#"{"M":{"m":"#.repeat(wraps), r#"{"S":""}"#, "}}".repeat(wraps));
        let lists = |wraps: usize| format!("{}{}{}", r#"{"L":["#.repeat(wraps), r#"{"S":""}"#, "]}".repeat(wraps));
        let both =
            |value: &String| format!(r#"{{"deep":{value},"behind":{{"M":{{"inner":{value},"last":{value}}}}}}}"#);
        for values in [(0..80).map(maps).collect::<Vec<_>>(), (0..80).map(lists).collect()] {
            let accepted: Vec<_> = values.iter().filter_map(|value| parse(&both(value)).ok()).collect();
            assert!(accepted.len() > 60, "{}", accepted.len());
            for item in accepted {
                let attributes: Vec<_> = item.attributes().collect();
                assert_eq!(attributes.len(), 2, "{}", item.typed_json());
                let Value::M(inside) = attributes[1].value() else { panic!("a map") };
                assert_eq!(inside.count(), 2);
            }
        }
    }

    #[test]
    fn attributes_are_found_by_the_name_that_is_meant() {
        let item = parse(r#"{"a\u002eb":{"S":"x"},"m":{"M":{"n":{"N":"7"}}},"l":{"L":[{"S":"}"}]}}"#).expect("valid");
        let get =
            |name| item.attributes().find(|attribute| attribute.name.means(name)).map(|attribute| attribute.value());
        assert!(matches!(get("a.b"), Some(Value::S(text)) if text.unescaped() == "x"));
        assert!(matches!(get("l"), Some(Value::Other)));
        // What stands escaped, a name inside of another value.
        assert!(get(r"a\u002eb").is_none() && get("n").is_none());
        let Some(Value::M(mut inside)) = get("m") else { panic!("m is a map") };
        assert_eq!(inside.next().map(|attribute| attribute.typed_json()), Some(r#"{"N":"7"}"#));
        assert!(inside.next().is_none());
    }
}
