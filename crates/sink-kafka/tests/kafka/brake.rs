//! The brake on dead letters: the store counts them, looks before it takes any, and only a person lifts it.

use tailwater_model::{Batch, Committed, Failure, Group, Position, ShardId, Sink, Trouble, TroubleKind};
use tailwater_sink_kafka::{DeliveryPromise, KafkaLane, check_claim, checkpoints};

use crate::ground::{Scene, after, batch, group, keys, put, put_text, read, registration};

/// What the topics take.
const BYTES_MAX: &str = "20000";

fn allowing(scene: &Scene, dead_letters_per_minute_max: u32) -> Scene {
    let mut scene = scene.clone();
    scene.settings.dead_letters_per_minute_max = dead_letters_per_minute_max;
    scene
}

fn scene(lanes: u32) -> Scene {
    let mut scene = Scene::new(lanes);
    scene.settings.create_topics.as_mut().expect("set").config.insert("max.message.bytes".into(), BYTES_MAX.into());
    scene
}

/// Events from `first` on, of which this many are too large; the last one is not.
fn bad(first: u64, count: u64) -> Batch {
    let from = if first == 1 { Position::Start } else { after(first - 1) };
    let large = "x".repeat(30_000);
    let mut events: Vec<_> = (first..first + count).map(|n| put_text(n, &format!("{n}"), &large)).collect();
    events.push(put(first + count, "good"));
    batch(from, after(first + count), events)
}

fn bad_group(first: u64, count: u64) -> Group {
    group([bad(first, count)])
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

async fn refused_claim(scene: &Scene, limit: u32) {
    let trouble = allowing(scene, limit).try_claim().await.map(drop).expect_err("the brake holds");
    braked(Err(Failure::Halt(trouble)));
}

async fn opened(scene: &Scene, limit: u32) -> KafkaLane {
    let mut lane = allowing(scene, limit).lane().await;
    lane.open().await.expect("opens");
    lane
}

async fn stored(scene: &Scene) -> u64 {
    let stored = checkpoints(&scene.settings, &scene.identity.name).await.expect("readable");
    stored.expect("progress").dead_letters
}

#[tokio::test(flavor = "multi_thread")]
async fn too_many_dead_letters_are_not_stored_and_stop_the_pipeline() {
    for delivery in [DeliveryPromise::ExactlyOnce, DeliveryPromise::AtLeastOnce] {
        let mut scene = allowing(&scene(1), 3);
        scene.settings.delivery = delivery;
        let mut lane = scene.ready_lane().await;
        assert_eq!(lane.commit(bad_group(1, 2)).await.expect("two").dead_lettered, 2);
        assert_eq!(lane.commit(bad_group(4, 1)).await.expect("three").dead_lettered, 1);
        let letters = read(&scene.settings.dead_letter_topic, "read_committed").len();
        let trouble = braked(lane.commit(bad_group(6, 1)).await);
        assert!(trouble.message.contains("sink.kafka.too_large"), "what would be stored is not there: {trouble:?}");
        assert_eq!(read(&scene.settings.dead_letter_topic, "read_committed").len(), letters);
        assert_eq!(stored(&scene).await, 3);
        if delivery == DeliveryPromise::ExactlyOnce {
            assert_eq!(scene.event_ids(), ["event-000003", "event-000005"]);
        }
        let mut lane = opened(&scene, 100).await;
        assert_eq!(lane.open().await.expect("opens").shards[0].position, after(5));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_does_not_lift_the_brake_and_a_greater_number_does() {
    let scene = scene(1);
    let mut lane = allowing(&scene, 2).ready_lane().await;
    braked(lane.commit(bad_group(1, 3)).await);
    drop(lane);
    let progress = read(&scene.settings.progress_topic, "read_committed").len();
    for limit in [2, 0, 1, 2] {
        refused_claim(&scene, limit).await;
    }
    let looked = check_claim(&allowing(&scene, 2).settings, &scene.identity, &keys(), None).await;
    braked(Err(Failure::Halt(looked.expect_err("the brake holds"))));
    assert_eq!(read(&scene.settings.progress_topic, "read_committed").len(), progress, "nothing was taken");
    let looked = check_claim(&allowing(&scene, 3).settings, &scene.identity, &keys(), None).await;
    looked.expect("a greater number would lift it");
    let mut lane = opened(&scene, 3).await;
    assert_eq!(lane.commit(bad_group(1, 3)).await.expect("commits").dead_lettered, 3);
    drop(lane);
    // It is lifted for good, and what was stored counts on.
    let mut lane = opened(&scene, 2).await;
    lane.commit(group([batch(after(4), after(5), vec![put(5, "e")])])).await.expect("good ones");
    braked(lane.commit(bad_group(6, 1)).await);
    refused_claim(&scene, 2).await;
    drop(opened(&scene, 3).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_process_counts_what_the_one_before_it_stored() {
    let scene = allowing(&scene(1), 2);
    let mut lane = scene.ready_lane().await;
    lane.commit(bad_group(1, 2)).await.expect("two");
    let mut lane = opened(&scene, 2).await;
    braked(lane.commit(bad_group(4, 1)).await);
    assert_eq!(stored(&scene).await, 2);
}

/// The event's shard decides nothing here but the step.
fn on(shard: &str, batch: Batch) -> Batch {
    Batch { shard: ShardId::new(shard), ..batch }
}

#[tokio::test(flavor = "multi_thread")]
async fn all_lanes_count_together_also_at_the_same_moment() {
    const LANES: u32 = 4;
    let scene = allowing(&scene(LANES), 3);
    let shard_of =
        |lane: u32| (0..).map(|n| format!("shardId-{n}")).find(|id| ShardId::new(id).lane(LANES) == lane).expect("one");
    let mut commits = tokio::task::JoinSet::new();
    for (number, mut lane) in (0..).zip(scene.claim().await) {
        let shard = shard_of(number);
        lane.open().await.expect("opens");
        lane.commit(group([registration(&shard)])).await.expect("registers");
        commits.spawn(async move { lane.commit(group([on(&shard, bad(1, 2))])).await });
    }
    let answers = commits.join_all().await;
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 1, "{answers:?}");
    answers.into_iter().filter(Result::is_err).for_each(|answer| drop(braked(answer)));
    assert_eq!(stored(&scene).await, 2);
    // A brake of any lane holds the start; a greater number lifts all.
    refused_claim(&scene, 3).await;
    for lane in &mut allowing(&scene, 4).claim().await {
        lane.open().await.expect("opens");
    }
    allowing(&scene, 3).claim().await;
}
