//! That every code is sorted, and that the words help and keep secrets.

use rdkafka::ClientConfig;
use rdkafka::error::RDKafkaError;
use rdkafka::producer::{BaseProducer, Producer};
use rdkafka::types::RDKafkaRespErr;

use super::*;

/// librdkafka's own codes begin above this, and brokers' codes are numbered from -1 on (`rdkafka.h`).
const CODES: std::ops::Range<i32> = -300..10_000;

fn every_code() -> Vec<RDKafkaErrorCode> {
    CODES.filter_map(|number| RDKafkaRespErr::try_from(number).ok()).map(RDKafkaErrorCode::from).collect()
}

#[test]
fn every_code_of_librdkafka_is_sorted() {
    let codes = every_code();
    assert!(
        codes.contains(&RDKafkaErrorCode::Begin) && codes.contains(&RDKafkaErrorCode::EndAll),
        "both ends are seen"
    );
    let unsorted: Vec<_> = codes.iter().filter(|code| cause_of(**code).is_none()).collect();
    assert!(unsorted.is_empty(), "{unsorted:?}");
}

#[test]
fn codes_have_the_remedy_that_was_decided() {
    use RDKafkaErrorCode as C;
    for (remedy_wanted, codes) in [
        (Remedy::Fenced, &[C::Fenced, C::ProducerFenced, C::InvalidProducerEpoch][..]),
        (
            Remedy::Reopen,
            &[
                C::OperationTimedOut,
                C::MessageTimedOut,
                C::BrokerTransportFailure,
                C::AllBrokersDown,
                C::NotCoordinator,
                C::CoordinatorNotAvailable,
                C::ConcurrentTransactions,
                C::NotLeaderForPartition,
                C::NotEnoughReplicas,
                C::NotEnoughReplicasAfterAppend,
                C::PurgeQueue,
                C::PurgeInflight,
                C::Fatal,
                C::OutOfOrderSequenceNumber,
                C::UnknownProducerId,
                C::InvalidProducerIdMapping,
                C::InvalidTransactionalState,
                C::MessageSizeTooLarge,
                C::Authentication,
                C::SaslAuthenticationFailed,
                C::SSL,
                C::UnknownTopicOrPartition,
            ],
        ),
        (
            Remedy::Halt,
            &[
                C::TopicAuthorizationFailed,
                C::ClusterAuthorizationFailed,
                C::TransactionalIdAuthorizationFailed,
                C::GroupAuthorizationFailed,
                C::UnsupportedVersion,
                C::UnsupportedFeature,
                C::InvalidConfig,
                C::PolicyViolation,
                C::InvalidRequiredAcks,
                C::InvalidTransactionTimeout,
                C::InvalidRecord,
                C::InvalidTimestamp,
            ],
        ),
    ] {
        for code in codes {
            assert_eq!(remedy(*code), remedy_wanted, "{code}");
        }
    }
}

#[test]
fn every_halt_and_fence_says_what_to_do() {
    for code in every_code() {
        if remedy(code) != Remedy::Reopen {
            let fault = Fault::of("writing", "b:1", &KafkaError::MessageProduction(code), None);
            assert!(fault.trouble.advice.is_some(), "{code}");
        }
    }
}

#[test]
fn codes_of_trouble_are_stable_words() {
    for code in every_code() {
        let fault = Fault::of("writing", "b:1", &KafkaError::Global(code), None);
        let word = fault.trouble.code.strip_prefix("sink.kafka.").expect("the sink's prefix");
        assert!(word.chars().all(|letter| letter.is_ascii_lowercase() || letter == '_'), "{word}");
        assert_ne!(word, "unknown", "{code}");
        assert!(fault.trouble.message.starts_with("writing failed on Kafka at b:1: "), "{}", fault.trouble.message);
    }
}

#[test]
fn an_admin_operation_keeps_its_code() {
    // rdkafka's own `rdkafka_error_code` answers nothing for these.
    let fault = Fault::of("making", "b:1", &KafkaError::AdminOp(RDKafkaErrorCode::ClusterAuthorizationFailed), None);
    assert_eq!((fault.remedy, fault.trouble.code), (Remedy::Halt, "sink.kafka.cluster_denied"));
    let advice = fault.trouble.advice.expect("an ACL");
    assert!(advice.contains("kafka-acls.sh --bootstrap-server b:1 --add"), "{advice}");
}

