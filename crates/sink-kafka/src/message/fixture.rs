//! What the tests of messages stand on: settings, an identity, events of every kind.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use serde_json::{Value, json};
use tailwater_model::{
    Change, ChangeEvent, DeadLetter, Item, KeyAttribute, KeyKind, KeySchema, PipelineIdentity, RemoveCause,
    SequenceNumber, ShardId, SourceInfo, StreamIdentity, ViewType,
};

use super::Encoder;
use crate::settings::{ChangeHeader, Deletes, DeliveryPromise, Format, KafkaSettings, OnRepartition};

pub(super) const STREAM: &str = "arn:aws:dynamodb:eu-west-1:123456789012:table/Orders/stream/2026-11-23T00:00:00.000";

pub(super) fn encoder(format: Format, delete: Deletes) -> Encoder {
    encoder_with(format, delete, &ChangeHeader::ALL)
}

pub(super) fn encoder_with(format: Format, delete: Deletes, headers: &[ChangeHeader]) -> Encoder {
    let settings = KafkaSettings {
        brokers: "127.0.0.1:29092".into(),
        topic: "Orders".into(),
        dead_letter_topic: "shop-dead-letters".into(),
        progress_topic: "shop-progress".into(),
        format,
        delete,
        headers: headers.into(),
        delivery: DeliveryPromise::ExactlyOnce,
        on_repartition: OnRepartition::Stop,
        create_topics: None,
        tls: None,
        sasl: None,
        librdkafka: BTreeMap::new(),
        transaction_timeout: Duration::from_secs(60),
        request_timeout: Duration::from_secs(30),
        dead_letters_per_minute_max: 100,
        adopt: None,
    };
    let stream = StreamIdentity { table: "Orders".into(), table_id: "id".into(), stream_arn: STREAM.into() };
    let identity = PipelineIdentity { name: "shop".into(), lanes: 1, stream };
    Encoder::new(&settings, &identity, &keys(), Some(ViewType::NewAndOldImages))
}

pub(super) fn keys() -> KeySchema {
    KeySchema {
        partition: KeyAttribute { name: "Id".into(), kind: KeyKind::N },
        sort: Some(KeyAttribute { name: "Fecha".into(), kind: KeyKind::S }),
    }
}

pub(super) fn item(json: &str) -> Item {
    Item::parse(json.into()).expect("an item")
}

pub(super) fn event(change: Change) -> ChangeEvent {
    ChangeEvent {
        key: item(r#"{"Fecha":{"S":"A"},"Id":{"N":"7.0"}}"#),
        change,
        source: SourceInfo {
            shard: ShardId::new("shardId-1"),
            sequence_number: SequenceNumber::parse("111000000000012345678".into()).expect("digits"),
            event_id: "c4ca42".into(),
            created_at_ms: 1_700_000_000_000,
            size_bytes: 59,
        },
    }
}

pub(super) fn insert(json: &str) -> Change {
    Change::Insert { new: Some(item(json)) }
}

pub(super) fn remove(cause: RemoveCause) -> Change {
    Change::Remove { old: Some(item(r#"{"Id":{"N":"7"},"Fecha":{"S":"A"}}"#)), cause }
}

pub(super) fn dead_letter(record: String) -> DeadLetter {
    DeadLetter {
        shard: ShardId::new("shardId-1"),
        sequence_number: SequenceNumber::parse("100".into()).expect("digits"),
        event_id: "c4ca42".into(),
        code: "transform.name_collision",
        error: "two attributes would have the name \"a\"".into(),
        record,
    }
}

/// Typed JSON of a value of any type.
fn attribute_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        any::<String>().prop_map(|text| json!({ "S": text })),
        "-?(0|[1-9][0-9]{0,37})(\\.[0-9]{1,5})?(E-?[0-9]{1,2})?".prop_map(|number| json!({ "N": number })),
        any::<bool>().prop_map(|flag| json!({ "BOOL": flag })),
        Just(json!({ "NULL": true })),
        "([A-Za-z0-9+/]{4}){0,4}".prop_map(|base64| json!({ "B": base64 })),
        vec(any::<String>(), 1..4).prop_map(|texts| json!({ "SS": texts })),
        vec("-?[1-9][0-9]{0,37}", 1..4).prop_map(|numbers| json!({ "NS": numbers })),
    ];
    leaf.prop_recursive(4, 32, 5, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..5).prop_map(|members| json!({ "L": members })),
            btree_map(any::<String>(), inner, 0..5).prop_map(|members| json!({ "M": members })),
        ]
    })
}

fn any_item() -> impl Strategy<Value = Item> {
    btree_map(any::<String>(), attribute_value(), 0..5).prop_map(|members| item(&json!(members).to_string()))
}

fn any_change() -> impl Strategy<Value = Change> {
    let image = || prop::option::of(any_item());
    let cause = prop_oneof![Just(RemoveCause::Request), Just(RemoveCause::TimeToLive)];
    prop_oneof![
        image().prop_map(|new| Change::Insert { new }),
        (image(), image()).prop_map(|(old, new)| Change::Modify { old, new }),
        (image(), cause).prop_map(|(old, cause)| Change::Remove { old, cause }),
    ]
}

/// An event with any images, key, ids and time within the calendar.
pub(super) fn any_event() -> impl Strategy<Value = ChangeEvent> {
    let ids = (any::<String>(), any::<String>());
    let key = ("-?(0|[1-9][0-9]{0,37})", any::<String>());
    (any_change(), key, ids, "[0-9]{1,40}", -100_000_000_000_i64..4_000_000_000_000, any::<u64>()).prop_map(
        |(change, (id, fecha), (shard, event_id), digits, created_at_ms, size_bytes)| ChangeEvent {
            key: item(&json!({ "Fecha": { "S": fecha }, "Id": { "N": id } }).to_string()),
            change,
            source: SourceInfo {
                shard: ShardId::new(&shard),
                sequence_number: SequenceNumber::parse(digits.into()).expect("digits"),
                event_id: event_id.into(),
                created_at_ms,
                size_bytes,
            },
        },
    )
}
