//! The mirror table: its names, its columns, and the three statements that write it.

use std::sync::Arc;

use sqlx::AssertSqlSafe;
use tailwater_model::{DeleteMode, KeyKind, KeySchema, Trouble, TroubleKind};

use crate::identifier::{Identifier, IdentifierFault};
use crate::settings::PostgresSettings;

/// The columns beside the key with their types and comments.
pub(crate) const FIXED_COLUMNS: [(&str, &str, &str); 7] = [
    ("document", "jsonb", "The whole item in plain JSON: numbers exact, binary as base64, sets as sorted arrays."),
    ("_op", "text", "The last change: insert, modify, remove or ttl."),
    ("_seq", "numeric(40,0)", "Sequence number of the last change in its shard of the stream."),
    ("_event_id", "text", "DynamoDB's id of the last change."),
    ("_source_ts", "timestamp with time zone", "When DynamoDB made the last change, to the second."),
    (
        "_synced_at",
        "timestamp with time zone",
        "When the transaction began that wrote this row last: rows may become visible in another order.",
    ),
    ("_deleted", "boolean", "Whether the item is gone from the table; document is its last known state."),
];

/// Columns that every Postgres table has (PostgreSQL, "System Columns").
const SYSTEM_COLUMNS: [&str; 6] = ["tableoid", "xmin", "cmin", "xmax", "cmax", "ctid"];

/// A column of the key.
#[derive(Clone, Debug)]
pub(crate) struct KeyColumn {
    pub(crate) name: Identifier,
    pub(crate) kind: KeyKind,
}

impl KeyColumn {
    /// The type as `format_type` tells it.
    pub(crate) fn sql_type(&self) -> &'static str {
        match self.kind {
            KeyKind::S => "text",
            KeyKind::N => "numeric",
            KeyKind::B => "bytea",
        }
    }
}

/// The table with everything that depends on its names.
#[derive(Debug)]
pub(crate) struct MirrorTable {
    pub(crate) schema: Identifier,
    pub(crate) table: Identifier,
    pub(crate) key_columns: Vec<KeyColumn>,
    /// What becomes of the row of a removed item.
    pub(crate) delete: DeleteMode,
    /// Writes states: the item's document with its marks. Gives how many rows are so then.
    pub(crate) upsert_sql: Arc<str>,
    /// Marks rows as deleted and keeps their documents. Gives how many rows are so then.
    pub(crate) mark_sql: Arc<str>,
    /// Removes rows. Gives how many stayed.
    pub(crate) remove_sql: Arc<str>,
}

impl MirrorTable {
    /// Checks the names and writes the statements; contacts nobody.
    pub(crate) fn new(settings: &PostgresSettings, keys: &KeySchema) -> Result<Self, Trouble> {
        let schema = schema_name(&settings.schema)?;
        let table = table_name(&settings.table)?;
        let key_columns: Vec<KeyColumn> = keys
            .attributes()
            .map(|attribute| Ok(KeyColumn { name: key_identifier(&attribute.name)?, kind: attribute.kind }))
            .collect::<Result<_, Trouble>>()?;
        let place = format!("{schema}.{table}");
        Ok(Self {
            upsert_sql: write_sql(&place, &key_columns, "document = excluded.document, ").into(),
            mark_sql: write_sql(&place, &key_columns, "").into(),
            remove_sql: remove_sql(&place, &key_columns).into(),
            schema,
            table,
            key_columns,
            delete: settings.delete,
        })
    }

    /// The qualified name, quoted.
    pub(crate) fn place(&self) -> String {
        format!("{}.{}", self.schema, self.table)
    }

    /// The key's columns, quoted, with commas between.
    pub(crate) fn key_list(&self) -> String {
        list(&self.key_columns, |_, column| column.name.to_string())
    }
}

/// The text of a statement that was built here from identifiers and constants.
pub(crate) fn audited(sql: &Arc<str>) -> AssertSqlSafe<Arc<str>> {
    AssertSqlSafe(Arc::clone(sql))
}

fn list(columns: &[KeyColumn], one: impl Fn(usize, &KeyColumn) -> String) -> String {
    columns.iter().enumerate().map(|(at, column)| one(at, column)).collect::<Vec<_>>().join(", ")
}

/// An array of the key: numbers travel as text, so that no digit is lost.
fn key_array(at: usize, column: &KeyColumn) -> String {
    let array = if column.kind == KeyKind::B { "bytea[]" } else { "text[]" };
    format!("${}::{array}", at + 1)
}

fn key_aliases(columns: &[KeyColumn]) -> String {
    list(columns, |at, _| format!("k{at}"))
}

