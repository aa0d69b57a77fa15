//! The gap rules.

use std::time::Duration;

use tailwater_model::{FirstListing, GapCause, Position, PreviousStream, Progress, ServiceTime};

use super::fixture::{Fixture, START, after, id, listed, row};
use crate::api::{IteratorStart, ShardListing, When};
use crate::graph::read_until::{EMPTY_PAGES_PROVE, UNREAD_MAX};
use crate::graph::{ShardGraph, TrimmedMeans};
use crate::settings::{OnGap, StartAt};

const BOTH: [OnGap; 2] = [OnGap::Stop, OnGap::Continue];
const HOUR: Duration = Duration::from_secs(3600);
/// A pipeline that has run for a week.
const WEEK_AGO: ServiceTime = ServiceTime::from_ms(START.ms() - 7 * 24 * 3_600_000);

fn known(shards: Vec<tailwater_model::ShardProgress>, on_gap: OnGap) -> Fixture {
    known_since(WEEK_AGO, shards, on_gap)
}

fn known_since(since: ServiceTime, shards: Vec<tailwater_model::ShardProgress>, on_gap: OnGap) -> Fixture {
    let progress = Progress { shards, first_listing: Some(FirstListing::stored(since)), ..Progress::default() };
    Fixture::new(StartAt::TrimHorizon, on_gap, false, progress)
}

#[test]
fn rule_1_trimmed() {
    for on_gap in BOTH {
        let mut world = Fixture::fresh(on_gap);
        world.list(&["A"]);
        assert_eq!(world.graph.trimmed(&id("A")), TrimmedMeans::Nothing, "no position was trimmed");
        world.read("A", Some(5), false);
        let read_until = world.read_until("A");
        assert_eq!(world.graph.trimmed(&id("A")), TrimmedMeans::Loss);
        world.steps();
        assert!(world.gaps.is_empty() && world.graph.wants_listing(), "nobody knows until when records are lost");
        world.list(&["A"]);
        assert_eq!(world.causes(), [GapCause::Trimmed]);
        let gap = &world.gaps[0];
        assert_eq!((gap.after.clone(), gap.since, gap.until), (after(5), read_until, world.now));
        assert_eq!(world.stored[&id("A")].1, after(5), "the gap is found again at the next start");
        if on_gap == OnGap::Stop {
            assert_eq!(world.from("A"), None);
        } else {
            assert_eq!(world.from("A"), Some(IteratorStart::TrimHorizon));
            assert_eq!(world.graph.trimmed(&id("A")), TrimmedMeans::Nothing, "the same loss");
            world.read("A", Some(70), false);
            assert_eq!(world.from("A"), Some(IteratorStart::After(super::number(70))));
        }
    }
}

#[test]
fn rules_1_and_2_need_an_answer_of_the_service() {
    for (on_gap, is_suspected) in
        [(OnGap::Stop, true), (OnGap::Continue, true), (OnGap::Stop, false), (OnGap::Continue, false)]
    {
        let mut world = Fixture::fresh(on_gap);
        world.list(&["A.", "B<A", "C"]);
        world.read("A", Some(5), false);
        if is_suspected {
            world.graph.suspect(&id("A"), world.now);
        } else {
            world.list(&["B<A", "C"]);
            assert!(world.ask(&[]).is_empty(), "one listing is not even suspicious");
            world.list(&["B<A", "C"]);
        }
        assert_eq!(world.ask(&["A"]), [id("A")]);
        assert!(world.gaps.is_empty(), "it is there");
        if is_suspected {
            world.graph.suspect(&id("A"), world.now);
            world.ask(&[]);
            assert!(world.gaps.is_empty(), "what goes wrong for a moment gives the same answer to everybody who asks");
            world.now = world.now.plus(Duration::from_secs(30));
            world.graph.suspect(&id("A"), world.now);
        } else {
            world.list(&["B<A", "C"]);
            world.list(&["B<A", "C"]);
            world.ask(&[]);
            assert!(world.gaps.is_empty(), "nor so");
            world.list(&["B<A", "C"]);
        }
        world.ask(&[]);
        assert_eq!(world.causes(), [if is_suspected { GapCause::ShardGone } else { GapCause::ShardUnlisted }]);
        let goes_on = on_gap == OnGap::Continue;
        assert_eq!(world.gaps[0].stop, !goes_on);
        assert_eq!(world.stored[&id("A")].1, if goes_on { Position::End } else { after(5) });
        assert_eq!(world.from("B").is_some(), goes_on);
    }
}

