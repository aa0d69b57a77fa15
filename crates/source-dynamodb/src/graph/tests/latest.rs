//! A pipeline that begins with what is written from now on.

use std::time::Duration;

use tailwater_model::{GapCause, Position, Progress};

use super::fixture::{Fixture, START, after, id, listed};
use crate::api::IteratorStart;
use crate::settings::{OnGap, StartAt};

const HOUR: Duration = Duration::from_secs(3600);

fn latest(on_gap: OnGap) -> Fixture {
    Fixture::new(StartAt::Latest, on_gap, false, Progress::default())
}

#[test]
fn latest_is_for_the_open_shards_of_the_first_listing() {
    let mut world = latest(OnGap::Stop);
    world.list(&["A.", "B<A", "D<gone"]);
    assert_eq!(world.stored[&id("A")].1, Position::End);
    assert_eq!(world.graph.latest_wanted(), [id("B"), id("D")]);
    assert!(!world.stored.contains_key(&id("B")), "registered only with an iterator");
    assert!(world.graph.latest_held(&id("B"), START) && !world.graph.latest_held(&id("A"), START));
    world.steps();
    assert_eq!(world.stored[&id("B")].1, Position::Start);
    assert_eq!(world.graph.latest_wanted(), [id("D")]);
    assert!(!world.is_known() && world.graph.is_bootstrapping());
    assert!(world.graph.latest_held(&id("D"), START));
    world.steps();
    assert!(!world.is_known() && world.graph.is_bootstrapping(), "one listing may leave a shard out");
    world.list(&["A.", "B<A", "D<gone"]);
    assert!(world.is_known());
    assert_eq!(world.from("B"), Some(IteratorStart::TrimHorizon), "who has lost the iterator");
    world.end("B");
    let when = world.when();
    assert!(world.graph.merge_children(&id("B"), when, &listed(&["C<B"])));
    world.steps();
    world.end("B");
    world.steps();
    assert_eq!(world.from("C"), Some(IteratorStart::TrimHorizon), "a child begins at the beginning");
    assert_eq!(world.restart().from("C"), Some(IteratorStart::TrimHorizon));
}

/// postgres 2110003241: turned off before it was registered, it waited for itself.
#[test]
fn a_shard_that_closes_while_it_waits_for_an_iterator_of_latest_is_registered() {
    let mut world = latest(OnGap::Stop);
    world.list(&["A.", "B<A"]);
    world.list(&["A.", "B<A."]);
    assert!(world.graph.latest_held(&id("B"), START));
    world.steps();
    assert!(world.stored.contains_key(&id("B")) && world.is_known());
}

#[test]
fn latest_never_is_for_a_stream_that_follows_another() {
    let previous = tailwater_model::PreviousStream {
        stream_arn: "arn:old".into(),
        read_until: Some(START),
        is_of_another_table: false,
    };
    let progress = Progress { previous_stream: Some(previous), ..Progress::default() };
    for on_gap in [OnGap::Stop, OnGap::Continue] {
        let mut world = Fixture::new(StartAt::Latest, on_gap, false, progress.clone());
        world.list(&["A.", "B<A"]);
        assert!(world.stored.values().all(|row| row.1 == Position::Start), "{:?}", world.stored);
        let goes_on = on_gap == OnGap::Continue;
        assert_eq!(world.from("A").is_some(), goes_on);
        if goes_on {
            assert_eq!(world.from("A"), Some(IteratorStart::TrimHorizon));
        }
    }
}

#[test]
fn a_shard_that_the_first_listing_missed_is_not_read_behind_its_child() {
    let mut world = latest(OnGap::Stop);
    world.list(&["B<A"]);
    assert!(world.graph.latest_held(&id("B"), START));
    world.steps();
    world.read("B", Some(3), false);
    world.list(&["A.", "B<A"]);
    assert_eq!(world.stored[&id("A")].1, Position::End, "its records are older than what was asked for");
    assert!(world.gaps.is_empty() && world.from("B").is_some());
}

/// What LATEST leaves out was closed when it began. A shard that came and closed later was promised.
#[test]
fn latest_is_no_excuse_for_a_parent_that_closed_after_the_start() {
    for restarts in [false, true] {
        let mut world = latest(OnGap::Continue);
        world.list(&["A"]);
        assert!(world.graph.latest_held(&id("A"), START));
        world.list(&["A"]);
        assert!(world.is_known());
        world.list_after(Duration::from_secs(3600), &["A", "C<B"]);
        world.list(&["A", "C<B"]);
        assert_eq!(world.ask_for_long(&[]), [id("B")]);
        world.read("C", Some(1), false);
        if restarts {
            world = world.restart();
        }
        world.list(&["A", "B.", "C<B"]);
        assert_eq!(world.causes(), [GapCause::ShardGone], "{restarts}");
    }
}

/// What LATEST left out is gone after a day: a parent that comes later was passed over, whatever the start was.
#[test]
fn latest_is_no_excuse_for_a_parent_that_is_listed_days_later() {
    let mut world = latest(OnGap::Continue);
    world.list(&["A"]);
    assert!(world.graph.latest_held(&id("A"), START));
    world.list(&["A"]);
    world.now = world.now.plus(Duration::from_secs(12 * 3600));
    world.read("A", Some(3), false);
    world.now = world.now.plus(Duration::from_secs(12 * 3600));
    world.list(&["A", "C<B"]);
    world.ask_for_long(&[]);
    let passed = world.causes().len();
    world.list(&["A", "B.", "C<B"]);
    assert_eq!(world.causes()[passed..], [GapCause::ShardGone]);
}

