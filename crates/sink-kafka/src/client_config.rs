//! From settings to what librdkafka is configured with.

use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaConfRes;
use secrecy::{ExposeSecret, SecretString};
use tailwater_model::{Trouble, TroubleKind};

use crate::refused_property::refused_property;
use crate::secured::set_security;
use crate::settings::KafkaSettings;
use crate::topics::MessageLimits;

/// Requests that may be under way at once to one broker; more than five and retries could reorder, and librdkafka
/// refuses them to an idempotent producer.
const IN_FLIGHT_MAX: &str = "5";
/// How long librdkafka waits for company for a message. Our groups come whole, so this is only for their last messages.
const LINGER_MS: &str = "5";
/// Messages that one producer may hold; a lane serves deliveries while its queue is full.
const QUEUE_MESSAGES_MAX: &str = "100000";
/// Bytes that one producer may hold, in KiB, if not one message alone is larger: a multiple of the usual group.
const QUEUE_KIB_MAX: usize = 32 * 1024;
/// Bytes that a reader of progress may hold, in KiB.
const READ_AHEAD_KIB_MAX: &str = "8192";
/// How long a broker may hold a fetch back while there is nothing to read: so long takes it to find a partition's end.
const FETCH_WAIT_MAX_MS: &str = "50";
/// The range that librdkafka takes for `message.max.bytes`.
const MESSAGE_BYTES_RANGE: std::ops::RangeInclusive<usize> = 1_000..=1_000_000_000;
/// The most that several messages of a batch may have together, also where the topics take more: librdkafka's default.
pub(crate) const BATCH_BYTES_MAX: usize = 1_000_000;
/// Time to wait before connecting again, doubled up to the maximum: a broker that restarts is found soon.
const RECONNECT_MS: &str = "100";
/// The maximum of that.
const RECONNECT_MAX_MS: &str = "2000";
/// A connection that is not there after this long is tried again; also what librdkafka takes at least.
const CONNECT_WITHIN: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(10));
/// The shortest and the longest `socket.timeout.ms` that librdkafka takes.
const SOCKET_TIMEOUT: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(300));
/// The shortest `transaction.timeout.ms` that librdkafka takes, and a longest one that it can count with. Brokers refuse
/// far shorter ones (`transaction.max.timeout.ms`, 15 minutes by default).
const TRANSACTION_TIMEOUT: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(24 * 60 * 60));

/// What we set and a user may set too, with the other name that librdkafka has for it: it is told the names in no order,
/// so it must be told one of the two only.
const ALIASES: [(&str, &str); 2] = [("compression.type", "compression.codec"), ("linger.ms", "queue.buffering.max.ms")];

/// What a producer is for.
#[derive(Clone, Copy, Debug)]
pub enum ProducerRole<'a> {
    /// Everything that goes through one is in a transaction.
    Transactional {
        /// The `transactional.id`: who comes later with the same one fences everybody before.
        id: &'a str,
        /// What the topics take.
        limits: MessageLimits,
        /// What goes together.
        batches: Batches,
    },
    /// Every message once and in order for as long as the producer lives.
    Idempotent {
        /// What the topics take.
        limits: MessageLimits,
    },
    /// Signs of life, of which one may come late or twice. Needs no right beside that of writing.
    Signs {
        /// Of the largest one.
        limits: MessageLimits,
    },
}

/// Which records a reader is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isolation {
    /// Those that are committed, up to the first transaction that is still open.
    Committed,
    /// All, whatever becomes of their transactions.
    Uncommitted,
}

/// How messages of a partition go to the broker, which takes or refuses each batch as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Batches {
    /// As many at a time as there are.
    Full,
    /// One at a time: what the broker says of a batch it says of its only message.
    OfOne,
}

fn transaction_timeout(settings: &KafkaSettings) -> Duration {
    settings.transaction_timeout.clamp(TRANSACTION_TIMEOUT.0, TRANSACTION_TIMEOUT.1)
}

/// A message must be given up before its transaction is, and librdkafka wants room for one request in between.
fn message_timeout(settings: &KafkaSettings) -> Duration {
    transaction_timeout(settings) / 10 * 9
}

/// How long a producer waits for the answer to one request before it sends it again.
pub(crate) fn answer_within(settings: &KafkaSettings) -> Duration {
    settings.request_timeout.min(message_timeout(settings)).clamp(SOCKET_TIMEOUT.0, SOCKET_TIMEOUT.1)
}

