//! Tables of properties that are handed on to librdkafka and to brokers.

use std::collections::BTreeMap;

use toml::de::{DeTable, DeValue};

use crate::configuration::interpolation::Resolved;
use crate::configuration::report::{Place, Report};
use crate::configuration::section::{Entry, wrong_type};

/// Longest name of a property, in characters. librdkafka's and Kafka's own have up to 60.
const NAME_CHARACTERS_MAX: usize = 80;

/// What stands for one property.
pub struct Property {
    /// The value as text. May be a secret: never print it.
    pub value: Resolved,
    /// Where the name stands.
    pub place: Place,
}

/// Reads a table of properties by name. `"a.b" = 1` and `a.b = 1`, which in TOML is a table within a table, mean the same.
pub fn read(entry: Option<Entry<'_>>, report: &mut Report<'_>) -> BTreeMap<String, Property> {
    let mut properties = BTreeMap::new();
    match entry {
        Some(Entry { value: DeValue::Table(table), place }) => {
            collect(table, &Inside { path: &place.path, prefix: "" }, &mut properties, report);
        }
        Some(entry) => wrong_type(&entry, "a table of properties", None, report),
        None => {}
    }
    properties
}

/// Where a table is.
struct Inside<'a> {
    /// Path of the outermost table.
    path: &'a str,
    /// Begin of the names in this one: empty, or names with a dot after each.
    prefix: &'a str,
}

/// The depth of the recursion is bounded by that of the TOML parser.
fn collect(
    table: &DeTable<'_>,
    inside: &Inside<'_>,
    properties: &mut BTreeMap<String, Property>,
    report: &mut Report<'_>,
) {
    for (key, value) in table {
        let name = format!("{}{}", inside.prefix, key.get_ref());
        let fine = (1..=NAME_CHARACTERS_MAX).contains(&name.len())
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'));
        // What is no name is not shown: it might be a secret gone astray.
        let path = format!("{}.{}", inside.path, if fine { &name } else { "?" });
        let place = Place { path, span: key.span() };
        if !fine {
            let message = "not the name of a property: letters, digits, `.`, `_` and `-`";
            report.fault(&place, "config.bad_value", message, None);
            continue;
        }
        if let DeValue::Table(table) = value.get_ref() {
            let prefix = format!("{name}.");
            collect(table, &Inside { prefix: &prefix, ..*inside }, properties, report);
            continue;
        }
        let entry = Entry { value: value.get_ref(), place: Place { span: value.span(), ..place.clone() } };
        let Some(value) = as_text(&entry, report) else { continue };
        if properties.insert(name, Property { value, place: place.clone() }).is_some() {
            let message = "the property is there already, written in the other way";
            report.fault(&place, "config.conflict", message, Some("write it once".into()));
        }
    }
}

fn as_text(entry: &Entry<'_>, report: &mut Report<'_>) -> Option<Resolved> {
    let plain = |text: String| Resolved { shape: text.clone(), text, ..Resolved::default() };
    match entry.value {
        DeValue::Boolean(value) => Some(plain(value.to_string())),
        DeValue::Integer(number) => {
            let value = i64::from_str_radix(number.as_str(), number.radix()).ok();
            if value.is_none() {
                report.fault(&entry.place, "config.bad_value", "the number is too large", None);
            }
            value.map(|value| plain(value.to_string()))
        }
        DeValue::String(_) => {
            let text = entry.text(report)?;
            if text.value.text.contains('\0') {
                report.fault(&entry.place, "config.bad_value", "a property cannot hold U+0000", None);
                return None;
            }
            Some(text.value)
        }
        _ => {
            wrong_type(entry, "a string, an integer or a boolean", None, report);
            None
        }
    }
}
