//! Where a bounded run ends, and how far in time a stream was read.

use std::collections::BTreeSet;
use std::time::Duration;

use tailwater_model::{FirstListing, GapCause, Position, Progress};

use super::fixture::{Fixture, START, id, listed, row};
use crate::graph::listing::LATE_MAX;
use crate::graph::read_until::{CHILDREN_LISTED_WITHIN, EMPTY_PAGES_PROVE};
use crate::graph::{PageMeans, ShardGraph};
use crate::settings::{OnGap, StartAt, VISIBLE_WITHIN};

/// A bounded run begins with two listings.
fn list(world: &mut Fixture, shards: &[&str]) {
    world.list(shards);
    world.list_now(false, shards);
}

fn bounded() -> Fixture {
    Fixture::new(StartAt::TrimHorizon, OnGap::Stop, true, Progress::default())
}

#[test]
fn empty_pages_are_no_tip_until_there_are_many() {
    let mut world = bounded();
    list(&mut world, &["A"]);
    world.now = world.now.plus(Duration::from_secs(10));
    world.read_empty("A", EMPTY_PAGES_PROVE - 1);
    assert!(!world.graph.at_tip());
    world.read("A", Some(1), false);
    assert!(world.graph.at_tip(), "its last record is younger than the beginning");
}

#[test]
fn many_empty_pages_are_the_tip() {
    let mut world = bounded();
    world.list(&["A"]);
    world.read_empty("A", 3 * EMPTY_PAGES_PROVE);
    assert!(!world.graph.at_tip() && world.graph.wants_listing(), "one listing may have left a shard out");
    world.list_now(false, &["A"]);
    assert!(world.graph.at_tip());
}

#[test]
fn a_stored_moment_of_the_future_is_no_tip() {
    let mut world = bounded();
    list(&mut world, &["A"]);
    world.read("A", Some(1), false);
    let now = world.now;
    world.now = now.plus(Duration::from_secs(24 * 3600));
    world.read_empty("A", EMPTY_PAGES_PROVE);
    let mut again = world.restart();
    again.now = now.plus(Duration::from_secs(60));
    list(&mut again, &["A"]);
    assert!(!again.graph.at_tip());
    again.read("A", Some(2), false);
    assert!(again.graph.at_tip());
}

/// Seed 700000709: of a shard that is asked again after hours the pages from before count for nothing newer than they are.
#[test]
fn as_many_empty_pages_say_how_an_idle_shard_stands_whatever_was_before() {
    let mut world = bounded();
    world.list(&["A"]);
    world.read("A", Some(1), false);
    world.read_empty("A", EMPTY_PAGES_PROVE - 20);
    world.now = world.now.plus(Duration::from_secs(6 * 3600));
    let again = world.now;
    world.read_empty("A", EMPTY_PAGES_PROVE);
    assert_eq!(world.read_until("A"), Some(again.plus(Duration::from_secs(1)).minus(VISIBLE_WITHIN)));
}

/// Each new iterator may meet the same empty pages again: together they say nothing.
#[test]
fn empty_pages_of_several_iterators_are_no_run() {
    let mut world = bounded();
    list(&mut world, &["A"]);
    let before = world.read_until("A");
    world.read_empty("A", EMPTY_PAGES_PROVE - 1);
    world.read("A", None, false);
    world.read_empty("A", EMPTY_PAGES_PROVE - 2);
    assert_eq!(world.read_until("A"), before);
    world.read_empty("A", 1);
    assert!(world.read_until("A") > before);
}

