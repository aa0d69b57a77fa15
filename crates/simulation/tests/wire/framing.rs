//! Headers, checksums, refusals, and tables with their streams.

use serde_json::{Value, json};
use tailwater_simulation::http::WireManners;
use tailwater_simulation::service::Manners;

use crate::ground::{Server, orders};

async fn kind() -> Server {
    Server::start(Manners::kind(), WireManners::default()).await
}

fn wire_type(body: &str) -> String {
    let body: Value = serde_json::from_str(body).expect("JSON");
    body["__type"].as_str().expect("a type").to_owned()
}

/// Observed: content type, request id, and a CRC-32 of the body.
#[tokio::test]
async fn answers_have_their_headers() {
    let server = kind().await;
    let answer = server.send("DynamoDB_20120810.ListTables", "{}").await;
    assert_eq!(answer.status, 200);
    assert!(answer.headers.contains("content-type: application/x-amz-json-1.0"), "{}", answer.headers);
    assert!(answer.headers.contains("x-amzn-requestid: "));
    assert!(answer.headers.contains(&format!("x-amz-crc32: {}\r\n", crc32fast::hash(answer.body.as_bytes()))));
    server.stop().await;
}

#[tokio::test]
async fn nonsense_is_refused_by_its_code() {
    let server = kind().await;
    for (target, body, expected) in [
        ("", "{}", "com.amazon.coral.service#UnknownOperationException"),
        ("DynamoDB_20120810.Nothing", "{}", "com.amazon.coral.service#UnknownOperationException"),
        ("DynamoDBStreams_20120810.PutItem", "{}", "com.amazon.coral.service#UnknownOperationException"),
        ("DynamoDBStreams_20120810.GetRecords", "{", "com.amazon.coral.service#SerializationException"),
        ("DynamoDBStreams_20120810.GetRecords", "", "com.amazon.coral.service#SerializationException"),
        (
            "DynamoDBStreams_20120810.GetRecords",
            r#"{"ShardIterator":7}"#,
            "com.amazon.coral.service#SerializationException",
        ),
        ("DynamoDBStreams_20120810.GetRecords", "{}", "com.amazon.coral.validate#ValidationException"),
        (
            "DynamoDBStreams_20120810.GetRecords",
            r#"{"ShardIterator":"x"}"#,
            "com.amazon.coral.validate#ValidationException",
        ),
        (
            "DynamoDBStreams_20120810.DescribeStream",
            r#"{"StreamArn":"x"}"#,
            "com.amazon.coral.validate#ValidationException",
        ),
        (
            "DynamoDB_20120810.DescribeTable",
            r#"{"TableName":"Nowhere"}"#,
            "com.amazonaws.dynamodb.v20120810#ResourceNotFoundException",
        ),
    ] {
        let answer = server.send(target, body).await;
        assert_eq!((answer.status, wire_type(&answer.body).as_str()), (400, expected), "{target} {body}");
    }
    server.stop().await;
}

/// Every way of writing reaches the stream, and what changes nothing does not.
#[tokio::test]
async fn every_write_reaches_the_stream() {
    let server = kind().await;
    let arn = server.orders().await;
    server.put("a", 1).await;
    server.put("a", 1).await;
    let update = json!({"TableName": "Orders", "Key": {"Id": {"S": "a"}}, "UpdateExpression": "SET v = v + :one",
        "ExpressionAttributeValues": {":one": {"N": "1"}}});
    server.table("UpdateItem", update).await;
    server.table("DeleteItem", json!({"TableName": "Orders", "Key": {"Id": {"S": "a"}}})).await;
    let item = |id: &str| json!({"Id": {"S": id}});
    server.table("BatchWriteItem", json!({"RequestItems": {"Orders": [{"PutRequest": {"Item": item("b")}}]}})).await;
    let puts = [
        json!({"Put": {"TableName": "Orders", "Item": item("c")}}),
        json!({"Delete": {"TableName": "Orders", "Key": item("b")}}),
    ];
    server.table("TransactWriteItems", json!({"TransactItems": puts})).await;
    let mut changes = server.changes(&arn).await;
    assert_eq!(changes.split_off(4).len(), 2);
    assert_eq!(changes, ["INSERT", "MODIFY", "REMOVE", "INSERT"]);
    let count = server.table("Scan", json!({"TableName": "Orders"})).await["Count"].take();
    assert_eq!(count, 1);
    server.stop().await;
}

/// Turning off and on again through `UpdateTable`; `DescribeTable` names the newest stream.
#[tokio::test]
async fn a_stream_is_turned_off_and_on_by_the_table() {
    let server = kind().await;
    let first = server.orders().await;
    let set = |specification: Value| json!({"TableName": "Orders", "StreamSpecification": specification});
    let off = server.table("UpdateTable", set(json!({"StreamEnabled": false}))).await;
    assert_eq!(off["TableDescription"]["LatestStreamArn"], first.as_str());
    assert!(off["TableDescription"].get("StreamSpecification").is_none());
    let again = set(json!({"StreamEnabled": true, "StreamViewType": "KEYS_ONLY"}));
    let on = server.table("UpdateTable", again.clone()).await;
    let second = on["TableDescription"]["LatestStreamArn"].as_str().expect("a stream").to_owned();
    assert_ne!(first, second);
    let refused = server.send("DynamoDB_20120810.UpdateTable", &again.to_string()).await;
    assert_eq!(wire_type(&refused.body), "com.amazon.coral.validate#ValidationException");
    let listed = server.stream("ListStreams", json!({"TableName": "Orders"})).await;
    assert_eq!(listed["Streams"].as_array().map(Vec::len), Some(2));
    let table = server.table("DescribeTable", json!({"TableName": "Orders"})).await["Table"].take();
    assert_eq!(table["StreamSpecification"]["StreamViewType"], "KEYS_ONLY");
    server.table("DeleteTable", json!({"TableName": "Orders"})).await;
    let made = server.table("CreateTable", orders()).await;
    assert_ne!(made["TableDescription"]["TableId"], table["TableId"]);
    server.stop().await;
}

/// Answers that are no answers, each as it was seen.
#[tokio::test]
async fn answers_break_as_they_were_seen_to() {
    let broken = |wire| async {
        let server = Server::start(Manners::kind(), wire).await;
        let answer = server.send("DynamoDB_20120810.ListTables", "{}").await;
        server.stop().await;
        answer
    };
    let html = broken(WireManners { html: 1.0, ..WireManners::default() }).await;
    assert!(html.status == 503 && html.body.starts_with("<html>"));
    let empty = broken(WireManners { empty: 1.0, ..WireManners::default() }).await;
    assert_eq!((empty.status, empty.body.as_str()), (500, ""));
    let truncated = broken(WireManners { truncated: 1.0, ..WireManners::default() }).await;
    assert!(truncated.status == 200 && serde_json::from_str::<Value>(&truncated.body).is_err());
    let wrong = broken(WireManners { wrong_checksum: 1.0, ..WireManners::default() }).await;
    assert!(!wrong.headers.contains(&format!("x-amz-crc32: {}\r\n", crc32fast::hash(wrong.body.as_bytes()))));
    let long = broken(WireManners { long_message: 1.0, ..WireManners::default() }).await;
    assert!(long.status == 500 && long.body.len() > 100_000);
}
