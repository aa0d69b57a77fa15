//! The cases. Each begins on an empty ground.
//!
//! A case panics when the rule is broken: it is a test's body.

#![expect(clippy::expect_used, clippy::panic, reason = "a case is the body of a test")]

mod belonging;
mod interrupted;
mod kept_aside;
mod moments;
mod order;
mod owners;
mod ownership;
mod progress;
mod scattered;
mod wilful;

use std::fmt::Debug;

use tailwater_model::{Claimed, Failure, PipelineIdentity, Position, Progress, ShardId, Sink};

use super::{Ground, Write, expected, group, pipeline, register, shard_of};

pub use belonging::*;
pub use interrupted::*;
pub use kept_aside::*;
pub use moments::*;
pub use order::*;
pub use owners::*;
pub use ownership::*;
pub use progress::*;
pub use scattered::*;
pub use wilful::*;

/// The pipeline of most cases.
fn one_lane() -> PipelineIdentity {
    pipeline("contract", 1, "a")
}

/// The shard of most cases.
fn shard() -> ShardId {
    shard_of(0, 1, 0)
}

async fn claimed<G: Ground>(ground: &mut G, identity: &PipelineIdentity) -> Vec<G::Lane> {
    owned(ground, identity).await.lanes
}

/// A claim with what is said of its owner.
async fn owned<G: Ground>(ground: &mut G, identity: &PipelineIdentity) -> Claimed<G::Lane, G::Ownership> {
    let claimed = ground.claim(identity).await.unwrap_or_else(|trouble| panic!("the claim: {trouble:?}"));
    assert_eq!(claimed.lanes.len(), identity.lanes as usize, "one lane for each");
    claimed
}

/// The only lane of a new claim, open.
async fn opened<G: Ground>(ground: &mut G) -> (G::Lane, Progress) {
    let mut lane = claimed(ground, &one_lane()).await.remove(0);
    let progress = lane.open().await.expect("a fresh claim opens");
    (lane, progress)
}

/// The only lane, open, with [`shard`] known.
async fn ready<G: Ground>(ground: &mut G) -> G::Lane {
    let (mut lane, _) = opened(ground).await;
    lane.commit(group([register(&shard(), None)])).await.expect("registers");
    lane
}

/// The stored position of [`shard`].
fn position(progress: &Progress) -> Option<Position> {
    progress.shards.iter().find(|stored| stored.shard == shard()).map(|stored| stored.position.clone())
}

/// The position that a fresh claim finds.
async fn stored_position<G: Ground>(ground: &mut G) -> Option<Position> {
    let (_lane, progress) = opened(ground).await;
    position(&progress)
}

/// Fails when anything else is held than these writes leave.
async fn assert_held(ground: &mut impl Ground, writes: &[Write]) {
    let manner = ground.manner();
    assert_eq!(ground.held().await, expected(manner, writes), "what is held");
}

fn reopen_code<T: Debug>(answer: Result<T, Failure>) -> &'static str {
    match answer {
        Err(Failure::Reopen(trouble)) => trouble.code,
        other => panic!("not asked to open again: {other:?}"),
    }
}

fn halt_code<T: Debug>(answer: Result<T, Failure>) -> &'static str {
    match answer {
        Err(Failure::Halt(trouble)) => trouble.code,
        other => panic!("not halted: {other:?}"),
    }
}

/// Fails unless the step was refused, with the advice to look again.
fn assert_step_refused<T: Debug>(answer: Result<T, Failure>) {
    assert_eq!(reopen_code(answer), "sink.step_refused");
}
