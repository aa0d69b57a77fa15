//! What a commit leaves behind.

use tailwater_model::{DeadLetter, Failure, Sink};
use tailwater_sink_kafka::{DeliveryPromise, OnRepartition};

use crate::ground::{Scene, after, batch, group, ids, put, put_text, raise_partitions, read, remove, remove_text, run};
use tailwater_model::Position::Start;

/// Both promises must hold all of this as long as nothing fails.
fn scenes() -> [Scene; 2] {
    [DeliveryPromise::ExactlyOnce, DeliveryPromise::AtLeastOnce].map(|delivery| {
        let mut scene = Scene::new(1);
        scene.settings.delivery = delivery;
        scene
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn events_and_progress_are_committed_together() {
    for scene in scenes() {
        let mut lane = scene.ready_lane().await;
        let committed = lane.commit(group([run(0, 300), run(300, 301)])).await.expect("commits");
        assert_eq!(committed.figures(), (301, 0));
        assert_eq!(scene.event_ids(), ids(301));
        let progress = lane.open().await.expect("opens again");
        assert_eq!(progress.shards[0].position, after(301));
        lane.commit(group([run(301, 302)])).await.expect("goes on");
        assert_eq!(scene.event_ids(), ids(302));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_of_one_key_keep_their_order() {
    let scene = Scene::new(1);
    let mut lane = scene.ready_lane().await;
    let events = (1..=200).map(|number| put(number, &format!("key-{}", number % 7))).chain([remove(201, "key-3")]);
    lane.commit(group([batch(Start, after(201), events.collect())])).await.expect("commits");
    let seen = scene.committed();
    for key in 0..7 {
        let key = format!(r#"{{"Id":"key-{key}"}}"#);
        let of_key: Vec<_> = seen.iter().filter(|seen| seen.key == key).collect();
        assert!(of_key.iter().all(|seen| seen.partition == of_key[0].partition), "{key} is in one partition");
        let numbers: Vec<_> = of_key.iter().map(|seen| &seen.headers["__seq"]).collect();
        assert!(numbers.is_sorted(), "{key}: {numbers:?}");
    }
    let removed: Vec<_> = seen.iter().filter(|seen| seen.headers["__event_id"] == "event-000201").collect();
    assert!(matches!(removed.as_slice(), [event, tombstone] if event.value.is_some() && tombstone.value.is_none()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_that_does_not_fit_writes_nothing() {
    for scene in scenes() {
        let mut lane = scene.ready_lane().await;
        let refused = lane.commit(group([run(5, 7)])).await;
        assert!(
            matches!(&refused, Err(Failure::Reopen(trouble)) if trouble.code == "sink.step_refused"),
            "{refused:?}"
        );
        assert!(scene.committed().is_empty());
        let refused = lane.commit(group([run(0, 1)])).await;
        assert!(matches!(&refused, Err(Failure::Reopen(trouble)) if trouble.code == "sink.not_open"), "{refused:?}");
        lane.open().await.expect("opens");
        lane.commit(group([run(0, 1)])).await.expect("commits");
        assert_eq!(scene.event_ids(), ids(1));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_is_too_large_is_set_aside_whole() {
    for mut scene in scenes() {
        let create = scene.settings.create_topics.as_mut().expect("set");
        create.config.insert("max.message.bytes".into(), "20000".into());
        let mut lane = scene.ready_lane().await;
        let large = put_text(2, "large", &"x".repeat(50_000));
        let record =
            DeadLetter::of_event(&large, tailwater_model::Rejected { code: "", message: String::new() }).record;
        let committed = lane.commit(group([batch(Start, after(3), vec![put(1, "a"), large, put(3, "a")])])).await;
        assert_eq!(committed.expect("commits").figures(), (2, 1));
        assert_eq!(scene.event_ids(), ["event-000001", "event-000003"]);
        let parts = read(&scene.settings.dead_letter_topic, "read_committed");
        assert!(parts.len() > 1, "{} parts", parts.len());
        let joined: String = parts.iter().filter_map(|part| part.value.as_deref()).collect();
        assert_eq!(joined, record);
        assert_eq!(parts[0].headers["__cdc.error.code"], "sink.kafka.too_large");
        let stored = tailwater_sink_kafka::checkpoints(&scene.settings, &scene.identity.name).await;
        assert_eq!(stored.expect("reads").expect("stored").dead_letters, 1);
    }
}

/// The item is gone whatever its old image holds: compaction must hear of it.
#[tokio::test(flavor = "multi_thread")]
async fn a_removal_that_is_too_large_leaves_its_tombstone() {
    for mut scene in scenes() {
        let create = scene.settings.create_topics.as_mut().expect("set");
        create.config.insert("max.message.bytes".into(), "20000".into());
        let mut lane = scene.ready_lane().await;
        let gone = remove_text(2, "a", &"x".repeat(50_000));
        let committed = lane.commit(group([batch(Start, after(3), vec![put(1, "a"), gone, put(3, "b")])])).await;
        assert_eq!(committed.expect("commits").figures(), (2, 1));
        let seen = scene.committed();
        let of_a: Vec<_> = seen.iter().filter(|seen| seen.key.contains("\"a\"")).collect();
        let values: Vec<_> = of_a.iter().map(|seen| (&*seen.headers["__event_id"], seen.value.is_some())).collect();
        assert_eq!(values, [("event-000001", true), ("event-000002", false)]);
        assert!(!read(&scene.settings.dead_letter_topic, "read_committed").is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn more_partitions_stop_the_pipeline_before_a_key_moves() {
    let scene = Scene::new(1);
    let mut lane = scene.ready_lane().await;
    lane.commit(group([run(0, 50)])).await.expect("commits");
    raise_partitions(&scene.settings.topic, 5).await;
    let refused = lane.open().await;
    let Err(Failure::Halt(trouble)) = refused else { panic!("{refused:?}") };
    assert_eq!(trouble.code, "sink.kafka.repartitioned");
    assert_eq!(scene.try_claim().await.map_err(|trouble| trouble.code).map(|_| ()), Err("sink.kafka.repartitioned"));

    let mut scene = scene.clone();
    scene.settings.on_repartition = OnRepartition::Continue;
    let mut lane = scene.lane().await;
    assert_eq!(lane.open().await.expect("opens").shards[0].position, after(50));
    lane.commit(group([run(50, 150)])).await.expect("goes on");
    assert_eq!(scene.event_ids(), ids(150));
    assert!(scene.committed().iter().any(|seen| seen.partition > 2), "the new partitions are used");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_lane_notices_more_partitions() {
    let mut scene = Scene::new(1);
    // So that librdkafka learns of the new partitions soon, while the lane still deals keys to the old ones.
    scene.settings.librdkafka.insert("topic.metadata.refresh.interval.ms".into(), "500".into());
    let mut lane = scene.ready_lane().await;
    lane.commit(group([run(0, 50)])).await.expect("commits");
    raise_partitions(&scene.settings.topic, 50).await;
    tokio::time::sleep(std::time::Duration::from_secs(4)).await;
    let refused = lane.commit(group([run(50, 150)])).await;
    let Err(Failure::Halt(trouble)) = refused else { panic!("{refused:?}") };
    assert_eq!(trouble.code, "sink.kafka.repartitioned");
    assert_eq!(scene.event_ids(), ids(50), "nothing of the group is visible");
}
