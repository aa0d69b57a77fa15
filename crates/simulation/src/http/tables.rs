//! The tables: an embedded `dynoxide`. Each of its tables has a stream of its own that nobody outside sees; what comes out
//! of it after a write goes into the simulated service.

use std::collections::BTreeMap;

use dynoxide::{Database, DynoxideError};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};
use tailwater_model::ViewType;

use super::wire::{Refusal, needed_text, text};
use crate::service::{ItemChange, Service, StreamStatus};

/// Time between two looks for items that have expired, in milliseconds.
const EXPIRY_INTERVAL_MS: i64 = 1000;

/// The tables of an account.
pub(super) struct Tables {
    database: Database,
    tables: BTreeMap<String, Carried>,
    expired_at_ms: i64,
}

/// How far the private stream of a table was carried over.
struct Carried {
    table_id: String,
    /// The private stream's ARN and its only shard.
    arn: String,
    shard: String,
    after: Option<String>,
}

impl Tables {
    pub(super) fn new() -> Result<Self, String> {
        let database = Database::memory().map_err(|error| error.to_string())?;
        Ok(Self { database, tables: BTreeMap::new(), expired_at_ms: i64::MIN })
    }

    /// Deletes what has expired, about once a second.
    pub(super) fn expire(&mut self, service: &mut Service, now_ms: i64) {
        if now_ms < self.expired_at_ms.saturating_add(EXPIRY_INTERVAL_MS) {
            return;
        }
        self.expired_at_ms = now_ms;
        match self.database.sweep_ttl() {
            Ok(0) => {}
            Ok(_) => self.carry_all(service, now_ms),
            Err(error) => tracing::warn!(%error, "items that have expired could not be deleted"),
        }
    }

    /// Answers an operation of tables or items.
    pub(super) fn answer(
        &mut self,
        service: &mut Service,
        now_ms: i64,
        operation: &str,
        request: Map<String, Value>,
    ) -> Result<String, Refusal> {
        match operation {
            "CreateTable" => self.create(service, now_ms, request),
            "UpdateTable" => self.update(service, now_ms, request),
            "DeleteTable" => self.delete(service, now_ms, request),
            "DescribeTable" => {
                let answer = call(request, |request| self.database.describe_table(request))?;
                Ok(self.with_stream(service, now_ms, answer, "Table").to_string())
            }
            _ => {
                let (answer, writes) = self.items(operation, request)?;
                if writes {
                    self.carry_all(service, now_ms);
                }
                Ok(answer.to_string())
            }
        }
    }

    /// Everything about items, and what tables have beside them. Says whether it may have written.
    fn items(&self, operation: &str, request: Map<String, Value>) -> Result<(Value, bool), Refusal> {
        let database = &self.database;
        Ok(match operation {
            "PutItem" => (call(request, |request| database.put_item(request))?, true),
            "UpdateItem" => (call(request, |request| database.update_item(request))?, true),
            "DeleteItem" => (call(request, |request| database.delete_item(request))?, true),
            "BatchWriteItem" => (call(request, |request| database.batch_write_item(request))?, true),
            "TransactWriteItems" => (call(request, |request| database.transact_write_items(request))?, true),
            "ExecuteStatement" => (call(request, |request| database.execute_statement(request))?, true),
            "ExecuteTransaction" => (call(request, |request| database.execute_transaction(request))?, true),
            "BatchExecuteStatement" => (call(request, |request| database.batch_execute_statement(request))?, true),
            "GetItem" => (call(request, |request| database.get_item(request))?, false),
            "BatchGetItem" => (call(request, |request| database.batch_get_item(request))?, false),
            "TransactGetItems" => (call(request, |request| database.transact_get_items(request))?, false),
            "Query" => (call(request, |request| database.query(request))?, false),
            "Scan" => (call(request, |request| database.scan(request))?, false),
            "ListTables" => (call(request, |request| database.list_tables(request))?, false),
            "UpdateTimeToLive" => (call(request, |request| database.update_time_to_live(request))?, false),
            "DescribeTimeToLive" => (call(request, |request| database.describe_time_to_live(request))?, false),
            _ => return Err(Refusal::unknown_operation()),
        })
    }

