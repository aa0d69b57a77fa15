//! The records one by one, and those of earlier versions.

use super::*;
use crate::progress::Holds;
use tailwater_model::GapCause;

fn every_kind() -> Vec<ProgressRecord> {
    let found = |shard: Option<&str>| Gap {
        shard: shard.map(ShardId::new),
        cause: GapCause::Trimmed,
        after: Position::Start,
        since: shard.map(|_| ServiceTime::from_ms(1_700_000_000_123)),
        until: ServiceTime::from_ms(1_700_000_001_000),
        detail: "trimmed \"before\" it was read".into(),
        stop: true,
    };
    let counts = Counts { read: 5, written: 2, filtered: 1, dead_lettered: 1, suppressed: 1 };
    let (parent, read_until) = (Some(ShardId::new("shardId-1")), Some(ServiceTime::from_ms(1_700_000_000_123)));
    let stored = StoredShard { parent, position: Position::End, read_until, counts };
    let known = StoredStream {
        table: "orders".into(),
        table_id: "id".into(),
        known: true,
        known_since_ms: Some(1_700_000_000_123),
        follows_another: false,
    };
    let gap = |gap: &Gap| ProgressRecord::Gap(GapKey::of(gap, "arn:a"), StoredGap::of(gap));
    vec![
        ProgressRecord::Session(SessionMark {
            pipeline: "p".into(),
            claim: 3,
            owner: "9f".into(),
            epoch: 17,
            holds: Some(Holds { facts: 5, lanes: 4 }),
        }),
        ProgressRecord::Shard { stream_arn: "arn:a".into(), shard: ShardId::new("shardId-2"), stored },
        ProgressRecord::Stream { stream_arn: "arn:a".into(), stored: known },
        ProgressRecord::Topic { name: "orders".into(), partitions: 12 },
        gap(&found(Some("shardId-2"))),
        gap(&found(None)),
        ProgressRecord::Forgotten(counts),
        ProgressRecord::ShardGone { stream_arn: "arn:a".into(), shard: ShardId::new("shardId-2") },
        ProgressRecord::StreamGone { stream_arn: "arn:a".into() },
        ProgressRecord::DeadLetters(RecentDeadLetters::default().with(3, 1_790_000_000_500)),
        ProgressRecord::Brake { per_minute_max: 100 },
        ProgressRecord::BrakeGone,
        ProgressRecord::Target(StoredTarget {
            topic: "orders".into(),
            source: "s".into(),
            ends: vec![41, 0],
            written: 7,
        }),
        ProgressRecord::Salt("9f".into()),
        ProgressRecord::SaltGone,
        ProgressRecord::Barrier("9f-1".into()),
        ProgressRecord::Life(ClaimMark { number: 7, owner: "9f".into() }),
        ProgressRecord::HandedOver(ClaimMark { number: 7, owner: "9f".into() }),
    ]
}

/// Versions that do not know a record without a value pass it over; signs and barriers must stay such.
#[test]
fn what_older_versions_are_to_pass_over_has_no_value() {
    let claim = ClaimMark { number: 7, owner: "9f".into() };
    for record in [
        ProgressRecord::Barrier("9f-1".into()),
        ProgressRecord::Life(claim.clone()),
        ProgressRecord::HandedOver(claim.clone()),
    ] {
        assert_eq!(record.encode().1, None, "{record:?}");
    }
    for key in [r#"["life","seven","9f"]"#, r#"["life","7"]"#, r#"["handed_over","-7","9f"]"#] {
        assert_eq!(ProgressRecord::decode_gone(key.as_bytes()), None, "{key}");
    }
}

#[test]
fn every_kind_comes_back() {
    for record in every_kind() {
        let (key, value) = record.encode();
        let decoded = match value {
            Some(value) => ProgressRecord::decode(key.as_bytes(), value.as_bytes()),
            None => ProgressRecord::decode_gone(key.as_bytes()).ok_or(Malformed),
        };
        assert_eq!(decoded, Ok(record));
    }
}

