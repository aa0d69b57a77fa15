//! What a pipeline file means. Built without any connection; nothing here can be printed whole, because it may hold
//! secrets.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tailwater_sink_kafka::KafkaSettings;
use tailwater_sink_local::{FileSettings, SqliteSettings};
use tailwater_sink_postgres::PostgresSettings;
use tailwater_source_dynamodb::{AwsSettings, OnGap, StartAt};
use tailwater_transform::{KeepChanges, RenameAttributes, SelectAttributes};

/// One pipeline.
pub struct PipelineSpec {
    /// The file, as it was named on the command line.
    pub file: String,
    /// Its name in logs and in the stored progress.
    pub name: String,
    /// Lanes that shards are dealt to.
    pub lanes: u32,
    /// An owner that shows no life for so long is taken for dead by whoever stands by.
    pub lease: Duration,
    /// Where changes come from.
    pub source: SourceSpec,
    /// What happens to them on the way, in order.
    pub transforms: Vec<TransformSpec>,
    /// Where they go.
    pub sink: SinkSpec,
    /// Bounds of memory, groups and time.
    pub limits: LimitsSpec,
}

/// `[source]`.
pub struct SourceSpec {
    /// The table's name.
    pub table: String,
    /// An older stream of the same table instead of the one that is on now.
    pub stream_arn: Option<String>,
    /// Where the very first run begins.
    pub start: StartAt,
    /// What happens when data was trimmed before it was read.
    pub on_gap: OnGap,
    /// How to reach AWS.
    pub aws: AwsSettings,
    /// Wait between polls of a shard whose pages are full.
    pub poll_interval_min: Duration,
    /// Wait between polls of a shard whose pages are empty.
    pub poll_interval_max: Duration,
    /// Records can be read this long after their write at the latest.
    pub visible_within: Duration,
}

/// One `[[transform]]`.
#[derive(Clone)]
pub enum TransformSpec {
    /// `keep`.
    Keep(KeepChanges),
    /// `include` or `exclude`.
    Select(SelectAttributes),
    /// `rename`.
    Rename(RenameAttributes),
}

/// The one `[sink.X]`.
#[derive(Clone)]
pub enum SinkSpec {
    /// `[sink.kafka]`.
    Kafka(Box<KafkaSettings>),
    /// `[sink.postgres]`.
    Postgres(PostgresSettings),
    /// `[sink.sqlite]`.
    Sqlite(SqliteSettings),
    /// `[sink.file]`.
    File(FileSettings),
    /// `[sink.stdout]`.
    Stdout,
}

impl SinkSpec {
    /// Its name in the file.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Kafka(_) => "kafka",
            Self::Postgres(_) => "postgres",
            Self::Sqlite(_) => "sqlite",
            Self::File(_) => "file",
            Self::Stdout => "stdout",
        }
    }

    /// Where it writes to, in words without a secret.
    pub fn target(&self) -> String {
        match self {
            Self::Kafka(settings) => format!("Kafka topic {} at {}", settings.topic, settings.brokers),
            Self::Postgres(settings) => format!("Postgres table {}.{}", settings.schema, settings.table),
            Self::Sqlite(settings) => format!("SQLite table {} in {}", settings.table, settings.path.display()),
            Self::File(settings) => format!("file {}", settings.path.display()),
            Self::Stdout => "standard output".into(),
        }
    }

    /// Whether both write to one table or one file, as far as that can be known without asking a server.
    pub fn shares_target(&self, other: &Self) -> bool {
        match (self, other) {
            // SQLite takes names for equal that differ only in the case of ASCII letters.
            (Self::Sqlite(one), Self::Sqlite(other)) => {
                one.table.eq_ignore_ascii_case(&other.table) && is_same_file(&one.path, &other.path)
            }
            (Self::File(one), Self::File(other)) => is_same_file(&one.path, &other.path),
            (Self::Postgres(one), Self::Postgres(other)) => {
                (&one.schema, &one.table) == (&other.schema, &other.table) && one.url.is_same(&other.url)
            }
            _ => false,
        }
    }

    /// Whether the sink mirrors whole items, and therefore needs the new image.
    pub fn mirrors(&self) -> bool {
        matches!(self, Self::Postgres(_) | Self::Sqlite(_))
    }
}

/// Whether two paths lead to one file, which need not be there.
fn is_same_file(one: &Path, other: &Path) -> bool {
    let resolved = |path: &Path| -> Option<PathBuf> {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        path.canonicalize().ok().or_else(|| Some(folder.canonicalize().ok()?.join(path.file_name()?)))
    };
    one == other || resolved(one).is_some_and(|one| resolved(other) == Some(one))
}

/// `[limits]`.
pub struct LimitsSpec {
    /// Budget for pages in memory, taken before they are asked for, in bytes.
    pub memory_bytes_max: usize,
    /// Events at which a group is committed.
    pub group_events_max: usize,
    /// Bytes of pages at which a group is committed.
    pub group_bytes_max: usize,
    /// Longest wait of the first batch of a group for others.
    pub group_delay_max: Duration,
    /// Fetches of pages at the same time.
    pub fetch_slots: usize,
    /// Dead letters in a minute above which the pipeline stops.
    pub dead_letters_per_minute_max: u32,
    /// Longest time that a graceful stop may take.
    pub grace_period: Duration,
    /// Time between two listings of the stream's shards.
    pub discovery_interval: Duration,
}