/// A page that arrived after the listings proves that the shard is there.
#[test]
fn a_shard_that_delivers_is_not_unlisted() {
    let mut world = Fixture::fresh(OnGap::Stop);
    world.list(&["A", "B"]);
    for last in 1..5 {
        world.list(&["B"]);
        world.read("A", Some(last), false);
    }
    assert!(world.ask(&[]).is_empty());
}

#[test]
fn rules_3_and_4_need_a_stream_that_is_known_for_a_day() {
    for on_gap in BOTH {
        for (new, cause) in [("Z<Y", GapCause::UnknownParent), ("Z", GapCause::Orphan)] {
            for (known_for, is_lost) in [(UNREAD_MAX, false), (UNREAD_MAX + HOUR, true)] {
                let since = START.minus(known_for);
                let mut world = known_since(since, vec![row("A", None, after(4), START)], on_gap);
                world.list_now(false, &["A", new]);
                world.ask_for_long(&[]);
                let causes = if is_lost { vec![cause] } else { Vec::new() };
                assert_eq!(world.causes(), causes, "{new}, known for {known_for:?}");
                let is_stopped = is_lost && on_gap == OnGap::Stop;
                assert_eq!(world.from("Z").is_some(), !is_stopped);
                assert_eq!(world.stored.contains_key(&id("Z")), !is_stopped, "registered it would look harmless");
                assert_eq!(world.from("A").is_some(), !is_stopped, "nothing goes on behind a stop");
                if is_stopped {
                    let mut again = world.restart();
                    again = Fixture::new(StartAt::TrimHorizon, on_gap, false, again.progress);
                    again.now = START;
                    again.list_now(false, &["A", new]);
                    again.ask_for_long(&[]);
                    assert_eq!(again.gaps, world.gaps, "found again, and it is the same record");
                }
            }
        }
    }
}

/// Seeds 510000200, 184246642: a shard that some listings leave out, with a parent that went before it was seen.
#[test]
fn a_shard_that_the_first_listing_missed_is_no_gap() {
    let mut world = Fixture::fresh(OnGap::Stop);
    world.list(&["A"]);
    world.list(&["A", "Z<Y"]);
    world.ask_for_long(&[]);
    assert!(world.gaps.is_empty());
    assert_eq!(world.from("Z"), Some(IteratorStart::TrimHorizon));
}

/// Gap rule 5, whichever way the time went by: each is a child whose parent was read up to some moment.
#[test]
fn rule_5_a_shard_that_was_not_read_for_too_long() {
    for on_gap in BOTH {
        for (unread, is_lost) in [(UNREAD_MAX, false), (UNREAD_MAX + Duration::from_secs(1), true)] {
            // Lag and absence add up: the parent was read up to START, whenever that was.
            let rows = vec![row("A", None, Position::End, START), row("B", Some("A"), Position::Start, START)];
            let mut world = known(rows, on_gap);
            world.now = START.plus(unread);
            world.read("B", Some(7), false);
            assert_eq!(world.causes(), if is_lost { vec![GapCause::Away] } else { Vec::new() });
            if is_lost {
                assert_eq!((world.gaps[0].since, world.gaps[0].until), (Some(START), world.now));
                assert_eq!(world.from("B").is_some(), on_gap == OnGap::Continue);
                world.read("B", Some(8), false);
                assert_eq!(world.gaps.len(), 1, "reading goes on at what is left");
                assert_eq!(world.stored[&id("B")].1 == after(8), on_gap == OnGap::Continue);
            }
        }
    }
}

