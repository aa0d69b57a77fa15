//! What is stored beside the data, and what a start learns from it.

use tailwater_model::{Contact, Gap, GapCause, Group, Position, ShardId, Sink};
use tailwater_sink_kafka::checkpoints;

use crate::ground::{SHARD, Scene, after, group, registration, run, stream};

fn contact() -> Group {
    Group { batches: Vec::new(), contact: Some(Contact { stream_known: true }) }
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
async fn contact_and_gaps_are_durable() {
    let scene = Scene::new(1);
    let mut lane = scene.ready_lane().await;
    let progress = lane.open().await.expect("opens");
    assert!(!progress.stream_known && progress.since_contact.is_none() && progress.previous_stream.is_none());
    lane.commit(contact()).await.expect("commits");
    let gap = |detail: &str| Gap {
        shard: Some(ShardId::new(SHARD)),
        cause: GapCause::Trimmed,
        after: Position::Start,
        detail: detail.into(),
        stop: false,
    };
    let mut first = run(0, 1);
    first.gap = Some(gap("found"));
    let mut again = run(1, 2);
    again.gap = Some(gap("found again"));
    lane.commit(group([first])).await.expect("commits");
    lane.commit(group([again])).await.expect("commits");
    let stored = checkpoints(&scene.settings, &scene.identity.name).await.expect("reads").expect("stored");
    assert_eq!(stored.gaps, 1, "the same gap once");
    let mut next = scene.lane().await;
    let progress = next.open().await.expect("opens");
    assert!(progress.stream_known);
    let since = progress.since_contact.expect("there was contact");
    assert!(since.as_secs() < 60, "{since:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_stream_of_the_table_begins_anew_and_is_told() {
    let mut scene = Scene::new(2);
    let mut lanes = scene.claim().await;
    lanes[0].open().await.expect("opens");
    lanes[1].open().await.expect("opens");
    lanes[1].commit(group([registration(SHARD), run(0, 5)])).await.expect("commits");
    scene.identity.stream = stream("b");
    let mut lanes = scene.claim().await;
    let progress = lanes[0].open().await.expect("opens");
    assert_eq!(progress.previous_stream, Some(stream("a").stream_arn), "though only the other lane had a shard of it");
    assert!(lanes[1].open().await.expect("opens").shards.is_empty());
    lanes[1].commit(group([registration(SHARD)])).await.expect("the same shard of another stream");
}
