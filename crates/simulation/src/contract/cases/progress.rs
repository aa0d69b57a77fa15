//! What is stored of shards and the stream, and what a later start finds.

use tailwater_model::{Position, PreviousStream, Progress, ShardProgress, Sink};

use super::{assert_held, assert_step_refused, claimed, one_lane, opened, position, ready, shard, stored_position};
use crate::contract::{Ground, advance, after, group, pipeline, put, register, shard_of};

/// Opening on nothing gives nothing: no shard, no listing, no other stream.
pub async fn nothing_is_stored_at_first(ground: &mut impl Ground) {
    let (mut lane, progress) = opened(ground).await;
    assert_eq!(progress, Progress::default());
    assert_eq!(lane.open().await.expect("opens again"), Progress::default());
    assert_held(ground, &[]).await;
}

/// I1: events and step are there together, for the same lane and for a later claim; the parent is kept.
pub async fn what_was_committed_is_there_after_opening(ground: &mut impl Ground) {
    let (mut lane, _) = opened(ground).await;
    let (parent, child) = (shard_of(0, 1, 0), shard_of(0, 1, 1));
    let writes = [put(1, "a"), put(2, "b")];
    let batches = [
        register(&parent, None),
        advance(&parent, Position::Start, after(2), &writes),
        register(&child, Some(&parent)),
    ];
    let committed = lane.commit(group(batches)).await.expect("commits");
    assert_eq!(committed.figures(), (2, 0));
    let expected = [
        ShardProgress { shard: parent.clone(), parent: None, position: after(2), read_until: None },
        ShardProgress { shard: child, parent: Some(parent), position: Position::Start, read_until: None },
    ];
    let same = lane.open().await.expect("opens again");
    let (_later, later) = opened(ground).await;
    for mut progress in [same, later] {
        progress.shards.sort_by(|left, right| left.shard.cmp(&right.shard));
        assert_eq!(progress.shards, expected);
    }
    assert_held(ground, &writes).await;
}

/// I2: a step applies only where its `from` is stored. Afterwards the lane has to open, and goes on.
pub async fn a_step_applies_only_where_it_begins(ground: &mut impl Ground) {
    let mut lane = ready(ground).await;
    lane.commit(group([advance(&shard(), Position::Start, after(2), &[put(1, "a"), put(2, "b")])]))
        .await
        .expect("commits");
    let unknown = shard_of(0, 1, 7);
    for (shard, from) in
        [(shard(), Position::Start), (shard(), after(7)), (shard(), Position::End), (unknown, Position::Start)]
    {
        let wrong = lane.commit(group([advance(&shard, from, after(9), &[put(9, "z")])])).await;
        assert_step_refused(wrong);
        assert_eq!(position(&lane.open().await.expect("opens")), Some(after(2)));
    }
    assert_held(ground, &[put(1, "a"), put(2, "b")]).await;
    lane.commit(group([advance(&shard(), after(2), after(3), &[put(3, "a")])])).await.expect("goes on");
    assert_held(ground, &[put(1, "a"), put(2, "b"), put(3, "a")]).await;
}

/// I2: a shard that is known already cannot be made known again, by which its position would be lost.
pub async fn registering_twice_is_refused(ground: &mut impl Ground) {
    let mut lane = ready(ground).await;
    lane.commit(group([advance(&shard(), Position::Start, after(1), &[put(1, "a")])])).await.expect("commits");
    assert_step_refused(lane.commit(group([register(&shard(), None)])).await);
    assert_eq!(position(&lane.open().await.expect("opens")), Some(after(1)));
    let twice = shard_of(0, 1, 1);
    assert_step_refused(lane.commit(group([register(&twice, None), register(&twice, None)])).await);
    assert_eq!(lane.open().await.expect("opens").shards.len(), 1);
}

/// I2: steps of one shard in one group follow one another, or nothing of the group is written, other shards included.
pub async fn a_group_with_broken_steps_writes_nothing(ground: &mut impl Ground) {
    let mut lane = ready(ground).await;
    let other = shard_of(0, 1, 1);
    let broken = [
        register(&other, None),
        advance(&other, Position::Start, after(1), &[put(1, "other")]),
        advance(&shard(), Position::Start, after(2), &[put(2, "a")]),
        advance(&shard(), after(3), after(4), &[put(4, "b")]),
    ];
    assert_step_refused(lane.commit(group(broken)).await);
    assert_held(ground, &[]).await;
    let progress = lane.open().await.expect("opens");
    assert_eq!((progress.shards.len(), position(&progress)), (1, Some(Position::Start)));
}

