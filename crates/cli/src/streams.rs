//! Which stream of a table is read: one after the other, each to its end.
//!
//! A stream that is turned off and on is another one. The old one stays readable for 24 hours: what it still holds is
//! carried first, then the next one from its beginning. What was written between the two is in neither: a gap.

mod patience;
mod troubles;

use std::time::Duration;

use tailwater_model::{Checkpoints, KeySchema, Position, ShardCheckpoint, ShardProgress};
use tailwater_model::{PreviousStream, StreamIdentity, Trouble, TroubleKind, ViewType, least_read_until};
use tailwater_source_dynamodb::{DynamoDb, StreamHead, Table};
use tokio::time::sleep;

use crate::checkpoints;
use crate::configuration::{PipelineSpec, SinkSpec};

pub use patience::Patience;
pub use troubles::{deleted, no_stream, table_replaced, turned_off};
use troubles::{deleted_long_ago, named_went, no_such_stream, not_there, stream_went, wrong_view_type};

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
        return named(dynamodb, table, spec, arn).await;
    }
    // One that is off may be named for longer than it can be read. Where there is none, the table may have been made again, or
    // restored: what the old one holds is carried all the same.
    let off = table.stream.as_ref().filter(|newest| !newest.enabled).map(|newest| &newest.arn);
    if (off.is_some() || table.stream.is_none())
        && let Some(last) = stored(spec, "").await?
        && off.is_none_or(|arn| *arn == last.stream.stream_arn)
    {
        let old = left(dynamodb, table, spec, &last.stream.stream_arn).await?;
        return old.ok_or_else(|| gone(table, spec, &last));
    }
    let Some(newest) = &table.stream else { return Err(no_stream(&table.name, &spec.source.aws)) };
    if let Some(LastRead { stream: stored, .. }) = stored(spec, &newest.arn).await? {
        if let Some(old) = left(dynamodb, table, spec, &stored.stream_arn).await? {
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

/// The stream that the file names. One that was read to its end goes a day later.
async fn named(dynamodb: &DynamoDb, table: &Table, spec: &PipelineSpec, arn: &str) -> Result<ChosenStream, Trouble> {
    if table.stream.as_ref().is_some_and(|newest| newest.enabled && newest.arn == arn) {
        return described(dynamodb, table, spec, arn, None).await;
    }
    if let Some(head) = dynamodb.stream_head(&table.name, arn).await? {
        return usable(table, spec, arn, head.view_type, None);
    }
    // Whatever else is wrong, it is not there.
    match stored(spec, "").await {
        Ok(Some(last)) if last.is_at_end && last.stream.stream_arn == arn => {
            left(dynamodb, table, spec, arn).await?.ok_or_else(|| named_went(arn, spec))
        }
        _ => Err(no_such_stream(arn, spec)),
    }
}

/// The stream that was read last can be read no longer, and nothing follows it.
fn gone(table: &Table, spec: &PipelineSpec, last: &LastRead) -> Trouble {
    let trouble = if last.is_at_end { turned_off(spec) } else { no_stream(&table.name, &spec.source.aws) };
    stream_went(&table.name, last, trouble)
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

/// The stream that was read before, while it can be read.
async fn left(
    dynamodb: &DynamoDb,
    table: &Table,
    spec: &PipelineSpec,
    arn: &str,
) -> Result<Option<ChosenStream>, Trouble> {
    let head = head(dynamodb, &table.name, arn).await?;
    head.map(|head| usable(table, spec, arn, head.view_type, None)).transpose()
}

/// What tells of a stream; nothing where it can be read no longer. One answer does not prove that.
async fn head(dynamodb: &DynamoDb, table: &str, arn: &str) -> Result<Option<StreamHead>, Trouble> {
    for pause in NOT_FOUND_PAUSES {
        if let Some(head) = dynamodb.stream_head(table, arn).await? {
            return Ok(Some(head));
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
    let stored = stored(spec, &next).await?.map(|last| last.stream);
    let follows = stored.unwrap_or_else(|| PreviousStream {
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

/// What progress says of the stream that was read last.
#[derive(Debug, PartialEq, Eq)]
struct LastRead {
    stream: PreviousStream,
    /// All of its shards that are stored were read to their ends.
    is_at_end: bool,
}

/// The stream that progress belongs to, where it is another one than this.
async fn stored(spec: &PipelineSpec, arn: &str) -> Result<Option<LastRead>, Trouble> {
    if matches!(spec.sink, SinkSpec::Stdout) {
        return Ok(None);
    }
    let checkpoints = Box::pin(checkpoints::read(spec)).await?;
    Ok(checkpoints.and_then(|checkpoints| last_read(&checkpoints, arn, &spec.source.table)))
}

/// Whether nobody has gone further than to the end of this stream, which was read: no progress belongs to another one.
pub async fn is_last_read(spec: &PipelineSpec, ended: &StreamIdentity) -> Result<bool, Trouble> {
    Ok(stored(spec, "").await?.is_none_or(|last| last.stream.stream_arn == ended.stream_arn))
}

fn last_read(checkpoints: &Checkpoints, arn: &str, table: &str) -> Option<LastRead> {
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
    let stream = PreviousStream { stream_arn, read_until, is_of_another_table: false };
    Some(LastRead { stream, is_at_end: rows.iter().all(|row| row.position == Position::End) })
}

/// What a start says that does not find its table: progress may belong to a stream of it that can still be read.
pub async fn without_table(dynamodb: &DynamoDb, spec: &PipelineSpec, trouble: Trouble) -> Trouble {
    if trouble.code != NOT_FOUND {
        return trouble;
    }
    // Whatever else is wrong, there is no table.
    let Ok(Some(last)) = stored(spec, "").await else { return trouble };
    let (table, arn) = (&spec.source.table, &last.stream.stream_arn);
    match head(dynamodb, table, arn).await {
        Ok(Some(_)) => {}
        Ok(None) if last.is_at_end => return deleted_long_ago(spec, &last),
        _ => return trouble,
    }
    let message =
        format!("the table {table} does not exist any more, and what its stream {arn} still holds may not be carried");
    Trouble::new(TroubleKind::DataAtRisk, "source.table_deleted", message).advise(format!(
        "make {table} again with the same key, turn its stream on and start the pipeline within 24 hours after the table was \
         deleted: the old stream is carried first, as long as it can be read"
    ))
}

#[cfg(test)]
mod tests {
    use tailwater_model::{Counts, ServiceTime, ShardId};

    use super::*;

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
        let last = |is_at_end| {
            let stream = PreviousStream { stream_arn: "b".into(), read_until, is_of_another_table: false };
            Some(LastRead { stream, is_at_end })
        };
        assert_eq!(last_read(&stored, "c", "orders"), last(false));
        let at_end = |row: ShardCheckpoint| ShardCheckpoint { position: Position::End, ..row };
        let shards = stored.shards.iter().cloned().map(at_end).collect();
        assert_eq!(last_read(&Checkpoints { shards, ..Checkpoints::default() }, "c", "orders"), last(true));
        assert_eq!(last_read(&stored, "b", "orders"), None, "what has progress is gone on with");
        assert_eq!(last_read(&Checkpoints::default(), "b", "orders"), None);
    }
}
