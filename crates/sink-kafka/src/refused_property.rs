//! The properties of librdkafka that a pipeline file may not hand through, each with its reason.
//!
//! Names are those of librdkafka 2.12's `CONFIGURATION.md`, with every alias: librdkafka compares them letter by letter.

const IDEMPOTENCE: &str = "Tailwater sets it: without an idempotent producer that waits for all copies, a retry loses, \
                           doubles or reorders messages";
const PARTITIONER: &str = "Tailwater sets it: the same key must go to the same partition as with Java's producers";
const ALL_TRIES: &str = "Tailwater sets it: a message that is given up leaves a gap; the time is transaction_timeout";
const TRANSACTION: &str = "Tailwater sets it: the transaction's name is the fence between two owners of a lane";
const TRANSACTION_TIME: &str = "the key transaction_timeout of [sink.kafka] sets it";
const REQUEST_TIME: &str = "the key request_timeout of [sink.kafka] sets it";
const REPORTS: &str = "Tailwater counts every delivery report";
const QUEUE: &str = "Tailwater bounds its memory with it";
const SIZE: &str = "Tailwater takes it from max.message.bytes of the topics";
const READING: &str = "Tailwater sets it: progress is read committed, from its beginning to its end, without a group";
const LEADER: &str =
    "progress is read from each partition's leader: another replica may not have yet what was committed";
const CREATION: &str = "topics are made as create_topics of [sink.kafka] says, never by the broker's default";
const TOPICS: &str = "a topic that is hidden from the client cannot be written to";
const BROKERS: &str = "the key brokers of [sink.kafka] sets it";
const PROTOCOL: &str = "the keys tls and sasl of [sink.kafka] set it";
const CA: &str = "the key tls.ca_file of [sink.kafka] sets it";
const CERTIFICATE: &str = "the key tls.certificate_file of [sink.kafka] sets it";
const KEY: &str = "the key tls.key_file of [sink.kafka] sets it";
const KEY_PASSWORD: &str = "the key tls.key_password of [sink.kafka] sets it";
const VERIFICATION: &str = "the broker's certificate and name are always verified: for an authority of your own set \
                            tls.ca_file";
const MECHANISM: &str = "the key sasl.mechanism of [sink.kafka] sets it";
const USERNAME: &str = "the key sasl.username of [sink.kafka] sets it";
const PASSWORD: &str = "the key sasl.password of [sink.kafka] sets it";
const BEARER: &str = "bearer tokens come from the file that sasl.token_file of [sink.kafka] names";
const KERBEROS: &str = "this build has no Kerberos: use PLAIN, SCRAM or OAUTHBEARER";
const FOREIGN_CODE: &str = "it would load code from outside into this process";
const PROGRAM: &str = "it can only be set by a program";
const LOGS: &str = "the log filter sets it: TAILWATER_LOG=librdkafka=debug, and the property debug says of what";
const STATISTICS: &str = "nothing reads librdkafka's own statistics";
const VERSIONS: &str = "transactions need a broker that tells its versions";
const INTERNAL: &str = "it is for librdkafka's own tests";

/// Sorted by name.
const REFUSED: &[(&str, &str)] = &[
    ("acks", IDEMPOTENCE),
    ("allow.auto.create.topics", CREATION),
    ("api.version.fallback.ms", VERSIONS),
    ("api.version.request", VERSIONS),
    ("auto.commit.enable", READING),
    ("auto.commit.interval.ms", READING),
    ("auto.offset.reset", READING),
    ("bootstrap.servers", BROKERS),
    ("broker.version.fallback", VERSIONS),
    ("client.rack", LEADER),
    ("default_topic_conf", PROGRAM),
    ("delivery.report.only.error", REPORTS),
    ("delivery.timeout.ms", ALL_TRIES),
    ("enable.auto.commit", READING),
    ("enable.auto.offset.store", READING),
    ("enable.gapless.guarantee", IDEMPOTENCE),
    ("enable.idempotence", IDEMPOTENCE),
    ("enable.partition.eof", READING),
    ("enable.sasl.oauthbearer.unsecure.jwt", BEARER),
    ("enable.ssl.certificate.verification", VERIFICATION),
    ("enabled_events", PROGRAM),
    ("interceptors", PROGRAM),
    ("isolation.level", READING),
    ("log.queue", PROGRAM),
    ("log_level", LOGS),
    ("max.in.flight", IDEMPOTENCE),
    ("max.in.flight.requests.per.connection", IDEMPOTENCE),
    ("message.max.bytes", SIZE),
    ("message.send.max.retries", ALL_TRIES),
    ("message.timeout.ms", ALL_TRIES),
    ("metadata.broker.list", BROKERS),
    ("msg_order_cmp", PROGRAM),
    ("opaque", PROGRAM),
    ("partition.assignment.strategy", READING),
    ("partitioner", PARTITIONER),
    ("plugin.library.paths", FOREIGN_CODE),
    ("queue.buffering.max.kbytes", QUEUE),
    ("queue.buffering.max.messages", QUEUE),
    ("queued.max.messages.kbytes", QUEUE),
    ("queued.min.messages", QUEUE),
    ("queuing.strategy", IDEMPOTENCE),
    ("request.required.acks", IDEMPOTENCE),
    ("request.timeout.ms", REQUEST_TIME),
    ("retries", ALL_TRIES),
    ("sasl.mechanism", MECHANISM),
    ("sasl.mechanisms", MECHANISM),
    ("sasl.password", PASSWORD),
    ("sasl.username", USERNAME),
    ("security.protocol", PROTOCOL),
    ("socket.timeout.ms", REQUEST_TIME),
    ("ssl.ca.location", CA),
    ("ssl.ca.pem", CA),
    ("ssl.certificate.location", CERTIFICATE),
    ("ssl.certificate.pem", CERTIFICATE),
    ("ssl.endpoint.identification.algorithm", VERIFICATION),
    ("ssl.engine.id", FOREIGN_CODE),
    ("ssl.engine.location", FOREIGN_CODE),
    ("ssl.key.location", KEY),
    ("ssl.key.password", KEY_PASSWORD),
    ("ssl.key.pem", KEY),
    ("ssl_ca", CA),
    ("ssl_certificate", CERTIFICATE),
    ("ssl_engine_callback_data", PROGRAM),
    ("ssl_key", KEY),
    ("statistics.interval.ms", STATISTICS),
    ("topic.blacklist", TOPICS),
    ("transaction.timeout.ms", TRANSACTION_TIME),
    ("transactional.id", TRANSACTION),
];

