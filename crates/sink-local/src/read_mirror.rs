//! Reads a mirror back, for those who compare it with its source.

use std::path::Path;

use sqlx::AssertSqlSafe;
use tailwater_model::{Trouble, TroubleKind};

use crate::database::{Access, Fault, connect};
use crate::identifier::quote_identifier;

/// The document of every row of the mirror `table` in the SQLite database at `path`, in no order that means anything.
/// Rows that a soft delete has marked are among them. All of it is held in memory: meant for small tables.
pub async fn read_mirror(path: &Path, table: &str) -> Result<Vec<String>, Trouble> {
    let Some(quoted) = quote_identifier(table) else {
        let message = "the name of a table in SQLite cannot hold U+0000";
        return Err(Trouble::new(TroubleKind::Config, "sink.sqlite.name", message));
    };
    let documents = async {
        let mut connection = connect(path, Access::Read).await?;
        let sql = format!("select document from {quoted}");
        sqlx::query_scalar(AssertSqlSafe(sql)).fetch_all(&mut connection).await.map_err(Fault::from)
    };
    documents.await.map_err(|fault| fault.into_trouble(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn documents_come_back_as_they_are_and_a_missing_table_is_told() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("mirror.sqlite");
        let mut connection = connect(&path, Access::Create).await.expect("a database");
        let rows = r#"create table "a""b" (document text); insert into "a""b" values ('{"n":1.50}'), ('{}')"#;
        sqlx::raw_sql(rows).execute(&mut connection).await.expect("two rows");
        assert_eq!(read_mirror(&path, "a\"b").await, Ok(vec![r#"{"n":1.50}"#.to_owned(), "{}".to_owned()]));
        assert!(read_mirror(&path, "absent").await.is_err());
        assert!(read_mirror(&path, "a\0").await.is_err());
    }
}
