//! The SDK behind our trait against DynamoDB Local. Needs the server that `cargo x up` starts.

use std::time::Duration;

use aws_sdk_dynamodb::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_dynamodb::types::{
    AttributeDefinition, AttributeValue, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType,
};
use tailwater_model::{KeyAttribute, KeyKind, ShardId, TroubleKind, ViewType};
use tailwater_source_dynamodb::{
    ApiErrorKind, Decoded, DynamoDb, IteratorStart, RecordPage, ShardIterator, StreamApi, connect_emulator,
};

/// Where the server is: the variable and the default that every test of the project uses.
fn endpoint() -> String {
    let set = std::env::var("TAILWATER_TEST_DYNAMODB").ok().filter(|url| !url.is_empty());
    set.unwrap_or_else(|| "http://127.0.0.1:28000".into())
}

fn writer() -> aws_sdk_dynamodb::Client {
    aws_sdk_dynamodb::Client::from_conf(
        aws_sdk_dynamodb::Config::builder()
            .http_client(aws_smithy_http_client::Builder::new().build_http())
            .behavior_version(BehaviorVersion::v2026_01_12())
            .region(Region::new("us-east-1"))
            .endpoint_url(endpoint())
            .credentials_provider(Credentials::new("local", "local", None, None, "test"))
            .build(),
    )
}

/// A new table without a stream: partition key `Id` (N), sort key `Fecha` (S).
async fn create_table(writer: &aws_sdk_dynamodb::Client, purpose: &str) -> String {
    let table = format!("source_{purpose}_{}", std::process::id());
    // What a process with the same id may have left behind.
    drop(writer.delete_table().table_name(&table).send().await);
    let mut call = writer.create_table().table_name(&table).billing_mode(BillingMode::PayPerRequest);
    for (name, kind, role) in
        [("Id", ScalarAttributeType::N, KeyType::Hash), ("Fecha", ScalarAttributeType::S, KeyType::Range)]
    {
        let definition = AttributeDefinition::builder().attribute_name(name).attribute_type(kind).build();
        let element = KeySchemaElement::builder().attribute_name(name).key_type(role).build();
        call = call.attribute_definitions(definition.expect("complete")).key_schema(element.expect("complete"));
    }
    call.send().await.expect("DynamoDB Local answers: start it with `cargo x up`");
    table
}

async fn put(writer: &aws_sdk_dynamodb::Client, table: &str, id: u32, note: &str) {
    let call = writer.put_item().table_name(table).item("Id", AttributeValue::N(id.to_string()));
    let call = call.item("Fecha", AttributeValue::S("2026-11-23".into()));
    call.item("note", AttributeValue::S(note.into())).send().await.expect("a put");
}

