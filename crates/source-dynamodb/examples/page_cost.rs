//! Reads the same page N times through the real SDK call over loopback and encodes it as plain JSON: `tailwater` by our
//! decoder and encoder, `textbook` by the SDK's types and `serde_json::Value`. `idle` reads a page without records.
//! `decode` does our part without any call. `cargo x counts` and `cargo x bench` count the instructions.
//!
//! Usage: `page_cost serve` prints its port and serves the page; `page_cost tailwater|textbook|idle|textbook-idle PORT
//! TIMES` reads it; `page_cost decode PROFILE TIMES` needs no server.
#![expect(clippy::print_stdout, reason = "a program for the benchmark runner, which reads its output")]

#[path = "../benches/decode/pages.rs"]
mod pages;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

use aws_config::BehaviorVersion;
use aws_sdk_dynamodbstreams::types::AttributeValue;
use aws_smithy_http_client::tls::Provider;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use serde_json::{Map, Value, json};
use tailwater_model::{ShardId, push_plain_item};
use tailwater_source_dynamodb::{
    AwsSettings, Decoded, DynamoDb, ShardIterator, StreamApi, connect, decode_page, page_text,
};

use pages::{Profile, page};

/// The iterator whose page has no records.
const IDLE: &str = "idle";

type Outcome = Result<(), Box<dyn std::error::Error>>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Outcome {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["serve"] => serve(),
        ["tailwater", port, times] => tailwater(&endpoint(port), times.parse()?).await,
        ["textbook", port, times] => textbook(&endpoint(port), times.parse()?).await,
        ["idle", port, times] => idle(&endpoint(port), times.parse()?).await,
        ["textbook-idle", port, times] => textbook_idle(&endpoint(port), times.parse()?).await,
        ["decode", profile, times] => decode(profile, times.parse()?),
        _ => {
            Err("usage: page_cost serve | tailwater|textbook|idle|textbook-idle PORT TIMES | decode PROFILE TIMES"
                .into())
        }
    }
}

fn endpoint(port: &str) -> String {
    format!("http://127.0.0.1:{port}")
}

/// Expects credentials in the environment, as every user of the SDK has them.
async fn client(endpoint: &str) -> Result<DynamoDb, Box<dyn std::error::Error>> {
    let settings =
        AwsSettings { region: Some("us-east-1".into()), endpoint_url: Some(endpoint.into()), ..AwsSettings::default() };
    Ok(connect(&settings).await?)
}

/// Our way.
async fn tailwater(endpoint: &str, times: usize) -> Outcome {
    let api = client(endpoint).await?;
    let (shard, iterator) = (ShardId::new("shard"), ShardIterator("iterator".into()));
    let mut out = String::new();
    for _ in 0..times {
        out.clear();
        push_lines(&api.get_records(&shard, &iterator).await?.answer.records, &mut out)?;
    }
    println!("{} bytes", out.len());
    Ok(())
}

/// A shard that has nothing to say.
async fn idle(endpoint: &str, times: usize) -> Outcome {
    let api = client(endpoint).await?;
    let (shard, iterator) = (ShardId::new("shard"), ShardIterator(IDLE.into()));
    for _ in 0..times {
        if !api.get_records(&shard, &iterator).await?.answer.records.is_empty() {
            return Err("records where none should be".into());
        }
    }
    Ok(())
}

/// Our decoder and encoder alone.
fn decode(profile: &str, times: usize) -> Outcome {
    let profile = Profile::ALL.into_iter().find(|known| known.name() == profile).ok_or("no such profile")?;
    let ((body, records), shard) = (page(profile), ShardId::new("shard"));
    let mut out = String::new();
    for _ in 0..times {
        out.clear();
        push_lines(&decode_page(page_text(body.as_bytes())?, &shard)?.records, &mut out)?;
    }
    println!("{records} records, {} bytes", out.len());
    Ok(())
}

fn push_lines(records: &[Decoded], out: &mut String) -> Outcome {
    for decoded in records {
        let Decoded::Event(event) = decoded else { return Err("a record was not decoded".into()) };
        out.push_str("{\"key\":");
        push_plain_item(&event.key, out);
        for (name, image) in [(",\"old\":", event.change.old_image()), (",\"new\":", event.change.new_image())] {
            out.push_str(name);
            match image {
                Some(image) => push_plain_item(image, out),
                None => out.push_str("null"),
            }
        }
        out.push_str("}\n");
    }
    Ok(())
}

/// The SDK as its manual has it, credentials from the environment and TLS at hand. Its own HTTP client differs by the library
/// that would encrypt.
async fn textbook_client(endpoint: &str) -> aws_sdk_dynamodbstreams::Client {
    let provider = Provider::Rustls(CryptoMode::Ring);
    let http = aws_smithy_http_client::Builder::new().tls_provider(provider).build_https();
    let config = aws_config::defaults(BehaviorVersion::latest()).http_client(http).region("us-east-1");
    aws_sdk_dynamodbstreams::Client::new(&config.endpoint_url(endpoint).load().await)
}

/// The shard that has nothing to say, by the SDK as it comes.
async fn textbook_idle(endpoint: &str, times: usize) -> Outcome {
    let client = textbook_client(endpoint).await;
    for _ in 0..times {
        if !client.get_records().shard_iterator(IDLE).send().await?.records().is_empty() {
            return Err("records where none should be".into());
        }
    }
    Ok(())
}

/// What a careful team writes first: the SDK's types, a `Value` of them, bytes of that.
async fn textbook(endpoint: &str, times: usize) -> Outcome {
    let client = textbook_client(endpoint).await;
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

/// Serves the page to every request, or an empty one for the iterator [`IDLE`], for as long as the process lives.
fn serve() -> Outcome {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    println!("{}", listener.local_addr()?.port());
    std::io::stdout().flush()?;
    let full = response(&page(Profile::OneKilobyte).0);
    let empty = response(r#"{"NextShardIterator":"idle","Records":[]}"#);
    for connection in listener.incoming() {
        let mut connection = connection?;
        while let Some(request) = read_request(&mut connection)? {
            connection.write_all(if request.contains(&format!("\"{IDLE}\"")) { &empty } else { &full })?;
        }
    }
    Ok(())
}

fn response(body: &str) -> Vec<u8> {
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/x-amz-json-1.0\r\nx-amz-crc32: {}\r\ncontent-length: {}\r\ndate: Sat, 28 Nov 2026 21:53:49 GMT\r\n\r\n",
        crc32fast::hash(body.as_bytes()),
        body.len()
    );
    [head.as_bytes(), body.as_bytes()].concat()
}

/// Reads one request and gives its body; nothing at the end of the connection.
fn read_request(connection: &mut TcpStream) -> std::io::Result<Option<String>> {
    let mut request = Vec::new();
    let mut piece = [0; 4096];
    loop {
        let length = connection.read(&mut piece)?;
        if length == 0 {
            return Ok(None);
        }
        request.extend_from_slice(&piece[..length]);
        let text = String::from_utf8_lossy(&request);
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let expected =
                head.to_lowercase().lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
            if body.len() >= expected.unwrap_or(0) {
                return Ok(Some(body.to_owned()));
            }
        }
    }
}
