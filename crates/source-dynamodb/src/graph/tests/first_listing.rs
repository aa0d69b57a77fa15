//! The first complete listing: what was promised of a stream is told from it, whatever became of its shards.

use tailwater_model::{PreviousStream, ServiceTime, ShardProgress};

use super::fixture::row;
use super::*;
use crate::api::{ShardListing, When};
use crate::graph::ShardGraph;

const DAY: Duration = Duration::from_secs(24 * 3600);

/// Otherwise a later process could not tell what was lost with the shards that were never registered.
#[test]
fn nothing_is_registered_before_the_first_listing_is_stored() {
    let mut graph = ShardGraph::new(1, StartAt::TrimHorizon, OnGap::Stop, false);
    graph.restore(0, &Progress::default(), None);
    assert_eq!(graph.first_listing_due(), None);
    let when = When { asked: START, answered: START };
    let number = graph.begin_listing();
    let shards = listed(&["A"]);
    graph.merge_page(number, when, &ShardListing { shards, ..ShardListing::default() });
    graph.listed_completely(number, when, &[id("A")].into());
    let due = graph.first_listing_due();
    assert_eq!(due, Some(FirstListing::begun(START)));
    assert!(graph.take_steps(0, 9).is_empty());
    // The commit that had it has failed: what is durable decides.
    graph.restore(0, &Progress::default(), None);
    assert!(graph.take_steps(0, 9).is_empty());
    assert_eq!(graph.first_listing_due(), due);
    graph.first_listing_committed(FirstListing::begun(START));
    assert_eq!(graph.first_listing_due(), None);
    let steps = graph.take_steps(0, 9);
    assert_eq!(steps.len(), 1);
    graph.committed(&id("A"), &steps[0].step);
    assert_eq!(graph.first_listing_due(), Some(FirstListing::stored(START)));
}

/// One lane never stored anything, so the stream never became known: its lineage was lost while the others were read.
#[test]
fn what_a_stream_lost_that_never_became_known_is_a_gap() {
    for (away, is_lost) in [(DAY, true), (DAY / 2, false)] {
        let begun = START.minus(away);
        let progress = Progress {
            shards: vec![row("A", None, after(4), START)],
            first_listing: Some(FirstListing::begun(begun)),
            ..Progress::default()
        };
        let mut world = Fixture::new(StartAt::TrimHorizon, OnGap::Continue, false, progress);
        world.list_now(false, &["A", "Z<gone"]);
        world.ask(&[]);
        assert_eq!(world.causes(), if is_lost { vec![GapCause::UnknownParent] } else { vec![] }, "{away:?}");
        assert_eq!(world.progress.first_listing, Some(FirstListing::stored(begun)), "the moment stays");
    }
}

/// Seed 700000013: the promise of a process that registered nothing is none, and a gap would have no shard to be stored
/// with. Another lane may have registered something.
#[test]
fn a_listing_of_which_nothing_was_registered_promised_nothing() {
    let first = Some(FirstListing::begun(START.minus(DAY * 2)));
    for (theirs, is_lost) in [(vec![], false), (vec![row("A", None, after(4), START)], true)] {
        let lanes_of = |lane| move |name: &String| id(name).lane(2) == lane;
        let names = |lane| (0..).map(|n| format!("s{n}")).find(lanes_of(lane)).expect("one");
        let theirs: Vec<_> =
            theirs.into_iter().map(|stored| ShardProgress { shard: id(&names(1)), ..stored }).collect();
        let mut graph = ShardGraph::new(2, StartAt::TrimHorizon, OnGap::Stop, false);
        graph.restore(0, &Progress { first_listing: first, ..Progress::default() }, None);
        let when = When { asked: START, answered: START };
        let number = graph.begin_listing();
        let shards = listed(&[&names(0)]);
        graph.merge_page(number, when, &ShardListing { shards, ..ShardListing::default() });
        graph.listed_completely(number, when, &[id(&names(0))].into());
        assert!(graph.take_steps(0, 9).is_empty(), "the other lane may have registered something");
        graph.restore(1, &Progress { shards: theirs, first_listing: first, ..Progress::default() }, None);
        let promised = FirstListing::begun(if is_lost { START.minus(DAY * 2) } else { START });
        assert_eq!(graph.first_listing, Some(promised));
        let causes: Vec<_> =
            graph.take_steps(1, 9).into_iter().filter_map(|step| step.gap).map(|gap| gap.cause).collect();
        assert_eq!(causes, if is_lost { vec![GapCause::Orphan] } else { vec![] });
    }
}

