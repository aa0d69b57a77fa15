//! Which stream of a table is read: one after the other, each to its end.
//!
//! A stream that is turned off and on is another one. The old one stays readable for 24 hours: what it still holds is
//! carried first, then the next one from its beginning. What was written between the two is in neither: a gap.

mod patience;

use std::time::Duration;

use tailwater_model::{Checkpoints, KeySchema, ShardCheckpoint, ShardProgress};
use tailwater_model::{PreviousStream, StreamIdentity, Trouble, TroubleKind, ViewType, least_read_until};
use tailwater_source_dynamodb::{AwsSettings, DynamoDb, STREAM_GONE, Table};
use tokio::time::sleep;

use crate::checkpoints;
use crate::configuration::{PipelineSpec, SinkSpec};

pub use patience::Patience;

/// The service does not know the table or the stream.
pub const NOT_FOUND: &str = "aws.table_not_found";
/// Waits before a stream is asked for again that was not found: one bad moment gives the same answer again and again.
const NOT_FOUND_PAUSES: [Duration; 4] =
    [Duration::from_secs(10), Duration::from_secs(10), Duration::from_secs(10), Duration::ZERO];

/// A stream to be read.
pub struct ChosenStream {
    /// Which.
    pub identity: StreamIdentity,
    /// What its records carry. Nothing when the service does not say.
    pub view_type: Option<ViewType>,
    /// The stream before it, which was read to its end.
    pub follows: Option<PreviousStream>,
    /// The primary key of the table that it is of.
    pub keys: KeySchema,
}

/// The stream to begin with: the one that the file names, or the one that progress belongs to as long as it can be read, or
/// the table's newest. Refuses one that the sink cannot use.
pub async fn first(dynamodb: &DynamoDb, table: &Table, spec: &PipelineSpec) -> Result<ChosenStream, Trouble> {
    if let Some(arn) = &spec.source.stream_arn {
        let named = described(dynamodb, table, spec, arn, None).await;
        return named.map_err(|trouble| if trouble.code == STREAM_GONE { no_such_stream(arn, spec) } else { trouble });
    }
    let Some(newest) = &table.stream else {
        let trouble = no_stream(&table.name, &spec.source.aws);
        let Some(stored) = stored(spec, "").await? else { return Err(trouble) };
        // Perhaps of a table that was made again, or restored: what it holds is carried all the same.
        let old = left(dynamodb, table, spec, &stored).await?;
        return old.ok_or_else(|| stream_went(&table.name, &stored, trouble));
    };
    if let Some(stored) = stored(spec, &newest.arn).await? {
        if let Some(old) = left(dynamodb, table, spec, &stored).await? {
            return Ok(old);
        }
        // It is gone, and what was not read of it is lost: the gap says so.
        return match after(dynamodb, table, &stored.stream_arn).await? {
            Some(next) => described(dynamodb, table, spec, &next, Some(stored)).await,
            None => described(dynamodb, table, spec, &newest.arn, Some(stored)).await,
        };
    }
    described(dynamodb, table, spec, &newest.arn, None).await
}

/// What a person is to know of the stream that a pipeline begins with.
pub fn tell_first(spec: &PipelineSpec, table: &Table, chosen: &StreamIdentity) {
    if spec.source.stream_arn.is_some() {
        return;
    }
    match &table.stream {
        Some(newest) if newest.arn != chosen.stream_arn => tracing::info!(
            pipeline = spec.name,
            stream = chosen.stream_arn,
            "the stream was replaced: what is left of the one that was read before is carried first"
        ),
        Some(newest) if newest.enabled => {}
        _ => tracing::warn!(
            pipeline = spec.name,
            table = table.name,
            stream = chosen.stream_arn,
            "the stream is turned off: what is in it is carried, then the pipeline ends"
        ),
    }
}

/// The stream that was read before, while it can be read. One answer does not prove that it cannot.
async fn left(
    dynamodb: &DynamoDb,
    table: &Table,
    spec: &PipelineSpec,
    stored: &PreviousStream,
) -> Result<Option<ChosenStream>, Trouble> {
    for pause in NOT_FOUND_PAUSES {
        if let Some(head) = dynamodb.stream_head(&table.name, &stored.stream_arn).await? {
            return usable(table, spec, &stored.stream_arn, head.view_type, None).map(Some);
        }
        sleep(pause).await;
    }
    Ok(None)
}

