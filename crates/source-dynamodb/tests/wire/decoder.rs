//! The page decoder without a network: the tolerant reading, dead letters, unknown event names, and bytes gone wrong.

use bytestring::ByteString;
use proptest::prelude::*;
use serde_json::Value;
use tailwater_model::{ChangeEvent, ShardId};
use tailwater_source_dynamodb::{Decoded, PageFault, RecordPage, decode_page, page_text};

use crate::generate;

fn decode(page: &str) -> Result<RecordPage, PageFault> {
    decode_page(ByteString::from(page), &ShardId::new("shardId-1"))
}

fn record(name: &str, view: &str, more: &str) -> String {
    format!(
        r#"{{"eventID":"e1","eventName":"{name}","dynamodb":{{"ApproximateCreationDateTime":1734567890,"Keys":{{"Id":{{"S":"7"}}}}{more},"SequenceNumber":"111","SizeBytes":3,"StreamViewType":"{view}"}}}}"#
    )
}

fn page_of(records: &[String]) -> String {
    format!(r#"{{"Records":[{}],"NextShardIterator":"next"}}"#, records.join(","))
}

fn only(page: RecordPage) -> Decoded {
    assert_eq!(page.records.len(), 1);
    page.records.into_iter().next().expect("one record")
}

/// Everything that a decoded record says, in a form without layout.
fn told(decoded: &Decoded) -> (String, Value) {
    match decoded {
        Decoded::Event(event) => (format!("{:?}", event.source), event_json(event)),
        Decoded::DeadLetter(letter) => (letter.code.into(), serde_json::from_str(&letter.record).expect("JSON")),
    }
}

fn event_json(event: &ChangeEvent) -> Value {
    serde_json::from_str(&event.record_json()).expect("JSON")
}

#[test]
fn any_layout_says_the_same() {
    let mut random = fastrand::Rng::with_seed(7);
    for _ in 0..100 {
        let compact = generate::page(&mut random);
        let value: Value = serde_json::from_str(&compact).expect("JSON");
        let pretty = serde_json::to_string_pretty(&value).expect("JSON");
        let (left, right) = (decode(&compact).expect(&compact), decode(&pretty).expect(&pretty));
        assert_eq!(left.next, right.next);
        assert_eq!(left.records.len(), right.records.len());
        for (left, right) in left.records.iter().zip(&right.records) {
            assert!(matches!(left, Decoded::Event(_)), "{left:?}");
            assert_eq!(told(left), told(right));
        }
    }
}

#[test]
fn escaped_names_and_tags_are_read() {
    let plain = page_of(&[record("INSERT", "NEW_IMAGE", r#","NewImage":{"Id":{"S":"7"},"n":{"N":"1.50"}}"#)]);
    let expected = told(&only(decode(&plain).expect("plain")));
    for (from, to) in [
        (r#""N":"1.50""#, r#""\u004e":"1.50""#),
        (r#""NewImage""#, r#""\u004eewImage""#),
        (r#""Records""#, r#""Record\u0073""#),
        (r#""INSERT""#, r#" "\u0049NSERT" "#),
        (r#""1.50""#, r#""1\u002e50""#),
    ] {
        let escaped = plain.replace(from, to);
        assert_ne!(escaped, plain);
        assert_eq!(told(&only(decode(&escaped).expect(&escaped))), expected, "{escaped}");
    }
}

#[test]
fn a_record_that_is_not_understood_is_kept_whole_and_costs_nobody_else() {
    let good = record("INSERT", "KEYS_ONLY", "");
    for (bad, why) in [
        (record("INSERT", "NEW_IMAGE", r#","NewImage":{"x":{"ZZ":"1"}}"#), "type tag"),
        (record("INSERT", "NEW_IMAGE", r#","NewImage":{"x":{"N":"one"}}"#), "number"),
        (record("INSERT", "NEW_IMAGE", r#","NewImage":7"#), "image"),
        (good.replace("\"Keys\"", "\"Kays\""), "Keys"),
        (good.replace("\"eventName\"", "\"eventname\""), "event name"),
        (good.replace("1734567890", "\"soon\""), "time"),
    ] {
        let page = decode(&page_of(&[good.clone(), bad.clone(), good.clone()])).expect(why);
        let [Decoded::Event(_), Decoded::DeadLetter(letter), Decoded::Event(_)] = &page.records[..] else {
            panic!("{why}: {:?}", page.records)
        };
        assert_eq!((letter.code, letter.sequence_number.as_str()), ("source.malformed_record", "111"), "{why}");
        assert_eq!(&*letter.event_id, "e1");
        let kept: Value = serde_json::from_str(&letter.record).expect("JSON");
        assert_eq!(kept, serde_json::from_str::<Value>(&bad).expect("JSON"), "{why}");
        assert!(!letter.record.contains('\n'));
    }
}

#[test]
fn what_no_parser_takes_costs_its_record_alone() {
    let good = record("INSERT", "NEW_IMAGE", r#","NewImage":{"Id":{"S":"7"}}"#);
    let deep = format!("{}{}{}", r#"{"L":["#.repeat(200), r#"{"S":""}"#, "]}".repeat(200));
    for value in [
        r#"{"S":"half \ud800 of a pair"}"#,
        r#"{"N":1e999}"#,
        deep.as_str(),
        "{\"S\":\"bare \u{0} and\nline\"}",
        r#"{"S":"no \q escape"}"#,
        r#"{"S":tru}"#,
        r#"{"S":"a comma too many",}"#,
    ] {
        let bad = record("INSERT", "NEW_IMAGE", &format!(r#","NewImage":{{"x":{value}}}"#));
        let page = decode(&page_of(&[good.clone(), bad.clone(), good.clone()])).expect(&bad);
        assert_eq!(page.next.map(|next| next.0).as_deref(), Some("next"));
        let [Decoded::Event(_), Decoded::DeadLetter(letter), Decoded::Event(_)] = &page.records[..] else {
            panic!("{:?}", page.records)
        };
        assert_eq!((letter.code, letter.sequence_number.as_str()), ("source.malformed_record", "111"));
        assert_eq!(&*letter.event_id, "e1");
        assert_eq!(letter.record, bad.replace('\0', "\\u0000").replace('\n', "\\u000a"));
    }
}

#[test]
fn what_is_damaged_around_the_records_is_asked_for_again() {
    let good = record("INSERT", "KEYS_ONLY", "");
    let page = page_of(std::slice::from_ref(&good));
    for (from, to) in [
        (r#""next""#, r#""half \ud800""#),
        (r#""next""#, r#""next","more":tru"#),
        (r#""next""#, r#""next","mo\qre":1"#),
        (r#"}}],"#, r#"}],"#),
        (r#"}}],"#, r#"}}}],"#),
        (r#"{"eventID""#, r#"{eventID""#),
        (r#"}}],"#, r#"}},],"#),
        (r#"}}],"#, r#"}}"#),
    ] {
        let damaged = page.replace(from, to);
        assert_ne!(damaged, page);
        assert!(matches!(decode(&damaged), Err(PageFault::Malformed(_))), "{damaged}");
    }
}

#[test]
fn what_cannot_be_kept_makes_the_page_a_fault() {
    let good = record("INSERT", "KEYS_ONLY", "");
    for page in [
        "",
        "null",
        "[]",
        "{}",
        r#"{"message":"all is well"}"#,
        r#"{"Records":7}"#,
        r#"{"Records":[],"NextShardIterator":7}"#,
        r#"{"Records":[]} trailing"#,
        &page_of(&[good.replace("\"111\"", "\"11x\"")]),
        &page_of(&[good.replace("SequenceNumber", "Sequencenumber")]),
        &page_of(&["null".into()]),
        &page_of(std::slice::from_ref(&good))[..100],
    ] {
        assert!(matches!(decode(page), Err(PageFault::Malformed(_))), "{page}");
    }
    assert!(matches!(page_text(b"{\"Records\":\xff}"), Err(PageFault::NotUtf8 { valid_up_to: 11 })));
}

#[test]
fn an_unknown_event_name_is_settled_by_its_images() {
    let (old, new) = (r#","OldImage":{"Id":{"S":"7"}}"#, r#","NewImage":{"Id":{"S":"7"}}"#);
    let both = format!("{old}{new}");
    for (view, images, expected) in [
        ("NEW_AND_OLD_IMAGES", both.as_str(), Some("modify")),
        ("NEW_AND_OLD_IMAGES", new, Some("insert")),
        ("NEW_AND_OLD_IMAGES", old, Some("remove")),
        ("NEW_AND_OLD_IMAGES", "", None),
        ("NEW_IMAGE", new, Some("modify")),
        ("NEW_IMAGE", "", Some("remove")),
        ("OLD_IMAGE", old, None),
        ("OLD_IMAGE", "", Some("insert")),
        ("KEYS_ONLY", "", None),
        ("SOMETHING_NEW", both.as_str(), None),
    ] {
        let bad = record("UNKNOWN_TO_SDK_VERSION", view, images);
        let page = decode(&page_of(std::slice::from_ref(&bad))).expect("a page");
        assert_eq!(page.unknown_event_names.get("UNKNOWN_TO_SDK_VERSION"), Some(&1));
        match only(page) {
            Decoded::Event(event) => assert_eq!(Some(event.change.name()), expected, "{view} {images}"),
            Decoded::DeadLetter(letter) => {
                assert_eq!(expected, None, "{view} {images}");
                assert_eq!((letter.code, letter.record.as_str()), ("source.unknown_event_name", bad.as_str()));
            }
        }
    }
}

#[test]
fn only_the_service_itself_expires_items() {
    for (identity, expected) in [
        (r#"{"Type":"Service","PrincipalId":"dynamodb.amazonaws.com"}"#, "ttl"),
        (r#"{"principalId":"dynamodb.amazonaws.com","type":"Service","more":[1]}"#, "ttl"),
        (r#"{"Type":"Service","PrincipalId":"other.amazonaws.com"}"#, "remove"),
        (r#"{"Type":"User","PrincipalId":"dynamodb.amazonaws.com"}"#, "remove"),
        ("{}", "remove"),
        ("null", "remove"),
    ] {
        let record = record("REMOVE", "KEYS_ONLY", "");
        let with = format!("{},\"userIdentity\":{identity}}}", &record[..record.len() - 1]);
        let Decoded::Event(event) = only(decode(&page_of(&[with])).expect(identity)) else { panic!("{identity}") };
        assert_eq!(event.change.name(), expected, "{identity}");
    }
}

/// What matters of a page, whatever else is in it.
#[derive(serde::Deserialize)]
struct Shape {
    #[serde(rename = "Records", default)]
    records: Vec<serde::de::IgnoredAny>,
    #[serde(rename = "NextShardIterator", default)]
    next: Option<String>,
}

#[test]
fn half_a_surrogate_in_a_member_that_means_nothing_costs_nothing() {
    let page = decode(r#"{"Other":"\ude00","NextShardIterator":"next","Records":[]}"#).expect("a page");
    assert_eq!((page.records.len(), page.next.map(|next| next.0.to_string())), (0, Some("next".to_owned())));
}

/// Bytes of a valid page, some of them changed, perhaps cut off.
fn mutated() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![any::<u8>(), prop::sample::select(b"{}[]\",:\\ 0e-utn".to_vec())];
    let changes = prop::collection::vec((any::<prop::sample::Index>(), byte), 0..4);
    (any::<u64>(), changes, prop::option::weighted(0.2, any::<prop::sample::Index>())).prop_map(
        |(seed, changes, cut)| {
            let mut page = generate::page(&mut fastrand::Rng::with_seed(seed)).into_bytes();
            for (at, byte) in changes {
                let at = at.index(page.len());
                page[at] = byte;
            }
            if let Some(cut) = cut {
                page.truncate(cut.index(page.len()));
            }
            page
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    /// No bytes panic, and no record of an accepted page goes missing: an independent parser counts as many. A page that
    /// this parser refuses is accepted only with a dead letter for what is broken in it.
    #[test]
    fn no_record_is_lost_whatever_the_bytes(bytes in mutated()) {
        let decoded = page_text(&bytes).and_then(|text| decode_page(text, &ShardId::new("shardId-1")));
        let Ok(page) = decoded else { return Ok(()) };
        let Ok(parsed) = serde_json::from_slice::<Value>(&bytes) else {
            let broken = |letter: &Decoded| matches!(letter, Decoded::DeadLetter(letter) if letter.code == "source.malformed_record");
            // Or it is broken in a member that means nothing, as by half a surrogate: then the rest of it counts.
            let rest = serde_json::from_slice::<Shape>(&bytes).ok().map(|shape| (shape.records.len(), shape.next));
            let own = (page.records.len(), page.next.as_ref().map(|next| next.0.to_string()));
            prop_assert!(page.records.iter().any(broken) || rest == Some(own));
            return Ok(());
        };
        let records = parsed.get("Records").and_then(Value::as_array).map_or(0, Vec::len);
        prop_assert_eq!(page.records.len(), records);
        let next = parsed.get("NextShardIterator").and_then(Value::as_str);
        prop_assert_eq!(page.next.as_ref().map(|next| next.0.as_str()), next);
    }

    /// Bytes that are no page at all.
    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(page_text(&bytes).and_then(|text| decode_page(text, &ShardId::new("s"))).is_err());
    }
}
