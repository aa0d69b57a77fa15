//! What is told of the reading.

use super::fake::{Fake, Run, id, settings};
use super::{MINUTE, open};
use crate::api::ApiErrorKind;
use crate::reader::LaneReading;
use crate::settings::ReaderSettings;

#[tokio::test(start_paused = true)]
async fn the_status_tells_stuck_from_idle() {
    let fake = Fake::new(vec![("a", open(3))]);
    let mut run = Run::open(&fake, 1, ReaderSettings { until_tip: false, ..settings() }).await;
    run.run(5 * MINUTE).await.expect("no trouble");
    let status = run.status.status();
    assert_eq!(status.lanes, [LaneReading::Idle]);
    assert_eq!(status.furthest_unread, None, "nothing is known to be unread");
    let behind = status.furthest_behind.expect("an open shard");
    let now = status.now.expect("answered");
    let age = behind.read_until.map(|moment| now.since(moment));
    assert_eq!(behind.shard, id("a"));
    assert!(age.is_some_and(|age| age < 3 * MINUTE), "{age:?}");

    fake.stream().faults = vec![ApiErrorKind::Credentials; 1_000].into();
    run.run(5 * MINUTE).await.expect("waited out");
    let [LaneReading::Trouble { seconds, why }] = &run.status.status().lanes[..] else { panic!("in trouble") };
    assert!((240..=300).contains(seconds), "{seconds}");
    assert!(why.contains("GetRecords of shard a") && why.contains("Credentials"), "{why}");
}

/// F5: another shard's answers say nothing of it, and a new session has no trouble yet.
#[tokio::test(start_paused = true)]
async fn one_shard_in_trouble_shows_among_others() {
    let fake = Fake::new(vec![("a", open(3)), ("b", open(3))]);
    let mut run = Run::open(&fake, 1, ReaderSettings { until_tip: false, ..settings() }).await;
    run.run(MINUTE).await.expect("no trouble");
    fake.change("a", |shard| shard.unanswered = true);
    run.run(MINUTE).await.expect("waited out");
    let unread = run.status.status().furthest_unread.map(|front| front.shard);
    assert_eq!(unread, Some(id("a")), "it was idle a moment ago, and nobody knows what came since");
    run.run(20 * MINUTE).await.expect("waited out");
    let status = run.status.status();
    let [LaneReading::Trouble { seconds, why }] = &status.lanes[..] else { panic!("in trouble") };
    assert!(*seconds > 18 * 60 && why.contains("shard a"), "{seconds}: {why}");
    assert_eq!(status.furthest_unread.map(|front| front.shard), Some(id("a")), "nobody knows what is in it");
    run.reopen(0).await;
    assert_eq!(run.status.status().lanes, [LaneReading::Reading]);
}

/// Shards that cannot be listed are not "nothing to do": without a listing a lane has nothing to read.
#[tokio::test(start_paused = true)]
async fn a_stream_that_cannot_be_listed_is_in_trouble() {
    let fake = Fake::new(vec![("a", open(3))]);
    fake.stream().listing_fault = Some(ApiErrorKind::Transient);
    let mut run = Run::open(&fake, 1, ReaderSettings { until_tip: false, ..settings() }).await;
    run.run(3 * MINUTE).await.expect("waited out");
    let [LaneReading::Trouble { seconds, why }] = &run.status.status().lanes[..] else { panic!("in trouble") };
    assert!(*seconds > 150 && why.contains("Transient"), "{seconds}: {why}");
    fake.stream().listing_fault = None;
    run.run(3 * MINUTE).await.expect("no trouble");
    assert_eq!((run.read("a").len(), &run.status.status().lanes[..]), (3, &[LaneReading::Idle][..]));
}
