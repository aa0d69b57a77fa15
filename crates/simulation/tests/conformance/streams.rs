//! Streams: on, off, on again, and without their table.

use tailwater_model::ViewType;
use tailwater_simulation::service::{ListStreams, Manners, Service, StreamStatus};

use crate::ground::{Ground, HOUR, NOW, SECOND, TABLE, code};

fn slow() -> Manners {
    Manners { status_change_ms: 2 * SECOND, ..Manners::kind() }
}

/// Validated: a stream that is being turned on lists no shards.
#[test]
fn a_stream_begins_enabling_and_lists_no_shard() {
    let mut ground = Ground::new(slow());
    let answer = ground.describe();
    assert_eq!((answer.status, answer.shards.len()), (StreamStatus::Enabling, 0));
    ground.wait(2 * SECOND);
    let answer = ground.describe();
    assert_eq!((answer.status, answer.shards.len()), (StreamStatus::Enabled, 1));
}

/// DynamoDB API reference, `DescribeStream`: ARN, label, table, view type and creation time.
#[test]
fn a_description_names_the_stream() {
    let mut ground = Ground::kind();
    let answer = ground.describe();
    assert_eq!((answer.table.as_str(), answer.view, answer.created_at_ms), (TABLE, ViewType::NewAndOldImages, NOW));
    assert!(answer.arn.ends_with(&format!("table/{TABLE}/stream/{}", answer.label)), "{}", answer.arn);
    assert_eq!(answer.label.len(), "2026-11-24T00:00:00.000".len());
}

/// Validated: turning on twice is a ValidationException.
#[test]
fn turning_on_twice_is_refused() {
    let mut ground = Ground::kind();
    assert_eq!(code(ground.service.enable_stream(NOW, TABLE, ViewType::KeysOnly)), "ValidationException");
}

/// Validated: turning off twice is a ValidationException.
#[test]
fn turning_off_twice_is_refused() {
    let mut ground = Ground::kind();
    ground.service.disable_stream(NOW, TABLE).expect("on");
    assert_eq!(code(ground.service.disable_stream(NOW, TABLE)), "ValidationException");
}

/// DynamoDB developer guide: turning a stream off and on gives a stream with another ARN. Validated: with other shards.
#[test]
fn on_again_is_another_stream_with_other_shards() {
    let mut ground = Ground::kind();
    let (first, old_shard) = (ground.arn.clone(), ground.only_shard());
    ground.service.disable_stream(NOW, TABLE).expect("on");
    let second = ground.service.enable_stream(NOW, TABLE, ViewType::NewImage).expect("off");
    assert_ne!(first, second);
    assert_eq!(ground.streams(), [first, second.clone()]);
    ground.arn = second;
    assert_ne!(ground.only_shard(), old_shard);
    assert_eq!(ground.describe().view, ViewType::NewImage);
}

/// DynamoDB developer guide: turning off closes the open shards; the stream stays readable for 24 hours.
#[test]
fn a_stream_that_is_off_is_closed_and_readable_for_a_day() {
    let mut ground = Ground::new(Manners { trim_after_ms: 90 * HOUR..=90 * HOUR, ..slow() });
    ground.wait(SECOND);
    ground.fill(3);
    ground.wait(SECOND);
    ground.service.disable_stream(ground.now_ms, TABLE).expect("on");
    assert_eq!(ground.describe().status, StreamStatus::Disabling);
    ground.wait(2 * SECOND);
    let answer = ground.describe();
    assert_eq!(answer.status, StreamStatus::Disabled);
    assert!(answer.shards[0].ending.is_some());
    ground.wait(23 * HOUR);
    assert_eq!(ground.read_shard(&answer.shards[0].id, 0).len(), 3);
    ground.wait(HOUR);
    assert_eq!(code(ground.try_describe(|_| {})), "ResourceNotFoundException");
    assert!(ground.streams().is_empty());
}

/// A stream that is off takes no records.
#[test]
fn a_stream_that_is_off_takes_no_records() {
    let mut ground = Ground::kind();
    ground.service.disable_stream(NOW, TABLE).expect("on");
    assert_eq!(ground.put("a", None, 1), None);
}

/// DynamoDB developer guide: the stream of a deleted table stays readable for up to 24 hours.
#[test]
fn the_stream_of_a_deleted_table_is_readable_for_a_day() {
    let mut ground = Ground::kind();
    ground.fill(2);
    let shard = ground.only_shard();
    ground.service.delete_table(ground.now_ms, TABLE).expect("there");
    ground.wait(HOUR);
    assert_eq!(ground.read_shard(&shard, 0).len(), 2);
    assert_eq!(code(ground.service.delete_table(ground.now_ms, TABLE)), "ResourceNotFoundException");
    assert_eq!(ground.service.latest_stream(ground.now_ms, TABLE), None);
}

/// A table that is made again under the same name has another id, and no stream.
#[test]
fn a_table_made_again_is_another_table() {
    let mut service = Service::new(1, "eu-west-1", Manners::kind());
    let first = service.create_table(NOW, TABLE, &["Id"]);
    service.delete_table(NOW, TABLE).expect("there");
    assert_ne!(service.create_table(NOW, TABLE, &["Id"]), first);
    assert_eq!(service.latest_stream(NOW, TABLE), None);
}

/// DynamoDB API reference, `ListStreams`: by table, at most `Limit`, pages by `LastEvaluatedStreamArn`.
#[test]
fn streams_are_listed_by_table_in_pages() {
    let mut ground = Ground::kind();
    ground.service.create_table(NOW, "Other", &["Id"]);
    for _ in 0..3 {
        ground.service.enable_stream(NOW, "Other", ViewType::KeysOnly).expect("off");
        ground.service.disable_stream(NOW, "Other").expect("on");
    }
    let mut seen = Vec::new();
    let mut request = ListStreams { table: Some("Other".into()), limit: Some(2), exclusive_start: None };
    loop {
        let page = ground.service.list_streams(NOW, &request).expect("listed");
        assert!(page.streams.len() <= 2 && page.streams.iter().all(|stream| stream.table == "Other"));
        seen.extend(page.streams.into_iter().map(|stream| stream.arn));
        request.exclusive_start = page.last_evaluated;
        if request.exclusive_start.is_none() {
            break;
        }
    }
    seen.dedup();
    assert_eq!(seen.len(), 3);
    assert_eq!(ground.streams().len(), 4);
}

/// DynamoDB API reference: `ListStreams` five times in a second, `DescribeStream` ten times.
#[test]
fn listings_have_their_rates() {
    let mut ground =
        Ground::new(Manners { describe_per_second: Some(10), list_per_second: Some(5), ..Manners::kind() });
    for _ in 0..5 {
        ground.streams();
    }
    assert_eq!(code(ground.service.list_streams(NOW, &ListStreams::default())), "ThrottlingException");
    for _ in 0..10 {
        ground.describe();
    }
    assert_eq!(code(ground.try_describe(|_| {})), "ThrottlingException");
    ground.wait(SECOND);
    ground.describe();
    ground.streams();
}
