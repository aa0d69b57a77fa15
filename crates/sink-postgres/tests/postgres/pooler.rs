//! Behind a transaction pooler: Debian's PgBouncer, a process for each test, which hands each transaction another session of
//! the server.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, PgConnection};
use tailwater_model::{DeleteMode, Failure, Gap, GapCause, Position, RemoveCause, ServiceTime, Sink, TroubleKind};
use tailwater_sink_postgres::{PostgresSettings, checkpoints, claim};
use tokio::time::{Instant, timeout};

use crate::ground::{
    Database, SHARD, after, batch, group, id, id_key, identity, in_database, insert, put, registration, remove,
    server_url, settings, with_value,
};
use crate::users_code::{LOOK, settings_hold};

/// How long a process may take until it listens.
const LISTENS_WITHIN: Duration = Duration::from_secs(10);

/// A running PgBouncer, which ends with its test.
struct PgBouncer {
    process: Child,
    url: String,
    _folder: tempfile::TempDir,
}

impl PgBouncer {
    /// Starts one in front of the tests' server, with these lines more in its file.
    async fn start(database: &Database, more: &str) -> Self {
        let program = program();
        let folder = tempfile::tempdir().expect("a folder");
        let port = {
            let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
            free.local_addr().expect("has a port").port()
        };
        let server = server_url();
        let (login, place) =
            server.split_once("://").and_then(|(_, rest)| rest.split_once('@')).expect("a user in the URL");
        let (user, password) = login.split_once(':').expect("a password in the URL");
        let (host, server_port) = place.split('/').next().and_then(|place| place.split_once(':')).expect("a port");
        let users = folder.path().join("users");
        std::fs::write(&users, format!("\"{user}\" \"{password}\"\n")).expect("writes");
        // It refuses to run as root, and changes to this account itself.
        let is_root = std::fs::metadata("/proc/self").expect("Linux").uid() == 0;
        let account = if is_root { "user = postgres\n" } else { "" };
        let file = folder.path().join("pgbouncer.ini");
        let text = format!(
            "[databases]\n* = host={host} port={server_port}\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\n\
             unix_socket_dir =\nauth_type = scram-sha-256\nauth_file = {}\nserver_round_robin = 1\n{account}{more}\n",
            users.display()
        );
        std::fs::write(&file, text).expect("writes");
        for (path, mode) in [(folder.path(), 0o755), (&users, 0o644), (&file, 0o644)] {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("its account may read them");
        }
        let mut command = Command::new(&program);
        let process = command.arg(&file).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("starts");
        let (_, name) = database.url.rsplit_once('/').expect("a database");
        let url = format!("postgres://{user}:{password}@127.0.0.1:{port}/{name}");
        let began = Instant::now();
        while tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_err() {
            assert!(began.elapsed() < LISTENS_WITHIN, "{} does not listen", program.display());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Self { process, url, _folder: folder }
    }

    fn settings(&self) -> PostgresSettings {
        settings(&self.url)
    }

    /// Has it open all of its sessions: it opens one when no other is free, and those that it is to have at the least bit by bit.
    async fn open_sessions(&self) {
        let mut held = Vec::new();
        for _ in 0..SESSIONS {
            let mut client = self.connect().await;
            sqlx::raw_sql("begin").execute(&mut client).await.expect("has a session");
            held.push(client);
        }
        for client in &mut held {
            sqlx::raw_sql("rollback").execute(client).await.expect("gives it back");
        }
    }

    async fn connect(&self) -> PgConnection {
        let options: PgConnectOptions = self.url.parse().expect("a URL");
        options.extra_float_digits(None).connect().await.expect("connects")
    }
}

impl Drop for PgBouncer {
    fn drop(&mut self) {
        let _ended = self.process.kill();
        let _waited = self.process.wait();
    }
}

/// `cargo x up` installs it where it may.
fn program() -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain([PathBuf::from("/usr/sbin")]);
    let found = folders.map(|folder| folder.join("pgbouncer")).find(|program| Path::is_file(program));
    found.expect("PgBouncer is missing: `apt-get install pgbouncer`")
}

/// Sessions of the server that the pooler has.
const SESSIONS: usize = 4;
const TRANSACTIONS: &str = "pool_mode = transaction\ndefault_pool_size = 4\nmin_pool_size = 4";

