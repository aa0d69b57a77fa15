//! `GetShardIterator`.

use tailwater_simulation::service::{IteratorType, Manners};

use crate::ground::{Ground, MINUTE, code, number_of, value_of};

fn values(ground: &mut Ground, iterator: &str) -> Vec<u64> {
    ground.page(iterator).records.iter().map(value_of).collect()
}

fn filled(manners: Manners) -> (Ground, String, Vec<String>) {
    let mut ground = Ground::new(manners);
    ground.fill(5);
    let shard = ground.only_shard();
    let iterator = ground.horizon(&shard);
    let numbers = ground.page(&iterator).records.iter().map(|record| number_of(record).to_owned()).collect();
    (ground, shard, numbers)
}

/// DynamoDB API reference: an iterator has at most 2 048 characters.
#[test]
fn an_iterator_is_opaque_text() {
    let (mut ground, shard, _) = filled(Manners::kind());
    let iterator = ground.horizon(&shard);
    assert!((1..=2048).contains(&iterator.len()) && iterator.is_ascii());
}

/// DynamoDB API reference: `TRIM_HORIZON` begins at the oldest record that is left.
#[test]
fn trim_horizon_begins_at_the_oldest() {
    let (mut ground, shard, _) = filled(Manners::kind());
    let iterator = ground.horizon(&shard);
    assert_eq!(values(&mut ground, &iterator), [1, 2, 3, 4, 5]);
    let arn = ground.arn.clone();
    ground.service.trim_shard(ground.now_ms, &arn, &shard, 2);
    let iterator = ground.horizon(&shard);
    assert_eq!(values(&mut ground, &iterator), [3, 4, 5]);
}

/// DynamoDB API reference: `LATEST` begins after the newest record.
#[test]
fn latest_begins_after_the_newest() {
    let (mut ground, shard, _) = filled(Manners::kind());
    let iterator = ground.try_iterator(&shard, IteratorType::Latest, None).expect("an iterator");
    assert!(values(&mut ground, &iterator).is_empty());
    ground.put("a", Some(5), 6);
    assert_eq!(values(&mut ground, &iterator), [6]);
}

/// Validated: `LATEST` may give slightly older records.
#[test]
fn latest_may_begin_earlier() {
    let (mut ground, shard, _) = filled(Manners { latest_slack_records: 2, ..Manners::kind() });
    let iterator = ground.try_iterator(&shard, IteratorType::Latest, None).expect("an iterator");
    assert_eq!(values(&mut ground, &iterator), [4, 5]);
}

/// DynamoDB API reference: `AT_SEQUENCE_NUMBER` and `AFTER_SEQUENCE_NUMBER`.
#[test]
fn at_and_after_a_record() {
    let (mut ground, shard, numbers) = filled(Manners::kind());
    let at = ground.try_iterator(&shard, IteratorType::AtSequenceNumber, Some(&numbers[2])).expect("an iterator");
    assert_eq!(values(&mut ground, &at), [3, 4, 5]);
    let after = ground.try_iterator(&shard, IteratorType::AfterSequenceNumber, Some(&numbers[2])).expect("an iterator");
    assert_eq!(values(&mut ground, &after), [4, 5]);
    let end = ground.try_iterator(&shard, IteratorType::AfterSequenceNumber, Some(&numbers[4])).expect("an iterator");
    assert!(values(&mut ground, &end).is_empty());
}

/// DynamoDB API reference: an iterator expires 15 minutes after it was given.
#[test]
fn an_iterator_expires_after_a_quarter_of_an_hour() {
    let (mut ground, shard, _) = filled(Manners::kind());
    let iterator = ground.horizon(&shard);
    ground.wait(15 * MINUTE);
    assert_eq!(ground.page(&iterator).records.len(), 5);
    ground.wait(1);
    assert_eq!(code(ground.try_page(&iterator, None)), "ExpiredIteratorException");
}

/// The iterator of a page is a new one, with 15 minutes of its own.
#[test]
fn the_next_iterator_is_young() {
    let (mut ground, shard, _) = filled(Manners::kind());
    let mut iterator = ground.horizon(&shard);
    for _ in 0..10 {
        ground.wait(10 * MINUTE);
        iterator = ground.page(&iterator).next.expect("open");
    }
}

/// Validated: reading by the same iterator again gives the same place.
#[test]
fn an_iterator_can_be_used_again() {
    let (mut ground, shard, _) = filled(Manners::kind());
    let iterator = ground.horizon(&shard);
    assert_eq!(values(&mut ground, &iterator), values(&mut ground, &iterator));
}

