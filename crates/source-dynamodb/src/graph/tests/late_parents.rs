//! A shard that no lane has stored, although some lane has stored its child.

use std::collections::BTreeSet;
use std::time::Duration;

use tailwater_model::{FirstListing, GapCause, Position, Progress, ServiceTime, ShardId, Step};

use super::fixture::{Fixture, START, after, id, listed, row};
use crate::api::{ShardListing, When};
use crate::graph::{GraphStep, ShardGraph};
use crate::settings::{OnGap, StartAt};

const HOUR: Duration = Duration::from_secs(3600);

fn of_lane(letter: &str, lane: u32) -> String {
    of_lanes(letter, lane, 2)
}

fn of_lanes(letter: &str, lane: u32, lanes: u32) -> String {
    (0..100).map(|n| format!("{letter}{n:02}")).find(|name| id(name).lane(lanes) == lane).expect("one of each")
}

fn list(graph: &mut ShardGraph, now: ServiceTime, shards: &[&str]) {
    let when = When { asked: now, answered: now };
    let number = graph.begin_listing();
    let page = ShardListing { shards: listed(shards), ..ShardListing::default() };
    graph.merge_page(number, when, &page);
    let ids: BTreeSet<ShardId> = page.shards.into_iter().map(|one| one.shard).collect();
    graph.listed_completely(number, when, &ids);
}

fn stored(shards: Vec<tailwater_model::ShardProgress>) -> Progress {
    Progress { shards, first_listing: Some(FirstListing::stored(START)), ..Progress::default() }
}

fn commit(graph: &mut ShardGraph, lane: usize) -> Vec<GraphStep> {
    let steps = graph.take_steps(lane, 100);
    steps.iter().for_each(|step| graph.committed(&step.shard, &step.step));
    steps
}

/// Read as a new root beside its child, it would write older images over newer ones.
#[test]
fn a_shard_is_no_root_before_the_lanes_of_its_children_are_open() {
    let (p, c, x, n) = (of_lane("p", 0), of_lane("c", 1), of_lane("x", 0), of_lane("n", 0));
    let (closed, child) = (format!("{p}."), format!("{c}<{p}"));
    for start in [StartAt::Latest, StartAt::TrimHorizon] {
        for (child_lane_first, is_child_listed) in [(true, true), (false, true), (false, false)] {
            let mut graph = ShardGraph::new(2, start, OnGap::Continue, false);
            let theirs = stored(vec![row(&c, Some(&p), after(5), START)]);
            if child_lane_first {
                graph.restore(1, &theirs, None);
            }
            graph.restore(0, &stored(vec![row(&x, None, after(1), START)]), None);
            let shards = [closed.as_str(), x.as_str(), n.as_str(), child.as_str()];
            list(&mut graph, START.plus(HOUR), &shards[..3 + usize::from(is_child_listed)]);
            let mut steps = commit(&mut graph, 0);
            assert!(graph.read_from(&id(&n)).is_some(), "an open shard has no child that may be stored");
            if !child_lane_first {
                assert!(steps.iter().all(|step| step.shard == id(&n)));
                assert_eq!(graph.waits_for_lane(0), Some(1));
                graph.restore(1, &theirs, None);
                steps.extend(commit(&mut graph, 0));
            }
            assert_eq!(graph.read_from(&id(&p)), None, "{start:?}, {child_lane_first}, {is_child_listed}");
            let of_parent = steps.iter().find(|step| step.shard == id(&p)).expect("registered");
            let is_passed = matches!(&of_parent.step, Step::Register { position: Position::End, .. });
            let cause = of_parent.gap.as_ref().map(|gap| gap.cause);
            assert_eq!((is_passed, cause), (true, Some(GapCause::ShardGone)));
            assert_eq!(graph.waits_for_lane(0), None);
        }
    }
}

