//! Stored progress for people. Writes nothing, and works on a standby too.

use sqlx::Row;
use sqlx::postgres::PgRow;
use tailwater_model::{Checkpoints, Counts, ServiceTime, ShardCheckpoint, ShardId, Trouble};

use crate::connect::{Address, address};
use crate::fence::read_position;
use crate::session::SqlFault;
use crate::settings::PostgresSettings;
use crate::sql::moment;
use crate::transaction::Mode;

/// The column `read_until` is missing as long as no version that knows it has claimed a pipeline there: so it is looked for
/// in the row.
const SHARDS_SQL: &str = "
select stream_arn, shard, parent, lane, position, read, written, filtered, dead_lettered, suppressed,
    (extract(epoch from coalesce((pg_catalog.to_jsonb(shards) ->> 'read_until')::timestamptz, last_contact_at)) * 1000)::int8
        as read_until_ms,
    to_char(updated_at at time zone 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"') as updated_at
from tailwater.shards left join tailwater.streams using (pipeline, stream_arn)
where pipeline = $1
order by stream_arn collate \"C\", shard collate \"C\"";

const TOTALS_SQL: &str = "
select (select count(*) from tailwater.lanes where pipeline = $1),
    (select count(*) from tailwater.gaps where pipeline = $1),
    (select count(*) from tailwater.dead_letters where pipeline = $1),
    (select (extract(epoch from max((pg_catalog.to_jsonb(gaps) ->> 'until')::timestamptz)) * 1000)::int8
        from tailwater.gaps where pipeline = $1)";

/// Lists all stored progress of a pipeline; nothing when it was never run into this database.
///
/// # Errors
/// Trouble of kind `Config` for the URL, of kind `Environment` when the server cannot be reached or refuses.
pub async fn checkpoints(settings: &PostgresSettings, pipeline: &str) -> Result<Option<Checkpoints>, Trouble> {
    let address = address(settings)?;
    let listing = Box::pin(list(&address, settings, pipeline));
    match listing.await {
        Ok(found) => found,
        Err(fault) => Err(fault.trouble("reading checkpoints", &address.place)),
    }
}

async fn list(
    address: &Address,
    settings: &PostgresSettings,
    pipeline: &str,
) -> Result<Result<Option<Checkpoints>, Trouble>, SqlFault> {
    let mut session = address.connect(settings, pipeline, "checkpoints").await?;
    // One snapshot for all figures.
    session.begin(Mode::Read);
    let there = session.ask("select 1 where to_regclass('tailwater.shards') is not null").await?;
    if there.is_empty() {
        return Ok(Ok(None));
    }
    let totals = session.row(sqlx::query(TOTALS_SQL).bind(pipeline)).await?.ok_or(sqlx::Error::RowNotFound)?;
    let (lanes, gaps, dead_letters) = (count(&totals, 0)?, count(&totals, 1)?, count(&totals, 2)?);
    if lanes == 0 {
        return Ok(Ok(None));
    }
    let gaps_until = totals.try_get::<Option<i64>, _>(3)?.map(ServiceTime::from_ms);
    let mut shards = Vec::new();
    for row in session.rows(sqlx::query(SHARDS_SQL).bind(pipeline)).await? {
        match read_checkpoint(&row)? {
            Ok(shard) => shards.push(shard),
            Err(trouble) => return Ok(Err(trouble)),
        }
    }
    Ok(Ok(Some(Checkpoints { shards, gaps, gaps_until, dead_letters })))
}

fn read_checkpoint(row: &PgRow) -> Result<Result<ShardCheckpoint, Trouble>, SqlFault> {
    let position = match read_position(row.try_get("position")?) {
        Ok(position) => position,
        Err(trouble) => return Ok(Err(trouble)),
    };
    let parent: Option<&str> = row.try_get("parent")?;
    let lane: i32 = row.try_get("lane")?;
    Ok(Ok(ShardCheckpoint {
        stream_arn: row.try_get("stream_arn")?,
        shard: ShardId::new(row.try_get("shard")?),
        parent: parent.map(ShardId::new),
        lane: u32::try_from(lane).unwrap_or_default(),
        position,
        read_until: moment(row, "read_until_ms")?,
        counts: Counts {
            read: count(row, "read")?,
            written: count(row, "written")?,
            filtered: count(row, "filtered")?,
            dead_lettered: count(row, "dead_lettered")?,
            suppressed: count(row, "suppressed")?,
        },
        updated_at: row.try_get("updated_at")?,
    }))
}

fn count(row: &PgRow, column: impl sqlx::ColumnIndex<PgRow>) -> Result<u64, SqlFault> {
    let figure: i64 = row.try_get(column)?;
    Ok(u64::try_from(figure).unwrap_or_default())
}
