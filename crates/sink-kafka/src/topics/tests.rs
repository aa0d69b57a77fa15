//! Looking at topics and making them, against a real broker whose `auto.create.topics.enable` is the default, true; and
//! against librdkafka's mock cluster for answers that such a broker does not give.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::mocking::MockCluster;
use rdkafka::types::RDKafkaRespErr;
use tailwater_model::Failure;

use super::*;
use crate::settings::{CreateTopics, Credentials, SaslSettings, sample};

/// Where the tests' broker is, unless `TAILWATER_TEST_KAFKA` names another.
const BROKER: &str = "127.0.0.1:29092";
const LANES: u32 = 3;
const PATIENCE: Duration = Duration::from_secs(30);

/// Three topics of one test, deleted at its end.
struct Ground {
    settings: KafkaSettings,
    admin: AdminClient<DefaultClientContext>,
}

impl Ground {
    /// Names that nobody else has; no topic is there yet.
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let brokers = std::env::var("TAILWATER_TEST_KAFKA").unwrap_or_else(|_| BROKER.to_owned());
        let admin = ClientConfig::new().set("bootstrap.servers", &brokers).create().expect("an admin client");
        let stem = format!("topics.{}.{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let settings = KafkaSettings {
            brokers,
            topic: format!("{stem}-data"),
            dead_letter_topic: format!("{stem}-dead-letters"),
            progress_topic: format!("{stem}-progress"),
            ..sample()
        };
        Self { settings, admin }
    }

    /// The same with topics of change events and dead letters as a user would make them.
    async fn prepared() -> Self {
        let ground = Self::new();
        ground.make(&ground.settings.topic, 4, &[]).await;
        ground.make(&ground.settings.dead_letter_topic, 1, &[]).await;
        ground
    }

    fn creating(mut self, config: &[(&str, &str)]) -> Self {
        let config = config.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        self.settings.create_topics = Some(CreateTopics { partitions: 5, replication: Some(1), config });
        self
    }

    fn options() -> AdminOptions {
        AdminOptions::new().request_timeout(Some(PATIENCE)).operation_timeout(Some(PATIENCE))
    }

    async fn make(&self, topic: &str, partitions: i32, config: &[(&str, &str)]) {
        let mut wanted = NewTopic::new(topic, partitions, TopicReplication::Fixed(1));
        wanted.config.extend(config);
        let made = self.admin.create_topics([&wanted], &Self::options()).await.expect("the broker");
        assert_eq!(made, [Ok(topic.to_owned())]);
    }

    async fn check(&self) -> Result<TopicFacts, Fault> {
        check_topics(&self.settings, LANES, MayMake::AtClaim).await.map(|look| look.facts)
    }

    /// The trouble of a check that must fail, and must halt a lane.
    async fn trouble(&self) -> Trouble {
        match self.check().await.expect_err("a trouble").into_failure() {
            Failure::Halt(trouble) => trouble,
            Failure::Reopen(trouble) => panic!("this does not pass by itself: {trouble:?}"),
        }
    }

    async fn config(&self, topic: &str) -> BTreeMap<String, String> {
        let resource = ResourceSpecifier::Topic(topic);
        let mut described = self.admin.describe_configs([&resource], &Self::options()).await.expect("the broker");
        let entries = described.remove(0).expect("the topic").entries;
        entries.into_iter().filter_map(|entry| Some((entry.name, entry.value?))).collect()
    }

    /// Partitions by topic, of those of this test that exist.
    fn existing(&self) -> BTreeMap<String, usize> {
        let metadata = self.admin.inner().fetch_metadata(None, PATIENCE).expect("the broker");
        let ours = [&self.settings.topic, &self.settings.dead_letter_topic, &self.settings.progress_topic];
        metadata
            .topics()
            .iter()
            .filter(|topic| ours.iter().any(|name| *name == topic.name()))
            .map(|topic| (topic.name().to_owned(), topic.partitions().len()))
            .collect()
    }

    async fn clear(self) {
        let existing = self.existing();
        let names: Vec<&str> = existing.keys().map(String::as_str).collect();
        if names.is_empty() {
            return;
        }
        self.admin.delete_topics(&names, &Self::options()).await.expect("the broker");
    }
}

fn advice(trouble: &Trouble) -> &str {
    trouble.advice.as_deref().expect("advice")
}