/// The stream that comes after one that was read to its end; the same one where it is on all the same, and nothing when there is
/// none.
pub async fn next(
    dynamodb: &DynamoDb,
    spec: &PipelineSpec,
    ended: &StreamIdentity,
) -> Result<Option<ChosenStream>, Trouble> {
    if spec.source.stream_arn.is_some() {
        return Ok(None);
    }
    let table = Box::pin(dynamodb.describe_table(&spec.source.table)).await?;
    // Answers that called it off may have been wrong: the table says that it is on, and it is there.
    let is_on = table.stream.as_ref().is_some_and(|newest| newest.enabled && newest.arn == ended.stream_arn);
    if is_on && dynamodb.stream_head(&table.name, &ended.stream_arn).await?.is_some() {
        return described(dynamodb, &table, spec, &ended.stream_arn, None).await.map(Some);
    }
    let newest = table.stream.as_ref().filter(|newest| newest.arn != ended.stream_arn).map(|newest| newest.arn.clone());
    // Asked always: that the newest stream was not found once proves nothing.
    let Some(next) = after(dynamodb, &table, &ended.stream_arn).await?.or(newest) else { return Ok(None) };
    let follows = stored(spec, &next).await?.unwrap_or_else(|| PreviousStream {
        stream_arn: ended.stream_arn.clone(),
        read_until: None,
        is_of_another_table: false,
    });
    described(dynamodb, &table, spec, &next, Some(follows)).await.map(Some)
}

/// The stream of this table that was turned on next after this one. Their ARNs end with the time of that.
async fn after(dynamodb: &DynamoDb, table: &Table, arn: &str) -> Result<Option<String>, Trouble> {
    let label = |arn: &str| arn.rsplit('/').next().unwrap_or_default().to_owned();
    let arns = Box::pin(dynamodb.stream_arns(&table.name)).await?;
    Ok(arns.into_iter().filter(|other| label(other) > label(arn)).min_by_key(|other| label(other)))
}

async fn described(
    dynamodb: &DynamoDb,
    table: &Table,
    spec: &PipelineSpec,
    arn: &str,
    follows: Option<PreviousStream>,
) -> Result<ChosenStream, Trouble> {
    let view_type = match &table.stream {
        Some(newest) if newest.arn == arn => Some(newest.view_type),
        _ => dynamodb.stream_head(&table.name, arn).await?.ok_or_else(|| not_there(table, arn))?.view_type,
    };
    usable(table, spec, arn, view_type, follows)
}

/// Named or listed, and not there: it has expired, or is not there yet. The table is.
fn not_there(table: &Table, arn: &str) -> Trouble {
    let message = format!("the stream {arn} of the table {} is not there", table.name);
    Trouble::new(TroubleKind::Environment, STREAM_GONE, message)
}

/// The stream, where the sink can use it.
fn usable(
    table: &Table,
    spec: &PipelineSpec,
    arn: &str,
    view_type: Option<ViewType>,
    follows: Option<PreviousStream>,
) -> Result<ChosenStream, Trouble> {
    let identity =
        StreamIdentity { table: table.name.clone(), table_id: table.table_id.clone(), stream_arn: arn.to_owned() };
    // A service that does not say its view type is taken at its records.
    match view_type {
        Some(view) if spec.sink.mirrors() && !view.images().new => Err(wrong_view_type(&table.name, view, spec)),
        _ => Ok(ChosenStream { identity, view_type, follows, keys: table.key_schema.clone() }),
    }
}

/// The stream that progress belongs to, where it is another one than this.
async fn stored(spec: &PipelineSpec, arn: &str) -> Result<Option<PreviousStream>, Trouble> {
    if matches!(spec.sink, SinkSpec::Stdout) {
        return Ok(None);
    }
    let checkpoints = Box::pin(checkpoints::read(spec)).await?;
    Ok(checkpoints.and_then(|checkpoints| last_read(&checkpoints, arn, &spec.source.table)))
}

/// Whether nobody has gone further than to the end of this stream, which was read: no progress belongs to another one.
pub async fn is_last_read(spec: &PipelineSpec, ended: &StreamIdentity) -> Result<bool, Trouble> {
    Ok(stored(spec, "").await?.is_none_or(|stored| stored.stream_arn == ended.stream_arn))
}

