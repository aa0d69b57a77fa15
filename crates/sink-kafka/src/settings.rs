//! What a pipeline file says about its Kafka sink.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use secrecy::SecretString;

/// Where to write to, and what is promised there.
#[derive(Clone, Debug)]
pub struct KafkaSettings {
    /// `HOST:PORT,HOST:PORT`: some brokers of the cluster.
    pub brokers: String,
    /// The topic of the change events, with every placeholder filled in.
    pub topic: String,
    /// The topic of the dead letters.
    pub dead_letter_topic: String,
    /// The compacted topic that holds the progress, one partition per lane.
    pub progress_topic: String,
    /// What a message's value looks like.
    pub format: Format,
    /// What a removed item becomes.
    pub delete: Deletes,
    /// The headers of change events, in the order in which they are sent. Dead letters always have all of theirs.
    pub headers: Vec<ChangeHeader>,
    /// Whether data and progress share a transaction.
    pub delivery: DeliveryPromise,
    /// What to do when the number of the topic's partitions has changed.
    pub on_repartition: OnRepartition,
    /// How to make the topics of change events and dead letters when they are missing; nothing means that they must be
    /// there.
    pub create_topics: Option<CreateTopics>,
    /// Encryption. Nothing means plain text.
    pub tls: Option<TlsSettings>,
    /// Who we are. Nothing means that the broker does not ask.
    pub sasl: Option<SaslSettings>,
    /// Properties handed to librdkafka as they are; those that would break a promise are refused by
    /// [`refused_property`](crate::refused_property).
    pub librdkafka: BTreeMap<String, SecretString>,
    /// The broker gives a transaction up when it is open for longer than this; also the longest time of one commit.
    pub transaction_timeout: Duration,
    /// The longest wait for one answer of the cluster at a start.
    pub request_timeout: Duration,
    /// More dead letters than this within a minute stop the pipeline.
    pub dead_letters_per_minute_max: u32,
    /// The token of a refused start: goes on although progress and topic do not belong together.
    pub adopt: Option<String>,
}

/// The form of a message's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Plain JSON of the images with metadata.
    Json,
    /// The record as Lambda and Kinesis show it: typed JSON, nothing lost.
    Dynamodb,
}

/// What the removal of an item becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deletes {
    /// A message that tells it.
    Event,
    /// A message without a value: compaction then drops the key.
    Tombstone,
    /// The first, then the second.
    EventAndTombstone,
}

/// A header that a change event's messages can have: what a consumer can filter by without reading the value. Names begin
/// with two underscores, as those that Debezium adds to a flattened record
/// (<https://debezium.io/documentation/reference/stable/transformations/event-flattening.html>).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangeHeader {
    /// Debezium's letters: `c` for create, `u` for update, `d` for delete.
    Operation,
    /// The name of the table.
    Table,
    /// DynamoDB's id of the record: the same each time it is written, so a consumer can drop what it has seen.
    EventId,
    /// The sequence number. As a number it grows with every change of an item; as text it does not sort.
    SequenceNumber,
    /// Whether the event comes from a snapshot of the table: `false`.
    Snapshot,
    /// When the change was made, in milliseconds since 1970.
    SourceTime,
    /// `application/json`.
    ContentType,
}

impl ChangeHeader {
    /// All of them, in the order in which they are sent by default.
    pub const ALL: [Self; 7] = [
        Self::Operation,
        Self::Table,
        Self::EventId,
        Self::SequenceNumber,
        Self::Snapshot,
        Self::SourceTime,
        Self::ContentType,
    ];

    /// Its name in messages, and in the pipeline file.
    pub fn name(self) -> &'static str {
        match self {
            Self::Operation => "__op",
            Self::Table => "__table",
            Self::EventId => "__event_id",
            Self::SequenceNumber => "__seq",
            Self::Snapshot => "__snapshot",
            Self::SourceTime => "__source_ts_ms",
            Self::ContentType => "content-type",
        }
    }
}

/// How data and progress belong together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeliveryPromise {
    /// One transaction holds both.
    ExactlyOnce,
    /// Progress is written after the data was acknowledged: after trouble, messages can come again.
    AtLeastOnce,
}

/// What follows from a changed number of partitions: the same key may then be in another partition than before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnRepartition {
    /// Stop and say so.
    Stop,
    /// Go on with the new number.
    Continue,
}

/// How missing topics are made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreateTopics {
    /// Partitions of the topic of change events.
    pub partitions: u32,
    /// Copies of each partition; nothing takes the broker's default.
    pub replication: Option<u16>,
    /// Further settings of the topic of change events, for example `cleanup.policy`.
    pub config: BTreeMap<String, String>,
}

/// Encryption of the connection. The broker's certificate and name are always verified.
#[derive(Clone, Debug, Default)]
pub struct TlsSettings {
    /// Certificates of the authorities to trust, as PEM. Nothing takes the system's own.
    pub ca_file: Option<PathBuf>,
    /// Our certificate, for brokers that ask for one, as PEM.
    pub certificate_file: Option<PathBuf>,
    /// Its key, as PEM.
    pub key_file: Option<PathBuf>,
    /// The password of that key.
    pub key_password: Option<SecretString>,
}

impl KafkaSettings {
    /// Whether a client says by a bearer token who it is. It asks for one by an event, which has to be served before its first request.
    pub(crate) fn has_bearer_token(&self) -> bool {
        match &self.sasl {
            Some(SaslSettings::OAuthBearer { .. }) => true,
            #[cfg(feature = "msk-iam")]
            Some(SaslSettings::MskIam { .. }) => true,
            Some(SaslSettings::Plain(_) | SaslSettings::ScramSha256(_) | SaslSettings::ScramSha512(_)) | None => false,
        }
    }
}

/// Who we are to the broker: only over TLS, unless the broker is on this machine.
#[derive(Clone, Debug)]
pub enum SaslSettings {
    /// User name and password as they are.
    Plain(Credentials),
    /// SCRAM with SHA-256.
    ScramSha256(Credentials),
    /// SCRAM with SHA-512.
    ScramSha512(Credentials),
    /// A bearer token, a JWT, read from this file whenever a new one is needed.
    OAuthBearer {
        /// The file. Whoever renews the token replaces the file.
        token_file: PathBuf,
    },
    /// Amazon MSK with IAM: tokens signed with the credentials of AWS's default chain.
    #[cfg(feature = "msk-iam")]
    MskIam {
        /// The cluster's region.
        region: String,
    },
}

/// User name and password.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// The user name.
    pub username: String,
    /// The password.
    pub password: SecretString,
}

/// Settings of a plain broker on this machine, for tests.
#[cfg(test)]
pub(crate) fn sample() -> KafkaSettings {
    KafkaSettings {
        brokers: "127.0.0.1:9092".into(),
        topic: "orders".into(),
        dead_letter_topic: "orders-dead-letters".into(),
        progress_topic: "orders-progress".into(),
        format: Format::Json,
        delete: Deletes::EventAndTombstone,
        headers: ChangeHeader::ALL.into(),
        delivery: DeliveryPromise::ExactlyOnce,
        on_repartition: OnRepartition::Stop,
        create_topics: None,
        tls: None,
        sasl: None,
        librdkafka: BTreeMap::new(),
        transaction_timeout: Duration::from_secs(60),
        request_timeout: Duration::from_secs(30),
        dead_letters_per_minute_max: 100,
        adopt: None,
    }
}
