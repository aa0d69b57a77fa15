create table tailwater.lanes (
    pipeline text not null,
    lane integer not null check (lane >= 0),
    epoch bigint not null,
    owner uuid not null,
    claimed_at timestamptz not null default now(),
    opened_at timestamptz,
    committed_at timestamptz,
    primary key (pipeline, lane)
);
comment on table tailwater.lanes is 'The lanes of each pipeline. Every transaction of a lane first updates its row under its epoch and owner: this fences processes that were replaced.';
comment on column tailwater.lanes.epoch is 'Rises with every session of the lane.';
comment on column tailwater.lanes.owner is 'Random mark of the process that claimed the pipeline last.';
comment on column tailwater.lanes.claimed_at is 'When a process last claimed the pipeline.';
comment on column tailwater.lanes.opened_at is 'When the lane''s session last began.';
comment on column tailwater.lanes.committed_at is 'When the lane last committed a group.';

create table tailwater.streams (
    pipeline text not null,
    stream_arn text not null,
    table_name text not null,
    table_id text not null,
    first_seen_at timestamptz not null default now(),
    last_contact_at timestamptz,
    stream_known boolean not null default false,
    primary key (pipeline, stream_arn)
);
comment on table tailwater.streams is 'The DynamoDB streams that each pipeline has read.';
comment on column tailwater.streams.last_contact_at is 'When the stream was last reached and listed completely.';
comment on column tailwater.streams.stream_known is 'All shards of a first complete listing are stored: from then on a shard with an unknown parent is a gap.';

create table tailwater.shards (
    pipeline text not null,
    stream_arn text not null,
    shard text not null,
    parent text,
    lane integer not null,
    position text not null,
    read bigint not null default 0,
    written bigint not null default 0,
    filtered bigint not null default 0,
    dead_lettered bigint not null default 0,
    suppressed bigint not null default 0,
    registered_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    primary key (pipeline, stream_arn, shard)
);
comment on table tailwater.shards is 'How far each shard was carried. Written only in the transaction that writes the rows it stands for.';
comment on column tailwater.shards.position is '"start", "after:<sequence number>" or "end" (drained).';
comment on column tailwater.shards.read is 'Records read: always written + filtered + dead_lettered + suppressed.';
comment on column tailwater.shards.written is 'Events that are in the table, or were overtaken within their transaction by a later event of the same item.';
comment on column tailwater.shards.filtered is 'Events that a rule of the pipeline dropped.';
comment on column tailwater.shards.dead_lettered is 'Records kept in tailwater.dead_letters.';
comment on column tailwater.shards.suppressed is 'Records older than the place where the pipeline was told to start.';

create table tailwater.gaps (
    id bigint generated always as identity primary key,
    pipeline text not null,
    stream_arn text not null,
    shard text,
    cause text not null,
    after text not null,
    detail text not null,
    stopped boolean not null,
    found_at timestamptz not null default now()
);
create unique index gaps_once on tailwater.gaps (pipeline, stream_arn, coalesce(shard, ''), cause, after);
comment on table tailwater.gaps is 'Places where records were, or may have been, lost before they could be read.';
comment on column tailwater.gaps.shard is 'Null when the whole stream is meant.';
comment on column tailwater.gaps.after is 'The last position known to be complete: the loss begins after it.';
comment on column tailwater.gaps.stopped is 'Whether the pipeline stopped here when the gap was found.';

create table tailwater.dead_letters (
    id bigint generated always as identity primary key,
    pipeline text not null,
    stream_arn text not null,
    shard text not null,
    sequence_number text not null,
    event_id text not null,
    code text not null,
    error text not null,
    record text not null,
    stored_at timestamptz not null default now()
);
create index dead_letters_by_pipeline on tailwater.dead_letters (pipeline, stored_at);
comment on table tailwater.dead_letters is 'Records that could not be carried, whole.';
comment on column tailwater.dead_letters.code is 'Stable dotted code of the reason.';
comment on column tailwater.dead_letters.record is 'The record as one line of JSON with both images. Text and not jsonb, because it may hold an escaped U+0000.';
