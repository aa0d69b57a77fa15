//! The mark on a mirror table. SQLite gives a table no identity; so one that was dropped and made again, or that took the name of
//! another, is known by the mark that it lacks (I11). The mark is a trigger that never fires: it goes with its table, and comes back with
//! its dump.

use sqlx::AssertSqlSafe;
use sqlx::sqlite::SqliteConnection;

use crate::database::Fault;
use crate::identifier::quote_identifier;

/// The marks of all pipelines that the table has.
pub(crate) async fn marks(connection: &mut SqliteConnection, table: &str) -> Result<Vec<String>, Fault> {
    let found: Vec<(String,)> = sqlx::query_as(
        "select name from sqlite_schema where type = 'trigger' and tbl_name = ? collate nocase and name glob 'tailwater_mark_*'",
    )
    .bind(table)
    .fetch_all(connection)
    .await?;
    Ok(found.into_iter().map(|(name,)| name).collect())
}

/// Marks the table anew, in the place of the marks that it has, and gives the mark.
pub(crate) async fn put_mark(connection: &mut SqliteConnection, table: &str) -> Result<String, Fault> {
    for mark in marks(connection, table).await? {
        let drop = format!("drop trigger {}", quote_identifier(&mark).unwrap_or_default());
        sqlx::raw_sql(AssertSqlSafe(drop)).execute(&mut *connection).await?;
    }
    let (mark,): (String,) =
        sqlx::query_as("select 'tailwater_mark_' || lower(hex(randomblob(8)))").fetch_one(&mut *connection).await?;
    // The name of the table was checked when its statements were made.
    let (name, table) = (quote_identifier(&mark).unwrap_or_default(), quote_identifier(table).unwrap_or_default());
    let make = format!("create trigger {name} after delete on {table} when false begin select 1; end");
    sqlx::raw_sql(AssertSqlSafe(make)).execute(connection).await?;
    Ok(mark)
}

/// Whether the table is the one that the pipeline has marked, if it has.
pub(crate) async fn is_marked(connection: &mut SqliteConnection, pipeline: &str, table: &str) -> Result<bool, Fault> {
    let (is_marked,): (bool,) = sqlx::query_as(
        "select not exists (select 1 from tailwater_targets as target where pipeline = ? and mark is not null and not exists (\
             select 1 from sqlite_schema where type = 'trigger' and name = target.mark and tbl_name = ? collate nocase))",
    )
    .bind(pipeline)
    .bind(table)
    .fetch_one(connection)
    .await?;
    Ok(is_marked)
}
