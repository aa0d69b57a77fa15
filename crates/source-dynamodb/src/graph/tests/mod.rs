//! One example per rule of the graph.

mod doubts;
mod first_listing;
mod fixture;
mod gaps;
mod hidden;
mod late_parents;
mod latest;
mod promise;
mod tip;

use std::time::Duration;

use tailwater_model::{Advance, FirstListing, GapCause, Position, Progress, Step};

use super::listing::LATE_MAX;
use super::{PageFacts, PageMeans};
use crate::api::{IteratorStart, When};
use crate::settings::{OnGap, StartAt};
use fixture::{Fixture, START, after, id, listed, number};

#[test]
fn a_child_is_read_when_its_parents_end_is_durable() {
    let mut world = Fixture::fresh(OnGap::Stop);
    world.list(&["B<A", "A."]);
    assert_eq!((world.from("A"), world.from("B")), (Some(IteratorStart::TrimHorizon), None));
    world.read("A", Some(5), false);
    assert_eq!(world.from("A"), Some(IteratorStart::After(number(5))));
    let PageMeans::Step { advance: Some(end), read_until, is_end: true } = world.page("A", Some(9), true) else {
        panic!("the last page")
    };
    assert_eq!(end, Advance { from: after(5), to: Position::End }, "records and end in one step");
    assert_eq!(world.from("B"), None, "read is not durable");
    world.store(&id("A"), &Step::Advance(end), read_until);
    assert_eq!(world.from("B"), Some(IteratorStart::TrimHorizon));
    assert_eq!(world.graph.take_readable(0), [id("B")]);
    assert_eq!(world.read_until("B"), world.read_until("A"), "what was read of the parent is handed on");
}

#[test]
fn a_parent_on_a_later_page_is_waited_for() {
    let mut world = Fixture::fresh(OnGap::Stop);
    world.list(&["B<A", "C"]);
    assert_eq!(world.ask(&["A"]), [id("A")]);
    world.list(&["B<A", "A.", "C"]);
    assert_eq!((world.from("A"), world.from("B")), (Some(IteratorStart::TrimHorizon), None));
    assert!(world.gaps.is_empty());
}

#[test]
fn the_answer_for_children_is_checked() {
    let mut world = Fixture::fresh(OnGap::Stop);
    world.list(&["A."]);
    world.end("A");
    assert_eq!(world.graph.take_children_needed(false), [id("A")]);
    let when = world.when();
    assert!(
        !world.graph.merge_children(&id("A"), when, &listed(&["A.", "X<Y"])),
        "DynamoDB Local answers the shard itself"
    );
    assert!(world.graph.take_children_needed(false).is_empty());
    assert!(world.graph.wants_listing());
}

#[test]
fn an_end_that_no_listing_confirms_is_asked_for_again() {
    let mut world = Fixture::fresh(OnGap::Stop);
    world.list(&["A"]);
    world.read("A", Some(5), true);
    assert_eq!(world.from("A"), Some(IteratorStart::After(number(5))), "said once, of a shard that is listed as open");
    world.read("A", Some(6), false);
    world.read("A", None, true);
    assert_eq!(world.stored[&id("A")].1, after(6), "it was not true");
    world.read("A", None, true);
    assert_eq!(world.stored[&id("A")].1, after(6), "twice in a row it was not true either");
    assert!(world.graph.wants_listing());
    world.list(&["A."]);
    world.read("A", None, true);
    assert_eq!(world.stored[&id("A")].1, Position::End, "the listing confirms it");
}

#[test]
fn an_end_is_confirmed_by_a_child_and_by_two_minutes() {
    let mut world = Fixture::fresh(OnGap::Stop);
    world.list(&["A", "B"]);
    for _ in 0..2 {
        world.read("A", None, true);
        world.read("B", None, true);
    }
    assert_eq!(world.graph.take_children_needed(false), [id("A"), id("B")]);
    world.list_after(Duration::from_secs(1), &["A", "B", "C<A"]);
    world.read("A", None, true);
    assert_eq!(world.stored[&id("A")].1, Position::End);
    world.read("B", None, true);
    assert_eq!(world.stored[&id("B")].1, Position::Start);
    world.now = world.now.plus(LATE_MAX);
    world.list_now(false, &["A", "B", "C<A"]);
    let (now, early) = (world.now, world.now.minus(LATE_MAX));
    for _ in 0..2 {
        // They waited for their lane.
        world.now = early;
        world.read("B", None, true);
    }
    world.now = now;
    world.read("B", None, true);
    world.read("B", None, true);
    assert_eq!(world.stored[&id("B")].1, Position::Start, "the listing would have known by now");
    world.now = world.now.plus(LATE_MAX);
    world.list_now(false, &["A", "C<A"]);
    world.read("B", None, true);
    assert_eq!(
        world.stored[&id("B")].1,
        Position::End,
        "of a shard that no listing shows nothing else may ever be said"
    );
}

