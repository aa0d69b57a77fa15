//! Plain JSON: an item as users read it. Numbers keep their exact text, binary is base64, sets become sorted arrays.

use crate::cursor::JsonCursor;
use crate::descent::{Descent, Visitor, inside};
use crate::item::{Item, Value};
use crate::key::{Key, KeyFault, KeyKind, KeySchema, KeyValue};
use crate::number::Number;
use crate::scan::plain_run;

/// Appends the item as a plain JSON object.
///
/// A number stays the decimal text that DynamoDB gave, written as a JSON number, so no digit is lost. Sets are sorted
/// (numbers by value, strings and base64 by their text), because DynamoDB's order of a set means nothing.
pub fn push_plain_item(item: &Item, out: &mut String) {
    // Plain JSON is never longer than typed JSON.
    out.reserve(item.typed_json().len());
    let mut writer = Writer { out };
    // An `Item` was checked when it was made, so the walk cannot fail.
    let walked = JsonCursor::new(item.typed_json()).visit_item(&mut writer);
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
        push_key_value(value, out);
    }
    out.push('}');
}

/// Appends an item's key as [`push_plain_key`] does. A string without escapes is copied as it stands: most keys are such,
/// and every event's key is written. After a fault `out` holds a part of the key.
pub(crate) fn push_key_of(item: &Item, schema: &KeySchema, out: &mut String) -> Result<(), KeyFault> {
    let mut separator = '{';
    for (attribute, value) in schema.attributes().zip(schema.find(item)) {
        out.push(separator);
        separator = ',';
        push_quoted(&attribute.name, out);
        out.push(':');
        match (attribute.kind, value) {
            (KeyKind::S, Some(Value::S(text))) if !text.escaped().contains('\\') => {
                ["\"", text.escaped(), "\""].into_iter().for_each(|piece| out.push_str(piece));
            }
            (_, value) => push_key_value(&attribute.read(value)?, out),
        }
    }
    out.push('}');
    Ok(())
}

fn push_key_value(value: &KeyValue, out: &mut String) {
    match value {
        KeyValue::S(text) => push_quoted(text, out),
        KeyValue::N(number) => out.push_str(&number.to_string()),
        KeyValue::B(bytes) => push_quoted(&data_encoding::BASE64.encode(bytes), out),
    }
}

/// Appends the text as a JSON string with its quotes. Only what JSON forbids to stand bare is escaped (RFC 8259,
/// section 7), and always in the same way.
pub fn push_quoted(text: &str, out: &mut String) {
    if plain_run(text.as_bytes()) == text.len() {
        // Nearly every name, id and number: nothing to escape.
        return ["\"", text, "\""].into_iter().for_each(|piece| out.push_str(piece));
    }
    out.push_str(&serde_json::Value::from(text).to_string());
}

struct Writer<'o> {
    out: &'o mut String,
}

impl<'a> Visitor<'a> for Writer<'_> {
    const CHECKED_BEFORE: bool = true;

    fn plain(&mut self, text: &'a str) {
        self.out.push_str(text);
    }

    fn set(&mut self, numeric: bool, members: &'a str) {
        if !numeric && set_members(members).is_sorted() {
            // The usual case: the members stand in the typed text as they are wanted.
            return ["[", members, "]"].into_iter().for_each(|piece| self.out.push_str(piece));
        }
        let mut texts: Vec<_> = set_members(members).collect();
        let quote = if numeric { "" } else { "\"" };
        if numeric {
            texts.sort_by_cached_key(|text| Number::parse(text).ok());
        } else {
            texts.sort_unstable();
        }
        let mut separator = "[";
        for text in texts {
            for piece in [separator, quote, text, quote] {
                self.out.push_str(piece);
            }
            separator = ",";
        }
        self.out.push_str(if separator == "[" { "[]" } else { "]" });
    }
}

fn set_members(members: &str) -> impl Iterator<Item = &str> {
    let (mut rest, mut descent) = (members, Descent::default());
    std::iter::from_fn(move || {
        let behind = descent.string(rest)?;
        let text = inside(rest, behind);
        rest = behind.strip_prefix(',').unwrap_or(behind);
        Some(text)
    })
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

    #[test]
    fn the_key_of_an_item_is_written_as_the_key_that_was_read() {
        let kinds = [
            (KeyKind::S, r#"{"S":"plain é"}"#),
            (KeyKind::S, r#"{"S":""}"#),
            (KeyKind::S, r#"{"S":"\"\\\u0041\/\u0000\n\ud83d\ude00"}"#),
            (KeyKind::N, r#"{"N":"1.50"}"#),
            (KeyKind::B, r#"{"B":"AP8="}"#),
        ];
        for (partition_kind, partition) in kinds {
            for (sort_kind, sort) in kinds {
                let attribute = |name: &str, kind| KeyAttribute { name: name.into(), kind };
                let (partition_key, sort_key) = (attribute("p\"", partition_kind), attribute("s", sort_kind));
                let schema = KeySchema { partition: partition_key, sort: Some(sort_key) };
                let item = Item::parse(format!(r#"{{"s":{sort},"p\"":{partition}}}"#).into()).expect("valid");
                let (mut written, mut expected) = (String::new(), String::new());
                push_key_of(&item, &schema, &mut written).expect("a key");
                push_plain_key(&schema.read(&item).expect("a key"), &schema, &mut expected);
                assert_eq!(written, expected);
            }
        }
        let schema = KeySchema { partition: KeyAttribute { name: "p".into(), kind: KeyKind::S }, sort: None };
        let fault = |json: &str| {
            let item = Item::parse(json.into()).expect("valid");
            (push_key_of(&item, &schema, &mut String::new()), schema.read(&item).map(drop))
        };
        for json in [r#"{"p":{"N":"1"}}"#, "{}"] {
            let (written, read) = fault(json);
            assert_eq!(written, read, "{json}");
            assert!(written.is_err(), "{json}");
        }
    }
}
