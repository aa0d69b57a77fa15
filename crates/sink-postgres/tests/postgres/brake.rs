//! The brake on dead letters: the store counts them, looks before it takes any, and only a person lifts it.

use tailwater_model::{Committed, Failure, Group, Position, Sink, Trouble, TroubleKind};
use tailwater_sink_postgres::{PostgresLane, PostgresSettings, claim};

use crate::ground::{Database, OnShard, after, batch, group, id_key, identity, in_database, put, registration};

fn allowing(database: &Database, dead_letters_per_minute_max: u32) -> PostgresSettings {
    PostgresSettings { dead_letters_per_minute_max, ..database.settings() }
}

/// Events from `first` on, of which this many cannot be stored; the last one can.
fn bad(first: u64, count: u64) -> Group {
    let from = if first == 1 { Position::Start } else { after(first - 1) };
    let mut events: Vec<_> = (first..first + count).map(|n| put(n, &format!("{n}\0"), n)).collect();
    events.push(put(first + count, &format!("good {}", first + count), 1));
    group([batch(from, after(first + count), events)])
}

fn braked(answer: Result<Committed, Failure>) -> Trouble {
    match answer {
        Err(Failure::Halt(trouble)) => {
            assert_eq!((trouble.kind, trouble.code), (TroubleKind::Config, "sink.dead_letter_rate"), "{trouble:?}");
            assert!(trouble.advice.is_some(), "{trouble:?}");
            trouble
        }
        other => panic!("not halted: {other:?}"),
    }
}

async fn refused_claim(database: &Database, limit: u32) {
    let trouble = claim(&allowing(database, limit), &identity(1), &id_key()).await.expect_err("the brake holds");
    braked(Err(Failure::Halt(trouble)));
}

async fn opened(database: &Database, limit: u32) -> PostgresLane {
    let mut lane = database.lane(&allowing(database, limit), &id_key()).await;
    lane.open().await.expect("opens");
    lane
}

#[tokio::test]
async fn too_many_dead_letters_are_not_stored_and_stop_the_pipeline() {
    in_database(|database| async move {
        let mut lane = database.ready_lane(&allowing(&database, 3), &id_key()).await;
        assert_eq!(lane.commit(bad(1, 2)).await.expect("two").dead_lettered, 2);
        assert_eq!(lane.commit(bad(4, 1)).await.expect("three").dead_lettered, 1);
        let trouble = braked(lane.commit(bad(6, 1)).await);
        assert!(trouble.message.contains("sink.postgres.nul"), "what would be stored is not there: {trouble:?}");
        assert_eq!(database.count("tailwater.dead_letters").await, "3");
        assert_eq!(database.texts("select \"Id\" from orders order by 1").await, ["good 3", "good 5"]);
        assert_eq!(database.text("select position from tailwater.shards").await, after(5).to_string());
    })
    .await;
}

#[tokio::test]
async fn one_group_can_be_too_much() {
    in_database(|database| async move {
        let mut lane = database.ready_lane(&allowing(&database, 10), &id_key()).await;
        let trouble = braked(lane.commit(bad(1, 11)).await);
        assert_eq!(database.count("tailwater.dead_letters").await, "0");
        assert!(trouble.advice.expect("advice").contains("11"), "so many would have to be allowed");
        let mut lane = opened(&database, 11).await;
        assert_eq!(lane.commit(bad(1, 11)).await.expect("commits").dead_lettered, 11);
    })
    .await;
}

#[tokio::test]
async fn a_start_does_not_lift_the_brake_and_a_greater_number_does() {
    in_database(|database| async move {
        let mut lane = database.ready_lane(&allowing(&database, 2), &id_key()).await;
        braked(lane.commit(bad(1, 3)).await);
        drop(lane);
        let owner = database.text("select owner::text || epoch from tailwater.lanes").await;
        for limit in [2, 0, 1, 2] {
            refused_claim(&database, limit).await;
        }
        assert_eq!(database.text("select owner::text || epoch from tailwater.lanes").await, owner, "nothing was taken");
        let mut lane = opened(&database, 3).await;
        assert_eq!(lane.commit(bad(1, 3)).await.expect("commits").dead_lettered, 3);
        drop(lane);
        // It is lifted for good, and what was stored counts on.
        let mut lane = opened(&database, 2).await;
        lane.commit(group([batch(after(4), after(5), vec![put(5, "e", 5)])])).await.expect("good ones");
        braked(lane.commit(bad(6, 1)).await);
        refused_claim(&database, 2).await;
        drop(opened(&database, 3).await);
    })
    .await;
}