/// I1: two shards of one group move together; when one of them does not fit, neither moves.
pub async fn shards_of_one_group_move_together(ground: &mut impl Ground) {
    let mut lane = ready(ground).await;
    let other = shard_of(0, 1, 1);
    let both = |from: Position, to: u64| {
        let writes = [put(to - 1, "a"), put(to, "b")];
        let own = advance(&shard(), Position::Start, after(to), &writes[..1]);
        group([own, advance(&other, from, after(to), &writes[1..])])
    };
    lane.commit(group([register(&other, None)])).await.expect("registers");
    assert_step_refused(lane.commit(both(after(1), 4)).await);
    assert_held(ground, &[]).await;
    let progress = lane.open().await.expect("opens");
    assert!(progress.shards.iter().all(|stored| stored.position == Position::Start), "{progress:?}");
    lane.commit(both(Position::Start, 4)).await.expect("commits");
    assert_held(ground, &[put(3, "a"), put(4, "b")]).await;
    let progress = lane.open().await.expect("opens");
    assert!(progress.shards.iter().all(|stored| stored.position == after(4)), "{progress:?}");
}

/// The end of a shard is a position like any other: with events, without, and stored for ever.
pub async fn the_end_is_ordinary_progress(ground: &mut impl Ground) {
    let mut lane = ready(ground).await;
    let empty = shard_of(0, 1, 1);
    let batches = [
        advance(&shard(), Position::Start, Position::End, &[put(1, "a")]),
        register(&empty, Some(&shard())),
        advance(&empty, Position::Start, Position::End, &[]),
    ];
    lane.commit(group(batches)).await.expect("commits");
    assert_step_refused(lane.commit(group([advance(&shard(), Position::Start, after(1), &[put(1, "a")])])).await);
    let (_lane, progress) = opened(ground).await;
    assert_eq!(progress.shards.len(), 2);
    assert!(progress.shards.iter().all(|stored| stored.position == Position::End), "{progress:?}");
    assert_held(ground, &[put(1, "a")]).await;
}

/// Progress belongs to one stream: another one of the same table begins with nothing and is told of the first. The first
/// one's is still there when it comes back.
pub async fn another_stream_of_the_table_begins_anew_and_is_told(ground: &mut impl Ground) {
    let mut lane = ready(ground).await;
    lane.commit(group([advance(&shard(), Position::Start, after(1), &[put(1, "a")])])).await.expect("commits");
    let second = pipeline("contract", 1, "b");
    let mut lane = claimed(ground, &second).await.remove(0);
    let progress = lane.open().await.expect("opens");
    let stream_arn = one_lane().stream.stream_arn;
    let first = PreviousStream { stream_arn, read_until: None, is_of_another_table: false };
    assert_eq!((progress.shards.len(), progress.previous_stream), (0, Some(first)));
    lane.commit(group([register(&shard(), None), advance(&shard(), Position::Start, after(2), &[put(2, "b")])]))
        .await
        .expect("the same shard of another stream");
    assert_eq!(position(&lane.open().await.expect("opens")), Some(after(2)));
    assert_eq!(stored_position(ground).await, Some(after(1)));
}

/// Another pipeline on the same ground is refused or begins with nothing, and fences nobody.
pub async fn progress_of_another_pipeline_is_left_alone(ground: &mut impl Ground) {
    let mut lane = ready(ground).await;
    lane.commit(group([advance(&shard(), Position::Start, after(1), &[put(1, "a")])])).await.expect("commits");
    if let Ok(others) = ground.claim(&pipeline("another", 1, "a")).await {
        let mut others = others.lanes;
        let progress = others[0].open().await.expect("opens");
        assert_eq!(progress, Progress::default());
        others[0].commit(group([register(&shard(), None)])).await.expect("its own shard");
    }
    lane.commit(group([advance(&shard(), after(1), after(2), &[put(2, "a")])])).await.expect("it is still ours");
    assert_eq!(stored_position(ground).await, Some(after(2)));
}

/// Shards are dealt to lanes by their number, so another number is refused, and the refused claim fences nobody.
pub async fn another_number_of_lanes_is_refused(ground: &mut impl Ground) {
    let mut lane = ready(ground).await;
    let code = ground.claim(&pipeline("contract", 2, "a")).await.map(|_| ()).map_err(|trouble| trouble.code);
    assert_eq!(code, Err("sink.lane_count"));
    lane.commit(group([advance(&shard(), Position::Start, after(1), &[put(1, "a")])])).await.expect("it is still ours");
}