/// gaps 4210000497: the process stood still for a day and a half between the first listing and the first iterator.
#[test]
fn a_shard_that_went_before_its_iterator_of_latest_was_given_is_lost() {
    let mut world = latest(OnGap::Continue);
    world.list(&["A.", "B<A"]);
    assert_eq!(world.graph.latest_wanted(), [id("B")]);
    world.graph.does_not_exist(&id("B"), world.when());
    world.steps();
    assert_eq!(world.graph.latest_wanted(), [id("B")], "the listing calls it open");
    world.list_after(33 * HOUR, &["C<B"]);
    world.graph.does_not_exist(&id("B"), world.when());
    world.steps();
    assert!(world.is_known() && world.graph.latest_wanted().is_empty());
    world.is_missing("B");
    world.page("C", None, false);
    world.steps();
    assert_eq!(
        world.causes(),
        [GapCause::ShardGone, GapCause::Away],
        "what was lost before it may be missing in its child, too"
    );
    world.read("C", Some(1), false);
    assert_eq!(world.stored[&id("C")].1, after(1));
}

/// Two generations that the first listing missed: nothing links the older one to what is read already.
#[test]
fn what_was_over_before_latest_is_not_read_behind_what_comes_from_it() {
    let orders = [
        ["J.", "K<J.", "P<K.", "X<P"],
        ["J.", "P<K.", "K<J.", "X<P"],
        ["J.", "K.", "P<K.", "X<P"],
        ["J.", "K.", "X<P", "X<P"],
    ];
    for late in orders {
        for (reopens, restarts) in [(false, false), (true, false), (false, true)] {
            let mut world = latest(OnGap::Stop);
            world.list_now(false, &["J.", "X<P"]);
            world.end_what_is_said_to_be_over();
            assert!(world.graph.latest_held(&id("X"), START.plus(Duration::from_millis(30))));
            world.steps();
            world.read("X", Some(3), false);
            let again = world.restart();
            if reopens {
                world.graph.restore(0, &again.progress, None);
            } else if restarts {
                world = again;
            }
            for _ in 0..2 {
                world.list(&late);
                world.end_what_is_said_to_be_over();
            }
            let read = [world.from("K"), world.from("P")];
            assert_eq!((read, world.is_known()), ([None, None], true), "{late:?}, {reopens}, {restarts}");
            assert!(world.gaps.is_empty() && world.from("X").is_some());
        }
    }
}

/// For hours no second listing came, and a shard lived and ended meanwhile.
#[test]
fn what_came_hours_after_the_first_listing_is_not_left_out() {
    let mut world = latest(OnGap::Stop);
    world.list(&["J.", "A"]);
    world.end_what_is_said_to_be_over();
    assert!(world.graph.latest_held(&id("A"), START));
    world.list_after(5 * HOUR, &["J.", "A", "K<J."]);
    assert_eq!(world.from("K"), Some(IteratorStart::TrimHorizon));
}

/// Its iterator of `LATEST` is held: read behind a parent from the trim horizon there would be a hole between the two.
#[test]
fn a_parent_that_the_first_listing_missed_is_no_parent_of_what_begins_with_latest() {
    let mut world = latest(OnGap::Stop);
    world.list(&["J.", "X<P"]);
    world.end_what_is_said_to_be_over();
    assert!(world.graph.latest_held(&id("X"), START));
    // The commit of that is under way.
    let number = world.graph.begin_listing();
    let when = world.when();
    let page = crate::api::ShardListing { shards: listed(&["P<J.", "X<P"]), ..Default::default() };
    world.graph.merge_page(number, when, &page);
    world.steps();
    assert_eq!((world.from("P"), world.from("X").is_some()), (None, true));
}

/// A page says that a shard is open, the machine sleeps, and the pages that follow show what came of it.
#[test]
fn a_shard_with_a_child_is_over_whatever_its_page_said() {
    let mut world = latest(OnGap::Stop);
    world.list(&["Y", "C<Y.", "E<C"]);
    assert_eq!(world.graph.latest_wanted(), [id("E")]);
    assert_eq!(["Y", "C"].map(|shard| world.stored[&id(shard)].1.clone()), [Position::End, Position::End]);
}

/// What came of a shard that is read is read, also when it has ended before the second listing.
#[test]
fn what_comes_of_a_shard_that_is_read_is_not_left_out() {
    let mut world = latest(OnGap::Stop);
    world.list(&["A"]);
    assert!(world.graph.latest_held(&id("A"), START));
    world.list_after(5 * HOUR, &["A.", "B<A.", "C<B"]);
    world.end("A");
    assert_eq!(world.from("B"), Some(IteratorStart::TrimHorizon));
}

/// Some services name an end of shards that are open.
#[test]
fn an_end_that_only_a_listing_names_leaves_nothing_out() {
    for (goes_on, position) in [(true, Position::Start), (false, Position::End)] {
        let mut world = latest(OnGap::Stop);
        world.list(&["A."]);
        assert!(world.stored.is_empty() && world.graph.is_said_over(&id("A")));
        if goes_on {
            assert!(world.graph.latest_held(&id("A"), START));
        } else {
            world.graph.latest_is_over(&id("A"));
        }
        world.list(&["A."]);
        assert!(world.is_known() && world.gaps.is_empty());
        assert_eq!((&world.stored[&id("A")].1, world.from("A").is_some()), (&position, goes_on));
    }
}
