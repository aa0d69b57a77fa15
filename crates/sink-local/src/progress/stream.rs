//! What is stored of the stream as a whole, and of the one before it.

use sqlx::sqlite::SqliteConnection;
use tailwater_model::{
    FirstListing, PipelineIdentity, PreviousStream, Progress, ServiceTime, ShardId, ShardProgress, least_read_until,
};

use super::{LaneClaim, parse_position};
use crate::database::Fault;

/// `last_contact` in milliseconds since 1970. Programs before 0002_read_until wrote it.
macro_rules! last_contact_ms {
    () => {
        "cast(round(1000 * unixepoch(last_contact, 'subsec')) as integer)"
    };
}
pub(super) use last_contact_ms;

pub(super) async fn read_progress(connection: &mut SqliteConnection, claim: &LaneClaim) -> Result<Progress, Fault> {
    let PipelineIdentity { name, stream, .. } = &*claim.pipeline;
    let row: (Option<i64>, bool, bool, Option<i64>) = sqlx::query_as(concat!(
        "select known_since_ms, stream_known, follows_another, ",
        last_contact_ms!(),
        " from tailwater_streams where pipeline = ? and stream_arn = ?"
    ))
    .bind(name)
    .bind(&stream.stream_arn)
    .fetch_one(&mut *connection)
    .await?;
    let (listed_at_ms, is_stored, follows_another, contact_ms) = row;
    let listed_at_ms = listed_at_ms.or_else(|| is_stored.then(|| contact_ms.unwrap_or(ServiceTime::EPOCH.ms())));
    Ok(Progress {
        shards: shards(connection, name, &stream.stream_arn, Some(claim.lane)).await?,
        first_listing: listed_at_ms.map(|ms| FirstListing { at: ServiceTime::from_ms(ms), is_stored, follows_another }),
        previous_stream: previous_stream(connection, &claim.pipeline).await?,
    })
}

/// The shards of a lane, or of all.
async fn shards(
    connection: &mut SqliteConnection,
    pipeline: &str,
    stream_arn: &str,
    lane: Option<u32>,
) -> Result<Vec<ShardProgress>, Fault> {
    let rows: Vec<(String, Option<String>, String, Option<i64>)> = sqlx::query_as(concat!(
        "select shard, parent, position, coalesce(read_until_ms, ",
        last_contact_ms!(),
        ") from tailwater_shards join tailwater_streams using (pipeline, stream_arn) \
         where pipeline = ? and stream_arn = ? and lane = coalesce(?, lane) order by shard",
    ))
    .bind(pipeline)
    .bind(stream_arn)
    .bind(lane)
    .fetch_all(connection)
    .await?;
    let shards = rows.into_iter().map(|(shard, parent, position, read_until_ms)| {
        Ok(ShardProgress {
            shard: ShardId::new(&shard),
            parent: parent.as_deref().map(ShardId::new),
            position: parse_position(&position)?,
            read_until: read_until_ms.map(ServiceTime::from_ms),
        })
    });
    shards.collect()
}

/// A stream that was claimed and never read is none.
async fn previous_stream(
    connection: &mut SqliteConnection,
    pipeline: &PipelineIdentity,
) -> Result<Option<PreviousStream>, Fault> {
    let PipelineIdentity { name, stream, .. } = pipeline;
    let found: Option<(String, bool)> = sqlx::query_as(
        "select stream_arn, table_id <> ? from tailwater_streams as other \
         where pipeline = ? and table_name = ? and stream_arn <> ? and (stream_known or exists (\
             select 1 from tailwater_shards as shard \
             where shard.pipeline = other.pipeline and shard.stream_arn = other.stream_arn)) \
         order by claimed_at desc limit 1",
    )
    .bind(&stream.table_id)
    .bind(name)
    .bind(&stream.table)
    .bind(&stream.stream_arn)
    .fetch_optional(&mut *connection)
    .await?;
    let Some((stream_arn, is_of_another_table)) = found else { return Ok(None) };
    let read_until = least_read_until(&shards(connection, name, &stream_arn, None).await?);
    Ok(Some(PreviousStream { stream_arn, read_until, is_of_another_table }))
}

/// Stores the first complete listing, unless the stream is known. With a known stream the progress of the table's other
/// streams is removed: nobody asks for it any more. Their gaps and dead letters stay.
pub(super) async fn store_first_listing(
    connection: &mut SqliteConnection,
    claim: &LaneClaim,
    listing: FirstListing,
) -> Result<(), Fault> {
    let PipelineIdentity { name, stream, .. } = &*claim.pipeline;
    sqlx::query(
        "update tailwater_streams set stream_known = ?, known_since_ms = ?, follows_another = ? \
         where pipeline = ? and stream_arn = ? and not stream_known",
    )
    .bind(listing.is_stored)
    .bind(listing.at.ms())
    .bind(listing.follows_another)
    .bind(name)
    .bind(&stream.stream_arn)
    .execute(&mut *connection)
    .await?;
    if !listing.is_stored {
        return Ok(());
    }
    for removal in [
        "delete from tailwater_shards where pipeline = ?1 and stream_arn in (select stream_arn from tailwater_streams \
         where pipeline = ?1 and table_name = ?2 and stream_arn <> ?3)",
        "delete from tailwater_streams where pipeline = ?1 and table_name = ?2 and stream_arn <> ?3",
    ] {
        sqlx::query(removal).bind(name).bind(&stream.table).bind(&stream.stream_arn).execute(&mut *connection).await?;
    }
    Ok(())
}
