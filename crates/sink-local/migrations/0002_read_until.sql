-- How far in time each shard was read, since when the stream is known, and between which moments a gap lies. Moments whose
-- names end in _ms are of DynamoDB's clock, in milliseconds since 1970.

-- Until when everything that was written to the shard was read. Null in rows that were written last before this column was
-- there: for them the stream's last_contact counts.
alter table tailwater_shards add column read_until_ms integer;

-- When the first complete listing began of which every shard was stored. Where only stream_known says that there was one,
-- last_contact counts, which is not written any more.
alter table tailwater_streams add column known_since_ms integer;

create table tailwater_gaps_bounded (
    pipeline text not null,
    stream_arn text not null,
    -- Empty when the whole stream is meant.
    shard text not null,
    cause text not null,
    after_position text not null,
    -- What was created before this moment was carried. Null when nobody knows.
    since_ms integer,
    -- What was created after this moment is not lost. Null in gaps that were found before this column was there.
    until_ms integer,
    detail text not null,
    -- 1 when the pipeline stopped there.
    stopped integer not null,
    found_at text not null
) strict;

insert into tailwater_gaps_bounded
    (pipeline, stream_arn, shard, cause, after_position, detail, stopped, found_at)
select pipeline, stream_arn, shard, cause, after_position, detail, stopped, found_at from tailwater_gaps
order by found_at;

drop table tailwater_gaps;
alter table tailwater_gaps_bounded rename to tailwater_gaps;

-- Null is a value here: a gap whose beginning nobody knows is found again, too.
create unique index tailwater_gaps_once
on tailwater_gaps (pipeline, stream_arn, shard, cause, after_position, coalesce(since_ms, ''));
