//! The mirror table is made when it is missing, and compared when it is there.

use sqlx::postgres::PgRow;
use sqlx::{AssertSqlSafe, Row};
use tailwater_model::{Trouble, TroubleKind};

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
    array(
        select pg_catalog.format('%I.%I', pn.nspname, p.relname)
        from pg_catalog.pg_partition_tree(c.oid) part join pg_class p on p.oid = part.relid
            join pg_namespace pn on pn.oid = p.relnamespace
        where p.relpersistence <> 'p' and p.oid <> c.oid order by p.oid) as unlogged_partitions
from pg_class c join pg_namespace n on n.oid = c.relnamespace
where n.nspname = $1 and c.relname = $2";

const COLUMNS_SQL: &str = "
select a.attname::text as name, format_type(a.atttypid, a.atttypmod) as type, a.attnotnull as required,
    a.atthasdef or a.attidentity <> '' as filled, a.attgenerated <> '' as generated,
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
    let mut differences = relation_differences(&look, table)?;
    differences.extend(column_differences(&columns, table));
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
    sql_type: String,
    required: bool,
    filled: bool,
    generated: bool,
    exact: bool,
}

fn read_column(row: &PgRow) -> Result<Column, sqlx::Error> {
    Ok(Column {
        name: row.try_get("name")?,
        sql_type: row.try_get("type")?,
        required: row.try_get("required")?,
        filled: row.try_get("filled")?,
        generated: row.try_get("generated")?,
        exact: row.try_get("exact")?,
    })
}

fn relation_differences(look: &TableLook, table: &MirrorTable) -> Result<Vec<String>, sqlx::Error> {
    let TableLook { is_table, row } = look;
    let mut differences = Vec::new();
    let persistence: String = row.try_get("persistence")?;
    let unique_key: bool = row.try_get("unique_key")?;
    if !is_table {
        differences.push("it is not a table".to_owned());
        return Ok(differences);
    }
    if persistence != "p" {
        // After a crash the server empties such a table, and the progress would not know. I8
        differences.push(format!(
            "it is unlogged or temporary and would be empty after a crash: alter table {} set logged",
            table.place()
        ));
    }
    for partition in row.try_get::<Vec<String>, _>("unlogged_partitions")? {
        differences.push(format!(
            "its partition {partition} is unlogged or temporary and would be empty after a crash: alter table {partition} set logged"
        ));
    }
    if !unique_key {
        let keys = table.key_list();
        differences.push(format!(
            "it has no primary key or unique constraint on exactly ({keys}): alter table {} add primary key ({keys})",
            table.place()
        ));
    }
    Ok(differences)
}

/// What is not as a mirror table has it, each with its remedy.
fn column_differences(columns: &[Column], table: &MirrorTable) -> Vec<String> {
    let place = table.place();
    let keys = table.key_columns.iter().map(|column| (column.name.name(), column.name.to_string(), column.sql_type()));
    let fixed = FIXED_COLUMNS.iter().map(|(name, sql_type, _)| (*name, (*name).to_owned(), *sql_type));
    let expected: Vec<(&str, String, &str)> = keys.chain(fixed).collect();
    let mut differences = Vec::new();
    for (name, quoted, sql_type) in &expected {
        let Some(found) = columns.iter().find(|column| column.name == *name) else {
            differences.push(format!("column {quoted} is missing: alter table {place} add column {quoted} {sql_type}"));
            continue;
        };
        if found.sql_type != *sql_type {
            differences.push(format!(
                "column {quoted} is {} and must be {sql_type}: alter table {place} alter column {quoted} type {sql_type}",
                found.sql_type
            ));
        }
        if found.generated {
            differences.push(format!(
                "column {quoted} is generated: alter table {place} alter column {quoted} drop expression"
            ));
        }
        if !found.exact {
            differences.push(format!(
                "column {quoted} takes different keys for the same (nondeterministic collation): \
                 alter table {place} alter column {quoted} type text collate \"C\""
            ));
        }
    }
    for extra in columns.iter().filter(|column| !expected.iter().any(|(name, ..)| column.name == *name)) {
        if extra.required && !extra.filled {
            differences.push(format!(
                "column {:?} must not be null and has no default, so no row could be written: give it one, or drop not null",
                extra.name
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
    .advise("change it as the list says, name another table, or drop it and let Tailwater make it")
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
