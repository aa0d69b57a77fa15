//! Two owners, lost commits, and commits of unknown fate.

use std::time::Duration;

use tailwater_model::{Committed, Failure, Ownership, Position, Sink, TroubleKind};
use tailwater_sink_postgres::{check_claim, claim};
use tokio::time::timeout;

use crate::ground::{after, batch, group, id_key, identity, in_database, put};

/// A trigger that holds the commit for a while: the statements are done, the outcome is open.
const SLOW_COMMIT: &str = "
create function slow() returns trigger language plpgsql as $$ begin perform pg_sleep(1.5); return null; end $$;
create constraint trigger slow after insert on orders deferrable initially deferred
for each row execute function slow()";

#[tokio::test]
async fn an_empty_group_tells_whether_the_lane_is_still_ours() {
    in_database(|database| async move {
        let mut first = database.ready_lane(&database.settings(), &id_key()).await;
        assert_eq!(first.commit(group([])).await.expect("ours"), Committed::default());
        let _second = database.lane(&database.settings(), &id_key()).await;
        let answer = first.commit(group([])).await;
        assert!(matches!(answer, Err(Failure::Halt(trouble)) if trouble.code == "sink.taken_over"));
    })
    .await;
}

#[tokio::test]
async fn the_newest_claim_wins_and_the_other_stops() {
    in_database(|database| async move {
        let mut first = database.ready_lane(&database.settings(), &id_key()).await;
        let mut second = database.lane(&database.settings(), &id_key()).await;
        assert_eq!(second.open().await.expect("opens").shards[0].position, Position::Start);
        let answer = first.commit(group([batch(Position::Start, after(1), vec![put(1, "a", 1)])])).await;
        let Err(Failure::Halt(trouble)) = answer else { panic!("{answer:?}") };
        assert_eq!(trouble.code, "sink.taken_over");
        assert_eq!(database.count("orders").await, "0");
        assert_eq!(database.text("select position from tailwater.shards").await, "start");
        let answer = first.open().await;
        assert!(matches!(answer, Err(Failure::Halt(trouble)) if trouble.code == "sink.taken_over"));
        second.commit(group([batch(Position::Start, after(1), vec![put(1, "a", 1)])])).await.expect("goes on");
        assert_eq!(database.count("orders").await, "1");
    })
    .await;
}

/// A fail-over to a standby that had not heard of the last claim: nobody took anything over.
#[tokio::test]
async fn a_claim_that_was_lost_is_told_from_a_take_over() {
    in_database(|database| async move {
        let settings = database.settings();
        drop(claim(&settings, &identity(1), &id_key()).await.expect("claims"));
        database
            .run(
                "create table public.earlier as
                 select owner, epoch, claim from tailwater.lanes join tailwater.owners using (pipeline, owner)",
            )
            .await;
        let mut claimed = claim(&settings, &identity(1), &id_key()).await.expect("claims");
        let lane = &mut claimed.lanes[0];
        lane.open().await.expect("opens");
        claimed.ownership.show_life().await.expect("it is the owner");
        database
            .run(
                "update tailwater.lanes set owner = earlier.owner, epoch = earlier.epoch from public.earlier;
                 update tailwater.owners set owner = earlier.owner, claim = earlier.claim from public.earlier",
            )
            .await;
        let lost = (TroubleKind::ClaimLost, "sink.claim_lost");
        let trouble = claimed.ownership.show_life().await.expect_err("it is not known any more");
        assert_eq!((trouble.kind, trouble.code), lost);
        for answer in [lane.commit(group([])).await.map(drop), lane.open().await.map(drop)] {
            let Err(Failure::Halt(trouble)) = answer else { panic!("{answer:?}") };
            assert_eq!((trouble.kind, trouble.code), lost);
        }
        let mut again = claim(&settings, &identity(1), &id_key()).await.expect("claims");
        again.lanes[0].open().await.expect("opens");
        // To the one who claimed again, who is as new as we were, we are another.
        let trouble = claimed.ownership.show_life().await.expect_err("another owner");
        assert_eq!((trouble.kind, trouble.code), (TroubleKind::Replaced, "sink.taken_over"));
    })
    .await;
}

#[tokio::test]
async fn looking_whether_a_claim_could_be_made_takes_nothing() {
    in_database(|database| async move {
        let settings = database.settings();
        check_claim(&settings, &identity(1), &id_key()).await.expect("it could be made");
        assert_eq!(database.text("select count(*)::text from pg_namespace where nspname = 'tailwater'").await, "0");
        let mut lane = database.ready_lane(&settings, &id_key()).await;
        check_claim(&settings, &identity(1), &id_key()).await.expect("it could be made");
        lane.commit(group([batch(Position::Start, after(1), vec![put(1, "a", 1)])])).await.expect("still ours");
        let trouble = check_claim(&settings, &identity(2), &id_key()).await.expect_err("other lanes");
        assert_eq!(trouble.code, "sink.lane_count");
        lane.commit(group([])).await.expect("still ours");
    })
    .await;
}

