//! The mirror table: exact values, folding, deletes, and rows that a reader with plain SQL finds.

use sqlx::{AssertSqlSafe, Row};
use tailwater_model::{Change, ChangeEvent, Committed, DeleteMode, Item, Position, Sink};

use crate::fixture::{Lane, Place, advance, after, event, group, image, insert, item, number, register, remove};

/// Commits the events as the only batch after the registration.
async fn carried(place: &Place, events: Vec<ChangeEvent>) -> (Lane, Committed) {
    let (mut lane, _) = place.opened().await;
    let committed = lane.commit(group(vec![register(), advance(Position::Start, after(1000), events)])).await;
    (lane, committed.expect("fits"))
}

/// Rows as text, ordered by key, with `|` between the columns.
async fn rows(place: &Place, columns: &str) -> Vec<String> {
    let sql = format!("select {columns} from \"the \"\"orders\"\"\" order by 1, 2");
    let rows = sqlx::query(AssertSqlSafe(sql)).fetch_all(&mut place.connect().await).await.expect("readable");
    let text = |row: sqlx::sqlite::SqliteRow| {
        let cells = (0..row.len()).map(|index| row.get_unchecked::<String, _>(index));
        cells.collect::<Vec<_>>().join("|")
    };
    rows.into_iter().map(text).collect()
}

const KEY: &str = r#""Customer ""Id""", "order""#;

#[tokio::test]
async fn values_arrive_exact() {
    let directory = tempfile::tempdir().expect("a directory");
    let place = Place::sqlite(directory.path(), DeleteMode::Soft);
    let attributes = concat!(
        r#""n":{"N":"-12345678901234567890123456789012345678"},"tiny":{"N":"1E-130"},"e":{"S":""},"#,
        r#""z":{"NULL":true},"b":{"B":"AAE="},"ns":{"NS":["10","9"]},"nul":{"S":"a\u0000b"},"é":{"BOOL":true}"#
    );
    let exact = Change::Insert { new: Some(image("a", "1.50", attributes)) };
    carried(&place, vec![event(7, "a", "1.50", exact)]).await;
    assert_eq!(
        rows(&place, &format!("{KEY}, document")).await,
        [concat!(
            r#"a|1.5|{"order":1.50,"Customer \"Id\"":"a","n":-12345678901234567890123456789012345678,"tiny":1E-130,"#,
            r#""e":"","z":null,"b":"AAE=","ns":[9,10],"nul":"a\u0000b","é":true}"#
        )]
    );
    let metadata = rows(&place, "_op, _seq, _event_id, _source_ts, _deleted, length(_synced_at)").await;
    assert_eq!(metadata, [format!("insert|{}|event-7|2023-11-14T22:13:20.000Z|0|24", number(7))]);
    // The functions of SQLite take the document as it is.
    assert_eq!(
        rows(&place, "json_extract(document, '$.b'), hex(json_extract(document, '$.nul'))").await,
        ["AAE=|610062"]
    );
}

