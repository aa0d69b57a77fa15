//! What the writes to the embedded tables changed: their private streams, which nobody outside sees.
//!
//! `dynoxide` keeps the records of all streams in one table of its SQLite, never removes any, and looks through all of them
//! at every write. So they are taken out after each write, over a second connection to the same memory; with some
//! thousands left in it, a write takes milliseconds.

use std::sync::atomic::{AtomicU64, Ordering};

use dynoxide::Database;
use rusqlite::Connection;
use serde_json::Value;

use crate::service::ItemChange;

/// Tells the databases of one process apart.
static NEXT: AtomicU64 = AtomicU64::new(0);

/// Access to the records of an embedded database.
pub(super) struct PrivateStreams(Connection);

/// A database in memory, and its records.
pub(super) fn open() -> Result<(Database, PrivateStreams), String> {
    // A name with a slash is what connections of one process share (SQLite's `memdb`).
    let name = format!("file:/tailwater-{}?vfs=memdb", NEXT.fetch_add(1, Ordering::Relaxed));
    let database = Database::new(&name).map_err(|error| error.to_string())?;
    let connection = Connection::open(&name).map_err(|error| error.to_string())?;
    Ok((database, PrivateStreams(connection)))
}

impl PrivateStreams {
    /// Takes out what was written since the last call, in order, each change with the table's name.
    pub(super) fn take(&self) -> rusqlite::Result<Vec<(String, ItemChange)>> {
        let mut query = self.0.prepare_cached(
            "select table_name, keys_json, old_image, new_image, user_identity from _stream_records order by id",
        )?;
        let changes = query.query_map([], |row| {
            let image = |column| row.get::<_, Option<String>>(column).map(|image| image.map(sorted));
            let time_to_live = row.get::<_, Option<String>>(4)?.is_some();
            let key = sorted(row.get(1)?);
            Ok((row.get(0)?, ItemChange { key, old: image(2)?, new: image(3)?, time_to_live }))
        })?;
        let changes = changes.collect::<rusqlite::Result<Vec<_>>>()?;
        if !changes.is_empty() {
            self.0.prepare_cached("delete from _stream_records")?.execute([])?;
        }
        Ok(changes)
    }
}

/// The same JSON with its attributes in order: the embedded database writes them in a new one each time.
fn sorted(json: String) -> String {
    serde_json::from_str::<Value>(&json).map_or(json, |value| value.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn left(private: &PrivateStreams) -> u64 {
        private.0.query_row("select count(*) from _stream_records", [], |row| row.get(0)).expect("counted")
    }

    fn put(database: &Database, table: &str, value: u64) {
        let request =
            serde_json::json!({"TableName": table, "Item": {"Id": {"S": "a"}, "v": {"N": value.to_string()}}});
        database.put_item(serde_json::from_value(request).expect("a request")).expect("put");
    }

    /// What is left in them is work at each later write.
    #[test]
    fn changes_are_taken_once_in_the_order_of_the_writes_and_nothing_is_left() {
        let (database, private) = open().expect("in memory");
        for table in ["One", "Two"] {
            let request = serde_json::json!({
                "TableName": table, "BillingMode": "PAY_PER_REQUEST",
                "KeySchema": [{"AttributeName": "Id", "KeyType": "HASH"}],
                "AttributeDefinitions": [{"AttributeName": "Id", "AttributeType": "S"}],
                "StreamSpecification": {"StreamEnabled": true, "StreamViewType": "NEW_AND_OLD_IMAGES"},
            });
            database.create_table(serde_json::from_value(request).expect("a request")).expect("made");
        }
        for round in 0..50 {
            for table in ["Two", "One", "Two"] {
                put(&database, table, round);
                put(&database, table, round + 1);
            }
            let taken = private.take().expect("taken");
            let tables: Vec<&str> = taken.iter().map(|(table, _)| table.as_str()).collect();
            assert_eq!(tables, ["Two", "Two", "One", "One", "Two", "Two"], "round {round}");
            let (_, last) = taken.last().expect("six");
            assert_eq!(last.new, Some(format!(r#"{{"Id":{{"S":"a"}},"v":{{"N":"{}"}}}}"#, round + 1)));
            assert_eq!(left(&private), 0);
            assert!(private.take().expect("taken").is_empty());
        }
    }

    #[test]
    fn two_databases_share_nothing() {
        let (one, _) = open().expect("in memory");
        let (other, _) = open().expect("in memory");
        let tables = |database: &Database| database.table_count().expect("counted");
        assert_eq!((tables(&one), tables(&other)), (0, 0));
        let request = serde_json::json!({
            "TableName": "One", "BillingMode": "PAY_PER_REQUEST",
            "KeySchema": [{"AttributeName": "Id", "KeyType": "HASH"}],
            "AttributeDefinitions": [{"AttributeName": "Id", "AttributeType": "S"}],
        });
        one.create_table(serde_json::from_value(request).expect("a request")).expect("made");
        assert_eq!((tables(&one), tables(&other)), (1, 0));
    }
}
