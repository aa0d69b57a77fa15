//! I11 where progress lies in several places, and where progress or target are lost while a process runs.

use tailwater_model::{Failure, Group, PipelineIdentity, Position, Sink};

use super::belonging::refused;
use super::{claimed, halt_code, one_lane, ready, shard};
use crate::contract::{ScatteredGround, advance, after, group, pipeline, put, register, shard_of};

fn two_lanes() -> PipelineIdentity {
    pipeline("contract", 2, "a")
}

/// Both lanes have carried the first change of a shard, and their sessions were written since.
async fn carrying<G: ScatteredGround>(ground: &mut G) -> Vec<G::Lane> {
    let mut lanes = claimed(ground, &two_lanes()).await;
    for (number, lane) in (0..).zip(&mut lanes) {
        lane.open().await.expect("opens");
        let shard = shard_of(number, 2, 0);
        let write = put(u64::from(number) + 1, &shard.to_string());
        lane.commit(group([register(&shard, None)])).await.expect("registers");
        lane.commit(group([advance(&shard, Position::Start, after(1), &[write])])).await.expect("commits");
    }
    for lane in &mut lanes {
        lane.commit(Group::default()).await.expect("it is still ours");
    }
    lanes
}

/// The code by which a commit stops the pipeline, at the latest where the lane is opened again.
async fn stopped(lane: &mut impl Sink, group: Group) -> &'static str {
    match lane.commit(group).await {
        Err(Failure::Reopen(_)) => halt_code(lane.open().await),
        committed => halt_code(committed),
    }
}

/// Part of the progress tells that there was more: what is left of it is not gone on with in silence.
async fn is_told_and_adopted_once<G: ScatteredGround>(ground: &mut G, lost: u32) {
    drop(carrying(ground).await);
    ground.lose_lane(lost).await;
    let (code, token) = refused(ground, &two_lanes()).await;
    assert_eq!(code, "sink.progress_gone");
    ground.adopt(&token);
    for (number, mut lane) in (0..).zip(claimed(ground, &two_lanes()).await) {
        let stored: Vec<_> =
            lane.open().await.expect("opens").shards.into_iter().map(|stored| stored.position).collect();
        let left = if number == lost { vec![] } else { vec![after(1)] };
        assert_eq!(stored, left, "lane {number}");
    }
    claimed(ground, &two_lanes()).await;
    ground.lose_lane(1 - lost).await;
    assert_ne!(refused(ground, &two_lanes()).await, (code, token));
}

/// The lane by which a pipeline is claimed.
pub async fn progress_of_the_first_lane_that_is_lost_is_adopted_once<G: ScatteredGround>(ground: &mut G) {
    is_told_and_adopted_once(ground, 0).await;
}

/// Any other one.
pub async fn progress_of_another_lane_that_is_lost_is_adopted_once<G: ScatteredGround>(ground: &mut G) {
    is_told_and_adopted_once(ground, 1).await;
}

/// A process that ends between its claim and the opening of its last lane leaves that one without anything.
pub async fn lanes_that_were_never_opened_have_lost_nothing<G: ScatteredGround>(ground: &mut G) {
    let mut lanes = claimed(ground, &two_lanes()).await;
    lanes[0].open().await.expect("opens");
    lanes[0].commit(group([register(&shard_of(0, 2, 0), None)])).await.expect("registers");
    drop(lanes);
    for mut lane in claimed(ground, &two_lanes()).await {
        lane.open().await.expect("opens");
    }
}

/// Who wrote the progress knows that there was some.
pub async fn progress_that_is_made_again_under_a_running_process_is_told<G: ScatteredGround>(ground: &mut G) {
    let mut lanes = carrying(ground).await;
    ground.lose_progress().await;
    ground.make_progress(2).await;
    let write = group([advance(&shard_of(0, 2, 0), after(1), after(2), &[put(3, "c")])]);
    for (lane, group) in lanes.iter_mut().zip([write, Group::default()]) {
        assert_eq!(stopped(lane, group).await, "sink.progress_gone");
    }
    drop(lanes);
    assert_eq!(refused(ground, &two_lanes()).await.0, "sink.target_without_progress");
}

/// Also in the first life of a pipeline, which found the target empty.
pub async fn a_target_that_is_made_again_under_a_running_process_is_told<G: ScatteredGround>(ground: &mut G) {
    let mut lane = ready(ground).await;
    let writes: Vec<_> = (1..=20).map(|number| put(number, &number.to_string())).collect();
    lane.commit(group([advance(&shard(), Position::Start, after(20), &writes)])).await.expect("commits");
    lane.commit(Group::default()).await.expect("it is still ours");
    ground.lose_target().await;
    ground.make_target().await;
    let write = group([advance(&shard(), after(20), after(21), &[put(21, "b")])]);
    assert_eq!(stopped(&mut lane, write).await, "sink.target_replaced");
    drop(lane);
    assert_eq!(refused(ground, &one_lane()).await.0, "sink.target_replaced");
}