/// Its pages were answered, and for hours none of the listings came to its end.
#[test]
fn a_first_start_promises_nothing_older_for_a_page_that_came_hours_before() {
    let mut world = Fixture::fresh(OnGap::Stop);
    let number = world.graph.begin_listing();
    let page = ShardListing { shards: listed(&["A"]), ..ShardListing::default() };
    world.graph.merge_page(number, world.when(), &page);
    world.list_after(DAY / 8, &["A"]);
    world.page("A", None, false);
    world.steps();
    assert!(world.gaps.is_empty());
}

/// Nothing was registered: what an earlier process listed is nothing that it carried.
#[test]
fn latest_is_chosen_anew_where_nothing_was_registered() {
    let progress = Progress { first_listing: Some(FirstListing::begun(START.minus(DAY * 2))), ..Progress::default() };
    let mut world = Fixture::new(StartAt::Latest, OnGap::Stop, false, progress.clone());
    world.list_now(false, &["A."]);
    world.end_what_is_said_to_be_over();
    assert_eq!(world.progress.first_listing, Some(FirstListing::begun(START)));
    world.list(&["A.", "Z<gone"]);
    assert_eq!(world.progress.first_listing, Some(FirstListing::stored(START)));
    world.ask(&[]);
    assert!(world.gaps.is_empty());

    let previous = PreviousStream { stream_arn: "arn:old".into(), read_until: Some(START), is_of_another_table: false };
    let progress = Progress { previous_stream: Some(previous), ..progress };
    let mut world = Fixture::new(StartAt::Latest, OnGap::Continue, false, progress);
    world.list_now(false, &["A."]);
    assert_eq!(world.causes(), [GapCause::StreamReplaced]);
    let stored = FirstListing { follows_another: true, ..FirstListing::stored(START) };
    assert_eq!(world.progress.first_listing, Some(stored));
}

/// gaps 2600011772: a lane that opens again before that is stored brings the old one back, and the parents of all shards
/// were waited for without being asked for.
#[test]
fn a_lane_that_opens_again_changes_nothing_of_that() {
    let progress = Progress { first_listing: Some(FirstListing::begun(START.minus(DAY * 2))), ..Progress::default() };
    let mut graph = ShardGraph::new(1, StartAt::TrimHorizon, OnGap::Stop, false);
    graph.restore(0, &progress, None);
    let when = When { asked: START, answered: START };
    let number = graph.begin_listing();
    let page = ShardListing { shards: listed(&["A<gone"]), ..ShardListing::default() };
    graph.merge_page(number, when, &page);
    graph.listed_completely(number, when, &[id("A")].into());
    for _ in 0..2 {
        assert_eq!(graph.first_listing_due(), Some(FirstListing::begun(START)));
        assert_eq!(graph.take_doubtful(), [id("gone")]);
        graph.restore(0, &progress, None);
    }
}

/// Its last row may be all that says that something was carried.
#[test]
fn nothing_is_forgotten_before_the_stream_is_known() {
    let begun = START.minus(DAY * 2);
    for (listing, is_forgotten) in [(FirstListing::begun(begun), false), (FirstListing::stored(begun), true)] {
        let shards = vec![row("A", None, Position::End, begun)];
        let progress = Progress { shards, first_listing: Some(listing), ..Progress::default() };
        let mut graph = ShardGraph::new(2, StartAt::TrimHorizon, OnGap::Continue, false);
        let lane = id("A").lane(2) as usize;
        graph.restore(lane, &progress, None);
        if lane != 0 {
            graph.restore(0, &Progress { first_listing: Some(listing), ..Progress::default() }, None);
        }
        for minutes in [0, 3, 6, 70] {
            let now = START.plus(Duration::from_secs(minutes * 60));
            let when = When { asked: now, answered: now };
            let number = graph.begin_listing();
            graph.merge_page(number, when, &ShardListing { shards: listed(&["Z"]), ..ShardListing::default() });
            graph.listed_completely(number, when, &[id("Z")].into());
            graph.does_not_exist(&id("A"), when);
        }
        let is_due = graph.take_steps(lane, 9).iter().any(|step| step.step == Step::Forget);
        assert_eq!(is_due, is_forgotten, "{listing:?}");
    }
}

