//! Requests to the service without any AWS client: the writer's and the checker's code is nobody's but ours.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

/// Longest wait for an answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);
/// How often a request is sent until it is answered well.
const ATTEMPTS_MAX: u32 = 50;
const PAUSE: Duration = Duration::from_millis(50);

/// A connection to the service.
pub(super) struct Client {
    address: String,
    stream: BufReader<TcpStream>,
}

impl Client {
    pub(super) fn connect(address: &str) -> Result<Self> {
        Ok(Self { address: address.to_owned(), stream: open(address)? })
    }

    /// Calls an operation until it is answered well: what it does may be done twice.
    pub(super) fn call(&mut self, operation: &str, request: &Value) -> Result<Value> {
        let headers = format!("X-Amz-Target: DynamoDB_20120810.{operation}\r\n");
        let mut last = String::new();
        for _ in 0..ATTEMPTS_MAX {
            match self.send("POST /", &headers, &request.to_string()) {
                Ok((200, body)) => match serde_json::from_str(&body) {
                    Ok(answer) => return Ok(answer),
                    Err(_) => last = body,
                },
                Ok((status, body)) => last = format!("HTTP {status}: {body}"),
                Err(error) => {
                    last = format!("{error:#}");
                    self.stream = open(&self.address)?;
                }
            }
            std::thread::sleep(PAUSE);
        }
        anyhow::bail!("{operation} was never answered well: {last}")
    }

    /// What the service tells testers.
    pub(super) fn ask(&mut self, what: &str) -> Result<Value> {
        let (status, body) = self.send(&format!("GET /_tailwater/{what}"), "", "")?;
        ensure!(status == 200, "HTTP {status}: {body}");
        serde_json::from_str(&body).with_context(|| format!("no JSON about {what}"))
    }

    fn send(&mut self, line: &str, headers: &str, body: &str) -> Result<(u16, String)> {
        let (address, length) = (&self.address, body.len());
        let request = format!("{line} HTTP/1.1\r\nHost: {address}\r\n{headers}Content-Length: {length}\r\n\r\n{body}");
        self.stream.get_mut().write_all(request.as_bytes())?;
        let status = self.line()?;
        let status = status.split(' ').nth(1).and_then(|status| status.parse().ok()).context("no status")?;
        let mut length = 0;
        loop {
            let header = self.line()?.to_ascii_lowercase();
            if header.is_empty() {
                break;
            }
            if let Some(found) = header.strip_prefix("content-length:") {
                length = found.trim().parse().context("no length")?;
            }
        }
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body)?;
        Ok((status, String::from_utf8(body)?))
    }

    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        ensure!(self.stream.read_line(&mut line)? > 0, "the connection was closed");
        Ok(line.trim_end().to_owned())
    }
}

fn open(address: &str) -> Result<BufReader<TcpStream>> {
    let stream = TcpStream::connect(address).with_context(|| format!("nobody listens at {address}"))?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(ANSWER_WITHIN))?;
    Ok(BufReader::new(stream))
}