/// A producer's configuration.
///
/// # Errors
/// Trouble of kind `Config` for a property that librdkafka does not know or take and for unsafe or unusable keys of the
/// pipeline file; of kind `Environment` for files that cannot be read.
pub(crate) fn producer_config(settings: &KafkaSettings, role: &ProducerRole<'_>) -> Result<ClientConfig, Trouble> {
    let (client, limits, batches) = match role {
        ProducerRole::Transactional { id, limits, batches } => (*id, limits, *batches),
        ProducerRole::Idempotent { limits } => ("producer", limits, Batches::Full),
        ProducerRole::Signs { limits } => ("owner", limits, Batches::Full),
    };
    let is_idempotent = !matches!(role, ProducerRole::Signs { .. });
    let mut config = client_config(settings, client)?;
    let message_bytes_max = limits.message_bytes_max().clamp(*MESSAGE_BYTES_RANGE.start(), *MESSAGE_BYTES_RANGE.end());
    let transaction_timeout = transaction_timeout(settings);
    let message_timeout = message_timeout(settings);
    let request_timeout = answer_within(settings);
    config
        .set("enable.idempotence", if is_idempotent { "true" } else { "false" })
        .set("acks", "all")
        .set("max.in.flight", IN_FLIGHT_MAX)
        // As Java's producers do, so that others who write the same keys meet ours.
        .set("partitioner", "murmur2_random")
        .set("compression.type", "zstd")
        .set("linger.ms", LINGER_MS)
        .set("message.timeout.ms", milliseconds(message_timeout))
        .set("request.timeout.ms", milliseconds(request_timeout))
        .set("socket.timeout.ms", milliseconds(request_timeout))
        .set("message.max.bytes", message_bytes_max.to_string())
        // I6: a lane waits while the queue is full.
        .set("queue.buffering.max.messages", QUEUE_MESSAGES_MAX)
        .set("queue.buffering.max.kbytes", QUEUE_KIB_MAX.max(message_bytes_max / 1024 + 1).to_string());
    if let ProducerRole::Transactional { id, .. } = role {
        config.set("transactional.id", *id).set("transaction.timeout.ms", milliseconds(transaction_timeout));
    }
    let batch_bytes_max = limits.batch_bytes_max().clamp(1, BATCH_BYTES_MAX);
    config.set("batch.size", batch_bytes_max.to_string());
    let mut config = finish(config, settings)?;
    // A user may want smaller batches, never larger ones than every topic takes.
    if config.get("batch.size").and_then(|bytes| bytes.parse().ok()).is_none_or(|bytes: usize| bytes > batch_bytes_max)
    {
        config.set("batch.size", batch_bytes_max.to_string());
    }
    if batches == Batches::OfOne {
        config.set("batch.num.messages", "1");
    }
    Ok(config)
}

/// The configuration of a consumer that is assigned by hand and reads each partition to its end.
///
/// Its group is nobody's: librdkafka wants a name before it lets partitions be assigned, and nobody joins it. A client that only
/// looks has none ([`looker_config`]), for one with a group is slow to close.
///
/// # Errors
/// As [`producer_config`].
pub(crate) fn reader_config(settings: &KafkaSettings, isolation: Isolation) -> Result<ClientConfig, Trouble> {
    let mut config = looker_config(settings, isolation)?;
    config.set("group.id", "tailwater-reader");
    Ok(config)
}

/// The configuration of a consumer that looks, and reads nothing.
///
/// # Errors
/// As [`producer_config`].
pub(crate) fn looker_config(settings: &KafkaSettings, isolation: Isolation) -> Result<ClientConfig, Trouble> {
    let level = match isolation {
        Isolation::Committed => "read_committed",
        Isolation::Uncommitted => "read_uncommitted",
    };
    let mut config = client_config(settings, "reader")?;
    config
        .set("isolation.level", level)
        .set("enable.partition.eof", "true")
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("auto.offset.reset", "earliest")
        .set("fetch.wait.max.ms", FETCH_WAIT_MAX_MS)
        .set("queued.max.messages.kbytes", READ_AHEAD_KIB_MAX)
        .set("socket.timeout.ms", milliseconds(settings.request_timeout.clamp(SOCKET_TIMEOUT.0, SOCKET_TIMEOUT.1)));
    finish(config, settings)
}

