//! The fall-back for any JSON that is not in AWS's compact form (white space, escaped names, unknown type tags), and for
//! records that are no valid JSON at all: the page is taken apart by its brackets and quotes, and each record is written
//! anew in compact form and decoded alone. So one odd record costs nobody else, and no tree of a whole page is built.

use std::collections::BTreeMap;
use std::fmt::Write;

use bytestring::ByteString;
use serde::de::IgnoredAny;
use serde_json::Value;
use tailwater_model::{
    DeadLetter, JsonCursor, SequenceNumber, ShardId, lenient_elements, lenient_members, lenient_string,
};

use crate::api::{Decoded, RecordPage, ShardIterator};
use crate::page::{PageFault, RawPage, memory_of};
use crate::record::read_record;

/// Decodes a page of any JSON. A record that is still not understood becomes a dead letter if it has a place in the
/// shard; without one the page is a fault, because the record could neither be kept nor skipped (I5).
pub(crate) fn decode_page(page: &str, shard: &ShardId) -> Result<RecordPage, PageFault> {
    let (records, next) = read_envelope(page)?;
    let mut decoded = RecordPage { next, bytes: page.len(), ..RecordPage::default() };
    decoded.records.reserve_exact(records.len());
    let mut texts = 0;
    for raw in records {
        let record = match compact(raw) {
            Ok(text) => match read_compact(&text, shard, &mut decoded.unknown_event_names) {
                Ok(record) => {
                    texts += text.len();
                    record
                }
                Err(fault) => Decoded::DeadLetter(keep_aside(raw, text.to_string(), &fault, shard)?),
            },
            Err(fault) => Decoded::DeadLetter(keep_aside(raw, one_line(raw), &fault, shard)?),
        };
        decoded.records.push(record);
    }
    decoded.memory_bytes = memory_of(&decoded.records, texts);
    Ok(decoded)
}

/// Takes a page apart into its records, each written in one line.
pub(crate) fn split_page(page: &str) -> Result<RawPage, PageFault> {
    let (records, next) = read_envelope(page)?;
    let line = |raw: &str| compact(raw).unwrap_or_else(|_| one_line(raw).into());
    Ok(RawPage { records: records.into_iter().map(line).collect(), next })
}

/// The text of each record, and where to read next. All but the records must be valid JSON: a page that was damaged
/// elsewhere is asked for again.
fn read_envelope(page: &str) -> Result<(Vec<&str>, Option<ShardIterator>), PageFault> {
    let malformed = |what: &str| PageFault::Malformed(what.into());
    let members = lenient_members(page).ok_or_else(|| malformed("the page is no JSON object"))?;
    let (mut records, mut next, mut known) = (Vec::new(), None, false);
    for (name, value) in members {
        // The parser's message names line, column and what it expected, never a value.
        let strictly = |fault: serde_json::Error| PageFault::Malformed(fault.to_string());
        match &*serde_json::from_str::<String>(name).map_err(strictly)? {
            "Records" => {
                known = true;
                if value != "null" {
                    records.extend(lenient_elements(value).ok_or_else(|| malformed("Records is no list"))?);
                }
            }
            "NextShardIterator" => {
                known = true;
                let iterator = serde_json::from_str::<Option<String>>(value);
                next = iterator.map_err(|_| malformed("NextShardIterator is no string"))?.map(ShardIterator);
            }
            _ => drop(serde_json::from_str::<IgnoredAny>(value).map_err(strictly)?),
        }
    }
    if known { Ok((records, next)) } else { Err(malformed("it has neither Records nor NextShardIterator")) }
}

/// A record in compact form: only what it needs is allocated, because it may be held for long.
fn compact(raw: &str) -> Result<ByteString, String> {
    let mut record: Value = serde_json::from_str(raw).map_err(|fault| fault.to_string())?;
    tag_empty_maps_of_images(&mut record);
    Ok(ByteString::from(&*record.to_string()))
}

