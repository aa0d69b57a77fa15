//! The first complete listing: what was promised of a stream is told from it, whatever became of its shards.

use tailwater_model::{GapCause, PreviousStream, ShardProgress};

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
    graph.first_listing_stored(FirstListing::begun(START));
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

/// Nothing was registered: what an earlier process listed is nothing that it carried.
#[test]
fn latest_is_chosen_anew_where_nothing_was_registered() {
    let progress = Progress { first_listing: Some(FirstListing::begun(START.minus(DAY * 2))), ..Progress::default() };
    let mut world = Fixture::new(StartAt::Latest, OnGap::Stop, false, progress.clone());
    world.list_now(false, &["A."]);
    assert_eq!(world.progress.first_listing, Some(FirstListing::stored(START)));
    world.list(&["A.", "Z<gone"]);
    world.ask(&[]);
    assert!(world.gaps.is_empty());

    let previous = PreviousStream { stream_arn: "arn:old".into(), read_until: Some(START) };
    let progress = Progress { previous_stream: Some(previous), ..progress };
    let mut world = Fixture::new(StartAt::Latest, OnGap::Continue, false, progress);
    world.list_now(false, &["A."]);
    assert_eq!(world.causes(), [GapCause::StreamReplaced]);
    assert_eq!(world.progress.first_listing, Some(FirstListing::stored(START)));
}
