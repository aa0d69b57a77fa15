//! The names of the three topics.

use tailwater_sink_kafka::topic_name_fault;

use crate::configuration::report::{Place, Report};
use crate::configuration::section::{Section, closest};
use crate::configuration::sink::Given;

/// What may stand in a template.
const PLACEHOLDERS: [&str; 2] = ["{pipeline}", "{table}"];

/// The names, with every placeholder filled in.
pub struct Topics {
    /// Of the change events.
    pub data: String,
    /// Of the dead letters.
    pub dead_letters: String,
    /// Of the progress.
    pub progress: String,
}

/// Reads the three names. Nothing when one is faulty or made of something that is.
pub fn read(section: &mut Section<'_>, given: &Given<'_>, report: &mut Report<'_>) -> Option<Topics> {
    let topics = [
        ("topic", "{table}"),
        ("dead_letter_topic", "{pipeline}-dead-letters"),
        ("progress_topic", "{pipeline}-progress"),
    ]
    .map(|(key, default)| read_one(section, key, default, given, report));
    let known: Vec<_> = topics.iter().flatten().collect();
    for (index, topic) in known.iter().enumerate() {
        for other in &known[..index] {
            refuse_same(topic, other, report);
        }
    }
    let [data, dead_letters, progress] = topics;
    Some(Topics { data: data?.name, dead_letters: dead_letters?.name, progress: progress?.name })
}

struct Topic {
    key: &'static str,
    name: String,
    place: Place,
    is_written: bool,
}

fn read_one(
    section: &mut Section<'_>,
    key: &'static str,
    default: &str,
    given: &Given<'_>,
    report: &mut Report<'_>,
) -> Option<Topic> {
    let (template, place, is_written) = match section.entry(key) {
        Some(entry) => (entry.text(report)?.value.text, entry.place, true),
        None => (default.to_owned(), section.absent(key), false),
    };
    let name = match fill(&template, given) {
        Ok(name) => name?,
        Err(Unfillable { message, suggestion }) => {
            report.fault(&place, "config.bad_value", message, Some(suggestion));
            return None;
        }
    };
    if let Some(fault) = topic_name_fault(&name) {
        let suggestion = if is_written { None } else { Some(format!("the default is \"{default}\"; give a `{key}`")) };
        report.fault(&place, "config.bad_value", format!("not the name of a topic: {fault}"), suggestion);
        return None;
    }
    Some(Topic { key, name, place, is_written })
}

#[derive(Debug, PartialEq, Eq)]
struct Unfillable {
    message: &'static str,
    suggestion: String,
}

/// The template with its placeholders filled in; nothing when what they stand for is faulty itself.
fn fill(template: &str, given: &Given<'_>) -> Result<Option<String>, Unfillable> {
    let list = || format!("placeholders: {}", PLACEHOLDERS.join(", "));
    let mut name = Some(String::new());
    let mut rest = template;
    while let Some(at) = rest.find('{') {
        let Some(length) = rest[at..].find('}').map(|end| end + 1) else {
            return Err(Unfillable { message: "a placeholder that opens with { is never closed", suggestion: list() });
        };
        let placeholder = &rest[at..at + length];
        let value = match placeholder {
            "{pipeline}" => given.pipeline,
            "{table}" => given.source_table,
            _ => {
                let meant = closest(placeholder, PLACEHOLDERS.into_iter());
                let suggestion = meant.map_or_else(list, |meant| format!("did you mean {meant}?"));
                return Err(Unfillable { message: "a placeholder that does not exist", suggestion });
            }
        };
        name = name.zip(value).map(|(name, value)| name + &rest[..at] + value);
        rest = &rest[at + length..];
    }
    Ok(name.map(|name| name + rest))
}

/// Kafka refuses a topic whose name differs from another's only in `.` and `_`: their metrics would have one name.
fn refuse_same(topic: &Topic, other: &Topic, report: &mut Report<'_>) {
    if topic.name.replace('.', "_") != other.name.replace('.', "_") {
        return;
    }
    let how = if topic.name == other.name { "are the same" } else { "differ only in `.` and `_`, which Kafka refuses" };
    let message = format!("the topics of `{}` and `{}` {how}", other.key, topic.key);
    let place = if topic.is_written { &topic.place } else { &other.place };
    report.fault(place, "config.conflict", message, Some("give each of the three topics a name of its own".into()));
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn placeholders_are_filled_in() {
        let given = |table| Given {
            pipeline: Some("shop"),
            source_table: table,
            dead_letters_per_minute_max: 0,
            group_delay_max: Duration::ZERO,
        };
        for (template, name) in [
            ("orders", "orders"),
            ("{table}", "orders"),
            ("a.{pipeline}.{table}-{table}.b", "a.shop.orders-orders.b"),
            ("}", "}"),
            ("", ""),
        ] {
            assert_eq!(fill(template, &given(Some("orders"))), Ok(Some(name.to_owned())), "{template}");
        }
        assert_eq!(fill("{table}", &given(None)), Ok(None));
        assert_eq!(fill("{pipeline}", &given(None)), Ok(Some("shop".to_owned())));
        for template in ["{", "{table", "{tabel}", "{}", "{ table }", "{{table}}"] {
            assert!(fill(template, &given(Some("orders"))).is_err(), "{template}");
        }
    }
}
