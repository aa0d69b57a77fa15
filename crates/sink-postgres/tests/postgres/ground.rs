//! What the tests stand on: a fresh database, a pipeline, events, and a second pair of eyes on the tables.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use sqlx::{AssertSqlSafe, Connection, PgConnection, Row};
use tailwater_model::{
    Advance, Batch, Change, ChangeEvent, Counts, DeleteMode, Group, Item, KeyAttribute, KeyKind, KeySchema,
    PipelineIdentity, Position, RemoveCause, SequenceNumber, ShardId, Sink, SourceInfo, Step, StreamIdentity,
};
use tailwater_sink_postgres::{PostgresLane, PostgresSettings, TlsSettings, claim};
use tokio::sync::Mutex;

/// Where the tests' server is, unless `TAILWATER_TEST_POSTGRES` names another: a superuser's URL.
const SERVER: &str = "postgres://tailwater:tailwater@127.0.0.1:25432/tailwater";

pub const SHARD: &str = "shardId-00000001734567890123-0a1b2c3d";
pub const STREAM: &str = "arn:aws:dynamodb:eu-west-1:1:table/Orders/stream/2026-11-23T00:00:00.000";

pub fn server_url() -> String {
    std::env::var("TAILWATER_TEST_POSTGRES").unwrap_or_else(|_| SERVER.to_owned())
}

/// A database that lives as long as its test.
pub struct Database {
    name: String,
    /// The second pair of eyes. One connection for all looks: logging in is what costs.
    eyes: Mutex<PgConnection>,
    pub url: String,
}

/// Runs a test in a fresh database and removes it afterwards, also when the test fails.
pub async fn in_database<F, T>(test: F)
where
    F: FnOnce(Arc<Database>) -> T,
    T: Future<Output = ()> + Send + 'static,
{
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let name = format!("tailwater_sink_{}_{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
    run_at(&server_url(), &format!("drop database if exists {name} with (force)")).await;
    run_at(&server_url(), &format!("create database {name}")).await;
    let (base, _) =
        server_url().rsplit_once('/').map(|(base, name)| (base.to_owned(), name.to_owned())).expect("a URL");
    let url = format!("{base}/{name}");
    let eyes = Mutex::new(PgConnection::connect(&url).await.expect("the test's database"));
    let database = Arc::new(Database { url, eyes, name: name.clone() });
    let ended = tokio::spawn(test(database)).await;
    run_at(&server_url(), &format!("drop database if exists {name} with (force)")).await;
    run_at(&server_url(), &format!("drop role if exists {name}")).await;
    if let Err(failed) = ended {
        std::panic::resume_unwind(failed.into_panic());
    }
}

async fn run_at(url: &str, sql: &str) {
    let mut connection = PgConnection::connect(url).await.unwrap_or_else(|error| panic!("the test server: {error}"));
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut connection).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
}

impl Database {
    pub async fn connect(&self) -> PgConnection {
        PgConnection::connect(&self.url).await.expect("the test's database")
    }

    pub async fn run(&self, sql: &str) {
        let done = sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut *self.eyes.lock().await).await;
        done.unwrap_or_else(|error| panic!("{sql}: {error}"));
    }

    /// All rows of a query with one text column.
    pub async fn texts(&self, sql: &str) -> Vec<String> {
        let query = sqlx::query(AssertSqlSafe(sql)).persistent(false);
        let rows = query.fetch_all(&mut *self.eyes.lock().await).await;
        let rows = rows.unwrap_or_else(|error| panic!("{sql}: {error}"));
        rows.iter().map(|row| row.try_get::<Option<String>, _>(0).expect("text").unwrap_or("null".into())).collect()
    }

    /// The only row of a query with one text column.
    pub async fn text(&self, sql: &str) -> String {
        let mut rows = self.texts(sql).await;
        assert_eq!(rows.len(), 1, "{sql}: {rows:?}");
        rows.remove(0)
    }

    pub async fn count(&self, what: &str) -> String {
        self.text(&format!("select count(*)::text from {what}")).await
    }

    /// A role without any right but to log in; its name and its URL. It goes when the database goes.
    pub async fn role(&self) -> (String, String) {
        let name = self.name.clone();
        self.run(&format!("create role {name} login password 'hunter2'")).await;
        let (_, place) = self.url.split_once('@').expect("a user in the URL");
        (name.clone(), format!("postgres://{name}:hunter2@{place}"))
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn settings(&self) -> PostgresSettings {
        settings(&self.url)
    }

    pub async fn lane(&self, settings: &PostgresSettings, keys: &KeySchema) -> PostgresLane {
        let mut lanes = claim(settings, &identity(1), keys).await.unwrap_or_else(|trouble| panic!("{trouble:?}")).lanes;
        lanes.remove(0)
    }

    /// A lane that is open with [`SHARD`] registered at its start.
    pub async fn ready_lane(&self, settings: &PostgresSettings, keys: &KeySchema) -> PostgresLane {
        let mut lane = self.lane(settings, keys).await;
        lane.open().await.expect("opens");
        lane.commit(group([registration(SHARD, None)])).await.expect("registers");
        lane
    }
}

