//! The replay without HTTP.

use std::collections::BTreeSet;

use super::*;

const SETTINGS: ReplaySettings = ReplaySettings {
    profile: Profile::Tiny,
    shards: 3,
    pages: 2,
    shard_pages: Some(2),
    generations: 1,
    rate: None,
    started_at_us: 0,
    listings_per_second_max: LISTINGS_PER_SECOND_MAX,
    seed: 7,
};

fn call(replay: &Replay, now_us: i64, operation: &str, request: Value) -> Value {
    let target = format!("DynamoDBStreams_20120810.{operation}");
    let answer = replay.answer(now_us, &target, request.to_string().as_bytes());
    serde_json::from_slice(&answer.body).expect("JSON")
}

fn iterator(replay: &Replay, now_us: i64, shard: &str, kind: &str, number: Option<&str>) -> String {
    let request =
        json!({"StreamArn": STREAM_ARN, "ShardId": shard, "ShardIteratorType": kind, "SequenceNumber": number});
    let answer = call(replay, now_us, "GetShardIterator", request);
    answer["ShardIterator"].as_str().unwrap_or_else(|| panic!("an iterator: {answer}")).to_owned()
}

fn read(replay: &Replay, now_us: i64, iterator: &str) -> (Vec<Value>, Option<String>) {
    let page = call(replay, now_us, "GetRecords", json!({"ShardIterator": iterator}));
    let next = page["NextShardIterator"].as_str().map(str::to_owned);
    (page["Records"].as_array().unwrap_or_else(|| panic!("records: {page}")).clone(), next)
}

fn list(replay: &Replay, now_us: i64) -> Vec<Value> {
    let listing = call(replay, now_us, "DescribeStream", json!({"StreamArn": STREAM_ARN}));
    listing["StreamDescription"]["Shards"].as_array().unwrap_or_else(|| panic!("shards: {listing}")).clone()
}

fn number(record: &Value) -> u128 {
    record["dynamodb"]["SequenceNumber"].as_str().and_then(|text| text.parse().ok()).expect("a sequence number")
}

fn id(shard: &Value) -> String {
    shard["ShardId"].as_str().expect("an id").to_owned()
}

#[test]
fn every_profile_is_whole_and_the_same_for_a_seed() {
    for (name, profile) in Profile::ALL {
        let settings = ReplaySettings { profile, ..SETTINGS };
        let replay = Replay::new(settings);
        let shard = id(&list(&replay, 0)[2]);
        let first = iterator(&replay, 0, &shard, "TRIM_HORIZON", None);
        let (mut records, next) = read(&replay, 0, &first);
        assert_eq!(records, read(&Replay::new(settings), 0, &first).0, "{name}");
        let (rest, end) = read(&replay, 0, &next.expect("two pages"));
        assert_eq!(end, None, "{name}");
        records.extend(rest);
        assert_eq!(Some(records.len() as u64), replay.records_per_shard(), "{name}");
        assert!(records.is_sorted_by(|one, next| number(one) < number(next)), "{name}");
        let events: BTreeSet<String> = records.iter().map(|record| record["eventID"].to_string()).collect();
        assert_eq!(events.len(), records.len(), "{name}");
        let calls = replay.calls();
        assert_eq!((calls.describe_stream, calls.get_shard_iterator, calls.get_records), (1, 1, 2), "{name}");
        assert_eq!(calls.records, records.len() as u64, "{name}");
    }
}

#[test]
fn a_mixed_page_has_all_kinds() {
    let replay = Replay::new(ReplaySettings { profile: Profile::Mixed, pages: 5, shard_pages: Some(5), ..SETTINGS });
    let mut sizes = BTreeSet::new();
    let mut names = BTreeSet::new();
    let mut next = Some("0.0.0.0".to_owned());
    while let Some(iterator) = next {
        let (records, after) = read(&replay, 0, &iterator);
        for record in records {
            sizes.insert(record.to_string().len().ilog2());
            names.insert(record["eventName"].to_string());
        }
        next = after;
    }
    assert_eq!(names.len(), 3);
    assert!(sizes.first() < Some(&9) && sizes.last() > Some(&17), "{sizes:?}");
}

