//! Faults that do not pass: the pipeline stops and says what to do.

use tailwater_model::{Failure, Position, Sink, TroubleKind};

use crate::ground::{after, batch, group, id_key, in_database, put, settings};

#[tokio::test]
async fn what_was_taken_away_stops_the_lane_with_advice() {
    in_database(|database| async move {
        let (role, url) = database.role().await;
        database.lane(&database.settings(), &id_key()).await;
        let grant = format!(
            "grant usage on schema tailwater, public to {role}; grant select, insert, update, delete on all tables in schema tailwater, public to {role}"
        );
        let revoke = format!("revoke insert on orders from {role}");
        for (taken, given_back, code) in [
            (revoke.as_str(), grant.as_str(), "sink.postgres.denied"),
            ("alter table orders rename to elsewhere", "alter table elsewhere rename to orders", "sink.postgres.object_missing"),
            ("alter table orders rename _op to op", "alter table orders rename op to _op", "sink.postgres.object_missing"),
            ("alter table orders drop constraint orders_pkey", "alter table orders add primary key (\"Id\")", "sink.postgres.statement"),
        ] {
            database.run(&format!("{grant}; delete from tailwater.shards; delete from tailwater.targets")).await;
            let mut lane = database.ready_lane(&settings(&url), &id_key()).await;
            database.run(taken).await;
            let answer = lane.commit(group([batch(Position::Start, after(1), vec![put(1, "a", 1)])])).await;
            let Err(Failure::Halt(trouble)) = answer else { panic!("{taken}: {answer:?}") };
            assert_eq!((trouble.kind, trouble.code), (TroubleKind::Environment, code), "{trouble:?}");
            assert!(trouble.advice.is_some() && !format!("{trouble:?}").contains("hunter2"), "{trouble:?}");
            assert_eq!(database.text("select position from tailwater.shards").await, "start");
            database.run(given_back).await;
            assert_eq!(lane.open().await.expect("opens").shards[0].position, Position::Start);
            lane.commit(group([batch(Position::Start, after(1), vec![put(1, "a", 1)])])).await.expect("commits");
        }
    })
    .await;
}

#[tokio::test]
async fn a_password_that_was_changed_stops_the_lane() {
    in_database(|database| async move {
        let (role, url) = database.role().await;
        database
            .run(&format!(
                "grant create on database {} to {role}; grant create on schema public to {role}",
                database.name()
            ))
            .await;
        let mut lane = database.ready_lane(&settings(&url), &id_key()).await;
        database.run(&format!("alter role {role} password 'hunter3'")).await;
        let opened = lane.open().await;
        let Err(Failure::Halt(trouble)) = &opened else { panic!("{opened:?}") };
        assert_eq!(trouble.code, "sink.postgres.login");
        assert!(!format!("{trouble:?}").contains("hunter"));
    })
    .await;
}

#[tokio::test]
async fn a_position_that_nobody_wrote_is_not_guessed() {
    in_database(|database| async move {
        let mut lane = database.ready_lane(&database.settings(), &id_key()).await;
        database.run("update tailwater.shards set position = 'somewhere'").await;
        let opened = lane.open().await;
        let Err(Failure::Halt(trouble)) = &opened else { panic!("{opened:?}") };
        assert_eq!((trouble.kind, trouble.code), (TroubleKind::DataAtRisk, "sink.progress_unreadable"));
    })
    .await;
}