/// Seed postgres 5100000455: a lane that opens again every few seconds was never asked for as many pages in between.
#[test]
fn empty_pages_count_on_when_the_lane_is_opened_again() {
    let mut world = bounded();
    list(&mut world, &["A"]);
    let before = world.read_until("A");
    world.read_empty("A", EMPTY_PAGES_PROVE - 1);
    let place = world.from("A");
    assert_eq!(world.graph.stands_at(&id("A")), place);
    world.reopen();
    assert_eq!((world.from("A"), world.read_until("A")), (place, before));
    assert!(world.graph.has_unread(0, &BTreeSet::new()), "nobody has asked since");
    world.read_empty("A", 1);
    assert!(world.read_until("A") > before);
    // A record that is not in the sink is read again, and what came behind it.
    let before = world.read_until("A");
    world.page("A", Some(1), false);
    assert_eq!(world.graph.stands_at(&id("A")), None);
    world.reopen();
    world.read_empty("A", EMPTY_PAGES_PROVE - 1);
    assert_eq!(world.read_until("A"), before);
}

/// Who reads on behind a gap that is not in the sink would never find it again.
#[test]
fn nobody_reads_on_behind_a_gap_that_is_not_durable() {
    let day = Duration::from_secs(24 * 3600);
    let shards = vec![row("A", None, Position::Start, START.minus(day))];
    let first_listing = Some(FirstListing::stored(START.minus(day * 2)));
    let progress = Progress { first_listing, shards, ..Progress::default() };
    let mut world = Fixture::new(StartAt::TrimHorizon, OnGap::Continue, false, progress);
    assert_eq!(world.page("A", None, false), PageMeans::Nothing);
    assert_eq!(world.graph.stands_at(&id("A")), None);
    let found: Vec<_> = world.graph.take_steps(0, 9).into_iter().filter_map(|step| step.gap).collect();
    assert_eq!(found.iter().map(|gap| gap.cause).collect::<Vec<_>>(), [GapCause::Away]);
    world.page("A", None, false);
    world.read_empty("A", EMPTY_PAGES_PROVE);
    assert_eq!(world.graph.stands_at(&id("A")), None);
}

/// Seed 942001037: what came after its end is in its children, and nobody has read that.
#[test]
fn empty_pages_of_a_closed_shard_prove_nothing() {
    let mut world = bounded();
    world.list(&["A."]);
    let before = world.read_until("A");
    world.read_empty("A", 3 * EMPTY_PAGES_PROVE);
    assert_eq!(world.read_until("A"), before);
}

/// Some services name an end of shards that are open: neither their pages nor a child ever bears it out.
#[test]
fn an_end_that_neither_pages_nor_children_bear_out_is_none() {
    let mut world = bounded();
    list(&mut world, &["A."]);
    for _ in 0..3 {
        world.list(&["A."]);
    }
    world.read_empty("A", EMPTY_PAGES_PROVE - 1);
    assert!(!world.graph.at_tip());
    world.read_empty("A", 1);
    assert!(world.graph.at_tip());
    world.list(&["A.", "B<A"]);
    let before = world.read_until("A");
    world.read_empty("A", 3 * EMPTY_PAGES_PROVE);
    assert_eq!(world.read_until("A"), before, "it has a child: only its end tells");
}

#[test]
fn the_tip_waits_for_all_children_of_what_ended() {
    let mut world = bounded();
    list(&mut world, &["A.", "B"]);
    world.read_empty("B", 3 * EMPTY_PAGES_PROVE);
    // A ended before the run began: read again with its records' own time.
    let begun = world.graph.begun().expect("listed");
    world.now = begun.minus(Duration::from_secs(60));
    world.read("A", Some(1), true);
    world.now = begun.plus(Duration::from_secs(1));
    assert!(!world.graph.at_tip(), "A may have a child");
    let when = world.when();
    world.graph.merge_children(&id("A"), when, &listed(&["C<A"]));
    world.steps();
    world.now = begun.plus(CHILDREN_LISTED_WITHIN * 3);
    world.read("C", Some(9), false);
    assert!(!world.graph.at_tip(), "it may have another");
    assert_eq!(world.graph.children_to_confirm(), [id("A")]);
    let when = world.when();
    world.graph.merge_children(&id("A"), when, &listed(&["C<A", "D<A"]));
    world.steps();
    assert!(!world.graph.at_tip(), "and had");
    world.read("D", Some(1), false);
    assert!(world.graph.at_tip());
}

