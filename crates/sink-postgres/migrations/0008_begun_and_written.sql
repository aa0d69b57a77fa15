alter table tailwater.targets add column begun boolean not null default false,
    add column written boolean not null default false;
insert into tailwater.targets (pipeline) select distinct pipeline from tailwater.lanes on conflict do nothing;
update tailwater.targets set begun = stored.begun, written = stored.written
from (select pipeline, true as begun, pg_catalog.bool_or(shards.written > 0) as written from tailwater.shards group by pipeline) as stored
where targets.pipeline = stored.pipeline;
comment on column tailwater.targets.begun is 'A shard was stored since the binding. From then on there is one at the least, or the progress was lost.';
comment on column tailwater.targets.written is 'Something was written since the binding, or was there then. Never taken back, whatever is forgotten of shards.';
