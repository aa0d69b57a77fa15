//! The statements about streams as a whole, as the sink's SQL says them.

use std::sync::Arc;

use tailwater_model::FirstListing;
use tailwater_sink_postgres::StoredStream;

use super::executing::{Change, Executing};
use super::progress_sql::{shard_key, shards_of_stream};
use super::rows::{RowKey, RowValue, StreamRow};
use super::sql_error::SqlError;

fn stream_key(pipeline: &str, stream_arn: &str) -> RowKey {
    RowKey::Stream { pipeline: pipeline.to_owned(), stream_arn: stream_arn.to_owned() }
}

/// Makes the stream known, if it is not.
pub(crate) async fn store_stream(
    sql: &Executing,
    pipeline: &str,
    stream_arn: &str,
    table_name: &str,
    table_id: &str,
) -> Result<(), SqlError> {
    let row = StreamRow {
        table_name: table_name.to_owned(),
        table_id: table_id.to_owned(),
        first_seen_at_ms: sql.now_ms(),
        first_listing: None,
    };
    sql.insert_or_nothing(&stream_key(pipeline, stream_arn), RowValue::Stream(row)).await.map(drop)
}

/// The stream, and the stream of the same table that was read last before it.
pub(crate) fn read_stream(sql: &Executing, pipeline: &str, stream_arn: &str) -> Option<StoredStream> {
    let this = match sql.read(&stream_key(pipeline, stream_arn)).as_deref() {
        Some(RowValue::Stream(row)) => row.clone(),
        _ => return None,
    };
    let moved_at = |of: &str| shards_of_stream(sql, pipeline, of).iter().map(|(_, row)| row.updated_at_ms).max();
    let previous = streams(sql, pipeline)
        .into_iter()
        .filter(|(of, row)| of != stream_arn && row.table_name == this.table_name)
        .map(|(of, row)| {
            (moved_at(&of), row.first_seen_at_ms, FirstListing::known_since(row.first_listing), of, row.table_id)
        })
        .filter(|(moved_at, _, known_since, _, _)| moved_at.is_some() || known_since.is_some())
        .max();
    let is_of_another_table = previous.as_ref().is_some_and(|(_, _, _, _, table_id)| *table_id != this.table_id);
    let previous_stream = previous.map(|(_, _, _, of, _)| of);
    Some(StoredStream { first_listing: this.first_listing, previous_stream, is_of_another_table })
}

fn streams(sql: &Executing, of_pipeline: &str) -> Vec<(String, StreamRow)> {
    let mine = |key: &RowKey| matches!(key, RowKey::Stream { pipeline, .. } if pipeline == of_pipeline);
    let found = sql.scan(stream_key(of_pipeline, ""), mine).into_iter();
    let stream = |(key, value): (RowKey, Arc<RowValue>)| match (key, &*value) {
        (RowKey::Stream { stream_arn, .. }, RowValue::Stream(row)) => Some((stream_arn, row.clone())),
        _ => None,
    };
    found.filter_map(stream).collect()
}

/// Stores the first complete listing, unless one of which every shard is stored is there.
pub(crate) async fn store_first_listing(
    sql: &Executing,
    pipeline: &str,
    stream_arn: &str,
    listing: FirstListing,
) -> Result<(), SqlError> {
    let known = |value: &RowValue| match value {
        RowValue::Stream(row) if FirstListing::known_since(row.first_listing).is_none() => {
            Change::Put(RowValue::Stream(StreamRow { first_listing: Some(listing), ..row.clone() }))
        }
        _ => Change::Keep,
    };
    sql.change(&stream_key(pipeline, stream_arn), known).await.map(drop)
}

/// Removes the pipeline's other streams of the table, and their shards.
pub(crate) async fn forget_other_streams(
    sql: &Executing,
    pipeline: &str,
    stream_arn: &str,
    table_name: &str,
) -> Result<(), SqlError> {
    let others = streams(sql, pipeline).into_iter();
    for (of, _) in others.filter(|(of, row)| of != stream_arn && row.table_name == table_name) {
        sql.change(&stream_key(pipeline, &of), |_| Change::Remove).await?;
        for (shard, _) in shards_of_stream(sql, pipeline, &of) {
            sql.change(&shard_key(pipeline, &of, &shard), |_| Change::Remove).await?;
        }
    }
    Ok(())
}