#[tokio::test]
async fn a_pipeline_is_carried_from_session_to_session() {
    in_database(|database| async move {
        let pooler = PgBouncer::start(&database, TRANSACTIONS).await;
        pooler.open_sessions().await;
        let settings = PostgresSettings { delete: DeleteMode::Hard, ..pooler.settings() };
        let mut lanes = claim(&settings, &identity(2), &id_key()).await.expect("claims").lanes;
        database.run(LOOK).await;
        database.run("alter table orders add constraint never check (document ->> 'v' <> '13')").await;
        let mut other = lanes.remove(1);
        let mut lane = lanes.remove(0);
        lane.open().await.expect("opens");
        other.open().await.expect("opens");
        lane.commit(group([registration(SHARD, None)])).await.expect("registers");
        other.commit(group([registration("shard-of-the-other", None)])).await.expect("registers");
        for number in 1..=20 {
            let from = if number == 1 { Position::Start } else { after(number - 1) };
            let item = format!("item-{}", number % 3);
            let event = match number {
                // Refused by the server, and put aside.
                10 => put(number, &item, 13),
                11 => remove(number, &id(&item), None, RemoveCause::Request),
                _ => insert(number, &id(&item), &with_value(&item, number + 100)),
            };
            let step = batch(from, after(number), vec![event]);
            let committed = lane.commit(group([step])).await.unwrap_or_else(|failure| panic!("{number}: {failure:?}"));
            assert_eq!(committed.dead_lettered, u64::from(number == 10));
            other.commit(group([])).await.expect("is ours");
            if number % 7 == 0 {
                assert_eq!(lane.open().await.expect("opens").shards[0].position, after(number));
            }
        }
        let gap = Gap {
            shard: None,
            cause: GapCause::Trimmed,
            after: after(20),
            since: Some(ServiceTime::from_ms(1)),
            until: ServiceTime::from_ms(2),
            detail: "it's \\ lost".into(),
            stop: false,
        };
        let mut step = batch(after(20), after(21), Vec::new());
        step.gap = Some(gap);
        lane.commit(group([step])).await.expect("commits");
        let listed = checkpoints(&settings, "orders to postgres").await.expect("lists").expect("is there");
        assert_eq!((listed.gaps, listed.dead_letters), (1, 1));
        assert!(listed.shards.iter().any(|shard| shard.position == after(21)));
        let rows = database.texts("select concat_ws('|', \"Id\", document ->> 'v') from orders order by 1").await;
        assert_eq!(rows, ["item-0|118", "item-1|119", "item-2|120"]);
        let sessions: usize = database.count("(select distinct pid from looks) as pids").await.parse().expect("a number");
        assert_eq!(sessions, SESSIONS, "the pooler goes round them");
        settings_hold(&database, "\"$user\", public, \"public\"").await;
        // Nothing was left in the sessions for others.
        let mut direct = pooler.connect().await;
        let left: Vec<(String,)> = sqlx::query_as("select name from pg_prepared_statements union all select name from pg_settings where source = 'session' and name not in ('DateStyle', 'TimeZone', 'client_encoding', 'application_name', 'standard_conforming_strings')")
            .persistent(false)
            .fetch_all(&mut *direct.begin().await.expect("begins"))
            .await
            .expect("looks");
        assert_eq!(left, []);
    })
    .await;
}

#[tokio::test]
async fn what_others_leave_in_a_session_changes_nothing() {
    in_database(|database| async move {
        let pooler = PgBouncer::start(&database, "pool_mode = transaction\ndefault_pool_size = 1").await;
        let mut lane = database.ready_lane(&pooler.settings(), &id_key()).await;
        database.run(LOOK).await;
        let mut other = pooler.connect().await;
        let leave = "set row_security = on; set statement_timeout = '2s'; set lock_timeout = '2s'; set search_path = ''; \
                     set client_min_messages = debug5; set default_transaction_isolation = serializable; \
                     prepare sqlx_s_1 as select 1; prepare sqlx_s_2 as select 2";
        sqlx::raw_sql(AssertSqlSafe(leave)).execute(&mut other).await.expect("leaves settings");
        lane.commit(group([batch(Position::Start, after(1), vec![put(1, "a", 1)])])).await.expect("commits");
        settings_hold(&database, "\"$user\", public, \"public\"").await;
        assert_eq!(database.count("orders").await, "1");
        assert_eq!(lane.open().await.expect("opens").shards[0].position, after(1));
    })
    .await;
}

/// The owner stands still within its transaction, with its connection open, and holds the pipeline's rows. The pooler has no
/// session left besides.
#[tokio::test]
async fn an_owner_that_stands_still_is_taken_over() {
    for pool_size in [1, 4] {
        in_database(move |database| async move {
            let pooler =
                PgBouncer::start(&database, &format!("pool_mode = transaction\ndefault_pool_size = {pool_size}")).await;
            let settings = PostgresSettings {
                statement_timeout: Duration::from_secs(3),
                lock_timeout: Duration::from_secs(1),
                ..pooler.settings()
            };
            let mut frozen = database.ready_lane(&settings, &id_key()).await;
            let mut holder = database.connect().await;
            sqlx::raw_sql("begin; lock table orders in access exclusive mode")
                .execute(&mut holder)
                .await
                .expect("locks");
            let mut commit = Box::pin(frozen.commit(group([batch(Position::Start, after(1), vec![put(1, "a", 1)])])));
            assert!(timeout(Duration::from_millis(500), &mut commit).await.is_err(), "it waits for the table");
            sqlx::raw_sql("rollback").execute(&mut holder).await.expect("lets go");
            let mut second = claim(&settings, &identity(1), &id_key()).await.expect("is taken over").lanes.remove(0);
            assert_eq!(second.open().await.expect("opens").shards[0].position, Position::Start);
            let answer = commit.await;
            assert!(answer.is_err(), "{answer:?}");
            let answer = frozen.open().await;
            assert!(matches!(&answer, Err(Failure::Halt(trouble)) if trouble.code == "sink.taken_over"), "{answer:?}");
            second.commit(group([batch(Position::Start, after(1), vec![put(1, "a", 1)])])).await.expect("goes on");
            assert_eq!(database.count("orders").await, "1");
        })
        .await;
    }
}

#[tokio::test]
async fn a_pooler_without_transactions_is_refused_in_its_own_words() {
    in_database(|database| async move {
        let pooler = PgBouncer::start(&database, "pool_mode = statement").await;
        let trouble = claim(&pooler.settings(), &identity(1), &id_key()).await.expect_err("is refused");
        assert_eq!(trouble.kind, TroubleKind::Environment, "{trouble:?}");
        assert!(trouble.message.contains("statement pooling mode"), "{trouble:?}");
        assert!(trouble.advice.as_ref().is_some_and(|advice| advice.contains("transaction")), "{trouble:?}");
    })
    .await;
}