/// What a child has from its parent says when the parent was open, and not when it was closed.
#[test]
fn a_child_that_was_not_read_does_not_tell_when_its_parent_ended() {
    let mut world = bounded();
    world.list(&["A"]);
    world.read("A", Some(1), false);
    world.list(&["A"]);
    world.now = world.now.plus(Duration::from_secs(1));
    world.end("A");
    for _ in 0..2 {
        world.list_after(Duration::from_secs(1), &["A.", "C<A"]);
        let when = world.when();
        world.graph.merge_children(&id("A"), when, &listed(&["C<A"]));
    }
    assert!(world.read_until("C") > world.read_until("A"));
    let is_front = world.graph.furthest_behind().is_some_and(|front| front.shard == id("A"));
    assert!(is_front, "it may have a second child, which is listed later");
}

/// A bounded run under rotation: shards that are past the tip may rotate as they like.
#[test]
fn what_is_past_the_tip_may_end_without_a_known_child() {
    let mut world = bounded();
    list(&mut world, &["A"]);
    world.read("A", Some(1), false);
    world.now = world.now.plus(Duration::from_secs(5));
    world.read("A", Some(2), false);
    assert!(world.graph.at_tip());
    world.read("A", Some(3), true);
    world.read("A", None, true);
    assert!(world.graph.at_tip(), "whatever its child holds is younger");
}

#[test]
fn a_stream_that_was_turned_off_ends_when_no_child_can_be_late() {
    let mut world = Fixture::fresh(OnGap::Stop);
    world.list(&["A"]);
    world.read("A", Some(8), false);
    world.list_now(true, &["A."]);
    assert!(!world.graph.at_tip(), "it is read to its end: another stream may follow it");
    world.end("A");
    assert!(world.graph.all_drained() && !world.graph.ended());
    world.now = world.now.plus(LATE_MAX);
    for _ in 0..2 {
        world.list_now(true, &["A."]);
        assert!(!world.graph.ended() && world.graph.wants_listing(), "one listing may leave a shard out");
    }
    world.list_now(true, &["A."]);
    assert!(world.graph.ended());
}

/// Believed for ever it ended a live stream, and kept a bounded run from its tip.
#[test]
fn an_answer_that_calls_a_stream_off_counts_until_another_one_does_not() {
    let mut world = bounded();
    list(&mut world, &["A"]);
    world.list_now(true, &["A"]);
    assert!(world.graph.is_off());
    for _ in 0..4 {
        world.list(&["A"]);
    }
    assert!(!world.graph.is_off());
    world.read("A", Some(1), false);
    assert!(world.graph.at_tip());
    world.list(&["A."]);
    world.end("A");
    assert!(world.graph.all_drained() && !world.graph.ended());
    assert_eq!(world.graph.take_children_needed(true), [id("A")]);
}

#[test]
fn a_leaf_holds_its_lineage_back() {
    let mut world = Fixture::fresh(OnGap::Stop);
    world.list(&["A", "B"]);
    let early = world.now;
    world.read("A", Some(1), true);
    world.read("A", None, true);
    world.now = world.now.plus(Duration::from_secs(600));
    world.read("B", Some(1), false);
    let front = world.graph.furthest_behind().expect("two lineages");
    assert_eq!((front.shard, front.read_until), (id("A"), Some(early)));
    let when = world.when();
    world.graph.merge_children(&id("A"), when, &listed(&["C<A"]));
    world.read("A", None, true);
    world.steps();
    let front = world.graph.furthest_behind().expect("two lineages");
    assert_eq!((front.shard, front.read_until), (id("C"), Some(early)), "the child begins where its parent ended");
}