pub fn settings(url: &str) -> PostgresSettings {
    PostgresSettings {
        url: url.into(),
        schema: "public".into(),
        table: "orders".into(),
        delete: DeleteMode::Soft,
        tls: TlsSettings::default(),
        statement_timeout: Duration::from_secs(20),
        lock_timeout: Duration::from_secs(10),
        connect_timeout: Duration::from_secs(10),
        dead_letters_per_minute_max: 100,
        adopt: None,
    }
}

pub fn identity(lanes: u32) -> PipelineIdentity {
    PipelineIdentity {
        name: "orders to postgres".into(),
        lanes,
        stream: StreamIdentity { table: "Orders".into(), table_id: "id-1".into(), stream_arn: STREAM.into() },
    }
}

pub fn keys(attributes: &[(&str, KeyKind)]) -> KeySchema {
    let mut attributes = attributes.iter().map(|(name, kind)| KeyAttribute { name: (*name).into(), kind: *kind });
    KeySchema { partition: attributes.next().expect("a partition key"), sort: attributes.next() }
}

pub fn id_key() -> KeySchema {
    keys(&[("Id", KeyKind::S)])
}

pub fn item(typed_json: &str) -> Item {
    Item::parse(typed_json.into()).unwrap_or_else(|fault| panic!("{typed_json}: {fault}"))
}

fn event(number: u64, key: &str, change: Change) -> ChangeEvent {
    ChangeEvent {
        key: item(key),
        change,
        source: SourceInfo {
            shard: ShardId::new(SHARD),
            sequence_number: sequence_number(number),
            event_id: format!("event-{number}").into(),
            created_at_ms: 1_700_000_000_123,
            size_bytes: 10,
        },
    }
}

pub fn sequence_number(number: u64) -> SequenceNumber {
    SequenceNumber::parse(format!("4000000000000{number:08}").into()).expect("digits")
}

pub fn after(number: u64) -> Position {
    Position::After(sequence_number(number))
}

pub fn id(value: &str) -> String {
    format!(r#"{{"Id":{{"S":{}}}}}"#, serde_json::Value::from(value))
}

pub fn insert(number: u64, key: &str, new: &str) -> ChangeEvent {
    event(number, key, Change::Insert { new: Some(item(new)) })
}

/// Writes an item whose only other attribute is a number.
pub fn put(number: u64, key: &str, value: u64) -> ChangeEvent {
    insert(number, &id(key), &with_value(key, value))
}

pub fn with_value(key: &str, value: u64) -> String {
    format!(r#"{{"Id":{{"S":{}}},"v":{{"N":"{value}"}}}}"#, serde_json::Value::from(key))
}

pub fn remove(number: u64, key: &str, old: Option<&str>, cause: RemoveCause) -> ChangeEvent {
    event(number, key, Change::Remove { old: old.map(item), cause })
}

pub fn registration(shard: &str, parent: Option<&str>) -> Batch {
    let step = Step::Register { parent: parent.map(ShardId::new), position: Position::Start };
    Batch { step, ..batch(Position::Start, Position::Start, Vec::new()) }.on(shard)
}

/// Events of [`SHARD`] with the step that carries them.
pub fn batch(from: Position, to: Position, events: Vec<ChangeEvent>) -> Batch {
    let records = events.len() as u64;
    let counts = Counts { read: records, written: records, ..Counts::default() };
    Batch {
        shard: ShardId::new(SHARD),
        step: Step::Advance(Advance { from, to }),
        read_until: None,
        events,
        dead_letters: Vec::new(),
        gap: None,
        counts,
        bytes: 0,
    }
}

pub trait OnShard {
    fn on(self, shard: &str) -> Self;
}

impl OnShard for Batch {
    fn on(mut self, shard: &str) -> Self {
        self.shard = ShardId::new(shard);
        self
    }
}

pub fn group(batches: impl IntoIterator<Item = Batch>) -> Group {
    Group { batches: batches.into_iter().collect(), first_listing: None }
}
