//! The mirror table is made when it is missing, and compared when it is there.

use sqlx::postgres::PgRow;
use sqlx::{AssertSqlSafe, Row};
use tailwater_model::{DeleteMode, Trouble, TroubleKind};

use crate::identifier::Literal;
use crate::mirror_table::{FIXED_COLUMNS, MirrorTable};
use crate::session::{Session, SqlFault};

/// Why there is no usable table.
pub(crate) enum TableFault {
    Sql(SqlFault),
    Unfit(Trouble),
}

impl From<SqlFault> for TableFault {
    fn from(fault: SqlFault) -> Self {
        Self::Sql(fault)
    }
}

impl From<sqlx::Error> for TableFault {
    fn from(error: sqlx::Error) -> Self {
        Self::Sql(SqlFault::Driver(error))
    }
}

const TABLE_SQL: &str = "
select c.relkind::text as kind, c.relpersistence::text as persistence,
    pg_catalog.array_remove(array[
        case when not has_table_privilege(c.oid, 'select') then 'select' end,
        case when not has_table_privilege(c.oid, 'insert') then 'insert' end,
        case when not has_table_privilege(c.oid, 'update') then 'update' end,
        case when not has_table_privilege(c.oid, 'delete') then 'delete' end], null) as missing_rights,
    exists (
        select from pg_index i
        where i.indrelid = c.oid and i.indisunique and i.indisvalid and i.indimmediate
            and i.indpred is null and i.indexprs is null
            and (select pg_catalog.array_agg(a.attname::text order by a.attname::text collate \"C\") from pg_attribute a
                 where a.attrelid = c.oid and a.attnum = any ((i.indkey::int2[])[0:i.indnkeyatts - 1])) = $3::text[]
    ) as unique_key,
    (select pg_catalog.quote_ident(k.conname) from pg_constraint k
        where k.conrelid = c.oid and k.contype = 'p') as primary_key,
    array(
        select pg_catalog.quote_ident(r.rulename) from pg_rewrite r
        where r.ev_class = c.oid and r.ev_enabled in ('O', 'A')
            and (r.ev_type in ('2', '3') or r.ev_type = '4' and $4) order by r.rulename) as rules,
    (c.relreplident = 'n' or c.relreplident = 'd' and not exists (
        select from pg_index i where i.indrelid = c.oid and i.indisprimary)
    ) and exists (
        select from pg_publication_tables t join pg_publication p on p.pubname = t.pubname
        where t.schemaname = n.nspname and t.tablename = c.relname and (p.pubupdate or p.pubdelete and $4)
    ) as has_no_identity,
    array(
        select pg_catalog.format('%I.%I', pn.nspname, p.relname)
        from pg_catalog.pg_partition_tree(c.oid) part join pg_class p on p.oid = part.relid
            join pg_namespace pn on pn.oid = p.relnamespace
        where p.relpersistence <> 'p' and p.oid <> c.oid order by p.oid) as unlogged_partitions
from pg_class c join pg_namespace n on n.oid = c.relnamespace
where n.nspname = $1 and c.relname = $2";

const COLUMNS_SQL: &str = "
select a.attname::text as name, pg_catalog.quote_ident(a.attname) as quoted, format_type(a.atttypid, a.atttypmod) as type, a.attnotnull as required,
    a.atthasdef or a.attidentity <> '' as filled, a.attgenerated <> '' as generated,
    exists (select from pg_constraint k where k.conrelid = c.oid and k.contype = 'p' and a.attnum = any (k.conkey)) as keyed,
    coalesce(l.collisdeterministic, true) as exact
from pg_attribute a join pg_class c on c.oid = a.attrelid join pg_namespace n on n.oid = c.relnamespace
    left join pg_collation l on l.oid = a.attcollation
where n.nspname = $1 and c.relname = $2 and a.attnum > 0 and not a.attisdropped
order by a.attnum";

/// A relation that has the mirror table's name.
pub(crate) struct TableLook {
    /// It is a table, partitioned or not.
    pub(crate) is_table: bool,
    row: PgRow,
}

/// Looks at what has the table's name, if anything has, and whether the role has its rights on it.
pub(crate) async fn look_at_table(session: &mut Session, table: &MirrorTable) -> Result<Option<TableLook>, TableFault> {
    let mut key_names: Vec<&str> = table.key_columns.iter().map(|column| column.name.name()).collect();
    key_names.sort_unstable();
    let query = sqlx::query(TABLE_SQL).bind(table.schema.name()).bind(table.table.name()).bind(key_names);
    let query = query.bind(table.delete == DeleteMode::Hard);
    let Some(row) = session.row(query).await? else { return Ok(None) };
    let kind: String = row.try_get("kind")?;
    let is_table = ["r", "p"].contains(&kind.as_str());
    let missing_rights: Vec<String> = row.try_get("missing_rights")?;
    if is_table && !missing_rights.is_empty() {
        return Err(TableFault::Unfit(denied(table, &missing_rights)));
    }
    Ok(Some(TableLook { is_table, row }))
}

/// Makes the table, or compares it, inside the caller's transaction. `origin` is what the table's comment says.
pub(crate) async fn make_table(session: &mut Session, table: &MirrorTable, origin: &str) -> Result<(), TableFault> {
    let Some(look) = look_at_table(session, table).await? else {
        return create(session, table, origin).await.map_err(TableFault::Sql);
    };
    let query = sqlx::query(COLUMNS_SQL).bind(table.schema.name()).bind(table.table.name());
    let columns = session.rows(query).await?.iter().map(read_column).collect::<Result<Vec<_>, _>>()?;
    let differences = differences(&look, &columns, table)?;
    if differences.is_empty() { Ok(()) } else { Err(TableFault::Unfit(unfit(table, &differences))) }
}

async fn create(session: &mut Session, table: &MirrorTable, origin: &str) -> Result<(), SqlFault> {
    let query = sqlx::query("select 1 from pg_namespace where nspname = $1").bind(table.schema.name());
    if session.row(query).await?.is_none() {
        session.run(AssertSqlSafe(format!("create schema {}", table.schema))).await?;
    }
    let place = table.place();
    let mut columns = String::new();
    for column in &table.key_columns {
        // Compared by bytes, as DynamoDB does, and faster.
        let collation = if column.sql_type() == "text" { " collate \"C\"" } else { "" };
        columns.push_str(&format!("{} {}{collation} not null, ", column.name, column.sql_type()));
    }
    for (name, sql_type, _) in FIXED_COLUMNS {
        let rest = match name {
            "document" => " not null",
            "_synced_at" => " default now()",
            _ => "",
        };
        columns.push_str(&format!("{name} {sql_type}{rest}, "));
    }
    let mut sql = format!("create table {place} ({columns}primary key ({}));", table.key_list());
    sql.push_str(&format!("comment on table {place} is {};", Literal(origin)));
    for (name, _, comment) in FIXED_COLUMNS {
        sql.push_str(&format!("comment on column {place}.{name} is {};", Literal(comment)));
    }
    session.run(AssertSqlSafe(sql)).await
}

/// A column as the catalog has it.
struct Column {
    name: String,
    /// The name as SQL has it.
    quoted: String,
    sql_type: String,
    required: bool,
    filled: bool,
    generated: bool,
    /// It is in the table's primary key.
    keyed: bool,
    exact: bool,
}

fn read_column(row: &PgRow) -> Result<Column, sqlx::Error> {
    Ok(Column {
        name: row.try_get("name")?,
        quoted: row.try_get("quoted")?,
        sql_type: row.try_get("type")?,
        required: row.try_get("required")?,
        filled: row.try_get("filled")?,
        generated: row.try_get("generated")?,
        keyed: row.try_get("keyed")?,
        exact: row.try_get("exact")?,
    })
}

/// What is not as a mirror table has it, each with the statement that mends it, in an order in which they can be run.
fn differences(look: &TableLook, columns: &[Column], table: &MirrorTable) -> Result<Vec<String>, sqlx::Error> {
    let TableLook { is_table, row } = look;
    if !is_table {
        return Ok(vec!["it is not a table".to_owned()]);
    }
    let place = table.place();
    let mut differences = storage_differences(row, &place)?;
    differences.extend(column_differences(columns, table));
    let primary_key: Option<String> = row.try_get("primary_key")?;
    // Columns that a row is written without cannot be in the primary key.
    let foreign: Vec<&Column> = extras(columns, table).filter(|extra| extra.required && !extra.filled).collect();
    let kept_key = primary_key.as_ref().filter(|_| !foreign.iter().any(|extra| extra.keyed));
    if let (Some(key), None) = (&primary_key, kept_key) {
        differences.push(format!(
            "its primary key has columns that no change of the stream fills: alter table {place} drop constraint {key}"
        ));
    }
    for Column { quoted, .. } in foreign {
        differences.push(format!(
            "column {quoted} must not be null and has no default, so no row could be written; give it one, or: \
             alter table {place} alter column {quoted} drop not null"
        ));
    }
    if !row.try_get::<bool, _>("unique_key")? {
        let (keys, what) = (table.key_list(), if kept_key.is_some() { "unique" } else { "primary key" });
        differences.push(format!(
            "it has no primary key or unique constraint on exactly ({keys}): alter table {place} add {what} ({keys})"
        ));
    }
    Ok(differences)
}

/// What would take rows away, or keep them from being written.
fn storage_differences(row: &PgRow, place: &str) -> Result<Vec<String>, sqlx::Error> {
    let mut differences = Vec::new();
    let persistence: String = row.try_get("persistence")?;
    if persistence != "p" {
        // After a crash the server empties such a table, and the progress would not know. I8
        differences.push(format!(
            "it is unlogged or temporary and would be empty after a crash: alter table {place} set logged"
        ));
    }
    for partition in row.try_get::<Vec<String>, _>("unlogged_partitions")? {
        differences.push(format!(
            "its partition {partition} is unlogged or temporary and would be empty after a crash: alter table {partition} set logged"
        ));
    }
    for rule in row.try_get::<Vec<String>, _>("rules")? {
        differences.push(format!(
            "its rule {rule} stands in the way of every write, where a trigger would not: drop rule {rule} on {place}"
        ));
    }
    if row.try_get::<bool, _>("has_no_identity")? {
        differences.push(format!(
            "it is published without a replica identity, so that its rows cannot be changed: \
             alter table {place} replica identity full"
        ));
    }
    Ok(differences)
}

/// The columns that a mirror table has: name, name in SQL, type.
fn expected(table: &MirrorTable) -> Vec<(&str, String, &'static str)> {
    let keys = table.key_columns.iter().map(|column| (column.name.name(), column.name.to_string(), column.sql_type()));
    let fixed = FIXED_COLUMNS.iter().map(|(name, sql_type, _)| (*name, (*name).to_owned(), *sql_type));
    keys.chain(fixed).collect()
}

/// The columns that a mirror table need not have.
fn extras<'a>(columns: &'a [Column], table: &MirrorTable) -> impl Iterator<Item = &'a Column> {
    let expected = expected(table).into_iter().map(|(name, ..)| name.to_owned()).collect::<Vec<_>>();
    columns.iter().filter(move |column| !expected.contains(&column.name))
}

