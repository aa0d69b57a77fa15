//! I11: a target and its progress belong together.

use tailwater_model::{FirstListing, Group, PipelineIdentity, Position, ServiceTime, Sink, TroubleKind};

use super::{claimed, halt_code, one_lane, opened, position, ready, shard};
use crate::contract::{LossyGround, TableGround, advance, after, group, pipeline, put, register};

/// The first change of [`shard`] is carried, and the process has ended.
async fn carried<G: LossyGround>(ground: &mut G) {
    ground.keep_removed();
    let mut lane = ready(ground).await;
    lane.commit(group([advance(&shard(), Position::Start, after(1), &[put(1, "a")])])).await.expect("commits");
}

/// A claim is refused, again and again by the same code and token. Gives them.
pub(super) async fn refused<G: LossyGround>(ground: &mut G, identity: &PipelineIdentity) -> (&'static str, String) {
    let mut told = Vec::new();
    for _ in 0..2 {
        let trouble = ground.claim(identity).await.map(drop).expect_err("it does not belong together");
        assert_eq!(trouble.kind, TroubleKind::DataAtRisk, "{trouble:?}");
        let advice = trouble.advice.unwrap_or_default();
        let token = advice.split("adopt = \"").nth(1).and_then(|rest| rest.split('"').next()).unwrap_or_default();
        told.push((trouble.code, token.to_owned()));
    }
    assert_eq!(told[0], told[1], "a supervisor that starts again gets the same answer");
    assert!(!told[0].1.is_empty(), "{told:?}");
    told.remove(0)
}

/// The token is good once: left in the file, it lets nothing pass when the progress is lost once more.
pub async fn a_target_without_its_progress_is_adopted_once<G: LossyGround>(ground: &mut G) {
    carried(ground).await;
    ground.lose_progress().await;
    let (code, token) = refused(ground, &one_lane()).await;
    assert_eq!(code, "sink.target_without_progress");
    ground.adopt("some other");
    assert_eq!(refused(ground, &one_lane()).await, (code, token.clone()));
    ground.adopt(&token);
    let (mut lane, progress) = opened(ground).await;
    assert_eq!(position(&progress), None, "it begins anew");
    // Nothing was committed yet, and the target belongs to it already.
    drop(lane);
    lane = opened(ground).await.0;
    let again = [register(&shard(), None), advance(&shard(), Position::Start, after(2), &[put(2, "b")])];
    lane.commit(group(again)).await.expect("commits");
    drop(lane);
    assert_eq!(position(&opened(ground).await.1), Some(after(2)), "a left-over token does nothing");
    ground.lose_progress().await;
    assert_ne!(refused(ground, &one_lane()).await, (code, token));
}

/// An empty target in place of the one that was written to would hide that everything in it is missing (I8).
pub async fn a_target_that_is_gone_is_not_made_again_in_silence<G: LossyGround>(ground: &mut G) {
    carried(ground).await;
    ground.lose_target().await;
    let (code, token) = refused(ground, &one_lane()).await;
    assert_eq!(code, "sink.target_missing");
    ground.adopt(&token);
    let (mut lane, progress) = opened(ground).await;
    assert_eq!(position(&progress), Some(after(1)), "it goes on");
    lane.commit(group([advance(&shard(), after(1), after(2), &[put(2, "b")])])).await.expect("commits");
    drop(lane);
    ground.lose_target().await;
    assert_eq!(refused(ground, &one_lane()).await.0, code);
}

/// Nor may somebody else have made it.
pub async fn a_target_that_was_made_again_is_refused<G: LossyGround>(ground: &mut G) {
    carried(ground).await;
    ground.lose_target().await;
    ground.make_target().await;
    let (code, token) = refused(ground, &one_lane()).await;
    assert_eq!(code, "sink.target_replaced");
    ground.adopt(&token);
    let (mut lane, progress) = opened(ground).await;
    assert_eq!(position(&progress), Some(after(1)), "it goes on");
    lane.commit(group([advance(&shard(), after(1), after(2), &[put(2, "b")])])).await.expect("commits");
}

/// What was carried before is not in another target.
pub async fn another_target_is_refused_until_it_is_adopted<G: LossyGround>(ground: &mut G) {
    carried(ground).await;
    ground.name_another_target();
    let (code, token) = refused(ground, &one_lane()).await;
    assert_eq!(code, "sink.target_changed");
    ground.adopt(&token);
    assert_eq!(position(&opened(ground).await.1), Some(after(1)), "it goes on");
    claimed(ground, &one_lane()).await;
}

