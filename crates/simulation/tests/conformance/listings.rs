//! `DescribeStream`: pages, the filter, and everything that a listing may get wrong.

use std::collections::BTreeSet;

use tailwater_simulation::service::{Manners, StreamStatus};

use crate::ground::{Ground, MINUTE, SECOND, TABLE, code};

fn many(shards: usize) -> Manners {
    Manners { shards_at_start: shards, ..Manners::kind() }
}

fn ids(ground: &mut Ground) -> Vec<String> {
    ground.shards().into_iter().map(|shard| shard.id).collect()
}

/// DynamoDB API reference, `DescribeStream`: at most 100 shards a page; the next begins after `LastEvaluatedShardId`.
#[test]
fn more_than_a_hundred_shards_take_several_pages() {
    let mut ground = Ground::new(many(250));
    let first = ground.describe();
    assert_eq!(first.shards.len(), 100);
    assert_eq!(first.last_evaluated, first.shards.last().map(|shard| shard.id.clone()));
    let all: BTreeSet<String> = ids(&mut ground).into_iter().collect();
    assert_eq!(all.len(), 250);
}

/// The last page names no next one, also when it is full.
#[test]
fn a_full_last_page_is_the_last() {
    let mut ground = Ground::new(many(100));
    assert_eq!(ground.describe().last_evaluated, None);
}

/// DynamoDB API reference: `Limit` may be 1 to 100.
#[test]
fn a_limit_is_held_and_checked() {
    let mut ground = Ground::new(many(10));
    assert_eq!(ground.try_describe(|request| request.limit = Some(3)).expect("described").shards.len(), 3);
    for bad in [0, 101] {
        assert_eq!(code(ground.try_describe(|request| request.limit = Some(bad))), "ValidationException");
    }
}

/// Validated: the order is that of the ids.
#[test]
fn shards_are_listed_in_the_order_of_their_ids() {
    let mut ground = Ground::new(many(50));
    let listed = ids(&mut ground);
    assert!(listed.is_sorted());
}

/// Undocumented, so it varies: another order, in which pages still fit together.
#[test]
fn another_order_still_has_every_shard_once() {
    let mut ground = Ground::new(Manners { listing_shuffled: true, listing_page_max: 7, ..many(50) });
    let listed = ids(&mut ground);
    assert!(!listed.is_sorted());
    assert_eq!((listed.len(), listed.iter().collect::<BTreeSet<_>>().len()), (50, 50));
}

/// Validated: a shard that is none as the start of a page gives an empty list.
#[test]
fn a_bogus_start_gives_an_empty_list() {
    let mut ground = Ground::new(many(5));
    let start = Some("shardId-00000000000000000000-00000000".to_owned());
    let page = ground.try_describe(|request| request.exclusive_start = start).expect("no error");
    assert_eq!((page.shards.len(), page.last_evaluated), (0, None));
}

/// DynamoDB API reference, `ShardFilter`: `CHILD_SHARDS` gives the children of one shard.
#[test]
fn the_filter_gives_the_children() {
    let mut ground = Ground::new(many(2));
    let (arn, parent) = (ground.arn.clone(), ids(&mut ground)[0].clone());
    let children = |ground: &mut Ground| {
        let page = ground.try_describe(|request| request.children_of = Some(parent.clone())).expect("described");
        page.shards
    };
    assert!(children(&mut ground).is_empty());
    ground.service.split(ground.now_ms, &arn, &parent);
    let found = children(&mut ground);
    assert!(found.len() == 2 && found.iter().all(|shard| shard.parent.as_ref() == Some(&parent)));
    // Observed on DynamoDB Local: the filter is ignored and answers the shard itself.
    ground.service.manners_mut().shard_filter_ignored = true;
    assert_eq!(children(&mut ground)[0].id, parent);
}