/// Whole families, by how a name begins.
const REFUSED_FAMILIES: &[(&str, &str)] = &[
    ("group.", READING),
    ("internal.", INTERNAL),
    ("offset.store.", READING),
    ("sasl.kerberos.", KERBEROS),
    ("sasl.oauthbearer.", BEARER),
    ("test.", INTERNAL),
    ("ut_", INTERNAL),
];

/// How librdkafka names what takes a function.
const CALLBACK_SUFFIX: &str = "_cb";

/// Why a pipeline file may not hand this property to librdkafka, in words that say what to use instead. Nothing when it
/// may.
///
/// Refused is what another key of the file sets, and what would break a promise: order, exactly-once, bounded memory,
/// verified certificates. A name that librdkafka does not know is not judged here: it is told when a client is configured.
pub fn refused_property(name: &str) -> Option<&'static str> {
    if name.ends_with(CALLBACK_SUFFIX) {
        return Some(PROGRAM);
    }
    let exact = REFUSED.iter().find(|(refused, _)| *refused == name);
    let family = || REFUSED_FAMILIES.iter().find(|(family, _)| name.starts_with(family));
    exact.or_else(family).map(|(_, reason)| *reason)
}

#[cfg(test)]
mod tests {
    use rdkafka::config::ClientConfig;
    use rdkafka::error::KafkaError;

    use super::*;

    #[test]
    fn what_would_break_a_promise_is_refused_under_every_name() {
        for names in [
            ["acks", "request.required.acks"],
            ["bootstrap.servers", "metadata.broker.list"],
            ["delivery.timeout.ms", "message.timeout.ms"],
            ["max.in.flight", "max.in.flight.requests.per.connection"],
            ["retries", "message.send.max.retries"],
            ["sasl.mechanism", "sasl.mechanisms"],
            ["ssl.ca.location", "ssl.ca.pem"],
        ] {
            let reasons = names.map(refused_property);
            assert!(reasons[0].is_some() && reasons[0] == reasons[1], "{names:?}: {reasons:?}");
        }
        for name in [
            "client.rack",
            "dr_msg_cb",
            "enable.idempotence",
            "group.id",
            "group.instance.id",
            "partitioner_cb",
            "sasl.oauthbearer.client.secret",
            "test.mock.num.brokers",
            "transactional.id",
        ] {
            assert!(refused_property(name).is_some(), "{name}");
        }
    }

    #[test]
    fn what_only_tunes_is_allowed() {
        for name in [
            "batch.size",
            "client.id",
            "compression.type",
            "debug",
            "linger.ms",
            "queue.buffering.max.ms",
            "reconnect.backoff.max.ms",
            "ssl.cipher.suites",
            "no.such.property",
        ] {
            assert_eq!(refused_property(name), None, "{name}");
        }
    }

    #[test]
    fn every_refused_name_is_one_of_librdkafka_and_says_what_to_do() {
        for (name, reason) in REFUSED {
            let known = ClientConfig::new().set(*name, "").create_native_config();
            let unknown = matches!(
                known,
                Err(KafkaError::ClientConfig(code, ..)) if code == rdkafka::types::RDKafkaConfRes::RD_KAFKA_CONF_UNKNOWN
            );
            assert!(!unknown, "librdkafka has no {name}");
            assert!(reason.len() > 10, "{name}");
        }
        assert!(REFUSED.is_sorted_by(|a, b| a.0 < b.0));
    }
}