#[test]
fn a_timeout_is_told_with_the_cause_that_the_connection_knows() {
    let timeout = KafkaError::MetadataFetch(RDKafkaErrorCode::OperationTimedOut);
    for (problem, code) in [
        (RDKafkaErrorCode::Authentication, "sink.kafka.authentication"),
        (RDKafkaErrorCode::SSL, "sink.kafka.tls"),
        (RDKafkaErrorCode::Resolve, "sink.kafka.unreachable"),
    ] {
        let fault = Fault::of("looking", "b:1", &timeout, Some((problem, "the reason".to_owned())));
        assert_eq!((fault.remedy, fault.trouble.code), (Remedy::Reopen, code));
        assert!(fault.trouble.message.contains("the reason"), "{}", fault.trouble.message);
    }
    let other = Some((RDKafkaErrorCode::QueueFull, "something else".to_owned()));
    let fault = Fault::of("looking", "b:1", &timeout, other);
    assert_eq!(fault.trouble.code, "sink.kafka.timeout");
    assert!(!fault.trouble.message.contains("something else"));
}

#[test]
fn an_address_that_only_the_brokers_have_told_is_told_as_such() {
    let timeout = KafkaError::MetadataFetch(RDKafkaErrorCode::OperationTimedOut);
    for (reason, is_advertised) in [
        ("10.0.0.9:9092/1: Connect to ipv4#10.0.0.9:9092 failed: refused", true),
        ("ssl://kafka-0.internal:9093/2: Failed to resolve 'kafka-0.internal:9093'", true),
        ("b:1/bootstrap: Connect to ipv4#10.0.0.1:1 failed: refused", false),
        ("ssl://b:1/1: Connect to ipv4#10.0.0.1:1 failed: refused", false),
        ("1/1 brokers are down", false),
    ] {
        let problem = Some((RDKafkaErrorCode::BrokerTransportFailure, reason.to_owned()));
        let message = Fault::of("looking", "a:1, b:1", &timeout, problem).trouble.message;
        assert!(message.contains(reason) && message.contains("a:1, b:1"), "{message}");
        assert_eq!(message.contains(ADVERTISED), is_advertised, "{message}");
    }
}

#[test]
fn a_problem_of_the_connection_does_not_hide_a_clear_answer() {
    let denied = KafkaError::MessageProduction(RDKafkaErrorCode::TopicAuthorizationFailed);
    let problem = Some((RDKafkaErrorCode::Authentication, "long ago".to_owned()));
    let fault = Fault::of("writing", "b:1", &denied, problem);
    assert_eq!((fault.remedy, fault.trouble.code), (Remedy::Halt, "sink.kafka.topic_denied"));
    assert!(!fault.trouble.message.contains("long ago"));
}

#[test]
fn properties_are_named_and_their_values_are_not() {
    for property in ["security.protocol", "no.such.property", "linger.ms", "ssl.endpoint.identification.algorithm"] {
        let error = ClientConfig::new().set(property, "canary-4711").create::<BaseProducer>().err().expect("refused");
        let fault = Fault::of("making a producer", "b:1", &error, None);
        let told = format!("{fault:?}");
        assert!(!told.contains("canary-4711"), "{told}");
        assert!(told.contains(property) || fault.trouble.code == "sink.kafka.client", "{told}");
        assert_eq!(fault.trouble.kind, TroubleKind::Config);
    }
}

/// A transaction's error as librdkafka makes it: no producer is begun, so nothing is connected.
fn transaction_error() -> RDKafkaError {
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", "127.0.0.1:1")
        .set("transactional.id", "nobody")
        .create()
        .expect("a producer");
    match producer.begin_transaction() {
        Err(KafkaError::Transaction(error)) => error,
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_error_of_a_transaction_keeps_its_words() {
    let error = transaction_error();
    let fault = Fault::of("committing", "b:1", &KafkaError::Transaction(error.clone()), None);
    assert!(fault.trouble.message.contains(&error.string()), "{}", fault.trouble.message);
    assert!(fault.trouble.message.contains("_STATE"), "{}", fault.trouble.message);
    assert_eq!((fault.remedy, fault.trouble.code), (Remedy::Reopen, "sink.kafka.producer"));
}

#[test]
fn a_fenced_lane_opens_and_what_we_say_ourselves_halts() {
    let fenced = Fault::of("committing", "b:1", &KafkaError::Global(RDKafkaErrorCode::Fenced), None);
    assert_eq!(fenced.remedy, Remedy::Fenced);
    assert!(matches!(fenced.into_failure(), Failure::Reopen(_)));
    let ours = Fault::from(Trouble::new(TroubleKind::Config, "sink.lane_count", "no"));
    assert!(matches!(ours.into_failure(), Failure::Halt(_)));
}
