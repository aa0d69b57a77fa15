//! What groups do to the progress of a lane, without any Kafka.

use tailwater_model::{Advance, FirstListing};

use super::*;

const NONE: StreamFacts = StreamFacts { first_listing: None, known_at_ms: None, last_contact: None };

fn stream(label: &str) -> StreamIdentity {
    let stream_arn = format!("arn:aws:dynamodb:eu-west-1:1:table/orders/stream/{label}");
    StreamIdentity { table: "orders".into(), table_id: "t".into(), stream_arn }
}

fn batch(step: Step, read: u64) -> Batch {
    let counts = Counts { read, written: read, ..Counts::default() };
    let (shard, read_until, dead_letters) = (ShardId::new("shardId-1"), None, Vec::new());
    Batch { shard, step, read_until, events: Vec::new(), dead_letters, gap: None, counts, bytes: 0 }
}

fn register() -> Batch {
    batch(Step::Register { parent: None, position: Position::Start }, 0)
}

fn advance(from: Position, to: Position) -> Batch {
    batch(Step::Advance(Advance { from, to }), 3)
}

fn after(digits: &str) -> Position {
    Position::parse(&format!("after:{digits}")).expect("a position")
}

fn moment(ms: i64) -> Option<ServiceTime> {
    Some(ServiceTime::from_ms(ms))
}

fn add(progress: &mut LaneProgress, records: Vec<ProgressRecord>, at_ms: i64) {
    records.into_iter().for_each(|record| progress.add(record, at_ms));
}

/// By which records the earlier streams of a known one leave.
fn leaving(progress: &LaneProgress, stream: &StreamIdentity, known_at_ms: i64) -> Vec<ProgressRecord> {
    progress.records_of(&Group::default(), stream, Some(known_at_ms)).expect("no step")
}

/// Stores a group as a commit does.
fn store(progress: &mut LaneProgress, batches: Vec<Batch>, at_ms: i64) -> Result<usize, StepRefused> {
    let group = Group { batches, first_listing: None };
    let records = progress.records_of(&group, &stream("a"), None)?;
    let count = records.len();
    add(progress, records, at_ms);
    Ok(count)
}

#[test]
fn steps_of_a_group_follow_one_another_and_give_one_record() {
    let mut progress = LaneProgress::default();
    let (one, two) = (after("100000000000000000001"), after("100000000000000000002"));
    let mut first = advance(Position::Start, one.clone());
    first.read_until = moment(7);
    assert_eq!(store(&mut progress, vec![register(), first, advance(one, two.clone())], 5), Ok(1));
    let told = progress.progress(&stream("a"), NONE);
    assert_eq!((told.shards[0].position.clone(), told.shards[0].read_until), (two, moment(7)));
    let rows = progress.checkpoints(3, |_| NONE, |at_ms| at_ms.to_string());
    assert_eq!((rows[0].counts.read, rows[0].lane, rows[0].updated_at.as_str()), (6, 3, "5"));
    assert_eq!(rows[0].read_until, moment(7));
}

/// Partitions that are added to the progress topic deal the shards anew.
#[test]
fn a_shard_whose_lane_is_another_one_is_told() {
    let mut progress = LaneProgress::default();
    store(&mut progress, vec![register()], 1).expect("fits");
    let shard = ShardId::new("shardId-1");
    for lanes in 1..9 {
        for number in 0..lanes {
            let told = progress.shard_of_another_lane(number, lanes);
            assert_eq!(told, (shard.lane(lanes) != number).then_some(&shard));
        }
    }
}

#[test]
fn a_step_that_does_not_fit_is_refused() {
    let mut progress = LaneProgress::default();
    assert!(store(&mut progress, vec![advance(Position::Start, Position::End)], 1).is_err(), "not registered");
    assert!(store(&mut progress, vec![register(), register()], 1).is_err(), "registered twice in a group");
    assert!(store(&mut progress, vec![batch(Step::Forget, 0)], 1).is_err(), "nothing to forget");
    assert_eq!(store(&mut progress, vec![register()], 1), Ok(1));
    assert!(store(&mut progress, vec![register()], 1).is_err(), "registered before");
    assert!(store(&mut progress, vec![batch(Step::Forget, 0)], 1).is_err(), "not drained");
    let elsewhere = advance(after("100000000000000000001"), Position::End);
    assert!(store(&mut progress, vec![elsewhere], 1).is_err(), "another position");
    assert_eq!(store(&mut progress, vec![advance(Position::Start, Position::End)], 1), Ok(1));
}

#[test]
fn what_a_forgotten_shard_accounted_for_stays() {
    let mut progress = LaneProgress::default();
    let mut drained = advance(Position::Start, Position::End);
    drained.counts = Counts { read: 5, written: 3, dead_lettered: 2, ..Counts::default() };
    assert_eq!(store(&mut progress, vec![register(), drained], 1), Ok(1));
    assert_eq!(store(&mut progress, vec![batch(Step::Forget, 0)], 1), Ok(2), "the shard's, and the sum");
    assert!(progress.shards.is_empty());
    assert_eq!(progress.dead_letter_count(), 2);
    let whole_life = || vec![register(), advance(Position::Start, Position::End), batch(Step::Forget, 0)];
    assert_eq!(store(&mut progress, whole_life(), 1), Ok(1), "only the sum");
    assert_eq!(progress.forgotten, Counts { read: 8, written: 6, dead_lettered: 2, ..Counts::default() });
    assert_eq!(store(&mut progress, vec![register()], 1), Ok(1), "it may come back");
}

