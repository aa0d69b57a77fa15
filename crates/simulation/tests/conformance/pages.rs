//! `GetRecords`: how much, how little, how late, and where it ends.

use tailwater_simulation::service::Manners;

use crate::ground::{Ground, MINUTE, SECOND, code, value_of};

fn closed(manners: Manners, records: u64) -> (Ground, String) {
    let mut ground = Ground::new(manners);
    ground.fill(records);
    let (arn, shard) = (ground.arn.clone(), ground.only_shard());
    ground.service.rotate(ground.now_ms, &arn, &shard);
    (ground, shard)
}

/// DynamoDB API reference, `GetRecords`: at most 1 000 records.
#[test]
fn a_page_has_at_most_a_thousand_records() {
    let mut ground = Ground::kind();
    ground.fill(1500);
    let shard = ground.only_shard();
    let iterator = ground.horizon(&shard);
    let page = ground.page(&iterator);
    assert_eq!(page.records.len(), 1000);
    assert_eq!(ground.page(&page.next.expect("more")).records.len(), 500);
}

/// DynamoDB API reference: at most 1 MB. A single record always fits.
#[test]
fn a_page_has_at_most_a_megabyte() {
    let mut ground = Ground::new(Manners { page_bytes_max: 1500, ..Manners::kind() });
    ground.fill(10);
    let shard = ground.only_shard();
    let iterator = ground.horizon(&shard);
    let count = ground.page(&iterator).records.len();
    assert!((2..5).contains(&count), "{count}");
    ground.service.manners_mut().page_bytes_max = 1;
    assert_eq!(ground.page(&iterator).records.len(), 1);
}

/// DynamoDB API reference: `Limit` may be 1 to 1 000.
#[test]
fn a_limit_is_held_and_checked() {
    let mut ground = Ground::kind();
    ground.fill(10);
    let shard = ground.only_shard();
    let iterator = ground.horizon(&shard);
    assert_eq!(ground.try_page(&iterator, Some(4)).expect("a page").records.len(), 4);
    for bad in [0, 1001] {
        assert_eq!(code(ground.try_page(&iterator, Some(bad))), "ValidationException");
    }
}

/// Validated: the last page of a closed shard has records and no next iterator.
#[test]
fn the_last_page_may_hold_records() {
    let (mut ground, shard) = closed(Manners::kind(), 3);
    let iterator = ground.horizon(&shard);
    let page = ground.page(&iterator);
    assert_eq!((page.records.len(), page.next), (3, None));
}

/// Observed as well: the end comes in an empty page of its own.
#[test]
fn the_end_may_come_apart() {
    let (mut ground, shard) = closed(Manners { end_apart: 1.0, ..Manners::kind() }, 3);
    let iterator = ground.horizon(&shard);
    let page = ground.page(&iterator);
    assert_eq!(page.records.len(), 3);
    let end = ground.page(&page.next.expect("one more"));
    assert_eq!((end.records.len(), end.next), (0, None));
}

/// A shard that closed without a record ends at once.
#[test]
fn an_empty_closed_shard_ends_at_once() {
    let (mut ground, shard) = closed(Manners { end_apart: 1.0, ..Manners::kind() }, 0);
    let iterator = ground.horizon(&shard);
    let page = ground.page(&iterator);
    assert_eq!((page.records.len(), page.next), (0, None));
}

/// An open shard has no end.
#[test]
fn an_open_shard_always_has_a_next_iterator() {
    let mut ground = Ground::kind();
    let shard = ground.only_shard();
    let mut iterator = ground.horizon(&shard);
    for _ in 0..5 {
        iterator = ground.page(&iterator).next.expect("open");
    }
}

/// DynamoDB developer guide: an empty page says nothing. Observed: fifty in a row, and then records.
#[test]
fn empty_pages_come_before_records() {
    let mut ground = Ground::new(Manners { page_empty: 1.0, ..Manners::kind() });
    ground.fill(3);
    let shard = ground.only_shard();
    let mut iterator = ground.horizon(&shard);
    let mut empty = 0;
    let records = loop {
        let page = ground.page(&iterator);
        if !page.records.is_empty() {
            break page.records;
        }
        empty += 1;
        iterator = page.next.expect("not the end");
    };
    assert_eq!((empty, records.len()), (50, 3));
}

