//! Schemas that an older Tailwater made are read, and brought to this version by a claim.

use std::time::Duration;

use tailwater_model::{Gap, GapCause, Position, ServiceTime, ShardId, Sink};
use tailwater_sink_postgres::{checkpoints, claim};

use crate::ground::{Database, SHARD, STREAM, after, batch, group, id_key, identity, in_database, put, settings};

const FIRST_SCHEMA: &str = include_str!("../../migrations/0001_progress.sql");
const CONTACT: &str = "'2023-11-14 22:13:20.456+00'";

/// Progress of two streams as versions before 0002_read_until left it: the table's earlier stream was read, too. The
/// mirror table is the same in both.
async fn write_progress(database: &Database, stream_known: bool, last_contact: &str) {
    drop(database.lane(&database.settings(), &id_key()).await);
    let earlier = STREAM.replace("2026", "2025");
    let sql = format!(
        "drop table tailwater.lanes, tailwater.streams, tailwater.shards, tailwater.gaps, tailwater.dead_letters, tailwater.owners, tailwater.targets;
         delete from tailwater.migrations;
         {FIRST_SCHEMA}
         insert into tailwater.migrations (version) values (1);
         insert into tailwater.lanes (pipeline, lane, epoch, owner)
         values ('orders to postgres', 0, 7, gen_random_uuid());
         insert into tailwater.streams (pipeline, stream_arn, table_name, table_id, last_contact_at, stream_known)
         values ('orders to postgres', '{earlier}', 'Orders', 'id-1', timestamptz {CONTACT} - interval '1 hour', true),
             ('orders to postgres', '{STREAM}', 'Orders', 'id-1', {last_contact}, {stream_known});
         insert into tailwater.shards (pipeline, stream_arn, shard, lane, position)
         values ('orders to postgres', '{earlier}', 'shardId-0', 0, 'start'),
             ('orders to postgres', '{STREAM}', '{SHARD}', 0, '{}');
         insert into tailwater.gaps (pipeline, stream_arn, shard, cause, after, detail, stopped)
         values ('orders to postgres', '{STREAM}', '{SHARD}', 'trimmed', 'start', 'it was trimmed', false);",
        after(2)
    );
    database.run(&sql).await;
}

#[tokio::test]
async fn progress_without_moments_takes_those_of_the_last_contact() {
    let contact = ServiceTime::from_ms(1_700_000_000_456);
    for (stream_known, last_contact, known_since, read_until) in [
        (true, CONTACT, Some(contact), Some(contact)),
        (false, CONTACT, None, Some(contact)),
        (true, "null", Some(ServiceTime::EPOCH), None),
        (false, "null", None, None),
    ] {
        in_database(async move |database| {
            write_progress(&database, stream_known, last_contact).await;
            let settings = database.settings();
            let shown =
                checkpoints(&settings, "orders to postgres").await.expect("before it is claimed").expect("runs");
            assert_eq!((shown.shards.len(), shown.gaps), (2, 1));
            assert_eq!(shown.shards[1].read_until, read_until);

            let mut lane = database.lane(&settings, &id_key()).await;
            let progress = lane.open().await.expect("opens");
            let shard = &progress.shards[0];
            assert_eq!((progress.shards.len(), shard.position.clone(), shard.read_until), (1, after(2), read_until));
            assert_eq!(progress.known_since(), known_since);
            let previous = progress.previous_stream.expect("the other stream");
            assert_eq!(previous.stream_arn, STREAM.replace("2026", "2025"));
            assert_eq!(previous.read_until, Some(contact.minus(Duration::from_secs(3600))));

            // From here on it is as any other progress.
            let next = contact.plus(Duration::from_secs(1));
            let mut step = batch(after(2), after(3), vec![put(3, "a", 3)]);
            step.read_until = Some(next);
            lane.commit(group([step])).await.expect("commits");
            assert_eq!(lane.open().await.expect("opens").shards[0].read_until, Some(next));
            let shown = checkpoints(&settings, "orders to postgres").await.expect("lists").expect("runs");
            assert_eq!(shown.shards[1].read_until, Some(next));
        })
        .await;
    }
}

/// From shards that are forgotten later.
#[tokio::test]
async fn what_was_written_before_is_taken_from_the_shards() {
    in_database(|database| async move {
        write_progress(&database, true, "null").await;
        let carried =
            "update tailwater.shards set written = 2; insert into orders (\"Id\", document) values ('a', '{}')";
        database.run(carried).await;
        drop(database.lane(&database.settings(), &id_key()).await);
        database.run("update tailwater.shards set written = 0; drop table orders").await;
        let refusal =
            claim(&database.settings(), &identity(1), &id_key()).await.map(drop).expect_err("it was written to");
        assert_eq!(refusal.code, "sink.target_missing");
    })
    .await;
}

#[tokio::test]
async fn a_gap_without_bounds_is_the_one_that_nobody_knows_the_beginning_of() {
    in_database(|database| async move {
        write_progress(&database, true, "null").await;
        let mut lane = database.lane(&database.settings(), &id_key()).await;
        lane.open().await.expect("opens");
        for (since, gaps) in [(None, "1"), (Some(ServiceTime::EPOCH), "2"), (Some(ServiceTime::EPOCH), "2")] {
            let mut step = batch(after(2), after(2), Vec::new());
            step.gap = Some(Gap {
                shard: Some(ShardId::new(SHARD)),
                cause: GapCause::Trimmed,
                after: Position::Start,
                since,
                until: ServiceTime::from_ms(5),
                detail: "found again".into(),
                stop: false,
            });
            lane.commit(group([step])).await.expect("commits");
            assert_eq!(database.count("tailwater.gaps").await, gaps, "{since:?}");
        }
    })
    .await;
}

/// An update needs no administrator for its new table.
#[tokio::test]
async fn whoever_may_write_the_lanes_may_write_their_owner() {
    in_database(|database| async move {
        drop(database.lane(&database.settings(), &id_key()).await);
        let (role, url) = database.role().await;
        // As version 4 left it.
        database
            .run(&format!(
                "drop table tailwater.owners, tailwater.targets; alter table tailwater.streams drop column follows_another;
                 delete from tailwater.migrations where version >= 5;
                 grant usage on schema tailwater, public to {role};
                 grant select, insert, update, delete on all tables in schema tailwater, public to {role};"
            ))
            .await;
        drop(database.lane(&database.settings(), &id_key()).await);
        let mut lane = database.lane(&settings(&url), &id_key()).await;
        lane.open().await.expect("opens");
        assert_eq!(database.text("select claim::text from tailwater.owners").await, "2");
    })
    .await;
}
