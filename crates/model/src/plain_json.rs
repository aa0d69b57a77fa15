//! Plain JSON: an item as users read it. Numbers keep their exact text, binary is base64, sets become sorted arrays.

use crate::item::Item;
use crate::key::{Key, KeySchema, KeyValue};
use crate::number::Number;
use crate::typed_json::{JsonCursor, Visitor};

/// Appends the item as a plain JSON object.
///
/// A number stays the decimal text that DynamoDB gave, written as a JSON number, so no digit is lost. Sets are sorted
/// (numbers by value, strings and base64 by their text), because DynamoDB's order of a set means nothing.
pub fn push_plain_item(item: &Item, out: &mut String) {
    let start = out.len();
    let mut writer = Writer { out, start };
    // An `Item` was checked when it was made, so the walk cannot fail.
    let walked = JsonCursor::new(item.typed_json()).walk_item(&mut writer, 0);
    debug_assert!(walked.is_ok(), "{walked:?}");
}

/// Appends the key as a plain JSON object in the order of the key schema, with canonical numbers: equal keys give
/// equal bytes.
pub fn push_plain_key(key: &Key, schema: &KeySchema, out: &mut String) {
    let mut separator = '{';
    for (attribute, value) in schema.attributes().zip(key.values()) {
        out.push(separator);
        separator = ',';
        push_quoted(&attribute.name, out);
        out.push(':');
        match value {
            KeyValue::S(text) => push_quoted(text, out),
            KeyValue::N(number) => out.push_str(&number.to_string()),
            KeyValue::B(bytes) => push_quoted(&data_encoding::BASE64.encode(bytes), out),
        }
    }
    out.push('}');
}

fn push_quoted(text: &str, out: &mut String) {
    out.push_str(&serde_json::Value::from(text).to_string());
}

struct Writer<'o> {
    out: &'o mut String,
    start: usize,
}

impl Writer<'_> {
    /// A comma, unless this is the first member or the value of a name: what was written last tells.
    fn separate(&mut self) {
        if self.out.len() > self.start && !matches!(self.out.as_bytes().last(), Some(b'{' | b'[' | b':')) {
            self.out.push(',');
        }
    }

    fn quoted(&mut self, escaped: &str) {
        self.out.push('"');
        self.out.push_str(escaped);
        self.out.push('"');
    }
}

impl<'a> Visitor<'a> for Writer<'_> {
    fn map_begin(&mut self) {
        self.separate();
        self.out.push('{');
    }

    fn name(&mut self, escaped: &'a str) {
        if !self.out.ends_with('{') {
            self.out.push(',');
        }
        self.quoted(escaped);
        self.out.push(':');
    }

    fn map_end(&mut self) {
        self.out.push('}');
    }

    fn list_begin(&mut self) {
        self.separate();
        self.out.push('[');
    }

    fn list_end(&mut self) {
        self.out.push(']');
    }

    fn string(&mut self, escaped: &'a str) {
        self.separate();
        self.quoted(escaped);
    }

    fn number(&mut self, digits: &'a str) {
        self.separate();
        self.out.push_str(digits);
    }

    fn binary(&mut self, base64: &'a str) {
        self.string(base64);
    }

    fn boolean(&mut self, value: bool) {
        self.separate();
        self.out.push_str(if value { "true" } else { "false" });
    }

    fn null(&mut self) {
        self.separate();
        self.out.push_str("null");
    }

    fn set(&mut self, numeric: bool, members: &'a str) {
        self.list_begin();
        let mut cursor = JsonCursor::new(members);
        let mut texts = Vec::new();
        while let Ok(text) = cursor.string() {
            texts.push(text);
            cursor.take(",");
        }
        if numeric {
            texts.sort_by_cached_key(|text| Number::parse(text).ok());
            texts.iter().for_each(|text| self.number(text));
        } else {
            texts.sort_unstable();
            texts.iter().for_each(|text| self.string(text));
        }
        self.list_end();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::{KeyAttribute, KeyKind};

    fn plain(json: &str) -> String {
        let mut out = String::new();
        push_plain_item(&Item::parse(json.into()).expect("valid"), &mut out);
        out
    }

    #[test]
    fn values_arrive_exact() {
        let typed = r#"{"n":{"N":"12345678901234567890123456789012345678"},"e":{"S":""},"z":{"NULL":true},"b":{"B":"AAE="},"f":{"BOOL":false},"q":{"S":"\"\\\n\u0000{["},"m":{"M":{"x":{"L":[{"N":"1"},{"M":{}},{"L":[]},{"M":{"y":{"S":"["}}},{"S":"a"}]}}}}"#;
        assert_eq!(
            plain(typed),
            r#"{"n":12345678901234567890123456789012345678,"e":"","z":null,"b":"AAE=","f":false,"q":"\"\\\n\u0000{[","m":{"x":[1,{},[],{"y":"["},"a"]}}"#
        );
    }

    #[test]
    fn sets_are_sorted_arrays() {
        assert_eq!(
            plain(r#"{"ss":{"SS":["b","a","B"]},"ns":{"NS":["10","9","-1","1e1"]},"bs":{"BS":["/w==","AA=="]}}"#),
            r#"{"ss":["B","a","b"],"ns":[-1,9,10,1e1],"bs":["/w==","AA=="]}"#
        );
    }

    #[test]
    fn equal_keys_give_equal_bytes() {
        let schema = KeySchema {
            partition: KeyAttribute { name: "Id".into(), kind: KeyKind::N },
            sort: Some(KeyAttribute { name: "Fecha".into(), kind: KeyKind::S }),
        };
        for typed in [r#"{"Id":{"N":"1.0"},"Fecha":{"S":"\u0041"}}"#, r#"{"Fecha":{"S":"A"},"Id":{"N":"1"}}"#] {
            let key = schema.read(&Item::parse(typed.into()).expect("valid")).expect("a key");
            let mut out = String::new();
            push_plain_key(&key, &schema, &mut out);
            assert_eq!(out, r#"{"Id":1,"Fecha":"A"}"#);
        }
    }
}