/// A commit that forgets a shard and takes an earlier stream out: both are in the one sum.
#[test]
fn what_leaves_in_one_commit_is_added_up() {
    let mut progress = LaneProgress::default();
    store(&mut progress, vec![register(), advance(Position::Start, after("100000000000000000001"))], 7).expect("fits");
    let whole_life = vec![register(), advance(Position::Start, Position::End), batch(Step::Forget, 0)];
    let group = Group { batches: whole_life, first_listing: None };
    let records = progress.records_of(&group, &stream("b"), Some(8)).expect("fits");
    let sums = records.iter().filter(|record| matches!(record, ProgressRecord::Forgotten(_)));
    assert_eq!(sums.count(), 1, "{records:?}");
    add(&mut progress, records, 9);
    assert!(progress.shards.is_empty());
    assert_eq!(progress.forgotten, Counts { read: 6, written: 6, ..Counts::default() });
}

#[test]
fn a_stream_becomes_known_once() {
    let mut progress = LaneProgress::default();
    assert_eq!(progress.stream_facts(&stream("a").stream_arn), None);
    let begun = |ms| FirstListing::begun(ServiceTime::from_ms(ms));
    let stored = |ms| FirstListing::stored(ServiceTime::from_ms(ms));
    for (listing, records) in [(begun(4), 1), (begun(5), 1), (stored(5), 1), (stored(6), 0), (begun(6), 0)] {
        let group = Group { batches: Vec::new(), first_listing: Some(listing) };
        let written = progress.records_of(&group, &stream("a"), None).expect("no step");
        assert_eq!(written.len(), records, "{listing:?}");
        add(&mut progress, written, 99);
        let facts = progress.stream_facts(&stream("a").stream_arn).expect("it is listed");
        assert_eq!(facts.known_at_ms, facts.first_listing.filter(|listing| listing.is_stored).map(|_| 99));
    }
    let facts = progress.stream_facts(&stream("a").stream_arn).expect("it is known");
    assert_eq!(facts, StreamFacts { first_listing: Some(stored(5)), known_at_ms: Some(99), last_contact: None });
}

#[test]
fn records_of_versions_without_moments_take_those_of_the_last_contact() {
    for (known, known_since) in [(true, moment(42)), (false, None)] {
        let mut progress = LaneProgress::default();
        assert_eq!(store(&mut progress, vec![register()], 7), Ok(1));
        let (table, table_id) = ("orders".into(), "t".into());
        let stored = StoredStream { table, table_id, known, known_since_ms: None, follows_another: false };
        progress.add(ProgressRecord::Stream { stream_arn: stream("a").stream_arn, stored }, 42);
        let facts = progress.stream_facts(&stream("a").stream_arn).expect("there was contact");
        let told = progress.progress(&stream("a"), facts);
        assert_eq!((told.known_since(), told.shards[0].read_until), (known_since, moment(42)));
        let rows = progress.checkpoints(0, |_| facts, |_| String::new());
        assert_eq!(rows[0].read_until, moment(42));
    }
}

#[test]
fn another_stream_of_the_same_table_is_seen() {
    let mut progress = LaneProgress::default();
    assert_eq!(store(&mut progress, vec![register()], 7), Ok(1));
    let known = Group { batches: Vec::new(), first_listing: moment(5).map(FirstListing::stored) };
    let records = progress.records_of(&known, &stream("a"), None).expect("no step");
    add(&mut progress, records, 8);
    let seen = |label| progress.other_streams(&stream(label)).map(|(at, _)| at).collect::<Vec<_>>();
    assert_eq!(seen("b"), [8, 7], "the stream and its shard");
    assert!(seen("a").is_empty());
    let table = StreamIdentity { table: "customers".into(), ..stream("b") };
    assert_eq!(progress.other_streams(&table).count(), 0);
    assert!(progress.progress(&stream("b"), NONE).shards.is_empty(), "progress is the stream's own");
    assert!(leaving(&progress, &table, 9).is_empty());
    assert!(leaving(&progress, &stream("b"), 6).is_empty(), "they were read again since");

    let records = leaving(&progress, &stream("b"), 8);
    assert_eq!(records.len(), 2, "they accounted for nothing");
    add(&mut progress, records, 9);
    assert_eq!(progress.other_streams(&stream("b")).count(), 0);
    assert!(progress.shards.is_empty() && progress.streams.is_empty());
}

#[test]
fn many_shards_of_another_stream_go_in_parts() {
    let mut progress = LaneProgress::default();
    let shards = (0..GONE_MAX + 1).map(|number| Batch { shard: ShardId::new(&format!("s{number}")), ..register() });
    store(&mut progress, shards.collect(), 7).expect("new shards");
    for left in [1, 0] {
        let records = leaving(&progress, &stream("b"), 9);
        add(&mut progress, records, 9);
        assert_eq!(progress.shards.len(), left);
    }
    assert!(leaving(&progress, &stream("b"), 9).is_empty());
}
