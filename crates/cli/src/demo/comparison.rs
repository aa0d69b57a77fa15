//! Compares the table with its mirror item by item. It shares no code with the engine: what a row must hold is worked out
//! here a second time, from the typed JSON that the server answers.

use std::collections::BTreeMap;

use serde_json::Value;
use serde_json::value::RawValue;

use crate::image_diff::bounded;
use crate::output::printable;

/// Most differences that are kept; all of them are counted.
const DIFFERENCES_SHOWN_MAX: usize = 5;

/// Longest value inside a difference, in characters.
const VALUE_CHARACTERS_MAX: usize = 80;

/// What the comparison found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Comparison {
    /// Items in the table.
    pub items: usize,
    /// Rows in the mirror.
    pub rows: usize,
    /// Items that are missing, left over or not equal.
    pub differing: usize,
    /// The first differences in words.
    pub differences: Vec<String>,
}

impl Comparison {
    /// Every item has exactly its row, and every row its item.
    pub fn equal(&self) -> bool {
        self.differing == 0 && self.items == self.rows
    }

    fn differs(&mut self, words: String) {
        self.differing += 1;
        if self.differences.len() < DIFFERENCES_SHOWN_MAX {
            self.differences.push(words);
        }
    }
}

/// Compares items in typed JSON with documents in plain JSON. `key` names the attributes that tell items apart.
pub fn compare(items: &[Value], documents: &[String], key: &[&str]) -> Comparison {
    let mut comparison = Comparison { items: items.len(), rows: documents.len(), ..Comparison::default() };
    let mut rows = BTreeMap::new();
    for document in documents {
        let row = Plain::parse(document);
        let identity: Vec<Plain> = key.iter().map(|name| row.member(name)).collect();
        if rows.insert(identity, row).is_some() {
            comparison.differs(format!("two rows for one key: {}", short(document)));
        }
    }
    for item in items {
        let identity: Vec<Plain> = key.iter().map(|name| Plain::of_typed(&item[*name])).collect();
        let told = || key.iter().map(|name| format!("{name} {}", short(&item[*name].to_string()))).collect::<Vec<_>>();
        let expected = Plain::of_attributes(item);
        match rows.remove(&identity) {
            None => comparison.differs(format!("missing in the mirror: {}", told().join(", "))),
            Some(row) => {
                if let Some(difference) = expected.difference(&row, "") {
                    comparison.differs(format!("{}: {difference}", told().join(", ")));
                }
            }
        }
    }
    for row in rows.into_values() {
        comparison.differs(format!("in the mirror only: {}", short(&format!("{row:?}"))));
    }
    comparison
}

fn short(text: &str) -> String {
    bounded(&printable(text), VALUE_CHARACTERS_MAX)
}

/// A value of plain JSON whose numbers are the text they were written in: no digit is lost by comparing.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Plain {
    Null,
    Bool(bool),
    Number(String),
    Text(String),
    List(Vec<Plain>),
    /// The members of a set, sorted. A mirror has an array in its place, in whatever order.
    Set(Vec<Plain>),
    Map(BTreeMap<String, Plain>),
    /// What no item can hold: never equal to anything in a table.
    Unreadable(String),
}

impl Plain {
    fn parse(text: &str) -> Self {
        let text = text.trim();
        let read = match text.as_bytes().first() {
            Some(b'{') => serde_json::from_str::<BTreeMap<String, &RawValue>>(text).ok().map(|members| {
                Self::Map(members.into_iter().map(|(name, value)| (name, Self::parse(value.get()))).collect())
            }),
            Some(b'[') => serde_json::from_str::<Vec<&RawValue>>(text)
                .ok()
                .map(|members| Self::List(members.into_iter().map(|value| Self::parse(value.get())).collect())),
            Some(b'"') => serde_json::from_str(text).ok().map(Self::Text),
            Some(b't' | b'f') => serde_json::from_str(text).ok().map(Self::Bool),
            Some(b'n') => serde_json::from_str::<()>(text).ok().map(|()| Self::Null),
            Some(b'-' | b'0'..=b'9') => Some(Self::Number(text.to_owned())),
            _ => None,
        };
        read.unwrap_or_else(|| Self::Unreadable(text.to_owned()))
    }

    /// A value in DynamoDB's typed JSON: an object with one member, whose name is the type.
    fn of_typed(typed: &Value) -> Self {
        let unreadable = || Self::Unreadable(typed.to_string());
        let Some((tag, value)) = typed.as_object().and_then(|object| object.iter().next()) else {
            return unreadable();
        };
        let text = |value: &Value| value.as_str().map(ToOwned::to_owned);
        let members = |make: fn(String) -> Self| {
            let texts = value.as_array()?.iter().map(|member| text(member).map(make));
            let mut members = texts.collect::<Option<Vec<_>>>()?;
            members.sort();
            Some(Self::Set(members))
        };
        let read = match tag.as_str() {
            "S" | "B" => text(value).map(Self::Text),
            "N" => text(value).map(Self::Number),
            "BOOL" => value.as_bool().map(Self::Bool),
            "NULL" => Some(Self::Null),
            "L" => value.as_array().map(|list| Self::List(list.iter().map(Self::of_typed).collect())),
            "M" => Some(Self::of_attributes(value)),
            "SS" | "BS" => members(Self::Text),
            "NS" => members(Self::Number),
            _ => None,
        };
        read.unwrap_or_else(unreadable)
    }