/// Seed 941000054: a child that was born a moment ago has lost nothing, however long its parent was unread.
#[test]
fn rule_5_knows_that_a_shard_is_younger_than_its_open_parent() {
    for is_seen_open in [true, false] {
        let rows = vec![row("A", None, Position::Start, START)];
        let mut world = known(rows, OnGap::Continue);
        world.now = START.plus(UNREAD_MAX + HOUR);
        world.list_now(false, &[if is_seen_open { "A" } else { "A." }]);
        world.read("A", Some(1), false);
        assert_eq!(world.causes(), [GapCause::Away]);
        world.list(&["A.", "B<A"]);
        world.end("A");
        world.read("B", Some(2), false);
        let causes = if is_seen_open { vec![GapCause::Away] } else { vec![GapCause::Away; 2] };
        assert_eq!(world.causes(), causes, "seen open: {is_seen_open}");
    }
}

#[test]
fn rule_5_of_a_machine_that_stood_still() {
    let mut world = Fixture::fresh(OnGap::Continue);
    world.list(&["A"]);
    world.read_empty("A", EMPTY_PAGES_PROVE);
    world.now = world.now.plus(30 * HOUR);
    world.read("A", Some(1), false);
    assert_eq!(world.causes(), [GapCause::Away], "its clock may have stood still, too: only the answer knows");
}

#[test]
fn rule_5_of_a_first_start_promises_the_last_hours_only() {
    let mut world = Fixture::fresh(OnGap::Stop);
    world.list(&["A.", "B<A"]);
    // The oldest record that is left is a day old, and the next shard of the lineage is read soon.
    let facts_created = world.now.minus(Duration::from_secs(24 * 3600));
    let facts = crate::graph::PageFacts {
        when: world.when(),
        last: Some(&super::number(1)),
        created: Some(facts_created),
        is_end: true,
        start: Some(&IteratorStart::TrimHorizon),
    };
    let crate::graph::PageMeans::Step { advance: Some(advance), read_until, .. } =
        world.graph.page_read(&id("A"), &facts)
    else {
        panic!("a page")
    };
    world.store(&id("A"), &tailwater_model::Step::Advance(advance), read_until);
    world.now = world.now.plus(HOUR / 2);
    world.read("B", Some(5), false);
    assert!(world.gaps.is_empty(), "{:?}", world.gaps);
}

/// The service's clock was a day ahead while it was stored.
#[test]
fn rule_5_believes_no_stored_moment_of_the_future() {
    let tomorrow = START.plus(24 * HOUR);
    let rows = vec![
        row("A", None, Position::End, tomorrow),
        row("B", Some("A"), Position::Start, tomorrow),
        row("C", None, after(3), tomorrow),
        row("D", None, Position::Start, START.plus(HOUR / 120)),
    ];
    let mut world = known(rows, OnGap::Continue);
    world.now = START;
    world.list_now(false, &["A.", "B<A", "C", "D"]);
    for shard in ["B", "C", "D"] {
        world.read(shard, Some(7), false);
    }
    let lost: Vec<_> = world.gaps.iter().map(|gap| (gap.shard.clone(), gap.cause)).collect();
    assert_eq!(lost, [(Some(id("B")), GapCause::Away)], "nobody can know what of it was trimmed unread");
    assert!(world.gaps[0].since < Some(START) && world.read_until("C") == Some(START));
    assert!(["B", "C", "D"].iter().all(|shard| world.stored[&id(shard)].2 < Some(START.plus(HOUR))));
}

/// The same within one process: what it knows by the dates that were ahead is set right, and so is what it has stored.
#[test]
fn a_clock_that_goes_back_takes_back_what_it_told() {
    let mut world = Fixture::fresh(OnGap::Stop);
    world.list(&["A"]);
    world.read("A", Some(1), false);
    let day = 24 * HOUR;
    world.now = world.now.plus(day);
    world.list_now(false, &["A"]);
    world.read_empty("A", EMPTY_PAGES_PROVE);
    assert!(world.stored[&id("A")].2 > Some(START.plus(23 * HOUR)));
    world.now = world.now.minus(day);
    world.graph.clock_went_back(world.now, day);
    world.steps();
    assert!(world.read_until("A") <= Some(world.now) && world.stored[&id("A")].2 <= Some(world.now));
    world.list(&["A.", "C<A"]);
    world.end("A");
    assert!(world.read_until("C") <= Some(world.now), "A was not open tomorrow");
    let mut again = world.restart();
    again.list(&["A.", "C<A"]);
    again.read("C", Some(1), false);
    assert!(again.gaps.is_empty(), "{:?}", again.gaps);
}

