//! Primary keys: the schema of a table's key, and the key of an item as comparable values.

use thiserror::Error;

use crate::item::{Item, Value};
use crate::number::Number;

/// The type of a key attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyKind {
    /// String.
    S,
    /// Number.
    N,
    /// Binary.
    B,
}

/// One attribute of a table's primary key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyAttribute {
    /// Its name, at most 255 characters of any kind (DynamoDB, naming rules).
    pub name: String,
    /// Its type.
    pub kind: KeyKind,
}

/// The primary key of a table: a partition key and perhaps a sort key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeySchema {
    /// The partition key.
    pub partition: KeyAttribute,
    /// The sort key.
    pub sort: Option<KeyAttribute>,
}

impl KeySchema {
    /// The key's attributes, partition key first.
    pub fn attributes(&self) -> impl Iterator<Item = &KeyAttribute> {
        std::iter::once(&self.partition).chain(&self.sort)
    }

    /// Reads the key out of an item, whatever the order of its attributes.
    pub fn read(&self, item: &Item) -> Result<Key, KeyFault> {
        let values = self.attributes().zip(self.find(item)).map(|(attribute, value)| attribute.read(value));
        values.collect::<Result<_, _>>().map(Key)
    }

    /// The values of the key's attributes, as far as the item has them, in one walk over it.
    pub(crate) fn find<'i>(&self, item: &'i Item) -> [Option<Value<'i>>; 2] {
        let mut found = [None, None];
        for attribute in item.attributes() {
            let place = self.attributes().position(|of_key| attribute.name.means(&of_key.name));
            if let Some(found) = place.map(|place| &mut found[place]) {
                found.get_or_insert_with(|| attribute.value());
            }
        }
        found
    }
}

/// The primary key of one item. Equal keys are equal values; the order is total and the same everywhere.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(Vec<KeyValue>);

impl Key {
    /// The values in the order of the key schema.
    pub fn values(&self) -> &[KeyValue] {
        &self.0
    }
}

/// One value of a key.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum KeyValue {
    /// A string.
    S(String),
    /// A number.
    N(Number),
    /// Binary.
    B(Vec<u8>),
}

/// An item whose key is not what the table's schema says.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum KeyFault {
    /// The attribute is not there.
    #[error("key attribute {0:?} is missing")]
    Missing(String),
    /// The attribute has another type, or a value that its type does not allow.
    #[error("key attribute {name:?} is not a valid value of type {kind:?}")]
    Type {
        /// The attribute's name.
        name: String,
        /// The type that the schema gives it.
        kind: KeyKind,
    },
}

impl KeyAttribute {
    /// The attribute's value out of what an item has.
    pub(crate) fn read(&self, value: Option<Value<'_>>) -> Result<KeyValue, KeyFault> {
        let value = value.ok_or_else(|| KeyFault::Missing(self.name.clone()))?;
        let read = match (self.kind, value) {
            (KeyKind::S, Value::S(text)) => Some(KeyValue::S(text.unescaped().into_owned())),
            (KeyKind::N, Value::N(text)) => Number::parse(text).ok().map(KeyValue::N),
            (KeyKind::B, Value::B(text)) => data_encoding::BASE64.decode(text.as_bytes()).ok().map(KeyValue::B),
            _ => None,
        };
        read.ok_or_else(|| KeyFault::Type { name: self.name.clone(), kind: self.kind })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_read_by_name_and_type() {
        let schema = KeySchema {
            partition: KeyAttribute { name: "p".into(), kind: KeyKind::B },
            sort: Some(KeyAttribute { name: "s".into(), kind: KeyKind::N }),
        };
        let read = |json: &str| schema.read(&Item::parse(json.into()).expect("valid"));
        let key = read(r#"{"s":{"N":"1.50"},"p":{"B":"AP8="},"x":{"S":""}}"#).expect("a key");
        let number = Number::parse("1.5").expect("a number");
        assert_eq!(key.values(), [KeyValue::B(vec![0, 255]), KeyValue::N(number)]);
        assert_eq!(read(r#"{"p":{"B":"AA=="}}"#), Err(KeyFault::Missing("s".into())));
        assert!(matches!(read(r#"{"p":{"S":"x"},"s":{"N":"1"}}"#), Err(KeyFault::Type { .. })));
    }
}
