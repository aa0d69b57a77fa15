//! Whether an owner lives, seen by whoever it replaced.

use tailwater_model::{Owner, Ownership, Position, Sink, TroubleKind};

use super::{halt_code, one_lane, owned, ready, shard};
use crate::contract::{Ground, LossyGround, advance, after, group, put};

/// Looks at an owner that are enough to see what becomes of it: some may find no answer.
const LOOKS_MAX: usize = 20;

/// An owner is seen to live when it shows life, and only then.
pub async fn an_owner_lives_as_long_as_it_shows_life(ground: &mut impl Ground) {
    let mut first = owned(ground, &one_lane()).await.ownership;
    first.show_life().await.expect("it is the owner");
    let mut second = owned(ground, &one_lane()).await.ownership;
    second.show_life().await.expect("it is the owner");
    let seen = first.owner().await.expect("seen");
    assert_ne!(seen, Owner::Nobody);
    assert_eq!(first.owner().await.expect("seen"), seen, "looking is no life");
    second.show_life().await.expect("it is the owner");
    let later = first.owner().await.expect("seen");
    assert!(later != seen && later != Owner::Nobody, "{later:?} after {seen:?}");
    assert_eq!(second.owner().await.expect("seen"), later, "everybody sees the same");
}

/// Who hands over leaves nobody, until the next one comes.
pub async fn an_owner_that_hands_over_leaves_nobody(ground: &mut impl Ground) {
    let mut first = owned(ground, &one_lane()).await.ownership;
    let mut second = owned(ground, &one_lane()).await.ownership;
    second.show_life().await.expect("it is the owner");
    assert_ne!(first.owner().await.expect("seen"), Owner::Nobody);
    second.release().await.expect("hands over");
    assert_eq!(first.owner().await.expect("seen"), Owner::Nobody);
    let mut third = owned(ground, &one_lane()).await.ownership;
    third.show_life().await.expect("it is the owner");
    for watcher in [&mut first, &mut second] {
        assert_ne!(watcher.owner().await.expect("seen"), Owner::Nobody);
    }
}

/// Who was replaced has nothing to hand over, and disturbs nobody whatever it shows.
pub async fn who_was_replaced_hands_nothing_over(ground: &mut impl Ground) {
    let mut first_lane = ready(ground).await;
    let mut first = owned(ground, &one_lane()).await.ownership;
    let mut second = owned(ground, &one_lane()).await;
    second.ownership.show_life().await.expect("it is the owner");
    let mut lane = second.lanes.remove(0);
    lane.open().await.expect("opens");
    if let Err(trouble) = first.show_life().await {
        assert_eq!(trouble.kind, TroubleKind::Replaced, "{trouble:?}");
    }
    first.release().await.expect("says nothing");
    assert_ne!(second.ownership.owner().await.expect("seen"), Owner::Nobody);
    let write = group([advance(&shard(), Position::Start, after(1), &[put(1, "a")])]);
    lane.commit(write).await.expect("goes on undisturbed");
    assert_eq!(halt_code(first_lane.open().await), "sink.taken_over");
}

/// Whoever stands by must not stand by for ever: an owner whose progress is gone is nobody, or shows no more life.
pub async fn an_owner_whose_progress_is_gone_does_not_live<G: LossyGround>(ground: &mut G) {
    ground.keep_removed();
    let mut lane = ready(ground).await;
    lane.commit(group([advance(&shard(), Position::Start, after(1), &[put(1, "a")])])).await.expect("commits");
    drop(lane);
    let mut standby = owned(ground, &one_lane()).await.ownership;
    let mut owner = owned(ground, &one_lane()).await;
    owner.ownership.show_life().await.expect("it is the owner");
    let before = standby.owner().await.expect("seen");
    assert_ne!(before, Owner::Nobody);
    drop(owner);
    ground.lose_progress().await;
    let mut seen = Vec::new();
    for _ in 0..LOOKS_MAX {
        seen.extend(standby.owner().await.ok());
        if seen.len() == 2 {
            break;
        }
    }
    let is_dead = |owner: &Owner| *owner == Owner::Nobody || *owner == before;
    assert!(seen.len() == 2 && seen.iter().all(is_dead), "{seen:?} after {before:?}");
    // The claim decides, as that of a start does.
    let trouble = ground.claim(&one_lane()).await.map(drop).expect_err("the target is there without its progress");
    assert_eq!(trouble.kind, TroubleKind::DataAtRisk, "{trouble:?}");
}
