//! Statements about streams as a whole.

use sqlx::Row;
use tailwater_model::{FirstListing, PipelineIdentity};

use super::moment::{moment, stored};
use crate::lane::LaneIdentity;
use crate::session::Session;
use crate::statements::{Answer, StoredStream};

/// A stream that was claimed and never read is no previous one.
const STREAM_SQL: &str = "
select (extract(epoch from coalesce(mine.known_since,
        case when mine.stream_known then coalesce(mine.last_contact_at, 'epoch') end)) * 1000)::int8 as first_listed_ms,
    mine.stream_known, mine.follows_another, previous.stream_arn as previous_stream,
    coalesce(previous.table_id <> mine.table_id, false) as is_of_another_table
from tailwater.streams as mine
left join lateral (
    select other.stream_arn, other.table_id from tailwater.streams as other
    cross join lateral (
        select max(shard.updated_at) as moved_at from tailwater.shards as shard
        where shard.pipeline = other.pipeline and shard.stream_arn = other.stream_arn) as shards
    where other.pipeline = $1 and other.stream_arn <> $2 and other.table_name = mine.table_name
        and (other.stream_known or other.last_contact_at is not null or shards.moved_at is not null)
    order by greatest(other.last_contact_at, shards.moved_at) desc nulls last, other.first_seen_at desc
    limit 1) as previous on true
where mine.pipeline = $1 and mine.stream_arn = $2";

const ADD_STREAM_SQL: &str = "
insert into tailwater.streams (pipeline, stream_arn, table_name, table_id) values ($1, $2, $3, $4)
on conflict do nothing";

const FIRST_LISTING_SQL: &str = "
update tailwater.streams set stream_known = $4, known_since = timestamptz 'epoch' + $3::float8 * interval '1 millisecond',
    follows_another = $5
where pipeline = $1 and stream_arn = $2 and not stream_known";

const FORGET_OTHERS_SQL: &str = "
with others as (
    delete from tailwater.streams where pipeline = $1 and stream_arn <> $2 and table_name = $3 returning stream_arn)
delete from tailwater.shards where pipeline = $1 and stream_arn in (select stream_arn from others)";

pub(super) async fn stored_stream(session: &mut Session, lane: &LaneIdentity) -> Answer<Option<StoredStream>> {
    let (pipeline, stream) = (&lane.pipeline.name, &lane.pipeline.stream.stream_arn);
    let Some(row) = session.row(sqlx::query(STREAM_SQL).bind(pipeline).bind(stream)).await? else { return Ok(None) };
    let (is_stored, follows_another) = (row.try_get("stream_known")?, row.try_get("follows_another")?);
    Ok(Some(StoredStream {
        first_listing: moment(&row, "first_listed_ms")?.map(|at| FirstListing { at, is_stored, follows_another }),
        previous_stream: row.try_get("previous_stream")?,
        is_of_another_table: row.try_get("is_of_another_table")?,
    }))
}

pub(super) async fn add_stream(session: &mut Session, identity: &PipelineIdentity) -> Answer<()> {
    let stream = &identity.stream;
    let query = sqlx::query(ADD_STREAM_SQL)
        .bind(&identity.name)
        .bind(&stream.stream_arn)
        .bind(&stream.table)
        .bind(&stream.table_id);
    session.execute(query).await.map(drop)
}

pub(super) async fn store_first_listing(
    session: &mut Session,
    lane: &LaneIdentity,
    listing: FirstListing,
) -> Answer<()> {
    let query = sqlx::query(FIRST_LISTING_SQL)
        .bind(&lane.pipeline.name)
        .bind(&lane.pipeline.stream.stream_arn)
        .bind(stored(listing.at))
        .bind(listing.is_stored)
        .bind(listing.follows_another);
    session.execute(query).await.map(drop)
}

pub(super) async fn forget_other_streams(session: &mut Session, lane: &LaneIdentity) -> Answer<()> {
    let stream = &lane.pipeline.stream;
    let query = sqlx::query(FORGET_OTHERS_SQL).bind(&lane.pipeline.name).bind(&stream.stream_arn).bind(&stream.table);
    session.execute(query).await.map(drop)
}