/// The pages of a shard from `start` until `records` are read or the shard ends.
async fn read(api: &DynamoDb, arn: &str, shard: &ShardId, start: &IteratorStart, records: usize) -> Vec<RecordPage> {
    let mut next = Some(api.shard_iterator(arn, shard, start).await.expect("an iterator"));
    let mut pages: Vec<RecordPage> = Vec::new();
    for _ in 0..100 {
        let Some(iterator) = next else { break };
        let page = api.get_records(shard, &iterator).await.expect("a page").answer;
        next = page.next.clone();
        pages.push(page);
        if pages.iter().map(|page| page.records.len()).sum::<usize>() >= records {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    pages
}

fn names(pages: &[RecordPage]) -> Vec<&'static str> {
    let name = |decoded: &Decoded| match decoded {
        Decoded::Event(event) => event.change.name(),
        Decoded::DeadLetter(letter) => letter.code,
    };
    pages.iter().flat_map(|page| &page.records).map(name).collect()
}

#[tokio::test]
async fn a_stream_is_turned_on_read_and_turned_off() {
    let writer = writer();
    let api = connect_emulator(&endpoint());
    let table = create_table(&writer, "life").await;

    let described = api.describe_table(&table).await.expect("the table");
    assert_eq!((described.name.as_str(), &described.stream), (table.as_str(), &None));
    assert!(described.arn.ends_with(&table) && !described.table_id.is_empty());
    assert_eq!(described.key_schema.partition, KeyAttribute { name: "Id".into(), kind: KeyKind::N });
    assert_eq!(described.key_schema.sort, Some(KeyAttribute { name: "Fecha".into(), kind: KeyKind::S }));

    let stream = api.enable_stream(&table, ViewType::NewAndOldImages).await.expect("a stream");
    assert!(stream.enabled && stream.view_type == ViewType::NewAndOldImages);
    assert_eq!(api.enable_stream(&table, ViewType::NewAndOldImages).await.expect("the same"), stream);
    let other = api.enable_stream(&table, ViewType::KeysOnly).await.expect_err("another view type");
    assert_eq!((other.kind, other.code), (TroubleKind::Config, "aws.stream_view_type"));
    assert_eq!(api.describe_table(&table).await.expect("the table").stream, Some(stream.clone()));

    put(&writer, &table, 1, "one \u{0} é").await;
    put(&writer, &table, 1, "two").await;
    let key = |name: &str| (name == "Id").then(|| AttributeValue::N("1".into()));
    let delete = writer.delete_item().table_name(&table).key("Id", key("Id").expect("the key"));
    delete.key("Fecha", AttributeValue::S("2026-11-23".into())).send().await.expect("a delete");

    let listing = api.list_shards(&stream.arn, None).await.expect("a listing").answer;
    let [shard] = &listing.shards[..] else { panic!("{listing:?}") };
    assert!(!shard.closed && !listing.disabled && listing.last_evaluated.is_none());
    let pages = read(&api, &stream.arn, &shard.shard, &IteratorStart::TrimHorizon, 3).await;
    assert_eq!(names(&pages), ["insert", "modify", "remove"]);
    let Decoded::Event(first) = &pages[0].records[0] else { panic!("{pages:?}") };
    let image = first.change.new_image().map(|item| item.typed_json().to_owned()).unwrap_or_default();
    assert!(image.contains(r#""note":{"S":"one \u0000 é"}"#), "{image}");
    let after = IteratorStart::After(first.source.sequence_number.clone());
    assert_eq!(names(&read(&api, &stream.arn, &shard.shard, &after, 2).await), ["modify", "remove"]);

    api.disable_stream(&table).await.expect("turned off");
    api.disable_stream(&table).await.expect("still off");
    let off = api.describe_table(&table).await.expect("the table").stream.expect("readable for 24 hours");
    assert_eq!((off.enabled, off.arn.as_str(), off.view_type), (false, stream.arn.as_str(), stream.view_type));
    let listing = api.list_shards(&stream.arn, None).await.expect("a listing").answer;
    assert!(listing.disabled && listing.shards.iter().all(|shard| shard.closed), "{listing:?}");
    let pages = read(&api, &stream.arn, &shard.shard, &IteratorStart::TrimHorizon, 99).await;
    assert_eq!(names(&pages), ["insert", "modify", "remove"]);
    assert_eq!(pages.last().expect("a page").next, None);
    // DynamoDB Local ignores the filter: the answer is a hint that the caller checks.
    api.list_children(&stream.arn, &shard.shard).await.expect("an answer");
    writer.delete_table().table_name(&table).send().await.expect("cleaned up");
}

#[tokio::test]
async fn raw_records_are_the_service_s_own_text() {
    let writer = writer();
    let api = connect_emulator(&endpoint());
    let table = create_table(&writer, "raw").await;
    let stream = api.enable_stream(&table, ViewType::NewImage).await.expect("a stream");
    put(&writer, &table, 7, "raw").await;
    let listing = api.list_shards(&stream.arn, None).await.expect("a listing").answer;
    let shard = &listing.shards[0].shard;
    let iterator = api.shard_iterator(&stream.arn, shard, &IteratorStart::TrimHorizon).await.expect("an iterator");
    let page = api.get_raw_records(shard, &iterator).await.expect("a page");
    assert!(page.answer.next.is_some());
    let record: serde_json::Value = serde_json::from_str(&page.answer.records[0]).expect("JSON");
    assert_eq!(record.pointer("/dynamodb/NewImage/note/S").and_then(|text| text.as_str()), Some("raw"));
    writer.delete_table().table_name(&table).send().await.expect("cleaned up");
}

#[tokio::test]
async fn what_is_not_there_is_said_in_our_words() {
    let writer = writer();
    let api = connect_emulator(&endpoint());
    let trouble = api.describe_table("source_no_such_table").await.expect_err("no table");
    assert_eq!((trouble.kind, trouble.code), (TroubleKind::Environment, "aws.table_not_found"));
    assert!(trouble.message.contains("source_no_such_table") && trouble.message.contains("us-east-1"), "{trouble}");

    let table = create_table(&writer, "missing").await;
    let stream = api.enable_stream(&table, ViewType::KeysOnly).await.expect("a stream");
    let nowhere = ShardId::new("shardId-00000000000000000000-00000000");
    for (what, error) in [
        ("stream", api.list_shards(&format!("{}0", stream.arn), None).await.err()),
        ("shard", api.shard_iterator(&stream.arn, &nowhere, &IteratorStart::TrimHorizon).await.err()),
    ] {
        assert_eq!(error.map(|error| error.kind), Some(ApiErrorKind::NotFound), "{what}");
    }
    let error = api.get_records(&nowhere, &ShardIterator("garbage".into())).await.expect_err("no iterator");
    assert_eq!(error.kind, ApiErrorKind::IteratorExpired, "{error}");
    writer.delete_table().table_name(&table).send().await.expect("cleaned up");
}
