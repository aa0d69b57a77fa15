//! Counts every change of every row of the mirror, from inside the database.
//!
//! The final state of a table cannot show that an event was written twice. A trigger notes each row change with its event in
//! a table that the pipeline's role cannot touch; the notes are then held against the stream as the SDK reads it.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use sqlx::Row;

use crate::postgres::Database;
use crate::stream::StreamEvent;

/// A change of one row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowChange {
    /// `INSERT`, `UPDATE` or `DELETE` as the trigger saw it.
    pub operation: String,
    /// The event that the row carries after the change, or carried before a `DELETE`.
    pub event_id: String,
    /// The row's key.
    pub key: (String, String),
}

/// Begins to note the changes of the mirror table, which must be there and have string keys.
pub async fn install(database: &Database, table: &str) -> Result<()> {
    // `security definer`: the pipeline's role itself has no right to the notes.
    let sql = r#"
        create schema audit;
        create table audit.changes (
            number bigint generated always as identity primary key,
            operation text not null, event_id text not null, partition_key text not null, sort_key text not null);
        create function audit.note() returns trigger language plpgsql security definer as $$
        declare changed record;
        begin
            if tg_op = 'DELETE' then changed := old; else changed := new; end if;
            insert into audit.changes (operation, event_id, partition_key, sort_key)
                values (tg_op, changed._event_id, changed."Id", changed."Fecha");
            return null;
        end $$;"#;
    database.execute(sql).await?;
    let trigger = format!(
        r#"create trigger noted after insert or update or delete on "{table}" for each row execute function audit.note();
           alter table "{table}" enable always trigger noted;"#
    );
    database.execute(&trigger).await
}

/// What was noted so far, in the order of the changes.
pub async fn changes(database: &Database) -> Result<Vec<RowChange>> {
    let sql = "select operation, event_id, partition_key, sort_key from audit.changes order by number";
    let rows = sqlx::query(sql).fetch_all(&database.admin).await.context("the audit's notes")?;
    let read = |row: sqlx::postgres::PgRow| {
        let key = (row.try_get(2)?, row.try_get(3)?);
        Ok(RowChange { operation: row.try_get(0)?, event_id: row.try_get(1)?, key })
    };
    rows.into_iter().map(read).collect()
}

/// Holds the notes against the stream: no event twice, none that the stream does not have, each item's in stream order,
/// each item's last event there, and the only event of an item there exactly once. Deletes must be soft.
///
/// Events of one item that one commit carries together are one change of the row, so that earlier ones may be missing.
pub fn check(changes: &[RowChange], stream: &[StreamEvent]) -> Result<()> {
    let places: BTreeMap<&str, usize> =
        stream.iter().enumerate().map(|(place, event)| (event.event_id.as_str(), place)).collect();
    ensure!(places.len() == stream.len(), "the stream itself has an event twice");
    let mut last_noted = BTreeMap::new();
    for change in changes {
        let place = *places
            .get(change.event_id.as_str())
            .with_context(|| format!("the stream has no such event: {change:?}"))?;
        ensure!(stream[place].key == change.key, "{change:?} belongs to {:?}", stream[place]);
        if let Some(before) = last_noted.insert(&change.key, place) {
            ensure!(before != place, "the event was written twice: {change:?}");
            ensure!(before < place, "{change:?} came after the later {:?}", stream[before]);
        }
    }
    let last_of_stream: BTreeMap<_, _> = stream.iter().enumerate().map(|(place, event)| (&event.key, place)).collect();
    for (key, place) in &last_of_stream {
        let noted = last_noted.get(key);
        ensure!(noted == Some(place), "the last event of {key:?} is missing: {:?}, noted {noted:?}", stream[*place]);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream() -> Vec<StreamEvent> {
        let event = |id: &str, key: &str| StreamEvent {
            event_id: id.to_owned(),
            name: "MODIFY".to_owned(),
            key: (key.to_owned(), String::new()),
        };
        vec![event("1", "a"), event("2", "b"), event("3", "a"), event("4", "a")]
    }

    fn noted(events: &[&str]) -> Vec<RowChange> {
        let stream = stream();
        let change = |id: &&str| RowChange {
            operation: "UPDATE".to_owned(),
            event_id: (*id).to_owned(),
            key: stream.iter().find(|event| event.event_id == **id).map_or_else(Default::default, |e| e.key.clone()),
        };
        events.iter().map(change).collect()
    }

    #[test]
    fn what_is_right_passes() -> Result<()> {
        for right in [["1", "2", "3", "4"].as_slice(), &["2", "4"], &["1", "4", "2"]] {
            check(&noted(right), &stream())?;
        }
        Ok(())
    }

    #[test]
    fn what_is_wrong_is_found() {
        for (wrong, why) in [
            (["1", "2", "3", "3", "4"].as_slice(), "twice"),
            (&["1", "2", "4", "3"], "came after"),
            (&["1", "2", "3"], "missing"),
            (&["4"], "missing"),
            (&["1", "2", "4", "5"], "no such event"),
        ] {
            let error = check(&noted(wrong), &stream()).expect_err("a fault").to_string();
            assert!(error.contains(why), "{wrong:?}: {error}");
        }
    }
}