#[test]
fn a_replaced_stream_is_a_gap() {
    for on_gap in BOTH {
        let previous =
            Some(PreviousStream { stream_arn: "arn:old".into(), read_until: Some(START), is_of_another_table: false });
        let progress = Progress { previous_stream: previous, ..Progress::default() };
        let mut world = Fixture::new(StartAt::TrimHorizon, on_gap, false, progress);
        world.list(&["A", "B"]);
        assert_eq!(world.causes(), [GapCause::StreamReplaced]);
        assert_eq!((world.gaps[0].since, world.gaps[0].until), (Some(START), world.now));
        let goes_on = on_gap == OnGap::Continue;
        assert_eq!(world.stored.len(), if goes_on { 2 } else { 1 });
        assert_eq!((world.from("A").is_some(), world.from("B").is_some()), (goes_on, goes_on));
        assert_eq!(world.is_known(), goes_on);
        let mut again = world.restart();
        again.steps();
        assert!(again.gaps.is_empty(), "nobody knows the time yet");
        again.list(&["A", "B"]);
        let causes = if goes_on { Vec::new() } else { vec![GapCause::StreamReplaced] };
        assert_eq!(again.causes(), causes, "found again until the stream is known");
        assert!(again.gaps.iter().all(|gap| gap.until == again.now));
    }
}

/// gaps 2100001552: with the shards before it a whole lineage was not read for a day. What each of its shards has lost is
/// its own gap.
#[test]
fn the_children_of_a_lost_shard_have_lost_their_own() {
    let mut world = Fixture::fresh(OnGap::Continue);
    world.list(&["A"]);
    world.list_after(Duration::from_secs(25 * 3600), &["A", "C<gone.", "D<C"]);
    assert_eq!(world.ask_for_long(&[]), [id("gone")]);
    world.end("C");
    assert_eq!(world.causes(), [GapCause::UnknownParent]);
    world.page("D", None, false);
    world.steps();
    let found: Vec<_> = world.gaps.iter().map(|gap| (gap.cause, gap.shard.clone())).collect();
    assert_eq!(found, [(GapCause::UnknownParent, Some(id("C"))), (GapCause::Away, Some(id("D")))]);
}

/// gaps 3000063: a shard that was read to its end is no end of the stream, as long as its children may not have been listed.
#[test]
fn a_stream_that_goes_before_it_was_read_to_its_end_is_a_gap() {
    for on_gap in [OnGap::Stop, OnGap::Continue] {
        let mut world = Fixture::fresh(on_gap);
        world.list(&["A"]);
        world.end("A");
        assert!(!world.graph.stream_is_gone(), "first the gap");
        world.steps();
        assert_eq!(world.causes(), [GapCause::StreamGone]);
        assert_eq!(world.graph.stream_is_gone(), on_gap == OnGap::Continue, "a stop ends by its gap");
    }
    let mut world = Fixture::fresh(OnGap::Stop);
    assert!(world.graph.stream_is_gone(), "nothing of it was ever stored");
    let mut graph = ShardGraph::new(2, StartAt::TrimHorizon, OnGap::Stop, false);
    graph.restore(0, &Progress::default(), None);
    assert!(!graph.stream_is_gone(), "what the other lane holds is not known yet");
    graph.restore(1, &Progress::default(), None);
    assert!(graph.stream_is_gone());
}

