//! Our decoder against the SDK's own deserializer, on the same pages from the same server: record by record and
//! attribute by attribute they must say the same.

use crate::generate;
use crate::server::{Answer, ScriptedServer};
use aws_sdk_dynamodbstreams::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_dynamodbstreams::types::{AttributeValue, Record};
use serde_json::{Map, Value, json};
use tailwater_model::{ChangeEvent, Item, ShardId};
use tailwater_source_dynamodb::{Decoded, ShardIterator, StreamApi, connect_emulator};

const PAGES: usize = 60;

#[tokio::test]
async fn our_decoder_says_what_the_sdk_says() {
    let mut random = fastrand::Rng::with_seed(20_261_123);
    let pages: Vec<String> = (0..PAGES).map(|_| generate::page(&mut random)).collect();
    let script = pages.iter().flat_map(|page| [Answer::ok(page), Answer::ok(page)]).collect();
    let server = ScriptedServer::start(script).await;
    let ours = connect_emulator(&server.url);
    let theirs = sdk_client(&server.url);
    let (shard, iterator) = (ShardId::new("shardId-1"), ShardIterator("i".into()));
    let mut compared = 0;
    for page in &pages {
        let our_page = ours.get_records(&shard, &iterator).await.expect(page).answer;
        let their_page = theirs.get_records().shard_iterator("i").send().await.expect(page);
        assert_eq!(our_page.bytes, page.len());
        assert_eq!(our_page.next.as_ref().map(|next| next.0.as_str()), their_page.next_shard_iterator(), "{page}");
        assert_eq!(our_page.records.len(), their_page.records().len(), "{page}");
        for (ours, theirs) in our_page.records.iter().zip(their_page.records()) {
            let Decoded::Event(event) = ours else { panic!("{ours:?}") };
            assert_same(event, theirs);
            compared += 1;
        }
    }
    assert!(compared > PAGES, "{compared} records");
    assert_eq!(server.served(), PAGES * 2);
}

fn assert_same(event: &ChangeEvent, record: &Record) {
    let theirs = record.dynamodb().expect("a change");
    let service = record.user_identity().is_some_and(|identity| {
        identity.r#type() == Some("Service") && identity.principal_id() == Some("dynamodb.amazonaws.com")
    });
    let name = record.event_name().expect("a name").as_str().to_lowercase();
    assert_eq!(event.change.name(), if service { "ttl" } else { &name });
    assert_eq!(Some(&*event.source.event_id), record.event_id());
    assert_eq!(Some(event.source.sequence_number.as_str()), theirs.sequence_number());
    assert_eq!(i64::try_from(event.source.size_bytes).ok(), theirs.size_bytes());
    let time = theirs.approximate_creation_date_time().expect("a time");
    assert_eq!(Some(event.source.created_at_ms), time.to_millis().ok());
    assert_eq!(Some(typed(&event.key)), theirs.keys().map(typed_map));
    assert_eq!(event.change.new_image().map(typed), theirs.new_image().map(typed_map));
    assert_eq!(event.change.old_image().map(typed), theirs.old_image().map(typed_map));
}

fn typed(item: &Item) -> Value {
    serde_json::from_str(item.typed_json()).expect("typed JSON")
}

fn typed_map<'a>(map: impl IntoIterator<Item = (&'a String, &'a AttributeValue)>) -> Value {
    Value::Object(map.into_iter().map(|(name, value)| (name.clone(), typed_value(value))).collect::<Map<_, _>>())
}

fn typed_value(value: &AttributeValue) -> Value {
    let base64 = |blob: &aws_sdk_dynamodbstreams::primitives::Blob| aws_smithy_types::base64::encode(blob);
    match value {
        AttributeValue::S(text) => json!({ "S": text }),
        AttributeValue::N(text) => json!({ "N": text }),
        AttributeValue::B(blob) => json!({ "B": base64(blob) }),
        AttributeValue::Bool(value) => json!({ "BOOL": value }),
        AttributeValue::Null(value) => json!({ "NULL": value }),
        AttributeValue::L(list) => json!({ "L": list.iter().map(typed_value).collect::<Vec<_>>() }),
        AttributeValue::M(map) => json!({ "M": typed_map(map) }),
        AttributeValue::Ss(set) => json!({ "SS": set }),
        AttributeValue::Ns(set) => json!({ "NS": set }),
        AttributeValue::Bs(set) => json!({ "BS": set.iter().map(base64).collect::<Vec<_>>() }),
        other => panic!("a type that the generator does not make: {other:?}"),
    }
}

fn sdk_client(endpoint: &str) -> aws_sdk_dynamodbstreams::Client {
    aws_sdk_dynamodbstreams::Client::from_conf(
        aws_sdk_dynamodbstreams::Config::builder()
            .http_client(aws_smithy_http_client::Builder::new().build_http())
            .behavior_version(BehaviorVersion::v2026_01_12())
            .region(Region::new("us-east-1"))
            .endpoint_url(endpoint)
            .credentials_provider(Credentials::new("local", "local", None, None, "test"))
            .build(),
    )
}