/// The configuration of an administrator.
///
/// # Errors
/// As [`producer_config`].
pub(crate) fn admin_config(settings: &KafkaSettings) -> Result<ClientConfig, Trouble> {
    let mut config = client_config(settings, "admin")?;
    config.set("socket.timeout.ms", milliseconds(settings.request_timeout.clamp(SOCKET_TIMEOUT.0, SOCKET_TIMEOUT.1)));
    finish(config, settings)
}

/// What every client has.
fn client_config(settings: &KafkaSettings, client: &str) -> Result<ClientConfig, Trouble> {
    let connect_within = settings.request_timeout.clamp(CONNECT_WITHIN.0, CONNECT_WITHIN.1);
    let mut config = ClientConfig::new();
    config
        .set_log_level(log_level())
        .set("bootstrap.servers", &settings.brokers)
        .set("client.id", format!("tailwater-{client}"))
        // The producer's default would have the broker make missing topics, with one partition and any retention.
        .set("allow.auto.create.topics", "false")
        .set("socket.keepalive.enable", "true")
        .set("socket.connection.setup.timeout.ms", milliseconds(connect_within))
        .set("reconnect.backoff.ms", RECONNECT_MS)
        .set("reconnect.backoff.max.ms", RECONNECT_MAX_MS);
    set_security(settings, &mut config)?;
    Ok(config)
}

/// librdkafka formats what it is asked for, so it is asked for details only when somebody reads them. Why a connection was
/// closed is one of its informational lines, and explains what fails later.
fn log_level() -> RDKafkaLogLevel {
    if tracing::enabled!(target: "librdkafka", tracing::Level::DEBUG) {
        RDKafkaLogLevel::Debug
    } else {
        RDKafkaLogLevel::Info
    }
}

/// The user's own properties, last; and librdkafka's opinion of each.
fn finish(mut config: ClientConfig, settings: &KafkaSettings) -> Result<ClientConfig, Trouble> {
    // One after the other on its own, for a message that names the property and not its value.
    for (name, value) in &settings.librdkafka {
        if let Some(trouble) = property_fault(name, value) {
            return Err(trouble);
        }
        for (ours, alias) in ALIASES {
            if name == alias {
                config.remove(ours);
            }
        }
        config.set(name, value.expose_secret());
    }
    match config.create_native_config() {
        Ok(_) => Ok(config),
        Err(KafkaError::ClientConfig(_, _, name, _)) => {
            Err(bad_property(&name, "librdkafka does not take its value").advise("correct the key that sets it"))
        }
        Err(_) => Err(bad_property("(unknown)", "a value holds a NUL character").advise("remove that character")),
    }
}

/// Why a property in `[sink.kafka.librdkafka]` cannot be used; nothing when it can. Never holds its value, which may be a secret.
pub fn property_fault(name: &str, value: &SecretString) -> Option<Trouble> {
    if let Some(reason) = refused_property(name) {
        return Some(bad_property(name, reason).advise("remove it from [sink.kafka.librdkafka]"));
    }
    let alone = ClientConfig::new().set(name, value.expose_secret()).create_native_config();
    alone.err().map(|error| refused_value(name, &error))
}

fn refused_value(name: &str, error: &KafkaError) -> Trouble {
    let KafkaError::ClientConfig(code, reason, ..) = error else {
        return bad_property(name, "its name or value holds a NUL character").advise("remove that character");
    };
    if *code == RDKafkaConfRes::RD_KAFKA_CONF_UNKNOWN {
        return bad_property(name, "librdkafka has no such property, or this build leaves it out")
            .advise("look it up in librdkafka's CONFIGURATION.md, or remove it from [sink.kafka.librdkafka]");
    }
    // The range is the one part of librdkafka's reason that says what to do and does not repeat the value.
    let range = reason.split_once("outside allowed range ").map(|(_, range)| format!(": it takes {range}"));
    let why = format!("librdkafka does not take its value{}", range.unwrap_or_default());
    bad_property(name, &why).advise("look it up in librdkafka's CONFIGURATION.md")
}

fn bad_property(name: &str, why: &str) -> Trouble {
    let message = format!("the property {name} in [sink.kafka.librdkafka] cannot be used: {why}");
    Trouble::new(TroubleKind::Config, "sink.kafka.property", message)
}

fn milliseconds(duration: Duration) -> String {
    duration.as_millis().to_string()
}

#[cfg(test)]
mod tests;
