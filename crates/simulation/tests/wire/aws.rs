//! What the wire answers as AWS does, beside items and streams: names, refusals, tags, limits.

use serde_json::{Value, json};
use tailwater_simulation::http::WireManners;
use tailwater_simulation::service::Manners;

use crate::ground::{Server, orders};

const ARN: &str = "arn:aws:dynamodb:us-east-1:000000000000:table/Orders";

async fn with_orders() -> (Server, String) {
    let server = Server::start(Manners::kind(), WireManners::default()).await;
    let stream = server.orders().await;
    (server, stream)
}

async fn refusal(server: &Server, operation: &str, request: Value) -> (String, String) {
    let answer = server.send(&format!("DynamoDB_20120810.{operation}"), &request.to_string()).await;
    assert_eq!(answer.status, 400, "{}", answer.body);
    let body: Value = serde_json::from_str(&answer.body).expect("JSON");
    let word = |name: &str| body[name].as_str().unwrap_or_default().to_owned();
    (word("__type"), word("message") + &word("Message"))
}

/// DynamoDB API reference, `StreamDescription`: the key attributes of the stream's table.
#[tokio::test]
async fn a_stream_names_its_key() {
    let server = Server::start(Manners::kind(), WireManners::default()).await;
    let mut request = orders();
    let keys = json!([{"AttributeName": "Id", "KeyType": "HASH"}, {"AttributeName": "Fecha", "KeyType": "RANGE"}]);
    request["KeySchema"] = keys.clone();
    request["AttributeDefinitions"] =
        json!([{"AttributeName": "Id", "AttributeType": "S"}, {"AttributeName": "Fecha", "AttributeType": "S"}]);
    let made = server.table("CreateTable", request).await;
    let arn = made["TableDescription"]["LatestStreamArn"].clone();
    let described = server.stream("DescribeStream", json!({"StreamArn": arn})).await;
    assert_eq!(described["StreamDescription"]["KeySchema"], keys);
    server.stop().await;
}

/// The ARNs of a table, its indexes and its stream are of one region and one account.
#[tokio::test]
async fn all_arns_are_of_the_region() {
    let server = Server::start(Manners::kind(), WireManners::default()).await;
    let mut request = orders();
    request["GlobalSecondaryIndexes"] = json!([{"IndexName": "ByValue", "Projection": {"ProjectionType": "ALL"},
        "KeySchema": [{"AttributeName": "Id", "KeyType": "HASH"}]}]);
    let made = server.table("CreateTable", request).await["TableDescription"].take();
    let described = server.table("DescribeTable", json!({"TableName": "Orders"})).await["Table"].take();
    let updated = json!({"TableName": "Orders", "StreamSpecification": {"StreamEnabled": false}});
    let updated = server.table("UpdateTable", updated).await["TableDescription"].take();
    let deleted = server.table("DeleteTable", json!({"TableName": "Orders"})).await["TableDescription"].take();
    for (operation, table) in [("Create", made), ("Describe", described), ("Update", updated), ("Delete", deleted)] {
        assert_eq!(table["TableArn"], ARN, "{operation}");
        assert!(table["LatestStreamArn"].as_str().is_some_and(|stream| stream.starts_with(ARN)), "{operation}");
        if let Some(index) = table["GlobalSecondaryIndexes"].get(0) {
            assert_eq!(index["IndexArn"], format!("{ARN}/index/ByValue"), "{operation}");
        }
    }
    server.stop().await;
}

/// DynamoDB API reference: wherever a table is named, its ARN will do.
#[tokio::test]
async fn a_table_may_be_named_by_its_arn() {
    let (server, stream) = with_orders().await;
    let (key, item) = (json!({"Id": {"S": "a"}}), json!({"Id": {"S": "a"}, "v": {"N": "1"}}));
    server.table("PutItem", json!({"TableName": ARN, "Item": item})).await;
    let found = server.table("GetItem", json!({"TableName": ARN, "Key": key})).await;
    assert_eq!(found["Item"], item);
    let other = json!({"Id": {"S": "b"}});
    server.table("BatchWriteItem", json!({"RequestItems": {ARN: [{"PutRequest": {"Item": other}}]}})).await;
    let delete = json!([{"Delete": {"TableName": ARN, "Key": other}}]);
    server.table("TransactWriteItems", json!({"TransactItems": delete})).await;
    assert_eq!(server.changes(&stream).await, ["INSERT", "INSERT", "REMOVE"]);
    assert_eq!(server.table("DescribeTable", json!({"TableName": ARN})).await["Table"]["TableName"], "Orders");
    let listed = server.stream("ListStreams", json!({"TableName": ARN})).await;
    assert_eq!(listed["Streams"][0]["StreamArn"], stream.as_str());
    let elsewhere = ARN.replace("us-east-1", "eu-west-1");
    let (_, message) = refusal(&server, "DescribeTable", json!({"TableName": elsewhere})).await;
    assert!(!message.is_empty());
    server.stop().await;
}