/// The number of rows that a statement touched says nothing: a trigger that returns the old row is counted, too. So the server
/// looks at what stands in the rows, and tells in one figure.
fn write_sql(place: &str, columns: &[KeyColumn], set_document: &str) -> String {
    let names = list(columns, |_, column| column.name.to_string());
    let arrays = list(columns, key_array);
    let aliases = key_aliases(columns);
    let values = list(columns, |at, column| format!("k{at}::{}", column.sql_type()));
    let [document, op, seq, event_id, created_at_ms, deleted] = [1, 2, 3, 4, 5, 6].map(|at| columns.len() + at);
    format!(
        "with written as (insert into {place} ({names}, document, _op, _seq, _event_id, _source_ts, _synced_at, _deleted) \
         select {values}, document::jsonb, op, seq::numeric(40,0), event_id, \
         timestamptz 'epoch' + created_at_ms::float8 * interval '1 millisecond', now(), deleted \
         from unnest({arrays}, ${document}::text[], ${op}::text[], ${seq}::text[], ${event_id}::text[], \
         ${created_at_ms}::int8[], ${deleted}::bool[]) \
         as change ({aliases}, document, op, seq, event_id, created_at_ms, deleted) \
         on conflict ({names}) do update set {set_document}_op = excluded._op, _seq = excluded._seq, \
         _event_id = excluded._event_id, _source_ts = excluded._source_ts, _synced_at = excluded._synced_at, \
         _deleted = excluded._deleted returning _event_id) \
         select count(*) from written where _event_id in (select pg_catalog.unnest(${event_id}::text[]))"
    )
}

/// Both parts of the statement see the table as it was before: what was there and was not removed has stayed. A row that somebody
/// else removes meanwhile is counted as well; the next try does not find it any more.
fn remove_sql(place: &str, columns: &[KeyColumn]) -> String {
    let arrays = list(columns, |at, column| format!("pg_catalog.unnest({})", key_array(at, column)));
    let aliases = key_aliases(columns);
    let same: Vec<String> = columns
        .iter()
        .enumerate()
        .map(|(at, column)| format!("mirror.{} = change.k{at}::{}", column.name, column.sql_type()))
        .collect();
    let (keys, same) = (format!("rows from ({arrays}) as change ({aliases})"), same.join(" and "));
    format!(
        "with removed as (delete from {place} as mirror using {keys} where {same} returning 1) \
         select (select count(*) from {place} as mirror, {keys} where {same}) - (select count(*) from removed)"
    )
}

/// The schema as an identifier, unless it is one of the server's or of Tailwater's own.
pub(crate) fn schema_name(name: &str) -> Result<Identifier, Trouble> {
    let schema = identifier("schema", name)?;
    if ["tailwater", "information_schema"].contains(&name) || name.starts_with("pg_") {
        return Err(Trouble::new(
            TroubleKind::Config,
            "sink.postgres.schema_reserved",
            "this schema cannot hold a mirror table: `pg_…`, `information_schema` and `tailwater` belong to Postgres or to \
             Tailwater",
        )
        .advise("name another schema, for example \"public\""));
    }
    Ok(schema)
}

/// The table as an identifier.
pub(crate) fn table_name(name: &str) -> Result<Identifier, Trouble> {
    identifier("table", name)
}

fn identifier(what: &str, name: &str) -> Result<Identifier, Trouble> {
    Identifier::parse(name).map_err(|fault| bad_name(&format!("the {what}'s name"), fault))
}

fn bad_name(what: &str, fault: IdentifierFault) -> Trouble {
    Trouble::new(TroubleKind::Config, "sink.postgres.name", format!("{what} {fault}"))
        .advise("choose another name; names are taken exactly, with their capitals")
}

fn key_identifier(name: &str) -> Result<Identifier, Trouble> {
    let taken = FIXED_COLUMNS.iter().any(|(column, ..)| *column == name) || SYSTEM_COLUMNS.contains(&name);
    if taken {
        return Err(Trouble::new(
            TroubleKind::Config,
            "sink.postgres.key_name",
            format!("the key attribute {name:?} has the name of another column of the mirror table"),
        )
        .advise("a Postgres mirror of this table is not possible; use another sink"));
    }
    Identifier::parse(name).map_err(|fault| {
        Trouble::new(
            TroubleKind::Config,
            "sink.postgres.key_name",
            format!("the key attribute {name:?} cannot be a column: its name {fault}"),
        )
        .advise("a Postgres mirror of this table is not possible; use another sink")
    })
}
