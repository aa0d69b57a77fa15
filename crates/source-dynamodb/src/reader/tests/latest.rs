//! A start with what is written from now on.

use std::time::Duration;

use tailwater_model::{FirstListing, Position};

use super::fake::{Fake, FakeShard, Run, id, settings};
use super::{MINUTE, child, open, root, until};
use crate::settings::{ReaderSettings, StartAt};

#[tokio::test(start_paused = true)]
async fn latest_skips_what_is_there() {
    let fake = Fake::new(vec![("a", root(5)), ("b", FakeShard { closed: false, ..child("a", 4) })]);
    let latest = ReaderSettings { start: StartAt::Latest, until_tip: false, ..settings() };
    let mut run = Run::open(&fake, 2, latest).await;
    run.run(Duration::from_secs(5)).await.expect("no trouble");
    fake.change("b", |shard| (shard.records, shard.closed) = (6, true));
    fake.stream().shards.insert(id("c"), FakeShard { closed: false, ..child("b", 3) });
    run.run(MINUTE).await.expect("no trouble");
    assert_eq!((run.read("a"), run.read("b"), run.read("c")), (vec![], vec![5, 6], until(3)));
    assert_eq!(fake.calls("Latest"), 1);
}

/// Asked again from its trim horizon, an idle shard would bring its whole past at its rotation.
#[tokio::test(start_paused = true)]
async fn an_idle_shard_ends_without_its_past() {
    let fake = Fake::new(vec![("a", open(4))]);
    let latest = ReaderSettings { start: StartAt::Latest, until_tip: false, ..settings() };
    let mut run = Run::open(&fake, 1, latest).await;
    run.run(MINUTE).await.expect("no trouble");
    fake.change("a", |shard| shard.closed = true);
    fake.stream().shards.insert(id("b"), FakeShard { closed: false, ..child("a", 3) });
    run.run(5 * MINUTE).await.expect("no trouble");
    assert_eq!((run.read("a"), run.read("b")), (vec![], until(3)));
    assert_eq!(fake.calls("GetShardIterator"), 2, "one of each");
}

#[tokio::test(start_paused = true)]
async fn latest_has_what_is_written_after_its_registration() {
    // However long registration and first read take, and whatever becomes of the iterator meanwhile.
    for (pause, reopens, expected) in
        [(MINUTE, false, vec![5, 6]), (60 * MINUTE, false, until(6)), (MINUTE, true, until(6))]
    {
        let fake = Fake::new(vec![("a", open(4))]);
        let latest = ReaderSettings { start: StartAt::Latest, until_tip: false, ..settings() };
        let mut run = Run::open(&fake, 1, latest).await;
        run.group_max = usize::MAX;
        while run.uncommitted[0].is_empty() {
            run.turn(0).await.expect("no trouble");
        }
        assert_eq!(fake.calls("Latest"), 1, "held before the registration is handed out");
        run.commit(0);
        fake.change("a", |shard| shard.records = 6);
        if reopens {
            // The lane has the iterator, and loses it.
            run.turn(0).await.expect("no trouble");
            run.reopen(0).await;
        }
        tokio::time::sleep(pause).await;
        run.run(MINUTE).await.expect("no trouble");
        assert_eq!(run.read("a"), expected, "{pause:?}, reopened: {reopens}");
    }
}

#[tokio::test(start_paused = true)]
async fn latest_waits_for_iterators_that_are_refused() {
    let fake = Fake::new(vec![("a", open(4)), ("b", open(2))]);
    fake.stream().throttle_every = 2;
    let latest = ReaderSettings { start: StartAt::Latest, until_tip: false, ..settings() };
    let mut run = Run::open(&fake, 2, latest).await;
    run.run(MINUTE).await.expect("no trouble");
    ["a", "b"].into_iter().for_each(|shard| fake.change(shard, |shard| shard.records = 6));
    run.run(MINUTE).await.expect("no trouble");
    assert_eq!((run.read("a"), run.read("b")), (vec![5, 6], vec![3, 4, 5, 6]));
    assert!(FirstListing::known_since(run.first_listing).is_some() && run.gaps.is_empty());
}

/// dynoxide 3.2 names an ending sequence number of shards that are open: none of their records came, and the pipeline was idle.
#[tokio::test(start_paused = true)]
async fn latest_leaves_nothing_out_because_a_listing_names_its_end() {
    let fake = Fake::new(vec![("a", FakeShard { end_named: true, ..open(4) }), ("b", root(2))]);
    let latest = ReaderSettings { start: StartAt::Latest, until_tip: false, ..settings() };
    let mut run = Run::open(&fake, 2, latest).await;
    run.run(Duration::from_secs(5)).await.expect("no trouble");
    fake.change("a", |shard| shard.records = 6);
    run.run(MINUTE).await.expect("no trouble");
    assert_eq!((run.read("a"), run.read("b")), (vec![5, 6], vec![]));
    assert_eq!(run.stored[&id("b")].1, Position::End, "its pages say so, too");
    assert!(FirstListing::known_since(run.first_listing).is_some() && run.gaps.is_empty());
}