/// It is a place and no snapshot: what comes later is read by it.
#[test]
fn an_iterator_is_a_place_and_no_snapshot() {
    let (mut ground, shard, _) = filled(Manners::kind());
    let iterator = ground.horizon(&shard);
    ground.put("a", Some(5), 6);
    assert_eq!(values(&mut ground, &iterator).len(), 6);
}

/// DynamoDB API reference: a place before the trim point is a TrimmedDataAccessException, for either call.
#[test]
fn a_trimmed_place_is_told() {
    let (mut ground, shard, numbers) = filled(Manners::kind());
    let iterator = ground.horizon(&shard);
    let arn = ground.arn.clone();
    ground.service.trim_shard(ground.now_ms, &arn, &shard, 3);
    assert_eq!(code(ground.try_page(&iterator, None)), "TrimmedDataAccessException");
    for kind in [IteratorType::AtSequenceNumber, IteratorType::AfterSequenceNumber] {
        assert_eq!(code(ground.try_iterator(&shard, kind, Some(&numbers[1]))), "TrimmedDataAccessException");
        assert!(ground.try_iterator(&shard, kind, Some(&numbers[3])).is_ok());
    }
}

/// DynamoDB API reference: a sequence number is for the two types that need one.
#[test]
fn a_sequence_number_stands_where_it_belongs() {
    let (mut ground, shard, numbers) = filled(Manners::kind());
    for kind in [IteratorType::TrimHorizon, IteratorType::Latest] {
        assert_eq!(code(ground.try_iterator(&shard, kind, Some(&numbers[0]))), "ValidationException");
    }
    for kind in [IteratorType::AtSequenceNumber, IteratorType::AfterSequenceNumber] {
        assert_eq!(code(ground.try_iterator(&shard, kind, None)), "ValidationException");
        assert_eq!(code(ground.try_iterator(&shard, kind, Some("twelve"))), "ValidationException");
    }
}

/// Undocumented, so it varies: the number of another shard is refused, or taken for the place where it would be.
#[test]
fn a_number_of_another_shard_is_refused_or_accepted() {
    let (mut ground, shard, _) = filled(Manners::kind());
    let beyond = "9".repeat(40);
    let after = IteratorType::AfterSequenceNumber;
    assert_eq!(code(ground.try_iterator(&shard, after, Some(&beyond))), "ValidationException");
    ground.service.manners_mut().foreign_sequence_accepted = true;
    let iterator = ground.try_iterator(&shard, after, Some(&beyond)).expect("accepted");
    assert!(values(&mut ground, &iterator).is_empty());
}

/// An iterator that was got while the shard was open reads on through its close.
#[test]
fn an_iterator_goes_through_the_close() {
    let (mut ground, shard, _) = filled(Manners::kind());
    let iterator = ground.horizon(&shard);
    let arn = ground.arn.clone();
    ground.service.rotate(ground.now_ms, &arn, &shard);
    let page = ground.page(&iterator);
    assert_eq!((page.records.len(), page.next), (5, None));
}

/// An unknown shard is not found, and neither is an unknown stream.
#[test]
fn what_is_not_there_is_not_found() {
    let (mut ground, shard, _) = filled(Manners::kind());
    let horizon = IteratorType::TrimHorizon;
    assert_eq!(code(ground.try_iterator("shardId-1", horizon, None)), "ResourceNotFoundException");
    ground.arn.push('0');
    assert_eq!(code(ground.try_iterator(&shard, horizon, None)), "ResourceNotFoundException");
    assert_eq!(code(ground.try_describe(|_| {})), "ResourceNotFoundException");
    ground.arn = "nonsense".into();
    assert_eq!(code(ground.try_describe(|_| {})), "ValidationException");
}

/// The words of the API.
#[test]
fn the_types_have_their_words() {
    for (word, kind) in [
        ("TRIM_HORIZON", IteratorType::TrimHorizon),
        ("LATEST", IteratorType::Latest),
        ("AT_SEQUENCE_NUMBER", IteratorType::AtSequenceNumber),
        ("AFTER_SEQUENCE_NUMBER", IteratorType::AfterSequenceNumber),
    ] {
        assert_eq!(IteratorType::parse(word), Some(kind));
    }
    assert_eq!(IteratorType::parse("AT_TIMESTAMP"), None, "streams of DynamoDB have none");
}
