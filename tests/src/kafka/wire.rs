//! As much of Kafka's protocol as the tests speak themselves: requests without compact forms, one connection each.

use std::io::{Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

/// A single broker answers such requests in milliseconds; the JVM may be busy.
const ANSWER_WITHIN: Duration = Duration::from_secs(20);
/// Any number: the answer must carry it back.
const CORRELATION_ID: i32 = 20_092;
/// Answers about a topic or two are far smaller.
const ANSWER_BYTES_MAX: usize = 1024 * 1024;

/// A request's body in the making.
#[derive(Default)]
pub struct Body(Vec<u8>);

impl Body {
    /// Appends bytes as they are; numbers are big-endian.
    pub fn bytes(mut self, bytes: &[u8]) -> Self {
        self.0.extend(bytes);
        self
    }

    /// Appends a 32-bit number.
    pub fn int(self, number: i32) -> Self {
        self.bytes(&number.to_be_bytes())
    }

    /// Appends a text behind its 16-bit length.
    pub fn text(self, text: &str) -> Self {
        let length = i16::try_from(text.len()).unwrap_or(i16::MAX);
        self.bytes(&length.to_be_bytes()).bytes(text.as_bytes())
    }
}

/// Sends a request to the broker at `address` and returns the answer behind its correlation id. Blocks.
pub fn ask(address: &str, api: i16, version: i16, body: Body) -> Result<Vec<u8>> {
    let address = address.to_socket_addrs().context("not HOST:PORT")?.next().context("no address")?;
    let mut stream =
        TcpStream::connect_timeout(&address, ANSWER_WITHIN).with_context(|| format!("no Kafka at {address}"))?;
    stream.set_read_timeout(Some(ANSWER_WITHIN))?;
    let head =
        Body::default().bytes(&api.to_be_bytes()).bytes(&version.to_be_bytes()).int(CORRELATION_ID).text("tests");
    let length = i32::try_from(head.0.len() + body.0.len())?;
    stream.write_all(&Body::default().int(length).bytes(&head.0).bytes(&body.0).0)?;
    let mut length = [0; 4];
    stream.read_exact(&mut length).context("no answer")?;
    let length = usize::try_from(i32::from_be_bytes(length))?;
    ensure!(length <= ANSWER_BYTES_MAX, "an answer of {length} bytes");
    let mut answer = vec![0; length];
    stream.read_exact(&mut answer).context("the answer breaks off")?;
    ensure!(answer.starts_with(&CORRELATION_ID.to_be_bytes()), "the answer to another request");
    Ok(answer.split_off(4))
}

/// Takes a 32-bit number off the front.
pub fn take_int(rest: &mut &[u8]) -> Result<i32> {
    let (head, tail) = rest.split_first_chunk::<4>().context("the answer is too short")?;
    *rest = tail;
    Ok(i32::from_be_bytes(*head))
}

/// Takes a byte off the front.
pub fn take_byte(rest: &mut &[u8]) -> Result<u8> {
    let (head, tail) = rest.split_first().context("the answer is too short")?;
    *rest = tail;
    Ok(*head)
}

/// Takes an array of 32-bit numbers off the front.
pub fn take_ints(rest: &mut &[u8]) -> Result<Vec<i32>> {
    (0..take_int(rest)?).map(|_| take_int(rest)).collect()
}

/// Takes a 16-bit number off the front.
pub fn take_short(rest: &mut &[u8]) -> Result<i16> {
    let (head, tail) = rest.split_first_chunk::<2>().context("the answer is too short")?;
    *rest = tail;
    Ok(i16::from_be_bytes(*head))
}

/// Takes a text behind its 16-bit length off the front; a null is empty.
pub fn take_text(rest: &mut &[u8]) -> Result<String> {
    let length = usize::try_from(take_short(rest)?).unwrap_or(0);
    let (head, tail) = rest.split_at_checked(length).context("the answer is too short")?;
    *rest = tail;
    Ok(String::from_utf8_lossy(head).into_owned())
}
