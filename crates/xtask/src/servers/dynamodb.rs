//! DynamoDB Local: Amazon's own emulation of DynamoDB and its streams, in memory.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::{ANSWER_WITHIN, Server, jars};
use crate::endpoints;

/// The heap's bound in MiB: tables live in SQLite outside it, stream records inside.
const HEAP_MIB_MAX: u32 = 1024;
/// An answer's first bytes; the status is in its first line.
const STATUS_LINE_BYTES_MAX: u64 = 256;

/// DynamoDB Local.
pub struct DynamoDbLocal;

impl Server for DynamoDbLocal {
    fn name(&self) -> &'static str {
        "dynamodb"
    }

    fn port(&self) -> u16 {
        endpoints::DYNAMODB_PORT
    }

    fn endpoint(&self) -> &'static str {
        endpoints::DYNAMODB_URL
    }

    fn variable(&self) -> &'static str {
        endpoints::DYNAMODB_VARIABLE
    }

    fn install(&self, dir: &Path) -> Result<()> {
        jars::install("servers/dynamodb-local", dir)
    }

    fn prepare(&self, dir: &Path) -> Result<Command> {
        let mut java = jars::java(dir, HEAP_MIB_MAX);
        java.arg(format!("-Djava.library.path={}", jars::libs(dir).display()));
        java.arg("software.amazon.dynamodb.services.local.main.ServerRunner");
        // One database for every region and access key: a test's credentials do not matter. Without -disableTelemetry it
        // would send usage figures to its maker at every start.
        java.args(["-inMemory", "-sharedDb", "-disableTelemetry", "-port", &self.port().to_string()]);
        Ok(java)
    }

    /// Asks for the list of tables.
    fn check(&self, _dir: &Path) -> Result<()> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, self.port()));
        let mut stream = TcpStream::connect_timeout(&address, ANSWER_WITHIN).context("it does not listen")?;
        stream.set_read_timeout(Some(ANSWER_WITHIN)).context("cannot set a time limit")?;
        stream.write_all(list_tables_request(self.port()).as_bytes()).context("it does not take a request")?;
        let mut answer = Vec::new();
        stream.take(STATUS_LINE_BYTES_MAX).read_to_end(&mut answer).context("it does not answer a request")?;
        let status_line = String::from_utf8_lossy(&answer).lines().next().unwrap_or_default().to_owned();
        if !status_line.starts_with("HTTP/1.1 200") {
            bail!("it answers ListTables with {status_line:?} and not with 200");
        }
        Ok(())
    }
}

fn list_tables_request(port: u16) -> String {
    let body = "{}";
    let length = body.len();
    // DynamoDB Local wants the form of a signature and never checks it.
    let credential = "Credential=local/20260101/us-east-1/dynamodb/aws4_request, SignedHeaders=host, Signature=0";
    format!(
        "POST / HTTP/1.1\r\nHost: {}:{port}\r\nConnection: close\r\nContent-Type: application/x-amz-json-1.0\r\n\
         X-Amz-Target: DynamoDB_20120810.ListTables\r\nX-Amz-Date: 20260101T000000Z\r\n\
         Authorization: AWS4-HMAC-SHA256 {credential}\r\nContent-Length: {length}\r\n\r\n{body}",
        endpoints::LOOPBACK
    )
}