/// gaps 2300013692: what was there at the first listing was promised then. Who registers it hours later has that to read.
#[test]
fn a_shard_that_is_registered_hours_after_the_first_listing_was_promised_then() {
    for hours in [0, 9] {
        let listed_at = START.minus(Duration::from_secs(hours * 3600));
        let shards = vec![row("A", None, Position::Start, START)];
        let progress = Progress { first_listing: Some(FirstListing::begun(listed_at)), shards, ..Progress::default() };
        let mut world = Fixture::new(StartAt::TrimHorizon, OnGap::Continue, false, progress);
        world.list(&["A", "C<gone"]);
        assert_eq!(world.ask(&[]), [id("gone")]);
        world.page("C", None, false);
        world.steps();
        assert_eq!(world.causes(), if hours > 0 { vec![GapCause::Away] } else { vec![] });
    }
}

/// Its items are nothing that the new stream tells of.
#[test]
fn a_table_that_was_made_again_is_a_gap_of_its_own() {
    let previous = PreviousStream { stream_arn: "arn:old".into(), read_until: Some(START), is_of_another_table: true };
    let progress = Progress { previous_stream: Some(previous), ..Progress::default() };
    let mut world = Fixture::new(StartAt::TrimHorizon, OnGap::Continue, false, progress);
    world.list(&["A"]);
    assert_eq!(world.causes(), [GapCause::TableReplaced]);
    assert_eq!((world.gaps[0].since, world.gaps[0].until), (Some(START), world.now));
    assert!(world.gaps[0].detail.contains("items of the old table"), "{}", world.gaps[0].detail);
}

/// Behind a stop nobody goes on before the gap is stored: not the lane decides that whose sink is away.
#[test]
fn a_gap_waits_for_no_lane_that_is_closed() {
    let shard_of =
        |lane| ["A", "B", "C", "D"].into_iter().find(|shard| id(shard).lane(2) == lane).expect("one of each");
    let rows = |lane| vec![row(shard_of(lane), None, after(4), START)];
    let previous = PreviousStream { stream_arn: "arn:old".into(), read_until: Some(START), is_of_another_table: false };
    let mut graph = ShardGraph::new(2, StartAt::TrimHorizon, OnGap::Stop, false);
    for lane in [0, 1] {
        let progress = Progress { shards: rows(lane), ..Progress::default() };
        graph.restore(lane as usize, &progress, Some(&previous));
    }
    let when = When { asked: START, answered: START };
    let number = graph.begin_listing();
    graph.merge_page(number, when, &ShardListing { shards: listed(&["A", "B", "C", "D"]), ..ShardListing::default() });
    let gaps = |graph: &mut ShardGraph, lane| graph.take_steps(lane, 9).into_iter().filter_map(|step| step.gap).count();
    assert_eq!((gaps(&mut graph, 0), gaps(&mut graph, 1)), (1, 0), "told once");
    graph.lane_closed(1);
    assert_eq!(gaps(&mut graph, 1), 0, "another lane has it under way");
    graph.lane_closed(0);
    assert_eq!((gaps(&mut graph, 1), gaps(&mut graph, 0)), (1, 0));
}

/// bounded 207880085: a listing shows the parent before its lane is open, the child's lane opens again, and the child passed
/// for read until that listing. So did its own children, which had lost their first hours.
#[test]
fn a_parent_whose_lane_is_not_open_says_nothing_of_how_far_its_child_was_read() {
    let shard_of =
        |lane| ["A", "B", "C", "D"].into_iter().find(|shard| id(shard).lane(2) == lane).expect("one of each");
    let (parent, child) = (shard_of(0), shard_of(1));
    let read_until = START.minus(HOUR * 22);
    let shards = vec![row(child, Some(parent), after(4), read_until)];
    let progress = Progress { shards, first_listing: Some(FirstListing::stored(WEEK_AGO)), ..Progress::default() };
    let mut graph = ShardGraph::new(2, StartAt::TrimHorizon, OnGap::Continue, false);
    graph.restore(1, &progress, None);
    let when = When { asked: START, answered: START };
    let number = graph.begin_listing();
    let shards = listed(&[&format!("{parent}."), &format!("{child}<{parent}")]);
    graph.merge_page(number, when, &ShardListing { shards, ..ShardListing::default() });
    graph.restore(1, &progress, None);
    assert_eq!(graph.shards[&id(child)].read_until, Some(read_until));
}