/// The items of another table have no place among those of the first.
pub async fn another_source_is_refused<G: LossyGround>(ground: &mut G) {
    carried(ground).await;
    let mut identity = one_lane();
    identity.stream.table.push_str("-restored");
    assert_eq!(refused(ground, &identity).await.0, "sink.source_changed");
    claimed(ground, &one_lane()).await;
}

/// Two pipelines that write to one target undo one another's work. The first one is not disturbed.
pub async fn a_second_pipeline_on_the_target_is_refused<G: LossyGround>(ground: &mut G) {
    ground.keep_removed();
    let mut lane = ready(ground).await;
    lane.commit(group([advance(&shard(), Position::Start, after(1), &[put(1, "a")])])).await.expect("commits");
    ground.claim(&pipeline("another", 1, "a")).await.map(drop).expect_err("it belongs to the first");
    lane.commit(group([advance(&shard(), after(1), after(2), &[put(2, "b")])])).await.expect("it is still ours");
}

/// A token that was not needed is not good for what happens later.
pub async fn a_token_does_not_outlive_a_start_that_succeeds<G: LossyGround>(ground: &mut G) {
    carried(ground).await;
    let mut other = one_lane();
    other.stream.table.push_str("-restored");
    let (code, token) = refused(ground, &other).await;
    ground.adopt(&token);
    claimed(ground, &one_lane()).await;
    let (again, newer) = refused(ground, &other).await;
    assert_eq!(again, code);
    assert_ne!(newer, token);
}

/// What shards say of writing goes with them; that something was written stays.
pub async fn what_was_written_is_known_when_its_shards_are_forgotten<G: TableGround>(ground: &mut G) {
    carried(ground).await;
    let second = pipeline("contract", 1, "b");
    let mut lane = claimed(ground, &second).await.remove(0);
    lane.open().await.expect("opens");
    let first_listing = Some(FirstListing::stored(ServiceTime::from_ms(1_700_000_000_000)));
    let known = Group { first_listing, ..group([register(&shard(), None)]) };
    lane.commit(known).await.expect("the first stream is forgotten");
    drop(lane);
    ground.lose_target().await;
    assert_eq!(refused(ground, &second).await.0, "sink.target_missing");
}

/// With `start = "latest"` nothing of what happened meanwhile would be read.
pub async fn progress_that_lost_its_shards_is_not_begun_anew_in_silence<G: TableGround>(ground: &mut G) {
    // Nothing was written yet.
    drop(ready(ground).await);
    ground.lose_shards().await;
    let (code, token) = refused(ground, &one_lane()).await;
    assert_eq!(code, "sink.target_without_progress");
    ground.adopt(&token);
    drop(opened(ground).await);
    // Nothing is begun yet.
    let (mut lane, progress) = opened(ground).await;
    assert_eq!(position(&progress), None, "it begins anew");
    let again = [register(&shard(), None), advance(&shard(), Position::Start, after(1), &[put(1, "a")])];
    lane.commit(group(again)).await.expect("commits");
    drop(lane);
    ground.lose_shards().await;
    let (again, newer) = refused(ground, &one_lane()).await;
    assert_eq!(again, code);
    assert_ne!(newer, token);
}

/// It is the same table, and what was written to it is gone.
pub async fn a_target_that_lost_its_rows_is_refused<G: TableGround>(ground: &mut G) {
    carried(ground).await;
    ground.empty_target().await;
    let (code, token) = refused(ground, &one_lane()).await;
    assert_eq!(code, "sink.target_replaced");
    ground.adopt(&token);
    drop(opened(ground).await);
    // Nothing was written since.
    let (mut lane, progress) = opened(ground).await;
    assert_eq!(position(&progress), Some(after(1)), "it goes on");
    lane.commit(group([advance(&shard(), after(1), after(2), &[put(2, "b")])])).await.expect("commits");
    ground.empty_target().await;
    assert_eq!(halt_code(lane.open().await), code);
    drop(lane);
    assert_eq!(refused(ground, &one_lane()).await.0, code);
}

/// A table of the same name that comes while the pipeline runs is not begun upon.
pub async fn a_lane_does_not_go_on_in_another_target<G: TableGround>(ground: &mut G) {
    ground.keep_removed();
    let mut lane = ready(ground).await;
    lane.commit(group([advance(&shard(), Position::Start, after(1), &[put(1, "a")])])).await.expect("commits");
    ground.lose_target().await;
    ground.make_target().await;
    lane.commit(group([advance(&shard(), after(1), after(2), &[put(2, "b")])])).await.expect_err("another table");
    assert_eq!(halt_code(lane.open().await), "sink.target_replaced");
    assert!(ground.held().await.is_empty(), "nothing was written to it");
}
