-- Progress, gaps and dead letters. Times are RFC 3339 in UTC by this database's clock.

-- One row per lane. Whoever claims a pipeline writes its nonce into all of them; each opening raises the epoch.
create table tailwater_lanes (
    pipeline text not null,
    lane integer not null,
    epoch integer not null,
    owner text not null,
    claimed_at text not null,
    -- Only the file sink uses it: bytes of the data file that are durable.
    data_length_bytes integer,
    primary key (pipeline, lane)
) strict, without rowid;

create table tailwater_streams (
    pipeline text not null,
    stream_arn text not null,
    table_name text not null,
    table_id text not null,
    -- 1 once all shards of a first complete listing were stored. It never goes back to 0.
    stream_known integer not null default 0,
    last_contact text,
    claimed_at text not null,
    primary key (pipeline, stream_arn)
) strict, without rowid;

create table tailwater_shards (
    pipeline text not null,
    stream_arn text not null,
    shard text not null,
    parent text,
    lane integer not null,
    -- "start", "after:<sequence number>" or "end".
    position text not null,
    -- read = written + filtered + dead_lettered + suppressed
    read integer not null,
    written integer not null,
    filtered integer not null,
    dead_lettered integer not null,
    suppressed integer not null,
    updated_at text not null,
    primary key (pipeline, stream_arn, shard)
) strict, without rowid;

-- Records that were, or may have been, trimmed before they were read.
create table tailwater_gaps (
    pipeline text not null,
    stream_arn text not null,
    -- Empty when the whole stream is meant.
    shard text not null,
    cause text not null,
    after_position text not null,
    detail text not null,
    -- 1 when the pipeline stopped there.
    stopped integer not null,
    found_at text not null,
    primary key (pipeline, stream_arn, shard, cause, after_position)
) strict, without rowid;

-- Records that could not be carried, whole.
create table tailwater_dead_letters (
    id integer primary key,
    pipeline text not null,
    stream_arn text not null,
    shard text not null,
    sequence_number text not null,
    event_id text not null,
    code text not null,
    error text not null,
    record text not null,
    stored_at text not null
) strict;

create index tailwater_dead_letters_by_time on tailwater_dead_letters (pipeline, stored_at);
