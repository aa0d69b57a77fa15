//! All stored progress of a pipeline, for people. Reads only, and leaves no file behind.

use std::path::Path;

use sqlx::sqlite::{SqliteConnection, SqliteRow};
use sqlx::{Connection, Row};
use tailwater_model::{Checkpoints, Counts, ServiceTime, ShardCheckpoint, ShardId, Trouble};

use super::parse_position;
use super::stream::last_contact_ms;
use crate::database::{Access, Fault, connect};

/// Nothing when the file is missing or the pipeline was never run there.
pub(crate) async fn read_checkpoints(path: &Path, pipeline: &str) -> Result<Option<Checkpoints>, Trouble> {
    if !path.exists() {
        return Ok(None);
    }
    read(path, pipeline).await.map_err(|fault| fault.into_trouble(path))
}

async fn read(path: &Path, pipeline: &str) -> Result<Option<Checkpoints>, Fault> {
    let mut connection = connect(path, Access::Read).await?;
    // One snapshot of all tables, while a pipeline may be writing.
    let mut transaction = connection.begin().await?;
    let checkpoints = if was_run(&mut transaction, pipeline).await? {
        Some(Checkpoints {
            shards: shards(&mut transaction, pipeline).await?,
            gaps: count(&mut transaction, "select count(*) from tailwater_gaps where pipeline = ?", pipeline).await?,
            gaps_until: gaps_until(&mut transaction, pipeline).await?,
            dead_letters: count(
                &mut transaction,
                "select count(*) from tailwater_dead_letters where pipeline = ?",
                pipeline,
            )
            .await?,
        })
    } else {
        None
    };
    drop(transaction);
    connection.close().await?;
    Ok(checkpoints)
}

async fn was_run(connection: &mut SqliteConnection, pipeline: &str) -> Result<bool, Fault> {
    let tables = count(connection, "select count(*) from sqlite_schema where name = ?", "tailwater_lanes").await?;
    Ok(tables > 0 && count(connection, "select count(*) from tailwater_lanes where pipeline = ?", pipeline).await? > 0)
}

/// Databases from before gaps had bounds have no such column.
async fn gaps_until(connection: &mut SqliteConnection, pipeline: &str) -> Result<Option<ServiceTime>, Fault> {
    let columns = "select count(*) from pragma_table_info('tailwater_gaps') where name = ?";
    if count(connection, columns, "until_ms").await? == 0 {
        return Ok(None);
    }
    let newest = sqlx::query_as("select max(until_ms) from tailwater_gaps where pipeline = ?");
    let (newest,): (Option<i64>,) = newest.bind(pipeline).fetch_one(connection).await?;
    Ok(newest.map(ServiceTime::from_ms))
}

async fn count(connection: &mut SqliteConnection, sql: &'static str, name: &str) -> Result<u64, Fault> {
    let (count,): (i64,) = sqlx::query_as(sql).bind(name).fetch_one(connection).await?;
    Ok(u64::try_from(count).unwrap_or_default())
}

async fn shards(connection: &mut SqliteConnection, pipeline: &str) -> Result<Vec<ShardCheckpoint>, Fault> {
    let rows = sqlx::query(concat!(
        "select tailwater_shards.*, ",
        last_contact_ms!(),
        " as last_contact_ms from tailwater_shards join tailwater_streams using (pipeline, stream_arn) \
         where pipeline = ? order by stream_arn, shard"
    ))
    .bind(pipeline)
    .fetch_all(connection)
    .await?;
    rows.iter().map(checkpoint).collect()
}

fn checkpoint(row: &SqliteRow) -> Result<ShardCheckpoint, Fault> {
    let number = |column: &str| row.try_get::<i64, _>(column).map(|count| u64::try_from(count).unwrap_or_default());
    Ok(ShardCheckpoint {
        stream_arn: row.try_get("stream_arn")?,
        shard: ShardId::new(row.try_get("shard")?),
        parent: row.try_get::<Option<&str>, _>("parent")?.map(ShardId::new),
        lane: row.try_get("lane")?,
        position: parse_position(row.try_get("position")?)?,
        read_until: read_until(row)?,
        counts: Counts {
            read: number("read")?,
            written: number("written")?,
            filtered: number("filtered")?,
            dead_lettered: number("dead_lettered")?,
            suppressed: number("suppressed")?,
        },
        updated_at: row.try_get("updated_at")?,
    })
}

/// The column is missing as long as no program that knows it has claimed a pipeline there.
fn read_until(row: &SqliteRow) -> Result<Option<ServiceTime>, sqlx::Error> {
    let stored: Option<i64> = match row.try_get("read_until_ms") {
        Err(sqlx::Error::ColumnNotFound(_)) => None,
        stored => stored?,
    };
    let last_contact: Option<i64> = row.try_get("last_contact_ms")?;
    Ok(stored.or(last_contact).map(ServiceTime::from_ms))
}