/// Observed: a child is listed up to a minute after its parent closed.
#[test]
fn a_child_may_be_listed_late() {
    let mut ground = Ground::new(Manners { child_listed_late: 1.0, ..Manners::kind() });
    let (arn, shard) = (ground.arn.clone(), ground.only_shard());
    ground.service.rotate(ground.now_ms, &arn, &shard);
    let listed = ground.shards();
    assert!(listed.len() == 1 && listed[0].ending.is_some(), "a closed leaf without a child");
    ground.wait(MINUTE);
    assert_eq!(ground.shards().len(), 2);
}

/// Fast rotation scales the delay: while shards of every age are listed late, each listed shard's parent is listed, and each
/// is listed when a tenth of its life is over.
#[test]
fn a_child_is_listed_after_its_parent_and_well_before_it_closes() {
    let mut ground = Ground::new(Manners {
        rotate_after_ms: Some(15 * SECOND..=25 * SECOND),
        split: 0.3,
        open_shards_max: 8,
        child_listed_late: 1.0,
        closed_listed_late: 1.0,
        describe_per_second: None,
        ..many(3)
    });
    let mut late = 0;
    for _ in 0..2000 {
        ground.wait(100);
        let listed: BTreeSet<String> = ids(&mut ground).into_iter().collect();
        for shard in ground.service.truth().shards() {
            let is_listed = listed.contains(shard.id);
            let parent_listed = shard.parent.is_none_or(|parent| listed.contains(parent));
            assert!(!is_listed || parent_listed, "{} before its parent", shard.id);
            late += usize::from(!is_listed);
            assert!(is_listed || ground.now_ms - shard.created_at_ms <= 25 * SECOND / 10, "{} is late", shard.id);
        }
    }
    assert!(late > 0);
}

/// A script that closes a shard that is not listed yet makes it listed: none closes unseen.
#[test]
fn a_shard_that_closes_is_listed() {
    let mut ground = Ground::new(Manners { child_listed_late: 1.0, ..Manners::kind() });
    let arn = ground.arn.clone();
    for generations in 1..5 {
        ground.service.split_all(ground.now_ms, &arn);
        ground.wait(1);
        let listed: BTreeSet<String> = ids(&mut ground).into_iter().collect();
        let closed = ground.service.truth().shards().filter(|shard| shard.closed_at_ms.is_some());
        let closed: Vec<&str> = closed.map(|shard| shard.id).collect();
        assert_eq!(closed.len(), (1 << generations) - 1);
        assert!(closed.into_iter().all(|id| listed.contains(id)));
    }
}

/// Observed: parent and child are open in one listing.
#[test]
fn a_closed_parent_may_be_listed_as_open() {
    let mut ground = Ground::new(Manners { closed_listed_late: 1.0, ..Manners::kind() });
    let (arn, shard) = (ground.arn.clone(), ground.only_shard());
    ground.service.rotate(ground.now_ms, &arn, &shard);
    assert!(ground.shards().iter().all(|shard| shard.ending.is_none()));
    ground.wait(MINUTE);
    assert_eq!(ground.shards().iter().filter(|shard| shard.ending.is_some()).count(), 1);
}

/// Observed: a transient empty list. The next one is not empty.
#[test]
fn a_listing_may_be_empty_once() {
    let mut ground = Ground::new(Manners { listing_empty: 0.5, ..many(3) });
    let lengths: Vec<usize> = (0..60).map(|_| ground.describe().shards.len()).collect();
    assert_eq!(lengths.iter().copied().collect::<BTreeSet<_>>(), [0, 3].into());
    assert!(lengths.windows(2).all(|pair| pair != [0, 0]), "{lengths:?}");
    assert!(ground.hits("listing_empty") > 0);
}

/// A listing that has begun is not cut by it: only a first page is empty.
#[test]
fn a_listing_that_has_begun_comes_to_its_end() {
    let mut ground = Ground::new(Manners { listing_empty: 0.9, listing_page_max: 2, ..many(60) });
    let lengths: BTreeSet<usize> = (0..40).map(|_| ids(&mut ground).len()).collect();
    assert_eq!(lengths, [0, 60].into());
}

