//! One example per rule of the graph.

mod fixture;

use std::time::Duration;

use tailwater_model::{Advance, GapCause, Position, Progress, ShardProgress, Step};

use super::listing::LATE_MAX;
use super::{ABSENCE_MAX, TrimmedMeans};
use crate::api::IteratorStart;
use crate::settings::{OnGap, StartAt};
use fixture::{Fixture, after, id, known, listed, number};

#[test]
fn a_child_is_read_when_its_parents_end_is_durable() {
    let mut world = Fixture::fresh(OnGap::Stop);
    world.list(&["B<A", "A."]);
    assert_eq!((world.from("A"), world.from("B")), (Some(IteratorStart::TrimHorizon), None));
    world.read("A", Some(5), false);
    assert_eq!(world.from("A"), Some(IteratorStart::After(number(5))));
    let end = world.graph.page_read(&id("A"), Some(&number(9)), true).expect("the last page");
    assert_eq!(end, Advance { from: after(5), to: Position::End }, "records and end in one step");
    assert_eq!(world.from("B"), None, "read is not durable");
    world.store(&id("A"), &Step::Advance(end));
    assert_eq!(world.from("B"), Some(IteratorStart::TrimHorizon));
    assert_eq!(world.graph.take_readable(0), [id("B")]);
}

#[test]
fn an_unknown_parent_is_a_root_after_two_complete_listings() {
    let mut world = Fixture::fresh(OnGap::Stop);
    let listing = world.graph.begin_listing(world.now);
    world.graph.merge_listing(listing, false, false, &listed(&["B<A"]));
    world.steps();
    world.list(&["B<A"]);
    assert!(world.graph.bootstrapping());
    assert_eq!(world.from("B"), None);
    world.list(&["B<A"]);
    assert_eq!(world.from("B"), Some(IteratorStart::TrimHorizon));
    assert!(world.gaps.is_empty());
}

#[test]
fn a_parent_on_a_later_page_is_waited_for() {
    let mut world = Fixture::fresh(OnGap::Stop);
    world.list(&["B<A", "C"]);
    world.list(&["B<A", "A.", "C"]);
    world.list(&["B<A", "A.", "C"]);
    assert_eq!((world.from("A"), world.from("B")), (Some(IteratorStart::TrimHorizon), None));
    assert!(world.gaps.is_empty());
}

#[test]
fn latest_is_for_the_open_shards_of_the_first_listing() {
    let mut world = Fixture::new(StartAt::Latest, OnGap::Stop, Progress::default());
    world.list(&["A.", "B<A"]);
    assert_eq!(world.stored[&id("A")].1, Position::End);
    assert_eq!(world.from("B"), Some(IteratorStart::Latest));
    world.graph.iterator_issued(&id("B"), &IteratorStart::Latest);
    assert_eq!(world.from("B"), Some(IteratorStart::TrimHorizon), "used once");
    world.read("B", None, true);
    assert!(world.graph.merge_children(&id("B"), &listed(&["C<B"])));
    world.steps();
    assert_eq!(world.from("C"), Some(IteratorStart::TrimHorizon), "a child begins at the beginning");
    assert_eq!(world.restart().from("C"), Some(IteratorStart::TrimHorizon));
}

#[test]
fn the_answer_for_children_is_checked() {
    let mut world = Fixture::fresh(OnGap::Stop);
    world.list(&["A."]);
    world.read("A", None, true);
    assert_eq!(world.graph.take_children_needed(), [id("A")]);
    assert!(!world.graph.merge_children(&id("A"), &listed(&["A.", "X<Y"])), "DynamoDB Local answers the shard itself");
    assert!(world.graph.take_children_needed().is_empty());
    assert!(world.graph.wants_listing(LATE_MAX));
}

#[test]
fn rule_5_of_a_shard_that_was_not_read_for_too_long() {
    for on_gap in [OnGap::Stop, OnGap::Continue] {
        let mut world = Fixture::fresh(on_gap);
        world.list(&["A"]);
        let late = ABSENCE_MAX + Duration::from_secs(1);
        world.graph.too_late(&id("A"), late);
        world.steps();
        assert_eq!(world.causes(), [], "what came before the first page was not promised");
        assert_eq!(world.graph.heard_at(&id("A")), late, "from now on it is heard of");
        // An empty page: the shard still stands at its start, and whatever comes is ours.
        assert!(world.graph.page_read(&id("A"), None, false).is_none());
        world.graph.too_late(&id("A"), late * 2);
        world.steps();
        assert_eq!(world.causes(), [GapCause::Away]);
        let from = (on_gap == OnGap::Continue).then_some(IteratorStart::TrimHorizon);
        assert_eq!(world.from("A"), from);
    }
}

