//! A running server, and requests without any AWS client.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use tailwater_simulation::http::{Account, WireManners, serve};
use tailwater_simulation::service::Manners;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// Longest wait for an answer, in seconds.
const ANSWER_SECONDS_MAX: u64 = 20;

pub struct Server {
    pub endpoint: String,
    address: std::net::SocketAddr,
    pub account: Arc<Mutex<Account>>,
    /// What the server takes for the time, in milliseconds since 1970.
    pub now_ms: Arc<AtomicI64>,
    stop: oneshot::Sender<()>,
    serving: JoinHandle<std::io::Result<()>>,
}

/// An answer as it came.
pub struct Answer {
    pub status: u16,
    pub headers: String,
    pub body: String,
}

impl Server {
    pub async fn start(manners: Manners, wire: WireManners) -> Self {
        let account = Account::new(3, "us-east-1", manners, wire).expect("in memory");
        let account = Arc::new(Mutex::new(account));
        let now_ms = Arc::new(AtomicI64::new(1_795_500_000_000));
        let clock = Arc::clone(&now_ms);
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let (stop, stopped) = oneshot::channel::<()>();
        let clock = Arc::new(move || clock.load(Ordering::SeqCst));
        let serving = serve(listener, Arc::clone(&account), clock, async move { drop(stopped.await) });
        let serving = tokio::spawn(serving);
        Self { endpoint: format!("http://{address}"), address, account, now_ms, stop, serving }
    }

    pub async fn stop(self) {
        self.stop.send(()).expect("it serves");
        let ended = tokio::time::timeout(Duration::from_secs(5), self.serving).await;
        ended.expect("it stops in time").expect("no panic").expect("no error");
    }

    pub fn wait(&self, ms: i64) {
        self.now_ms.fetch_add(ms, Ordering::SeqCst);
    }

    /// Sends one request as text and reads the answer to its end.
    pub async fn send(&self, target: &str, body: &str) -> Answer {
        let target = format!("X-Amz-Target: {target}\r\nContent-Type: application/x-amz-json-1.0\r\n");
        self.request("POST /", &target, body).await
    }

    /// What a tester asks for; the status and the answer.
    pub async fn control(&self, what: &str) -> (u16, Value) {
        let (method, rest) = what.split_once(' ').expect("a method and a verb");
        let answer = self.request(&format!("{method} /_tailwater/{rest}"), "", "").await;
        (answer.status, serde_json::from_str(&answer.body).expect("JSON"))
    }

    async fn request(&self, line: &str, headers: &str, body: &str) -> Answer {
        let request = format!(
            "{line} HTTP/1.1\r\nHost: {}\r\n{headers}Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
            self.address,
            body.len()
        );
        let mut stream = TcpStream::connect(self.address).await.expect("it listens");
        stream.write_all(request.as_bytes()).await.expect("sent");
        let mut answer = Vec::new();
        let reading = stream.read_to_end(&mut answer);
        tokio::time::timeout(Duration::from_secs(ANSWER_SECONDS_MAX), reading).await.expect("in time").expect("read");
        let answer = String::from_utf8(answer).expect("text");
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
        Answer { status, headers: head.to_ascii_lowercase(), body: body.to_owned() }
    }

    /// A request that must succeed.
    pub async fn call(&self, target: &str, request: Value) -> Value {
        let answer = self.send(target, &request.to_string()).await;
        assert_eq!(answer.status, 200, "{target}: {}", answer.body);
        serde_json::from_str(&answer.body).expect("JSON")
    }

    pub async fn table(&self, operation: &str, request: Value) -> Value {
        self.call(&format!("DynamoDB_20120810.{operation}"), request).await
    }

    pub async fn stream(&self, operation: &str, request: Value) -> Value {
        self.call(&format!("DynamoDBStreams_20120810.{operation}"), request).await
    }

    /// Makes a table whose stream is on, and gives the stream's ARN.
    pub async fn orders(&self) -> String {
        let made = self.table("CreateTable", orders()).await;
        made["TableDescription"]["LatestStreamArn"].as_str().expect("a stream").to_owned()
    }

    pub async fn put(&self, id: &str, value: u64) {
        let item = json!({"Id": {"S": id}, "v": {"N": value.to_string()}});
        self.table("PutItem", json!({"TableName": "Orders", "Item": item})).await;
    }

    /// The names of all changes in the stream's shards.
    pub async fn changes(&self, arn: &str) -> Vec<String> {
        let described = self.stream("DescribeStream", json!({"StreamArn": arn})).await;
        let mut names = Vec::new();
        for shard in described["StreamDescription"]["Shards"].as_array().expect("shards") {
            let start = json!({"StreamArn": arn, "ShardId": shard["ShardId"], "ShardIteratorType": "TRIM_HORIZON"});
            let iterator = self.stream("GetShardIterator", start).await["ShardIterator"].take();
            let page = self.stream("GetRecords", json!({"ShardIterator": iterator})).await;
            let records = page["Records"].as_array().expect("records");
            names.extend(records.iter().map(|record| record["eventName"].as_str().expect("a name").to_owned()));
        }
        names
    }
}

pub fn orders() -> Value {
    json!({
        "TableName": "Orders", "BillingMode": "PAY_PER_REQUEST",
        "KeySchema": [{"AttributeName": "Id", "KeyType": "HASH"}],
        "AttributeDefinitions": [{"AttributeName": "Id", "AttributeType": "S"}],
        "StreamSpecification": {"StreamEnabled": true, "StreamViewType": "NEW_AND_OLD_IMAGES"},
    })
}