#[test]
fn keys_and_values_are_the_documented_ones() {
    let encoded: Vec<_> = every_kind().iter().map(ProgressRecord::encode).collect();
    let expected = [
        (
            r#"["session"]"#,
            Some(r#"{"v":1,"pipeline":"p","claim":3,"owner":"9f","epoch":17,"holds":{"facts":5,"lanes":4}}"#),
        ),
        (
            r#"["shard","arn:a","shardId-2"]"#,
            Some(
                r#"{"v":1,"parent":"shardId-1","position":"end","read_until_ms":1700000000123,"read":5,"written":2,"filtered":1,"dead_lettered":1,"suppressed":1}"#,
            ),
        ),
        (
            r#"["stream","arn:a"]"#,
            Some(r#"{"v":1,"table":"orders","table_id":"id","known":true,"known_since_ms":1700000000123}"#),
        ),
        (r#"["topic","orders"]"#, Some(r#"{"v":1,"partitions":12}"#)),
        (
            r#"["gap","arn:a","shardId-2","trimmed","start","1700000000123"]"#,
            Some(r#"{"v":1,"detail":"trimmed \"before\" it was read","until_ms":1700000001000}"#),
        ),
        (
            r#"["gap","arn:a","","trimmed","start"]"#,
            Some(r#"{"v":1,"detail":"trimmed \"before\" it was read","until_ms":1700000001000}"#),
        ),
        (r#"["forgotten"]"#, Some(r#"{"v":1,"read":5,"written":2,"filtered":1,"dead_lettered":1,"suppressed":1}"#)),
        (r#"["shard","arn:a","shardId-2"]"#, None),
        (r#"["stream","arn:a"]"#, None),
        (r#"["dead_letters"]"#, Some(r#"{"v":1,"by_second":[[1790000000,3]]}"#)),
        (r#"["brake"]"#, Some(r#"{"v":1,"per_minute_max":100}"#)),
        (r#"["brake"]"#, None),
        (r#"["target"]"#, Some(r#"{"v":1,"topic":"orders","source":"s","ends":[41,0],"written":7}"#)),
        (r#"["salt"]"#, Some(r#"{"v":1,"salt":"9f"}"#)),
        (r#"["salt"]"#, None),
        (r#"["barrier","9f-1"]"#, None),
        (r#"["life","7","9f"]"#, None),
        (r#"["handed_over","7","9f"]"#, None),
    ];
    assert_eq!(encoded, expected.map(|(key, value)| (key.to_owned(), value.map(str::to_owned))));
}

#[test]
fn records_without_moments_are_read() {
    for (key, value) in [
        (
            r#"["shard","a","b"]"#,
            r#"{"v":1,"parent":null,"position":"end","read":5,"written":5,"filtered":0,"dead_lettered":0,"suppressed":0}"#,
        ),
        (r#"["stream","a"]"#, r#"{"v":1,"table":"orders","table_id":"id","known":true}"#),
        (r#"["gap","a","","trimmed","start"]"#, r#"{"v":1,"detail":"lost"}"#),
    ] {
        let record = ProgressRecord::decode(key.as_bytes(), value.as_bytes()).expect("an older record");
        assert_eq!(record.encode(), (key.to_owned(), Some(value.to_owned())));
    }
}

#[test]
fn what_somebody_else_takes_back_says_nothing() {
    for key in ["", "order-17", r#"["session"]"#, r#"["gap","a","","trimmed","start"]"#, r#"["shard","a"]"#] {
        assert_eq!(ProgressRecord::decode_gone(key.as_bytes()), None, "{key}");
    }
}

#[test]
fn what_is_not_ours_is_refused() {
    for (key, value) in [
        ("", "{}"),
        ("order-17", r#"{"v":1}"#),
        (r#"["session"]"#, r#"{"v":2,"pipeline":"p","claim":3,"owner":"9f","epoch":17}"#),
        (r#"["session"]"#, "null"),
        (r#"["lease","a"]"#, r#"{"v":1}"#),
        (r#"["gap","a","b","trimmed","start","yesterday"]"#, r#"{"v":1,"detail":"lost"}"#),
        (r#"["gap","a","b","trimmed"]"#, r#"{"v":1,"detail":"lost"}"#),
        (
            r#"["shard","a","b"]"#,
            r#"{"v":1,"parent":null,"position":"middle","read":0,"written":0,"filtered":0,"dead_lettered":0,"suppressed":0}"#,
        ),
    ] {
        assert_eq!(ProgressRecord::decode(key.as_bytes(), value.as_bytes()), Err(Malformed), "{key} {value}");
    }
}