/// Everything was lost before anything was registered, and the stream counts as known: some shard has to carry the gap.
#[test]
fn a_gap_is_stored_with_the_lost_shard_where_there_is_no_other() {
    let progress = Progress { first_listing: Some(FirstListing::stored(START.minus(DAY * 2))), ..Progress::default() };
    for on_gap in [OnGap::Stop, OnGap::Continue] {
        let mut world = Fixture::new(StartAt::TrimHorizon, on_gap, false, progress.clone());
        world.list_now(false, &["Y<gone", "Z<gone"]);
        world.ask_for_long(&[]);
        world.steps();
        assert_eq!(world.causes(), [GapCause::UnknownParent; 2], "{on_gap:?}");
        assert_eq!(world.gaps[0].stop, on_gap == OnGap::Stop);
    }
}

/// Of a listing whose shards went before any was registered nothing is known.
#[test]
fn a_stream_is_not_known_while_nothing_is_registered() {
    let mut graph = ShardGraph::new(1, StartAt::TrimHorizon, OnGap::Stop, false);
    graph.restore(0, &Progress::default(), None);
    for minutes in [0, 3, 6] {
        let now = START.plus(Duration::from_secs(minutes * 60));
        let when = When { asked: now, answered: now };
        let number = graph.begin_listing();
        let shards = if minutes == 0 { listed(&["A"]) } else { listed(&["Z<Y"]) };
        let ids = shards.iter().map(|listed| listed.shard.clone()).collect();
        graph.merge_page(number, when, &ShardListing { shards, ..ShardListing::default() });
        graph.listed_completely(number, when, &ids);
    }
    assert_eq!(graph.first_listing_due(), Some(FirstListing::begun(START)));
    graph.does_not_exist(&id("A"), When { asked: START, answered: START });
    assert!(!graph.shards.contains_key(&id("A")));
    assert_eq!(graph.first_listing_due(), Some(FirstListing::begun(START)), "nothing is stored");
}

/// Programs before this stored no moment: their shards tell it.
#[test]
fn rows_without_a_first_listing_say_when_it_was_at_the_latest() {
    let long_ago = START.minus(DAY * 3);
    for (read_until, at) in [(Some(long_ago), long_ago.plus(DAY * 22 / 24)), (None, ServiceTime::EPOCH)] {
        let shards = vec![ShardProgress { read_until, ..row("A", None, Position::Start, START) }];
        let mut world =
            Fixture::new(StartAt::TrimHorizon, OnGap::Continue, false, Progress { shards, ..Progress::default() });
        world.list_now(false, &["A"]);
        assert_eq!(world.progress.first_listing, Some(FirstListing::stored(at)));
        world.read("A", Some(1), false);
        assert_eq!(world.causes(), if read_until.is_some() { vec![GapCause::Away] } else { vec![] });
    }
}

/// Whichever lane opens first.
#[test]
fn the_oldest_row_of_all_lanes_says_when_the_first_listing_was() {
    let names = [0, 1].map(|lane| (0..).map(|n| format!("s{n}")).find(|name| id(name).lane(2) == lane).expect("one"));
    for first in [0, 1] {
        let mut graph = ShardGraph::new(2, StartAt::TrimHorizon, OnGap::Stop, true);
        for lane in [first, 1 - first] {
            let read_until = if lane == 0 { START } else { START.minus(DAY * 2) };
            let shards = vec![row(&names[lane], None, Position::Start, read_until)];
            graph.restore(lane, &Progress { shards, ..Progress::default() }, None);
        }
        assert_eq!(graph.first_listing, Some(FirstListing::begun(START.minus(DAY * 26 / 24))), "{first} first");
        assert!(graph.wants_second_listing(), "the first start was interrupted");
    }
}

/// F8: the first lane's trouble is its own: children of what other lanes have stored are registered without it.
#[test]
fn a_known_stream_goes_on_while_the_first_lane_is_not_open() {
    let of_lane = |lane: u32| (0..).map(|n| format!("s{n}")).filter(move |name| id(name).lane(2) == lane);
    let names: Vec<String> = of_lane(1).take(2).collect();
    let mut graph = ShardGraph::new(2, StartAt::Latest, OnGap::Stop, false);
    assert!(!graph.may_list());
    assert_eq!(graph.waits_for_lane(1), Some(0));
    let shards = vec![row(&names[0], None, Position::End, START)];
    let known = Some(FirstListing::stored(START));
    graph.restore(1, &Progress { shards, first_listing: known, ..Progress::default() }, None);
    assert!(graph.may_list());
    let when = When { asked: START, answered: START };
    graph.merge_children(&id(&names[0]), when, &listed(&[&format!("{}<{}", names[1], names[0])]));
    assert_eq!(graph.take_steps(1, 9).len(), 1);
}
