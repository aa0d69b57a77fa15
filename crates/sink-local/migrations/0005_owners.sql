-- Who owns a pipeline, and whether they live: whoever was replaced stands by until life does not change any more.
create table tailwater_owners (
    pipeline text not null primary key,
    -- The nonce that stands in the rows of its lanes.
    owner text not null,
    -- Rises as long as the owner lives.
    life integer not null,
    -- 1 once the owner has handed over.
    released integer not null
) strict, without rowid;