#[tokio::test]
async fn a_commit_that_was_lost_is_noticed() {
    in_database(|database| async move {
        let mut lane = database.ready_lane(&database.settings(), &id_key()).await;
        lane.commit(group([batch(Position::Start, after(1), vec![put(1, "a", 1)])])).await.expect("commits");
        // What a fail-over to a replica that lagged behind does.
        let lost = "update tailwater.shards set position = 'start'; delete from orders; \
                    update tailwater.targets set written = false";
        database.run(lost).await;
        let answer = lane.commit(group([batch(after(1), after(2), vec![put(2, "b", 2)])])).await;
        assert!(matches!(&answer, Err(Failure::Reopen(trouble)) if trouble.code == "sink.step_refused"), "{answer:?}");
        assert_eq!(database.count("orders").await, "0");
        assert_eq!(lane.open().await.expect("opens").shards[0].position, Position::Start);
        let events = vec![put(1, "a", 1), put(2, "b", 2)];
        lane.commit(group([batch(Position::Start, after(2), events)])).await.expect("commits");
        assert_eq!(database.count("orders").await, "2");

        // And when the lanes themselves are gone, nobody goes on.
        database.run("delete from tailwater.lanes").await;
        let answer = lane.commit(group([batch(after(2), after(3), vec![put(3, "c", 3)])])).await;
        assert!(
            matches!(&answer, Err(Failure::Halt(trouble)) if trouble.code == "sink.progress_missing"),
            "{answer:?}"
        );
        assert_eq!(database.count("orders").await, "2");
    })
    .await;
}

#[tokio::test]
async fn opening_waits_for_a_commit_that_is_still_in_flight() {
    in_database(|database| async move {
        let mut lane = database.ready_lane(&database.settings(), &id_key()).await;
        database.run(SLOW_COMMIT).await;
        let commit = lane.commit(group([batch(Position::Start, after(1), vec![put(1, "a", 1)])]));
        assert!(timeout(Duration::from_millis(700), commit).await.is_err(), "the commit is held");
        // The answer was never read, and still it is known: the commit landed.
        assert_eq!(database.text("select position from tailwater.shards").await, "start", "still in flight");
        assert_eq!(lane.open().await.expect("opens").shards[0].position, after(1));
        assert_eq!(database.count("orders").await, "1");
    })
    .await;
}

#[tokio::test]
async fn claiming_waits_for_a_commit_that_is_still_in_flight() {
    in_database(|database| async move {
        let mut first = database.ready_lane(&database.settings(), &id_key()).await;
        database.run(SLOW_COMMIT).await;
        let commit =
            tokio::spawn(
                async move { first.commit(group([batch(Position::Start, after(1), vec![put(1, "a", 1)])])).await },
            );
        tokio::time::sleep(Duration::from_millis(700)).await;
        let mut second = database.lane(&database.settings(), &id_key()).await;
        assert_eq!(second.open().await.expect("opens").shards[0].position, after(1));
        assert!(commit.await.expect("no panic").is_ok());
    })
    .await;
}

#[tokio::test]
async fn a_commit_that_is_dropped_closes_the_lane() {
    in_database(|database| async move {
        let mut lane = database.ready_lane(&database.settings(), &id_key()).await;
        let mut holder = database.connect().await;
        sqlx::raw_sql("begin; lock table orders in access exclusive mode").execute(&mut holder).await.expect("locks");
        let commit = lane.commit(group([batch(Position::Start, after(1), vec![put(1, "a", 1)])]));
        assert!(timeout(Duration::from_millis(300), commit).await.is_err());
        let answer = lane.commit(group([batch(Position::Start, after(1), vec![put(1, "a", 1)])])).await;
        assert!(matches!(&answer, Err(Failure::Reopen(trouble)) if trouble.code == "sink.not_open"), "{answer:?}");
        sqlx::raw_sql("rollback").execute(&mut holder).await.expect("releases");
        // Whatever the server did with it, opening tells.
        let position = lane.open().await.expect("opens").shards[0].position.clone();
        assert_eq!(position, Position::Start, "it was cut before its COMMIT was sent");
        assert_eq!(database.count("orders").await, "0");
        lane.commit(group([batch(Position::Start, after(1), vec![put(1, "a", 1)])])).await.expect("commits");
    })
    .await;
}

#[tokio::test]
async fn a_lane_has_to_be_opened_first() {
    in_database(|database| async move {
        let mut lane = database.lane(&database.settings(), &id_key()).await;
        let answer = lane.commit(group([batch(Position::Start, after(1), Vec::new())])).await;
        assert!(matches!(&answer, Err(Failure::Reopen(trouble)) if trouble.code == "sink.not_open"), "{answer:?}");
    })
    .await;
}
