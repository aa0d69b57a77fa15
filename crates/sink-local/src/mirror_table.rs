//! The mirror table in SQLite: one row per item, its key as columns, the whole item as a JSON document.
//!
//! A number in the key is stored as text, in one canonical form per value: SQLite has no exact decimal type, and as
//! REAL two different keys of 17 or more digits could become one (<https://www.sqlite.org/datatype3.html>). A text key
//! that contains U+0000 is stored and compared whole, but SQL functions such as `length` see only what stands before it
//! (<https://www.sqlite.org/nulinstr.html>); inside the document it is the escape `\u0000`.

use std::sync::Arc;

use sqlx::sqlite::{SqliteArguments, SqliteConnection};
use sqlx::{AssertSqlSafe, Row, Sqlite};
use tailwater_model::{Binding, Change, ChangeEvent, DeleteMode, Item, Key, KeyKind, KeySchema, KeyValue};
use tailwater_model::{PipelineIdentity, Rejected, TargetState, Trouble};
use tailwater_model::{TroubleKind, push_plain_item, push_plain_key, rfc_3339};

use crate::database::Fault;
use crate::identifier::quote_identifier;
use crate::mark::marks;
use crate::progress::{TargetLook, now};
use crate::refused_rows::RowFault;

/// A column as `pragma table_xinfo` tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Column {
    name: String,
    kind: &'static str,
    /// Its place in the primary key, from 1; 0 outside of it.
    key_place: i64,
}

/// The columns behind the key, all of them `not null`.
const METADATA: [(&str, &str); 7] = [
    ("document", "TEXT"),
    ("_op", "TEXT"),
    ("_seq", "TEXT"),
    ("_event_id", "TEXT"),
    ("_source_ts", "TEXT"),
    ("_synced_at", "TEXT"),
    ("_deleted", "INTEGER"),
];

/// The table that mirrors the source, with its statements.
#[derive(Debug)]
pub(crate) struct MirrorTable {
    name: String,
    keys: KeySchema,
    delete: DeleteMode,
    columns: Vec<Column>,
    create: Arc<str>,
    is_filled: Arc<str>,
    upsert: Arc<str>,
    mark_deleted: Arc<str>,
    remove: Arc<str>,
    is_there: Arc<str>,
}

impl MirrorTable {
    /// Names and statements, without looking at the database.
    pub(crate) fn new(name: &str, keys: &KeySchema, delete: DeleteMode) -> Result<Self, Trouble> {
        let columns = columns(keys);
        check_names(name, &columns)?;
        let unquotable = || config("sink.sqlite.name", format!("a name of table {name:?} contains U+0000"));
        let quote = |name: &str| quote_identifier(name).ok_or_else(unquotable);
        let table = quote(name)?;
        let quoted = columns.iter().map(|column| quote(&column.name)).collect::<Result<Vec<_>, _>>()?;
        let (key_names, metadata_names) = quoted.split_at(keys.attributes().count());
        let definitions: Vec<_> =
            quoted.iter().zip(&columns).map(|(quoted, column)| format!("{quoted} {} not null", column.kind)).collect();
        let key_list = key_names.join(", ");
        let create = format!("create table {table} ({}, primary key ({key_list})) strict", definitions.join(", "));
        let values: Vec<_> =
            columns.iter().map(|column| if column.name == "_synced_at" { now!() } else { "?" }).collect();
        let insert = format!(
            "insert into {table} ({}) values ({}) on conflict ({key_list}) do update set ",
            quoted.join(", "),
            values.join(", ")
        );
        let set: Vec<_> = metadata_names.iter().map(|name| format!("{name} = excluded.{name}")).collect();
        let matches: Vec<_> = key_names.iter().map(|name| format!("{name} = ?")).collect();
        Ok(Self {
            name: name.to_owned(),
            keys: keys.clone(),
            delete,
            create: create.into(),
            is_filled: format!("select exists (select 1 from {table})").into(),
            upsert: format!("{insert}{}", set.join(", ")).into(),
            // All but the document, which comes first.
            mark_deleted: format!("{insert}{}", set[1..].join(", ")).into(),
            remove: format!("delete from {table} where {}", matches.join(" and ")).into(),
            is_there: format!("select exists (select 1 from {table} where {})", matches.join(" and ")).into(),
            columns,
        })
    }

