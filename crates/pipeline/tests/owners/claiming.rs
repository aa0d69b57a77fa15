//! Between a claim and the first page: whoever has claimed lives, and hands over when it is stopped. And what a standby does that
//! cannot look.

use std::time::Duration;

use tailwater_pipeline::Ended;
use tokio::time::{Instant, sleep};

use crate::stage::{LEASE, Store};

/// What an answer takes where the stream is gone that progress belongs to: longer than an owner may be silent.
const SLOW: Duration = LEASE.saturating_mul(2);

#[tokio::test(start_paused = true)]
async fn whoever_has_claimed_lives_while_it_chooses_its_stream() {
    let store = Store::default();
    let first = store.process(true);
    sleep(Duration::from_secs(1)).await;
    store.stored().choice_takes = SLOW;
    let second = store.process(true);
    sleep(Duration::from_secs(600)).await;
    assert_eq!(store.claims(), 2, "one for each start");
    assert!(first.status().standing_by && !second.status().standing_by);
}

#[tokio::test(start_paused = true)]
async fn whoever_goes_over_to_another_stream_lives_until_it_carries() {
    let store = Store::default();
    let first = store.process(true);
    sleep(Duration::from_secs(1)).await;
    store.stored().ends = Some((2, Duration::from_secs(10)));
    let second = store.process(true);
    sleep(Duration::from_secs(1)).await;
    // Its claim for the next stream is refused for a while, too.
    store.stored().choice_takes = SLOW;
    store.stored().refusals = 4;
    sleep(Duration::from_secs(900)).await;
    assert_eq!(store.claims(), 3, "two starts, and the second once more for the next stream");
    assert!(first.status().standing_by && !second.status().standing_by);
    assert_eq!(store.stored().refusals, 0);
}

/// It does not take back what another process took while it could not claim.
#[tokio::test(start_paused = true)]
async fn whoever_is_replaced_while_it_goes_over_stands_by() {
    let store = Store::default();
    store.stored().ends = Some((1, Duration::from_secs(10)));
    let owner = store.process(true);
    sleep(Duration::from_secs(1)).await;
    store.stored().refusals = 100;
    sleep(Duration::from_secs(20)).await;
    assert!(!owner.status().standing_by);
    store.claim();
    sleep(LEASE / 2).await;
    assert!(owner.status().standing_by);
    assert_eq!(store.claims(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_stop_lets_a_claim_end_and_hands_over() {
    let store = Store::default();
    store.stored().claim_is_told_after = Duration::from_secs(3);
    let owner = store.process(true);
    sleep(Duration::from_secs(1)).await;
    assert_eq!((store.claims(), store.is_released()), (1, false));
    owner.stop.stop();
    assert_eq!(owner.ended().await, Ok(Ended::Stopped));
    assert_eq!((store.claims(), store.is_released()), (1, true));
}

#[tokio::test(start_paused = true)]
async fn a_stop_does_not_wait_for_a_claim_without_an_answer() {
    let store = Store::default();
    store.stored().claim_is_told_after = Duration::from_secs(3600);
    let owner = store.process(true);
    sleep(Duration::from_secs(1)).await;
    owner.stop.stop();
    let asked = Instant::now();
    assert_eq!(owner.ended().await, Ok(Ended::Stopped));
    assert!(asked.elapsed() < Duration::from_secs(10), "{:?}", asked.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_stop_between_a_claim_and_the_lanes_hands_over_at_once() {
    let store = Store::default();
    store.stored().choice_takes = SLOW;
    let owner = store.process(true);
    sleep(SLOW + Duration::from_secs(1)).await;
    assert_eq!((store.claims(), store.is_released()), (1, false));
    owner.stop.stop();
    let asked = Instant::now();
    assert_eq!(owner.ended().await, Ok(Ended::Stopped));
    assert!(asked.elapsed() < Duration::from_secs(1), "{:?}", asked.elapsed());
    assert_eq!((store.claims(), store.is_released()), (1, true));
}

#[tokio::test(start_paused = true)]
async fn a_stop_before_the_claim_takes_nothing() {
    let store = Store::default();
    store.stored().choice_takes = SLOW;
    let owner = store.process(true);
    sleep(Duration::from_secs(1)).await;
    owner.stop.stop();
    assert_eq!(owner.ended().await, Ok(Ended::Stopped));
    assert_eq!(store.claims(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_standby_that_cannot_look_bears_it_as_a_claim_and_no_longer() {
    let store = Store::default();
    let first = store.process(true);
    sleep(Duration::from_secs(1)).await;
    let second = store.process(true);
    sleep(Duration::from_secs(60)).await;
    assert!(first.status().standing_by);
    store.stored().is_unreadable = true;
    sleep(LEASE * 10).await;
    // The owner shows life, although nobody sees it.
    assert_eq!(store.claims(), 2);
    assert!(first.status().standing_by);
    store.stored().has_no_patience = true;
    assert_eq!(first.ended().await.expect_err("nobody can look").code, "test.refused");
    assert_eq!((store.claims(), store.is_released()), (2, false));
    assert!(!second.task.is_finished());
}

#[tokio::test(start_paused = true)]
async fn a_standby_tells_since_when_the_owner_is_silent() {
    let store = Store::default();
    let first = store.process(true);
    sleep(Duration::from_secs(1)).await;
    assert_eq!(first.status().owner_lives_at, None);
    let second = store.process(true);
    sleep(Duration::from_secs(61)).await;
    let silent_for = |at: Option<Instant>| at.expect("it is watched").elapsed();
    assert!(silent_for(first.status().owner_lives_at) <= LEASE / 3);
    second.task.abort();
    sleep(LEASE / 2).await;
    let silent = silent_for(first.status().owner_lives_at);
    assert!((LEASE / 3..LEASE).contains(&silent), "{silent:?}");
    sleep(LEASE).await;
    assert_eq!(first.status().owner_lives_at, None, "it is the owner itself now");
}
