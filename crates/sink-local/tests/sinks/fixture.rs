//! Events, groups and places for the tests of this crate.

use std::path::{Path, PathBuf};

use sqlx::ConnectOptions;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use tailwater_model::{
    Advance, Batch, Change, ChangeEvent, Checkpoints, Committed, Counts, DeleteMode, Failure, Group,
};
use tailwater_model::{Item, KeyAttribute, KeyKind, KeySchema, PipelineIdentity, Position, Progress, RemoveCause};
use tailwater_model::{SequenceNumber, ShardId, Sink, SourceInfo, Step, StreamIdentity, Trouble};
use tailwater_sink_local::{FileLane, FileSettings, SqliteLane, SqliteSettings};
use tailwater_sink_local::{check_file, check_sqlite, claim_file, claim_sqlite};
use tailwater_sink_local::{file_checkpoints, sqlite_checkpoints};

pub(crate) const SHARD: &str = "shardId-00000001";

pub(crate) fn identity() -> PipelineIdentity {
    let stream = StreamIdentity {
        table: "Orders".into(),
        table_id: "table-1".into(),
        stream_arn: "arn:aws:dynamodb:eu-west-1:1:table/Orders/stream/1".into(),
    };
    PipelineIdentity { name: "shop".into(), lanes: 1, stream }
}

pub(crate) fn keys() -> KeySchema {
    KeySchema {
        partition: KeyAttribute { name: "Customer \"Id\"".into(), kind: KeyKind::S },
        sort: Some(KeyAttribute { name: "order".into(), kind: KeyKind::N }),
    }
}

pub(crate) fn number(sequence: u64) -> SequenceNumber {
    SequenceNumber::parse(format!("1{sequence:020}").into()).expect("digits")
}

pub(crate) fn after(sequence: u64) -> Position {
    Position::After(number(sequence))
}

pub(crate) fn item(json: &str) -> Item {
    Item::parse(json.to_owned().into()).expect("typed JSON")
}

