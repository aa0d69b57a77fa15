//! The lane loop against a scripted source and a sink in memory, on the paused clock.

mod scripted;

use std::sync::Arc;
use std::time::Duration;

use scripted::{LANE_SETTINGS, MemorySink, Scripted, ScriptedSource, TIMED_OUT_AFTER, batch, ending_gap, stop_gap};
use tailwater_model::{ChangeEvent, Finished, Position, Rejected, Transform, TroubleKind};
use tailwater_pipeline::{Ended, LaneState, PipelineStatus, StopSignal, run_pipeline};
use tokio::time::{Instant, sleep};

async fn run(script: Vec<Scripted>, sink: &MemorySink, stop: StopSignal) -> (RunResult, Arc<PipelineStatus>) {
    run_with(script, sink, stop, Vec::new()).await
}

type RunResult = Result<Ended, tailwater_model::Trouble>;

async fn run_with(
    script: Vec<Scripted>,
    sink: &MemorySink,
    stop: StopSignal,
    transforms: Vec<Box<dyn Transform>>,
) -> (RunResult, Arc<PipelineStatus>) {
    let status = Arc::new(PipelineStatus::new());
    let lanes = vec![(ScriptedSource::new(script), sink.clone())];
    let ended = run_pipeline(lanes, transforms, LANE_SETTINGS, stop, Arc::clone(&status)).await;
    (ended, status)
}

#[tokio::test(start_paused = true)]
async fn everything_is_carried_in_order_and_the_next_group_grows_while_one_commits() {
    let sink = MemorySink::default();
    sink.edit(|state| state.commit_takes = Duration::from_secs(1));
    let script = (0..10).map(|number| Scripted::Give(batch(number, 1))).collect();
    let (ended, status) = run(script, &sink, StopSignal::new()).await;
    assert_eq!(ended, Ok(Ended::Finished(Finished::Tip)));
    sink.read(|state| {
        assert_eq!(state.written, (1..=10).map(|number| number.to_string()).collect::<Vec<_>>());
        // The first group waits for its delay, the others pile up behind the commit: one commit would be too few to
        // have overlapped, ten would mean that nothing did.
        assert!((1..10).contains(&state.commits), "{} commits", state.commits);
    });
    assert_eq!(status.snapshot().counts.read, 10);
    assert!(status.snapshot().counts.balance());
}

#[tokio::test(start_paused = true)]
async fn a_group_is_bounded_by_events() {
    let sink = MemorySink::default();
    let script = (0..10).map(|number| Scripted::Give(batch(number * 4, 4))).collect();
    let (ended, _) = run(script, &sink, StopSignal::new()).await;
    assert!(ended.is_ok());
    // Full at 10 events, and a page is never cut: three pages of four.
    sink.read(|state| assert_eq!(state.largest_group, 12));
}

#[tokio::test(start_paused = true)]
async fn what_was_begun_to_fetch_goes_ahead_of_the_commit() {
    let sink = MemorySink::default();
    // A full group: nothing is waited for between its last page and its commit.
    let script = vec![Scripted::GiveAndFetch(batch(0, LANE_SETTINGS.group_events_max), sink.clone())];
    let (ended, _) = run(script, &sink, StopSignal::new()).await;
    assert!(ended.is_ok());
    sink.read(|state| assert_eq!(state.fetches_at_commits.first(), Some(&1)));
}

