//! Who may write: the newest claim, in its own lanes, once it has opened.

use tailwater_model::{Committed, Position, Sink};

use super::{
    assert_held, assert_step_refused, claimed, halt_code, one_lane, opened, position, ready, reopen_code, shard,
};
use crate::contract::{Ground, advance, after, group, pipeline, put, register, shard_of};

/// An empty group writes nothing, and tells whether the lane is still ours.
pub async fn an_empty_group_only_checks_the_owner(ground: &mut impl Ground) {
    let mut first = ready(ground).await;
    assert_eq!(first.commit(group([])).await.expect("ours"), Committed::default());
    let (mut second, progress) = opened(ground).await;
    assert_eq!(position(&progress), Some(Position::Start));
    assert_eq!(halt_code(first.commit(group([])).await), "sink.taken_over");
    assert_eq!(second.commit(group([])).await.expect("ours"), Committed::default());
    assert_held(ground, &[]).await;
}

/// I7: a lane takes nothing before it is opened, and nothing after an error until it is opened again.
pub async fn committing_without_opening_is_refused(ground: &mut impl Ground) {
    let mut lane = claimed(ground, &one_lane()).await.remove(0);
    let write = || group([register(&shard(), None), advance(&shard(), Position::Start, after(1), &[put(1, "a")])]);
    assert_eq!(reopen_code(lane.commit(write()).await), "sink.not_open");
    assert_held(ground, &[]).await;
    lane.open().await.expect("opens");
    lane.commit(write()).await.expect("commits");
    assert_step_refused(lane.commit(write()).await);
    let fits = lane.commit(group([advance(&shard(), after(1), after(2), &[put(2, "b")])])).await;
    assert_eq!(reopen_code(fits), "sink.not_open");
    assert_held(ground, &[put(1, "a")]).await;
    lane.open().await.expect("opens");
    lane.commit(group([advance(&shard(), after(1), after(2), &[put(2, "b")])])).await.expect("commits");
    assert_held(ground, &[put(1, "a"), put(2, "b")]).await;
}

/// P4: after a second claim nothing of the first is visible, and the first halts whatever it tries.
pub async fn the_second_claim_fences_the_first(ground: &mut impl Ground) {
    let mut first = ready(ground).await;
    let (mut second, progress) = opened(ground).await;
    assert_eq!(position(&progress), Some(Position::Start));
    let stale = group([advance(&shard(), Position::Start, after(1), &[put(1, "stale")])]);
    assert_eq!(halt_code(first.commit(stale).await), "sink.taken_over");
    assert_eq!(halt_code(first.open().await), "sink.taken_over");
    assert_held(ground, &[]).await;
    let own = group([advance(&shard(), Position::Start, after(2), &[put(1, "a"), put(2, "b")])]);
    second.commit(own).await.expect("goes on, undisturbed by the first");
    assert_eq!(position(&second.open().await.expect("opens")), Some(after(2)));
    assert_held(ground, &[put(1, "a"), put(2, "b")]).await;
}

/// P4: of three claims the newest goes on, whichever of the others tries last.
pub async fn the_newest_of_three_claims_wins(ground: &mut impl Ground) {
    let mut first = ready(ground).await;
    let (mut second, _) = opened(ground).await;
    let (mut third, _) = opened(ground).await;
    assert_eq!(halt_code(second.open().await), "sink.taken_over");
    assert_eq!(halt_code(first.open().await), "sink.taken_over");
    third.commit(group([advance(&shard(), Position::Start, after(1), &[put(1, "a")])])).await.expect("goes on");
    assert_held(ground, &[put(1, "a")]).await;
}

/// Lanes of one claim do not disturb one another: each has its own shards, its own failures, its own openings.
pub async fn lanes_are_independent(ground: &mut impl Ground) {
    const LANES: u32 = 2;
    let identity = pipeline("contract", LANES, "a");
    let shards = [shard_of(0, LANES, 0), shard_of(1, LANES, 0)];
    let mut lanes = claimed(ground, &identity).await;
    for (lane, shard) in lanes.iter_mut().zip(&shards) {
        assert!(lane.open().await.expect("opens").shards.is_empty());
        lane.commit(group([register(shard, None)])).await.expect("registers");
    }
    assert_step_refused(lanes[0].commit(group([advance(&shards[0], after(5), after(6), &[put(6, "z")])])).await);
    lanes[1].commit(group([advance(&shards[1], Position::Start, after(1), &[put(1, "a")])])).await.expect("commits");
    let progress = lanes[0].open().await.expect("opens");
    assert_eq!((progress.shards.len(), &progress.shards[0].shard), (1, &shards[0]), "only its own shard");
    lanes[1].commit(group([advance(&shards[1], after(1), after(2), &[put(2, "b")])])).await.expect("it is still open");
    lanes[0].commit(group([advance(&shards[0], Position::Start, after(3), &[put(3, "c")])])).await.expect("commits");
    assert_held(ground, &[put(1, "a"), put(2, "b"), put(3, "c")]).await;
}

/// I2: a lane cannot move a shard that is stored in another lane.
pub async fn a_lane_moves_only_its_own_shards(ground: &mut impl Ground) {
    const LANES: u32 = 2;
    let identity = pipeline("contract", LANES, "a");
    let foreign = shard_of(1, LANES, 0);
    let mut lanes = claimed(ground, &identity).await;
    for lane in &mut lanes {
        lane.open().await.expect("opens");
    }
    lanes[1].commit(group([register(&foreign, None)])).await.expect("registers");
    assert_step_refused(lanes[0].commit(group([advance(&foreign, Position::Start, after(1), &[put(1, "a")])])).await);
    assert_held(ground, &[]).await;
    lanes[1].commit(group([advance(&foreign, Position::Start, after(1), &[put(1, "a")])])).await.expect("its own");
    assert_held(ground, &[put(1, "a")]).await;
}
