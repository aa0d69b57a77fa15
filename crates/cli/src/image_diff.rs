//! What a change did to an item, attribute by attribute, in words for a terminal. Pure; used by `demo` and `tail`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use tailwater_model::{
    Attribute, Attributes, Change, ChangeEvent, Item, KeyAttribute, KeySchema, Value, push_plain_item,
};

use crate::output::printable;

/// Longest value that is shown, in characters; the rest is left out and marked with `…`.
const VALUE_CHARACTERS_MAX: usize = 60;

/// One attribute of a changed item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttributeDifference {
    /// The attribute's name, with dots where it lies inside maps.
    pub path: String,
    /// What happened to it.
    pub difference: Difference,
}

/// What happened to one attribute. Values are ready to be shown: bounded, and without characters that steer a terminal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Difference {
    /// It was not there before.
    Added(String),
    /// It is not there any more.
    Removed(String),
    /// It has another value.
    Replaced {
        /// The value before.
        old: String,
        /// The value after.
        new: String,
    },
    /// It is there, and nothing was compared: the item came or went as a whole, or the stream's view type carries one
    /// image only.
    Present(String),
}

impl fmt::Display for AttributeDifference {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = &self.path;
        match &self.difference {
            Difference::Added(new) => write!(out, "+{path} {new}"),
            Difference::Removed(old) => write!(out, "-{path} {old}"),
            Difference::Replaced { old, new } => write!(out, "{path} {old} → {new}"),
            Difference::Present(value) => write!(out, "{path} {value}"),
        }
    }
}

/// The attributes that a change touched, ordered by name; those of the key are left out, because they cannot change.
pub fn differences(event: &ChangeEvent) -> Vec<AttributeDifference> {
    let mut found = Vec::new();
    match &event.change {
        Change::Modify { old: Some(old), new: Some(new) } => {
            compare(old.attributes(), new.attributes(), "", &mut found);
        }
        change => {
            let image = change.new_image().or(change.old_image());
            found.extend(by_name(image.map(Item::attributes)).into_iter().map(|(name, attribute)| {
                AttributeDifference { path: printable(&name), difference: Difference::Present(shown(&attribute)) }
            }));
        }
    }
    let key: BTreeSet<String> =
        event.key.attributes().map(|attribute| printable(&attribute.name.unescaped())).collect();
    found.retain(|attribute| !key.contains(&attribute.path));
    found
}

/// The item's key as `value / value`, partition key first.
pub fn key_text(key: &Item, schema: &KeySchema) -> String {
    let values = by_name(Some(key.attributes()));
    let shown = |attribute: &KeyAttribute| values.get(&attribute.name).map_or("?".to_owned(), shown);
    schema.attributes().map(shown).collect::<Vec<_>>().join(" / ")
}

fn by_name<'a>(attributes: Option<Attributes<'a>>) -> BTreeMap<String, Attribute<'a>> {
    attributes.into_iter().flatten().map(|attribute| (attribute.name.unescaped().into_owned(), attribute)).collect()
}

/// Descends into maps that both images have. Its depth is bounded by the nesting that an item may have.
fn compare(old: Attributes<'_>, new: Attributes<'_>, prefix: &str, found: &mut Vec<AttributeDifference>) {
    let mut old = by_name(Some(old));
    for (name, new) in by_name(Some(new)) {
        let path = format!("{prefix}{}", printable(&name));
        let difference = match old.remove(&name) {
            None => Difference::Added(shown(&new)),
            Some(old) => match (old.value(), new.value()) {
                (Value::M(old), Value::M(new)) => {
                    compare(old, new, &format!("{path}."), found);
                    continue;
                }
                _ if meaning(&old) == meaning(&new) => continue,
                _ => replaced(&old, &new),
            },
        };
        found.push(AttributeDifference { path, difference });
    }
    found.extend(old.into_iter().map(|(name, attribute)| AttributeDifference {
        path: format!("{prefix}{}", printable(&name)),
        difference: Difference::Removed(shown(&attribute)),
    }));
}

/// Values that look alike, because only their type or their end differs, are shown with their types.
fn replaced(old: &Attribute<'_>, new: &Attribute<'_>) -> Difference {
    let (before, after) = (shown(old), shown(new));
    if before != after {
        return Difference::Replaced { old: before, new: after };
    }
    let typed = |attribute: &Attribute<'_>| bounded(&printable(attribute.typed_json()), VALUE_CHARACTERS_MAX);
    Difference::Replaced { old: typed(old), new: typed(new) }
}

/// The value without what means nothing: the order of names in maps and of members in sets. Numbers are strings in typed
/// JSON, so no digit is lost.
fn meaning(attribute: &Attribute<'_>) -> serde_json::Value {
    let mut value = serde_json::from_str(attribute.typed_json()).unwrap_or_default();
    sort_sets(&mut value);
    value
}

/// Its depth is bounded by the nesting that an item may have.
fn sort_sets(value: &mut serde_json::Value) {
    match value {
        serde_json::Value::Object(members) => members.values_mut().for_each(sort_sets),
        // Only sets have bare strings as members.
        serde_json::Value::Array(members) if members.iter().all(serde_json::Value::is_string) => {
            members.sort_by(|left, right| left.as_str().cmp(&right.as_str()));
        }
        serde_json::Value::Array(members) => members.iter_mut().for_each(sort_sets),
        _ => {}
    }
}

