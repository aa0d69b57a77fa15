//! A listener that stands between a client and an HTTP service, passes everything on, and notes what was asked: as the endpoint
//! that a client was given, or as the proxy that it was told to use.

use std::collections::BTreeSet;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// The header that names the operation, in small letters.
const TARGET: &str = "x-amz-target:";
/// What stands before the id of the key in the header that signs.
const SIGNED_BY: &str = "Credential=";
/// What a proxy is asked with for `https`.
const CONNECT: &str = "CONNECT ";
/// A request to a proxy names the whole address.
const BY_PROXY: &str = "POST http://";
/// How a recorder refuses to be a tunnel.
const NO_TUNNEL: &str = "HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
const READ_BYTES: usize = 64 * 1024;

/// A running recorder. It ends when dropped.
pub struct Recorder {
    /// Where it listens.
    pub url: String,
    heard: Arc<Mutex<Heard>>,
    accepting: JoinHandle<()>,
}

/// What was asked.
#[derive(Clone, Debug, Default)]
pub struct Heard {
    /// Operations of DynamoDB, without what stands before their names.
    pub operations: BTreeSet<String>,
    /// Hosts that were asked for as of a proxy.
    pub by_proxy: BTreeSet<String>,
    /// The ids of the keys that signed.
    pub keys: BTreeSet<String>,
}

impl Recorder {
    /// Listens on a free loopback port; everything goes on to the service at `url`.
    pub async fn before(url: &str) -> Result<Self> {
        let service = url.strip_prefix("http://").context("an http URL")?.to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let own = format!("http://{}", listener.local_addr()?);
        let heard = Arc::new(Mutex::new(Heard::default()));
        let shared = Arc::clone(&heard);
        let accepting = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                // An error is a connection that one side has closed.
                tokio::spawn(carry(client, service.clone(), Arc::clone(&shared)));
            }
        });
        Ok(Self { url: own, heard, accepting })
    }

    /// What was asked since this was asked last.
    pub fn take(&self) -> Heard {
        std::mem::take(&mut *self.heard.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn carry(mut client: TcpStream, service: String, heard: Arc<Mutex<Heard>>) -> io::Result<()> {
    let mut service = TcpStream::connect(service).await?;
    let (mut asked, mut answered) = (vec![0; READ_BYTES], vec![0; READ_BYTES]);
    // A line may come in parts.
    let mut line = Vec::new();
    loop {
        tokio::select! {
            biased;
            read = client.read(&mut asked) => {
                let bytes = &asked[..read?];
                if bytes.is_empty() {
                    return Ok(());
                }
                for byte in bytes {
                    if *byte == b'\n' {
                        let is_tunnel = note(&String::from_utf8_lossy(&line), &heard);
                        line.clear();
                        if is_tunnel {
                            return client.write_all(NO_TUNNEL.as_bytes()).await;
                        }
                    } else {
                        line.push(*byte);
                    }
                }
                service.write_all(bytes).await?;
            }
            read = service.read(&mut answered) => {
                let bytes = &answered[..read?];
                if bytes.is_empty() {
                    return Ok(());
                }
                client.write_all(bytes).await?;
            }
        }
    }
}

/// Notes what a line of a request says, and tells whether it asks for a tunnel. The first line of a request may follow the body
/// of the one before.
fn note(line: &str, heard: &Mutex<Heard>) -> bool {
    let mut heard = heard.lock().unwrap_or_else(PoisonError::into_inner);
    let word = |rest: &str| rest.split(['/', ' ']).next().unwrap_or_default().to_owned();
    if line.to_ascii_lowercase().starts_with(TARGET) {
        heard.operations.extend(line.trim().rsplit('.').next().map(str::to_owned));
    } else if let Some((_, rest)) = line.split_once(SIGNED_BY) {
        heard.keys.insert(word(rest));
    } else if let Some((_, rest)) = line.split_once(BY_PROXY) {
        heard.by_proxy.insert(word(rest));
    } else if let Some((_, rest)) = line.split_once(CONNECT) {
        heard.by_proxy.insert(word(rest));
        return true;
    }
    false
}
