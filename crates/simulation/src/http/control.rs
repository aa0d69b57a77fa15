//! What testers of consumers ask for beside the protocol: to make things happen now, what really happened, and what was
//! unkind.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use url::form_urlencoded;

use super::failures::{OPERATIONS, PlannedFailure, PlannedFailures};
use crate::service::{Service, TrueRecord, TrueShard};

/// Most calls that one request may let fail.
const FAILURES_MAX: u32 = 1_000_000;

/// What can be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verb {
    /// Closes open shards, each with one child.
    Rotate,
    /// Closes open shards, each with two children.
    Split,
    /// Trims the oldest records.
    Trim,
    /// Lets all iterators expire.
    Expire,
    /// Streams that were turned off go at once.
    Forget,
    /// Lets the next calls fail.
    Fail,
    /// All shards and all records there ever were.
    Truth,
    /// How often each unkind side showed itself.
    Unkind,
}

const VERBS: [(&str, &str, Verb); 8] = [
    ("POST", "rotate", Verb::Rotate),
    ("POST", "split", Verb::Split),
    ("POST", "trim", Verb::Trim),
    ("POST", "expire", Verb::Expire),
    ("POST", "forget", Verb::Forget),
    ("POST", "fail", Verb::Fail),
    ("GET", "truth", Verb::Truth),
    ("GET", "unkind", Verb::Unkind),
];

/// The parameters of a request.
#[derive(Debug, Default)]
pub(super) struct Wanted {
    /// Of this table's newest stream only.
    table: Option<String>,
    /// Of this shard only.
    shard: Option<String>,
    /// How many records of each shard; all without it.
    records: Option<usize>,
    /// The code of the error that calls are to fail with.
    error: Option<String>,
    /// Calls of this operation only.
    operation: Option<String>,
    /// How many calls; one without it.
    times: Option<u32>,
}

impl Verb {
    pub(super) fn parse(method: &str, word: &str) -> Result<Self, String> {
        let found = VERBS.into_iter().find(|(with, name, _)| *with == method && *name == word);
        found.map(|(_, _, verb)| verb).ok_or_else(|| {
            let all = VERBS.map(|(method, name, _)| format!("{method} {name}")).join(", ");
            format!("no {method} {word}: there are {all}")
        })
    }
}

impl Wanted {
    /// Reads the query of a URL.
    pub(super) fn parse(query: &str) -> Result<Self, String> {
        let mut wanted = Self::default();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            let value = value.into_owned();
            let number = || value.parse().map_err(|_| format!("{name} is no number: {value:?}"));
            match name.as_ref() {
                "table" => wanted.table = Some(value),
                "shard" => wanted.shard = Some(value),
                "records" => wanted.records = Some(number()? as usize),
                "error" => wanted.error = Some(value),
                "operation" => wanted.operation = Some(value),
                "times" => wanted.times = Some(number()?),
                _ => {
                    return Err(format!(
                        "no parameter {name}: there are table, shard, records, error, operation, times"
                    ));
                }
            }
        }
        Ok(wanted)
    }

    fn wants(&self, shard: &TrueShard<'_>) -> bool {
        self.shard.as_deref().is_none_or(|wanted| wanted == shard.id)
    }
}

/// Does or tells what is asked for.
pub(super) fn answer(
    service: &mut Service,
    planned: &mut PlannedFailures,
    wire_hits: &BTreeMap<&'static str, u64>,
    now_ms: i64,
    verb: Verb,
    wanted: &Wanted,
) -> Result<Value, String> {
    service.advance(now_ms);
    match verb {
        Verb::Rotate => close(service, now_ms, wanted, Service::rotate),
        Verb::Split => close(service, now_ms, wanted, Service::split),
        Verb::Trim => trim(service, now_ms, wanted),
        Verb::Expire => {
            service.expire_iterators(now_ms);
            Ok(json!({}))
        }
        Verb::Forget => Ok(json!({"gone": service.forget_streams(now_ms, wanted.table.as_deref())})),
        Verb::Fail => fail(planned, wanted),
        Verb::Truth => truth(service, now_ms, wanted),
        Verb::Unkind => {
            let asked_for = (planned.met > 0).then_some(("asked_for", planned.met));
            let all = service.hits().iter().chain(wire_hits).map(|(name, times)| (*name, *times)).chain(asked_for);
            Ok(all.map(|(name, times)| (name.to_owned(), Value::from(times))).collect())
        }
    }
}

/// The ARN of the stream that is meant; nothing for all.
fn stream_of(service: &Service, now_ms: i64, wanted: &Wanted) -> Result<Option<String>, String> {
    let Some(table) = &wanted.table else { return Ok(None) };
    let stream = service.latest_stream(now_ms, table);
    stream.map(|stream| Some(stream.arn)).ok_or_else(|| no_stream(table))
}

fn no_stream(table: &str) -> String {
    format!("the table {table:?} has no stream")
}