/// The value as plain JSON, in which sets are sorted: their order means nothing.
fn plain(attribute: &Attribute<'_>) -> String {
    let alone = format!(r#"{{"":{}}}"#, attribute.typed_json());
    let mut text = String::new();
    // A value of a checked item makes a checked item.
    match Item::parse(alone.into()) {
        Ok(item) => push_plain_item(&item, &mut text),
        Err(_) => return attribute.typed_json().to_owned(),
    }
    text.strip_prefix(r#"{"":"#).and_then(|rest| rest.strip_suffix('}')).unwrap_or(&text).to_owned()
}

/// The value for a person: a word without its quotes where that cannot be mistaken, everything else as plain JSON.
fn shown(attribute: &Attribute<'_>) -> String {
    let is_word = |text: &str| {
        !text.is_empty() && !text.contains(['\\', ' ']) && serde_json::from_str::<serde_json::Value>(text).is_err()
    };
    let text = match attribute.value() {
        Value::S(text) if is_word(text.escaped()) => text.unescaped().into_owned(),
        _ => plain(attribute),
    };
    bounded(&printable(&text), VALUE_CHARACTERS_MAX)
}

/// At most `characters_max` characters of the text.
pub fn bounded(text: &str, characters_max: usize) -> String {
    match text.char_indices().nth(characters_max) {
        None => text.to_owned(),
        Some(_) => text.chars().take(characters_max.saturating_sub(1)).chain(['…']).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tailwater_model::{RemoveCause, SequenceNumber, ShardId, SourceInfo};

    fn item(json: &str) -> Item {
        Item::parse(json.into()).expect("valid")
    }

    fn lines(change: Change) -> Vec<String> {
        let source = SourceInfo {
            shard: ShardId::new("s"),
            sequence_number: SequenceNumber::parse("1".into()).expect("digits"),
            event_id: "e".into(),
            created_at_ms: 0,
            size_bytes: 0,
        };
        let event = ChangeEvent { key: item(r#"{"id":{"S":"7"}}"#), change, source };
        differences(&event).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_modification_shows_what_changed_and_nothing_else() {
        let old = item(
            r#"{"id":{"S":"7"},"status":{"S":"NEW"},"tags":{"SS":["b","a"]},"gone":{"N":"1"},"at":{"M":{"city":{"S":"Bonn"},"zip":{"S":"1"}}},"same":{"L":[]}}"#,
        );
        let new = item(
            r#"{"same":{"L":[]},"id":{"S":"7"},"tags":{"SS":["a","b"]},"at":{"M":{"zip":{"S":"1"},"city":{"S":"Bad Ems"}}},"status":{"S":"PAID"},"total":{"N":"59.90"}}"#,
        );
        assert_eq!(
            lines(Change::Modify { old: Some(old), new: Some(new) }),
            [r#"at.city Bonn → "Bad Ems""#, "status NEW → PAID", "+total 59.90", "-gone 1"]
        );
    }

    #[test]
    fn order_that_means_nothing_is_no_difference() {
        let old = Some(item(r#"{"v":{"L":[{"M":{"a":{"N":"1"},"b":{"SS":["x","y"]}}}]}}"#));
        let new = Some(item(r#"{"v":{"L":[{"M":{"b":{"SS":["y","x"]},"a":{"N":"1"}}}]}}"#));
        assert!(lines(Change::Modify { old, new }).is_empty());
        let old = Some(item(r#"{"v":{"L":[{"S":"x"},{"S":"y"}]}}"#));
        let new = Some(item(r#"{"v":{"L":[{"S":"y"},{"S":"x"}]}}"#));
        assert_eq!(lines(Change::Modify { old, new }), [r#"v ["x","y"] → ["y","x"]"#]);
    }

    #[test]
    fn a_type_change_is_a_difference() {
        let old = Some(item(r#"{"v":{"N":"1"},"w":{"M":{}},"s":{"SS":["a"]}}"#));
        let new = Some(item(r#"{"v":{"S":"1"},"w":{"L":[]},"s":{"L":[{"S":"a"}]}}"#));
        assert_eq!(
            lines(Change::Modify { old, new }),
            [r#"s {"SS":["a"]} → {"L":[{"S":"a"}]}"#, r#"v 1 → "1""#, "w {} → []"]
        );
    }

    #[test]
    fn one_image_is_shown_as_it_is() {
        let image = item(r#"{"b":{"N":"1.50"},"id":{"S":"7"},"a":{"M":{"x":{"NULL":true}}}}"#);
        let shown = [r#"a {"x":null}"#, "b 1.50"];
        assert_eq!(lines(Change::Insert { new: Some(image.clone()) }), shown);
        assert_eq!(lines(Change::Modify { old: None, new: Some(image.clone()) }), shown);
        assert_eq!(lines(Change::Remove { old: Some(image), cause: RemoveCause::TimeToLive }), shown);
        assert!(lines(Change::Insert { new: None }).is_empty());
    }

    #[test]
    fn values_cannot_steer_the_terminal_and_are_bounded() {
        let long = "x".repeat(1000);
        let new = item(&format!(r#"{{"a":{{"S":"\u001b[2J"}},"b":{{"S":"{long}"}},"c":{{"S":"\u202eevil\u009b"}}}}"#));
        let lines = lines(Change::Insert { new: Some(new) });
        assert!(!lines.concat().contains(['\u{1b}', '\u{202e}', '\u{9b}']), "{lines:?}");
        assert_eq!(lines[1].chars().count(), "b ".len() + VALUE_CHARACTERS_MAX);
        assert!(lines[1].ends_with('…'));
    }
}
