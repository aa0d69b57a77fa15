//! Processes of one pipeline, in paused time: the newest claim owns it, the others stand by, and take-overs are few.

mod claiming;
mod stage;

use std::time::Duration;

use tailwater_model::TroubleKind;
use tailwater_pipeline::Ended;
use tokio::time::{Instant, sleep};

use stage::{JITTER, LEASE, LOOK, Store};

#[tokio::test(start_paused = true)]
async fn two_copies_do_not_fight_and_the_newest_owns() {
    let store = Store::default();
    let first = store.process(true);
    sleep(Duration::from_secs(1)).await;
    let second = store.process(true);
    sleep(Duration::from_secs(600)).await;
    assert_eq!(store.claims(), 2, "one for each start");
    assert!(first.status().standing_by && !second.status().standing_by);
    assert_eq!(first.status().replaced, 1);
}

#[tokio::test(start_paused = true)]
async fn a_graceful_stop_hands_over_at_once() {
    let store = Store::default();
    let first = store.process(true);
    sleep(Duration::from_secs(1)).await;
    let second = store.process(true);
    sleep(Duration::from_secs(60)).await;
    second.stop.stop();
    let asked = Instant::now();
    assert_eq!(second.ended().await, Ok(Ended::Stopped));
    sleep(Duration::from_secs(60)).await;
    let claims = store.stored().claims.clone();
    assert_eq!(claims.len(), 3);
    assert!(claims[2] - asked <= LOOK + JITTER, "{:?}", claims[2] - asked);
    assert!(!first.status().standing_by);
}

#[tokio::test(start_paused = true)]
async fn an_owner_that_died_is_silent_for_the_lease() {
    let store = Store::default();
    let first = store.process(true);
    sleep(Duration::from_secs(1)).await;
    let second = store.process(true);
    sleep(Duration::from_secs(61)).await;
    second.task.abort();
    let died = Instant::now();
    sleep(Duration::from_secs(60)).await;
    let claims = store.stored().claims.clone();
    assert_eq!(claims.len(), 3);
    // Its last sign may be a third of the lease old.
    let waited = claims[2] - died;
    assert!((LEASE * 2 / 3..=LEASE + LOOK + JITTER).contains(&waited), "{waited:?}");
    assert!(!first.status().standing_by);
}

#[tokio::test(start_paused = true)]
async fn who_stands_by_and_is_asked_to_stop_takes_nothing() {
    let store = Store::default();
    let first = store.process(true);
    sleep(Duration::from_secs(1)).await;
    let second = store.process(true);
    sleep(Duration::from_secs(60)).await;
    first.stop.stop();
    assert_eq!(first.ended().await, Ok(Ended::Stopped));
    sleep(Duration::from_secs(60)).await;
    assert_eq!((store.claims(), store.is_released()), (2, false));
    assert!(!second.task.is_finished());
}

#[tokio::test(start_paused = true)]
async fn a_bounded_run_that_was_replaced_ends() {
    let store = Store::default();
    let bounded = store.process(false);
    sleep(Duration::from_secs(1)).await;
    let newer = store.process(true);
    let trouble = bounded.ended().await.expect_err("replaced");
    assert_eq!(trouble.kind, TroubleKind::Replaced);
    assert!(!store.is_released(), "it is not the owner's");
    assert!(!newer.task.is_finished());
}

#[tokio::test(start_paused = true)]
async fn a_claim_that_the_store_forgot_is_made_again() {
    let store = Store::default();
    let owner = store.process(true);
    sleep(Duration::from_secs(1)).await;
    store.stored().owner = 0;
    sleep(LEASE / 3 + LOOK).await;
    let of_store = store.stored().owner;
    assert_eq!((of_store, store.claims()), (2, 2));
    assert!(!owner.status().standing_by && owner.status().replaced == 0);
}

#[tokio::test(start_paused = true)]
async fn a_claim_in_trouble_is_made_again_and_a_first_one_is_not() {
    let store = Store::default();
    store.stored().refusals = 1;
    assert_eq!(store.process(true).ended().await.expect_err("refused").code, "test.refused");
    let waiting = store.process(true);
    sleep(Duration::from_secs(1)).await;
    store.claim();
    sleep(LEASE / 2).await;
    store.stored().refusals = 3;
    sleep(LEASE * 10).await;
    assert_eq!(store.claims(), 3);
    assert!(!waiting.status().standing_by);
}

