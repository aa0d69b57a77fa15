//! The demo's DynamoDB: an embedded server in this process, reachable over loopback by every AWS client, and in memory
//! only. The reader talks to it over HTTP as to any other endpoint; the traffic is written in process.

use std::sync::Arc;
use std::time::Duration;

use dynoxide::actions::scan::ScanRequest;
use dynoxide::{Database, DynoxideError};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tailwater_model::{Trouble, TroubleKind};
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use super::shop::{TABLE, Write};

/// Longest wait for requests that are still running when the server stops.
const SHUTDOWN_WAIT_MAX: Duration = Duration::from_secs(1);

/// The running server. Clones of its database share one state.
pub struct ShopServer {
    database: Database,
    port: u16,
    shutdown: Arc<Notify>,
    serving: JoinHandle<Result<(), String>>,
}

/// What became of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// It was done.
    Done,
    /// Its condition did not hold: somebody else deleted the item.
    ConditionFailed,
}

impl ShopServer {
    /// Starts the server on a loopback port (0: any free one) with the empty table `orders`. Its stream is on before
    /// anybody can write: what is written earlier would be in the table and never in the stream.
    pub async fn start(port: u16) -> Result<Self, Trouble> {
        let listener = TcpListener::bind(("127.0.0.1", port)).await.map_err(|fault| {
            Trouble::new(TroubleKind::Environment, "demo.port", format!("cannot listen on 127.0.0.1:{port}: {fault}"))
                .advise("choose another port with --port, or leave it out")
        })?;
        let port = listener.local_addr().map_err(|fault| embedded(&fault))?.port();
        let database = Database::memory().map_err(|fault| embedded(&fault))?;
        create_table(&database)?;
        let shutdown = Arc::new(Notify::new());
        let asked = Arc::clone(&shutdown);
        let server =
            dynoxide::server::serve_with_shutdown(listener, database.clone(), async move { asked.notified().await });
        Ok(Self { database, port, shutdown, serving: tokio::spawn(server) })
    }

    /// Where AWS clients reach it.
    pub fn endpoint_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// A handle for writing and reading in process.
    pub fn table(&self) -> ShopTable {
        ShopTable { database: self.database.clone() }
    }

    /// Stops listening. Connections that are still busy after a bounded wait end with the process.
    pub async fn stop(self) {
        self.shutdown.notify_one();
        let _ended_or_late = tokio::time::timeout(SHUTDOWN_WAIT_MAX, self.serving).await;
    }
}

/// The table behind the server. Its calls block for the time of one SQLite statement.
#[derive(Clone)]
pub struct ShopTable {
    database: Database,
}

impl ShopTable {
    /// Does one write; the stream gets the same record as for a write over HTTP.
    pub fn write(&self, write: Write) -> Result<Written, Trouble> {
        let outcome = match write {
            Write::Put(request) => self.database.put_item(typed(request)?).map(drop),
            Write::Update(request) => self.database.update_item(typed(request)?).map(drop),
            Write::Delete(request) => self.database.delete_item(typed(request)?).map(drop),
        };
        match outcome {
            Ok(()) => Ok(Written::Done),
            Err(DynoxideError::ConditionalCheckFailedException(..)) => Ok(Written::ConditionFailed),
            Err(fault) => Err(embedded(&fault)),
        }
    }

    /// All items in typed JSON.
    pub fn scan(&self) -> Result<Vec<Value>, Trouble> {
        let mut items = Vec::new();
        let mut exclusive_start_key = None;
        loop {
            let request = ScanRequest { table_name: TABLE.into(), exclusive_start_key, ..ScanRequest::default() };
            let page = self.database.scan(request).map_err(|fault| embedded(&fault))?;
            // Through the response's own serializer: the same text that the server would send.
            let mut json = serde_json::to_value(&page).map_err(|fault| embedded(&fault))?;
            if let Some(Value::Array(mut more)) = json.get_mut("Items").map(Value::take) {
                items.append(&mut more);
            }
            exclusive_start_key = page.last_evaluated_key;
            if exclusive_start_key.is_none() {
                return Ok(items);
            }
        }
    }

    /// The sequence number of the stream's newest record, when there is any: what this server calls the end of its only
    /// shard although the shard is open.
    pub fn newest_record(&self) -> Result<Option<String>, Trouble> {
        let streams: Value = typed(json!({"TableName": TABLE})).and_then(|request| {
            let listed = self.database.list_streams(request).map_err(|fault| embedded(&fault))?;
            serde_json::to_value(&listed).map_err(|fault| embedded(&fault))
        })?;
        let Some(arn) = streams.pointer("/Streams/0/StreamArn") else { return Ok(None) };
        let described = self.database.describe_stream(typed(json!({"StreamArn": arn}))?);
        let shards = described.map_err(|fault| embedded(&fault))?.stream_description.shards;
        Ok(shards.into_iter().next().and_then(|shard| shard.sequence_number_range.ending_sequence_number))
    }
}

fn create_table(database: &Database) -> Result<(), Trouble> {
    let request = typed(json!({
        "TableName": TABLE, "BillingMode": "PAY_PER_REQUEST",
        "KeySchema": [{"AttributeName": "customer", "KeyType": "HASH"}, {"AttributeName": "order_no", "KeyType": "RANGE"}],
        "AttributeDefinitions": [
            {"AttributeName": "customer", "AttributeType": "S"}, {"AttributeName": "order_no", "AttributeType": "N"},
        ],
        "StreamSpecification": {"StreamEnabled": true, "StreamViewType": "NEW_AND_OLD_IMAGES"},
    }))?;
    database.create_table(request).map(drop).map_err(|fault| embedded(&fault))
}

fn typed<T: DeserializeOwned>(request: Value) -> Result<T, Trouble> {
    serde_json::from_value(request).map_err(|fault| embedded(&fault))
}

fn embedded(fault: &dyn std::fmt::Display) -> Trouble {
    Trouble::new(TroubleKind::Runtime, "demo.server", format!("the embedded DynamoDB failed: {fault}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::shop::Shop;

    #[tokio::test]
    async fn the_shop_fills_its_table_and_conditions_are_told_apart() {
        let server = ShopServer::start(0).await.expect("starts");
        let table = server.table();
        assert_eq!(table.newest_record(), Ok(None));
        let mut shop = Shop::new(3);
        for _ in 0..300 {
            assert_eq!(table.write(shop.next_write("2026-01-01T00:00:00Z")), Ok(Written::Done));
        }
        let items = table.scan().expect("scans");
        assert!(items.len() > 20, "{}", items.len());
        let absent = json!({"TableName": TABLE, "Key": {"customer": {"S": "nobody"}, "order_no": {"N": "1"}},
            "UpdateExpression": "SET a = :a", "ConditionExpression": "attribute_exists(customer)",
            "ExpressionAttributeValues": {":a": {"S": "x"}}});
        assert_eq!(table.write(Write::Update(absent)), Ok(Written::ConditionFailed));
        let newest = table.newest_record().expect("a stream").expect("records");
        assert_eq!(table.newest_record(), Ok(Some(newest.clone())), "nobody writes");
        table.write(shop.next_write("2026-01-01T00:00:00Z")).expect("writes");
        assert_ne!(table.newest_record(), Ok(Some(newest)));
        server.stop().await;
    }

    #[tokio::test]
    async fn a_port_in_use_is_told_with_advice() {
        let server = ShopServer::start(0).await.expect("starts");
        let trouble = ShopServer::start(server.port).await.map(drop).expect_err("in use");
        assert_eq!((trouble.kind, trouble.code), (TroubleKind::Environment, "demo.port"));
        server.stop().await;
    }
}
