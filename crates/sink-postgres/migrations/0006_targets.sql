create table tailwater.targets (
    pipeline text primary key,
    target text,
    target_oid bigint,
    source text,
    number bigint,
    bound_at timestamptz,
    salt text
);
-- Whoever may write the lanes may write what they are bound to, so that an update needs no administrator.
do $$
declare
    given record;
begin
    for given in
        select grantee, privilege_type from pg_catalog.pg_class, pg_catalog.aclexplode(relacl)
        where oid = 'tailwater.lanes'::pg_catalog.regclass and grantee <> relowner
    loop
        execute pg_catalog.format('grant %s on tailwater.targets to %s', given.privilege_type,
            case given.grantee when 0 then 'public' else given.grantee::pg_catalog.regrole::text end);
    end loop;
end $$;
comment on table tailwater.targets is 'What the progress of each pipeline was made for. A start that finds anything else is refused.';
comment on column tailwater.targets.target is 'The mirror table, as it is named in SQL. Null while nothing is bound.';
comment on column tailwater.targets.target_oid is 'Its oid: a table that was made again has another one.';
comment on column tailwater.targets.source is 'The DynamoDB table and its key.';
comment on column tailwater.targets.number is 'Counts the bindings: of two pipelines the one with the greater number owns the table.';
comment on column tailwater.targets.salt is 'Left by a refused start: what the token for adopt is made of. Used up by it.';