#[tokio::test(start_paused = true)]
async fn a_failed_commit_of_unknown_fate_is_resolved_by_opening_again() {
    for applied in [true, false] {
        let sink = MemorySink::default();
        sink.edit(|state| state.fail_commit = Some(applied));
        let script = (0..5).map(|number| Scripted::Give(batch(number, 1))).collect();
        let (ended, status) = run(script, &sink, StopSignal::new()).await;
        assert!(ended.is_ok(), "{ended:?}");
        sink.read(|state| {
            assert_eq!(state.written, ["1", "2", "3", "4", "5"], "applied: {applied}");
            assert_eq!(state.opens, 2);
        });
        assert_eq!(status.snapshot().reopenings, 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_trouble_of_the_source_lets_the_commit_in_flight_finish() {
    let sink = MemorySink::default();
    sink.edit(|state| state.commit_takes = Duration::from_secs(1));
    let script = vec![Scripted::Give(batch(0, 10)), Scripted::Fail, Scripted::Give(batch(10, 1))];
    let (ended, status) = run(script, &sink, StopSignal::new()).await;
    assert!(ended.is_ok());
    sink.read(|state| assert_eq!(state.written.len(), 11));
    assert_eq!(status.snapshot().reopenings, 1);
}

#[tokio::test(start_paused = true)]
async fn a_stop_gap_is_durable_before_the_pipeline_halts() {
    let sink = MemorySink::default();
    let script = vec![Scripted::Give(batch(0, 3)), Scripted::Give(stop_gap()), Scripted::Give(batch(3, 1))];
    let (ended, status) = run(script, &sink, StopSignal::new()).await;
    let trouble = ended.expect_err("a gap");
    assert_eq!((trouble.kind, trouble.code), (TroubleKind::DataAtRisk, "source.gap"));
    sink.read(|state| {
        assert_eq!(state.gaps, 1);
        assert_eq!(state.written, ["1", "2", "3"]);
    });
    assert_eq!(status.snapshot().gaps, 1);
}

/// Nothing leads to it again: what was counted of it says whether data may be missing.
#[tokio::test(start_paused = true)]
async fn a_gap_that_ends_its_shard_counts_once_whether_its_commit_was_answered_or_not() {
    for (applied, stop) in [None, Some(true), Some(false)].into_iter().flat_map(|one| [(one, false), (one, true)]) {
        let sink = MemorySink::default();
        sink.edit(|state| state.fail_commit = applied);
        let script = vec![Scripted::Give(batch(0, 3)), Scripted::Give(ending_gap(stop))];
        let (ended, status) = run(script, &sink, StopSignal::new()).await;
        assert_eq!(ended.is_err(), stop, "{ended:?}");
        sink.read(|state| assert_eq!(state.gaps, 1));
        assert_eq!(status.snapshot().gaps, 1, "{applied:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_graceful_stop_commits_what_is_in_hand() {
    let sink = MemorySink::default();
    let stop = StopSignal::new();
    let script = vec![Scripted::Give(batch(0, 2)), Scripted::Stop(stop.clone()), Scripted::Give(batch(2, 1))];
    let (ended, _) = run(script, &sink, stop).await;
    assert_eq!(ended, Ok(Ended::Stopped));
    sink.read(|state| assert_eq!(state.written, ["1", "2"]));
}

#[tokio::test(start_paused = true)]
async fn a_stop_waits_for_a_stuck_commit_no_longer_than_the_grace_period() {
    let sink = MemorySink::default();
    sink.edit(|state| state.commit_takes = Duration::from_secs(3_600));
    let stop = StopSignal::new();
    let script = vec![Scripted::Give(batch(0, 2)), Scripted::Stop(stop.clone())];
    let began = Instant::now();
    let (ended, _) = run(script, &sink, stop).await;
    assert_eq!(ended, Ok(Ended::Stopped));
    assert!(began.elapsed() <= LANE_SETTINGS.grace_period + Duration::from_secs(1));
    sink.read(|state| assert!(state.written.is_empty()));
}

#[tokio::test(start_paused = true)]
async fn an_idle_lane_that_was_taken_over_ends() {
    let sink = MemorySink::default();
    let taken_over = sink.clone();
    let soon = tokio::spawn(async move {
        sleep(Duration::from_secs(60)).await;
        taken_over.edit(|state| state.taken_over = true);
    });
    let (ended, status) = run(vec![Scripted::Give(batch(0, 1)), Scripted::Wait], &sink, StopSignal::new()).await;
    soon.await.expect("no panic");
    assert_eq!(ended.expect_err("taken over").code, "test.taken_over");
    assert_eq!(status.snapshot().commits, 1, "a check is no commit");
    sink.read(|state| assert_eq!(state.written, ["1"]));
}

/// Starts one lane, and gives what tells of it.
fn start(script: Vec<Scripted>, sink: &MemorySink) -> Arc<PipelineStatus> {
    let (lanes, status) = (vec![(ScriptedSource::new(script), sink.clone())], Arc::new(PipelineStatus::new()));
    tokio::spawn(run_pipeline(lanes, Vec::new(), LANE_SETTINGS, StopSignal::new(), Arc::clone(&status)));
    status
}

#[tokio::test(start_paused = true)]
async fn a_commit_that_takes_long_is_told_with_its_beginning() {
    let sink = MemorySink::default();
    sink.edit(|state| state.commit_takes = Duration::from_secs(60));
    let since = Instant::now();
    let status = start(vec![Scripted::Give(batch(0, LANE_SETTINGS.group_events_max)), Scripted::Wait], &sink);
    sleep(Duration::from_secs(5)).await;
    assert_eq!(status.snapshot().lanes, [LaneState::Carrying], "every commit takes some time");
    sleep(Duration::from_secs(40)).await;
    assert_eq!(status.snapshot().lanes, [LaneState::Committing { since }]);
    // The look at an idle lane is answered at once.
    sink.edit(|state| state.commit_takes = Duration::ZERO);
    sleep(Duration::from_secs(40)).await;
    assert_eq!(status.snapshot().lanes, [LaneState::Carrying]);
}

#[tokio::test(start_paused = true)]
async fn a_lane_that_opens_again_and_again_tells_since_when_and_why() {
    let troubles = (0..20).map(|_| Scripted::Fail);
    let script = troubles.chain([Scripted::Give(batch(0, 1)), Scripted::Fail, Scripted::Wait]).collect();
    let (began, sink) = (Instant::now(), MemorySink::default());
    let status = start(script, &sink);
    for _ in 0..5 {
        sleep(Duration::from_secs(1)).await;
        let [LaneState::Reopening { since, trouble }] = &status.snapshot().lanes[..] else { panic!("in trouble") };
        assert_eq!((*since, trouble.code), (began, "test.fail"));
    }
    sleep(Duration::from_secs(60)).await;
    assert_eq!(status.snapshot().lanes, [LaneState::Carrying]);
    sink.read(|state| assert_eq!(state.written, ["1"]));
}

#[tokio::test(start_paused = true)]
async fn a_panic_in_a_lane_is_a_trouble_and_stops_the_others() {
    let status = Arc::new(PipelineStatus::new());
    let lanes = vec![
        (ScriptedSource::new(vec![Scripted::Panic]), MemorySink::default()),
        (ScriptedSource::new(vec![Scripted::Wait]), MemorySink::default()),
    ];
    let ended = run_pipeline(lanes, Vec::new(), LANE_SETTINGS, StopSignal::new(), status).await;
    let trouble = ended.expect_err("a panic");
    assert_eq!(trouble.code, "pipeline.panic");
    assert!(!trouble.message.contains("hunter2"), "what was put together may quote an item: {trouble}");
}

#[tokio::test(start_paused = true)]
async fn the_gravest_trouble_of_the_lanes_is_the_pipeline_s() {
    let script = vec![Scripted::Give(batch(0, 3)), Scripted::Give(stop_gap())];
    let sink = MemorySink::default();
    sink.edit(|state| state.commit_takes = Duration::from_secs(1));
    let lanes = vec![
        (ScriptedSource::new(vec![Scripted::Panic]), MemorySink::default()),
        // Its commit is under way when the other lane breaks down.
        (ScriptedSource::new(script), sink),
    ];
    let status = Arc::new(PipelineStatus::new());
    let ended = run_pipeline(lanes, Vec::new(), LANE_SETTINGS, StopSignal::new(), status).await;
    assert_eq!(ended.expect_err("a gap").code, "source.gap");
}

/// Drops events with an even number and refuses the third.
struct Picky;

impl Transform for Picky {
    fn apply(&self, event: ChangeEvent, out: &mut Vec<ChangeEvent>) -> Result<(), Rejected> {
        match event.source.sequence_number.as_str() {
            "3" => return Err(Rejected { code: "test.third", message: "the third".into() }),
            number if number.ends_with(['0', '2', '4', '6', '8']) => {}
            _ => out.push(event),
        }
        Ok(())
    }

    fn follow(&self, _path: &mut [String]) -> bool {
        true
    }
}

#[tokio::test(start_paused = true)]
async fn transforms_change_events_and_never_the_step() {
    let sink = MemorySink::default();
    let script = vec![Scripted::Give(batch(0, 6))];
    let (ended, status) = run_with(script, &sink, StopSignal::new(), vec![Box::new(Picky)]).await;
    assert!(ended.is_ok());
    sink.read(|state| {
        assert_eq!(state.written, ["1", "5"]);
        assert_eq!(state.dead_letters.len(), 1);
        assert!(state.dead_letters[0].record.contains(r#""SequenceNumber":"3""#));
        assert_eq!(state.position, Some(Position::After(scripted::number(6))));
    });
    let counts = status.snapshot().counts;
    assert_eq!((counts.read, counts.written, counts.filtered, counts.dead_lettered), (6, 2, 3, 1));
}

/// A group that did not fit into the time of a commit was read again in the same size, for ever.
#[tokio::test(start_paused = true)]
async fn a_group_that_takes_too_long_is_tried_in_smaller_ones() {
    let sink = MemorySink::default();
    sink.edit(|state| state.slow_above = Some(3));
    let script = (0..20).map(|number| Scripted::Give(batch(number, 1))).collect();
    let ended = tokio::time::timeout(TIMED_OUT_AFTER * 100, run(script, &sink, StopSignal::new())).await;
    assert_eq!(ended.expect("it goes on").0, Ok(Ended::Finished(Finished::Tip)));
    sink.read(|state| {
        assert_eq!(state.written, (1..=20).map(|number| number.to_string()).collect::<Vec<_>>());
        assert!(state.largest_group <= 3, "{}", state.largest_group);
    });
}

#[tokio::test(start_paused = true)]
async fn a_lane_that_is_bound_by_its_sink_stops_after_the_group_in_hand() {
    let sink = MemorySink::default();
    let commit_takes = Duration::from_millis(50);
    sink.edit(|state| state.commit_takes = commit_takes);
    let stop = StopSignal::new();
    let (soon, asked_after) = (stop.clone(), Duration::from_millis(120));
    tokio::spawn(async move {
        sleep(asked_after).await;
        soon.stop();
    });
    // Each batch fills a group, and the next one is there before the last is committed.
    let script = (0..1000).map(|number| Scripted::Give(batch(number * 10, 10))).collect();
    let began = Instant::now();
    let (ended, status) = run(script, &sink, stop).await;
    assert_eq!(ended, Ok(Ended::Stopped));
    assert!(began.elapsed() <= asked_after + 2 * commit_takes, "{:?}", began.elapsed());
    assert_eq!(status.snapshot().counts.read, 40);
}

#[tokio::test(start_paused = true)]
async fn a_right_that_is_missing_for_a_minute_ends_nothing_and_one_that_stays_away_does() {
    for (minutes, is_carried) in [(1, true), (60, false)] {
        let sink = MemorySink::default();
        let began = Instant::now();
        sink.edit(|state| state.denied_until = Some(began + Duration::from_secs(60 * minutes)));
        let (ended, _) = run(vec![Scripted::Give(batch(0, 3))], &sink, StopSignal::new()).await;
        assert_eq!(ended.as_ref().err().map(|trouble| trouble.code), (!is_carried).then_some("test.denied"));
        assert!(began.elapsed() < Duration::from_secs(150), "{:?}", began.elapsed());
        sink.read(|state| assert_eq!(state.written.len(), if is_carried { 3 } else { 0 }));
    }
}
