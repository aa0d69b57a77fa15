alter table tailwater_targets drop column written;
-- 1 once a shard was stored since the binding. From then on there is one at the least, or the progress was lost.
alter table tailwater_targets add column begun integer not null default 0;
-- 1 once something was written since the binding; or it was there then. Never taken back, whatever is forgotten of shards.
alter table tailwater_targets add column written integer not null default 0;
-- The trigger that marks the mirror table: one that was made again has none.
alter table tailwater_targets add column mark text;
insert or ignore into tailwater_targets (pipeline) select pipeline from tailwater_lanes;
update tailwater_targets set
    begun = exists (select 1 from tailwater_shards as shard where shard.pipeline = tailwater_targets.pipeline),
    written = exists (
        select 1 from tailwater_shards as shard where shard.pipeline = tailwater_targets.pipeline and shard.written > 0);
-- Only the file sink uses it: how far the commit that is under way may have written. What is behind that is nobody's.
alter table tailwater_lanes add column data_length_bytes_max integer;
