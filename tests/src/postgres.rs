//! A database of one test, with a role of its own: what `tailwater` may do there is what any owner may do, not more.

use std::collections::BTreeMap;
use std::str::FromStr;

use anyhow::{Context, Result};
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use sqlx::{AssertSqlSafe, Connection, PgConnection, Row};

use crate::endpoints;
use crate::plain::Plain;
use crate::table::{PARTITION_KEY, SORT_KEY, unique_name};

/// Part of every password that the tests give out. It must never be seen in any output.
pub const CANARY: &str = "canary-7Yq2pZ";
/// Connections of the test itself to its database; the servers allow 100 in all.
const CONNECTIONS_MAX: u32 = 3;

/// One test's database.
pub struct Database {
    /// Connections as superuser: the test looks on from outside.
    pub admin: PgPool,
    name: String,
    host: String,
    port: u16,
}

/// A row of the mirror table.
#[derive(Clone, Debug)]
pub struct MirrorRow {
    /// The key columns.
    pub key: [Plain; 2],
    /// The whole item.
    pub document: Option<Plain>,
    /// The same as text, as the database prints it.
    pub document_text: Option<String>,
    /// The last change's name.
    pub op: String,
    /// The last change's event.
    pub event_id: String,
    /// Whether the item is gone from the source.
    pub deleted: bool,
}

impl Database {
    /// Makes a database and a role of the same name that owns it.
    pub async fn create() -> Result<Self> {
        let name = unique_name("tests");
        let options = PgConnectOptions::from_str(&endpoints::postgres_url()).context("the URL of PostgreSQL")?;
        let mut admin = PgConnection::connect_with(&options)
            .await
            .context("PostgreSQL does not answer: is it there (`cargo x up`)?")?;
        for sql in [
            format!("create role {name} login password '{}'", password_of(&name).replace('\'', "''")),
            format!("create database {name} owner {name}"),
        ] {
            sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut admin).await.context("a database for the test")?;
        }
        admin.close().await?;
        let own = options.clone().database(&name);
        let admin = PgPoolOptions::new().max_connections(CONNECTIONS_MAX).connect_with(own).await?;
        Ok(Self { admin, name, host: options.get_host().to_owned(), port: options.get_port() })
    }

    /// The URL for `tailwater`, with the canary in its password.
    pub fn url(&self) -> String {
        self.url_at(&self.host, self.port)
    }

    /// The same through a proxy on a loopback port.
    pub fn url_through(&self, port: u16) -> String {
        self.url_at("127.0.0.1", port)
    }

    fn url_at(&self, host: &str, port: u16) -> String {
        format!("postgres://{}:{}@{host}:{port}/{}", self.name, encoded(&password_of(&self.name)), self.name)
    }

    /// Where the server itself listens.
    pub fn address(&self) -> (String, u16) {
        (self.host.clone(), self.port)
    }

    /// The name of the database and of its role.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Runs statements as superuser.
    pub async fn execute(&self, sql: &str) -> Result<()> {
        let done = sqlx::raw_sql(AssertSqlSafe(sql)).execute(&self.admin).await;
        done.with_context(|| format!("cannot execute {sql}")).map(|_| ())
    }

    /// A number from the database.
    pub async fn number(&self, sql: &str) -> Result<i64> {
        sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(&self.admin).await.with_context(|| format!("cannot ask {sql}"))
    }

    /// Rows of texts from the database, for checks and messages.
    pub async fn texts(&self, sql: &str) -> Result<Vec<String>> {
        sqlx::query_scalar(AssertSqlSafe(sql)).fetch_all(&self.admin).await.with_context(|| format!("cannot ask {sql}"))
    }

    /// Ends every session of the test's role, as an operator would. Returns how many there were.
    pub async fn terminate_sessions(&self) -> Result<i64> {
        let sql = format!(
            "select count(*) filter (where pg_terminate_backend(pid)) from pg_stat_activity where usename = '{}'",
            self.name
        );
        self.number(&sql).await
    }

    /// Whether the mirror table is there.
    pub async fn has_mirror(&self, table: &str) -> Result<bool> {
        Ok(self.number(&format!("select count(*) from pg_tables where tablename = '{table}'")).await? > 0)
    }

    /// All rows of the mirror table, ordered by key.
    pub async fn mirror(&self, table: &str) -> Result<Vec<MirrorRow>> {
        let types: BTreeMap<String, String> = sqlx::query_as::<_, (String, String)>(
            "select column_name::text, data_type::text from information_schema.columns where table_name = $1",
        )
        .bind(table)
        .fetch_all(&self.admin)
        .await?
        .into_iter()
        .collect();
        let column = |name: &str| {
            let kind = types.get(name).with_context(|| format!("the mirror has no column {name}: {types:?}"))?;
            anyhow::Ok(match kind.as_str() {
                "bytea" => format!("to_json(replace(encode(\"{name}\", 'base64'), E'\\n', ''))::text"),
                _ => format!("to_json(\"{name}\")::text"),
            })
        };
        let [partition, sort] = [column(PARTITION_KEY)?, column(SORT_KEY)?];
        let sql = format!(
            "select {partition}, {sort}, document::text, _op, _event_id, _deleted from \"{table}\" order by 1, 2"
        );
        let rows = sqlx::query(AssertSqlSafe(sql)).fetch_all(&self.admin).await.context("the mirror table")?;
        let parse = |row: sqlx::postgres::PgRow| {
            let document_text: Option<String> = row.try_get(2)?;
            Ok(MirrorRow {
                key: [Plain::parse(row.try_get(0)?)?, Plain::parse(row.try_get(1)?)?],
                document: document_text.as_deref().map(Plain::parse).transpose()?,
                document_text,
                op: row.try_get(3)?,
                event_id: row.try_get(4)?,
                deleted: row.try_get(5)?,
            })
        };
        rows.into_iter().map(parse).collect()
    }
}

/// With every character that means something in a URL, in SQL or in a shell.
fn password_of(name: &str) -> String {
    format!("{CANARY}-{name}/#?@%:&=+;,!*'()[]{{}}<>|\\^`\"~$ é")
}

/// As it stands in a URL: all but letters, digits and `-` by their bytes.
fn encoded(text: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    text.bytes()
        .map(|byte| if is_plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

impl Drop for Database {
    /// Drops database and role from a thread of its own: the test's runtime may be ending.
    fn drop(&mut self) {
        let name = std::mem::take(&mut self.name);
        let dropping = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async {
                let mut admin = PgConnection::connect(&endpoints::postgres_url()).await?;
                for sql in [format!("drop database {name} with (force)"), format!("drop role {name}")] {
                    sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut admin).await?;
                }
                anyhow::Ok(())
            })
        });
        // What stays behind disturbs nobody, its name is unique; a failing test has better things to say.
        let _ = dropping.join();
    }
}
