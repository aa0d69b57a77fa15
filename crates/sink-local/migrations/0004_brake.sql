-- The dead_letters_per_minute_max that the lane's dead letters would have exceeded. While it is there, the pipeline starts only
-- with a greater number, which lifts it.
alter table tailwater_lanes add column brake integer;
-- When that was.
alter table tailwater_lanes add column braked_at text;
