//! The reader against a scripted stream, in paused time.

mod clock;
mod fake;
mod latest;
mod repeats;
mod status;

use std::time::Duration;

use tailwater_model::{Finished, FirstListing, GapCause, Position, TroubleKind};

use crate::api::ApiErrorKind;
use crate::settings::{OnGap, ReaderSettings};
use fake::{BEGINNING, Fake, FakeShard, Run, id, settings};

const MINUTE: Duration = Duration::from_secs(60);

fn root(records: u64) -> FakeShard {
    FakeShard { records, closed: true, ..FakeShard::default() }
}

fn open(records: u64) -> FakeShard {
    FakeShard { records, ..FakeShard::default() }
}

fn child(parent: &str, records: u64) -> FakeShard {
    FakeShard { parent: Some(id(parent)), ..root(records) }
}

/// Splits, rotations, empty shards, empty pages, ends with and without records, late children, a trimmed parent.
fn lineages() -> Fake {
    Fake::new(vec![
        ("a", FakeShard { empty_pages: 9, ..root(10) }),
        ("b", FakeShard { end_apart: true, ..child("a", 7) }),
        ("c", FakeShard { listed_from: 3, ..child("a", 0) }),
        ("d", FakeShard { listed_from: 4, closed: false, ..child("b", 4) }),
        ("e", FakeShard { closed: false, ..child("c", 5) }),
        ("f", FakeShard { closed: false, ..child("trimmed-long-ago", 3) }),
    ])
}

fn until(count: u64) -> Vec<u64> {
    (1..=count).collect()
}

async fn lineages_run(settings: ReaderSettings, lanes: u32, change: impl FnOnce(&Fake)) -> (Fake, Run) {
    let fake = lineages();
    change(&fake);
    let mut run = Run::open(&fake, lanes, settings).await;
    let finished = run.run(5 * MINUTE).await.expect("no trouble");
    assert_eq!(finished, vec![Finished::Tip; lanes as usize]);
    assert!(run.gaps.is_empty());
    for (shard, count) in [("a", 10), ("b", 7), ("c", 0), ("d", 4), ("e", 5), ("f", 3)] {
        assert_eq!(run.read(shard), until(count), "{shard}");
    }
    (fake, run)
}

