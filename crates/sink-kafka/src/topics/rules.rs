//! What a topic has to be like. Refused is what would break a promise; what only weakens one is told.

use tailwater_model::{Misfit, Trouble, TroubleKind};

use super::admin::TopicConfig;
use super::limits::MESSAGE_BYTES_MAX_DEFAULT;
use super::metadata::TopicShape;
use super::plan::{Purpose, TopicPlan};
use crate::settings::{Deletes, KafkaSettings};

/// What the progress topic must take at least: the largest record tells of a gap, and has some hundred bytes of ours beside
/// names of tables, streams and shards, which DynamoDB bounds.
const PROGRESS_BYTES_MIN: usize = 16 * 1024;

/// Partitions in a line that shows how to make a topic: a number to be thought about.
const EXAMPLE_PARTITIONS: i32 = 12;
/// Replicas in such a line, in a cluster that has as many brokers.
const EXAMPLE_REPLICATION: usize = 3;

/// Holds an existing topic's settings to what it is for.
pub(super) fn check_config(
    settings: &KafkaSettings,
    plan: &TopicPlan<'_>,
    shape: TopicShape,
    config: &TopicConfig,
) -> Result<(), Trouble> {
    let policies = config.get("cleanup.policy").map(|policy| policies(policy));
    match plan.purpose {
        Purpose::Data => warn_of_kept_removals(settings, plan, policies.as_deref()),
        // Compaction would drop all but the last dead letter of a key (I5).
        Purpose::DeadLetters => {
            refuse_policy(settings, plan, policies.as_deref(), "delete", |policies| !policies.contains(&"compact"))?
        }
        // Retention would delete progress that is still needed: the pipeline would begin anew, or find a gap (I1, I8).
        Purpose::Progress => {
            refuse_policy(settings, plan, policies.as_deref(), "compact", |policies| *policies == ["compact"])?;
            warn_of_timestamps(settings, plan, config);
            warn_of_one_copy(plan, shape);
        }
    }
    if plan.purpose == Purpose::DeadLetters
        && let Some(retention) = config.get("retention.ms").filter(|retention| *retention != "-1")
    {
        tracing::info!(
            topic = plan.name,
            retention_ms = retention.as_str(),
            "dead letters are deleted after this time"
        );
    }
    if shape.replication > 1 && config.get("min.insync.replicas").is_some_and(|replicas| replicas == "1") {
        tracing::warn!(
            topic = plan.name,
            "min.insync.replicas is 1: what one broker acknowledged is lost with it; {}",
            alter_line(settings, plan, "min.insync.replicas=2")
        );
    }
    Ok(())
}

fn policies(policy: &str) -> Vec<&str> {
    policy.split(',').map(str::trim).filter(|policy| !policy.is_empty()).collect()
}

fn refuse_policy(
    settings: &KafkaSettings,
    plan: &TopicPlan<'_>,
    policies: Option<&[&str]>,
    wanted: &str,
    is_fit: impl Fn(&[&str]) -> bool,
) -> Result<(), Trouble> {
    // A service that does not tell it, does not have it.
    let Some(policies) = policies.filter(|policies| !is_fit(policies)) else { return Ok(()) };
    let words = plan.purpose.words();
    let message = format!(
        "the topic \"{}\" on Kafka at {} has cleanup.policy = {}, by which {words} would be lost: it must be {wanted}",
        plan.name,
        settings.brokers,
        if policies.is_empty() { "\"\"".to_owned() } else { policies.join(",") },
    );
    Err(Trouble::new(TroubleKind::Environment, "sink.kafka.cleanup_policy", message).advise(alter_line(
        settings,
        plan,
        &format!("cleanup.policy={wanted}"),
    )))
}

fn warn_of_kept_removals(settings: &KafkaSettings, plan: &TopicPlan<'_>, policies: Option<&[&str]>) {
    if settings.delete == Deletes::Event && policies.is_some_and(|policies| policies.contains(&"compact")) {
        tracing::warn!(
            topic = plan.name,
            "the topic is compacted and delete = \"event\" writes no tombstones: removed items stay in it for ever; \
             \"event-and-tombstone\" lets Kafka drop them"
        );
    }
}

/// Which of two streams was read first is told by the times of records, and the brokers' clock is one for all workers.
fn warn_of_timestamps(settings: &KafkaSettings, plan: &TopicPlan<'_>, config: &TopicConfig) {
    if config.get("message.timestamp.type").is_some_and(|clock| clock != "LogAppendTime") {
        tracing::warn!(
            topic = plan.name,
            "which of two streams was read first is told by the clock of each machine; to take the brokers': {}",
            alter_line(settings, plan, "message.timestamp.type=LogAppendTime")
        );
    }
}

/// I1: with the only copy of the progress goes the knowledge of what was carried, whatever the other topics have.
fn warn_of_one_copy(plan: &TopicPlan<'_>, shape: TopicShape) {
    if shape.replication == 1 {
        tracing::warn!(
            topic = plan.name,
            "the progress has one copy: it is lost with its broker's disk, and nobody knows then what was carried; raise the \
             replication of the topic (kafka-reassign-partitions.sh), or have topics made with more (replication in \
             create_topics, default.replication.factor of the brokers)"
        );
    }
}

