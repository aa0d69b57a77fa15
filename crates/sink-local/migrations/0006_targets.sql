-- What the progress of each pipeline was made for. A start that finds anything else is refused.
create table tailwater_targets (
    pipeline text not null primary key,
    -- The mirror table or the data file. Null while nothing is bound.
    target text,
    -- The DynamoDB table and its key.
    source text,
    -- Counts the bindings: of two pipelines the one with the greater number owns the table.
    number integer,
    -- Events that were accounted for as written then, in the shards that are stored: later ones must have left something.
    written integer,
    bound_at text,
    -- Left by a refused start: what the token for adopt is made of. Used up by it.
    salt text
) strict, without rowid;
