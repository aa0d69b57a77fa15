//! Shards: how they begin, close, split and are trimmed.

use std::collections::{BTreeMap, BTreeSet};

use tailwater_simulation::service::{IteratorType, Manners};

use crate::ground::{Ground, HOUR, MINUTE, TABLE, as_number, code, item, key, number_of};
use tailwater_simulation::service::ItemChange;

fn hourly() -> Manners {
    Manners { rotate_after_ms: Some(HOUR..=HOUR), trim_after_ms: 240 * HOUR..=240 * HOUR, ..Manners::kind() }
}

/// DynamoDB API reference, `Shard`: ids of 28 to 65 characters. Observed: they hold the time of their making.
#[test]
fn shard_ids_have_their_form() {
    let mut ground = Ground::kind();
    let id = ground.only_shard();
    assert!((28..=65).contains(&id.len()) && id.starts_with("shardId-0000000179550000012"), "{id}");
}

/// Observed: a shard closes after some four hours and has one child.
#[test]
fn a_shard_rotates_into_one_child() {
    let mut ground = Ground::new(hourly());
    let first = ground.only_shard();
    ground.wait(HOUR);
    let shards = ground.shards();
    assert_eq!(shards.len(), 2);
    let child = shards.iter().find(|shard| shard.id != first).expect("a child");
    assert_eq!(child.parent.as_deref(), Some(first.as_str()));
    assert_eq!(shards.iter().filter(|shard| shard.ending.is_some()).count(), 1);
}

/// DynamoDB developer guide: a shard can split into two in answer to high activity.
#[test]
fn a_split_has_two_children() {
    let mut ground = Ground::kind();
    let (arn, first) = (ground.arn.clone(), ground.only_shard());
    ground.service.split(ground.now_ms, &arn, &first);
    let shards = ground.shards();
    assert_eq!(shards.iter().filter(|shard| shard.parent.as_deref() == Some(first.as_str())).count(), 2);
}

/// Observed: a table that is scaled up splits all its shards within a minute.
#[test]
fn all_shards_may_split_at_once() {
    let mut ground = Ground::new(Manners { shards_at_start: 3, ..Manners::kind() });
    let arn = ground.arn.clone();
    for expected in [3 + 6, 3 + 6 + 12, 3 + 6 + 12 + 24] {
        ground.service.split_all(ground.now_ms, &arn);
        assert_eq!(ground.shards().len(), expected);
    }
}

/// Our own bound: shards that split by themselves do not grow beyond a number.
#[test]
fn splits_have_a_bound() {
    let mut ground = Ground::new(Manners { split: 1.0, open_shards_max: 5, ..hourly() });
    ground.wait(20 * HOUR);
    let open = ground.shards().into_iter().filter(|shard| shard.ending.is_none()).count();
    assert_eq!(open, 5);
}

/// Observed: one open shard has the changes of an item, and its closed shards are untouched by later ones.
#[test]
fn an_item_is_in_one_open_shard_and_moves_to_a_child_of_it() {
    let mut ground = Ground::kind();
    let arn = ground.arn.clone();
    let mut value = 0;
    for _ in 0..4 {
        value += 1;
        ground.put("a", (value > 1).then(|| value - 1), value);
        ground.service.split_all(ground.now_ms, &arn);
    }
    let truth: Vec<String> = ground.service.truth().records(&arn).map(|record| record.shard.to_owned()).collect();
    let parents: BTreeMap<String, Option<String>> =
        ground.service.truth().shards().map(|shard| (shard.id.to_owned(), shard.parent.map(str::to_owned))).collect();
    assert_eq!(truth.len(), 4);
    for pair in truth.windows(2) {
        assert_eq!(parents[&pair[1]].as_deref(), Some(pair[0].as_str()), "each is the child of the one before");
    }
}

/// Keys are spread over the open shards, and each shard has some.
#[test]
fn keys_are_spread_over_the_shards() {
    let mut ground = Ground::new(Manners { shards_at_start: 4, ..Manners::kind() });
    for number in 0..200 {
        ground.put(&format!("key {number}"), None, number);
    }
    let arn = ground.arn.clone();
    let shards: BTreeSet<&str> = ground.service.truth().records(&arn).map(|record| record.shard).collect();
    assert_eq!(shards.len(), 4);
}