#[test]
fn few_keys_are_hot() {
    let replay = Replay::new(ReplaySettings { profile: Profile::HotKeys, pages: 10, shard_pages: None, ..SETTINGS });
    let (mut records, mut next) = (Vec::new(), "0.0.0.0".to_owned());
    while records.len() < 5_000 {
        let (page, after) = read(&replay, 0, &next);
        records.extend(page);
        next = after.expect("it never ends");
    }
    let keys: BTreeSet<String> = records.iter().map(|record| record["dynamodb"]["Keys"].to_string()).collect();
    let hottest = "000000-0000000000000000";
    let hot = records.iter().filter(|record| record["dynamodb"]["Keys"]["Id"]["S"] == hottest).count();
    assert!(keys.len() < records.len() * 3 / 5, "{} keys of {} records", keys.len(), records.len());
    assert!((records.len() / 20..records.len() / 5).contains(&hot), "{hot}");
}

#[test]
fn an_open_end_has_every_number_once() {
    let replay = Replay::new(ReplaySettings { shard_pages: None, ..SETTINGS });
    let (mut numbers, mut next) = (Vec::new(), "1.0.0.0".to_owned());
    for _ in 0..5 {
        let (page, after) = read(&replay, 0, &next);
        numbers.extend(page.iter().map(number));
        next = after.expect("it never ends");
    }
    assert_eq!(numbers.len(), 5_000);
    assert!(numbers.is_sorted_by(|one, next| one < next));
    let long = Replay::new(ReplaySettings { shard_pages: Some(5), ..SETTINGS });
    assert_eq!(long.records_per_shard(), Some(5_000));
    assert_eq!(read(&long, 0, "1.0.4.0"), (read(&replay, 0, "1.0.4.0").0, None));
}

#[test]
fn an_answer_goes_on_into_the_next_page() {
    let replay = Replay::new(SETTINGS);
    let shard = id(&list(&replay, 0)[0]);
    let (mut records, _) = read(&replay, 0, "0.0.0.0");
    records.extend(read(&replay, 0, "0.0.1.0").0);
    for (kind, begin) in [("AT_SEQUENCE_NUMBER", 990), ("AFTER_SEQUENCE_NUMBER", 991)] {
        let place = number(&records[990]).to_string();
        let (answer, next) = read(&replay, 0, &iterator(&replay, 0, &shard, kind, Some(&place)));
        assert_eq!(answer, records[begin..begin + 1_000]);
        assert_eq!(next, Some(format!("0.0.1.{begin}")));
        assert_eq!(read(&replay, 0, &next.expect("more")), (records[begin + 1_000..].to_vec(), None));
    }
    let last = number(&read(&replay, 0, "0.0.1.0").0[999]).to_string();
    let end = iterator(&replay, 0, &shard, "AFTER_SEQUENCE_NUMBER", Some(&last));
    assert_eq!(read(&replay, 0, &end), (Vec::new(), None));
}

#[test]
fn an_answer_has_no_more_bytes_than_the_service_gives() {
    let replay = Replay::new(ReplaySettings { profile: Profile::Mixed, pages: 5, shard_pages: Some(5), ..SETTINGS });
    // From the second record on, no answer begins where a page does.
    let (mut seen, mut next) = (Vec::new(), Some("0.0.0.1".to_owned()));
    while let Some(iterator) = next {
        let bytes = replay.calls().bytes;
        let (records, after) = read(&replay, 0, &iterator);
        assert!(!records.is_empty() && records.len() <= 1_000);
        // Beside the records: the iterator and the names around them.
        assert!(replay.calls().bytes - bytes <= PAGE_BYTES_MAX as u64 + 100);
        seen.extend(records.iter().map(number));
        next = after;
    }
    assert_eq!(Some(seen.len() as u64 + 1), replay.records_per_shard());
    assert!(seen.is_sorted_by(|one, next| one < next));
}

