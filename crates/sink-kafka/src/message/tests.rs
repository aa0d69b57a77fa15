//! What messages look like, and what holds for those of any event.

use proptest::prelude::*;
use rdkafka::message::Headers;
use serde_json::Value;
use tailwater_model::{Change, ChangeEvent, Item, RemoveCause};

use super::fixture::{any_event, dead_letter, encoder, encoder_with, event, insert, remove};
use super::*;

/// More than any message of these tests.
const MESSAGE_BYTES_MAX: usize = 1 << 20;

/// Gives a value that lives as long as the messages of it may be looked at: until the tests end.
fn kept<T>(value: T) -> &'static mut T {
    Box::leak(Box::new(value))
}

fn encode(format: Format, delete: Deletes, change: Change) -> Vec<Message<'static>> {
    encode_event(format, delete, event(change))
}

fn encode_event(format: Format, delete: Deletes, event: ChangeEvent) -> Vec<Message<'static>> {
    let encoder = kept(encoder(format, delete));
    encoder.encode(kept(event), MESSAGE_BYTES_MAX, kept(Room::default())).expect("messages").collect()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("UTF-8")
}

fn value<'a>(message: &Message<'a>) -> &'a str {
    text(message.value.expect("a value"))
}

fn header<'a>(message: &'a Message<'_>, name: &str) -> Option<&'a str> {
    message.headers.iter().find(|header| header.name == name).map(|header| &*header.value)
}

