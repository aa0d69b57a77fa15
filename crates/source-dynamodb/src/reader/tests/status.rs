//! What is told of the reading.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tailwater_model::{Delivery, Source};
use tokio::time::timeout;

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

/// F5: what another lane has read, and not committed, takes all the memory.
#[tokio::test(start_paused = true)]
async fn a_lane_that_waits_for_memory_says_so() {
    let fake = Fake::new(vec![("a", open(3)), ("d", open(3))]);
    let (holding, waiting) = (id("a").lane(2) as usize, id("d").lane(2) as usize);
    assert_ne!(holding, waiting, "one shard a lane");
    // Room for one page at a time.
    let mut run = Run::open(&fake, 2, ReaderSettings { until_tip: false, memory_bytes_max: 1, ..settings() }).await;
    run.run(5 * MINUTE).await.expect("no trouble");
    fake.change("a", |shard| shard.records = 6);
    let held = loop {
        if let Ok(Delivery::Batch(batch)) = run.lanes[holding].next().await
            && !batch.events.is_empty()
        {
            break batch;
        }
    };
    let waited = timeout(MINUTE, run.lanes[waiting].next()).await;
    assert!(waited.is_err(), "nothing can be read");
    let LaneReading::WaitingForMemory { seconds } = run.status.status().lanes[waiting] else { panic!("waits") };
    assert!((50..=60).contains(&seconds), "{seconds}");

    run.lanes[holding].committed(&[(held.shard, held.step)], None);
    let idle = timeout(MINUTE, run.lanes[waiting].next()).await;
    assert!(idle.is_err(), "there is nothing to read");
    assert_eq!(run.status.status().lanes[waiting], LaneReading::Idle);
}

/// What a gap stops is neither idle nor reading, whoever keeps it from being put on record.
#[tokio::test(start_paused = true)]
async fn a_lane_with_a_gap_that_stops_says_so() {
    let fake = Fake::new(vec![("a", open(3))]);
    let mut run = Run::open(&fake, 1, ReaderSettings { until_tip: false, ..settings() }).await;
    run.run(MINUTE).await.expect("no trouble");
    fake.change("a", |shard| (shard.records, shard.trimmed) = (9, 6));
    run.run(MINUTE).await.expect("no trouble");
    assert!(run.gaps.iter().any(|gap| gap.stop), "{:?}", run.gaps);
    assert_eq!(run.status.status().lanes, [LaneReading::Stopping]);
}

/// F5: a lane that was never open may hold what is furthest behind.
#[tokio::test(start_paused = true)]
async fn lag_and_headroom_are_not_told_before_every_lane_was_open() {
    let fake = Fake::new(vec![("a", open(3)), ("d", open(3))]);
    let mut run = Run::new(&fake, 2, ReaderSettings { until_tip: false, ..settings() });
    run.reopen(0).await;
    for _ in 0..9_000 {
        run.turn(0).await.expect("no trouble");
    }
    let status = run.status.status();
    assert!(status.now.is_some(), "it was answered");
    assert_eq!((status.lag(), status.headroom()), (None, None));
    run.reopen(1).await;
    run.run(10 * MINUTE).await.expect("no trouble");
    let status = run.status.status();
    assert_eq!(status.lag(), Some(Duration::ZERO));
    assert!(status.headroom().is_some_and(|left| left > 23 * 60 * MINUTE), "{:?}", status.headroom());
}

/// What was logged.
#[derive(Clone, Default)]
struct Logged(Arc<Mutex<Vec<u8>>>);

impl Write for Logged {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("not poisoned").write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A person is told once when the service's clock leaps: what follows from it may be a gap.
#[tokio::test(start_paused = true)]
async fn a_leap_of_the_dates_is_logged_once_with_both_moments() {
    let (logged, fake) = (Logged::default(), Fake::new(vec![("a", open(3))]));
    let writer = logged.clone();
    let lines = tracing_subscriber::fmt().with_writer(move || writer.clone()).with_ansi(false);
    let _logging = tracing::subscriber::set_default(lines.finish());
    let mut run = Run::open(&fake, 1, ReaderSettings { until_tip: false, ..settings() }).await;
    run.run(10 * MINUTE).await.expect("no trouble");
    fake.stream().leap = 5 * 60 * MINUTE;
    run.run(10 * MINUTE).await.expect("no trouble");
    let text = String::from_utf8(logged.0.lock().expect("not poisoned").clone()).expect("UTF-8");
    let told: Vec<&str> =
        text.lines().filter(|line| line.contains("the dates of the service's answers leap")).collect();
    let [line] = told[..] else { panic!("told once: {text}") };
    // Ten minutes after the beginning, and five hours later.
    assert!(line.contains("WARN"), "{line}");
    assert!(line.contains("from=2026-09-21T14:23:") && line.contains("to=2026-09-21T19:23:"), "{line}");
}