    /// What the file asks progress to be bound to.
    pub(crate) fn binding(&self, identity: &PipelineIdentity) -> Binding {
        Binding::new(format!("the table {:?}", self.name), identity, &self.keys)
    }

    /// The table's name, as the file writes it.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// What is in the table, and which marks it has.
    pub(crate) async fn look(&self, connection: &mut SqliteConnection) -> Result<TargetLook, Fault> {
        let (is_there,): (bool,) = sqlx::query_as(
            "select exists (select 1 from sqlite_schema where name = ? collate nocase and type = 'table')",
        )
        .bind(&self.name)
        .fetch_one(&mut *connection)
        .await?;
        let state = if is_there {
            let (is_filled,): (bool,) =
                sqlx::query_as(AssertSqlSafe(self.is_filled.clone())).fetch_one(&mut *connection).await?;
            if is_filled { TargetState::Filled } else { TargetState::Empty }
        } else {
            TargetState::Missing
        };
        let marks = marks(connection, &self.name).await?;
        Ok(TargetLook { state, keeps_rows: self.delete == DeleteMode::Soft, marks })
    }

    /// Makes the table when it is missing; otherwise it must have our shape.
    pub(crate) async fn create_or_check(&self, connection: &mut SqliteConnection) -> Result<(), Fault> {
        if !self.check(connection).await? {
            sqlx::raw_sql(AssertSqlSafe(self.create.clone())).execute(&mut *connection).await?;
        }
        Ok(())
    }

    /// Whether the table is there. One of another shape is trouble.
    async fn check(&self, connection: &mut SqliteConnection) -> Result<bool, Fault> {
        let found: Option<(String,)> = sqlx::query_as("select type from sqlite_schema where name = ? collate nocase")
            .bind(&self.name)
            .fetch_optional(&mut *connection)
            .await?;
        let Some((kind,)) = found else { return Ok(false) };
        if kind != "table" {
            return Err(Fault::halt(self.other_shape(&[format!("it is a {kind}")])));
        }
        let rows: Vec<FoundColumn> = sqlx::query_as(
            "select name, type, \"notnull\", dflt_value is not null, pk, hidden from pragma_table_xinfo(?)",
        )
        .bind(&self.name)
        .fetch_all(&mut *connection)
        .await?;
        let differences = differences(&self.columns, &rows);
        if differences.is_empty() { Ok(true) } else { Err(Fault::halt(self.other_shape(&differences))) }
    }

    fn other_shape(&self, differences: &[String]) -> Trouble {
        let message = format!("the table {:?} has another shape: {}", self.name, differences.join("; "));
        Trouble::new(TroubleKind::Environment, "sink.table_shape", message)
            .advise(format!("name another table, or move this one away and let it be made: {}", self.create))
    }

    /// Whether the table can hold what the event says.
    pub(crate) fn accept(&self, event: &ChangeEvent) -> Result<(), Rejected> {
        let mismatch =
            |fault: tailwater_model::KeyFault| Rejected { code: "sink.key_mismatch", message: fault.to_string() };
        self.keys.read(&event.key).map_err(mismatch)?;
        rfc_3339(event.source.created_at_ms)?;
        match &event.change {
            Change::Insert { new: None } | Change::Modify { new: None, .. } => Err(Rejected {
                code: "sink.image_missing",
                message: "the record has no new image, and a mirror needs it".into(),
            }),
            _ => Ok(()),
        }
    }

    /// Writes the last event of a key, which was accepted before.
    pub(crate) async fn apply(
        &self,
        connection: &mut SqliteConnection,
        key: &Key,
        event: &ChangeEvent,
    ) -> Result<(), RowFault> {
        let query = match (&event.change, self.delete) {
            (Change::Remove { .. }, DeleteMode::Hard) => return self.remove(connection, key).await,
            (Change::Remove { old: Some(image), .. }, DeleteMode::Soft) => {
                self.bind_row(&self.upsert, key, event, plain(image), true)
            }
            // Without an old image the document that is there stays; a row that was never there shows its key.
            (Change::Remove { old: None, .. }, DeleteMode::Soft) => {
                let mut document = String::new();
                push_plain_key(key, &self.keys, &mut document);
                self.bind_row(&self.mark_deleted, key, event, document, true)
            }
            (Change::Insert { new }, _) | (Change::Modify { new, .. }, _) => {
                let document = new.as_ref().map(plain).unwrap_or_default();
                self.bind_row(&self.upsert, key, event, document, false)
            }
        };
        let done = query.execute(connection).await.map_err(RowFault::Error)?;
        // Written means kept.
        if done.rows_affected() == 0 { Err(RowFault::Swallowed) } else { Ok(()) }
    }