#[test]
fn names_are_those_that_kafka_takes() {
    let longest = "x".repeat(249);
    for name in ["orders", "a.b_c-D9", "_", "...", longest.as_str()] {
        assert_eq!(topic_name_fault(name), None, "{name}");
    }
    let too_long = "x".repeat(250);
    for name in ["", ".", "..", "a b", "a/b", "ä", "{table}", "a\0", too_long.as_str()] {
        assert!(topic_name_fault(name).is_some(), "{name}");
    }
}

#[tokio::test]
async fn names_are_refused_before_anything_is_asked() {
    let nowhere = KafkaSettings { brokers: "127.0.0.1:1".into(), ..sample() };
    let twice = KafkaSettings { progress_topic: nowhere.topic.clone(), ..nowhere.clone() };
    let illegal = KafkaSettings { topic: "a b".into(), ..nowhere.clone() };
    for (settings, lanes, code) in
        [(twice, 1, "sink.kafka.topic_name"), (illegal, 1, "sink.kafka.topic_name"), (nowhere, 0, "sink.lane_count")]
    {
        let fault = check_topics(&settings, lanes, MayMake::AtClaim).await.expect_err("refused");
        assert_eq!((fault.trouble.code, fault.trouble.kind), (code, TroubleKind::Config));
        assert_eq!(fault.remedy, Remedy::Halt);
    }
}

#[tokio::test]
async fn missing_topics_are_told_and_none_is_made() {
    let ground = Ground::new();
    let trouble = ground.trouble().await;
    assert_eq!((trouble.code, trouble.kind), ("sink.kafka.topic_missing", TroubleKind::Environment));
    assert!(trouble.message.contains(&ground.settings.topic), "{}", trouble.message);
    assert!(trouble.message.contains(&ground.settings.dead_letter_topic), "{}", trouble.message);
    let advice = advice(&trouble);
    let line = format!("--create --topic {} --partitions 1", ground.settings.dead_letter_topic);
    assert!(advice.contains(&line) && advice.contains("--replication-factor 1"), "{advice}");
    assert!(advice.contains("create_topics = { partitions = "), "{advice}");
    // The broker would have made them by itself at a question that allows it.
    assert_eq!(ground.existing(), BTreeMap::new());
    ground.clear().await;
}

#[tokio::test]
async fn a_missing_progress_topic_is_made() {
    let ground = Ground::prepared().await;
    let facts = ground.check().await.expect("checked");
    assert_eq!(facts, TopicFacts { data_partitions: 4, limits: MessageLimits::same(1_048_588) });
    assert_eq!(ground.existing().get(&ground.settings.progress_topic), Some(&3));
    let config = ground.config(&ground.settings.progress_topic).await;
    assert_eq!(config.get("cleanup.policy").map(String::as_str), Some("compact"));
    assert_eq!(config.get("message.timestamp.type").map(String::as_str), Some("LogAppendTime"));
    assert_eq!(ground.check().await.expect("checked again"), facts);
    ground.clear().await;
}

#[tokio::test]
async fn topics_are_made_as_the_file_says() {
    let ground = Ground::new().creating(&[("cleanup.policy", "compact"), ("max.message.bytes", "2000000")]);
    let facts = ground.check().await.expect("checked");
    let limits = MessageLimits { progress_bytes_max: 1_048_588, ..MessageLimits::same(2_000_000) };
    assert_eq!(facts, TopicFacts { data_partitions: 5, limits });
    let (data, letters) = (&ground.settings.topic, &ground.settings.dead_letter_topic);
    assert_eq!(ground.config(data).await.get("cleanup.policy").map(String::as_str), Some("compact"));
    let config = ground.config(letters).await;
    assert_eq!(config.get("cleanup.policy").map(String::as_str), Some("delete"));
    assert_eq!(config.get("retention.ms").map(String::as_str), Some("-1"));
    assert_eq!(config.get("max.message.bytes").map(String::as_str), Some("2000000"));
    assert_eq!(ground.existing().get(letters), Some(&1));
    ground.clear().await;
}

#[tokio::test]
async fn lanes_that_look_at_once_make_topics_once() {
    let ground = Ground::new().creating(&[]);
    let (left, right) = tokio::join!(ground.check(), ground.check());
    assert_eq!(left.expect("one"), right.expect("the other"));
    ground.clear().await;
}

