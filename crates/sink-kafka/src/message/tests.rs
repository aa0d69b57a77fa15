//! What messages look like, and what holds for those of any event.

use proptest::prelude::*;
use rdkafka::message::Headers;
use serde_json::Value;
use tailwater_model::{Change, Item, RemoveCause};

use super::fixture::{any_event, dead_letter, encoder, event, insert, remove};
use super::*;

/// More than any message of these tests.
const ROOM: usize = 1 << 20;

fn encode(format: Format, delete: Deletes, change: Change) -> Vec<Message> {
    let mut out = Vec::new();
    encoder(format, delete).encode(&event(change), ROOM, &mut out).expect("messages");
    out
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("UTF-8")
}

fn value(message: &Message) -> &str {
    text(message.value.as_ref().expect("a value"))
}

fn header<'a>(message: &'a Message, name: &str) -> Option<&'a str> {
    message.headers.iter().find(|header| header.name == name).map(|header| &*header.value)
}

#[test]
fn a_message_in_plain_json() {
    let new = r#"{"Id":{"N":"7"},"Fecha":{"S":"A"},"total":{"N":"12.50"}}"#;
    let messages = encode(Format::Json, Deletes::EventAndTombstone, insert(new));
    assert_eq!(messages.len(), 1);
    assert_eq!(text(&messages[0].key), r#"{"Id":7,"Fecha":"A"}"#);
    assert_eq!(
        value(&messages[0]),
        r#"{"change":"insert","table":"Orders","key":{"Id":7,"Fecha":"A"},"new":{"Id":7,"Fecha":"A","total":12.50},"event_id":"c4ca42","sequence_number":"111000000000012345678","shard":"shardId-1","created_at":"2023-11-14T22:13:20.000Z"}"#
    );
    let headers: Vec<_> =
        messages[0].headers.iter().map(|header| format!("{}={}", header.name, &*header.value)).collect();
    assert_eq!(
        headers,
        [
            "__op=c",
            "__table=Orders",
            "__event_id=c4ca42",
            "__seq=111000000000012345678",
            "__snapshot=false",
            "__source_ts_ms=1700000000000",
            "content-type=application/json",
        ]
    );
    let sent = owned_headers(&messages[0].headers);
    let sent: Vec<_> =
        sent.iter().map(|header| format!("{}={}", header.key, text(header.value.expect("a value")))).collect();
    assert_eq!(sent, headers);
}

#[test]
fn a_message_in_dynamodb_s_form() {
    let modify = Change::Modify {
        old: Some(fixture::item(r#"{"Id":{"N":"7"},"Fecha":{"S":"A"},"s":{"SS":["b","a"]}}"#)),
        new: Some(fixture::item(r#"{"Fecha":{"S":"A"},"Id":{"N":"7"}}"#)),
    };
    let messages = encode(Format::Dynamodb, Deletes::EventAndTombstone, modify);
    assert_eq!(header(&messages[0], "__op"), Some("u"));
    assert_eq!(
        value(&messages[0]),
        r#"{"eventID":"c4ca42","eventName":"MODIFY","eventVersion":"1.1","eventSource":"aws:dynamodb","awsRegion":"eu-west-1","dynamodb":{"ApproximateCreationDateTime":1700000000,"Keys":{"Fecha":{"S":"A"},"Id":{"N":"7.0"}},"NewImage":{"Fecha":{"S":"A"},"Id":{"N":"7"}},"OldImage":{"Id":{"N":"7"},"Fecha":{"S":"A"},"s":{"SS":["b","a"]}},"SequenceNumber":"111000000000012345678","SizeBytes":59,"StreamViewType":"NEW_AND_OLD_IMAGES"},"eventSourceARN":"arn:aws:dynamodb:eu-west-1:123456789012:table/Orders/stream/2026-11-23T00:00:00.000","tableName":"Orders"}"#
    );
}

#[test]
fn only_time_to_live_has_an_identity() {
    for (cause, identity) in [
        (RemoveCause::Request, Value::Null),
        (RemoveCause::TimeToLive, serde_json::json!({ "type": "Service", "principalId": "dynamodb.amazonaws.com" })),
    ] {
        let messages = encode(Format::Dynamodb, Deletes::Event, remove(cause));
        let record: Value = serde_json::from_str(value(&messages[0])).expect("JSON");
        assert_eq!(record["userIdentity"], identity);
        assert_eq!(record["eventName"], "REMOVE");
        assert_eq!(record["dynamodb"].get("NewImage"), None);
    }
}

#[test]
fn a_removal_becomes_what_was_asked_for() {
    for cause in [RemoveCause::Request, RemoveCause::TimeToLive] {
        for (delete, values) in [
            (Deletes::Event, &[true][..]),
            (Deletes::Tombstone, &[false]),
            (Deletes::EventAndTombstone, &[true, false]),
        ] {
            let messages = encode(Format::Json, delete, remove(cause));
            assert_eq!(messages.iter().map(|message| message.value.is_some()).collect::<Vec<_>>(), values);
            for message in &messages {
                assert_eq!(text(&message.key), r#"{"Id":7,"Fecha":"A"}"#);
                assert_eq!(header(message, "__op"), Some("d"));
                assert_eq!(message.headers, messages[0].headers);
            }
        }
    }
}

#[test]
fn what_is_refused_leaves_nothing() {
    for delete in [Deletes::Event, Deletes::Tombstone, Deletes::EventAndTombstone] {
        let encoder = encoder(Format::Json, delete);
        let event = event(remove(RemoveCause::Request));
        let mut out = Vec::new();
        encoder.encode(&event, ROOM, &mut out).expect("messages");
        let (bytes, before) = (out[0].bytes(), out.clone());
        let refused = encoder.encode(&event, bytes - 1, &mut out).expect_err("too large");
        assert_eq!((refused.code, &out), ("sink.kafka.too_large", &before));
        assert!(refused.message.contains(&bytes.to_string()), "{}", refused.message);
        assert!(!refused.message.contains("Fecha"), "{}", refused.message);
        encoder.encode(&event, bytes, &mut out).expect("it just fits");
        assert_eq!(out.len(), 2 * before.len());
    }
    let mut other = event(insert("{}"));
    other.key = fixture::item(r#"{"Id":{"S":"7"},"Fecha":{"S":"A"}}"#);
    let mut out = Vec::new();
    let refused = encoder(Format::Dynamodb, Deletes::Event).encode(&other, ROOM, &mut out);
    assert_eq!((refused.map_err(|refused| refused.code), out), (Err("sink.key_mismatch"), Vec::new()));
}

#[test]
fn a_dead_letter_says_where_and_why() {
    let mut out = Vec::new();
    encoder(Format::Json, Deletes::Event).dead_letter(&dead_letter("{}".into()), ROOM, &mut out);
    assert_eq!(out.len(), 1);
    assert_eq!((text(&out[0].key), value(&out[0])), ("c4ca42", "{}"));
    let headers: Vec<_> = out[0].headers.iter().map(|header| format!("{}={}", header.name, &*header.value)).collect();
    assert_eq!(
        headers,
        [
            "__cdc.pipeline=shop",
            "__cdc.error.code=transform.name_collision",
            "__cdc.error.message=two attributes would have the name \"a\"",
            "__table=Orders",
            "__shard=shardId-1",
            "__seq=100",
            "__event_id=c4ca42",
            "__connect.errors.topic=Orders",
            "__connect.errors.connector.name=shop",
            "__connect.errors.stage=TRANSFORMATION",
            "__connect.errors.exception.message=two attributes would have the name \"a\"",
        ]
    );
}

proptest! {
    #[test]
    fn plain_values_are_json_and_keys_are_inside(event in any_event()) {
        let mut out = Vec::new();
        encoder(Format::Json, Deletes::Event).encode(&event, usize::MAX, &mut out).expect("a message");
        let parsed: Value = serde_json::from_str(value(&out[0])).expect("JSON");
        prop_assert_eq!(&parsed["change"], event.change.name());
        prop_assert_eq!(&parsed["event_id"], &*event.source.event_id);
        prop_assert_eq!(&parsed["key"], &serde_json::from_slice::<Value>(&out[0].key).expect("JSON"));
        prop_assert_eq!(parsed.get("new").is_some(), event.change.new_image().is_some());
        prop_assert_eq!(parsed.get("old").is_some(), event.change.old_image().is_some());
    }

    #[test]
    fn images_in_dynamodb_s_form_are_the_bytes_that_came(event in any_event()) {
        let mut out = Vec::new();
        encoder(Format::Dynamodb, Deletes::Event).encode(&event, usize::MAX, &mut out).expect("a message");
        let record = value(&out[0]);
        let parsed: Value = serde_json::from_str(record).expect("JSON");
        prop_assert_eq!(&parsed["eventID"], &*event.source.event_id);
        let image = |name: &str, image: Option<&Item>| {
            image.map_or(String::new(), |item| format!(r#","{name}":{}"#, item.typed_json()))
        };
        let (new, old) = (event.change.new_image(), event.change.old_image());
        let items = [image("Keys", Some(&event.key)), image("NewImage", new), image("OldImage", old)].concat();
        prop_assert!(record.contains(&format!(r#"{items},"SequenceNumber":"#)), "{record}");
    }

    #[test]
    fn parts_joined_are_the_record(
        record in "\\PC{0,3000}",
        message_bytes_max in 0_usize..6000,
        before in 0_usize..2,
    ) {
        let letter = dead_letter(record);
        let encoder = encoder(Format::Json, Deletes::Event);
        let mut out = Vec::new();
        (0..before).for_each(|_| encoder.dead_letter(&dead_letter("{}".into()), ROOM, &mut out));
        encoder.dead_letter(&letter, message_bytes_max, &mut out);
        let parts = &out[before..];
        prop_assert!(!parts.is_empty());
        prop_assert_eq!(parts.iter().map(value).collect::<String>(), letter.record);
        for (index, part) in parts.iter().enumerate() {
            prop_assert_eq!(text(&part.key), &*letter.event_id);
            prop_assert_eq!(header(part, "__cdc.error.code"), Some(letter.code));
            let (number, count) = ((index + 1).to_string(), parts.len().to_string());
            match (header(part, "__cdc.part"), header(part, "__cdc.parts")) {
                (None, None) => prop_assert_eq!(parts.len(), 1),
                told => prop_assert_eq!(told, (Some(number.as_str()), Some(count.as_str()))),
            }
            // Below this nothing useful fits; `PART_BYTES_MIN` says why parts do not get smaller.
            if message_bytes_max >= 2500 {
                prop_assert!(part.bytes() <= message_bytes_max, "{} > {message_bytes_max}", part.bytes());
            }
        }
    }
}
