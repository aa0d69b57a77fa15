//! Reads the same page N times through the real SDK call over loopback and encodes it as plain JSON: `tailwater` by our
//! decoder and encoder, `textbook` by the SDK's types and `serde_json::Value`. `cargo x bench` counts the instructions.
//!
//! Usage: `page_cost serve` prints its port and serves the page; `page_cost tailwater|textbook PORT TIMES` reads it.
#![expect(clippy::print_stdout, reason = "a program for the benchmark runner, which reads its output")]

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

use aws_sdk_dynamodbstreams::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_dynamodbstreams::types::AttributeValue;
use serde_json::{Map, Value, json};
use tailwater_model::{ShardId, push_plain_item};
use tailwater_source_dynamodb::{AwsSettings, Decoded, ShardIterator, StreamApi, connect};

/// Records of the page: the most that `GetRecords` gives.
const RECORDS: usize = 1_000;

type Outcome = Result<(), Box<dyn std::error::Error>>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Outcome {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["serve"] => serve(),
        ["tailwater", port, times] => tailwater(&endpoint(port), times.parse()?).await,
        ["textbook", port, times] => textbook(&endpoint(port), times.parse()?).await,
        _ => Err("usage: page_cost serve | page_cost tailwater|textbook PORT TIMES".into()),
    }
}

fn endpoint(port: &str) -> String {
    format!("http://127.0.0.1:{port}")
}

/// Our way. Expects credentials in the environment, as every user of the SDK has them.
async fn tailwater(endpoint: &str, times: usize) -> Outcome {
    let settings =
        AwsSettings { region: Some("us-east-1".into()), endpoint_url: Some(endpoint.into()), ..AwsSettings::default() };
    let api = connect(&settings).await?;
    let (shard, iterator) = (ShardId::new("shard"), ShardIterator("iterator".into()));
    let mut out = String::new();
    for _ in 0..times {
        out.clear();
        for decoded in api.get_records(&shard, &iterator).await?.records {
            let Decoded::Event(event) = decoded else { return Err("a record was not decoded".into()) };
            out.push_str("{\"key\":");
            push_plain_item(&event.key, &mut out);
            for (name, image) in [(",\"old\":", event.change.old_image()), (",\"new\":", event.change.new_image())] {
                out.push_str(name);
                match image {
                    Some(image) => push_plain_item(image, &mut out),
                    None => out.push_str("null"),
                }
            }
            out.push_str("}\n");
        }
    }
    println!("{} bytes", out.len());
    Ok(())
}

/// What a careful team writes first: the SDK's types, a `Value` of them, bytes of that.
async fn textbook(endpoint: &str, times: usize) -> Outcome {
    let config = aws_sdk_dynamodbstreams::Config::builder()
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .endpoint_url(endpoint)
        .credentials_provider(Credentials::new("local", "local", None, None, "page_cost"))
        .build();
    let client = aws_sdk_dynamodbstreams::Client::from_conf(config);
    let mut out = Vec::new();
    for _ in 0..times {
        out.clear();
        for record in client.get_records().shard_iterator("iterator").send().await?.records() {
            let change = record.dynamodb().ok_or("a record without a change")?;
            let line = json!({
                "key": plain_map(change.keys()),
                "old": plain_map(change.old_image()),
                "new": plain_map(change.new_image()),
            });
            serde_json::to_writer(&mut out, &line)?;
            out.push(b'\n');
        }
    }
    println!("{} bytes", out.len());
    Ok(())
}

#[expect(clippy::disallowed_types, reason = "the SDK's own type: what is measured")]
fn plain_map(item: Option<&std::collections::HashMap<String, AttributeValue>>) -> Value {
    item.map_or(Value::Null, |item| {
        Value::Object(item.iter().map(|(name, value)| (name.clone(), plain(value))).collect::<Map<_, _>>())
    })
}