    fn of_attributes(attributes: &Value) -> Self {
        match attributes.as_object() {
            Some(map) => Self::Map(map.iter().map(|(name, value)| (name.clone(), Self::of_typed(value))).collect()),
            None => Self::Unreadable(attributes.to_string()),
        }
    }

    fn member(&self, name: &str) -> Self {
        match self {
            Self::Map(members) => members.get(name).cloned().unwrap_or(Self::Null),
            _ => Self::Null,
        }
    }

    /// Where and how `row` is not what this value of the table asks for.
    fn difference(&self, row: &Self, path: &str) -> Option<String> {
        match (self, row) {
            (Self::Map(expected), Self::Map(found)) => {
                let names: std::collections::BTreeSet<&String> = expected.keys().chain(found.keys()).collect();
                names.into_iter().find_map(|name| {
                    let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                    match (expected.get(name), found.get(name)) {
                        (Some(expected), Some(found)) => expected.difference(found, &path),
                        (Some(_), None) => Some(format!("{path} is missing in the mirror")),
                        (None, _) => Some(format!("{path} is in the mirror only")),
                    }
                })
            }
            (Self::List(expected), Self::List(found)) if expected.len() == found.len() => expected
                .iter()
                .zip(found)
                .enumerate()
                .find_map(|(index, (expected, found))| expected.difference(found, &format!("{path}[{index}]"))),
            (Self::Set(expected), Self::List(found)) if expected == &sorted(found) => None,
            (Self::Unreadable(_), _) | (_, Self::Unreadable(_)) => Some(format!("{path} cannot be read")),
            _ if self == row => None,
            _ => Some(format!("{path} is {} and not {}", short(&format!("{row:?}")), short(&format!("{self:?}")))),
        }
    }
}

fn sorted(members: &[Plain]) -> Vec<Plain> {
    let mut members = members.to_vec();
    members.sort();
    members
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn table() -> Vec<Value> {
        vec![
            json!({"customer": {"S": "ada"}, "order_no": {"N": "1"}, "total": {"N": "12345678901234567890123456789012345.67"},
                   "tags": {"SS": ["b", "a"]}, "sizes": {"NS": ["10", "9"]}, "lines": {"L": [{"M": {"sku": {"S": "A"}}}]},
                   "none": {"NULL": true}, "gift": {"BOOL": false}}),
            json!({"customer": {"S": "ada"}, "order_no": {"N": "2"}, "lines": {"L": []}}),
        ]
    }

    fn mirror() -> Vec<String> {
        vec![
            r#"{"order_no":2,"customer":"ada","lines":[]}"#.into(),
            r#"{"customer":"ada","order_no":1,"total":12345678901234567890123456789012345.67,"tags":["a","b"],"sizes":[9,10],"lines":[{"sku":"A"}],"none":null,"gift":false}"#.into(),
        ]
    }

    fn compared(items: &[Value], documents: &[String]) -> Comparison {
        compare(items, documents, &["customer", "order_no"])
    }

    #[test]
    fn equal_is_equal_whatever_the_order() {
        let comparison = compared(&table(), &mirror());
        assert!(comparison.equal(), "{comparison:?}");
        assert_eq!((comparison.items, comparison.rows), (2, 2));
        assert!(compared(&[], &[]).equal());
    }

    #[test]
    fn every_planted_difference_is_found() {
        for (from, to, told) in [
            ("345.67", "345.68", "total"),
            ("345.67", "345.670", "total"),
            ("\"sku\":\"A\"", "\"sku\":\"B\"", "lines[0].sku"),
            ("\"none\":null,", "", "none is missing"),
            ("\"gift\":false", "\"gift\":\"false\"", "gift"),
            ("\"gift\":false", "\"gift\":false,\"more\":1", "more is in the mirror only"),
            ("[9,10]", "[9,9]", "sizes"),
            ("[\"a\",\"b\"]", "[\"a\"]", "tags"),
            ("\"lines\":[]", "\"lines\":[null]", "lines"),
            ("\"order_no\":1", "\"order_no\":3", "missing in the mirror"),
            ("\"gift\":false}", "\"gift\":false", "missing in the mirror"),
        ] {
            let documents: Vec<String> = mirror().iter().map(|document| document.replace(from, to)).collect();
            let comparison = compared(&table(), &documents);
            assert!(!comparison.equal(), "{from} as {to}");
            assert!(comparison.differences[0].contains(told), "{from} as {to}: {:?}", comparison.differences);
        }
    }

    #[test]
    fn missing_rows_and_rows_too_many_are_found_and_told_in_bounds() {
        let missing = compared(&table(), &mirror()[..1]);
        assert_eq!((missing.equal(), missing.differing, missing.rows), (false, 1, 1));
        let left_over = compared(&table()[..1], &mirror());
        assert!(!left_over.equal() && left_over.differences[0].contains("mirror only"), "{left_over:?}");
        let twice = [mirror(), mirror()].concat();
        assert_eq!(compared(&table(), &twice).differing, 2);
        let many: Vec<Value> =
            (0..50).map(|n| json!({"customer": {"S": "x"}, "order_no": {"N": n.to_string()}})).collect();
        let lost = compared(&many, &[]);
        assert_eq!((lost.differing, lost.differences.len()), (50, DIFFERENCES_SHOWN_MAX));
    }
}