/// The shards that are meant, of those for which `is_meant` is true: each with its stream.
fn shards_of(
    service: &Service,
    now_ms: i64,
    wanted: &Wanted,
    is_meant: impl Fn(&TrueShard<'_>) -> bool,
) -> Result<Vec<(String, String)>, String> {
    let stream = stream_of(service, now_ms, wanted)?;
    let shards = service.truth().shards().filter(|shard| {
        stream.as_deref().is_none_or(|arn| arn == shard.stream_arn) && wanted.wants(shard) && is_meant(shard)
    });
    let shards: Vec<(String, String)> =
        shards.map(|shard| (shard.stream_arn.to_owned(), shard.id.to_owned())).collect();
    if shards.is_empty() { Err("there is no such shard".into()) } else { Ok(shards) }
}

fn close(
    service: &mut Service,
    now_ms: i64,
    wanted: &Wanted,
    close: impl Fn(&mut Service, i64, &str, &str),
) -> Result<Value, String> {
    let closed = shards_of(service, now_ms, wanted, |shard| shard.closed_at_ms.is_none())?;
    for (stream, shard) in &closed {
        close(service, now_ms, stream, shard);
    }
    let closed: Vec<&str> = closed.iter().map(|(_, shard)| shard.as_str()).collect();
    let children = service.truth().shards().filter(|shard| shard.parent.is_some_and(|parent| closed.contains(&parent)));
    let children: Vec<&str> = children.map(|shard| shard.id).collect();
    Ok(json!({"closed": closed, "children": children}))
}

fn trim(service: &mut Service, now_ms: i64, wanted: &Wanted) -> Result<Value, String> {
    let shards = shards_of(service, now_ms, wanted, |shard| !shard.gone)?;
    for (stream, shard) in &shards {
        service.trim_shard(now_ms, stream, shard, wanted.records.unwrap_or(usize::MAX));
    }
    let is_meant = |id: &str| shards.iter().any(|(_, shard)| shard == id);
    let told = |shard: TrueShard<'_>| json!({"shard": shard.id, "trimmed": shard.trimmed, "gone": shard.gone});
    let trimmed: Vec<Value> = service.truth().shards().filter(|shard| is_meant(shard.id)).map(told).collect();
    Ok(json!({"shards": trimmed}))
}

fn fail(planned: &mut PlannedFailures, wanted: &Wanted) -> Result<Value, String> {
    let code = wanted.error.clone().ok_or("the parameter error is missing, for example error=ThrottlingException")?;
    let times = wanted.times.unwrap_or(1);
    if !(1..=FAILURES_MAX).contains(&times) {
        return Err(format!("times is between 1 and {FAILURES_MAX}"));
    }
    if let Some(unknown) = wanted.operation.as_deref().filter(|operation| !OPERATIONS.contains(operation)) {
        return Err(format!("no operation {unknown}: there are {}", OPERATIONS.join(", ")));
    }
    planned.plan(PlannedFailure { operation: wanted.operation.clone(), code, times });
    Ok(json!({"to_fail": planned.left()}))
}

fn truth(service: &Service, now_ms: i64, wanted: &Wanted) -> Result<Value, String> {
    // All streams that the table ever had.
    let of_table = wanted.table.as_ref().map(|table| {
        let streams = service.truth().streams(table, now_ms);
        streams.map(|(arn, _)| arn).collect::<Vec<_>>()
    });
    if let (Some(table), Some([])) = (&wanted.table, of_table.as_deref()) {
        return Err(no_stream(table));
    }
    let is_meant = |arn: &str| of_table.as_ref().is_none_or(|arns| arns.contains(&arn));
    let shards = service.truth().shards().filter(|shard| is_meant(shard.stream_arn) && wanted.wants(shard));
    let shards: Vec<TrueShard<'_>> = shards.collect();
    let mut arns: Vec<&str> = shards.iter().map(|shard| shard.stream_arn).collect();
    arns.dedup();
    let records = arns.into_iter().flat_map(|arn| service.truth().records(arn));
    let records = records.filter(|record| wanted.shard.as_deref().is_none_or(|shard| shard == record.shard));
    let records: Vec<Value> = records.map(|record| record_told(&record)).collect();
    let shards: Vec<Value> = shards.iter().map(shard_told).collect();
    Ok(json!({"shards": shards, "records": records}))
}

fn shard_told(shard: &TrueShard<'_>) -> Value {
    json!({
        "stream": shard.stream_arn, "shard": shard.id, "parent": shard.parent, "created_at_ms": shard.created_at_ms,
        "closed_at_ms": shard.closed_at_ms, "trimmed": shard.trimmed, "gone": shard.gone,
    })
}

fn record_told(record: &TrueRecord<'_>) -> Value {
    let typed = |json: &str| serde_json::from_str::<Value>(json).unwrap_or_default();
    let change = record.change;
    json!({
        "shard": record.shard, "sequence_number": record.sequence_number, "event_id": record.event_id,
        "created_at_ms": record.created_at_ms, "trimmed": record.trimmed, "time_to_live": change.time_to_live,
        "key": typed(&change.key), "old": change.old.as_deref().map(typed), "new": change.new.as_deref().map(typed),
    })
}
