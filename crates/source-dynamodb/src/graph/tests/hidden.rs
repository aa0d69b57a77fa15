//! A parent that exists and that no listing shows.

use std::time::Duration;

use tailwater_model::{FirstListing, GapCause, Position, Progress};

use super::fixture::{Fixture, START, row};
use crate::settings::{OnGap, StartAt};

const HOUR: Duration = Duration::from_secs(3600);

/// It took its moment from the first listing: "not read since" the day on which the pipeline began, and a stop.
#[test]
fn a_hidden_parent_was_read_as_far_as_what_it_may_come_from() {
    for hours in [2, 72] {
        let mut world = Fixture::fresh(OnGap::Stop);
        world.list(&["A"]);
        for hour in 1..=hours {
            world.now = world.now.plus(HOUR);
            world.read("A", Some(hour), false);
            world.list(&["A"]);
        }
        for _ in 0..3 {
            world.list(&["A.", "C<B"]);
            world.ask(&["A", "B"]);
        }
        world.end("A");
        assert_eq!(world.read_until("B"), world.read_until("A"));
        world.read("B", Some(1), false);
        assert!(world.gaps.is_empty(), "{hours} hours: {:?}", world.gaps);
    }
}

/// It may be a second child of a shard whose first one is known.
#[test]
fn a_hidden_parent_that_comes_from_no_end_is_not_unread_since_the_pipeline_began() {
    let mut world = Fixture::fresh(OnGap::Stop);
    world.list(&["A"]);
    for hour in 1..=72 {
        world.now = world.now.plus(HOUR);
        world.read("A", Some(hour), false);
        world.list(&["A"]);
    }
    world.list(&["A.", "D<A"]);
    world.end("A");
    for _ in 0..3 {
        world.list(&["A.", "D<A", "C<B"]);
        world.ask(&["A", "B"]);
    }
    world.read("B", Some(1), false);
    assert!(world.gaps.is_empty(), "{:?}", world.gaps);
}

/// Nobody was there for more than a day: what may be its parent was read no further.
#[test]
fn a_hidden_parent_that_was_unread_for_a_day_is_a_gap() {
    let away = START.minus(HOUR * 30);
    let shards = vec![row("A", None, Position::End, away), row("X", None, Position::Start, START)];
    let progress =
        Progress { shards, first_listing: Some(FirstListing::stored(away.minus(HOUR * 99))), ..Progress::default() };
    let mut world = Fixture::new(StartAt::TrimHorizon, OnGap::Continue, false, progress);
    for _ in 0..3 {
        world.list(&["C<B", "X"]);
        world.ask(&["B"]);
    }
    world.page("B", None, false);
    world.steps();
    assert_eq!((world.causes(), world.gaps[0].since), (vec![GapCause::Away], Some(away)));
}