#[tokio::test]
async fn settings_that_the_cluster_refuses_are_told() {
    let ground = Ground::new().creating(&[("no.such.setting", "1")]);
    let trouble = ground.trouble().await;
    assert_eq!((trouble.code, trouble.kind), ("sink.kafka.topic_settings", TroubleKind::Config));
    assert!(advice(&trouble).contains("create_topics"));
    let mut ground = ground.creating(&[]);
    if let Some(create) = &mut ground.settings.create_topics {
        create.replication = Some(99);
    }
    assert_eq!(ground.trouble().await.code, "sink.kafka.topic_settings");
    ground.clear().await;
}

#[tokio::test]
async fn partitions_of_the_progress_topic_are_told() {
    let ground = Ground::prepared().await;
    ground.make(&ground.settings.progress_topic, 7, &[("cleanup.policy", "compact")]).await;
    for lanes in [LANES, 7, 8] {
        let look = check_topics(&ground.settings, lanes, MayMake::AtClaim).await.expect("any number");
        assert_eq!((look.facts.data_partitions, look.progress_partitions), (4, 7));
    }
    assert_eq!(partitions(&ground.settings, &ground.settings.progress_topic).expect("answered"), 7);
    assert_eq!(partitions(&ground.settings, "no-such-topic").expect("answered"), 0);
    ground.clear().await;
}

#[tokio::test]
async fn progress_that_would_be_deleted_is_refused() {
    for policy in ["delete", "compact,delete"] {
        let ground = Ground::prepared().await;
        ground.make(&ground.settings.progress_topic, 3, &[("cleanup.policy", policy)]).await;
        let trouble = ground.trouble().await;
        assert_eq!((trouble.code, trouble.kind), ("sink.kafka.cleanup_policy", TroubleKind::Environment), "{policy}");
        let line = format!("--entity-name {} --add-config cleanup.policy=compact", ground.settings.progress_topic);
        assert!(advice(&trouble).contains(&line), "{trouble:?}");
        ground.clear().await;
    }
}

#[tokio::test]
async fn dead_letters_that_would_be_compacted_are_refused() {
    let ground = Ground::new();
    ground.make(&ground.settings.topic, 1, &[]).await;
    ground.make(&ground.settings.dead_letter_topic, 1, &[("cleanup.policy", "compact,delete")]).await;
    let trouble = ground.trouble().await;
    assert_eq!(trouble.code, "sink.kafka.cleanup_policy");
    assert!(trouble.message.contains(&ground.settings.dead_letter_topic), "{trouble:?}");
    assert!(advice(&trouble).contains("cleanup.policy=delete"), "{trouble:?}");
    ground.clear().await;
}

#[tokio::test]
async fn each_topic_has_its_own_limit() {
    let ground = Ground::new();
    ground.make(&ground.settings.topic, 1, &[("max.message.bytes", "900000")]).await;
    ground.make(&ground.settings.dead_letter_topic, 1, &[("max.message.bytes", "700000")]).await;
    let limits = ground.check().await.expect("checked").limits;
    let expected =
        MessageLimits { data_bytes_max: 900_000, dead_letter_bytes_max: 700_000, ..MessageLimits::same(1_048_588) };
    assert_eq!(limits, expected);
    assert_eq!((limits.message_bytes_max(), limits.batch_bytes_max()), (1_048_588, 700_000));
    ground.clear().await;
}

#[tokio::test]
async fn a_topic_that_cannot_hold_progress_is_refused() {
    let ground = Ground::prepared().await;
    let config = [("cleanup.policy", "compact"), ("max.message.bytes", "2000")];
    ground.make(&ground.settings.progress_topic, 3, &config).await;
    let trouble = ground.trouble().await;
    assert_eq!((trouble.code, trouble.kind), ("sink.kafka.progress_limit", TroubleKind::Environment));
    assert!(advice(&trouble).contains("--add-config max.message.bytes=16384"), "{trouble:?}");
    ground.clear().await;
}

#[tokio::test]
async fn a_batch_has_to_fit_into_a_segment() {
    let ground = Ground::new();
    ground.make(&ground.settings.topic, 1, &[("max.message.bytes", "5000000"), ("segment.bytes", "1048577")]).await;
    ground.make(&ground.settings.dead_letter_topic, 1, &[("max.message.bytes", "5000000")]).await;
    assert_eq!(ground.check().await.expect("checked").limits.data_bytes_max, 1_048_577);
    ground.clear().await;
}

