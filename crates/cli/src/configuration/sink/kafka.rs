//! `[sink.kafka]`.

mod brokers;
mod properties;
mod security;
mod topics;

use std::collections::BTreeMap;

use secrecy::SecretString;
use tailwater_sink_kafka::{
    ChangeHeader, CreateTopics, Deletes, DeliveryPromise, Format, KafkaSettings, OnRepartition, property_fault,
    refused_property,
};

use crate::configuration::limits::{REQUEST_TIMEOUT, TRANSACTION_TIMEOUT};
use crate::configuration::report::Report;
use crate::configuration::section::{Entry, Section};
use crate::configuration::sink::{Given, read_adopt};
use crate::configuration::spec::SinkSpec;

const FORMATS: [(&str, Format); 2] = [("json", Format::Json), ("dynamodb", Format::Dynamodb)];
const DELETES: [(&str, Deletes); 3] =
    [("event", Deletes::Event), ("tombstone", Deletes::Tombstone), ("event-and-tombstone", Deletes::EventAndTombstone)];
const DELIVERIES: [(&str, DeliveryPromise); 2] =
    [("exactly-once", DeliveryPromise::ExactlyOnce), ("at-least-once", DeliveryPromise::AtLeastOnce)];
const REPARTITION_POLICIES: [(&str, OnRepartition); 2] =
    [("stop", OnRepartition::Stop), ("continue", OnRepartition::Continue)];

/// Most partitions that a topic is made with.
const PARTITIONS_MAX: u32 = 100_000;
/// Most copies of a partition.
const REPLICATION_MAX: u32 = 100;

/// Reads the table. Nothing when it is faulty.
pub fn read(mut section: Section<'_>, given: &Given<'_>, report: &mut Report<'_>) -> Option<SinkSpec> {
    let brokers = brokers::read(&mut section, report);
    let topics = topics::read(&mut section, given, report);
    let format = section.choice("format", &FORMATS, report).unwrap_or(Format::Json);
    let delete = section.choice("delete", &DELETES, report).unwrap_or(Deletes::EventAndTombstone);
    let headers = section.entry("headers").map_or(ChangeHeader::ALL.into(), |entry| read_headers(&entry, report));
    let delivery = section.choice("delivery", &DELIVERIES, report).unwrap_or(DeliveryPromise::ExactlyOnce);
    let on_repartition = section.choice("on_repartition", &REPARTITION_POLICIES, report).unwrap_or(OnRepartition::Stop);
    let create_topics = section.section("create_topics", report);
    let create_topics = create_topics.is_present().then(|| read_create_topics(create_topics, report));
    let tls = security::read_tls(&mut section, report);
    let sasl = section.section("sasl", report);
    let sasl = sasl.is_present().then(|| security::read_sasl(sasl, report));
    let librdkafka = read_librdkafka(section.entry("librdkafka"), report);
    let transaction_timeout = section.duration("transaction_timeout", TRANSACTION_TIMEOUT, report);
    // A group that was long in coming must be written with time to spare.
    if given.group_delay_max.saturating_mul(2) > transaction_timeout {
        report.fault(
            &section.place_of("transaction_timeout"),
            "config.conflict",
            "`transaction_timeout` is less than twice `limits.group_delay_max`",
            Some("raise `transaction_timeout` or lower `group_delay_max`".into()),
        );
    }
    let request_timeout = section.duration("request_timeout", REQUEST_TIMEOUT, report);
    let adopt = read_adopt(&mut section, report);
    section.finish(report);
    let brokers = brokers?;
    security::check(&brokers, &tls, sasl.as_ref().and_then(Option::as_ref), report);
    let topics = topics?;
    Some(SinkSpec::Kafka(Box::new(KafkaSettings {
        brokers: brokers.list,
        topic: topics.data,
        dead_letter_topic: topics.dead_letters,
        progress_topic: topics.progress,
        format,
        delete,
        headers,
        delivery,
        on_repartition,
        create_topics: create_topics.flatten(),
        tls: tls.settings,
        sasl: sasl.flatten().map(|sasl| sasl.settings),
        librdkafka,
        transaction_timeout,
        request_timeout,
        dead_letters_per_minute_max: given.dead_letters_per_minute_max,
        adopt,
    })))
}

fn read_headers(entry: &Entry<'_>, report: &mut Report<'_>) -> Vec<ChangeHeader> {
    let words = ChangeHeader::ALL.map(|header| (header.name(), header));
    let mut headers = Vec::new();
    for text in entry.texts(report) {
        match text.choice(&words, report) {
            Some(header) if headers.contains(&header) => {
                report.fault(&text.place, "config.conflict", "this header is there already", None);
            }
            header => headers.extend(header),
        }
    }
    headers
}

fn read_create_topics(mut section: Section<'_>, report: &mut Report<'_>) -> Option<CreateTopics> {
    if section.is_absent("partitions") {
        let advice = "say how many partitions the topic of the changes gets: partitions = 12";
        report.fault(
            &section.absent("partitions"),
            "config.missing_key",
            "`partitions` is missing",
            Some(advice.into()),
        );
    }
    let partitions = section.optional_number("partitions", 1, PARTITIONS_MAX, report);
    let replication = section.optional_number("replication", 1, REPLICATION_MAX, report);
    let config = properties::read(section.entry("config"), report);
    section.finish(report);
    Some(CreateTopics {
        partitions: partitions?,
        replication: replication.and_then(|replication| u16::try_from(replication).ok()),
        config: config.into_iter().map(|(name, property)| (name, property.value.text)).collect(),
    })
}

fn read_librdkafka(entry: Option<Entry<'_>>, report: &mut Report<'_>) -> BTreeMap<String, SecretString> {
    let mut accepted = BTreeMap::new();
    for (name, property) in properties::read(entry, report) {
        if let Some(reason) = refused_property(&name) {
            report.fault(&property.place, "config.refused_property", reason, None);
            continue;
        }
        if name.ends_with("password") {
            security::warn_of_literal(&property.value, &property.place, report);
        }
        let value = SecretString::from(property.value.text);
        if let Some(trouble) = property_fault(&name, &value) {
            report.fault(&property.place, trouble.code, trouble.message, trouble.advice);
        }
        accepted.insert(name, value);
    }
    accepted
}
