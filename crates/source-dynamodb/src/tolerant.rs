//! The fall-back for any JSON that is not in AWS's compact form (white space, escaped names, unknown type tags): each
//! record is written anew in compact form and decoded alone, so that one odd record costs nobody else.

use bytestring::ByteString;
use serde_json::Value;
use tailwater_model::{DeadLetter, JsonCursor, Malformed, SequenceNumber, ShardId};

use crate::api::{Decoded, RecordPage, ShardIterator};
use crate::page::{PageFault, RawPage};
use crate::record::read_record;

/// Decodes a page of any JSON. A record that is still not understood becomes a dead letter if it has a place in the
/// shard; without one the page is a fault, because the record could neither be kept nor skipped (I5).
pub(crate) fn decode_page(page: &ByteString, shard: &ShardId) -> Result<RecordPage, PageFault> {
    let (mut records, next) = read_envelope(page)?;
    let mut decoded = RecordPage { next, bytes: page.len(), ..RecordPage::default() };
    for record in &mut records {
        tag_empty_maps_of_images(record);
        let text = ByteString::from(record.to_string());
        let mut cursor = JsonCursor::new(&text);
        decoded.records.push(match read_record(&mut cursor, &text, shard, &mut decoded.unknown_event_names) {
            Ok(decoded) => decoded,
            Err(fault) => Decoded::DeadLetter(keep_aside(record, &text, fault, shard)?),
        });
    }
    Ok(decoded)
}

/// Takes a page apart into its records, each written in one line.
pub(crate) fn split_page(page: &str) -> Result<RawPage, PageFault> {
    let (records, next) = read_envelope(page)?;
    Ok(RawPage { records: records.iter().map(|record| record.to_string().into()).collect(), next })
}

fn read_envelope(page: &str) -> Result<(Vec<Value>, Option<ShardIterator>), PageFault> {
    let malformed = |what: &str| PageFault::Malformed(what.into());
    // The parser's message names line, column and what it expected, never a value.
    let parsed: Value = serde_json::from_str(page).map_err(|fault| PageFault::Malformed(fault.to_string()))?;
    let Value::Object(mut members) = parsed else { return Err(malformed("the page is no JSON object")) };
    if !members.contains_key("Records") && !members.contains_key("NextShardIterator") {
        return Err(malformed("it has neither Records nor NextShardIterator"));
    }
    let records = match members.remove("Records") {
        None | Some(Value::Null) => Vec::new(),
        Some(Value::Array(records)) => records,
        Some(_) => return Err(malformed("Records is no list")),
    };
    let next = match members.remove("NextShardIterator") {
        None | Some(Value::Null) => None,
        Some(Value::String(iterator)) => Some(ShardIterator(iterator)),
        Some(_) => return Err(malformed("NextShardIterator is no string")),
    };
    Ok((records, next))
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

fn keep_aside(record: &Value, text: &str, fault: Malformed, shard: &ShardId) -> Result<DeadLetter, PageFault> {
    let sequence_number = record
        .pointer("/dynamodb/SequenceNumber")
        .and_then(Value::as_str)
        .and_then(|digits| SequenceNumber::parse(digits.into()).ok());
    let Some(sequence_number) = sequence_number else {
        return Err(PageFault::Malformed(format!("a record without a sequence number, and {fault}")));
    };
    Ok(DeadLetter {
        shard: shard.clone(),
        sequence_number,
        event_id: record.get("eventID").and_then(Value::as_str).unwrap_or_default().into(),
        code: "source.malformed_record",
        error: format!("not a record that DynamoDB Streams is known to send: {fault}"),
        record: text.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_map_without_its_tag_is_an_empty_map() {
        let page = r#"{"Records":[{"eventID":"e","eventName":"INSERT","dynamodb":{"ApproximateCreationDateTime":1,"Keys":{"Id":{"S":"7"}},"NewImage":{"Id":{"S":"7"},"m":{},"n":{"M":{"x":{}}},"l":{"L":[{},{"M":{}}]}},"SequenceNumber":"1","SizeBytes":1,"StreamViewType":"NEW_IMAGE"}}]}"#;
        let decoded = decode_page(&page.into(), &ShardId::new("shard")).expect("a page");
        let Some(Decoded::Event(event)) = decoded.records.first() else { panic!("{decoded:?}") };
        let image = event.change.new_image().map(|image| image.typed_json());
        let expected = r#"{"Id":{"S":"7"},"l":{"L":[{"M":{}},{"M":{}}]},"m":{"M":{}},"n":{"M":{"x":{"M":{}}}}}"#;
        assert_eq!(image, Some(expected));
    }
}