fn last_read(checkpoints: &Checkpoints, arn: &str, table: &str) -> Option<PreviousStream> {
    // The file may have named another table for a while. Emulators may call streams as they like.
    let of_table = |arn: &str| !arn.contains(":table/") || arn.contains(&format!(":table/{table}/stream/"));
    let of_another = |row: &&ShardCheckpoint| row.stream_arn != arn && of_table(&row.stream_arn);
    if checkpoints.shards.iter().any(|row| row.stream_arn == arn) {
        return None;
    }
    let last =
        checkpoints.shards.iter().filter(of_another).max_by(|one, other| one.updated_at.cmp(&other.updated_at))?;
    let rows = checkpoints.shards.iter().filter(|row| row.stream_arn == last.stream_arn).map(|row| ShardProgress {
        shard: row.shard.clone(),
        parent: row.parent.clone(),
        position: row.position.clone(),
        read_until: row.read_until,
    });
    let rows: Vec<ShardProgress> = rows.collect();
    // The sink compares the tables.
    let (stream_arn, read_until) = (last.stream_arn.clone(), least_read_until(&rows));
    Some(PreviousStream { stream_arn, read_until, is_of_another_table: false })
}

/// There is none to read, and how to turn one on.
pub fn no_stream(table: &str, aws: &AwsSettings) -> Trouble {
    Trouble::new(TroubleKind::Environment, "source.no_stream", format!("the table {table} has no stream"))
        .advise(format!("tailwater stream enable {table} --view NEW_AND_OLD_IMAGES{}", aws_flags(aws)))
}

/// It is gone, and nobody knows whether it was read to its end.
fn stream_went(table: &str, stored: &PreviousStream, trouble: Trouble) -> Trouble {
    let message = format!(
        "the table {table} has no stream, and the one that was read, {}, is gone: what was not read of it is lost; the next \
         stream begins with a gap on record",
        stored.stream_arn
    );
    Trouble { message, ..trouble }
}

/// The table was deleted and made again, with another key: what was written for the old one has no place for its items.
pub fn table_replaced(spec: &PipelineSpec, keys: &KeySchema, now: &KeySchema) -> Trouble {
    let name = |keys: &KeySchema| keys.attributes().map(|key| key.name.as_str()).collect::<Vec<_>>().join(", ");
    let (table, old, new) = (&spec.source.table, name(keys), name(now));
    let message = format!("the table {table} was made again with another key: it was ({old}) and is ({new})");
    Trouble::new(TroubleKind::DataAtRisk, "source.table_replaced", message).advise(
        "everything of the old table's stream is carried; give the new table a pipeline of another name and another target",
    )
}

/// What a start says that does not find its table: progress may belong to a stream of it that can still be read.
pub async fn without_table(dynamodb: &DynamoDb, spec: &PipelineSpec, trouble: Trouble) -> Trouble {
    if trouble.code != NOT_FOUND {
        return trouble;
    }
    // Whatever else is wrong, there is no table.
    let Ok(Some(stored)) = stored(spec, "").await else { return trouble };
    if !matches!(dynamodb.stream_head(&spec.source.table, &stored.stream_arn).await, Ok(Some(_))) {
        return trouble;
    }
    let table = &spec.source.table;
    let message = format!(
        "the table {table} does not exist any more, and what its stream {} still holds may not be carried",
        stored.stream_arn
    );
    Trouble::new(TroubleKind::DataAtRisk, "source.table_deleted", message).advise(format!(
        "make {table} again with the same key, turn its stream on and start the pipeline within 24 hours after the table was \
         deleted: the old stream is carried first, as long as it can be read"
    ))
}

/// The table was deleted while a process read its stream, and everything in that was carried.
pub fn deleted(spec: &PipelineSpec) -> Trouble {
    let table = &spec.source.table;
    let message = format!("the table {table} was deleted and everything in its stream was carried");
    Trouble::new(TroubleKind::StreamEnded, "source.table_deleted", message).advise(
        "where a table of that name is made again with the same key, the pipeline goes on with its stream, from the beginning",
    )
}

fn no_such_stream(arn: &str, spec: &PipelineSpec) -> Trouble {
    let message = format!("the stream that the file names does not exist (any more): {arn}");
    let (table, flags) = (&spec.source.table, aws_flags(&spec.source.aws));
    Trouble::new(TroubleKind::Environment, STREAM_GONE, message)
        .advise(format!("leave `stream_arn` out, or name one that is there: tailwater stream describe {table}{flags}"))
}