    /// Removes a row. One that was not there is removed, too.
    async fn remove(&self, connection: &mut SqliteConnection, key: &Key) -> Result<(), RowFault> {
        let remove = bind_key(sqlx::query(AssertSqlSafe(self.remove.clone())), key);
        if remove.execute(&mut *connection).await.map_err(RowFault::Error)?.rows_affected() > 0 {
            return Ok(());
        }
        let look = bind_key(sqlx::query(AssertSqlSafe(self.is_there.clone())), key);
        let row = look.fetch_one(connection).await.map_err(RowFault::Error)?;
        let is_there: bool = row.try_get(0).map_err(RowFault::Error)?;
        if is_there { Err(RowFault::Swallowed) } else { Ok(()) }
    }

    pub(crate) fn delete_mode(&self) -> DeleteMode {
        self.delete
    }

    fn bind_row<'q>(
        &self,
        sql: &Arc<str>,
        key: &Key,
        event: &ChangeEvent,
        document: String,
        deleted: bool,
    ) -> Query<'q> {
        bind_key(sqlx::query(AssertSqlSafe(sql.clone())), key)
            .bind(document)
            .bind(event.change.name())
            .bind(event.source.sequence_number.to_string())
            .bind(event.source.event_id.to_string())
            .bind(rfc_3339(event.source.created_at_ms).unwrap_or_default())
            .bind(deleted)
    }
}

type Query<'q> = sqlx::query::Query<'q, Sqlite, SqliteArguments>;

fn bind_key<'q>(query: Query<'q>, key: &Key) -> Query<'q> {
    key.values().iter().fold(query, |query, value| match value {
        KeyValue::S(text) => query.bind(text.clone()),
        KeyValue::N(number) => query.bind(number.to_string()),
        KeyValue::B(bytes) => query.bind(bytes.clone()),
    })
}

fn plain(item: &Item) -> String {
    let mut document = String::new();
    push_plain_item(item, &mut document);
    document
}

fn columns(keys: &KeySchema) -> Vec<Column> {
    let key = keys.attributes().zip(1..).map(|(attribute, key_place)| {
        let kind = match attribute.kind {
            KeyKind::S | KeyKind::N => "TEXT",
            KeyKind::B => "BLOB",
        };
        Column { name: attribute.name.clone(), kind, key_place }
    });
    let metadata = METADATA.map(|(name, kind)| Column { name: name.to_owned(), kind, key_place: 0 });
    key.chain(metadata).collect()
}

fn config(code: &'static str, message: String) -> Trouble {
    Trouble::new(TroubleKind::Config, code, message)
}

/// Why the mirror table cannot have this name; nothing when it can.
pub fn table_name_fault(table: &str) -> Option<Trouble> {
    let lower = table.to_ascii_lowercase();
    let is_reserved = ["sqlite_", "tailwater_"].iter().any(|reserved| lower.starts_with(reserved));
    (lower.is_empty() || is_reserved).then(|| {
        let message = format!("{table:?} cannot be the name of the mirror table");
        let advice = "choose a name that is not empty and does not begin with \"sqlite_\" or \"tailwater_\"";
        config("sink.sqlite.name", message).advise(advice)
    })
}

/// SQLite takes names for equal that differ only in the case of ASCII letters.
fn check_names(table: &str, columns: &[Column]) -> Result<(), Trouble> {
    if let Some(trouble) = table_name_fault(table) {
        return Err(trouble);
    }
    for (index, column) in columns.iter().enumerate() {
        if let Some(other) = columns[..index].iter().find(|other| other.name.eq_ignore_ascii_case(&column.name)) {
            let message = format!(
                "the mirror table {table:?} would have the columns {:?} and {:?}, which SQLite takes for one",
                other.name, column.name
            );
            let advice = "this table's key cannot be mirrored into SQLite: use the file sink, or Postgres";
            return Err(config("sink.sqlite.key_name", message).advise(advice));
        }
    }
    Ok(())
}