#[test]
fn a_child_is_heard_of_when_its_parent_ends() {
    let mut world = Fixture::fresh(OnGap::Continue);
    world.list(&["A"]);
    let ended = world.now + Duration::from_secs(7);
    world.graph.heard(&id("A"), ended);
    world.read("A", Some(1), true);
    // The process stands still, and then goes on.
    world.list_after(2 * ABSENCE_MAX, &["A.", "B<A"]);
    assert_eq!(world.graph.heard_at(&id("B")), ended, "what was trimmed meanwhile is lost");
    world.graph.too_late(&id("B"), world.now);
    world.steps();
    assert_eq!(world.causes(), [GapCause::Away]);
}

#[test]
fn rule_1_trimmed() {
    for on_gap in [OnGap::Stop, OnGap::Continue] {
        let mut world = Fixture::fresh(on_gap);
        world.list(&["A"]);
        assert_eq!(world.graph.trimmed(&id("A")), TrimmedMeans::Nothing, "nothing was promised yet");
        world.read("A", Some(5), false);
        assert_eq!(world.graph.trimmed(&id("A")), TrimmedMeans::Loss);
        world.steps();
        assert_eq!(world.causes(), [GapCause::Trimmed]);
        assert_eq!(world.gaps[0].after, after(5));
        assert_eq!(world.stored[&id("A")].1, after(5), "the gap is found again at the next start");
        if on_gap == OnGap::Stop {
            assert_eq!(world.from("A"), None);
        } else {
            assert_eq!(world.from("A"), Some(IteratorStart::TrimHorizon));
            assert_eq!(world.graph.trimmed(&id("A")), TrimmedMeans::Nothing, "the same loss");
            world.read("A", Some(70), false);
            assert_eq!(world.from("A"), Some(IteratorStart::After(number(70))));
        }
        assert_eq!(world.restart().stored[&id("A")].1, world.stored[&id("A")].1);
    }
}

#[test]
fn rule_1_gone_and_rule_2_unlisted() {
    for (on_gap, gone) in [(OnGap::Stop, true), (OnGap::Continue, true), (OnGap::Stop, false), (OnGap::Continue, false)]
    {
        let mut world = Fixture::fresh(on_gap);
        world.list(&["A.", "B<A", "C"]);
        world.read("A", Some(5), false);
        if gone {
            world.graph.gone(&id("A"));
            world.steps();
        } else {
            world.list(&["B<A", "C"]);
            assert!(world.gaps.is_empty(), "one answer proves nothing");
            world.list(&["A.", "B<A", "C"]);
            world.list(&["B<A", "C"]);
            assert!(world.gaps.is_empty(), "not in a row");
            world.list(&["B<A", "C"]);
        }
        assert_eq!(world.causes(), [if gone { GapCause::ShardGone } else { GapCause::ShardUnlisted }]);
        let goes_on = on_gap == OnGap::Continue;
        assert_eq!(world.gaps[0].stop, !goes_on);
        assert_eq!(world.stored[&id("A")].1, if goes_on { Position::End } else { after(5) });
        assert_eq!(world.from("A"), None);
        assert_eq!(world.from("B").is_some(), goes_on);
    }
}

#[test]
fn rules_3_and_4_need_a_known_stream() {
    for (new, cause) in [("Z<Y", GapCause::UnknownParent), ("Z", GapCause::Orphan)] {
        let mut world = Fixture::fresh(OnGap::Continue);
        world.list(&["A"]);
        assert!(world.graph.contact_listing().is_some());
        world.list(&["A", new]);
        assert!(world.gaps.is_empty(), "one answer proves nothing");
        world.list(&["A", new]);
        assert_eq!(world.causes(), [cause]);
        assert_eq!(world.gaps[0].shard, Some(id("Z")));
        assert_eq!(world.from("Z"), Some(IteratorStart::TrimHorizon));
        world.list(&["A", new]);
        assert_eq!(world.gaps.len(), 1);
    }
}

/// Found by a simulated world (profile storm, seed 6): a shard that had split twice was listed after its grandchildren.
#[test]
fn a_parent_that_is_listed_a_minute_late_is_no_gap() {
    let mut world = Fixture::fresh(OnGap::Stop);
    world.list(&["A"]);
    for _ in 0..60 {
        world.list_after(Duration::from_secs(1), &["A.", "C<B"]);
    }
    assert_eq!(world.gaps, []);
    world.list_after(Duration::from_secs(1), &["A.", "B<A.", "C<B"]);
    assert!(world.stored.contains_key(&id("B")) && world.stored.contains_key(&id("C")));
    for _ in 0..60 {
        world.list_after(Duration::from_secs(1), &["B<A.", "C<B"]);
    }
    assert!(world.gaps.is_empty(), "nor is a shard that some listings leave out");
}