fn plain(value: &AttributeValue) -> Value {
    match value {
        AttributeValue::S(text) | AttributeValue::N(text) => Value::String(text.clone()),
        AttributeValue::Bool(value) => Value::Bool(*value),
        AttributeValue::M(map) => plain_map(Some(map)),
        AttributeValue::L(list) => Value::Array(list.iter().map(plain).collect()),
        AttributeValue::Ss(set) | AttributeValue::Ns(set) => {
            set.iter().map(|text| Value::String(text.clone())).collect()
        }
        _ => Value::Null,
    }
}

/// Serves the page to every request, for as long as the process lives.
fn serve() -> Outcome {
    let body = page();
    let listener = TcpListener::bind("127.0.0.1:0")?;
    println!("{}", listener.local_addr()?.port());
    std::io::stdout().flush()?;
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/x-amz-json-1.0\r\nx-amz-crc32: {}\r\ncontent-length: {}\r\n\r\n",
        crc32fast::hash(body.as_bytes()),
        body.len()
    );
    let response = [head.as_bytes(), body.as_bytes()].concat();
    for connection in listener.incoming() {
        let mut connection = connection?;
        while read_request(&mut connection)? {
            connection.write_all(&response)?;
        }
    }
    Ok(())
}

/// Reads one request with its body. Answers false at the end of the connection.
fn read_request(connection: &mut TcpStream) -> std::io::Result<bool> {
    let mut request = Vec::new();
    let mut piece = [0; 4096];
    loop {
        let length = connection.read(&mut piece)?;
        if length == 0 {
            return Ok(false);
        }
        request.extend_from_slice(&piece[..length]);
        let text = String::from_utf8_lossy(&request);
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let expected =
                head.to_lowercase().lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
            if body.len() >= expected.unwrap_or(0) {
                return Ok(true);
            }
        }
    }
}

/// One page in AWS's compact form: NEW_AND_OLD_IMAGES, about 1.1 KB a record, with escapes, non-ASCII text, numbers, a
/// list of maps and a set.
fn page() -> String {
    let records: Vec<String> = (0..RECORDS).map(record).collect();
    format!(r#"{{"NextShardIterator":"next","Records":[{}]}}"#, records.join(","))
}

fn record(number: usize) -> String {
    let image = |status: &str| {
        format!(
            r#"{{"Id":{{"S":"ORDER#{number:08}"}},"Fecha":{{"S":"2026-11-23T10:{:02}:{:02}Z"}},"status":{{"S":"{status}"}},"customer":{{"S":"Zoë \"Z\" Müller, Straße {number}"}},"total":{{"N":"{}.{:02}"}},"paid":{{"BOOL":{}}},"note":{{"NULL":true}},"lines":{{"L":[{{"M":{{"sku":{{"S":"A-{number}"}},"quantity":{{"N":"2"}}}}}},{{"M":{{"sku":{{"S":"B-7"}},"quantity":{{"N":"11"}}}}}}]}},"tags":{{"SS":["gift","new","vip"]}},"version":{{"N":"{number}"}}}}"#,
            number / 60 % 60,
            number % 60,
            number * 7,
            number % 100,
            number.is_multiple_of(2),
        )
    };
    format!(
        r#"{{"awsRegion":"us-east-1","dynamodb":{{"ApproximateCreationDateTime":1795364321,"Keys":{{"Id":{{"S":"ORDER#{number:08}"}},"Fecha":{{"S":"2026-11-23T10:{:02}:{:02}Z"}}}},"NewImage":{},"OldImage":{},"SequenceNumber":"1110000000000{number:08}","SizeBytes":812,"StreamViewType":"NEW_AND_OLD_IMAGES"}},"eventID":"c4ca4238a0b923820dcc{number:012}","eventName":"MODIFY","eventSource":"aws:dynamodb","eventVersion":"1.1"}}"#,
        number / 60 % 60,
        number % 60,
        image("PAID"),
        image("NEW"),
    )
}
