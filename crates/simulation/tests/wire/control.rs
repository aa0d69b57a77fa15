//! What testers of consumers ask for beside the protocol.

use serde_json::{Value, json};
use tailwater_simulation::http::WireManners;
use tailwater_simulation::service::Manners;

use crate::ground::{Server, orders};

async fn with_orders() -> (Server, String) {
    let server = Server::start(Manners::kind(), WireManners::default()).await;
    let stream = server.orders().await;
    server.wait(1000);
    (server, stream)
}

async fn done(server: &Server, what: &str) -> Value {
    let (status, answer) = server.control(what).await;
    assert_eq!(status, 200, "{what}: {answer}");
    answer
}

async fn shards(server: &Server, stream: &str) -> Vec<Value> {
    let described = server.stream("DescribeStream", json!({"StreamArn": stream})).await;
    described["StreamDescription"]["Shards"].as_array().expect("shards").clone()
}

async fn iterator(server: &Server, stream: &str) -> Value {
    let shard = shards(server, stream).await[0]["ShardId"].take();
    let start = json!({"StreamArn": stream, "ShardId": shard, "ShardIteratorType": "TRIM_HORIZON"});
    server.stream("GetShardIterator", start).await["ShardIterator"].take()
}

async fn refusal(server: &Server, target: &str, request: Value) -> (u16, String) {
    let answer = server.send(target, &request.to_string()).await;
    let body: Value = serde_json::from_str(&answer.body).expect("JSON");
    (answer.status, body["__type"].as_str().unwrap_or_default().rsplit('#').next().unwrap_or_default().to_owned())
}

const GET_RECORDS: &str = "DynamoDBStreams_20120810.GetRecords";

#[tokio::test]
async fn shards_rotate_when_a_tester_asks() {
    let (server, stream) = with_orders().await;
    let answer = done(&server, "POST rotate?table=Orders").await;
    let listed = shards(&server, &stream).await;
    assert_eq!(listed.len(), 2);
    assert_eq!(listed[1]["ParentShardId"], answer["closed"][0]);
    assert_eq!(listed[1]["ShardId"], answer["children"][0]);
    // One alone, of all streams.
    server.wait(1000);
    let open = listed[1]["ShardId"].as_str().expect("an id");
    assert_eq!(done(&server, &format!("POST rotate?shard={open}")).await["closed"], json!([open]));
    assert_eq!(shards(&server, &stream).await.len(), 3);
    server.stop().await;
}

#[tokio::test]
async fn shards_split_when_a_tester_asks() {
    let (server, stream) = with_orders().await;
    for (children, expected) in [(2, 3), (4, 7)] {
        let answer = done(&server, "POST split").await;
        assert_eq!(answer["children"].as_array().map(Vec::len), Some(children));
        assert_eq!(shards(&server, &stream).await.len(), expected);
        server.wait(1000);
    }
    server.stop().await;
}

/// One that is on is none of them.
#[tokio::test]
async fn streams_that_were_turned_off_go_when_a_tester_asks() {
    let (server, stream) = with_orders().await;
    assert_eq!(done(&server, "POST forget").await, json!({"gone": []}));
    let off = json!({"TableName": "Orders", "StreamSpecification": {"StreamEnabled": false}});
    server.table("UpdateTable", off).await;
    server.wait(60_000);
    shards(&server, &stream).await;
    assert_eq!(done(&server, "POST forget?table=Orders").await, json!({"gone": [stream]}));
    let refused = refusal(&server, "DynamoDBStreams_20120810.DescribeStream", json!({"StreamArn": stream})).await;
    assert_eq!(refused, (400, "ResourceNotFoundException".into()));
    server.stop().await;
}

#[tokio::test]
async fn records_are_trimmed_when_a_tester_asks() {
    let (server, stream) = with_orders().await;
    for value in 1..=4 {
        server.put("a", value).await;
    }
    let start = iterator(&server, &stream).await;
    let answer = done(&server, "POST trim?table=Orders&records=3").await;
    assert_eq!((&answer["shards"][0]["trimmed"], &answer["shards"][0]["gone"]), (&json!(3), &json!(false)));
    assert_eq!(server.changes(&stream).await.len(), 1);
    let refused = refusal(&server, GET_RECORDS, json!({"ShardIterator": start})).await;
    assert_eq!(refused, (400, "TrimmedDataAccessException".into()));
    done(&server, "POST rotate").await;
    let answer = done(&server, "POST trim").await;
    assert_eq!(answer["shards"][0]["gone"], true, "a closed shard goes with its last record");
    assert_eq!(shards(&server, &stream).await.len(), 1);
    server.stop().await;
}

#[tokio::test]
async fn iterators_expire_when_a_tester_asks() {
    let (server, stream) = with_orders().await;
    server.put("a", 1).await;
    let old = iterator(&server, &stream).await;
    done(&server, "POST expire").await;
    let refused = refusal(&server, GET_RECORDS, json!({"ShardIterator": old})).await;
    assert_eq!(refused, (400, "ExpiredIteratorException".into()));
    let new = iterator(&server, &stream).await;
    let page = server.stream("GetRecords", json!({"ShardIterator": new})).await;
    assert_eq!(page["Records"].as_array().map(Vec::len), Some(1));
    server.stream("GetRecords", json!({"ShardIterator": page["NextShardIterator"]})).await;
    server.stop().await;
}

