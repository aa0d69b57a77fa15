create table tailwater.owners (
    pipeline text primary key,
    owner uuid not null,
    claim bigint not null,
    life bigint not null,
    released boolean not null default false,
    claimed_at timestamptz not null default now(),
    shown_at timestamptz not null default now()
);
-- Whoever may write the lanes may write their owner, so that an update needs no administrator.
do $$
declare
    given record;
begin
    for given in
        select grantee, privilege_type from pg_catalog.pg_class, pg_catalog.aclexplode(relacl)
        where oid = 'tailwater.lanes'::pg_catalog.regclass and grantee <> relowner
    loop
        execute pg_catalog.format('grant %s on tailwater.owners to %s', given.privilege_type,
            case given.grantee when 0 then 'public' else given.grantee::pg_catalog.regrole::text end);
    end loop;
end $$;
comment on table tailwater.owners is 'Which process owns each pipeline, and whether it lives. What it may write is decided by tailwater.lanes alone.';
comment on column tailwater.owners.owner is 'The mark that stands in the rows of its lanes.';
comment on column tailwater.owners.claim is 'Counts the take-overs. A smaller number than one''s own is that of an owner from before, which a fail-over brought back.';
comment on column tailwater.owners.life is 'Rises as long as the owner lives. Whoever was replaced stands by until it does not.';
comment on column tailwater.owners.released is 'The owner has handed over: whoever stands by takes the pipeline at once.';
comment on column tailwater.owners.shown_at is 'When the owner last showed life, for people: nobody judges by it.';