#[test]
fn a_message_in_plain_json() {
    let new = r#"{"Id":{"N":"7"},"Fecha":{"S":"A"},"total":{"N":"12.50"}}"#;
    let messages = encode(Format::Json, Deletes::EventAndTombstone, insert(new));
    assert_eq!(messages.len(), 1);
    assert_eq!(text(messages[0].key), r#"{"Id":7,"Fecha":"A"}"#);
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
fn only_the_wanted_headers_are_sent() {
    for (wanted, expected) in [
        (&[][..], &[][..]),
        (&[ChangeHeader::SequenceNumber, ChangeHeader::Operation], &["__seq=111000000000012345678", "__op=d"]),
    ] {
        let encoder = encoder_with(Format::Json, Deletes::EventAndTombstone, wanted);
        let event = event(remove(RemoveCause::Request));
        let mut room = Room::default();
        for message in encoder.encode(&event, MESSAGE_BYTES_MAX, &mut room).expect("messages") {
            let headers = message.headers.iter().map(|header| format!("{}={}", header.name, header.value));
            assert_eq!(headers.collect::<Vec<_>>(), expected);
        }
    }
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
                assert_eq!(text(message.key), r#"{"Id":7,"Fecha":"A"}"#);
                assert_eq!(header(message, "__op"), Some("d"));
                assert_eq!(message.headers, messages[0].headers);
            }
        }
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    for delete in [Deletes::Event, Deletes::Tombstone, Deletes::EventAndTombstone] {
        let encoder = encoder(Format::Json, delete);
        let event = event(remove(RemoveCause::Request));
        let encode = |bytes_max| {
            let messages = encoder.encode(&event, bytes_max, kept(Room::default()));
            messages.map(Iterator::collect::<Vec<_>>)
        };
        let messages = encode(MESSAGE_BYTES_MAX).expect("messages");
        let bytes = messages[0].bytes();
        let refused = encode(bytes - 1).expect_err("too large");
        assert_eq!(refused.code, "sink.kafka.too_large");
        assert!(refused.message.contains(&bytes.to_string()), "{}", refused.message);
        assert!(!refused.message.contains("Fecha"), "{}", refused.message);
        assert_eq!(encode(bytes).expect("it just fits"), messages);
    }
    let mut other = event(insert("{}"));
    other.key = fixture::item(r#"{"Id":{"S":"7"},"Fecha":{"S":"A"}}"#);
    let encoder = encoder(Format::Dynamodb, Deletes::Event);
    let refused = encoder.encode(&other, MESSAGE_BYTES_MAX, &mut Room::default()).map(|_| ());
    assert_eq!(refused.map_err(|refused| refused.code), Err("sink.key_mismatch"));
}

#[test]
fn a_refused_removal_leaves_its_tombstone() {
    let event = event(remove(RemoveCause::Request));
    for (delete, is_there) in [(Deletes::Event, false), (Deletes::Tombstone, true), (Deletes::EventAndTombstone, true)]
    {
        let encoder = encoder(Format::Json, delete);
        let whole: Vec<_> = encoder.encode(&event, MESSAGE_BYTES_MAX, kept(Room::default())).expect("fits").collect();
        let mut room = Room::default();
        let tombstone = encoder.tombstone(&event, MESSAGE_BYTES_MAX, &mut room);
        assert_eq!(tombstone.is_some(), is_there, "{delete:?}");
        let Some(tombstone) = tombstone else { continue };
        assert_eq!(whole.last(), Some(&tombstone), "the same as behind an event");
        let bytes = tombstone.bytes();
        assert!(encoder.tombstone(&event, bytes, &mut Room::default()).is_some());
        assert!(encoder.tombstone(&event, bytes - 1, &mut Room::default()).is_none());
    }
    let encoder = encoder(Format::Json, Deletes::EventAndTombstone);
    assert!(encoder.tombstone(&fixture::event(insert("{}")), MESSAGE_BYTES_MAX, &mut Room::default()).is_none());
}

#[test]
fn a_room_that_was_used_is_as_good_as_a_new_one() {
    let encoder = encoder(Format::Json, Deletes::EventAndTombstone);
    let events = [
        event(insert(r#"{"Id":{"N":"7"},"Fecha":{"S":"A"},"long":{"S":"text"}}"#)),
        event(remove(RemoveCause::Request)),
    ];
    let mut used = Room::default();
    for event in events.iter().chain(events.iter().rev()) {
        let alone = kept(Room::default());
        let alone: Vec<_> = encoder.encode(event, MESSAGE_BYTES_MAX, alone).expect("messages").collect();
        let messages: Vec<_> = encoder.encode(event, MESSAGE_BYTES_MAX, &mut used).expect("messages").collect();
        assert_eq!(messages, alone);
    }
}

#[test]
fn a_dead_letter_says_where_and_why() {
    let (encoder, letter) = (encoder(Format::Json, Deletes::Event), dead_letter("{}".into()));
    let out = encoder.dead_letter(&letter, MESSAGE_BYTES_MAX);
    assert_eq!(out.len(), 1);
    assert_eq!((text(out[0].key), value(&out[0])), ("c4ca42", "{}"));
    let headers: Vec<_> = out[0].headers.iter().map(|header| format!("{}={}", header.name, &*header.value)).collect();
    assert_eq!(
        headers,
        [
            "__cdc.pipeline=shop",
            "__cdc.error.code=transform.name_collision",
            "__cdc.error.message=two attributes would have the name \"a\"",
            "__table=Orders",
            "__stream=arn:aws:dynamodb:eu-west-1:123456789012:table/Orders/stream/2026-11-23T00:00:00.000",
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
        let (encoder, mut room) = (encoder(Format::Json, Deletes::Event), Room::default());
        let out: Vec<_> = encoder.encode(&event, usize::MAX, &mut room).expect("a message").collect();
        let parsed: Value = serde_json::from_str(value(&out[0])).expect("JSON");
        prop_assert_eq!(&parsed["change"], event.change.name());
        prop_assert_eq!(&parsed["event_id"], &*event.source.event_id);
        prop_assert_eq!(&parsed["key"], &serde_json::from_slice::<Value>(out[0].key).expect("JSON"));
        prop_assert_eq!(parsed.get("new").is_some(), event.change.new_image().is_some());
        prop_assert_eq!(parsed.get("old").is_some(), event.change.old_image().is_some());
    }

    #[test]
    fn images_in_dynamodb_s_form_are_the_bytes_that_came(event in any_event()) {
        let (encoder, mut room) = (encoder(Format::Dynamodb, Deletes::Event), Room::default());
        let out: Vec<_> = encoder.encode(&event, usize::MAX, &mut room).expect("a message").collect();
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
    ) {
        let letter = dead_letter(record);
        let encoder = encoder(Format::Json, Deletes::Event);
        let parts = encoder.dead_letter(&letter, message_bytes_max);
        prop_assert!(!parts.is_empty());
        prop_assert_eq!(parts.iter().map(value).collect::<String>(), &*letter.record);
        for (index, part) in parts.iter().enumerate() {
            prop_assert_eq!(text(part.key), &*letter.event_id);
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
