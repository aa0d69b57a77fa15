//! Decoding one record: from DynamoDB's JSON to a change event that shares the page's bytes.

use std::collections::BTreeMap;

use bytestring::ByteString;
use tailwater_model::{
    Change, ChangeEvent, DeadLetter, Item, JsonCursor, Malformed, RemoveCause, SequenceNumber, ShardId, SourceInfo,
    ViewType,
};

use crate::api::Decoded;
use crate::page::{read_members, skip_member, unescaped};

/// Unknown event names that are counted apart, per page; all others share one entry.
const UNKNOWN_NAMES_MAX: usize = 8;
/// Longest unknown event name that is kept, in characters.
const UNKNOWN_NAME_LENGTH_MAX: usize = 64;
/// Who removes expired items (DynamoDB developer guide, "DynamoDB Streams and Time to Live").
const TTL_IDENTITY: (&str, &str) = ("Service", "dynamodb.amazonaws.com");

/// The fields of a record, as far as they matter.
#[derive(Default)]
struct Fields<'a> {
    event_id: Option<&'a str>,
    event_name: Option<&'a str>,
    identity_type: Option<&'a str>,
    principal: Option<&'a str>,
    created_at_ms: Option<i64>,
    keys: Option<Item>,
    new: Option<Item>,
    old: Option<Item>,
    sequence_number: Option<SequenceNumber>,
    size_bytes: u64,
    view: Option<&'a str>,
}

/// Reads the record at the cursor, whose text is the whole of `page`. Fields may come in any order; `eventVersion` is
/// not looked at, because AWS says that nobody should assume it.
pub(crate) fn read_record<'a>(
    cursor: &mut JsonCursor<'a>,
    page: &'a ByteString,
    shard: &ShardId,
    unknown_event_names: &mut BTreeMap<String, u64>,
) -> Result<Decoded, Malformed> {
    let from = cursor.at();
    let mut fields = Fields::default();
    read_members(cursor, |cursor| {
        if cursor.take("\"dynamodb\":") {
            read_members(cursor, |cursor| read_stream_field(cursor, page, &mut fields))?;
        } else if cursor.take("\"eventID\":") {
            fields.event_id = Some(cursor.string()?);
        } else if cursor.take("\"eventName\":") {
            fields.event_name = Some(cursor.string()?);
        } else if cursor.take("\"userIdentity\":") {
            if !cursor.take("null") {
                read_members(cursor, |cursor| read_identity_field(cursor, &mut fields))?;
            }
        } else {
            skip_member(cursor)?;
        }
        Ok(())
    })?;
    let (Some(event_id), Some(event_name)) = (fields.event_id, fields.event_name) else {
        return cursor.expected("a record with eventID and eventName");
    };
    let (Some(key), Some(sequence_number)) = (fields.keys, fields.sequence_number) else {
        return cursor.expected("a record with Keys and SequenceNumber");
    };
    let Some(created_at_ms) = fields.created_at_ms else {
        return cursor.expected("a record with ApproximateCreationDateTime");
    };
    let expired = fields.identity_type.zip(fields.principal) == Some(TTL_IDENTITY);
    let cause = if expired { RemoveCause::TimeToLive } else { RemoveCause::Request };
    let event_id = if event_id.contains('\\') { unescaped(event_id).into() } else { page.slice_ref(event_id) };
    let change = match event_name {
        "INSERT" => Change::Insert { new: fields.new },
        "MODIFY" => Change::Modify { old: fields.old, new: fields.new },
        "REMOVE" => Change::Remove { old: fields.old, cause },
        _ => {
            count_unknown(event_name, unknown_event_names);
            match settle_by_images(fields.view.and_then(ViewType::parse), fields.old, fields.new, cause) {
                Some(change) => change,
                None => {
                    return Ok(Decoded::DeadLetter(DeadLetter {
                        shard: shard.clone(),
                        sequence_number,
                        event_id,
                        code: "source.unknown_event_name",
                        error: "the event name is not known, and the images do not tell what happened".into(),
                        record: page.get(from..cursor.at()).unwrap_or_default().to_owned(),
                    }));
                }
            }
        }
    };
    let source =
        SourceInfo { shard: shard.clone(), sequence_number, event_id, created_at_ms, size_bytes: fields.size_bytes };
    Ok(Decoded::Event(ChangeEvent { key, change, source }))
}