#[test]
fn rules_3_and_4_stop_at_each_start() {
    let mut world = Fixture::fresh(OnGap::Stop);
    world.list(&["A"]);
    world.read("A", Some(3), false);
    world.list(&["A", "Z<Y"]);
    world.list(&["A", "Z<Y"]);
    assert_eq!(world.causes(), [GapCause::UnknownParent]);
    assert!(!world.stored.contains_key(&id("Z")), "registered it would look harmless at the next start");
    assert_eq!(world.from("A"), None, "nothing goes on behind a stop");
    world.contact = known();
    let mut again = world.restart();
    assert_eq!(again.from("A"), Some(IteratorStart::After(number(3))));
    again.list(&["A", "Z<Y"]);
    again.list(&["A", "Z<Y"]);
    assert_eq!(again.causes(), [GapCause::UnknownParent]);
    assert_eq!(again.gaps, world.gaps, "the same record");
}

#[test]
fn rule_5_away() {
    for on_gap in [OnGap::Stop, OnGap::Continue] {
        let shards = vec![ShardProgress { shard: id("A"), parent: None, position: after(4) }];
        let since_contact = Some(Duration::from_secs(23 * 3600 + 1));
        let mut world = Fixture::new(StartAt::TrimHorizon, on_gap, Progress { shards, since_contact, ..known() });
        assert_eq!(world.from("A").is_some(), on_gap == OnGap::Continue);
        world.steps();
        assert_eq!(world.causes(), [GapCause::Away]);
        assert_eq!((world.gaps[0].shard.clone(), world.gaps[0].after.clone()), (None, after(4)));
        world.list(&["A"]);
        assert_eq!(world.gaps.len(), 1);
        assert_eq!(world.graph.contact_listing().is_some(), on_gap == OnGap::Continue, "contact would hide the gap");
        assert_eq!(world.from("A").is_some(), on_gap == OnGap::Continue);
    }
    let mut soon = Fixture::new(
        StartAt::TrimHorizon,
        OnGap::Stop,
        Progress { since_contact: Some(Duration::from_secs(23 * 3600)), ..known() },
    );
    soon.list(&["A"]);
    assert!(!soon.causes().contains(&GapCause::Away));
}

#[test]
fn a_replaced_stream_is_a_gap() {
    for on_gap in [OnGap::Stop, OnGap::Continue] {
        let progress = Progress { previous_stream: Some("arn:old".into()), ..Progress::default() };
        let mut world = Fixture::new(StartAt::TrimHorizon, on_gap, progress);
        world.list(&["A", "B"]);
        assert_eq!(world.causes(), [GapCause::StreamReplaced]);
        let goes_on = on_gap == OnGap::Continue;
        assert_eq!(world.stored.len(), if goes_on { 2 } else { 1 });
        assert_eq!((world.from("A").is_some(), world.from("B").is_some()), (goes_on, goes_on));
        assert_eq!(world.graph.contact_listing().is_some(), goes_on);
        let mut again = world.restart();
        again.list(&["A", "B"]);
        assert_eq!(again.causes(), [GapCause::StreamReplaced], "found again until the stream is known");
    }
}

#[test]
fn a_circle_of_parents_is_cut() {
    let mut world = Fixture::fresh(OnGap::Stop);
    for _ in 0..3 {
        world.list(&["A<A", "B<C", "C<B"]);
    }
    assert_eq!(world.stored.len(), 3);
    assert_eq!(
        (world.from("A"), world.from("C")),
        (Some(IteratorStart::TrimHorizon), Some(IteratorStart::TrimHorizon))
    );
    world.read("C", None, true);
    assert_eq!(world.from("B"), Some(IteratorStart::TrimHorizon));
}

#[test]
fn an_empty_listing_is_never_complete() {
    let mut world = Fixture::fresh(OnGap::Stop);
    world.list(&["A"]);
    for _ in 0..5 {
        world.list(&[]);
    }
    assert!(world.gaps.is_empty());
    assert_eq!(world.graph.complete_listings(), 1);
}

#[test]
fn the_tip_waits_for_the_children_of_what_ended() {
    let mut world = Fixture::fresh(OnGap::Stop);
    world.list(&["A.", "B"]);
    world.graph.set_quiet(&id("B"), true);
    world.read("A", Some(1), true);
    assert!(!world.graph.at_tip(), "A may have a child");
    world.list(&["A.", "B"]);
    assert!(!world.graph.at_tip());
    world.list(&["A.", "B"]);
    assert!(world.graph.at_tip() && !world.graph.ended());
    world.read("B", Some(8), false);
    world.graph.set_quiet(&id("B"), false);
    assert!(!world.graph.at_tip());
    world.read("B", None, true);
    let list_disabled = |world: &mut Fixture| {
        let listing = world.graph.begin_listing(world.now);
        world.graph.merge_listing(listing, true, true, &listed(&["A.", "B."]));
    };
    list_disabled(&mut world);
    list_disabled(&mut world);
    assert!(
        world.graph.at_tip() && !world.graph.ended(),
        "a child of B may be listed late, although the stream is off"
    );
    world.now += LATE_MAX;
    list_disabled(&mut world);
    assert!(world.graph.ended());
}