/// Lag counts what is not known to be idle: a shard that nobody answers any more is not.
#[test]
fn a_shard_that_was_idle_long_ago_is_behind() {
    let mut world = Fixture::fresh(OnGap::Stop);
    world.list(&["A", "B"]);
    world.read_empty("A", 3);
    world.read_empty("B", 3);
    assert_eq!(world.graph.furthest_unread(&BTreeSet::new()), None);
    world.now = world.now.plus(Duration::from_secs(3600));
    world.read_empty("B", 1);
    assert_eq!(world.graph.furthest_unread(&BTreeSet::new()).map(|front| front.shard), Some(id("A")));
}

/// A shard may stand still for minutes: whoever wants a run to be exact then says so.
#[test]
fn the_tip_is_as_late_as_records_may_be() {
    let mut world = bounded();
    let late = Duration::from_secs(6 * 60);
    world.graph = std::mem::replace(&mut world.graph, ShardGraph::new(1, StartAt::TrimHorizon, OnGap::Stop, true))
        .visible_within(late);
    list(&mut world, &["A"]);
    world.read_empty("A", EMPTY_PAGES_PROVE + late.as_secs() as usize - 2);
    assert!(!world.graph.at_tip());
    world.read_empty("A", 2);
    assert!(world.graph.at_tip());
}

/// A user saw an idle pipeline without lag while a child was hidden from every listing.
#[test]
fn a_shard_whose_children_no_listing_shows_is_named_and_counts_as_lag() {
    let mut world = Fixture::fresh(OnGap::Stop);
    world.list(&["A."]);
    world.end("A");
    assert!(world.graph.overdue().is_empty(), "children are listed a minute late");
    world.list_after(LATE_MAX + Duration::from_secs(1), &["A."]);
    assert_eq!(world.graph.overdue(), [id("A")].into());
    assert_eq!(world.graph.furthest_unread(&BTreeSet::new()).map(|front| front.shard), Some(id("A")));
    world.list_after(Duration::from_secs(1), &["A.", "B<A"]);
    assert!(world.graph.overdue().is_empty());
}

/// A child may have been there only when its empty pages were asked for, and not at the moment that they prove.
#[test]
fn empty_pages_of_a_child_say_nothing_of_when_its_parent_ended() {
    let mut world = bounded();
    list(&mut world, &["P"]);
    world.list_now(false, &["P.", "A<P"]);
    world.end("P");
    world.read_empty("A", EMPTY_PAGES_PROVE);
    world.list_now(false, &["P.", "A<P"]);
    world.read_empty("A", VISIBLE_WITHIN.as_secs() as usize + 1);
    for (pause, is_tip) in [(Duration::ZERO, false), (Duration::from_secs(10), true)] {
        world.now = world.now.plus(pause);
        for _ in 0..3 {
            world.list_now(false, &["P.", "A<P"]);
        }
        assert_eq!(world.graph.at_tip(), is_tip, "another child may be listed so late");
    }
}

#[test]
fn a_shard_that_nobody_reads_is_not_idle() {
    let mut world = bounded();
    list(&mut world, &["A"]);
    world.read_empty("A", EMPTY_PAGES_PROVE);
    assert_eq!(world.graph.furthest_unread(&BTreeSet::new()), None);
    world.graph.lane_closed(0);
    let front = world.graph.furthest_unread(&BTreeSet::new()).expect("it may be behind");
    assert_eq!(front.shard, id("A"));
}

/// The last page of its lane was empty, and it was another shard's.
#[test]
fn a_lane_with_something_to_read_is_not_idle() {
    let mut world = Fixture::fresh(OnGap::Stop);
    world.list(&["A", "B"]);
    world.read("B", Some(1), false);
    world.read_empty("A", 1);
    assert!(world.graph.has_unread(0, &[].into()));
    world.read_empty("B", 1);
    assert!(!world.graph.has_unread(0, &[].into()));
    world.end("B");
    world.list(&["A", "B."]);
    world.end("B");
    let ended = world.now;
    assert_eq!(world.graph.overdue_in(0), None);
    world.list_after(LATE_MAX + Duration::from_secs(1), &["A", "B."]);
    assert_eq!(world.graph.overdue_in(0), Some((ended, id("B"))));
}
