alter table tailwater.streams add column follows_another boolean not null default false;
comment on column tailwater.streams.follows_another is 'Whether the pipeline read another stream of the table before this one. Everything in this one was promised then. False in rows of versions before this column.';
