//! What is stored beside the data, and what a start learns from it.

use std::time::Duration;

use rdkafka::producer::{FutureProducer, FutureRecord};
use tailwater_model::{Batch, FirstListing, Gap, GapCause, Group, Position, ServiceTime, ShardId, Sink, Step};
use tailwater_sink_kafka::checkpoints;

use crate::ground::{SHARD, Scene, after, brokers, group, read, registration, run, stream};

/// Of two lanes.
const SHARD_OF_LANE_1: &str = "shardId-00000001734567890124-0a1b2c3d";

const MOMENT: ServiceTime = ServiceTime::from_ms(1_700_000_000_123);

fn known() -> Group {
    Group { batches: Vec::new(), first_listing: Some(FirstListing::stored(MOMENT)) }
}

fn forget() -> Batch {
    Batch { step: Step::Forget, ..registration(SHARD) }
}

#[tokio::test(flavor = "multi_thread")]
async fn checkpoints_show_what_is_stored() {
    let scene = Scene::new(2);
    let read = async || checkpoints(&scene.settings, &scene.identity.name).await.expect("reads");
    assert_eq!(read().await, None, "the topic is not there yet");
    let mut lanes = scene.claim().await;
    lanes[0].open().await.expect("opens");
    lanes[1].open().await.expect("opens");
    lanes[1].commit(group([registration(SHARD), run(0, 5)])).await.expect("commits");
    lanes[0].commit(group([registration("shardId-00000001734567890124-0a1b2c3d")])).await.expect("commits");
    let stored = read().await.expect("stored");
    let rows: Vec<_> = stored.shards.iter().map(|row| (row.lane, row.position.clone(), row.counts.written)).collect();
    assert_eq!(rows, [(1, after(5), 5), (0, Position::Start, 0)]);
    assert!(stored.shards[0].updated_at.starts_with("20"), "{}", stored.shards[0].updated_at);
    assert_eq!((stored.gaps, stored.dead_letters), (0, 0));
    lanes[1].commit(group([run(5, 6)])).await.expect("reading the checkpoints disturbs nobody");
}

