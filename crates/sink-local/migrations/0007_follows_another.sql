-- Whether the pipeline read another stream of the table before this one: everything in this one was promised then. 0 in rows of versions
-- before this column.
alter table tailwater_streams add column follows_another integer not null default 0;