#[tokio::test]
async fn a_cluster_that_does_not_answer_may_come_back() {
    let settings = KafkaSettings { brokers: "127.0.0.1:1".into(), request_timeout: Duration::from_secs(2), ..sample() };
    let fault = check_topics(&settings, LANES, MayMake::AtClaim).await.expect_err("nobody is there");
    assert_eq!((fault.remedy, fault.trouble.code), (Remedy::Reopen, "sink.kafka.unreachable"));
    assert!(fault.trouble.message.contains("refused"), "{}", fault.trouble.message);
}

#[tokio::test]
async fn a_password_is_not_told_to_a_broker_that_does_not_ask() {
    let mut ground = Ground::prepared().await;
    ground.settings.request_timeout = Duration::from_secs(3);
    let login = Credentials { username: "somebody".into(), password: "canary-4711".into() };
    ground.settings.sasl = Some(SaslSettings::ScramSha256(login));
    let fault = ground.check().await.expect_err("the listener has no SASL");
    assert_eq!(fault.remedy, Remedy::Reopen);
    assert!(!format!("{fault:?}").contains("canary-4711"), "{fault:?}");
    ground.settings.sasl = None;
    ground.clear().await;
}

/// The mock cluster can neither make topics nor tell their settings: it answers to a look only.
fn mocked() -> (MockCluster<'static, rdkafka::producer::DefaultProducerContext>, KafkaSettings) {
    let cluster = MockCluster::new(1).expect("a mock cluster");
    let settings = KafkaSettings { brokers: cluster.bootstrap_servers(), ..sample() };
    for (topic, partitions) in [(&settings.topic, 2), (&settings.dead_letter_topic, 1), (&settings.progress_topic, 3)] {
        cluster.create_topic(topic, partitions, 1).expect("a topic");
    }
    (cluster, settings)
}

/// A bootstrap address may answer and name one where nobody does. The client for administration would only say that the time is over.
#[test]
fn an_advertised_address_where_nobody_answers_is_named() {
    let listener = || TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = |listener: &TcpListener| i32::from(listener.local_addr().expect("an address").port());
    let alive = listener();
    let (alive_port, dead_port) = (port(&alive), port(&listener()));
    let brokers = [(1, "127.0.0.1", alive_port), (2, "127.0.0.1", dead_port)];
    let problem = admin::first_unanswered(brokers.into_iter());
    let named = format!("127.0.0.1:{dead_port}/2");
    assert!(problem.as_ref().is_some_and(|(_, words)| words.starts_with(&named)), "{problem:?}");
    assert_eq!(admin::first_unanswered(brokers.into_iter().take(1)), None);
    let timeout = KafkaError::AdminOp(RDKafkaErrorCode::OperationTimedOut);
    let fault = Fault::of("looking", &format!("127.0.0.1:{alive_port}"), &timeout, problem);
    assert_eq!((fault.remedy, fault.trouble.code), (Remedy::Reopen, "sink.kafka.unreachable"));
    let message = &fault.trouble.message;
    assert!([named.as_str(), "advertise"].iter().all(|word| message.contains(word)), "{message}");
}

#[test]
fn settings_that_nobody_tells_are_taken_as_kafkas_defaults() {
    for purpose in [Purpose::Data, Purpose::DeadLetters, Purpose::Progress] {
        assert_eq!(rules::message_bytes_max(purpose, None), 1_048_588, "{purpose:?}");
        assert_eq!(rules::message_bytes_max(purpose, Some(&BTreeMap::new())), 1_048_588, "{purpose:?}");
    }
}

#[tokio::test]
async fn a_token_is_never_sent_by_the_client_for_administration() {
    let sasl = Some(SaslSettings::OAuthBearer { token_file: "/missing".into() });
    let (settings, handle) = (KafkaSettings { sasl, ..sample() }, Handle::current());
    assert!(Admin::new(&settings, &handle).expect("no client is made").is_none());
}

#[tokio::test]
async fn a_denied_topic_is_told_with_the_right_that_is_missing() {
    let (cluster, settings) = mocked();
    cluster
        .topic_error(&settings.topic, RDKafkaRespErr::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED)
        .expect("an error");
    let fault = check_topics(&settings, LANES, MayMake::AtClaim).await.expect_err("denied");
    assert_eq!((fault.remedy, fault.trouble.code), (Remedy::Halt, "sink.kafka.topic_denied"));
    assert!(fault.trouble.message.contains(&settings.topic), "{}", fault.trouble.message);
    assert!(advice(&fault.trouble).contains("--operation Describe"), "{:?}", fault.trouble);
}