/// An empty page comes also before the end of a closed shard, and is not it.
#[test]
fn an_empty_page_is_not_the_end() {
    let (mut ground, shard) = closed(Manners { page_empty: 0.8, ..Manners::kind() }, 3);
    assert_eq!(ground.read_shard(&shard, 60).len(), 3);
}

/// DynamoDB API reference: fewer records than there are.
#[test]
fn a_page_may_be_short() {
    let mut ground = Ground::new(Manners { page_short: 1.0, ..Manners::kind() });
    ground.fill(20);
    let shard = ground.only_shard();
    let iterator = ground.horizon(&shard);
    assert!(ground.page(&iterator).records.len() < 20);
    let values: Vec<u64> = ground.read_shard(&shard, 0).iter().map(value_of).collect();
    assert_eq!(values, (1..=20).collect::<Vec<_>>());
}

/// Never seen on AWS: the record before the place comes again, after a sequence number and at every poll.
#[test]
fn a_record_may_be_sent_again() {
    let mut ground = Ground::new(Manners { record_repeated: 1.0, page_records_max: 2, ..Manners::kind() });
    ground.fill(3);
    let shard = ground.only_shard();
    let mut iterator = ground.horizon(&shard);
    let mut pages = Vec::new();
    for _ in 0..4 {
        let page = ground.page(&iterator);
        pages.push(page.records.iter().map(value_of).collect::<Vec<_>>());
        iterator = page.next.expect("open");
    }
    assert_eq!(pages, [vec![1, 2], vec![2, 3], vec![3], vec![3]]);
}

/// DynamoDB developer guide: records appear in near real time, not at once; in the order of their writes.
#[test]
fn records_appear_after_a_moment_and_in_order() {
    let mut ground = Ground::new(Manners { visible_after_ms: 100..=10 * SECOND, ..Manners::kind() });
    ground.fill(20);
    let shard = ground.only_shard();
    let iterator = ground.horizon(&shard);
    assert!(ground.page(&iterator).records.is_empty());
    let mut seen = 0;
    for _ in 0..101 {
        ground.wait(100);
        let values: Vec<u64> = ground.page(&iterator).records.iter().map(value_of).collect();
        assert_eq!(values, (1..=values.len() as u64).collect::<Vec<_>>());
        assert!(values.len() >= seen);
        seen = values.len();
    }
    assert_eq!(seen, 20);
}

/// Observed: a shard stands still for minutes.
#[test]
fn a_shard_may_stand_still() {
    let mut ground = Ground::new(Manners { stalled: 1.0, ..Manners::kind() });
    ground.fill(5);
    let shard = ground.only_shard();
    let iterator = ground.horizon(&shard);
    assert!(ground.page(&iterator).records.len() < 5);
    ground.wait(5 * MINUTE);
    assert_eq!(ground.page(&iterator).records.len(), 5);
}

/// A closed shard does not end before its late records came.
#[test]
fn a_closed_shard_waits_for_its_late_records() {
    let (mut ground, shard) = closed(Manners { visible_after_ms: SECOND..=SECOND, ..Manners::kind() }, 3);
    let iterator = ground.horizon(&shard);
    let page = ground.page(&iterator);
    assert!(page.records.is_empty() && page.next.is_some());
    ground.wait(SECOND);
    assert_eq!(ground.page(&page.next.expect("open")).records.len(), 3);
}

/// DynamoDB developer guide: no more than two readers of a shard at once, or they are throttled.
#[test]
fn the_third_reader_is_throttled() {
    let mut ground = Ground::new(Manners { readers_max: Some(2), ..Manners::kind() });
    let shard = ground.only_shard();
    let readers: Vec<String> = (0..3).map(|_| ground.horizon(&shard)).collect();
    ground.page(&readers[0]);
    ground.page(&readers[1]);
    assert_eq!(code(ground.try_page(&readers[2], None)), "LimitExceededException");
    ground.page(&readers[0]);
    ground.wait(SECOND);
    ground.page(&readers[2]);
}