#[tokio::test]
async fn keys_are_told_apart_exactly() {
    let directory = tempfile::tempdir().expect("a directory");
    let place = Place::sqlite(directory.path(), DeleteMode::Hard);
    let keys = [
        ("a", "1"),
        ("A", "1"),
        ("a ", "1"),
        ("a\0b", "1"),
        ("a\0c", "1"),
        ("a\0", "1"),
        ("é", "1"),
        ("e\u{301}", "1"),
        ("a", "12345678901234567890123456789012345678"),
        ("a", "12345678901234567890123456789012345679"),
        ("a", "0.1"),
        ("a", "-1"),
    ];
    let inserts: Vec<_> =
        keys.iter().zip(1..).map(|((customer, order), sequence)| insert(sequence, customer, order)).collect();
    let (mut lane, committed) = carried(&place, inserts).await;
    assert_eq!(committed.written, 12);
    let stored: Vec<(String, String)> =
        sqlx::query_as(AssertSqlSafe(format!("select {KEY} from \"the \"\"orders\"\"\"")))
            .fetch_all(&mut place.connect().await)
            .await
            .expect("readable");
    let mut stored: Vec<_> = stored.iter().map(|(customer, order)| (customer.as_str(), order.as_str())).collect();
    let mut expected = keys.to_vec();
    stored.sort_unstable();
    expected.sort_unstable();
    assert_eq!(stored, expected);

    // The same numbers and texts written in another way are the same keys.
    let removes = vec![remove(20, "a\0b", "1.0", None), remove(21, "a", "1E-1", None), remove(22, "é", "1.00e0", None)];
    let committed = lane.commit(group(vec![advance(after(1000), after(1001), removes)])).await.expect("fits");
    assert_eq!(committed.written, 3);
    let left = rows(&place, &format!("hex({}), \"order\"", r#""Customer ""Id""""#)).await;
    assert_eq!(left.len(), 9);
    assert!(left.contains(&"610063|1".to_owned()) && !left.contains(&"610062|1".to_owned()), "{left:?}");
}

#[tokio::test]
async fn a_binary_key_is_a_blob() {
    let directory = tempfile::tempdir().expect("a directory");
    let Place::Sqlite(settings) = Place::sqlite(directory.path(), DeleteMode::Soft) else { panic!("sqlite") };
    let keys = tailwater_model::KeySchema {
        partition: tailwater_model::KeyAttribute { name: "id".into(), kind: tailwater_model::KeyKind::B },
        sort: None,
    };
    let claimed = tailwater_sink_local::claim_sqlite(&settings, &crate::fixture::identity(), &keys).await;
    let mut lane = claimed.expect("claimed").lanes.remove(0);
    lane.open().await.expect("opens");
    let key = item(r#"{"id":{"B":"AP8="}}"#);
    let binary = ChangeEvent { key: key.clone(), change: Change::Insert { new: Some(key) }, ..insert(1, "a", "1") };
    let committed = lane.commit(group(vec![register(), advance(Position::Start, after(1), vec![binary])])).await;
    assert_eq!(committed.expect("fits").written, 1);
    let place = Place::Sqlite(settings);
    assert_eq!(rows(&place, "typeof(id), hex(id), document").await, [r#"blob|00FF|{"id":"AP8="}"#]);
}

#[tokio::test]
async fn the_last_event_of_a_key_counts() {
    let directory = tempfile::tempdir().expect("a directory");
    let place = Place::sqlite(directory.path(), DeleteMode::Hard);
    let missing = event(6, "b", "1", Change::Modify { old: None, new: None });
    let events = vec![
        insert(1, "a", "1"),
        remove(2, "a", "1", None),
        insert(3, "a", "1"),
        insert(4, "b", "1"),
        insert(5, "c", "1"),
        missing.clone(),
        remove(7, "c", "1", None),
    ];
    let (_, committed) = carried(&place, events).await;
    // What was overtaken counts as written; what was refused did not overtake anything.
    assert_eq!(committed.figures(), (6, 1));
    let expected = [format!("a|1|{}", number(3)), format!("b|1|{}", number(4))];
    assert_eq!(rows(&place, &format!("{KEY}, _seq")).await, expected);
    let (code, record): (String, String) = sqlx::query_as("select code, record from tailwater_dead_letters")
        .fetch_one(&mut place.connect().await)
        .await
        .expect("one");
    assert_eq!((code.as_str(), record), ("sink.image_missing", missing.record_json()));
}

#[tokio::test]
async fn soft_deletes_keep_the_row_until_it_is_inserted_again() {
    let directory = tempfile::tempdir().expect("a directory");
    let place = Place::sqlite(directory.path(), DeleteMode::Soft);
    let old = |text: &str| Some(image("x", "1", &format!(r#""old":{{"S":"{text}"}}"#)));
    let known: Option<Item> = None;
    let (mut lane, _) =
        carried(&place, vec![insert(1, "kept", "1"), insert(2, "replaced", "1"), insert(3, "back", "1")]).await;
    let removes = vec![
        remove(4, "kept", "1", known.clone()),
        remove(5, "replaced", "1", old("image")),
        remove(6, "back", "1", None),
        remove(7, "never seen", "1", None),
        remove(8, "never seen either", "1", old("whole")),
    ];
    lane.commit(group(vec![advance(after(1000), after(1001), removes)])).await.expect("fits");
    lane.commit(group(vec![advance(after(1001), after(1002), vec![insert(9, "back", "1")])])).await.expect("fits");
    let image_of = |customer: &str, rest: &str| format!(r#"{{"order":1,"Customer \"Id\"":"{customer}",{rest}}}"#);
    assert_eq!(
        rows(&place, &format!("{KEY}, _op, _deleted, document")).await,
        [
            format!("back|1|insert|0|{}", image_of("back", r#""n":9"#)),
            format!("kept|1|remove|1|{}", image_of("kept", r#""n":1"#)),
            r#"never seen|1|remove|1|{"Customer \"Id\"":"never seen","order":1}"#.to_owned(),
            format!("never seen either|1|remove|1|{}", image_of("x", r#""old":"whole""#)),
            format!("replaced|1|remove|1|{}", image_of("x", r#""old":"image""#)),
        ]
    );
}