/// The largest batch that the topic takes. A batch has to fit into one segment as well.
pub(super) fn message_bytes_max(purpose: Purpose, config: Option<&TopicConfig>) -> usize {
    let number = |name| config.and_then(|config| config.get(name)).and_then(|value: &String| value.parse().ok());
    let limit: usize = number("max.message.bytes").unwrap_or(MESSAGE_BYTES_MAX_DEFAULT);
    match purpose {
        Purpose::Data | Purpose::DeadLetters => limit.min(number("segment.bytes").unwrap_or(limit)),
        // Its records are small; its segments are too, on purpose.
        Purpose::Progress => limit,
    }
}

/// A topic that cannot hold the records of progress would stop every commit.
pub(super) fn check_progress_limit(
    settings: &KafkaSettings,
    plan: &TopicPlan<'_>,
    bytes_max: usize,
) -> Result<(), Trouble> {
    if bytes_max >= PROGRESS_BYTES_MIN {
        return Ok(());
    }
    let message = format!(
        "the topic \"{}\" on Kafka at {} takes {bytes_max} bytes in one message (max.message.bytes), and progress may need \
         {PROGRESS_BYTES_MIN}",
        plan.name, settings.brokers
    );
    Err(Trouble::new(TroubleKind::Environment, "sink.kafka.progress_limit", message).advise(alter_line(
        settings,
        plan,
        &format!("max.message.bytes={PROGRESS_BYTES_MIN}"),
    )))
}

/// What is told of a topic that is missing while the pipeline runs. I11
pub(super) fn gone(settings: &KafkaSettings, plan: &TopicPlan<'_>) -> Trouble {
    let misfit = if plan.purpose == Purpose::Data { Misfit::Missing } else { Misfit::ProgressGone };
    let message = format!(
        "the topic \"{}\" of {} on Kafka at {} is gone, while the pipeline runs",
        plan.name,
        plan.purpose.words(),
        settings.brokers
    );
    Trouble::new(TroubleKind::DataAtRisk, misfit.code(), message)
        .advise("restore it with what it held; another start says how to go on without it")
}

/// What is told of topics that are missing and that we must not make.
pub(super) fn missing(settings: &KafkaSettings, missing: &[(&TopicPlan<'_>, usize)]) -> Trouble {
    let names: Vec<_> =
        missing.iter().map(|(plan, _)| format!("\"{}\" of {}", plan.name, plan.purpose.words())).collect();
    let (noun, verb) = if names.len() == 1 { ("topic", "is") } else { ("topics", "are") };
    let message = format!("the {noun} {} {verb} missing on Kafka at {}", names.join(" and "), settings.brokers);
    let lines: Vec<_> = missing.iter().map(|(plan, brokers)| create_line(settings, plan, Some(*brokers))).collect();
    let brokers = missing.first().map_or(EXAMPLE_REPLICATION, |(_, brokers)| *brokers);
    let replication = example_replication(brokers);
    let by_us = if missing.iter().any(|(plan, _)| plan.purpose == Purpose::Progress) {
        // Made always, where we can: here we cannot.
        ". With a bearer token Tailwater cannot make topics itself".to_owned()
    } else {
        format!(
            "; or let Tailwater do it: create_topics = {{ partitions = {EXAMPLE_PARTITIONS}, replication = {replication} }} in \
             [sink.kafka]"
        )
    };
    Trouble::new(TroubleKind::Environment, "sink.kafka.topic_missing", message).advise(format!(
        "create {}, with numbers that suit you: {}{by_us}",
        if lines.len() == 1 { "it" } else { "them" },
        lines.join(" && ")
    ))
}

fn example_replication(brokers: usize) -> usize {
    brokers.clamp(1, EXAMPLE_REPLICATION)
}

/// The line that makes a topic by hand.
pub(super) fn create_line(settings: &KafkaSettings, plan: &TopicPlan<'_>, brokers: Option<usize>) -> String {
    let replication = plan.replication.map(|replicas| replicas.to_string());
    let replication = replication.or_else(|| Some(example_replication(brokers?).to_string()));
    let replication = replication.map_or(String::new(), |replicas| format!(" --replication-factor {replicas}"));
    let config: String = plan.config.iter().map(|(name, value)| format!(" --config {name}={value}")).collect();
    format!(
        "kafka-topics.sh --bootstrap-server {} --create --topic {} --partitions {}{replication}{config}",
        settings.brokers,
        plan.name,
        plan.partitions.unwrap_or(EXAMPLE_PARTITIONS)
    )
}

fn alter_line(settings: &KafkaSettings, plan: &TopicPlan<'_>, change: &str) -> String {
    format!(
        "kafka-configs.sh --bootstrap-server {} --alter --entity-type topics --entity-name {} --add-config {change}",
        settings.brokers, plan.name
    )
}