fn read_compact(
    text: &ByteString,
    shard: &ShardId,
    unknown_event_names: &mut BTreeMap<String, u64>,
) -> Result<Decoded, String> {
    let decoded = read_record(&mut JsonCursor::new(text), text, shard, unknown_event_names);
    decoded.map_err(|fault| fault.to_string())
}

/// DynamoDB Local 3.1 writes an empty map inside an image as `{}` and not as `{"M":{}}` (measured; the SDK's own
/// deserializer refuses it). A value without a type tag can mean nothing else.
fn tag_empty_maps_of_images(record: &mut Value) {
    for image in ["NewImage", "OldImage"] {
        if let Some(Value::Object(item)) = record.pointer_mut(&format!("/dynamodb/{image}")) {
            item.values_mut().for_each(tag_empty_map);
        }
    }
}

fn tag_empty_map(value: &mut Value) {
    let Value::Object(tagged) = value else { return };
    if tagged.is_empty() {
        tagged.insert("M".into(), Value::Object(serde_json::Map::new()));
        return;
    }
    // As deep as the parser let it be nested (128 levels).
    if let Some(Value::Object(map)) = tagged.get_mut("M") {
        map.values_mut().for_each(tag_empty_map);
    }
    if let Some(Value::Array(list)) = tagged.get_mut("L") {
        list.iter_mut().for_each(tag_empty_map);
    }
}

/// Keeps a record aside that was not understood. Its place is looked for in the text as it came.
fn keep_aside(raw: &str, record: String, fault: &str, shard: &ShardId) -> Result<DeadLetter, PageFault> {
    let fields = lenient_members(raw).unwrap_or_default();
    let of_stream = member(&fields, "dynamodb").and_then(lenient_members).unwrap_or_default();
    let sequence_number = member(&of_stream, "SequenceNumber")
        .and_then(|digits| SequenceNumber::parse(lenient_string(digits).into()).ok())
        .ok_or_else(|| PageFault::Malformed(format!("a record without a sequence number, and {fault}")))?;
    let event_id = member(&fields, "eventID").filter(|id| id.starts_with('"'));
    Ok(DeadLetter {
        shard: shard.clone(),
        sequence_number,
        event_id: event_id.map(lenient_string).unwrap_or_default().into(),
        code: "source.malformed_record",
        error: format!("not a record that DynamoDB Streams is known to send: {fault}"),
        record,
    })
}

fn member<'a>(members: &[(&str, &'a str)], name: &str) -> Option<&'a str> {
    members.iter().find(|(quoted, _)| lenient_string(quoted) == name).map(|(_, value)| *value)
}

/// The text in one line that any database can store: control characters stand escaped in strings, and as a space between
/// them.
fn one_line(raw: &str) -> String {
    let mut line = String::with_capacity(raw.len());
    let (mut quoted, mut escaped) = (false, false);
    for character in raw.chars() {
        if character >= ' ' {
            line.push(character);
        } else if quoted {
            // Writing to a string cannot fail.
            let _ = write!(line, "\\u{:04x}", u32::from(character));
        } else {
            line.push(' ');
        }
        quoted ^= character == '"' && !escaped;
        escaped = quoted && character == '\\' && !escaped;
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_map_without_its_tag_is_an_empty_map() {
        let page = r#"{"Records":[{"eventID":"e","eventName":"INSERT","dynamodb":{"ApproximateCreationDateTime":1,"Keys":{"Id":{"S":"7"}},"NewImage":{"Id":{"S":"7"},"m":{},"n":{"M":{"x":{}}},"l":{"L":[{},{"M":{}}]}},"SequenceNumber":"1","SizeBytes":1,"StreamViewType":"NEW_IMAGE"}}]}"#;
        let decoded = decode_page(page, &ShardId::new("shard")).expect("a page");
        let Some(Decoded::Event(event)) = decoded.records.first() else { panic!("{decoded:?}") };
        let image = event.change.new_image().map(|image| image.typed_json());
        let expected = r#"{"Id":{"S":"7"},"l":{"L":[{"M":{}},{"M":{}}]},"m":{"M":{}},"n":{"M":{"x":{"M":{}}}}}"#;
        assert_eq!(image, Some(expected));
    }
}
