//! What a decoded page says of its memory, held against a counting allocator.

use allocation_counter::measure;
use serde_json::Value;
use tailwater_model::ShardId;
use tailwater_source_dynamodb::{RecordPage, decode_page, page_text};

/// How far the count may be from what is held.
const FACTOR_MAX: f64 = 1.3;

/// Pages of records with this many attributes in each image.
fn pages() -> impl Iterator<Item = String> {
    [0, 1, 10, 100].into_iter().map(|attributes: usize| {
        let image: Vec<_> = (0..attributes).map(|number| format!(r#""attribute {number}":{{"N":"{number}"}}"#)).collect();
        let image = image.join(",");
        let record = |number: usize| {
            format!(
                r#"{{"eventID":"{number:032}","eventName":"MODIFY","dynamodb":{{"ApproximateCreationDateTime":1734567890,"Keys":{{"Id":{{"S":"{number}"}}}},"NewImage":{{{image}}},"OldImage":{{{image}}},"SequenceNumber":"{number:021}","SizeBytes":3,"StreamViewType":"NEW_AND_OLD_IMAGES"}}}}"#
            )
        };
        let records: Vec<_> = (0..500).map(record).collect();
        format!(r#"{{"Records":[{}],"NextShardIterator":"next"}}"#, records.join(","))
    })
}

/// Decodes the page and gives it with the bytes that are held for it, and with the most that were while it was decoded.
fn decoded(page: &str) -> (RecordPage, f64, f64) {
    let shard = ShardId::new("shardId-1");
    let mut decoded = None;
    let counted = measure(|| decoded = Some(page_text(page.as_bytes()).and_then(|text| decode_page(text, &shard))));
    let decoded = decoded.expect("measured").expect("a page");
    (decoded, counted.bytes_current as f64, counted.bytes_max as f64)
}

fn assert_counted(page: &str) -> f64 {
    let (page, held, most) = decoded(page);
    let factor = held / page.memory_bytes as f64;
    assert!((1.0 / FACTOR_MAX..FACTOR_MAX).contains(&factor), "{held} bytes are held, {} counted", page.memory_bytes);
    most
}

#[test]
fn a_compact_page_counts_what_it_holds() {
    for page in pages() {
        assert_counted(&page);
    }
}

#[test]
fn a_page_that_is_read_tolerantly_counts_its_copies_and_is_never_held_as_a_tree() {
    for page in pages() {
        let value: Value = serde_json::from_str(&page).expect("JSON");
        let pretty = serde_json::to_string_pretty(&value).expect("JSON");
        let copies = decoded(&page).0.memory_bytes;
        let most = assert_counted(&pretty);
        assert!(most < FACTOR_MAX * (pretty.len() + copies) as f64, "{most} bytes for a page of {}", pretty.len());
    }
}

#[test]
fn dead_letters_count_their_text() {
    for page in pages() {
        assert_counted(&page.replace("\"Keys\"", "\"Kays\""));
        // Read in compact form, and kept aside for a name that the images do not explain.
        assert_counted(&page.replace("MODIFY", "SOMETHING").replace("NEW_AND_OLD_IMAGES", "KEYS_ONLY"));
    }
}
