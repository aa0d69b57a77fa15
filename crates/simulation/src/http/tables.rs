//! The tables: an embedded `dynoxide`. Each of its tables has a stream of its own that nobody outside sees; what comes out
//! of it after a write goes into the simulated service.

use std::collections::BTreeMap;

use dynoxide::Database;
use serde_json::{Map, Value, json};
use tailwater_model::ViewType;

use super::embedded::call;
use super::names;
use super::private_streams::{self, PrivateStreams};
use super::wire::{Refusal, needed_text, text};
use crate::service::{Service, StreamStatus};

/// Time between two looks for items that have expired, in milliseconds.
const EXPIRY_INTERVAL_MS: i64 = 1000;

/// The tables of an account.
pub(super) struct Tables {
    database: Database,
    private: PrivateStreams,
    /// The ids of the tables by their names.
    ids: BTreeMap<String, String>,
    expired_at_ms: i64,
}

impl Tables {
    pub(super) fn new() -> Result<Self, String> {
        let (database, private) = private_streams::open()?;
        Ok(Self { database, private, ids: BTreeMap::new(), expired_at_ms: i64::MIN })
    }

    /// Deletes what has expired, about once a second.
    pub(super) fn expire(&mut self, service: &mut Service, now_ms: i64) {
        if now_ms < self.expired_at_ms.saturating_add(EXPIRY_INTERVAL_MS) {
            return;
        }
        self.expired_at_ms = now_ms;
        match self.database.sweep_ttl() {
            Ok(0) => {}
            Ok(_) => self.carry(service, now_ms),
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
                    self.carry(service, now_ms);
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
            "TagResource" => (call(request, |request| database.tag_resource(request))?, false),
            "UntagResource" => (call(request, |request| database.untag_resource(request))?, false),
            "ListTagsOfResource" => (call(request, |request| database.list_tags_of_resource(request))?, false),
            "DescribeLimits" => (account_limits(), false),
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
        let name = answer["TableDescription"]["TableName"].as_str().unwrap_or_default().to_owned();
        let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
        let table_id = service.create_table(now_ms, &name, &keys);
        self.ids.insert(name.clone(), table_id);
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
        let Some(wanted) = wanted_stream(request.remove("StreamSpecification").as_ref())? else {
            let answer = call(request, |request| self.database.update_table(request))?;
            return Ok(self.with_stream(service, now_ms, answer, "TableDescription").to_string());
        };
        let is_set = |field: &str| request.get(field).is_some_and(|value| !value.is_null());
        if is_set("ProvisionedThroughput") || is_set("GlobalSecondaryIndexUpdates") {
            // The words are observed for the throughput; the API reference names both.
            return Err(Refusal::invalid("You cannot modify stream status while updating table IOPS"));
        }
        let state = service.latest_stream(now_ms, &table);
        let is_on = state.is_some_and(|state| matches!(state.status, StreamStatus::Enabling | StreamStatus::Enabled));
        let changes_more =
            request.keys().any(|name| is_set(name) && name != "TableName" && name != "AttributeDefinitions");
        // A stream that cannot be changed so refuses all of the request, below.
        if changes_more && matches!(wanted, Wanted::On(_)) != is_on {
            call(request, |request| self.database.update_table(request))?;
        }
        match wanted {
            Wanted::On(view) => drop(service.enable_stream(now_ms, &table, view)?),
            Wanted::Off => service.disable_stream(now_ms, &table)?,
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
        self.ids.remove(&table);
        service.delete_table(now_ms, &table)?;
        Ok(answer.to_string())
    }

    /// Puts the simulated stream where the answer tells of the private one, and the account's region into its ARNs.
    fn with_stream(&self, service: &Service, now_ms: i64, mut answer: Value, field: &str) -> Value {
        let Some(description) = answer.get_mut(field).and_then(Value::as_object_mut) else { return answer };
        names::move_arns(description, service);
        for private in ["LatestStreamArn", "LatestStreamLabel", "StreamSpecification"] {
            description.remove(private);
        }
        let table = text(description, "TableName").ok().flatten().unwrap_or_default();
        if let Some(id) = self.ids.get(&table) {
            description.insert("TableId".into(), id.clone().into());
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
    fn carry(&mut self, service: &mut Service, now_ms: i64) {
        match self.private.take() {
            Ok(changes) => {
                for (table, change) in changes {
                    service.write(now_ms, &table, change);
                }
            }
            Err(error) => tracing::error!(%error, "changes could not be carried into the simulated stream"),
        }
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

/// What a new account may use (DynamoDB API reference, `DescribeLimits`).
fn account_limits() -> Value {
    json!({
        "AccountMaxReadCapacityUnits": 80_000, "AccountMaxWriteCapacityUnits": 80_000,
        "TableMaxReadCapacityUnits": 40_000, "TableMaxWriteCapacityUnits": 40_000,
    })
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