#[tokio::test]
async fn the_next_calls_fail_when_a_tester_asks() {
    let (server, stream) = with_orders().await;
    let start = iterator(&server, &stream).await;
    let answer = done(&server, "POST fail?error=InternalServerError&operation=GetRecords&times=2").await;
    assert_eq!(answer["to_fail"], 2);
    shards(&server, &stream).await;
    for _ in 0..2 {
        let refused = refusal(&server, GET_RECORDS, json!({"ShardIterator": start})).await;
        assert_eq!(refused, (500, "InternalServerError".into()));
    }
    server.stream("GetRecords", json!({"ShardIterator": start})).await;
    done(&server, "POST fail?error=ThrottlingException").await;
    let refused = refusal(&server, "DynamoDB_20120810.ListTables", json!({})).await;
    assert_eq!(refused, (400, "ThrottlingException".into()), "tables, too");
    assert_eq!(done(&server, "GET unkind").await["asked_for"], 3);
    server.stop().await;
}

#[tokio::test]
async fn the_truth_has_all_shards_and_records_ever() {
    let (server, stream) = with_orders().await;
    let mut other = orders();
    other["TableName"] = "Others".into();
    server.table("CreateTable", other).await;
    for value in 1..=3 {
        server.put("a", value).await;
    }
    done(&server, "POST rotate?table=Orders").await;
    done(&server, "POST trim?table=Orders").await;
    server.put("a", 4).await;
    let truth = done(&server, "GET truth?table=Orders").await;
    let (shards, records) =
        (truth["shards"].as_array().expect("shards"), truth["records"].as_array().expect("records"));
    assert_eq!((shards.len(), records.len()), (2, 4));
    assert!(shards.iter().all(|shard| shard["stream"] == stream.as_str()));
    assert_eq!((&shards[0]["gone"], &shards[1]["parent"]), (&json!(true), &shards[0]["shard"]));
    assert_eq!(records[3]["new"], json!({"Id": {"S": "a"}, "v": {"N": "4"}}));
    assert_eq!(records[3]["shard"], shards[1]["shard"]);
    assert_eq!(records.iter().filter(|record| record["trimmed"] == true).count(), 3);
    let one = shards[1]["shard"].as_str().expect("an id");
    assert_eq!(done(&server, &format!("GET truth?shard={one}")).await["records"].as_array().map(Vec::len), Some(1));
    // The streams before this one are part of it.
    for specification in [json!({"StreamEnabled": false}), orders()["StreamSpecification"].clone()] {
        server.wait(1000);
        server.table("UpdateTable", json!({"TableName": "Orders", "StreamSpecification": specification})).await;
    }
    server.wait(1000);
    server.put("a", 5).await;
    let truth = done(&server, "GET truth?table=Orders").await;
    let mut streams: Vec<&Value> =
        truth["shards"].as_array().expect("shards").iter().map(|one| &one["stream"]).collect();
    streams.dedup();
    assert_eq!((streams.len(), truth["records"].as_array().map(Vec::len)), (2, Some(5)));
    server.stop().await;
}

#[tokio::test]
async fn what_was_unkind_is_told() {
    let manners = Manners { listing_empty: 1.0, describe_per_second: Some(3), ..Manners::kind() };
    let server = Server::start(manners, WireManners { wrong_checksum: 1.0, ..WireManners::default() }).await;
    let stream = server.orders().await;
    for _ in 0..4 {
        let request = json!({"StreamArn": stream}).to_string();
        server.send("DynamoDBStreams_20120810.DescribeStream", &request).await;
    }
    let unkind = done(&server, "GET unkind").await;
    assert_eq!(unkind, json!({"listing_empty": 2, "describe_per_second": 1, "wrong_checksum": 5}));
    server.stop().await;
}

#[tokio::test]
async fn what_cannot_be_done_is_said() {
    let (server, _) = with_orders().await;
    for what in [
        "GET rotate",
        "POST truth",
        "POST explode",
        "POST rotate?table=Nowhere",
        "POST split?shard=shardId-1",
        "POST trim?records=many",
        "POST fail",
        "POST fail?error=X&times=0",
        "POST fail?error=X&operation=GetRecord",
        "POST rotate?tabel=Orders",
    ] {
        let (status, answer) = server.control(what).await;
        assert_eq!(status, 400, "{what}");
        assert!(answer["error"].as_str().is_some_and(|error| error.len() > 10), "{what}: {answer}");
    }
    server.stop().await;
}

/// What can be asked to fail is what the server answers.
#[tokio::test]
async fn the_operations_that_can_fail_are_operations() {
    let (server, _) = with_orders().await;
    let (_, answer) = server.control("POST fail?error=X&operation=Nope").await;
    let text = answer.to_string();
    let (_, names) = text.split_once("there are ").expect("they are named");
    let names = names.trim_matches(|at: char| !at.is_alphabetic()).split(", ");
    let names: Vec<_> = names.map(|name| name.trim_matches(|at: char| !at.is_alphabetic())).collect();
    assert!(names.contains(&"PutItem") && names.contains(&"GetRecords"), "{names:?}");
    for name in names {
        let is_of_streams = ["ListStreams", "DescribeStream", "GetShardIterator", "GetRecords"].contains(&name);
        let api = if is_of_streams { "DynamoDBStreams_20120810" } else { "DynamoDB_20120810" };
        let (_, code) = refusal(&server, &format!("{api}.{name}"), json!({})).await;
        assert_ne!(code, "UnknownOperationException", "{name}");
    }
    server.stop().await;
}