/// So it is when LATEST left its parent out, and no listing showed the shard itself: that its parent is stored says nothing of it.
#[test]
fn a_shard_whose_parent_was_over_waits_for_the_lanes_of_its_children() {
    for (lane_of_parent, was_passed) in [(0, true), (0, false), (1, true), (1, false)] {
        let (j, p, c, x) =
            (of_lanes("j", lane_of_parent, 3), of_lanes("p", 0, 3), of_lanes("c", 2, 3), of_lanes("x", 0, 3));
        let shards = [format!("{j}."), format!("{p}<{j}."), format!("{c}<{p}"), x.clone()];
        let shards: Vec<&str> = shards.iter().map(String::as_str).collect();
        let parent = row(&j, None, Position::End, START);
        let (mut first, mut second) = (vec![row(&x, None, after(1), START)], vec![]);
        if lane_of_parent == 0 {
            first.push(parent)
        } else {
            second.push(parent)
        }
        let third = if was_passed { vec![row(&c, Some(&p), after(5), START)] } else { vec![] };
        let mut graph = ShardGraph::new(3, StartAt::Latest, OnGap::Continue, false);
        graph.restore(0, &stored(first), None);
        list(&mut graph, START.plus(HOUR), &shards);
        graph.restore(1, &stored(second), None);
        assert!(commit(&mut graph, 0).is_empty());
        assert_eq!((graph.read_from(&id(&p)), graph.waits_for_lane(0)), (None, Some(2)));
        graph.restore(2, &stored(third), None);
        let steps = commit(&mut graph, 0);
        let gaps: Vec<_> = steps.iter().filter_map(|step| step.gap.as_ref()).map(|gap| gap.cause).collect();
        assert_eq!(gaps, if was_passed { vec![GapCause::ShardGone] } else { vec![] });
        assert_eq!(graph.read_from(&id(&p)).is_some(), !was_passed);
        assert_eq!(graph.waits_for_lane(0), None);
    }
}

/// Nothing of it was ever stored, whichever lane that would have been.
#[test]
fn a_closed_root_goes_on_when_all_lanes_are_open() {
    let (p, x) = (of_lane("p", 0), of_lane("x", 0));
    let mut graph = ShardGraph::new(2, StartAt::TrimHorizon, OnGap::Stop, false);
    graph.restore(0, &stored(vec![row(&x, None, after(1), START)]), None);
    list(&mut graph, START.plus(HOUR), &[&format!("{p}."), &x]);
    assert!(commit(&mut graph, 0).is_empty());
    graph.restore(1, &stored(vec![]), None);
    let steps = commit(&mut graph, 0);
    assert!(steps.iter().all(|step| step.gap.is_none()) && graph.read_from(&id(&p)).is_some());
}

/// A first start does not wait for a lane: nobody has stored anything.
#[test]
fn a_closed_root_of_a_first_start_waits_for_no_other_lane() {
    let p = of_lane("p", 0);
    let mut graph = ShardGraph::new(2, StartAt::TrimHorizon, OnGap::Stop, false);
    graph.restore(0, &Progress::default(), None);
    list(&mut graph, START, &[&format!("{p}.")]);
    let listing = graph.first_listing_due().expect("listed");
    graph.first_listing_committed(listing);
    assert_eq!(commit(&mut graph, 0).len(), 1);
    assert!(graph.read_from(&id(&p)).is_some());
}

/// Its parent is gone, and it may have been passed over as well: its own child may be stored in the lane that is not open.
#[test]
fn a_shard_without_its_parent_waits_for_the_lanes_of_its_children() {
    let (c, g, x) = (of_lane("c", 0), of_lane("g", 1), of_lane("x", 0));
    let gone = of_lane("b", 0);
    let shards = [format!("{c}<{gone}."), format!("{g}<{c}"), x.clone()];
    let shards: Vec<&str> = shards.iter().map(String::as_str).collect();
    let mut graph = ShardGraph::new(2, StartAt::TrimHorizon, OnGap::Continue, false);
    graph.restore(0, &stored(vec![row(&x, None, after(1), START)]), None);
    list(&mut graph, START.plus(HOUR), &shards);
    assert!(graph.take_doubtful().is_empty());
    graph.restore(1, &stored(vec![row(&g, Some(&c), after(5), START)]), None);
    let steps = commit(&mut graph, 0);
    let causes: Vec<_> = steps.into_iter().filter_map(|step| step.gap).map(|gap| gap.cause).collect();
    assert_eq!((causes, graph.read_from(&id(&c))), (vec![GapCause::ShardGone], None));
}

/// A process that knows the stream would take it for one that was passed over: a false alarm.
#[test]
fn a_stream_is_not_known_before_what_latest_leaves_out_is_stored() {
    let mut world = Fixture::new(StartAt::Latest, OnGap::Stop, false, Progress::default());
    world.list(&["X<P"]);
    assert!(world.graph.latest_held(&id("X"), START));
    world.steps();
    list(&mut world.graph, world.now, &["P.", "X<P"]);
    assert_eq!(
        world.graph.first_listing_due(),
        None,
        "the second listing is there, and what it has shown is not stored"
    );
    world.steps();
    assert!(world.is_known() && world.stored[&id("P")].1 == Position::End && world.gaps.is_empty());
}
