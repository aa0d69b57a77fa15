//! The demo's DynamoDB: the simulated one in this process, reachable over loopback by every AWS client, and in memory
//! only. The reader talks to it over HTTP as to any other endpoint; the traffic is written in process.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};
use tailwater_model::{Trouble, TroubleKind};
use tailwater_simulation::http::{Account, Refusal, WireManners, serve};
use tailwater_simulation::service::Manners;
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use super::shop::{TABLE, Write};
use crate::clock::now_ms;

/// Longest wait for requests that are still running when the server stops.
const SHUTDOWN_WAIT_MAX: Duration = Duration::from_secs(1);
/// Its region, as ARNs and records name it.
const REGION: &str = "us-east-1";
/// Where the server's chance starts from.
const SEED: u64 = 20_261_124;
/// What stands before an operation on the wire.
const TABLES_TARGET: &str = "DynamoDB_20120810.";
/// How long a shard stays open when the lineage moves, in milliseconds.
const SHARD_LIFE_MS: std::ops::RangeInclusive<i64> = 2_000..=6_000;
/// How many of the shards that close split, when there is room for more.
const SPLITS: f64 = 0.5;
/// Open shards at first and at most then.
const SHARDS_AT_START: usize = 2;
const OPEN_SHARDS_MAX: usize = 6;

/// The running server. Clones of its table share one state.
pub struct ShopServer {
    table: ShopTable,
    port: u16,
    shutdown: Arc<Notify>,
    serving: JoinHandle<std::io::Result<()>>,
}

/// What became of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// It was done.
    Done,
    /// Its condition did not hold: somebody else deleted the item.
    ConditionFailed,
}

/// How many shards the stream has had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lineage {
    /// Those that still take records.
    pub open: usize,
    /// Those that rotated or split.
    pub closed: usize,
}

/// How the stream behaves: for ever one shard and kind, or as on AWS with everything that takes hours there in seconds.
pub fn manners(splits: bool) -> Manners {
    if !splits {
        return Manners::kind();
    }
    Manners {
        shards_at_start: SHARDS_AT_START,
        open_shards_max: OPEN_SHARDS_MAX,
        rotate_after_ms: Some(SHARD_LIFE_MS),
        split: SPLITS,
        ..Manners::default()
    }
}

impl ShopServer {
    /// Starts the server on a loopback port (0: any free one) with the empty table `orders`. Its stream is on before
    /// anybody can write: what is written earlier would be in the table and never in the stream.
    pub async fn start(port: u16, manners: Manners) -> Result<Self, Trouble> {
        let listener = TcpListener::bind(("127.0.0.1", port)).await.map_err(|fault| {
            Trouble::new(TroubleKind::Environment, "demo.port", format!("cannot listen on 127.0.0.1:{port}: {fault}"))
                .advise("choose another port with --port, or leave it out")
        })?;
        let port = listener.local_addr().map_err(|fault| embedded(&fault))?.port();
        let account = Account::new(SEED, REGION, manners, WireManners::default()).map_err(|fault| embedded(&fault))?;
        let table = ShopTable { account: Arc::new(Mutex::new(account)) };
        table.create()?;
        let shutdown = Arc::new(Notify::new());
        let asked = Arc::clone(&shutdown);
        let account = Arc::clone(&table.account);
        let serving = serve(listener, account, Arc::new(now_ms), async move { asked.notified().await });
        Ok(Self { table, port, shutdown, serving: tokio::spawn(serving) })
    }

    /// Where AWS clients reach it.
    pub fn endpoint_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// A handle for writing and reading in process.
    pub fn table(&self) -> ShopTable {
        self.table.clone()
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
    account: Arc<Mutex<Account>>,
}

impl ShopTable {
    /// A request that panicked leaves a usable state.
    fn account(&self) -> MutexGuard<'_, Account> {
        self.account.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn call(&self, operation: &str, request: &Value) -> Result<Value, Refusal> {
        let target = format!("{TABLES_TARGET}{operation}");
        let answer = self.account().answer(now_ms(), &target, request.to_string().as_bytes())?;
        Ok(serde_json::from_str(&answer).unwrap_or_default())
    }