#[tokio::test(start_paused = true)]
async fn a_bounded_run_carries_everything_once() {
    for (lanes, filter_ignored) in [(1, false), (1, true), (3, false), (3, true)] {
        lineages_run(settings(), lanes, |fake| fake.stream().filter_ignored = filter_ignored).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_bounded_run_ends_under_live_traffic() {
    let fake = Fake::new(vec![("a", open(10)), ("b", open(4))]);
    fake.stream().writes_per_page = 2;
    let mut run = Run::open(&fake, 2, settings()).await;
    let finished = run.run(5 * MINUTE).await.expect("no trouble");
    assert_eq!(finished, vec![Finished::Tip; 2]);
    assert!(run.read("a").len() >= 10 && run.read("b").len() >= 4, "what was there is carried");
}

/// Seed postgres 5100000455: as many empty pages as prove that a shard is idle take longer than the lane stays open.
#[tokio::test(start_paused = true)]
async fn a_bounded_run_ends_although_its_lane_is_opened_again_and_again() {
    let fake = Fake::new(vec![("a", open(0)), ("b", open(4))]);
    let mut run = Run::open(&fake, 1, settings()).await;
    let mut finished = Vec::new();
    for _ in 0..30 {
        finished = run.run(Duration::from_secs(2)).await.expect("no trouble");
        if !finished.is_empty() {
            break;
        }
        run.reopen(0).await;
    }
    assert_eq!(finished, [Finished::Tip]);
    assert_eq!((run.read("b"), fake.calls("GetShardIterator a")), (until(4), 1));
}

#[tokio::test(start_paused = true)]
async fn throttling_and_passing_errors_lose_nothing() {
    let (fake, _) = lineages_run(settings(), 2, |fake| {
        let mut stream = fake.stream();
        stream.throttle_every = 4;
        stream.page_shards = 1;
        use ApiErrorKind::{Credentials, IteratorExpired, Transient};
        stream.faults = [Transient, IteratorExpired, IteratorExpired, Credentials, Transient].into();
    })
    .await;
    assert!(fake.stream().faults.is_empty());
}

#[tokio::test(start_paused = true)]
async fn the_same_seed_gives_the_same_trace() {
    let run = async |seed| {
        let (fake, _) =
            lineages_run(ReaderSettings { seed, ..settings() }, 2, |fake| fake.stream().throttle_every = 3).await;
        let stream = fake.stream();
        stream.trace.clone()
    };
    let first = run(5).await;
    assert_eq!(first, run(5).await);
    assert_ne!(first, run(6).await, "the seed is used");
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_was_turned_off_ends() {
    let fake = Fake::new(vec![("a", root(5)), ("b", child("a", 2))]);
    fake.stream().disabled = true;
    let mut run = Run::open(&fake, 2, ReaderSettings { until_tip: false, ..settings() }).await;
    assert_eq!(run.run(5 * MINUTE).await, Ok(vec![Finished::StreamEnded; 2]));
    assert_eq!((run.read("a"), run.read("b")), (until(5), until(2)));
}

#[tokio::test(start_paused = true)]
async fn a_reopen_reads_again_what_was_not_durable() {
    let fake = lineages();
    let mut run = Run::open(&fake, 2, settings()).await;
    run.group_max = 5;
    for turn in 0..600_usize {
        if turn % 37 == 0 {
            run.reopen(turn % 2).await;
        }
        if run.turn(turn % 2).await.expect("no trouble").is_some() {
            break;
        }
    }
    run.run(5 * MINUTE).await.expect("no trouble");
    assert_eq!((run.read("a"), run.read("d"), run.read("e")), (until(10), until(4), until(5)));
}

#[tokio::test(start_paused = true)]
async fn ends_at_once_are_one_listing_where_that_is_one_call() {
    let fake = Fake::new(vec![("a", open(2)), ("b", open(2)), ("c", open(2))]);
    fake.stream().page_shards = 100;
    let follow = ReaderSettings { until_tip: false, discovery_interval: 60 * MINUTE, ..settings() };
    let mut run = Run::open(&fake, 1, follow).await;
    run.run(5 * MINUTE).await.expect("no trouble");
    fake.stream().trace.clear();
    for (parent, heir) in [("a", "d"), ("b", "e"), ("c", "f")] {
        fake.change(parent, |shard| shard.closed = true);
        fake.stream().shards.insert(id(heir), FakeShard { closed: false, ..child(parent, 2) });
    }
    run.run(MINUTE).await.expect("no trouble");
    for heir in ["d", "e", "f"] {
        assert_eq!(run.read(heir), until(2), "{heir}");
    }
    assert_eq!((fake.calls("DescribeStream"), fake.calls("ShardFilter")), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_child_that_is_listed_late_is_asked_for_again_where_a_listing_takes_more_calls() {
    for filter_ignored in [false, true] {
        let fake = Fake::new(vec![("a", open(2)), ("b", open(2)), ("c", open(2)), ("d", open(2)), ("e", open(2))]);
        fake.stream().filter_ignored = filter_ignored;
        let follow = ReaderSettings { until_tip: false, discovery_interval: 60 * MINUTE, ..settings() };
        let mut run = Run::open(&fake, 1, follow).await;
        run.run(5 * MINUTE).await.expect("no trouble");
        fake.stream().trace.clear();
        fake.change("a", |shard| shard.closed = true);
        run.run(MINUTE / 2).await.expect("no trouble");
        fake.stream().shards.insert(id("f"), FakeShard { closed: false, ..child("a", 2) });
        run.run(MINUTE).await.expect("no trouble");
        assert_eq!(run.read("f"), until(2));
        let (listing_pages, questions) = (fake.calls("DescribeStream"), fake.calls("ShardFilter"));
        if filter_ignored {
            assert!(listing_pages >= 12 && questions == 1, "{listing_pages} pages of listings, {questions} questions");
        } else {
            assert!(listing_pages == 0 && questions <= 7, "{listing_pages} pages of listings, {questions} questions");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_iterator_held_too_long_is_renewed_from_our_own_position() {
    let fake = Fake::new(vec![("a", open(7))]);
    let mut run = Run::open(&fake, 1, ReaderSettings { until_tip: false, ..settings() }).await;
    run.run(MINUTE).await.expect("no trouble");
    // Nobody asks for twenty minutes; meanwhile more is written.
    tokio::time::advance(20 * MINUTE).await;
    fake.change("a", |shard| shard.records = 11);
    run.run(MINUTE).await.expect("no trouble");
    assert_eq!(run.read("a"), until(11));
    assert_eq!(fake.calls("GetShardIterator"), 2);
    assert_eq!(fake.calls("GetShardIterator a TrimHorizon"), 1);
}

#[tokio::test(start_paused = true)]
async fn an_iterator_that_expires_at_once_makes_no_hot_loop() {
    let fake = Fake::new(vec![("a", open(7))]);
    fake.stream().faults = vec![ApiErrorKind::IteratorExpired; 10_000].into();
    let mut run = Run::open(&fake, 1, settings()).await;
    run.run(MINUTE).await.expect("no trouble");
    let calls = fake.calls("GetRecords");
    assert!((5..40).contains(&calls), "{calls} calls in a minute");
}

#[tokio::test(start_paused = true)]
async fn idle_shards_are_polled_slowly() {
    let fake = Fake::new(vec![("a", open(1))]);
    let mut run = Run::open(&fake, 1, ReaderSettings { until_tip: false, ..settings() }).await;
    run.run(10 * MINUTE).await.expect("no trouble");
    let (polls, listings) = (fake.calls("GetRecords"), fake.calls("DescribeStream"));
    // The first fifty come faster: they are to prove that the shard is at its tip.
    assert!((630..=660).contains(&polls), "{polls} polls in ten minutes");
    assert!((19..=22).contains(&listings), "{listings} listings in ten minutes");
}

#[tokio::test(start_paused = true)]
async fn trimmed_records_are_a_gap() {
    for on_gap in [OnGap::Stop, OnGap::Continue] {
        let fake = Fake::new(vec![("a", open(4))]);
        let mut run = Run::open(&fake, 1, ReaderSettings { on_gap, until_tip: false, ..settings() }).await;
        run.run(MINUTE).await.expect("no trouble");
        fake.change("a", |shard| (shard.records, shard.trimmed) = (20, 15));
        run.run(MINUTE).await.expect("no trouble");
        assert_eq!(
            run.gaps.iter().map(|gap| (gap.cause, gap.stop)).collect::<Vec<_>>(),
            [(GapCause::Trimmed, on_gap == OnGap::Stop)]
        );
        let mut expected = until(4);
        if on_gap == OnGap::Continue {
            expected.extend(16..=20);
        }
        assert_eq!(run.read("a"), expected);
    }
}

#[tokio::test(start_paused = true)]
async fn a_shard_that_is_gone_is_a_gap_and_a_stream_that_is_gone_halts() {
    let fake = Fake::new(vec![("a", open(4)), ("b", child("a", 2)), ("c", open(1))]);
    let mut run = Run::open(&fake, 2, ReaderSettings { on_gap: OnGap::Continue, until_tip: false, ..settings() }).await;
    run.run(Duration::from_secs(5)).await.expect("no trouble");
    assert!(run.read("b").is_empty());
    fake.change("a", |shard| shard.gone = true);
    run.run(2 * MINUTE).await.expect("no trouble");
    assert_eq!(run.gaps.iter().map(|gap| gap.cause).collect::<Vec<_>>(), [GapCause::ShardGone]);
    assert_eq!((run.stored[&id("a")].1.clone(), run.read("b")), (Position::End, until(2)));
    fake.stream().gone = true;
    let trouble = run.run(5 * MINUTE).await.expect_err("the stream is gone");
    assert_eq!((trouble.kind, trouble.code), (TroubleKind::Environment, "source.stream_gone"));
    assert_eq!(run.gaps.iter().map(|gap| gap.cause).collect::<Vec<_>>(), [GapCause::ShardGone, GapCause::StreamGone]);
}

/// Of a closed shard empty pages prove nothing. One that only listings call closed would keep the run from its end for ever.
#[tokio::test(start_paused = true)]
async fn a_bounded_run_ends_where_listings_name_ends_of_open_shards() {
    let fake = Fake::new(vec![("a", FakeShard { end_named: true, ..open(4) })]);
    let mut run = Run::open(&fake, 1, settings()).await;
    assert_eq!(run.run(10 * MINUTE).await, Ok(vec![Finished::Tip]));
    assert_eq!(run.read("a"), until(4));
}

#[tokio::test(start_paused = true)]
async fn what_waiting_does_not_heal_halts() {
    for (kind, expected) in [
        (ApiErrorKind::Denied, TroubleKind::Environment),
        (ApiErrorKind::Malformed, TroubleKind::Environment),
        (ApiErrorKind::Invalid, TroubleKind::Config),
    ] {
        let fake = Fake::new(vec![("a", open(4))]);
        fake.stream().faults = vec![kind; 3].into();
        let mut run = Run::open(&fake, 1, ReaderSettings { until_tip: false, ..settings() }).await;
        run.run(MINUTE).await.expect("rights that vanish for a while come back");
        assert_eq!(run.read("a"), until(4));
        fake.stream().faults = vec![kind; 1_000].into();
        let trouble = run.run(10 * MINUTE).await.expect_err("hopeless");
        assert_eq!(trouble.kind, expected);
        assert!(trouble.advice.is_some());
    }
    let fake = Fake::new(vec![("a", open(4))]);
    let mut run = Run::open(&fake, 1, ReaderSettings { until_tip: false, ..settings() }).await;
    run.run(Duration::from_secs(5)).await.expect("no trouble");
    fake.stream().faults = vec![ApiErrorKind::Invalid].into();
    run.run(MINUTE).await.expect("an iterator that the service forgot is renewed");
    assert_eq!(fake.calls("GetShardIterator"), 2);
}

#[tokio::test(start_paused = true)]
async fn pages_that_are_not_durable_hold_the_budget() {
    let fake = Fake::new(vec![("a", open(1_000)), ("b", open(1_000))]);
    fake.stream().page_bytes = 1 << 20;
    let memory_bytes_max = 5 << 20;
    let mut run = Run::open(&fake, 2, ReaderSettings { memory_bytes_max, until_tip: false, ..settings() }).await;
    // Registered, and then nobody commits any more.
    run.run(Duration::from_secs(2)).await.expect("no trouble");
    (0..2).for_each(|lane| run.commit(lane));
    let before = fake.calls("GetRecords");
    run.group_max = usize::MAX;
    let mut held = 0;
    for turn in 0..200_usize {
        let next =
            tokio::time::timeout(Duration::from_millis(50), tailwater_model::Source::next(&mut run.lanes[turn % 2]));
        if let Ok(Ok(tailwater_model::Delivery::Batch(batch))) = next.await {
            held += batch.bytes;
            run.uncommitted[turn % 2].push((batch.shard, batch.step, batch.read_until, vec![]));
        }
    }
    assert!((3 << 20..=memory_bytes_max).contains(&held), "{held} bytes held");
    assert!(fake.calls("GetRecords") - before <= 6, "no page is asked for without room");
    // A reopen gives everything back, and all is read in the end.
    for lane in 0..2 {
        run.reopen(lane).await;
    }
    run.group_max = 3;
    run.run(10 * MINUTE).await.expect("no trouble");
    assert_eq!((run.read("a"), run.read("b")), (until(1_000), until(1_000)));
}

#[tokio::test(start_paused = true)]
async fn that_the_stream_is_known_is_told_before_anything_else() {
    let fake = Fake::new(vec![("a", open(1_000)), ("b", open(1_000)), ("c", open(1_000))]);
    let mut run = Run::open(&fake, 1, ReaderSettings { until_tip: false, ..settings() }).await;
    // A lane that is bound by its sink always has a page ready.
    for _ in 0..60 {
        run.turn(0).await.expect("no trouble");
    }
    let listed_at = BEGINNING.minus(Duration::from_millis(5));
    assert_eq!(run.first_listing, Some(FirstListing::stored(listed_at)), "the listing's date, less its way");
}

/// What a machine that stood still does not notice: its own clock stood still, too.
#[tokio::test(start_paused = true)]
async fn a_machine_that_stood_still_for_a_day_is_a_gap() {
    let fake = Fake::new(vec![("a", open(0)), ("b", open(3))]);
    let settings = ReaderSettings { until_tip: false, on_gap: OnGap::Continue, ..settings() };
    let mut run = Run::open(&fake, 1, settings).await;
    run.run(10 * MINUTE).await.expect("no trouble");
    fake.stream().leap = 30 * 60 * MINUTE;
    fake.stream().faults = vec![ApiErrorKind::IteratorExpired].into();
    fake.stream().faults.extend([ApiErrorKind::IteratorExpired]);
    fake.change("a", |shard| (shard.records, shard.trimmed) = (9, 5));
    run.run(MINUTE).await.expect("no trouble");
    let causes: Vec<_> = run.gaps.iter().map(|gap| (gap.cause, gap.shard.clone())).collect();
    assert_eq!(causes, [(GapCause::Away, Some(id("a")))]);
    assert_eq!(run.read("a"), [6, 7, 8, 9]);
}

/// Neither where a run ends nor what is lost hangs on one date.
#[tokio::test(start_paused = true)]
async fn one_wrong_date_decides_nothing() {
    let day_ms = 24 * 3_600_000;
    for (call, off_ms) in (1..20).flat_map(|call| [(call, day_ms), (call, -day_ms)]) {
        let fake = Fake::new(vec![("a", open(30)), ("b", open(30))]);
        fake.stream().wrong_date = Some((call, off_ms));
        let mut run = Run::open(&fake, 1, settings()).await;
        let finished = run.run(30 * MINUTE).await.expect("no trouble");
        assert_eq!((finished, run.gaps.len()), (vec![Finished::Tip], 0), "call {call}, {off_ms} ms");
        assert_eq!((run.read("a"), run.read("b")), (until(30), until(30)), "call {call}, {off_ms} ms");
        let listed_at = run.first_listing.expect("listed").at;
        assert!(listed_at.since(BEGINNING) < MINUTE && BEGINNING.since(listed_at) < MINUTE, "{listed_at}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_room_of_a_lane_that_is_closed_is_free() {
    let fake = Fake::new(vec![("a", open(1_000)), ("d", open(1_000))]);
    fake.stream().page_bytes = 1 << 20;
    let memory_bytes_max = 2 << 20;
    let mut run = Run::open(&fake, 2, ReaderSettings { memory_bytes_max, until_tip: false, ..settings() }).await;
    let (mine, other) = (id("a").lane(2) as usize, id("d").lane(2) as usize);
    assert_ne!(mine, other, "one shard a lane");
    // One lane reads on without a commit until it holds everything, and then its sink is away.
    run.run(Duration::from_secs(1)).await.expect("no trouble");
    run.commit(mine);
    run.commit(other);
    run.group_max = usize::MAX;
    for _ in 0..10 {
        run.turn(mine).await.expect("no trouble");
    }
    tailwater_model::Source::close(&mut run.lanes[mine]);
    run.uncommitted[mine].clear();
    run.group_max = 3;
    let before = run.read("d").len();
    for _ in 0..60 {
        run.turn(other).await.expect("no trouble");
    }
    assert!(run.read("d").len() > before, "the other lane goes on");
}