#[test]
fn records_arrive_by_the_clock() {
    let started_at_us = 1_800_000_000_000_000;
    let settings = ReplaySettings { shard_pages: None, rate: Some(10), started_at_us, ..SETTINGS };
    let replay = Replay::new(settings);
    assert_eq!(read(&replay, started_at_us, "0.0.0.0"), (Vec::new(), Some("0.0.0.0".into())));
    let (page, next) = read(&replay, started_at_us + 250_000, "0.0.0.0");
    let image = &page[1]["dynamodb"]["NewImage"];
    assert_eq!(page.len(), 2);
    assert_eq!(image["at_ms"]["N"], "1800000000200");
    assert_eq!(image["served_us"]["N"], "1800000000250000");
    assert_eq!(page[1]["dynamodb"]["ApproximateCreationDateTime"], 1_800_000_000);
    assert_eq!(read(&replay, started_at_us + 300_000, &next.expect("open")).0.len(), 1);
    let shard = id(&list(&replay, started_at_us)[0]);
    let latest = iterator(&replay, started_at_us + 150_000_000, &shard, "LATEST", None);
    assert_eq!(latest, "0.0.1.500");
    let idle = Replay::new(ReplaySettings { rate: Some(0), ..settings });
    assert_eq!(read(&idle, i64::MAX, "0.0.0.0").0, Vec::<Value>::new());
}

#[test]
fn a_shard_ends_and_has_one_child() {
    let at = |after_us: i64| 1_800_000_000_000_000 + after_us;
    let settings = ReplaySettings { shards: 1, generations: 2, rate: Some(1_000), ..SETTINGS };
    let replay = Replay::new(ReplaySettings { started_at_us: at(0), ..settings });
    let before = list(&replay, at(1_999_000));
    assert_eq!(before.len(), 1);
    assert!(before[0]["SequenceNumberRange"].get("EndingSequenceNumber").is_none());
    let after = list(&replay, at(2_000_000));
    assert_eq!(after[1]["ParentShardId"], after[0]["ShardId"]);
    assert!(after[0]["SequenceNumberRange"].get("EndingSequenceNumber").is_some());
    let filter = json!({"Type": "CHILD_SHARDS", "ShardId": after[0]["ShardId"]});
    let request = json!({"StreamArn": STREAM_ARN, "ShardFilter": filter});
    let children = call(&replay, at(2_000_000), "DescribeStream", request);
    assert_eq!(children["StreamDescription"]["Shards"], json!([after[1]]));
    let (last, end) = read(&replay, at(2_000_000), "0.0.1.0");
    assert_eq!((last.len(), end), (1_000, None));
    let child = iterator(&replay, at(2_001_000), &id(&after[1]), "TRIM_HORIZON", None);
    let (first, _) = read(&replay, at(2_001_000), &child);
    assert_eq!(number(&first[0]), number(&last[999]) + 1);
    assert_eq!(first.len(), 1);
}

#[test]
fn listings_are_paged_and_have_a_rate() {
    let replay = Replay::new(ReplaySettings { shards: 250, ..SETTINGS });
    let (mut after, mut sizes) = (None, Vec::new());
    loop {
        let request = json!({"StreamArn": STREAM_ARN, "ExclusiveStartShardId": after});
        let listing = call(&replay, 0, "DescribeStream", request);
        sizes.push(listing["StreamDescription"]["Shards"].as_array().expect("shards").len());
        after = listing["StreamDescription"]["LastEvaluatedShardId"].as_str().map(str::to_owned);
        if after.is_none() {
            break;
        }
    }
    assert_eq!(sizes, [100, 100, 50]);
    let again = |now_us| {
        let request = json!({"StreamArn": STREAM_ARN}).to_string();
        replay.answer(now_us, "DynamoDBStreams_20120810.DescribeStream", request.as_bytes()).status
    };
    let statuses: Vec<u16> = (0..8).map(|_| again(999_999)).collect();
    assert_eq!(statuses, [200, 200, 200, 200, 200, 200, 200, 400]);
    assert_eq!(again(1_000_000), 200);
}
