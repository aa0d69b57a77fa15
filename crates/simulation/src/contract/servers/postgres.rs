//! The interleavings on a real PostgreSQL, in a schema of their own.

use std::ops::AsyncFnOnce;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use sqlx::{AssertSqlSafe, Connection, PgConnection, Row};

use super::{Answer, Ask, LOCK_TIMEOUT, Server, Session, a_moment};

/// Where the server is, unless `TAILWATER_TEST_POSTGRES` names another: a superuser's URL.
const SERVER: &str = "postgres://tailwater:tailwater@127.0.0.1:25432/tailwater";

super::every_interleaving!(stand);

/// A schema with the table, and a trigger that holds commits back: `COMMIT` itself waits then.
pub(super) struct OnPostgres {
    schema: String,
}

fn server_url() -> String {
    std::env::var("TAILWATER_TEST_POSTGRES").unwrap_or_else(|_| SERVER.to_owned())
}

async fn run_at_server(sql: &str) {
    let mut connection =
        PgConnection::connect(&server_url()).await.unwrap_or_else(|error| panic!("the test server: {error}"));
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut connection).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
}

fn stand(test: impl AsyncFnOnce(&OnPostgres)) {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let schema = format!("contract_{}_{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
    let in_real_time = |work: &mut dyn FnMut(&tokio::runtime::Runtime)| {
        work(&tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime"));
    };
    let drop_it = format!("drop schema if exists {schema} cascade");
    let make_it = format!(
        "{drop_it}; create schema {schema}; set search_path to {schema}; \
         create table rows (id text primary key, value int8 not null); \
         create table hold (seconds float8); insert into hold values (0); \
         create function hold() returns trigger language plpgsql as $$ \
         begin perform pg_sleep(seconds) from hold where seconds > 0; return null; end $$; \
         create constraint trigger hold after update on rows deferrable initially deferred \
         for each row execute function hold()"
    );
    let server = OnPostgres { schema };
    in_real_time(&mut |runtime| runtime.block_on(run_at_server(&make_it)));
    let mut test = Some(test);
    let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        in_real_time(&mut |runtime| {
            if let Some(test) = test.take() {
                runtime.block_on(async { test(&server).await });
            }
        });
    }));
    in_real_time(&mut |runtime| runtime.block_on(run_at_server(&drop_it)));
    if let Err(panic) = ended {
        std::panic::resume_unwind(panic);
    }
}

impl Server for OnPostgres {
    type Session = PgConnection;

    async fn connect(&self) -> PgConnection {
        let mut session = PgConnection::connect(&server_url()).await.expect("the test server");
        let set = format!("set search_path to {}; set lock_timeout = {}", self.schema, LOCK_TIMEOUT.as_millis());
        sqlx::raw_sql(AssertSqlSafe(set)).execute(&mut session).await.expect("settings");
        session
    }
}

impl Session for PgConnection {
    async fn ask(&mut self, ask: Ask) -> Answer {
        let (sql, gives_value) = match ask {
            Ask::Begin => ("begin".to_owned(), false),
            Ask::Commit => ("commit".to_owned(), false),
            Ask::Savepoint => ("savepoint here".to_owned(), false),
            Ask::RollbackToSavepoint => ("rollback to savepoint here".to_owned(), false),
            Ask::Read(id) => (format!("select value from rows where id = '{id}'"), true),
            Ask::Insert(id, new) => (format!("insert into rows values ('{id}', {new})"), false),
            Ask::Upsert(rows) => {
                let values: Vec<_> = rows.iter().map(|(id, new)| format!("('{id}', {new})")).collect();
                let values = values.join(", ");
                let sql =
                    format!("insert into rows values {values} on conflict (id) do update set value = excluded.value");
                (sql, false)
            }
            Ask::UpsertNewer(id, new) => (upsert_newer(id, new), false),
            Ask::Bump(id) => (format!("update rows set value = value + 1 where id = '{id}' returning value"), true),
            Ask::RemoveAt(id, at) => (format!("delete from rows where id = '{id}' and value = {at}"), false),
            Ask::RemoveBehindGuard(guard, new, id) => {
                let guard = upsert_newer(guard, new);
                (format!("with won as ({guard} returning 1) delete from rows using won where id = '{id}'"), false)
            }
        };
        let done = if gives_value {
            let row = sqlx::raw_sql(AssertSqlSafe(sql)).fetch_optional(&mut *self).await;
            row.map(|row| row.map_or(-1, |row| row.get(0)))
        } else {
            let done = sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut *self).await;
            done.map(|done| i64::try_from(done.rows_affected()).expect("few rows"))
        };
        done.map_err(|error| match error.as_database_error().and_then(|error| error.code()) {
            Some(state) => state.into_owned(),
            None => panic!("no answer: {error}"),
        })
    }

    async fn commit_late_and_die(mut self, takes: Duration) {
        // In another session, for this one is in a transaction.
        let hold = format!("update hold set seconds = {}", takes.as_secs_f64());
        let schema = sqlx::raw_sql("show search_path").fetch_one(&mut self).await.expect("a schema");
        let schema: String = schema.get(0);
        run_at_server(&format!("set search_path to {schema}; {hold}")).await;
        let commit = sqlx::raw_sql("commit").execute(&mut self);
        assert!(tokio::time::timeout(Duration::from_millis(200), commit).await.is_err(), "the commit is held");
        drop(self);
        a_moment().await;
        run_at_server(&format!("set search_path to {schema}; update hold set seconds = 0")).await;
    }
}

fn upsert_newer(id: &str, new: i64) -> String {
    format!(
        "insert into rows values ('{id}', {new}) on conflict (id) do update set value = excluded.value \
         where rows.value < excluded.value"
    )
}
