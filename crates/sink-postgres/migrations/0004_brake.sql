alter table tailwater.lanes add column brake bigint, add column braked_at timestamptz;
comment on column tailwater.lanes.brake is 'The dead_letters_per_minute_max that the lane''s dead letters would have exceeded. While it is there, the pipeline starts only with a greater number, which lifts it.';
comment on column tailwater.lanes.braked_at is 'When that was.';