/// Any number that a minute can bring: the file takes greater ones.
#[tokio::test]
async fn a_brake_of_any_number_is_lifted_by_the_next_greater_one() {
    in_database(|database| async move {
        drop(database.ready_lane(&allowing(&database, 2), &id_key()).await);
        for brake in [0, 100, 1_000_000, 999_999_999] {
            database.run(&format!("update tailwater.lanes set brake = {brake}, braked_at = now()")).await;
            refused_claim(&database, brake).await;
            let mut lane = opened(&database, brake + 1).await;
            lane.commit(Group::default()).await.expect("goes on");
        }
    })
    .await;
}

/// The advice is followed: the number that it names lets the refused commit through, as it says, and it counts what comes then.
#[tokio::test]
async fn the_advised_number_lets_the_refused_commit_through() {
    in_database(|database| async move {
        let mut lane = database.ready_lane(&allowing(&database, 0), &id_key()).await;
        let advice = braked(lane.commit(bad(1, 1)).await).advice.expect("advice");
        assert!(
            advice.contains("1 lets this commit through, and what comes within the same minute counts"),
            "{advice}"
        );
        let mut lane = opened(&database, 1).await;
        lane.commit(bad(1, 1)).await.expect("commits");
        let advice = braked(lane.commit(bad(3, 2)).await).advice.expect("advice");
        assert!(advice.contains("3 lets this commit through"), "{advice}");
        let mut lane = opened(&database, 3).await;
        lane.commit(bad(3, 2)).await.expect("commits");
        drop(lane);
        // Later it may be as before.
        let mut lane = opened(&database, 0).await;
        lane.commit(group([batch(after(5), after(6), vec![put(6, "f", 6)])])).await.expect("good ones");
    })
    .await;
}

#[tokio::test]
async fn a_new_process_counts_what_the_one_before_it_stored() {
    in_database(|database| async move {
        let mut lane = database.ready_lane(&allowing(&database, 2), &id_key()).await;
        lane.commit(bad(1, 2)).await.expect("two");
        let mut lane = opened(&database, 2).await;
        braked(lane.commit(bad(4, 1)).await);
        assert_eq!(database.count("tailwater.dead_letters").await, "2");
    })
    .await;
}

#[tokio::test]
async fn only_the_last_minute_counts_and_only_this_pipeline() {
    in_database(|database| async move {
        let mut lane = database.ready_lane(&allowing(&database, 2), &id_key()).await;
        lane.commit(bad(1, 2)).await.expect("two");
        database.run("update tailwater.dead_letters set stored_at = stored_at - interval '61 seconds'").await;
        lane.commit(bad(4, 2)).await.expect("two more");
        database.run("update tailwater.dead_letters set pipeline = 'another'").await;
        lane.commit(bad(7, 2)).await.expect("two more");
        // As after the server's clock was set back by an hour.
        database.run("update tailwater.dead_letters set stored_at = stored_at + interval '1 hour'").await;
        lane.commit(bad(10, 2)).await.expect("two more");
        braked(lane.commit(bad(13, 1)).await);
    })
    .await;
}

#[tokio::test]
async fn all_lanes_count_together_also_at_the_same_moment() {
    in_database(|database| async move {
        let lanes = claim(&allowing(&database, 3), &identity(4), &id_key()).await.expect("claims").lanes;
        let mut commits = tokio::task::JoinSet::new();
        for (number, mut lane) in lanes.into_iter().enumerate() {
            lane.open().await.expect("opens");
            let shard = format!("shardId-{number}");
            lane.commit(group([registration(&shard, None)])).await.expect("registers");
            commits.spawn(async move {
                let mut group = bad(1, 2);
                let on_shard = std::mem::take(&mut group.batches).into_iter().map(|batch| {
                    let mut batch = batch.on(&shard);
                    for (event, at) in batch.events.iter_mut().zip(0..) {
                        event.source.shard = tailwater_model::ShardId::new(&shard);
                        event.key = crate::ground::item(&crate::ground::id(&format!("{shard} {at}\0")));
                    }
                    batch.events.truncate(2);
                    (batch.counts.read, batch.counts.written) = (2, 2);
                    batch
                });
                group.batches = on_shard.collect();
                lane.commit(group).await
            });
        }
        let answers = commits.join_all().await;
        assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 1, "{answers:?}");
        assert_eq!(database.count("tailwater.dead_letters").await, "2");
        answers.into_iter().filter(Result::is_err).for_each(|answer| drop(braked(answer)));
    })
    .await;
}