    fn create(&self) -> Result<(), Trouble> {
        let request = json!({
            "TableName": TABLE, "BillingMode": "PAY_PER_REQUEST",
            "KeySchema": [{"AttributeName": "customer", "KeyType": "HASH"}, {"AttributeName": "order_no", "KeyType": "RANGE"}],
            "AttributeDefinitions": [
                {"AttributeName": "customer", "AttributeType": "S"}, {"AttributeName": "order_no", "AttributeType": "N"},
            ],
            "StreamSpecification": {"StreamEnabled": true, "StreamViewType": "NEW_AND_OLD_IMAGES"},
        });
        self.call("CreateTable", &request).map(drop).map_err(|refusal| refused(&refusal))
    }

    /// Does one write; the stream gets the same record as for a write over HTTP.
    pub fn write(&self, write: Write) -> Result<Written, Trouble> {
        let (operation, request) = match write {
            Write::Put(request) => ("PutItem", request),
            Write::Update(request) => ("UpdateItem", request),
            Write::Delete(request) => ("DeleteItem", request),
        };
        match self.call(operation, &request) {
            Ok(_) => Ok(Written::Done),
            Err(refusal) if refusal.body.contains("ConditionalCheckFailedException") => Ok(Written::ConditionFailed),
            Err(refusal) => Err(refused(&refusal)),
        }
    }

    /// All items in typed JSON.
    pub fn scan(&self) -> Result<Vec<Value>, Trouble> {
        let mut items = Vec::new();
        let mut request = json!({"TableName": TABLE});
        loop {
            let mut page = self.call("Scan", &request).map_err(|refusal| refused(&refusal))?;
            if let Some(Value::Array(mut more)) = page.get_mut("Items").map(Value::take) {
                items.append(&mut more);
            }
            match page.get_mut("LastEvaluatedKey").map(Value::take) {
                None | Some(Value::Null) => return Ok(items),
                Some(key) => request["ExclusiveStartKey"] = key,
            }
        }
    }

    /// The sequence number of the newest record of each shard that ever had one, as the service itself knows it.
    pub fn newest_records(&self) -> BTreeMap<String, String> {
        let mut account = self.account();
        let truth = account.service_mut().truth();
        let streams: std::collections::BTreeSet<&str> = truth.shards().map(|shard| shard.stream_arn).collect();
        let records = streams.into_iter().flat_map(|stream| truth.records(stream));
        records.map(|record| (record.shard.to_owned(), record.sequence_number)).collect()
    }

    /// How far the stream's lineage has come.
    pub fn lineage(&self) -> Lineage {
        let mut account = self.account();
        let shards = account.service_mut().truth().shards().map(|shard| shard.closed_at_ms.is_some());
        let (closed, open): (Vec<bool>, Vec<bool>) = shards.partition(|closed| *closed);
        Lineage { open: open.len(), closed: closed.len() }
    }
}

fn refused(refusal: &Refusal) -> Trouble {
    embedded(&format!("HTTP {}: {}", refusal.status, refusal.body))
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
        let server = ShopServer::start(0, manners(false)).await.expect("starts");
        let table = server.table();
        assert!(table.newest_records().is_empty());
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
        let newest = table.newest_records();
        assert_eq!(newest.len(), 1, "one shard for ever");
        assert_eq!(table.newest_records(), newest, "nobody writes");
        table.write(shop.next_write("2026-01-01T00:00:00Z")).expect("writes");
        assert_ne!(table.newest_records(), newest);
        assert_eq!(table.lineage(), Lineage { open: 1, closed: 0 });
        server.stop().await;
    }

    #[tokio::test]
    async fn a_port_in_use_is_told_with_advice() {
        let server = ShopServer::start(0, manners(false)).await.expect("starts");
        let trouble = ShopServer::start(server.port, manners(false)).await.map(drop).expect_err("in use");
        assert_eq!((trouble.kind, trouble.code), (TroubleKind::Environment, "demo.port"));
        server.stop().await;
    }
}
