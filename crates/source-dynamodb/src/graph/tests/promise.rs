//! From which moment on everything is to be carried.

use tailwater_model::{PreviousStream, ServiceTime};

use super::fixture::row;
use super::*;
use crate::api::ShardListing;
use crate::graph::ShardGraph;

const HOUR: Duration = Duration::from_secs(3600);
const HALF_A_MINUTE: Duration = Duration::from_secs(30);

fn list(graph: &mut ShardGraph, shards: &[&str], created_at: Option<ServiceTime>, now: ServiceTime) {
    let when = When { asked: now, answered: now };
    let number = graph.begin_listing();
    let shards = listed(shards);
    let ids = shards.iter().map(|one| one.shard.clone()).collect();
    graph.merge_page(number, when, &ShardListing { shards, created_at, ..ShardListing::default() });
    graph.listed_completely(number, when, &ids);
}

/// gaps 78000148: the pipeline was away when the stream was replaced, and came back when the first records of the new one were
/// trimmed already. All of it was promised.
#[test]
fn what_a_stream_that_follows_another_has_lost_is_a_gap() {
    let previous = PreviousStream {
        stream_arn: "arn:old".into(),
        read_until: Some(START.minus(60 * HOUR)),
        is_of_another_table: false,
    };
    for (age, lost) in [(40 * HOUR, 2), (20 * HOUR, 0)] {
        let progress = Progress { previous_stream: Some(previous.clone()), ..Progress::default() };
        let mut world = Fixture::new(StartAt::Latest, OnGap::Continue, false, progress);
        list(&mut world.graph, &["A", "C<gone"], Some(START.minus(age)), START);
        world.steps();
        assert_eq!(world.ask(&[]), [id("gone")]);
        for shard in ["A", "C"] {
            world.page(shard, None, false);
            world.steps();
        }
        let mut expected = vec![(GapCause::StreamReplaced, None)];
        expected.extend(["A", "C"].into_iter().take(lost).map(|shard| (GapCause::Away, Some(id(shard)))));
        let found: Vec<_> = world.gaps.iter().map(|gap| (gap.cause, gap.shard.clone())).collect();
        assert_eq!(found, expected, "{age:?}");
        assert!(world.progress.first_listing.is_some_and(|listing| listing.follows_another));
    }
}

/// Once such a stream is known the one before it is forgotten, and the promise is not.
#[test]
fn a_later_process_knows_that_everything_was_promised() {
    for (follows_another, causes) in [(true, vec![GapCause::Away]), (false, vec![])] {
        let first_listing = Some(FirstListing { follows_another, ..FirstListing::stored(START) });
        let progress = Progress { first_listing, shards: vec![row("A", None, after(1), START)], ..Progress::default() };
        let mut world = Fixture::new(StartAt::Latest, OnGap::Continue, false, progress);
        world.now = START.plus(5 * HOUR);
        list(&mut world.graph, &["A", "C<gone"], Some(START.minus(20 * HOUR)), world.now);
        world.steps();
        assert_eq!(world.ask_for_long(&[]), [id("gone")]);
        world.page("C", None, false);
        world.steps();
        assert_eq!(world.causes(), causes);
    }
}

/// Nothing before the first listing was promised to a pipeline of LATEST, also when it was interrupted on the way.
#[test]
fn latest_promises_what_comes_after_its_first_listing() {
    let shards = vec![row("A", None, Position::End, START)];
    let progress = Progress { first_listing: Some(FirstListing::begun(START)), shards, ..Progress::default() };
    let mut world = Fixture::new(StartAt::Latest, OnGap::Stop, false, progress);
    world.list_after(3 * HOUR, &["A.", "B<A", "C<gone"]);
    assert_eq!(world.ask(&[]), [id("gone")]);
    world.read("C", Some(1), false);
    assert_eq!(world.causes(), []);
}

/// A shard goes a day after its end, and so none of a stream that is an hour old. The hour of a first start excuses it, and no more.
#[test]
fn a_young_stream_excuses_what_goes_unread_for_an_hour() {
    for (pause, causes) in [(HOUR / 2, vec![]), (5 * HOUR, vec![GapCause::ShardGone])] {
        let mut world = Fixture::fresh(OnGap::Continue);
        list(&mut world.graph, &["A.", "B<A"], Some(START.minus(HOUR)), START);
        world.steps();
        world.now = START.plus(pause);
        assert_eq!(world.is_missing("A"), [id("A")]);
        assert_eq!(world.causes(), causes, "{pause:?}");
    }
}

