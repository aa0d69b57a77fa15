alter table tailwater.shards add column read_until timestamptz;
comment on column tailwater.shards.read_until is 'Everything that was written to the shard until this moment, by DynamoDB''s clock, is carried. Null in rows that were last written by a version before this column: there the last_contact_at of the stream counts.';

alter table tailwater.streams add column known_since timestamptz;
comment on column tailwater.streams.known_since is 'When, by DynamoDB''s clock, the first complete listing began of which every shard was stored: from then on a shard with an unknown parent is a gap.';
comment on column tailwater.streams.stream_known is 'Whether there was such a listing. Where known_since is null, last_contact_at counts.';
comment on column tailwater.streams.last_contact_at is 'Written by versions before known_since only.';

alter table tailwater.gaps add column since timestamptz, add column until timestamptz;
comment on column tailwater.gaps.since is 'Everything that was created before this moment, by DynamoDB''s clock, was carried. Null when nobody knows.';
comment on column tailwater.gaps.until is 'When, by DynamoDB''s clock, the gap was found: what was created later is not lost. Null in gaps that were found before this column was there.';
drop index tailwater.gaps_once;
create unique index gaps_once
on tailwater.gaps (pipeline, stream_arn, coalesce(shard, ''), cause, after, coalesce(since, '-infinity'));