    fn create(
        &mut self,
        service: &mut Service,
        now_ms: i64,
        mut request: Map<String, Value>,
    ) -> Result<String, Refusal> {
        let wanted = wanted_stream(request.remove("StreamSpecification").as_ref())?;
        let keys = key_attributes(&request);
        // Whole images, whatever the user's stream carries: there may be another one later.
        request.insert(
            "StreamSpecification".into(),
            json!({"StreamEnabled": true, "StreamViewType": ViewType::NewAndOldImages.as_str()}),
        );
        let answer = call(request, |request| self.database.create_table(request))?;
        let field = |name: &str| answer["TableDescription"][name].as_str().unwrap_or_default().to_owned();
        let (name, arn) = (field("TableName"), field("LatestStreamArn"));
        let described = call(Map::from_iter([("StreamArn".into(), arn.clone().into())]), |request| {
            self.database.describe_stream(request)
        })?;
        let shard = described["StreamDescription"]["Shards"][0]["ShardId"].as_str().unwrap_or_default().to_owned();
        let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
        let table_id = service.create_table(now_ms, &name, &keys);
        self.tables.insert(name.clone(), Carried { table_id, arn, shard, after: None });
        if let Some(Wanted::On(view)) = wanted {
            service.enable_stream(now_ms, &name, view)?;
        }
        Ok(self.with_stream(service, now_ms, answer, "TableDescription").to_string())
    }

    fn update(
        &mut self,
        service: &mut Service,
        now_ms: i64,
        mut request: Map<String, Value>,
    ) -> Result<String, Refusal> {
        let table = needed_text(&request, "TableName")?;
        match wanted_stream(request.remove("StreamSpecification").as_ref())? {
            Some(Wanted::On(view)) => drop(service.enable_stream(now_ms, &table, view)?),
            Some(Wanted::Off) => service.disable_stream(now_ms, &table)?,
            None => {
                let answer = call(request, |request| self.database.update_table(request))?;
                return Ok(self.with_stream(service, now_ms, answer, "TableDescription").to_string());
            }
        }
        let name = Map::from_iter([("TableName".into(), table.into())]);
        let mut answer = call(name, |request| self.database.describe_table(request))?;
        let answer = json!({"TableDescription": answer["Table"].take()});
        Ok(self.with_stream(service, now_ms, answer, "TableDescription").to_string())
    }

    fn delete(&mut self, service: &mut Service, now_ms: i64, request: Map<String, Value>) -> Result<String, Refusal> {
        let table = needed_text(&request, "TableName")?;
        let answer = call(request, |request| self.database.delete_table(request))?;
        let answer = self.with_stream(service, now_ms, answer, "TableDescription");
        self.tables.remove(&table);
        service.delete_table(now_ms, &table)?;
        Ok(answer.to_string())
    }

    /// Puts the simulated stream where the answer tells of the private one.
    fn with_stream(&self, service: &Service, now_ms: i64, mut answer: Value, field: &str) -> Value {
        let Some(description) = answer.get_mut(field).and_then(Value::as_object_mut) else { return answer };
        for private in ["LatestStreamArn", "LatestStreamLabel", "StreamSpecification"] {
            description.remove(private);
        }
        let table = text(description, "TableName").ok().flatten().unwrap_or_default();
        if let Some(carried) = self.tables.get(&table) {
            description.insert("TableId".into(), carried.table_id.clone().into());
        }
        if let Some(stream) = service.latest_stream(now_ms, &table) {
            if matches!(stream.status, StreamStatus::Enabling | StreamStatus::Enabled) {
                let specification = json!({"StreamEnabled": true, "StreamViewType": stream.view.as_str()});
                description.insert("StreamSpecification".into(), specification);
            }
            description.insert("LatestStreamArn".into(), stream.arn.into());
            description.insert("LatestStreamLabel".into(), stream.label.into());
        }
        answer
    }