/// Observed: an empty page that names where the next one begins.
#[test]
fn a_page_may_be_empty_and_not_the_last() {
    let mut ground = Ground::new(Manners { listing_page_empty: 0.5, listing_page_max: 2, ..many(9) });
    let mut empty = 0;
    for _ in 0..20 {
        let mut start = None;
        loop {
            let page = ground.try_describe(|request| request.exclusive_start = start.clone()).expect("described");
            empty += usize::from(page.shards.is_empty() && page.last_evaluated.is_some());
            start = page.last_evaluated;
            if start.is_none() {
                break;
            }
        }
    }
    assert!(empty > 0);
    assert_eq!(ids(&mut ground).len(), 9, "nothing is lost by it");
}

/// Observed: a shard is missing from one listing and is back in the next.
#[test]
fn a_shard_may_be_missing_once() {
    let mut ground = Ground::new(Manners { shard_unlisted: 0.3, ..many(6) });
    let listings: Vec<BTreeSet<String>> = (0..200).map(|_| ids(&mut ground).into_iter().collect()).collect();
    assert!(listings.iter().any(|listed| listed.len() == 6) && listings.iter().any(|listed| listed.len() < 6));
    for pair in listings.windows(2) {
        assert_eq!(pair[0].union(&pair[1]).count(), 6, "whatever is missing is back in the next");
    }
    ground.service.manners_mut().shard_unlisted = 0.0;
    assert_eq!(ids(&mut ground).len(), 6);
}

/// For worlds: a listing does not have a shard, and its records are there all the time.
#[test]
fn a_shard_may_be_hidden_for_a_while() {
    let mut ground = Ground::kind();
    ground.fill(3);
    let (arn, shard) = (ground.arn.clone(), ground.only_shard());
    ground.wait(SECOND);
    ground.service.rotate(ground.now_ms, &arn, &shard);
    ground.service.list_from(&arn, &shard, ground.now_ms + MINUTE);
    let child = ground.shards().remove(0);
    assert_eq!((ids(&mut ground).len(), child.parent.as_ref()), (1, Some(&shard)));
    assert_eq!(ground.read_shard(&shard, 0).len(), 3);
    ground.wait(MINUTE);
    assert_eq!(ids(&mut ground), [shard, child.id]);
}

/// For worlds: a page of a listing says that a stream is off, and the next one says the truth.
#[test]
fn a_stream_may_be_called_disabled_once() {
    let mut ground = Ground::new(Manners { disabled_once: 0.5, ..Manners::kind() });
    let told: Vec<bool> = (0..200).map(|_| ground.describe().status == StreamStatus::Disabled).collect();
    assert!(told.contains(&true) && told.windows(2).all(|pair| pair != [true, true]));
    assert!(ground.service.truth().is_on(&ground.arn));
    ground.service.disable_stream(ground.now_ms, TABLE).expect("on");
    assert!((0..20).all(|_| ground.describe().status == StreamStatus::Disabled));
    assert!(!ground.service.truth().is_on(&ground.arn));
}

/// Observed: a shard is on two pages.
#[test]
fn a_shard_may_be_listed_twice() {
    let mut ground = Ground::new(Manners { shard_listed_twice: 1.0, listing_page_max: 4, ..many(9) });
    let listed = ids(&mut ground);
    assert!(listed.len() > 9);
    assert_eq!(listed.iter().collect::<BTreeSet<_>>().len(), 9);
}

/// A parent may be trimmed between the listing and the question for an iterator.
#[test]
fn what_was_listed_may_be_gone_a_moment_later() {
    let mut ground = Ground::kind();
    ground.fill(1);
    let (arn, shard) = (ground.arn.clone(), ground.only_shard());
    ground.service.rotate(ground.now_ms, &arn, &shard);
    assert!(ground.shards().iter().any(|listed| listed.id == shard));
    ground.service.trim_shard(ground.now_ms, &arn, &shard, 1);
    let kind = tailwater_simulation::service::IteratorType::TrimHorizon;
    assert_eq!(code(ground.try_iterator(&shard, kind, None)), "ResourceNotFoundException");
}
