//! Two owners, lanes that were replaced, and progress that is not ours.

use tailwater_model::{Committed, Failure, ShardId, Sink, TroubleKind};
use tailwater_sink_kafka::DeliveryPromise;

use crate::ground::{Scene, after, delete_topic, group, ids, raise_partitions, registration, run};

fn code<T: std::fmt::Debug>(answer: Result<T, Failure>) -> &'static str {
    match answer {
        Err(Failure::Halt(trouble)) => trouble.code,
        other => panic!("not halted: {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_newest_claim_wins_and_the_other_stops() {
    for delivery in [DeliveryPromise::ExactlyOnce, DeliveryPromise::AtLeastOnce] {
        let mut scene = Scene::new(1);
        scene.settings.delivery = delivery;
        let mut first = scene.ready_lane().await;
        let mut second = scene.lane().await;
        assert_eq!(second.open().await.expect("opens").shards.len(), 1);
        assert_eq!(code(first.commit(group([run(0, 1)])).await), "sink.taken_over");
        assert_eq!(code(first.open().await), "sink.taken_over");
        second.commit(group([run(0, 1)])).await.expect("goes on, undisturbed");
        if delivery == DeliveryPromise::ExactlyOnce {
            assert_eq!(scene.event_ids(), ids(1));
        }
        let progress = second.open().await.expect("opens");
        assert_eq!(progress.shards[0].position, after(1), "the first one could not change the progress");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_group_tells_whether_the_lane_is_still_ours() {
    let scene = Scene::new(1);
    let mut first = scene.ready_lane().await;
    assert_eq!(first.commit(group([])).await.expect("ours"), Committed::default());
    let mut second = scene.lane().await;
    assert_eq!(code(first.commit(group([])).await), "sink.taken_over");
    second.open().await.expect("opens");
    assert_eq!(second.commit(group([])).await.expect("ours"), Committed::default());
}

#[tokio::test(flavor = "multi_thread")]
async fn every_lane_is_taken_over() {
    let scene = Scene::new(3);
    let mut first = scene.claim().await;
    for lane in &mut first {
        lane.open().await.expect("opens");
    }
    let mut second = scene.claim().await;
    // The lanes that were not opened yet still belong to the first: nothing was read for the second.
    for (old, new) in first.iter_mut().zip(&mut second) {
        new.open().await.expect("opens");
        assert_eq!(code(old.commit(group([])).await), "sink.taken_over");
    }
    for lane in &mut second {
        lane.commit(group([])).await.expect("ours");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_claims_at_the_same_time_exactly_one_goes_on() {
    let scene = Scene::new(2);
    scene.claim().await;
    let claims = (0..4).map(|_| {
        let scene = scene.clone();
        tokio::spawn(async move {
            let mut lanes = scene.try_claim().await.ok()?;
            for lane in &mut lanes {
                // A lane that a slower claim has fenced looks again, as the lane loop does.
                while let Err(failure) = lane.open().await {
                    if matches!(failure, Failure::Halt(_)) {
                        return None;
                    }
                }
            }
            tokio::time::sleep(std::time::Duration::from_secs(3)).await;
            for lane in &mut lanes {
                while let Err(failure) = lane.commit(group([])).await {
                    if matches!(failure, Failure::Halt(_)) {
                        return None;
                    }
                    while let Err(failure) = lane.open().await {
                        if matches!(failure, Failure::Halt(_)) {
                            return None;
                        }
                    }
                }
            }
            Some(())
        })
    });
    let claims: Vec<_> = claims.collect();
    let mut winners = 0;
    for claim in claims {
        winners += u32::from(claim.await.expect("no panic").is_some());
    }
    assert_eq!(winners, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn progress_of_another_pipeline_is_left_alone() {
    let scene = Scene::new(1);
    scene.ready_lane().await;
    let mut other = scene.clone();
    other.identity.name += "-other";
    assert_eq!(other.try_claim().await.map(|_| ()).map_err(|trouble| trouble.code), Err("sink.kafka.other_pipeline"));
    let stored = tailwater_sink_kafka::checkpoints(&other.settings, &other.identity.name).await;
    assert_eq!(stored.expect("reads"), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_number_of_lanes_is_refused() {
    let mut scene = Scene::new(2);
    scene.claim().await;
    scene.identity.lanes = 3;
    assert_eq!(scene.try_claim().await.map(|_| ()).map_err(|trouble| trouble.code), Err("sink.lane_count"));
}

/// Taking the new number would deal the shards anew, and their progress would be looked for elsewhere.
#[tokio::test(flavor = "multi_thread")]
async fn partitions_that_were_added_to_the_progress_are_refused() {
    let mut scene = Scene::new(1);
    let mut lane = scene.ready_lane().await;
    let shards = (0..).map(|number| format!("shardId-{number}"));
    let moved = shards.into_iter().find(|shard| ShardId::new(shard).lane(2) == 1).expect("one of two");
    lane.commit(group([registration(&moved)])).await.expect("registers");
    drop(lane);
    raise_partitions(&scene.settings.progress_topic, 2).await;
    scene.identity.lanes = 2;
    assert_eq!(scene.try_claim().await.map(|_| ()).map_err(|trouble| trouble.code), Err("sink.lane_count"));
}

/// Nobody can take them away again.
#[tokio::test(flavor = "multi_thread")]
async fn partitions_that_were_added_to_the_progress_do_no_harm_while_they_are_empty() {
    let scene = Scene::new(1);
    drop(scene.ready_lane().await);
    raise_partitions(&scene.settings.progress_topic, 2).await;
    let mut lane = scene.lane().await;
    assert_eq!(lane.open().await.expect("opens").shards.len(), 1);
    lane.commit(group([run(0, 3)])).await.expect("commits");
    // The topic is looked at by each opening.
    lane.open().await.expect("opens again");
}

#[tokio::test(flavor = "multi_thread")]
async fn progress_that_has_vanished_is_not_begun_anew() {
    let scene = Scene::new(1);
    let mut lane = scene.ready_lane().await;
    lane.commit(group([run(0, 3)])).await.expect("commits");
    delete_topic(&scene.settings.progress_topic).await;
    assert_eq!(code(lane.open().await), "sink.progress_gone");
    drop(lane);
    // A new process cannot know it, but sees messages without progress, as often as it is started.
    for _ in 0..2 {
        let refused = scene.try_claim().await.map(drop).map_err(|trouble| (trouble.kind, trouble.code));
        assert_eq!(refused, Err((TroubleKind::DataAtRisk, "sink.target_without_progress")));
    }
}

/// An empty topic in the place of the one that was written to would hide that everything in it is missing.
#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_has_vanished_is_not_made_again() {
    let scene = Scene::new(1);
    let mut lane = scene.ready_lane().await;
    lane.commit(group([run(0, 3)])).await.expect("commits");
    delete_topic(&scene.settings.topic).await;
    assert_eq!(code(lane.open().await), "sink.target_missing");
    drop(lane);
    for _ in 0..2 {
        let refused = scene.try_claim().await.map(drop).map_err(|trouble| (trouble.kind, trouble.code));
        assert_eq!(refused, Err((TroubleKind::DataAtRisk, "sink.target_missing")));
    }
}