#[tokio::test(start_paused = true)]
async fn an_owner_lives_while_it_goes_over_to_another_stream() {
    let store = Store::default();
    let first = store.process(true);
    sleep(Duration::from_secs(1)).await;
    // The newer one finds its stream at the end, and the next one only after minutes.
    store.stored().ends = Some((2, Duration::from_secs(300)));
    let second = store.process(true);
    sleep(Duration::from_secs(600)).await;
    assert_eq!(store.claims(), 3, "two starts, and the second once more for the next stream");
    assert!(first.status().standing_by && !second.status().standing_by);
}

/// Whoever goes over to another stream may find that others have gone further meanwhile: it goes on where they are.
#[tokio::test(start_paused = true)]
async fn whoever_goes_over_to_another_stream_chooses_anew() {
    let store = Store::default();
    store.stored().believes_signs = true;
    store.stored().ends = Some((1, Duration::from_secs(300)));
    let first = store.process(true);
    sleep(Duration::from_secs(100)).await;
    assert_eq!((store.stream(), store.claims()), (0, 1));
    // Somebody else has carried that one too, and the two after it.
    store.claim();
    store.stored().stream = 3;
    sleep(Duration::from_secs(300)).await;
    assert_eq!((store.stream(), store.claims()), (3, 3), "not the one that followed then");
    assert!(!first.task.is_finished() && !first.status().standing_by);
}

/// The owner that is asked to stop while it goes over to another stream hands over, too.
#[tokio::test(start_paused = true)]
async fn a_stop_between_two_streams_hands_over() {
    let store = Store::default();
    store.stored().ends = Some((1, Duration::from_secs(10)));
    let owner = store.process(true);
    sleep(Duration::from_secs(1)).await;
    store.stored().refusals = 100;
    sleep(Duration::from_secs(20)).await;
    assert!(!store.is_released());
    owner.stop.stop();
    assert_eq!(owner.ended().await, Ok(Ended::Stopped));
    assert_eq!((store.is_released(), store.claims()), (true, 1));
}

/// One that stands by and could not claim in time finds another owner, and leaves it alone.
#[tokio::test(start_paused = true)]
async fn whoever_fails_to_claim_looks_again() {
    let store = Store::default();
    let first = store.process(true);
    sleep(Duration::from_secs(1)).await;
    store.claim();
    sleep(Duration::from_secs(1)).await;
    store.stored().refusals = 1;
    // Its claim has failed, and is to be made again in some seconds.
    sleep(LEASE * 3 / 2).await;
    assert_eq!(store.stored().refusals, 0);
    let second = store.process(true);
    sleep(Duration::from_secs(600)).await;
    assert_eq!(store.claims(), 3);
    assert!(first.status().standing_by && !second.status().standing_by);
}

/// Two that stand by and look in the same instants; the owner hands over, and later dies.
async fn two_standbys(is_without_marks: bool) -> Store {
    let store = Store::default();
    store.stored().is_without_marks = is_without_marks;
    let processes = [store.process(true), store.process(true)];
    sleep(Duration::from_secs(1)).await;
    store.claim();
    sleep(LEASE / 2 + LOOK / 2).await;
    assert!(processes.iter().all(|process| process.status().standing_by));
    assert_eq!(store.claims(), 3);
    store.stored().claim_takes = Duration::from_millis(50);
    store.stored().released = true;
    sleep(Duration::from_secs(600)).await;
    assert_eq!(processes.iter().filter(|process| process.status().standing_by).count(), 1);
    store
}

#[tokio::test(start_paused = true)]
async fn of_two_that_stand_by_one_takes_the_pipeline() {
    assert_eq!(two_standbys(false).await.claims(), 4);
}

#[tokio::test(start_paused = true)]
async fn two_that_claim_in_the_same_moment_fight_once() {
    assert_eq!(two_standbys(true).await.claims(), 5);
}
