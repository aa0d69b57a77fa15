//! Reads DynamoDB's typed JSON, a second time: what a lossless message must give back.

use anyhow::{Context, Result, bail};
use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use serde_json::Value;

use crate::table::Item;

/// The item of an image such as `{"Id":{"S":"7"}}`.
pub fn item(image: &Value) -> Result<Item> {
    let object = image.as_object().with_context(|| format!("no image: {image}"))?;
    object.iter().map(|(name, value)| Ok((name.clone(), attribute(value)?))).collect()
}

fn attribute(typed: &Value) -> Result<AttributeValue> {
    let object = typed.as_object().filter(|object| object.len() == 1);
    let (tag, value) = object.and_then(|object| object.iter().next()).with_context(|| format!("no tag: {typed}"))?;
    Ok(match (tag.as_str(), value) {
        ("S", Value::String(text)) => AttributeValue::S(text.clone()),
        ("N", Value::String(text)) => AttributeValue::N(text.clone()),
        ("B", value) => AttributeValue::B(blob(value)?),
        ("BOOL", Value::Bool(flag)) => AttributeValue::Bool(*flag),
        ("NULL", Value::Bool(flag)) => AttributeValue::Null(*flag),
        ("SS", Value::Array(members)) => AttributeValue::Ss(each(members, text)?),
        ("NS", Value::Array(members)) => AttributeValue::Ns(each(members, text)?),
        ("BS", Value::Array(members)) => AttributeValue::Bs(each(members, blob)?),
        ("L", Value::Array(members)) => AttributeValue::L(each(members, attribute)?),
        ("M", map) => AttributeValue::M(item(map)?.into_iter().collect()),
        _ => bail!("no typed value: {typed}"),
    })
}

fn each<T>(members: &[Value], read: fn(&Value) -> Result<T>) -> Result<Vec<T>> {
    members.iter().map(read).collect()
}

fn text(value: &Value) -> Result<String> {
    value.as_str().map(str::to_owned).with_context(|| format!("no text: {value}"))
}

fn blob(value: &Value) -> Result<Blob> {
    Ok(Blob::new(data_encoding::BASE64.decode(text(value)?.as_bytes())?))
}