/// Both answers may have been long on their way.
#[test]
fn two_minutes_of_ends_are_counted_from_an_answer_to_a_question() {
    for (pause, is_end) in [(LATE_MAX / 2, false), (LATE_MAX, true)] {
        let mut world = Fixture::fresh(OnGap::Stop);
        world.list(&["A"]);
        let first = When { asked: world.now.plus(LATE_MAX), answered: world.now.plus(LATE_MAX * 2) };
        let asked = first.answered.plus(pause);
        for when in [first, When { asked, answered: asked.plus(LATE_MAX) }] {
            let page = PageFacts { when, last: None, created: None, is_end: true, start: None };
            world.graph.page_read(&id("A"), &page);
        }
        assert_eq!(world.from("A").is_none(), is_end);
    }
}

#[test]
fn an_end_without_records_is_asked_for_again() {
    let mut world = Fixture::fresh(OnGap::Stop);
    world.list(&["A.", "B."]);
    world.read("A", None, true);
    assert_eq!(world.from("A"), Some(IteratorStart::TrimHorizon), "one answer proves nothing, though A is closed");
    world.read("A", Some(5), false);
    world.end("A");
    world.read("B", Some(6), true);
    let ends = ["A", "B"].map(|shard| world.stored[&id(shard)].1.clone());
    assert_eq!(ends, [Position::End, Position::End], "the page of the last records tells the end as well");
}

/// Every new iterator may meet empty pages before the end, again and again.
#[test]
fn empty_pages_on_the_way_do_not_hide_the_end_of_a_closed_shard() {
    let mut world = Fixture::fresh(OnGap::Stop);
    world.list(&["A.", "B"]);
    for shard in ["A", "B"] {
        world.read(shard, None, true);
        world.read(shard, None, false);
        world.read(shard, None, true);
    }
    assert_eq!(world.stored[&id("A")].1, Position::End);
    assert_eq!(world.stored[&id("B")].1, Position::Start, "an open shard that goes on has not ended");
}

#[test]
fn a_circle_of_parents_is_cut() {
    let mut world = Fixture::fresh(OnGap::Stop);
    for _ in 0..3 {
        world.list(&["A<A", "B<C.", "C<B."]);
    }
    assert_eq!(world.stored.len(), 3);
    let horizon = Some(IteratorStart::TrimHorizon);
    assert_eq!((world.from("A"), world.from("C")), (horizon.clone(), horizon.clone()));
    world.end("C");
    assert_eq!(world.from("B"), horizon);
}

#[test]
fn an_empty_listing_is_never_complete() {
    let mut world = Fixture::fresh(OnGap::Stop);
    world.list(&["A"]);
    for _ in 0..5 {
        world.list(&[]);
    }
    assert!(world.gaps.is_empty() && world.graph.take_doubtful().is_empty());
    assert_eq!(world.graph.complete_listings(), 1);
}

#[test]
fn an_idle_shard_stores_how_far_it_was_read_now_and_then() {
    let mut world = Fixture::fresh(OnGap::Stop);
    world.list(&["A"]);
    let registered = world.stored[&id("A")].2;
    world.read_empty("A", super::read_until::EMPTY_PAGES_PROVE);
    let first = world.stored[&id("A")].2;
    assert!(first > registered, "the beginning was promised from a day ago");
    world.read_empty("A", 500);
    assert_eq!(world.stored[&id("A")].2, first);
    world.read_empty("A", 300);
    assert!(world.stored[&id("A")].2 > first);
    assert!(world.stored[&id("A")].2.is_some_and(|moment| world.now.since(moment) < Duration::from_secs(600)));
}