/// The key of the customer's order as typed JSON without the closing brace.
fn key_begin(customer: &str, order: &str) -> String {
    format!(r#"{{"order":{{"N":"{order}"}},"Customer \"Id\"":{{"S":{}}}"#, serde_json::Value::from(customer))
}

pub(crate) fn event(sequence: u64, customer: &str, order: &str, change: Change) -> ChangeEvent {
    ChangeEvent {
        key: item(&format!("{}}}", key_begin(customer, order))),
        change,
        source: SourceInfo {
            shard: ShardId::new(SHARD),
            sequence_number: number(sequence),
            event_id: format!("event-{sequence}").into(),
            created_at_ms: 1_700_000_000_000,
            size_bytes: 10,
        },
    }
}

/// An item with one more attribute.
pub(crate) fn image(customer: &str, order: &str, attribute: &str) -> Item {
    item(&format!("{},{attribute}}}", key_begin(customer, order)))
}

pub(crate) fn insert(sequence: u64, customer: &str, order: &str) -> ChangeEvent {
    let new = image(customer, order, &format!(r#""n":{{"N":"{sequence}"}}"#));
    event(sequence, customer, order, Change::Insert { new: Some(new) })
}

pub(crate) fn remove(sequence: u64, customer: &str, order: &str, old: Option<Item>) -> ChangeEvent {
    event(sequence, customer, order, Change::Remove { old, cause: RemoveCause::Request })
}

pub(crate) fn batch(step: Step, events: Vec<ChangeEvent>) -> Batch {
    let records = events.len() as u64;
    let counts = Counts { read: records, written: records, ..Counts::default() };
    let (shard, dead_letters) = (ShardId::new(SHARD), Vec::new());
    Batch { shard, step, read_until: None, events, dead_letters, gap: None, counts, bytes: 100 }
}

pub(crate) fn register() -> Batch {
    batch(Step::Register { parent: None, position: Position::Start }, Vec::new())
}

pub(crate) fn advance(from: Position, to: Position, events: Vec<ChangeEvent>) -> Batch {
    batch(Step::Advance(Advance { from, to }), events)
}

pub(crate) fn group(batches: Vec<Batch>) -> Group {
    Group { batches, first_listing: None }
}

/// Where a sink of this crate writes to.
pub(crate) enum Place {
    Sqlite(SqliteSettings),
    File(FileSettings),
}

pub(crate) enum Lane {
    Sqlite(Box<SqliteLane>),
    File(Box<FileLane>),
}

impl Place {
    pub(crate) fn sqlite(directory: &Path, delete: DeleteMode) -> Self {
        let path = directory.join("mirror.sqlite");
        Self::Sqlite(SqliteSettings {
            path,
            table: "the \"orders\"".into(),
            delete,
            dead_letters_per_minute_max: 2,
            adopt: None,
        })
    }

    pub(crate) fn file(directory: &Path) -> Self {
        Self::file_at(&directory.join("orders.jsonl"))
    }

    pub(crate) fn file_at(path: &Path) -> Self {
        Self::File(FileSettings { path: path.to_owned(), dead_letters_per_minute_max: 2, adopt: None })
    }

    /// The same place with another number of dead letters that are allowed within a minute. It is 2 otherwise.
    pub(crate) fn allowing(&self, dead_letters_per_minute_max: u32) -> Self {
        match self {
            Self::Sqlite(settings) => Self::Sqlite(SqliteSettings { dead_letters_per_minute_max, ..settings.clone() }),
            Self::File(settings) => Self::File(FileSettings { dead_letters_per_minute_max, ..settings.clone() }),
        }
    }

    /// One of each kind.
    pub(crate) fn all(directory: &Path) -> [Self; 2] {
        [Self::sqlite(directory, DeleteMode::Soft), Self::file(directory)]
    }

    pub(crate) fn path(&self) -> &Path {
        match self {
            Self::Sqlite(settings) => &settings.path,
            Self::File(settings) => &settings.path,
        }
    }

    /// The database that holds the progress.
    pub(crate) fn database(&self) -> PathBuf {
        match self {
            Self::Sqlite(settings) => settings.path.clone(),
            Self::File(settings) => format!("{}.progress", settings.path.display()).into(),
        }
    }

    pub(crate) async fn connect(&self) -> SqliteConnection {
        SqliteConnectOptions::new().filename(self.database()).connect().await.expect("the database opens")
    }

    pub(crate) async fn claim_as(&self, identity: &PipelineIdentity) -> Result<Vec<Lane>, Trouble> {
        let keys = keys();
        Ok(match self {
            Self::Sqlite(settings) => {
                let lanes = claim_sqlite(settings, identity, &keys).await?.lanes;
                lanes.into_iter().map(|lane| Lane::Sqlite(Box::new(lane))).collect()
            }
            Self::File(settings) => {
                let lanes = claim_file(settings, identity, &keys).await?.lanes;
                lanes.into_iter().map(|lane| Lane::File(Box::new(lane))).collect()
            }
        })
    }

    /// Whether it could be claimed.
    pub(crate) async fn check(&self) -> Result<(), Trouble> {
        match self {
            Self::Sqlite(settings) => check_sqlite(settings, &identity(), &keys()).await,
            Self::File(settings) => check_file(settings, &identity(), &keys()).await,
        }
    }

    pub(crate) async fn claim(&self) -> Result<Lane, Trouble> {
        let mut lanes = self.claim_as(&identity()).await?;
        assert_eq!(lanes.len(), 1);
        Ok(lanes.remove(0))
    }

    pub(crate) async fn opened(&self) -> (Lane, Progress) {
        let mut lane = self.claim().await.expect("the claim succeeds");
        let progress = lane.open().await.expect("the lane opens");
        (lane, progress)
    }

    pub(crate) async fn checkpoints(&self, pipeline: &str) -> Result<Option<Checkpoints>, Trouble> {
        match self {
            Self::Sqlite(settings) => sqlite_checkpoints(&settings.path, pipeline).await,
            Self::File(settings) => file_checkpoints(&settings.path, pipeline).await,
        }
    }

    /// How many lines or rows there are.
    pub(crate) async fn rows(&self) -> usize {
        match self {
            Self::Sqlite(_) => {
                let (rows,): (i64,) = sqlx::query_as("select count(*) from \"the \"\"orders\"\"\"")
                    .fetch_one(&mut self.connect().await)
                    .await
                    .expect("the table is there");
                usize::try_from(rows).expect("not negative")
            }
            Self::File(settings) => std::fs::read_to_string(&settings.path).expect("the file is there").lines().count(),
        }
    }
}

impl Sink for Lane {
    async fn open(&mut self) -> Result<Progress, Failure> {
        match self {
            Self::Sqlite(lane) => lane.open().await,
            Self::File(lane) => lane.open().await,
        }
    }

    async fn commit(&mut self, group: Group) -> Result<Committed, Failure> {
        match self {
            Self::Sqlite(lane) => lane.commit(group).await,
            Self::File(lane) => lane.commit(group).await,
        }
    }
}

/// "reopen" or "halt" with the code of the trouble.
pub(crate) fn told<T: std::fmt::Debug>(result: Result<T, Failure>) -> (&'static str, &'static str) {
    match result.expect_err("a failure") {
        Failure::Reopen(trouble) => ("reopen", trouble.code),
        Failure::Halt(trouble) => ("halt", trouble.code),
    }
}

/// The trouble of a refused claim.
pub(crate) fn refused<T>(result: Result<T, Trouble>) -> Trouble {
    match result {
        Ok(_) => panic!("the claim should have been refused"),
        Err(trouble) => {
            assert!(trouble.advice.is_some(), "{trouble:?} says what to do next");
            trouble
        }
    }
}