/// Its gap tells of what was lost until it was found, and not of what is lost while its lane is away.
#[test]
fn a_lost_shard_whose_lane_is_away_for_a_day_has_a_second_gap() {
    for (away, causes) in [(10 * HOUR, vec![]), (25 * HOUR, vec![GapCause::Away])] {
        let mut world = Fixture::fresh(OnGap::Continue);
        world.list(&["A"]);
        world.list_after(25 * HOUR, &["A", "C<gone"]);
        let known = Progress { shards: vec![row("A", None, Position::Start, START)], ..world.progress.clone() };
        let number = world.graph.take_doubtful();
        assert_eq!(number, [id("gone")]);
        let asked_before = world.now.minus(HALF_A_MINUTE);
        world.graph.does_not_exist(&id("gone"), When { asked: asked_before, answered: asked_before });
        world.graph.does_not_exist(&id("gone"), world.when());
        let found: Vec<_> = world.graph.take_steps(0, 9).into_iter().filter_map(|step| step.gap).collect();
        assert_eq!(found.iter().map(|gap| gap.cause).collect::<Vec<_>>(), [GapCause::UnknownParent]);
        // That commit has failed, and its lane comes back later.
        world.now = world.now.plus(away);
        world.graph.restore(0, &known, None);
        world.graph.first_listing_committed(FirstListing::stored(START));
        world.steps();
        world.gaps.clear();
        world.page("C", None, false);
        world.steps();
        assert_eq!(world.causes(), causes, "{away:?}");
    }
}

/// All shards of a stream that is off may be gone before it is: whoever comes back then finds an empty listing.
#[test]
fn a_stream_that_is_off_and_lists_nothing_has_ended() {
    for shards in [vec![row("A", None, Position::End, START)], vec![]] {
        let progress = Progress { first_listing: Some(FirstListing::stored(START)), shards, ..Progress::default() };
        for is_off in [true, false] {
            let mut world = Fixture::new(StartAt::TrimHorizon, OnGap::Stop, false, progress.clone());
            for _ in 0..9 {
                world.now = world.now.plus(HOUR / 60);
                world.list_now(is_off, &[]);
                assert!(
                    !world.graph.ended() || world.graph.take_doubtful().is_empty(),
                    "nothing says yet that it is gone"
                );
                world.ask(&[]);
            }
            assert_eq!(world.graph.ended(), is_off);
            assert_eq!(world.causes(), []);
        }
    }
}

/// When it was turned off is known from an answer that may have been long on its way.
#[test]
fn a_stream_that_is_off_ends_a_minute_after_the_answer_that_said_so() {
    let second = Duration::from_secs(1);
    let mut world = Fixture::fresh(OnGap::Stop);
    world.list(&["A."]);
    world.end("A");
    let number = world.graph.begin_listing();
    let when = When { asked: world.now, answered: world.now.plus(second * 30) };
    let page = ShardListing { shards: listed(&["A."]), disabled: true, ..ShardListing::default() };
    world.graph.merge_page(number, when, &page);
    for (pause, is_over) in [(second * 70, false), (second * 30, true)] {
        world.now = world.now.plus(pause);
        for _ in 0..3 {
            world.list_now(true, &["A."]);
        }
        assert_eq!(world.graph.ended(), is_over);
    }
}

/// The gap between two streams is told by a shard of the second one. One that has none leaves it to the third.
#[test]
fn a_stream_without_shards_does_not_wait_for_one_that_tells_its_gap() {
    let previous = PreviousStream { stream_arn: "arn:old".into(), read_until: Some(START), is_of_another_table: false };
    let progress = Progress { previous_stream: Some(previous), ..Progress::default() };
    let mut world = Fixture::new(StartAt::TrimHorizon, OnGap::Continue, false, progress);
    for _ in 0..9 {
        assert!(!world.graph.ended());
        world.now = world.now.plus(HOUR / 60);
        world.list_now(true, &[]);
    }
    assert!(world.graph.is_over_untold());
}