#[test]
fn a_lane_that_is_not_open_stops_only_what_comes_from_it() {
    use super::ShardGraph;
    let lane_of = |name: &str| id(name).lane(2);
    let of_lane = |lane: u32| (0..).map(|n| format!("s{n}")).filter(move |name| lane_of(name) == lane);
    let (mine, theirs) = (of_lane(0).next().expect("one"), of_lane(1).next().expect("one"));
    let child = of_lane(0).nth(1).expect("another");
    let begun = of_lane(0).nth(2).expect("another");
    let mut graph = ShardGraph::new(2, StartAt::TrimHorizon, OnGap::Stop, false);
    let rows = vec![
        fixture::row(&mine, None, after(3), START),
        fixture::row(&child, Some(&theirs), Position::Start, START),
        fixture::row(&begun, Some(&theirs), after(7), START),
    ];
    graph.restore(
        0,
        &Progress { shards: rows, first_listing: Some(FirstListing::stored(START)), ..Progress::default() },
        None,
    );
    assert!(graph.read_from(&id(&mine)).is_some());
    assert!(graph.read_from(&id(&begun)).is_some(), "its parent was drained before it was read");
    assert_eq!(graph.read_from(&id(&child)), None, "its parent may be there, undrained");
    assert_eq!(graph.waits_for_lane(0), Some(1));
    graph.restore(1, &Progress::default(), None);
    assert!(graph.read_from(&id(&child)).is_some(), "a stored child without a stored parent was never in doubt");
}

/// Seed 720003524: a shard that was listed before its own lane was restored looked new, and after a day lost.
#[test]
fn a_shard_is_not_new_before_its_own_lane_is_open() {
    use super::ShardGraph;
    use crate::api::{ShardListing, When};
    let of_lane = |lane: u32| (0..).map(|n| format!("s{n}")).find(|name| id(name).lane(2) == lane).expect("one");
    let (mine, theirs) = (of_lane(0), of_lane(1));
    let mut graph = ShardGraph::new(2, StartAt::TrimHorizon, OnGap::Stop, false);
    let progress = |name: &str| Progress {
        shards: vec![fixture::row(name, None, after(3), START)],
        first_listing: Some(FirstListing::stored(START)),
        ..Progress::default()
    };
    graph.restore(0, &progress(&mine), None);
    let now = START.plus(Duration::from_secs(30 * 3600));
    let when = When { asked: now, answered: now };
    let number = graph.begin_listing();
    let shards = listed(&[&mine, &theirs]);
    graph.merge_page(number, when, &ShardListing { shards, ..ShardListing::default() });
    graph.listed_completely(number, when, &[id(&mine), id(&theirs)].into());
    graph.restore(1, &progress(&theirs), None);
    assert!(graph.take_steps(0, 9).is_empty() && graph.take_steps(1, 9).is_empty());
    assert!(graph.read_from(&id(&theirs)).is_some());
}

/// Seed 941000182: two children of a shard that only another lane knows. The first to be placed hid that the second was not.
#[test]
fn all_children_follow_when_the_lane_of_their_parent_opens() {
    let of_lane = |lane: u32| (0..).map(|n| format!("s{n}")).filter(move |name| id(name).lane(2) == lane);
    let mine: Vec<String> = of_lane(0).take(2).collect();
    let theirs: Vec<String> = of_lane(1).take(2).collect();
    let parent = &theirs[0];
    for (children, registered) in [(vec![&mine[0], &mine[1], &theirs[1]], (2, 1)), (vec![&mine[0], &mine[1]], (2, 0))] {
        assert_eq!(registered_when_the_parent_is_known(parent, &children), registered, "all are registered");
    }
}

/// How many shards each lane registers. The parent is gone, and drained in a lane that opens after the children were listed.
fn registered_when_the_parent_is_known(parent: &str, children: &[&String]) -> (usize, usize) {
    use super::ShardGraph;
    use crate::api::{ShardListing, When};
    let known = Progress { first_listing: Some(FirstListing::stored(START)), ..Progress::default() };
    let mut graph = ShardGraph::new(2, StartAt::TrimHorizon, OnGap::Stop, false);
    graph.restore(0, &known, None);
    let when = When { asked: START, answered: START };
    let number = graph.begin_listing();
    let shards: Vec<String> = children.iter().map(|child| format!("{child}<{parent}")).collect();
    let shards = listed(&shards.iter().map(String::as_str).collect::<Vec<_>>());
    let ids = shards.iter().map(|listed| listed.shard.clone()).collect();
    graph.merge_page(number, when, &ShardListing { shards, ..ShardListing::default() });
    graph.listed_completely(number, when, &ids);
    let rows = vec![fixture::row(parent, None, Position::End, START)];
    graph.restore(1, &Progress { shards: rows, ..known }, None);
    (graph.take_steps(0, 9).len(), graph.take_steps(1, 9).len())
}
