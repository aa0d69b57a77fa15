//! Quoting of names that come from the user or from DynamoDB, the only place where text is put into SQL.

/// Quotes a name for SQLite: double quotes around it, double quotes inside doubled
/// (<https://www.sqlite.org/lang_keywords.html>). A name with U+0000 has no quoted form, because SQLite reads a
/// statement up to the first one.
pub(crate) fn quote_identifier(name: &str) -> Option<String> {
    (!name.contains('\0')).then(|| format!("\"{}\"", name.replace('"', "\"\"")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::database::{Access, connect};
    use sqlx::AssertSqlSafe;

    #[test]
    fn quotes_are_doubled_and_nul_is_refused() {
        assert_eq!(quote_identifier("Id").as_deref(), Some(r#""Id""#));
        assert_eq!(quote_identifier(r#"a"; drop table "b"#).as_deref(), Some(r#""a""; drop table ""b""#));
        assert_eq!(quote_identifier("a\0b"), None);
    }

    #[tokio::test]
    async fn any_name_comes_back_as_it_was() {
        let directory = tempfile::tempdir().expect("a directory");
        let mut connection = connect(&directory.path().join("names"), Access::Create).await.expect("a database");
        for name in ["select", "a b", "a\"b", "a'b", "[x]", "`", "ä.ö", "a--b", "/*", "?1", ":x", "\n", "\\"] {
            let sql = format!("select 7 as {}", quote_identifier(name).expect("no NUL"));
            let row = sqlx::query(AssertSqlSafe(sql)).fetch_one(&mut connection).await.expect(name);
            assert_eq!(sqlx::Column::name(&sqlx::Row::columns(&row)[0]), name);
        }
    }
}