fn column_differences(columns: &[Column], table: &MirrorTable) -> Vec<String> {
    let place = table.place();
    let mut differences = Vec::new();
    for (name, quoted, sql_type) in expected(table) {
        let Some(found) = columns.iter().find(|column| column.name == name) else {
            differences.push(format!("column {quoted} is missing: alter table {place} add column {quoted} {sql_type}"));
            continue;
        };
        if found.generated {
            differences.push(format!(
                "column {quoted} is generated: alter table {place} alter column {quoted} drop expression"
            ));
        }
        if found.sql_type != sql_type {
            // By way of text: not every type can be made of every other.
            differences.push(format!(
                "column {quoted} is {} and must be {sql_type}: \
                 alter table {place} alter column {quoted} type {sql_type} using {quoted}::text::{sql_type}",
                found.sql_type
            ));
        }
        if !found.exact {
            differences.push(format!(
                "column {quoted} takes different keys for the same (nondeterministic collation): \
                 alter table {place} alter column {quoted} type text collate \"C\""
            ));
        }
    }
    differences
}

fn unfit(table: &MirrorTable, differences: &[String]) -> Trouble {
    Trouble::new(
        TroubleKind::Environment,
        "sink.table_shape",
        format!("the table {} cannot be a mirror:\n  - {}", table.place(), differences.join("\n  - ")),
    )
    .advise("change it as the list says, from the top, name another table, or drop it and let Tailwater make it")
}

fn denied(table: &MirrorTable, missing: &[String]) -> Trouble {
    let rights = missing.join(", ");
    Trouble::new(
        TroubleKind::Environment,
        "sink.postgres.denied",
        format!("the role may not {rights} on the table {}", table.place()),
    )
    .advise(format!("have its owner run: grant {rights} on {} to <the role of the URL>", table.place()))
}