    /// Carries what the last write changed from the private streams into the service.
    fn carry_all(&mut self, service: &mut Service, now_ms: i64) {
        let Self { database, tables, .. } = self;
        for (table, carried) in tables {
            if let Err(refusal) = carry(database, table, carried, service, now_ms) {
                tracing::error!(
                    table,
                    refusal = refusal.body,
                    "changes could not be carried into the simulated stream"
                );
            }
        }
    }
}

fn carry(
    database: &Database,
    table: &str,
    carried: &mut Carried,
    service: &mut Service,
    now_ms: i64,
) -> Result<(), Refusal> {
    let mut start = json!({"StreamArn": carried.arn, "ShardId": carried.shard, "ShardIteratorType": "TRIM_HORIZON"});
    if let Some(after) = &carried.after {
        start["ShardIteratorType"] = "AFTER_SEQUENCE_NUMBER".into();
        start["SequenceNumber"] = after.as_str().into();
    }
    let start = start.as_object().cloned().unwrap_or_default();
    let mut iterator = call(start, |request| database.get_shard_iterator(request))?["ShardIterator"].take();
    loop {
        let page = call(Map::from_iter([("ShardIterator".into(), iterator)]), |request| database.get_records(request))?;
        let records = page["Records"].as_array().map(Vec::as_slice).unwrap_or_default();
        if records.is_empty() {
            return Ok(());
        }
        for record in records {
            let body = &record["dynamodb"];
            let image = |name: &str| body.get(name).map(Value::to_string);
            let change = ItemChange {
                key: body["Keys"].to_string(),
                old: image("OldImage"),
                new: image("NewImage"),
                time_to_live: record.get("userIdentity").is_some(),
            };
            service.write(now_ms, table, change);
            carried.after = body["SequenceNumber"].as_str().map(str::to_owned);
        }
        iterator = page["NextShardIterator"].clone();
    }
}

/// What a request wants of the stream.
enum Wanted {
    On(ViewType),
    Off,
}

fn wanted_stream(specification: Option<&Value>) -> Result<Option<Wanted>, Refusal> {
    let Some(specification) = specification.filter(|specification| !specification.is_null()) else { return Ok(None) };
    let is_on = specification["StreamEnabled"]
        .as_bool()
        .ok_or_else(|| Refusal::missing("streamSpecification.streamEnabled"))?;
    if !is_on {
        return Ok(Some(Wanted::Off));
    }
    let view = specification["StreamViewType"].as_str().and_then(ViewType::parse);
    view.map(|view| Some(Wanted::On(view))).ok_or_else(|| Refusal::missing("streamSpecification.streamViewType"))
}

/// The key's attributes, partition key first.
fn key_attributes(request: &Map<String, Value>) -> Vec<String> {
    let schema = request.get("KeySchema").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let of_type = |kind: &str| {
        let mut found = schema.iter().filter(|attribute| attribute["KeyType"] == kind);
        found.next().and_then(|attribute| attribute["AttributeName"].as_str().map(str::to_owned))
    };
    of_type("HASH").into_iter().chain(of_type("RANGE")).collect()
}

/// Calls the embedded database through its own JSON: what it reads and writes is what a server would.
fn call<Q: DeserializeOwned, A: Serialize>(
    request: Map<String, Value>,
    work: impl FnOnce(Q) -> Result<A, DynoxideError>,
) -> Result<Value, Refusal> {
    let request = serde_json::from_value(Value::Object(request)).map_err(|error| {
        // Some checks of values stand in its reader, and it marks them so.
        tracing::debug!(%error, "a request that the embedded database cannot read");
        Refusal::unreadable(&error.to_string())
    })?;
    let answer = work(request)?;
    serde_json::to_value(&answer).map_err(|error| Refusal::internal(&error.to_string()))
}