#[tokio::test(flavor = "multi_thread")]
async fn moments_and_gaps_are_durable() {
    let scene = Scene::new(1);
    let mut lane = scene.ready_lane().await;
    let progress = lane.open().await.expect("opens");
    assert_eq!((progress.known_since(), &progress.previous_stream), (None, &None));
    lane.commit(known()).await.expect("commits");
    let gap = |detail: &str| Gap {
        shard: Some(ShardId::new(SHARD)),
        cause: GapCause::Trimmed,
        after: Position::Start,
        since: Some(MOMENT),
        until: MOMENT,
        detail: detail.into(),
        stop: false,
    };
    let mut first = run(0, 1);
    (first.gap, first.read_until) = (Some(gap("found")), Some(MOMENT));
    let mut again = run(1, 2);
    again.gap = Some(gap("found again"));
    lane.commit(group([first])).await.expect("commits");
    lane.commit(group([again])).await.expect("commits");
    let stored = checkpoints(&scene.settings, &scene.identity.name).await.expect("reads").expect("stored");
    assert_eq!((stored.gaps, stored.shards[0].read_until), (1, Some(MOMENT)), "the same gap once");
    let mut next = scene.lane().await;
    let progress = next.open().await.expect("opens");
    assert_eq!((progress.known_since(), progress.shards[0].read_until), (Some(MOMENT), Some(MOMENT)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forgotten_shard_leaves_a_tombstone_and_its_figures() {
    let scene = Scene::new(1);
    let mut lane = scene.ready_lane().await;
    let mut last = run(0, 3);
    last.step = Step::Advance(tailwater_model::Advance { from: Position::Start, to: Position::End });
    last.dead_letters.push(tailwater_model::DeadLetter {
        shard: ShardId::new(SHARD),
        sequence_number: crate::ground::sequence_number(4),
        event_id: "event-000004".into(),
        code: "source.undecodable",
        error: "it is odd".into(),
        record: "{}".into(),
    });
    last.counts.read = 4;
    last.counts.dead_lettered = 1;
    lane.commit(group([last])).await.expect("drains");
    lane.commit(group([forget()])).await.expect("forgets");
    let stored = checkpoints(&scene.settings, &scene.identity.name).await.expect("reads").expect("stored");
    assert_eq!((stored.shards.len(), stored.dead_letters), (0, 1));
    let seen = read(&scene.settings.progress_topic, "read_committed");
    let shard = seen.iter().rfind(|seen| seen.key.starts_with("[\"shard\"")).expect("its last record");
    assert_eq!(shard.value, None);
    assert!(lane.open().await.expect("opens").shards.is_empty());
    assert!(scene.lane().await.open().await.expect("opens").shards.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn another_stream_of_the_table_begins_anew_and_is_told() {
    let mut scene = Scene::new(2);
    let mut lanes = scene.claim().await;
    lanes[0].open().await.expect("opens");
    lanes[1].open().await.expect("opens");
    let mut carried = run(0, 5);
    (carried.shard, carried.read_until) = (ShardId::new(SHARD_OF_LANE_1), Some(MOMENT));
    lanes[1].commit(group([registration(SHARD_OF_LANE_1), carried])).await.expect("commits");
    scene.identity.stream = stream("b");
    let mut lanes = scene.claim().await;
    for lane in &mut lanes {
        let progress = lane.open().await.expect("opens");
        assert!(progress.shards.is_empty());
        let previous = progress.previous_stream.expect("though only one lane had a shard of it");
        assert_eq!((previous.stream_arn, previous.read_until), (stream("a").stream_arn, Some(MOMENT)));
    }
    lanes[1].commit(group([registration(SHARD_OF_LANE_1)])).await.expect("the same shard of another stream");

    // When the first lane knows the stream, every lane lets go of the other one with its next commit.
    let arns = async || {
        let stored = checkpoints(&scene.settings, &scene.identity.name).await.expect("reads").expect("stored");
        stored.shards.iter().map(|row| row.stream_arn.clone()).collect::<Vec<_>>()
    };
    lanes[0].commit(known()).await.expect("commits");
    assert_eq!(arns().await, [stream("a").stream_arn, stream("b").stream_arn]);
    lanes[1].commit(Group::default()).await.expect("commits");
    assert_eq!(arns().await, [stream("b").stream_arn]);
    for lane in &mut lanes {
        let progress = lane.open().await.expect("opens");
        assert_eq!((progress.known_since(), &progress.previous_stream), (Some(MOMENT), &None));
    }
}

/// A topic as versions without moments left it: the first lane's partition tells of the contact with the stream, and a
/// shard stands in each.
#[tokio::test(flavor = "multi_thread")]
async fn records_of_versions_without_moments_are_read() {
    let scene = Scene::new(2);
    let mut lanes = scene.claim().await;
    for lane in &mut lanes {
        lane.open().await.expect("opens");
    }
    drop(lanes);
    let producer: FutureProducer =
        rdkafka::ClientConfig::new().set("bootstrap.servers", brokers()).create().expect("a producer");
    let shard = |label: &str, name: &str| {
        let value = r#"{"v":1,"parent":null,"position":"start","read":0,"written":0,"filtered":0,"dead_lettered":0,"suppressed":0}"#;
        (format!(r#"["shard","{}","{name}"]"#, stream(label).stream_arn), value.to_owned())
    };
    let contact = |label: &str| {
        let value = r#"{"v":1,"table":"Orders","table_id":"id-1","known":true}"#;
        (format!(r#"["stream","{}"]"#, stream(label).stream_arn), value.to_owned())
    };
    let gap = (
        format!(r#"["gap","{}","{SHARD}","trimmed","start"]"#, stream("a").stream_arn),
        r#"{"v":1,"detail":"it was trimmed"}"#.to_owned(),
    );
    for (partition, (key, value)) in [
        (1, shard("0", SHARD_OF_LANE_1)),
        (0, contact("0")),
        (0, shard("a", "shardId-1")),
        (1, shard("a", SHARD_OF_LANE_1)),
        (0, contact("a")),
        (0, gap),
    ] {
        let record = FutureRecord::to(&scene.settings.progress_topic).partition(partition);
        producer.send(record.key(&key).payload(&value), Duration::from_secs(20)).await.expect("delivered");
    }
    let stored = checkpoints(&scene.settings, &scene.identity.name).await.expect("reads").expect("stored");
    assert_eq!((stored.shards.len(), stored.gaps), (3, 1));
    // By the broker's clock, which stamps the records of the topic.
    let contact = stored.shards[1].read_until;
    assert!(contact > stored.shards[0].read_until && stored.shards[0].read_until > Some(MOMENT), "{stored:?}");
    assert_eq!(stored.shards[2].read_until, contact, "whichever lane it is of");
    for lane in &mut scene.claim().await {
        let progress = lane.open().await.expect("opens");
        assert_eq!((progress.shards.len(), progress.shards[0].read_until), (1, contact));
        assert_eq!((progress.known_since(), &progress.previous_stream), (contact, &None));
        lane.commit(Group::default()).await.expect("commits");
    }
    let stored = checkpoints(&scene.settings, &scene.identity.name).await.expect("reads").expect("stored");
    assert_eq!(stored.shards.len(), 2, "the earlier stream is gone");
}