fn read_stream_field<'a>(
    cursor: &mut JsonCursor<'a>,
    page: &'a ByteString,
    fields: &mut Fields<'a>,
) -> Result<(), Malformed> {
    if cursor.take("\"ApproximateCreationDateTime\":") {
        match milliseconds(cursor.number()?) {
            Some(time) => fields.created_at_ms = Some(time),
            None => return cursor.expected("a time in seconds before this"),
        }
    } else if cursor.take("\"Keys\":") {
        fields.keys = optional_item(cursor, page)?;
    } else if cursor.take("\"NewImage\":") {
        fields.new = optional_item(cursor, page)?;
    } else if cursor.take("\"OldImage\":") {
        fields.old = optional_item(cursor, page)?;
    } else if cursor.take("\"SequenceNumber\":") {
        match SequenceNumber::parse(page.slice_ref(cursor.string()?)) {
            Ok(number) => fields.sequence_number = Some(number),
            Err(_) => return cursor.expected("a sequence number before this"),
        }
    } else if cursor.take("\"SizeBytes\":") {
        match cursor.number()?.parse() {
            Ok(size) => fields.size_bytes = size,
            Err(_) => return cursor.expected("a size in bytes before this"),
        }
    } else if cursor.take("\"StreamViewType\":") {
        fields.view = Some(cursor.string()?);
    } else {
        skip_member(cursor)?;
    }
    Ok(())
}

/// The service writes the names of these two fields large, Lambda's copies of the same record write them small.
fn read_identity_field<'a>(cursor: &mut JsonCursor<'a>, fields: &mut Fields<'a>) -> Result<(), Malformed> {
    if cursor.take("\"Type\":") || cursor.take("\"type\":") {
        fields.identity_type = Some(cursor.string()?);
    } else if cursor.take("\"PrincipalId\":") || cursor.take("\"principalId\":") {
        fields.principal = Some(cursor.string()?);
    } else {
        skip_member(cursor)?;
    }
    Ok(())
}

fn optional_item(cursor: &mut JsonCursor<'_>, page: &ByteString) -> Result<Option<Item>, Malformed> {
    if cursor.take("null") { Ok(None) } else { cursor.item(page).map(Some) }
}

/// Seconds since 1970, perhaps with a fraction or an exponent, as milliseconds.
fn milliseconds(seconds: &str) -> Option<i64> {
    /// Beyond this an `f64` cannot count milliseconds one by one.
    const MAGNITUDE_MAX: f64 = 9e15;
    if let Ok(seconds) = seconds.parse::<i64>() {
        return seconds.checked_mul(1000);
    }
    let milliseconds = (seconds.parse::<f64>().ok()? * 1000.0).round();
    (milliseconds.abs() < MAGNITUDE_MAX).then_some(milliseconds as i64)
}

/// What happened, told by the images alone. A view type that carries an image carries it always when there is one, so
/// its absence tells as much as its presence. DynamoDB Local names deletes by time to live `UNKNOWN_TO_SDK_VERSION`.
fn settle_by_images(
    view: Option<ViewType>,
    old: Option<Item>,
    new: Option<Item>,
    cause: RemoveCause,
) -> Option<Change> {
    match (view?, old, new) {
        (ViewType::NewAndOldImages, None, new @ Some(_)) => Some(Change::Insert { new }),
        (ViewType::NewAndOldImages, old @ Some(_), new @ Some(_)) => Some(Change::Modify { old, new }),
        (ViewType::NewAndOldImages, old @ Some(_), None) => Some(Change::Remove { old, cause }),
        // Inserted or modified: either way the item now is as the image says.
        (ViewType::NewImage, None, new @ Some(_)) => Some(Change::Modify { old: None, new }),
        (ViewType::NewImage, None, None) => Some(Change::Remove { old: None, cause }),
        // There was nothing before. With an old image it was modified or removed, and nothing tells which.
        (ViewType::OldImage, None, None) => Some(Change::Insert { new: None }),
        _ => None,
    }
}

fn count_unknown(name: &str, counts: &mut BTreeMap<String, u64>) {
    let shown: String = name.chars().take(UNKNOWN_NAME_LENGTH_MAX).collect();
    let full = counts.len() >= UNKNOWN_NAMES_MAX && !counts.contains_key(&shown);
    *counts.entry(if full { "(others)".into() } else { shown }).or_default() += 1;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_become_milliseconds() {
        for (text, expected) in [
            ("1734567890", Some(1_734_567_890_000)),
            ("1795461660.000", Some(1_795_461_660_000)),
            ("1795461660.365", Some(1_795_461_660_365)),
            ("1.734567890E9", Some(1_734_567_890_000)),
            ("-1.5", Some(-1500)),
            ("9223372036854775807", None),
            ("1e300", None),
            ("1e999", None),
        ] {
            assert_eq!(milliseconds(text), expected, "{text}");
        }
    }

    #[test]
    fn names_are_counted_within_bounds() {
        let mut counts = BTreeMap::new();
        for number in 0..20 {
            count_unknown(&format!("N{number:02}{}", "x".repeat(1000)), &mut counts);
            count_unknown("N00", &mut counts);
        }
        assert_eq!(counts.len(), UNKNOWN_NAMES_MAX + 1);
        assert_eq!(counts.values().sum::<u64>(), 40);
        assert!(counts.keys().all(|name| name.len() <= UNKNOWN_NAME_LENGTH_MAX));
    }
}