/// The sort key does not decide about the shard: items of one partition key stay together.
#[test]
fn only_the_partition_key_decides_about_the_shard() {
    let mut ground = Ground::new(Manners { shards_at_start: 8, ..Manners::kind() });
    for number in 0..30 {
        let key = format!(r#"{{"Fecha":{{"S":"{number}"}},"Id":{{"S":"one"}}}}"#);
        ground.write(ItemChange { old: None, new: Some(key.clone()), key, time_to_live: false });
    }
    let arn = ground.arn.clone();
    let shards: BTreeSet<&str> = ground.service.truth().records(&arn).map(|record| record.shard).collect();
    assert_eq!(shards.len(), 1);
}

/// DynamoDB API reference, `StreamRecord`: 21 to 40 digits. Observed: growing within a shard with gaps, and from parent to
/// child, where lengths change, so that text compares wrongly.
#[test]
fn sequence_numbers_grow_along_a_lineage() {
    let mut ground = Ground::new(hourly());
    let mut numbers = Vec::new();
    let mut value = 0;
    for _ in 0..20 {
        for _ in 0..3 {
            value += 1;
            numbers.extend(ground.put("a", (value > 1).then(|| value - 1), value));
        }
        ground.wait(HOUR);
    }
    assert_eq!(numbers.len(), 60);
    assert!(numbers.iter().all(|number| (21..=40).contains(&number.len())));
    assert!(numbers.windows(2).all(|pair| as_number(&pair[0]) < as_number(&pair[1])));
    assert!(numbers.windows(2).any(|pair| pair[0] > pair[1]), "as text they are not in order");
}

/// Observed: the ending number is at least that of the last record and not always the same; a child starts above it.
#[test]
fn ranges_hold_their_records_and_do_not_meet() {
    let mut ground = Ground::new(Manners { rotate_after_ms: Some(MINUTE..=MINUTE), ..Manners::kind() });
    let (mut same, mut later) = (0, 0);
    for value in 1..40 {
        ground.put("a", (value > 1).then(|| value - 1), value);
        ground.wait(MINUTE);
    }
    let shards = ground.shards();
    for shard in shards.iter().filter(|shard| shard.ending.is_some()) {
        let records = ground.read_shard(&shard.id, 0);
        let (start, end) = (shard.starting.clone().expect("closed"), shard.ending.clone().expect("closed"));
        for record in &records {
            assert!((as_number(&start)..=as_number(&end)).contains(&as_number(number_of(record))));
        }
        match records.last().map(|record| number_of(record) == end) {
            Some(true) => same += 1,
            _ => later += 1,
        }
        for child in shards.iter().filter(|child| child.parent.as_ref() == Some(&shard.id)) {
            if let Some(start) = &child.starting {
                assert!(as_number(start) > as_number(&end));
            }
        }
    }
    assert!(same > 0 && later > 0, "{same} {later}");
}

/// Observed with AWS's own KCL adapter, which sorts by it and dies without: a shard has its starting number from its birth
/// on, and keeps it. Other servers leave it out, so that is a knob.
#[test]
fn an_idle_shard_has_its_starting_number() {
    let mut ground = Ground::kind();
    let starting = ground.shards()[0].starting.clone();
    assert!(starting.is_some());
    ground.fill(1);
    assert_eq!(ground.shards()[0].starting, starting);
    let mut ground = Ground::new(Manners { idle_without_starting: true, ..Manners::kind() });
    assert_eq!(ground.shards()[0].starting, None);
    ground.fill(1);
    assert!(ground.shards()[0].starting.is_some());
}

/// Seen with dynoxide: a shard is listed with an ending number, and goes on.
#[test]
fn an_open_shard_may_be_listed_with_an_ending_number() {
    let mut ground = Ground::new(Manners { open_with_ending: true, ..Manners::kind() });
    let listed = ground.shards().remove(0);
    assert!(listed.ending.is_some() && listed.ending == listed.starting, "before its first record");
    ground.fill(2);
    let ending = ground.shards().remove(0).ending.expect("an ending number");
    ground.put("b", None, 1);
    let later = ground.shards().remove(0).ending.expect("an ending number");
    assert!(as_number(&later) > as_number(&ending), "{ending}, {later}");
    let iterator = ground.horizon(&listed.id);
    let page = ground.page(&iterator);
    assert!(page.records.len() == 3 && page.next.is_some());
    assert!(ground.hits("open_with_ending") > 0);
}

/// DynamoDB developer guide: records are kept for 24 hours and may be removed at any moment after that.
#[test]
fn records_are_trimmed_after_a_day_and_not_before() {
    let mut ground = Ground::new(Manners { trim_after_ms: 24 * HOUR..=30 * HOUR, ..Manners::kind() });
    ground.fill(2);
    let shard = ground.only_shard();
    ground.wait(24 * HOUR - 1);
    assert_eq!(ground.read_shard(&shard, 0).len(), 2);
    ground.put("b", None, 1);
    ground.wait(6 * HOUR + 1);
    let left = ground.read_shard(&shard, 0);
    assert_eq!(left.len(), 1, "a prefix is trimmed, the shard stays");
}

/// Observed: a closed shard leaves the listing when its records are gone; its id stays with its children.
#[test]
fn a_trimmed_shard_leaves_the_listing_and_stays_a_parent() {
    let mut ground = Ground::new(Manners {
        rotate_after_ms: Some(20 * HOUR..=20 * HOUR),
        trim_after_ms: 24 * HOUR..=24 * HOUR,
        ..Manners::kind()
    });
    ground.fill(2);
    let first = ground.only_shard();
    ground.wait(44 * HOUR);
    let shards = ground.shards();
    assert!(shards.iter().all(|shard| shard.id != first));
    assert!(shards.iter().any(|shard| shard.parent.as_ref() == Some(&first)));
    assert_eq!(code(ground.try_iterator(&first, IteratorType::TrimHorizon, None)), "ResourceNotFoundException");
}

/// A script may trim, too.
#[test]
fn trimming_by_hand() {
    let mut ground = Ground::kind();
    ground.fill(5);
    let (arn, shard) = (ground.arn.clone(), ground.only_shard());
    ground.service.trim_shard(ground.now_ms, &arn, &shard, 3);
    assert_eq!(ground.read_shard(&shard, 0).len(), 2);
    ground.service.rotate(ground.now_ms, &arn, &shard);
    ground.service.trim_shard(ground.now_ms, &arn, &shard, 9);
    assert!(ground.shards().iter().all(|listed| listed.id != shard));
}

/// Three generations with splits, read parent before child, give every change of each item once and in order.
#[test]
fn three_generations_are_read_completely() {
    let mut ground = Ground::new(Manners {
        shards_at_start: 2,
        page_records_max: 7,
        page_short: 0.3,
        end_apart: 0.5,
        ..Manners::kind()
    });
    let arn = ground.arn.clone();
    let mut written: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for generation in 0..3_u64 {
        for number in 0..90_u64 {
            let id = format!("item {}", number % 30);
            let before = written.entry(id.clone()).or_default();
            let value = generation * 1000 + number;
            let old = before.last().copied();
            before.push(value);
            ground.put(&id, old, value);
        }
        // Ids are in the order of time: each generation in its own millisecond.
        ground.wait(1);
        ground.service.split_all(ground.now_ms, &arn);
    }
    let mut read: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    // The listing is in the order of ids, which is that of time; children come after their parents.
    for shard in ground.shards() {
        for record in ground.read_shard(&shard.id, 0) {
            let image = &record["dynamodb"]["NewImage"];
            let id = image["Id"]["S"].as_str().expect("a key").to_owned();
            read.entry(id).or_default().push(image["v"]["N"].as_str().expect("a value").parse().expect("digits"));
        }
    }
    assert_eq!(read, written);
}

/// The same seed gives the same service.
#[test]
fn the_same_seed_gives_the_same_answers() {
    let run = || {
        let mut ground =
            Ground::new(Manners { rotate_after_ms: Some(MINUTE..=HOUR), split: 0.5, ..Manners::default() });
        for number in 0..50 {
            ground.write(ItemChange { key: key("a"), old: None, new: Some(item("a", number)), time_to_live: false });
            ground.wait(10 * MINUTE);
        }
        format!("{:?} {:?}", ground.describe(), ground.service.latest_stream(ground.now_ms, TABLE))
    };
    assert_eq!(run(), run());
}
