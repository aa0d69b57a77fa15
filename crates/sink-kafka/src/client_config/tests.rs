//! The configurations are ones that librdkafka takes, with what matters in them.

use rdkafka::admin::AdminClient;
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::BaseConsumer;
use rdkafka::producer::BaseProducer;

use super::*;
use crate::settings::sample;

const ROLES: [ProducerRole<'static>; 3] = [
    ProducerRole::Transactional { id: "orders-0", limits: LIMITS, batches: Batches::Full },
    ProducerRole::Idempotent { limits: LIMITS },
    ProducerRole::Signs { limits: LIMITS },
];
const LIMITS: MessageLimits = MessageLimits::same(1_048_588);

fn with_property(name: &str, value: &str) -> KafkaSettings {
    KafkaSettings { librdkafka: [(name.to_owned(), value.into())].into(), ..sample() }
}

fn producer(settings: &KafkaSettings) -> Result<ClientConfig, Trouble> {
    producer_config(settings, &ROLES[0])
}

#[test]
fn librdkafka_takes_every_configuration_whole() {
    for transaction_timeout_s in [0, 1, 2, 60, 900, u64::from(u32::MAX)] {
        for request_timeout_s in [0, 1, 30, 900] {
            let settings = KafkaSettings {
                transaction_timeout: Duration::from_secs(transaction_timeout_s),
                request_timeout: Duration::from_secs(request_timeout_s),
                ..sample()
            };
            for role in &ROLES {
                let config = producer_config(&settings, role).expect("a configuration");
                let refused = config.create::<BaseProducer>().err();
                assert!(refused.is_none(), "{transaction_timeout_s} s, {request_timeout_s} s: {refused:?}");
            }
            let config = reader_config(&settings, Isolation::Committed).expect("a configuration");
            let refused = config.create::<BaseConsumer>().err();
            assert!(refused.is_none(), "{request_timeout_s} s: {refused:?}");
            let config = admin_config(&settings).expect("a configuration");
            let refused = config.create::<AdminClient<DefaultClientContext>>().err();
            assert!(refused.is_none(), "{request_timeout_s} s: {refused:?}");
        }
    }
}

#[test]
fn the_largest_message_is_what_librdkafka_takes_and_fits_its_queue() {
    for (asked, taken) in [(1, "1000"), (1_048_588, "1048588"), (100_000_000, "100000000"), (usize::MAX, "1000000000")]
    {
        let limits = MessageLimits { progress_bytes_max: asked, ..MessageLimits::same(1) };
        let config = producer_config(&sample(), &ProducerRole::Idempotent { limits });
        let config = config.expect("a configuration");
        assert_eq!(config.get("message.max.bytes"), Some(taken));
        let kib: usize = config.get("queue.buffering.max.kbytes").and_then(|kib| kib.parse().ok()).expect("a number");
        assert!(kib >= QUEUE_KIB_MAX && kib * 1024 >= taken.parse::<usize>().expect("a number"), "{asked}");
    }
}

#[test]
fn no_batch_is_larger_than_any_topic_takes() {
    let batch_size = |config: ClientConfig| config.get("batch.size").map(str::to_owned);
    let limits = MessageLimits { dead_letter_bytes_max: 20_000, ..LIMITS };
    for (given, expected) in [(None, "20000"), (Some("5000"), "5000"), (Some("30000"), "20000")] {
        let settings = given.map_or_else(sample, |bytes| with_property("batch.size", bytes));
        let config = producer_config(&settings, &ProducerRole::Idempotent { limits }).expect("a configuration");
        assert_eq!(batch_size(config).as_deref(), Some(expected), "{given:?}");
    }
    assert_eq!(batch_size(producer(&sample()).expect("a configuration")).as_deref(), Some("1000000"));
    let alone = ProducerRole::Transactional { id: "orders-0", limits, batches: Batches::OfOne };
    let config = producer_config(&with_property("batch.num.messages", "77"), &alone).expect("a configuration");
    assert_eq!(config.get("batch.num.messages"), Some("1"));
}

#[test]
fn the_users_properties_come_last() {
    let config = producer(&with_property("linger.ms", "77")).expect("a configuration");
    assert_eq!(config.get("linger.ms"), Some("77"));
    // Under its other name too.
    for (ours, alias) in ALIASES {
        let value = if ours == "linger.ms" { "77" } else { "lz4" };
        let config = producer(&with_property(alias, value)).expect("a configuration");
        assert_eq!((config.get(ours), config.get(alias)), (None, Some(value)));
        let native = config.create_native_config().expect("a native one");
        assert_eq!(native.get(ours).ok().as_deref(), Some(value));
    }
}

#[test]
fn a_property_that_cannot_be_used_is_named_without_its_value() {
    for (name, value, says) in [
        ("linger.sm", "canary", "no such property"),
        ("linger.ms", "canary", "does not take its value"),
        ("linger.ms", "99999999", "it takes 0..900000"),
        ("sasl.oauthbearer.config", "canary", "token_file"),
        ("enable.idempotence", "canary", "reorders"),
        ("client.id", "canary\0", "NUL"),
    ] {
        let settings = with_property(name, value);
        for refused in [producer(&settings), reader_config(&settings, Isolation::Committed), admin_config(&settings)] {
            let trouble = refused.err().unwrap_or_else(|| panic!("{name} was taken"));
            assert_eq!((trouble.kind, trouble.code), (TroubleKind::Config, "sink.kafka.property"));
            assert!(trouble.message.contains(name) && trouble.message.contains(says), "{trouble:?}");
            assert!(trouble.advice.is_some());
            assert!(!format!("{trouble:?}").contains(value), "{trouble:?}");
        }
        assert!(!format!("{settings:?}").contains(value));
    }
}

#[test]
fn an_alias_cannot_take_the_place_of_what_we_set() {
    let ours = producer(&sample()).expect("a configuration");
    let native = ours.create_native_config().expect("a native one");
    for (name, value) in [
        ("enable.idempotence", "true"),
        ("request.required.acks", "-1"),
        ("max.in.flight.requests.per.connection", "5"),
        ("partitioner", "murmur2_random"),
        ("compression.codec", "zstd"),
        ("delivery.timeout.ms", "54000"),
        ("transaction.timeout.ms", "60000"),
        ("allow.auto.create.topics", "false"),
    ] {
        assert_eq!(native.get(name).ok().as_deref(), Some(value), "{name}");
    }
}