/// The stream was turned off, everything in it was carried, and there is no other one.
pub fn turned_off(spec: &PipelineSpec) -> Trouble {
    let (table, flags) = (&spec.source.table, aws_flags(&spec.source.aws));
    if let Some(arn) = &spec.source.stream_arn {
        let message = format!("the stream {arn} was turned off and everything in it was carried");
        return Trouble::new(TroubleKind::StreamEnded, "source.stream_off", message).advise(
            "no other one is read while the file names this one; without `stream_arn` the table's next stream is",
        );
    }
    Trouble::new(
        TroubleKind::StreamEnded,
        "source.stream_off",
        format!("the stream of {table} was turned off and everything in it was carried; the table has no other stream"),
    )
    .advise(format!(
        "turn it on again and start the pipeline: it goes on with the new stream from its beginning, and what was written \
         in between is a gap\ntailwater stream enable {table} --view NEW_AND_OLD_IMAGES{flags}"
    ))
}

fn wrong_view_type(table: &str, view: ViewType, spec: &PipelineSpec) -> Trouble {
    let (sink, flags) = (spec.sink.name(), aws_flags(&spec.source.aws));
    Trouble::new(
        TroubleKind::Environment,
        "source.view_type",
        format!("the stream of {table} is {}, but [sink.{sink}] mirrors items and needs the new image", view.as_str()),
    )
    .advise(format!(
        "a view type cannot be changed in place; turn the stream off and on, which makes a new one:\n\
         tailwater stream disable {table}{flags}\n\
         tailwater stream enable {table} --view NEW_AND_OLD_IMAGES{flags}"
    ))
}

/// The flags with which another command reaches the same table.
fn aws_flags(aws: &AwsSettings) -> String {
    [("region", &aws.region), ("endpoint-url", &aws.endpoint_url), ("profile", &aws.profile)]
        .into_iter()
        .filter_map(|(flag, value)| value.as_ref().map(|value| format!(" --{flag} {value}")))
        .collect()
}

#[cfg(test)]
mod tests {
    use tailwater_model::{Counts, Position, ServiceTime, ShardId};

    use super::*;

    #[test]
    fn the_advice_reaches_the_same_table() {
        let aws = AwsSettings { endpoint_url: Some("http://127.0.0.1:8000".into()), ..AwsSettings::default() };
        assert_eq!(
            no_stream("orders", &aws).advice.as_deref(),
            Some("tailwater stream enable orders --view NEW_AND_OLD_IMAGES --endpoint-url http://127.0.0.1:8000")
        );
    }

    #[test]
    fn a_stream_that_went_is_named_with_what_is_lost_and_the_way_on() {
        let stored = PreviousStream { stream_arn: "arn:old".into(), read_until: None, is_of_another_table: false };
        let trouble = stream_went("orders", &stored, no_stream("orders", &AwsSettings::default()));
        assert_eq!((trouble.kind, trouble.code), (TroubleKind::Environment, "source.no_stream"));
        assert_eq!(
            trouble.message,
            "the table orders has no stream, and the one that was read, arn:old, is gone: what was not read of it is lost; the \
             next stream begins with a gap on record"
        );
        let advice = trouble.advice.expect("a next step");
        assert_eq!(advice, "tailwater stream enable orders --view NEW_AND_OLD_IMAGES");
    }

    #[test]
    fn the_stream_before_is_the_one_that_was_read_last() {
        let row = |arn: &str, shard: &str, updated_at: &str, ms| ShardCheckpoint {
            stream_arn: arn.into(),
            shard: ShardId::new(shard),
            parent: None,
            lane: 0,
            position: Position::Start,
            read_until: Some(ServiceTime::from_ms(ms)),
            counts: Counts::default(),
            updated_at: updated_at.into(),
        };
        let of_another_table = row("arn:aws:dynamodb:eu-west-1:1:table/orders-test/stream/2026", "4", "2026-01-03", 9);
        let shards = vec![
            row("a", "1", "2026-01-01", 1),
            row("b", "2", "2026-01-02", 7),
            row("b", "3", "2026-01-01", 5),
            of_another_table,
        ];
        let stored = Checkpoints { shards, ..Checkpoints::default() };
        let read_until = Some(ServiceTime::from_ms(5));
        let last = PreviousStream { stream_arn: "b".into(), read_until, is_of_another_table: false };
        assert_eq!(last_read(&stored, "c", "orders"), Some(last));
        assert_eq!(last_read(&stored, "b", "orders"), None, "what has progress is gone on with");
        assert_eq!(last_read(&Checkpoints::default(), "b", "orders"), None);
    }
}