/// The embedded database marks the errors of its reader; nobody outside may see that.
#[tokio::test]
async fn refusals_have_no_marks_of_the_embedded_server() {
    let (server, _) = with_orders().await;
    let validation = "com.amazon.coral.validate#ValidationException";
    let serialization = "com.amazon.coral.service#SerializationException";
    for (operation, request, kind) in [
        ("PutItem", json!({"TableName": "", "Item": {}}), validation),
        ("PutItem", json!({"TableName": "Orders"}), validation),
        ("PutItem", json!({"TableName": "Orders", "Item": {"Id": {"S": "a"}, "v": {}}}), validation),
        ("PutItem", json!({"TableName": "Orders", "Item": {"Id": {"S": "a"}, "v": {"NULL": false}}}), validation),
        ("PutItem", json!({"TableName": "Orders", "Item": {"Id": {"S": 7}}}), serialization),
        ("UpdateItem", json!({"TableName": "Orders", "Key": {"Id": {"S": "a"}}, "UpdateExpression": 7}), serialization),
        ("GetItem", json!({"TableName": "Orders"}), validation),
        ("GetItem", json!({"TableName": "Orders", "Key": 7}), serialization),
    ] {
        let (found, message) = refusal(&server, operation, request.clone()).await;
        assert_eq!(found, kind, "{operation} {request}: {message}");
        for mark in ["VALIDATION", "SERIALIZATION:", "AS_READ", " at line "] {
            assert!(!message.contains(mark), "{operation} {request}: {message}");
        }
    }
    server.stop().await;
}

/// Observed on AWS (terraform-provider-aws 35673): the stream and the throughput are not changed by one call. Whatever else
/// a call changes is changed with the stream, or not at all.
#[tokio::test]
async fn an_update_of_two_things_does_both_or_none() {
    let (server, _) = with_orders().await;
    let update = |stream: Value, more: (&str, Value)| json!({"TableName": "Orders", "StreamSpecification": stream, more.0: more.1});
    let off = json!({"StreamEnabled": false});
    let on = json!({"StreamEnabled": true, "StreamViewType": "KEYS_ONLY"});
    let throughput = json!({"ReadCapacityUnits": 1, "WriteCapacityUnits": 1});
    let (kind, message) =
        refusal(&server, "UpdateTable", update(off.clone(), ("ProvisionedThroughput", throughput))).await;
    assert_eq!(kind, "com.amazon.coral.validate#ValidationException");
    assert!(message.ends_with("You cannot modify stream status while updating table IOPS"), "{message}");
    let protection = ("DeletionProtectionEnabled", json!(true));
    let (_, message) = refusal(&server, "UpdateTable", update(on.clone(), protection.clone())).await;
    assert!(message.contains("already has an enabled stream"), "{message}");
    let table = server.table("DescribeTable", json!({"TableName": "Orders"})).await["Table"].take();
    assert_eq!(
        (&table["DeletionProtectionEnabled"], &table["StreamSpecification"]["StreamEnabled"]),
        (&json!(false), &json!(true))
    );
    let table = server.table("UpdateTable", update(off, protection)).await["TableDescription"].take();
    assert_eq!(table["DeletionProtectionEnabled"], true);
    assert!(table.get("StreamSpecification").is_none());
    server.stop().await;
}

/// DynamoDB API reference: `TagResource`, `ListTagsOfResource`, `UntagResource`.
#[tokio::test]
async fn tables_have_tags() {
    let (server, _) = with_orders().await;
    let tags = json!([{"Key": "team", "Value": "shop"}, {"Key": "stage", "Value": "test"}]);
    server.table("TagResource", json!({"ResourceArn": ARN, "Tags": tags})).await;
    server.table("UntagResource", json!({"ResourceArn": ARN, "TagKeys": ["stage"]})).await;
    let left = server.table("ListTagsOfResource", json!({"ResourceArn": ARN})).await;
    assert_eq!(left["Tags"], json!([{"Key": "team", "Value": "shop"}]));
    server.stop().await;
}

/// DynamoDB API reference: `DescribeLimits` has four numbers, `DescribeEndpoints` says where to go; here that is where the
/// question came to, and never AWS.
#[tokio::test]
async fn limits_and_endpoints_are_told() {
    let (server, _) = with_orders().await;
    let limits = server.table("DescribeLimits", json!({})).await;
    for field in [
        "AccountMaxReadCapacityUnits",
        "AccountMaxWriteCapacityUnits",
        "TableMaxReadCapacityUnits",
        "TableMaxWriteCapacityUnits",
    ] {
        assert!(limits[field].as_u64().is_some_and(|units| units >= 40_000), "{field}");
    }
    let endpoints = server.table("DescribeEndpoints", json!({})).await;
    let address = endpoints["Endpoints"][0]["Address"].as_str().expect("an address").to_owned();
    assert_eq!(format!("http://{address}"), server.endpoint);
    server.stop().await;
}
