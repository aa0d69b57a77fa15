//! What a record says.

use std::collections::BTreeSet;

use serde_json::Value;
use tailwater_model::ViewType;
use tailwater_simulation::service::{ItemChange, Manners};

use crate::ground::{Ground, NOW, item, key};

fn records(ground: &mut Ground) -> Vec<Value> {
    let shard = ground.only_shard();
    ground.read_shard(&shard, 0)
}

/// Insert, modify, remove, expire, in each view type.
fn four_changes(view: ViewType) -> Vec<Value> {
    let mut ground = Ground::with_view(Manners::kind(), view);
    ground.put("a", None, 1);
    ground.put("a", Some(1), 2);
    ground.remove("a", 2, false);
    ground.put("a", None, 3);
    ground.remove("a", 3, true);
    records(&mut ground)
}

/// DynamoDB API reference, `Record`: INSERT, MODIFY, REMOVE. Validated: a put after a delete is an INSERT again.
#[test]
fn changes_have_their_names() {
    let names: Vec<Value> = four_changes(ViewType::KeysOnly).iter().map(|record| record["eventName"].clone()).collect();
    assert_eq!(names, ["INSERT", "MODIFY", "REMOVE", "INSERT", "REMOVE"]);
}

/// DynamoDB API reference, `StreamViewType`. An INSERT has no old image, a REMOVE no new one.
#[test]
fn view_types_decide_about_images() {
    for view in ViewType::ALL {
        let images = view.images();
        for record in four_changes(view) {
            let name = record["eventName"].as_str().expect("a name").to_owned();
            let body = &record["dynamodb"];
            assert_eq!(body.get("NewImage").is_some(), images.new && name != "REMOVE", "{view:?} {name}");
            assert_eq!(body.get("OldImage").is_some(), images.old && name != "INSERT", "{view:?} {name}");
            assert_eq!(body["Keys"], serde_json::from_str::<Value>(&key("a")).expect("JSON"));
            assert_eq!(body["StreamViewType"], view.as_str());
        }
    }
}

/// DynamoDB API reference: event ids are unique; source, version and region.
#[test]
fn a_record_names_its_origin() {
    let mut ground = Ground::kind();
    ground.fill(100);
    let records = records(&mut ground);
    let ids: BTreeSet<&str> = records.iter().filter_map(|record| record["eventID"].as_str()).collect();
    assert_eq!(ids.len(), 100);
    for record in &records {
        assert_eq!(record["eventSource"], "aws:dynamodb");
        assert_eq!(record["awsRegion"], "eu-west-1");
        assert!(record["eventVersion"].is_string());
        assert!(record["dynamodb"]["SizeBytes"].as_u64().is_some_and(|bytes| bytes > 0));
    }
}

/// DynamoDB API reference: the creation time is rounded down to the second.
#[test]
fn creation_times_are_whole_seconds() {
    let mut ground = Ground::kind();
    ground.fill(1);
    assert_eq!(records(&mut ground)[0]["dynamodb"]["ApproximateCreationDateTime"].as_i64(), Some(NOW / 1000));
}

/// DynamoDB developer guide, "Time to Live": an expired item is told by the user identity, and no other removal is.
#[test]
fn an_expired_item_is_told_by_its_identity() {
    let records = four_changes(ViewType::NewAndOldImages);
    for (number, record) in records.iter().enumerate() {
        let identity = record.get("userIdentity");
        if number == 4 {
            let identity = identity.expect("expired");
            assert_eq!(
                (&identity["Type"], &identity["PrincipalId"]),
                (&"Service".into(), &"dynamodb.amazonaws.com".into())
            );
        } else {
            assert!(identity.is_none());
        }
    }
}

/// Validated: a write that changes nothing makes no record.
#[test]
fn a_write_without_change_makes_no_record() {
    let mut ground = Ground::kind();
    ground.fill(1);
    assert_eq!(ground.put("a", Some(1), 1), None);
    let nothing = ItemChange { key: key("b"), old: None, new: None, time_to_live: false };
    assert_eq!(ground.write(nothing), None);
    assert_eq!(records(&mut ground).len(), 1);
}

/// Validated: an item that is nothing but its key has an image that is its key.
#[test]
fn an_item_of_its_key_alone_has_an_image() {
    let mut ground = Ground::kind();
    ground.write(ItemChange { key: key("a"), old: None, new: Some(key("a")), time_to_live: false });
    let record = &records(&mut ground)[0]["dynamodb"];
    assert_eq!(record["NewImage"], record["Keys"]);
}

/// Strings may hold anything that is text, U+0000 included; it comes as it went in.
#[test]
fn values_come_as_they_went_in() {
    let mut ground = Ground::kind();
    let image = r#"{"Id":{"S":"a"},"\u0000 \"é\\":{"L":[{"N":"12345678901234567890123456789012345678"},{"B":""},{"S":""},{"NULL":true},{"SS":["\ud83d\ude00"]}]}}"#;
    ground.write(ItemChange { key: key("a"), old: None, new: Some(image.into()), time_to_live: false });
    let expected: Value = serde_json::from_str(image).expect("JSON");
    assert_eq!(records(&mut ground)[0]["dynamodb"]["NewImage"], expected);
}

/// The engine's own decoder takes every page, in its fast form.
#[test]
fn the_shipped_decoder_reads_the_pages() {
    use tailwater_source_dynamodb::{Decoded, decode_page};
    let mut ground = Ground::kind();
    ground.fill(20);
    ground.remove("a", 20, true);
    let shard = ground.only_shard();
    let iterator = ground.horizon(&shard);
    let body = ground.service.get_records(ground.now_ms, &iterator, None).expect("a page");
    let page = decode_page(body.into(), &tailwater_model::ShardId::new(&shard)).expect("a page");
    assert_eq!(page.records.len(), 21);
    assert!(page.records.iter().all(|record| matches!(record, Decoded::Event(_))));
    assert!(page.next.is_some());
}

/// The truth has every record, trimmed ones too, and each value as it was written.
#[test]
fn the_truth_forgets_nothing() {
    let mut ground = Ground::kind();
    ground.fill(5);
    let (arn, shard) = (ground.arn.clone(), ground.only_shard());
    ground.service.trim_shard(ground.now_ms, &arn, &shard, 2);
    let truth: Vec<(bool, Option<String>)> =
        ground.service.truth().records(&arn).map(|record| (record.trimmed, record.change.new.clone())).collect();
    let expected: Vec<(bool, Option<String>)> = (1..=5).map(|value| (value <= 2, Some(item("a", value)))).collect();
    assert_eq!(truth, expected);
}
