//! A simulated DynamoDB for the tests: the binary's own `simulate`, and requests written by hand.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

const TABLE: &str = "orders";

/// A running service with one table and its stream. Dropping it ends it.
pub struct Service {
    process: Child,
    address: String,
}

impl Service {
    /// Starts it with these arguments and makes the table.
    pub fn start(arguments: &[&str]) -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_tailwater"))
            .args(["simulate", "--listen", "127.0.0.1:0", "--faults", "none"])
            .args(arguments)
            .stdout(Stdio::piped())
            .spawn()
            .expect("the binary runs");
        let mut line = String::new();
        BufReader::new(process.stdout.take().expect("piped")).read_line(&mut line).expect("a line");
        let address = line.split_once("http://").and_then(|(_, rest)| rest.split_once(';')).expect("an address").0;
        let service = Self { process, address: address.to_owned() };
        service.call(
            "CreateTable",
            &json!({
                "TableName": TABLE,
                "AttributeDefinitions": [{"AttributeName": "Id", "AttributeType": "S"}],
                "KeySchema": [{"AttributeName": "Id", "KeyType": "HASH"}],
                "BillingMode": "PAY_PER_REQUEST",
                "StreamSpecification": {"StreamEnabled": true, "StreamViewType": "NEW_AND_OLD_IMAGES"},
            }),
        );
        service
    }

    /// Writes an item with a text.
    pub fn put(&self, id: &str, text: &str) {
        self.call("PutItem", &json!({"TableName": TABLE, "Item": {"Id": {"S": id}, "text": {"S": text}}}));
    }

    /// Writes a pipeline file that reads the table.
    pub fn pipeline(&self, path: &Path, source: &str, sink: &str) {
        let text = format!(
            "name = \"shop\"\n[source]\ntable = \"{TABLE}\"\n{source}\n[source.aws]\nregion = \"us-east-1\"\nendpoint_url = \
             \"http://{}\"\n{sink}\n",
            self.address
        );
        std::fs::write(path, text).expect("writes");
    }

    fn call(&self, operation: &str, body: &Value) {
        let body = body.to_string();
        let request = format!(
            "POST / HTTP/1.1\r\nHost: {}\r\nX-Amz-Target: DynamoDB_20120810.{operation}\r\nContent-Type: \
             application/x-amz-json-1.0\r\nAuthorization: AWS4-HMAC-SHA256 Credential=any/20261128/us-east-1/dynamodb/aws4_request, \
             SignedHeaders=host, Signature=any\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
            self.address,
            body.len()
        );
        let mut stream = TcpStream::connect(&self.address).expect("connects");
        stream.write_all(request.as_bytes()).expect("sends");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        assert!(answer.starts_with("HTTP/1.1 200 "), "{operation}: {answer}");
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ended_already = self.process.kill();
        let _reaped = self.process.wait();
    }
}
