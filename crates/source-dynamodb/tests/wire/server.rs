//! A tiny HTTP server that gives one scripted answer after the other, broken ones too.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tailwater_model::ServiceTime;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// As long as a client needs, by far, to see what was just sent to it.
const SEEN: Duration = Duration::from_millis(200);

/// One answer, as bytes on the wire, and what happens behind it.
#[derive(Clone)]
pub struct Answer {
    bytes: Vec<u8>,
    then: Then,
}

#[derive(Clone, Copy)]
enum Then {
    /// The connection is closed.
    Close,
    /// Nothing more is sent, and the clock that the server shares with its client leaps until the client gives up.
    Stall,
}

impl Answer {
    pub fn ok(body: &str) -> Self {
        Self::new(200, body, Some(crc32fast::hash(body.as_bytes())), body.len())
    }

    /// The same by a server that tells no time.
    pub fn undated(body: &str) -> Self {
        let dated = Self::ok(body);
        let text = String::from_utf8(dated.bytes).expect("text");
        let lines = text.split_inclusive("\r\n").filter(|line| !line.starts_with("date: "));
        Self { bytes: lines.collect::<String>().into_bytes(), then: dated.then }
    }

    pub fn wrong_crc(body: &str) -> Self {
        Self::new(200, body, Some(!crc32fast::hash(body.as_bytes())), body.len())
    }

    /// Promises the whole body and closes the connection in its middle.
    pub fn truncated(body: &str) -> Self {
        Self::new(200, &body[..body.len() / 2], None, body.len())
    }

    /// Promises the whole body and falls silent in its middle.
    pub fn stalled(body: &str) -> Self {
        Self { then: Then::Stall, ..Self::truncated(body) }
    }

    /// Promises and sends more than any page may have.
    pub fn oversized(bytes: usize) -> Self {
        Self::new(200, &" ".repeat(bytes), None, bytes)
    }

    pub fn error(status: u16, code: &str) -> Self {
        let body = format!(r#"{{"__type":"com.amazonaws.dynamodb.v20120810#{code}","message":"as scripted"}}"#);
        Self::new(status, &body, None, body.len())
    }

    pub fn text(status: u16, body: &str) -> Self {
        Self::new(status, body, None, body.len())
    }

    fn new(status: u16, body: &str, crc: Option<u32>, promised: usize) -> Self {
        let crc = crc.map_or(String::new(), |crc| format!("x-amz-crc32: {crc}\r\n"));
        let text = format!(
            "HTTP/1.1 {status} Scripted\r\ncontent-type: application/x-amz-json-1.0\r\n{crc}date: {}\r\n\
             x-amzn-requestid: REQUEST-7\r\ncontent-length: {promised}\r\nconnection: close\r\n\r\n{body}",
            now_text()
        );
        Self { bytes: text.into_bytes(), then: Then::Close }
    }
}

/// The time now: a client whose clock is far from it takes refusals for a matter of clocks, and asks again.
#[expect(clippy::disallowed_methods, reason = "what a server says of the time is its own")]
pub fn now() -> ServiceTime {
    ServiceTime::from_ms(jiff::Timestamp::now().as_millisecond())
}

fn now_text() -> String {
    let time = jiff::Timestamp::from_millisecond(now().ms()).expect("in the calendar");
    time.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()
}

/// Serves a script from a loopback port until it is dropped.
pub struct ScriptedServer {
    pub url: String,
    served: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl ScriptedServer {
    pub async fn start(script: Vec<Answer>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a loopback port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let served = Arc::new(AtomicUsize::new(0));
        let counter = served.clone();
        let task = tokio::spawn(async move {
            while let Ok((connection, _)) = listener.accept().await {
                // One request a connection, one after the other: the script's order is the order of requests.
                serve(connection, &script, &counter).await;
            }
        });
        Self { url, served, task }
    }

    /// Requests answered so far.
    pub fn served(&self) -> usize {
        self.served.load(Ordering::SeqCst)
    }
}

impl Drop for ScriptedServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(mut connection: TcpStream, script: &[Answer], served: &AtomicUsize) {
    if !read_request(&mut connection).await {
        return;
    }
    let number = served.fetch_add(1, Ordering::SeqCst);
    let over = Answer::error(400, "ScriptIsOver");
    let answer = script.get(number).unwrap_or(&over);
    // A client that refuses an answer closes the connection: that is its right.
    let sent = connection.write_all(&answer.bytes).await;
    match answer.then {
        Then::Close => drop((sent, connection.shutdown().await)),
        Then::Stall => {
            tokio::time::sleep(SEEN).await;
            tokio::time::pause();
            drop((sent, connection.read_u8().await));
            tokio::time::resume();
        }
    }
}

/// Reads the head and the body of a request. False when the client left without one.
async fn read_request(connection: &mut TcpStream) -> bool {
    let mut request = Vec::new();
    while let Ok(length @ 1..) = connection.read_buf(&mut request).await {
        let text = String::from_utf8_lossy(&request).to_lowercase();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let promised = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
            if body.len() >= promised.unwrap_or(0) {
                return length > 0;
            }
        }
    }
    false
}