/// Name, type, not null, has a default, place in the primary key, hidden or generated.
type FoundColumn = (String, String, bool, bool, i64, i64);

/// Columns of the user are welcome as long as our inserts work without naming them.
fn differences(wanted: &[Column], found: &[FoundColumn]) -> Vec<String> {
    let mut differences = Vec::new();
    for Column { name, kind, key_place } in wanted {
        match found.iter().find(|found| found.0.eq_ignore_ascii_case(name)) {
            None => differences.push(format!("column {name:?} is missing")),
            Some(found) => {
                if !found.1.eq_ignore_ascii_case(kind) {
                    differences.push(format!("column {name:?} is {} and should be {kind}", found.1));
                }
                if found.4 != *key_place {
                    let place = |place: i64| match place {
                        0 => "outside the primary key".to_owned(),
                        place => format!("number {place} of the primary key"),
                    };
                    let (is, should) = (place(found.4), place(*key_place));
                    differences.push(format!("column {name:?} is {is} and should be {should}"));
                }
            }
        }
    }
    for (name, _, not_null, has_default, key_place, hidden) in found {
        let ours = wanted.iter().any(|column| column.name.eq_ignore_ascii_case(name));
        if !ours && *hidden == 0 && (*key_place > 0 || (*not_null && !has_default)) {
            differences.push(format!("column {name:?} is not ours, and an insert would have to fill it"));
        }
    }
    differences
}

#[cfg(test)]
mod tests {
    use super::*;
    use tailwater_model::KeyAttribute;

    fn schema(partition: &str, sort: Option<&str>) -> KeySchema {
        let attribute = |name: &str| KeyAttribute { name: name.into(), kind: KeyKind::S };
        KeySchema { partition: attribute(partition), sort: sort.map(attribute) }
    }

    fn code(table: &str, keys: &KeySchema) -> Option<&'static str> {
        MirrorTable::new(table, keys, DeleteMode::Soft).err().map(|trouble| trouble.code)
    }

    #[test]
    fn names_that_cannot_work_are_refused_at_start() {
        assert_eq!(code("orders", &schema("Id", Some("Sort"))), None);
        assert_eq!(code("", &schema("Id", None)), Some("sink.sqlite.name"));
        assert_eq!(code("SQLite_x", &schema("Id", None)), Some("sink.sqlite.name"));
        assert_eq!(code("tailwater_lanes", &schema("Id", None)), Some("sink.sqlite.name"));
        assert_eq!(code("a\0b", &schema("Id", None)), Some("sink.sqlite.name"));
        assert_eq!(code("orders", &schema("a\0b", None)), Some("sink.sqlite.name"));
        assert_eq!(code("orders", &schema("id", Some("ID"))), Some("sink.sqlite.key_name"));
        assert_eq!(code("orders", &schema("Document", None)), Some("sink.sqlite.key_name"));
    }

    #[test]
    fn every_difference_is_named() {
        let wanted = columns(&schema("Id", None));
        let mut found: Vec<FoundColumn> = wanted
            .iter()
            .map(|column| (column.name.to_uppercase(), column.kind.to_lowercase(), true, false, column.key_place, 0))
            .collect();
        found.push(("mine".into(), "TEXT".into(), false, false, 0, 0));
        found.push(("derived".into(), "TEXT".into(), true, false, 0, 2));
        assert_eq!(differences(&wanted, &found), [""; 0]);
        found[0].4 = 0;
        found[1].1 = "BLOB".into();
        found.remove(2);
        found.push(("needed".into(), "TEXT".into(), true, false, 0, 0));
        assert_eq!(
            differences(&wanted, &found),
            [
                r#"column "Id" is outside the primary key and should be number 1 of the primary key"#,
                r#"column "document" is BLOB and should be TEXT"#,
                r#"column "_op" is missing"#,
                r#"column "needed" is not ours, and an insert would have to fill it"#,
            ]
        );
    }
}
