//! What the judge lets pass and what it must find.

use super::*;

fn item(name: &str) -> Key {
    (name.to_owned(), "x".to_owned())
}

/// Item `a` is written twice, deleted and written again; `b` is written once.
fn stream() -> Vec<StreamEvent> {
    [("1", "INSERT", "a"), ("2", "INSERT", "b"), ("3", "MODIFY", "a"), ("4", "REMOVE", "a"), ("5", "INSERT", "a")]
        .map(|(id, name, key)| StreamEvent { event_id: id.to_owned(), name: name.to_owned(), key: item(key) })
        .to_vec()
}

/// Messages by the ids of their events; `4t` is the tombstone of event 4.
fn messages(ids: &[&str]) -> Vec<Message> {
    let place_and_id = ids.iter().enumerate();
    let message = |(place, id): (usize, &&str)| {
        let (event_id, value) = match id.strip_suffix('t') {
            Some(event_id) => (event_id, None),
            None => (*id, Some(value_of(id))),
        };
        let key = if event_id == "2" { "b" } else { "a" };
        Message {
            partition: i32::from(key == "b"),
            offset: place as i64,
            key: Some(format!(r#"{{"Id":"{key}","Fecha":"x"}}"#)),
            value,
            headers: vec![("__event_id".to_owned(), event_id.to_owned())],
        }
    };
    place_and_id.map(message).collect()
}

fn value_of(id: &str) -> String {
    match id {
        "1" | "2" => r#"{"new":{"count":1}}"#,
        "3" => r#"{"new":{"count":2},"old":{"count":1}}"#,
        "4" => r#"{"new":null,"old":{"count":2}}"#,
        _ => r#"{"new":{"count":3}}"#,
    }
    .to_owned()
}

fn error_of(ids: &[&str], check: fn(&[Message], &[StreamEvent], Deletes) -> Result<Found>) -> String {
    format!("{:#}", check(&messages(ids), &stream(), Deletes::EventAndTombstone).expect_err("a fault"))
}

#[test]
fn what_is_right_passes() -> Result<()> {
    let both = ["1", "3", "4", "4t", "5", "2"];
    let found = exactly_once(&messages(&both), &stream(), Deletes::EventAndTombstone)?;
    assert_eq!(found, Found { events: 5, repeats: 0 });
    exactly_once(&messages(&["1", "3", "4", "5", "2"]), &stream(), Deletes::Event)?;
    exactly_once(&messages(&["2", "1", "3", "4t", "5"]), &stream(), Deletes::Tombstone)?;
    assert_eq!(messages_expected(&stream(), Deletes::EventAndTombstone), 6);
    let (put, delete) = (Write::Put, Write::Delete);
    let ledger = Ledger::from([(item("a"), vec![put(1), put(2), delete, put(3)]), (item("b"), vec![put(1)])]);
    check_ledger(&messages(&both), &ledger)
}

#[test]
fn rewinds_are_repeats_and_nothing_worse() -> Result<()> {
    for (ids, repeats) in [
        (["1", "1", "3", "4", "4t", "5", "2"].as_slice(), 1),
        (&["1", "3", "1", "3", "4", "4t", "5", "2", "2"], 3),
        (&["1", "3", "4", "4t", "3", "4", "4", "4t", "5", "2"], 4),
    ] {
        assert_eq!(at_least_once(&messages(ids), &stream(), Deletes::EventAndTombstone)?.repeats, repeats, "{ids:?}");
        assert!(error_of(ids, exactly_once).contains("more than once"));
    }
    Ok(())
}

#[test]
fn what_is_wrong_is_found() {
    for (ids, why) in [
        (["1", "4", "4t", "5", "2"].as_slice(), "left out"),
        (&["3", "1", "3", "4", "4t", "5", "2"], "left out"),
        (&["1", "3", "4", "4t", "1", "4", "4t", "5", "2"], "left out"),
        (&["1", "3", "4", "5", "2"], "left out"),
        (&["1", "3", "4", "4t", "2"], "the end is missing"),
        (&["1", "3", "4", "4t", "5", "1", "2"], "ends in a repeat"),
        (&["1", "3", "4", "4t", "5"], "missing wholly"),
        (&["1", "3", "4", "4t", "5", "6", "2"], "no such event"),
    ] {
        for check in [at_least_once, exactly_once] {
            let error = error_of(ids, check);
            assert!(error.contains(why), "{ids:?}: {error}");
        }
    }
    let mut moved = messages(&["1", "3", "4", "4t", "5", "2"]);
    moved[4].partition = 2;
    let error = exactly_once(&moved, &stream(), Deletes::EventAndTombstone).expect_err("a fault");
    assert!(format!("{error:#}").contains("two partitions"));
}

#[test]
fn a_ledger_that_differs_is_found() {
    let (put, delete) = (Write::Put, Write::Delete);
    let both = messages(&["1", "3", "4", "4t", "5", "2"]);
    for (a, why) in [
        (vec![put(1), put(2), delete], "writes"),
        (vec![put(1), put(2), delete, put(3), put(4)], "writes"),
        (vec![put(1), put(3), delete, put(4)], "the messages tell"),
    ] {
        let ledger = Ledger::from([(item("a"), a), (item("b"), vec![put(1)])]);
        let error = format!("{:#}", check_ledger(&both, &ledger).expect_err("a fault"));
        assert!(error.contains(why), "{error}");
    }
    let ledger = Ledger::from([(item("a"), vec![put(1), put(2), delete, put(3)])]);
    assert!(check_ledger(&both, &ledger).is_err_and(|error| error.to_string().contains("nobody wrote")));
}
