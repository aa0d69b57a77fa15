//! Progress and table belong together: each way on that a refusal names is followed to its end.

use tailwater_model::{Failure, Position, Sink, Trouble, TroubleKind};
use tailwater_sink_postgres::{PostgresLane, PostgresSettings, claim};

use crate::ground::{Database, after, batch, group, id_key, identity, in_database, put};

/// One change is carried.
async fn carried(database: &Database) -> PostgresLane {
    let mut lane = database.ready_lane(&database.settings(), &id_key()).await;
    lane.commit(group([batch(Position::Start, after(1), vec![put(1, "a", 7)])])).await.expect("commits");
    lane
}

async fn refused(settings: &PostgresSettings) -> Trouble {
    let trouble = claim(settings, &identity(1), &id_key()).await.map(drop).expect_err("it does not belong together");
    assert_eq!(trouble.kind, TroubleKind::DataAtRisk, "{trouble:?}");
    trouble
}

fn adopting(settings: &PostgresSettings, refusal: &Trouble) -> PostgresSettings {
    let advice = refusal.advice.as_deref().expect("both ways on");
    let token = advice.split("adopt = \"").nth(1).and_then(|rest| rest.split('"').next()).map(str::to_owned);
    PostgresSettings { adopt: Some(token.expect("a token")), ..settings.clone() }
}

/// The lane goes on behind the first change.
async fn goes_on(database: &Database, settings: &PostgresSettings) {
    let mut lane = database.lane(settings, &id_key()).await;
    assert_eq!(lane.open().await.expect("opens").shards[0].position, after(1));
    lane.commit(group([batch(after(1), after(2), vec![put(2, "b", 7)])])).await.expect("commits");
    assert_eq!(database.count("orders").await, "2");
}

/// As `pg_restore` leaves it: the rows are back, and the table has another oid.
#[tokio::test]
async fn a_table_that_was_restored_from_a_dump_is_adopted() {
    in_database(|database| async move {
        let settings = database.settings();
        drop(carried(&database).await);
        database.run("create table public.dump as table orders; drop table orders").await;
        let missing = refused(&settings).await;
        assert_eq!(missing.code, "sink.target_missing");
        database
            .run(
                "create table public.orders (\"Id\" text primary key, document jsonb, _op text, _seq numeric(40,0), \
                 _event_id text, _source_ts timestamptz, _synced_at timestamptz, _deleted boolean); \
                 insert into orders select * from dump; drop table dump",
            )
            .await;
        let settings = adopting(&settings, &missing);
        let replaced = refused(&settings).await;
        assert_eq!(replaced.code, "sink.target_replaced");
        assert!(replaced.advice.as_deref().is_some_and(|advice| advice.contains("a dump is another table")));
        goes_on(&database, &adopting(&settings, &replaced)).await;
    })
    .await;
}

/// The refused start has made the schema anew, for its salt.
#[tokio::test]
async fn a_schema_that_was_restored_from_a_dump_goes_on() {
    in_database(|database| async move {
        let settings = database.settings();
        drop(carried(&database).await);
        database.run("alter schema tailwater rename to dump").await;
        let refusal = refused(&settings).await;
        assert_eq!(refusal.code, "sink.target_without_progress");
        let first = "drop schema tailwater cascade";
        assert!(refusal.advice.as_deref().is_some_and(|advice| advice.contains(first)), "{refusal:?}");
        database.run(&format!("{first}; alter schema dump rename to tailwater")).await;
        goes_on(&database, &settings).await;
    })
    .await;
}

/// A token of before does nothing once the table was lost later.
#[tokio::test]
async fn a_token_that_was_not_needed_is_not_good_later() {
    in_database(|database| async move {
        let settings = database.settings();
        drop(carried(&database).await);
        database.run("alter table orders rename to kept").await;
        let adopting = adopting(&settings, &refused(&settings).await);
        database.run("alter table kept rename to orders").await;
        drop(database.lane(&adopting, &id_key()).await);
        database.run("drop table orders").await;
        assert_eq!(refused(&adopting).await.code, "sink.target_missing");
    })
    .await;
}

/// Blue and green, with no moment in between at which no table was there.
#[tokio::test]
async fn a_table_that_takes_the_place_of_the_mirror_is_not_written_to() {
    in_database(|database| async move {
        let settings = database.settings();
        let mut lane = carried(&database).await;
        database
            .run(
                "begin; alter table orders rename to blue; create table public.orders (like blue including all); \
                 insert into orders select * from blue; commit",
            )
            .await;
        let second = || group([batch(after(1), after(2), vec![put(2, "b", 7)])]);
        let Err(Failure::Reopen(trouble)) = lane.commit(second()).await else { panic!("it was written to") };
        assert_eq!(trouble.code, "sink.postgres.table_replaced");
        let Err(Failure::Halt(trouble)) = lane.open().await else { panic!("it opened") };
        assert_eq!((trouble.kind, trouble.code), (TroubleKind::DataAtRisk, "sink.target_replaced"));
        assert_eq!((database.count("orders").await, database.count("blue").await), ("1".into(), "1".into()));
        // The old one again: nothing was lost.
        database.run("drop table orders; alter table blue rename to orders").await;
        assert_eq!(lane.open().await.expect("opens").shards[0].position, after(1));
        lane.commit(second()).await.expect("commits");
        drop(lane);
        drop(database.lane(&settings, &id_key()).await);
    })
    .await;
}

/// A crash would empty it.
#[tokio::test]
async fn a_table_that_becomes_unlogged_is_told_when_the_lane_opens_again() {
    in_database(|database| async move {
        let mut lane = carried(&database).await;
        database.run("alter table orders set unlogged").await;
        let Err(Failure::Halt(trouble)) = lane.open().await else { panic!("it opened") };
        assert_eq!((trouble.kind, trouble.code), (TroubleKind::Environment, "sink.table_shape"));
        database.run("alter table orders set logged").await;
        lane.open().await.expect("opens");
    })
    .await;
}

/// Whoever makes it again is told from whoever has taken it away for a moment.
#[tokio::test]
async fn a_table_that_is_missing_for_a_moment_is_borne() {
    in_database(|database| async move {
        let mut lane = carried(&database).await;
        database.run("alter table orders rename to elsewhere").await;
        let Err(Failure::Halt(trouble)) = lane.open().await else { panic!("it opened") };
        assert_eq!((trouble.kind, trouble.code), (TroubleKind::Environment, "sink.postgres.object_missing"));
        database.run("alter table elsewhere rename to orders").await;
        assert_eq!(lane.open().await.expect("opens").shards[0].position, after(1));
    })
    .await;
}
