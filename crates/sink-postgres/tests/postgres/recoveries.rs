//! Faults that pass: the lane opens again and carries on.

use std::time::Duration;

use sqlx::PgConnection;
use tailwater_model::{Committed, Failure, Group, Position, Sink};
use tailwater_sink_postgres::{PostgresLane, PostgresSettings, claim};

use crate::ground::{Database, after, batch, group, id_key, identity, in_database, put};

fn two() -> Group {
    group([batch(Position::Start, after(2), vec![put(1, "a", 1), put(2, "b", 2)])])
}

/// The answer is to open again, with this code, and nothing was written; once the fault is gone the lane carries on.
async fn passes(
    database: &Database,
    lane: &mut PostgresLane,
    answer: Result<Committed, Failure>,
    code: &str,
    heal: &str,
) {
    let Err(Failure::Reopen(trouble)) = answer else { panic!("{answer:?}") };
    assert_eq!(trouble.code, code, "{trouble:?}");
    assert_eq!(database.text("select position from tailwater.shards").await, "start");
    let answer = lane.commit(two()).await;
    assert!(matches!(&answer, Err(Failure::Reopen(trouble)) if trouble.code == "sink.not_open"), "{answer:?}");
    database.run(heal).await;
    assert_eq!(lane.open().await.expect("opens").shards[0].position, Position::Start);
    lane.commit(two()).await.expect("commits");
    assert_eq!(database.count("orders where document ->> 'v' in ('1', '2')").await, "2");
}

fn trigger(body: &str) -> String {
    format!(
        "create function faulty() returns trigger language plpgsql as $$ begin {body}; return new; end $$; \
         create trigger faulty before insert on orders for each row execute function faulty()"
    )
}

const HEAL: &str = "drop function faulty cascade";

async fn exec(connection: &mut PgConnection, sql: &'static str) {
    sqlx::raw_sql(sql).execute(connection).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
}

#[tokio::test]
async fn a_serialization_failure() {
    in_database(|database| async move {
        let mut lane = database.ready_lane(&database.settings(), &id_key()).await;
        database.run(&trigger("raise exception 'could not serialize' using errcode = '40001'")).await;
        let answer = lane.commit(two()).await;
        passes(&database, &mut lane, answer, "sink.postgres.conflict", HEAL).await;
    })
    .await;
}

#[tokio::test]
async fn a_deadlock() {
    in_database(|database| async move {
        let mut lane = database.ready_lane(&database.settings(), &id_key()).await;
        database.run("insert into orders (\"Id\", document) values ('a', '{}'), ('b', '{}')").await;
        let mut other = database.connect().await;
        // The other one waits longer before it looks for a deadlock, so the lane is the victim.
        exec(&mut other, "set deadlock_timeout = '1min'; begin; update orders set _op = 'x' where \"Id\" = 'b'").await;
        let crossing = tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(300)).await;
            exec(&mut other, "update orders set _op = 'x' where \"Id\" = 'a'; rollback").await;
        });
        let answer = lane.commit(two()).await;
        crossing.await.expect("no panic");
        let told = format!("{:?}", answer.as_ref().err());
        assert!(told.contains("deadlock detected") && !told.contains("trigger"), "{told}");
        passes(&database, &mut lane, answer, "sink.postgres.conflict", "select 1").await;
    })
    .await;
}

#[tokio::test]
async fn a_statement_that_takes_too_long() {
    in_database(|database| async move {
        let settings = PostgresSettings { statement_timeout: Duration::from_millis(500), ..database.settings() };
        let mut lane = database.ready_lane(&settings, &id_key()).await;
        database.run(&trigger("perform pg_sleep(30)")).await;
        let answer = lane.commit(two()).await;
        passes(&database, &mut lane, answer, "sink.postgres.statement_timeout", HEAL).await;
    })
    .await;
}

#[tokio::test]
async fn a_lock_that_is_not_given() {
    in_database(|database| async move {
        let settings = PostgresSettings { lock_timeout: Duration::from_millis(300), ..database.settings() };
        let mut lane = database.ready_lane(&settings, &id_key()).await;
        let mut other = database.connect().await;
        exec(&mut other, "begin; lock table orders in access exclusive mode").await;
        let answer = lane.commit(two()).await;
        exec(&mut other, "rollback").await;
        passes(&database, &mut lane, answer, "sink.postgres.lock_timeout", "select 1").await;
    })
    .await;
}

/// The server says which row it waited for; that is no trigger of the user's.
#[tokio::test]
async fn a_row_that_another_session_has() {
    in_database(|database| async move {
        let settings = PostgresSettings { lock_timeout: Duration::from_millis(300), ..database.settings() };
        let mut lane = database.ready_lane(&settings, &id_key()).await;
        database.run("insert into orders (\"Id\", document) values ('a', '{}')").await;
        let mut other = database.connect().await;
        exec(&mut other, "begin; update orders set _op = 'x' where \"Id\" = 'a'").await;
        let answer = lane.commit(two()).await;
        exec(&mut other, "rollback").await;
        let told = format!("{:?}", answer.as_ref().err());
        assert!(told.contains("lock timeout") && !told.contains("trigger"), "{told}");
        passes(&database, &mut lane, answer, "sink.postgres.lock_timeout", "select 1").await;
    })
    .await;
}

#[tokio::test]
async fn a_terminated_session() {
    in_database(|database| async move {
        let mut lane = database.ready_lane(&database.settings(), &id_key()).await;
        let ended = "select pg_terminate_backend(pid)::text from pg_stat_activity \
                     where application_name = 'tailwater/orderstopostgres/0' and datname = current_database()";
        assert_eq!(database.texts(ended).await, ["true"]);
        tokio::time::sleep(Duration::from_millis(200)).await;
        let answer = lane.commit(two()).await;
        let Err(Failure::Reopen(trouble)) = &answer else { panic!("{answer:?}") };
        assert!(["sink.postgres.unavailable", "sink.postgres.connection"].contains(&trouble.code), "{trouble:?}");
        let code = trouble.code;
        passes(&database, &mut lane, answer, code, "select 1").await;
    })
    .await;
}

#[tokio::test]
async fn a_session_that_ends_within_a_transaction() {
    in_database(|database| async move {
        let mut lane = database.ready_lane(&database.settings(), &id_key()).await;
        database.run(&trigger("perform pg_terminate_backend(pg_backend_pid())")).await;
        let answer = lane.commit(two()).await;
        passes(&database, &mut lane, answer, "sink.postgres.unavailable", HEAL).await;
    })
    .await;
}

#[tokio::test]
async fn a_full_disk() {
    in_database(|database| async move {
        let mut lane = database.ready_lane(&database.settings(), &id_key()).await;
        database.run(&trigger("raise exception 'could not extend file' using errcode = '53100'")).await;
        let answer = lane.commit(two()).await;
        passes(&database, &mut lane, answer, "sink.postgres.resources", HEAL).await;
    })
    .await;
}

#[tokio::test]
async fn a_server_that_became_read_only() {
    in_database(|database| async move {
        let settings = database.settings();
        let mut lane = database.ready_lane(&settings, &id_key()).await;
        let name = database.name();
        database.run(&trigger("set transaction read only; update tailwater.lanes set epoch = 0")).await;
        let answer = lane.commit(two()).await;
        database.run(&format!("alter database {name} set default_transaction_read_only = on")).await;
        let opened = lane.open().await;
        let Err(Failure::Reopen(trouble)) = &opened else { panic!("{opened:?}") };
        assert_eq!(trouble.code, "sink.postgres.read_only");
        assert!(trouble.message.contains("set to read-only"), "{}", trouble.message);
        let refused = claim(&settings, &identity(1), &id_key()).await.expect_err("a claim is refused at once");
        assert_eq!(refused.code, "sink.postgres.read_only");
        let heal =
            format!("set transaction read write; alter database {name} reset default_transaction_read_only; {HEAL}");
        passes(&database, &mut lane, answer, "sink.postgres.read_only", &heal).await;
    })
    .await;
}

#[tokio::test]
async fn a_server_that_cannot_be_reached_for_a_while() {
    in_database(|database| async move {
        let mut lane = database.ready_lane(&database.settings(), &id_key()).await;
        let name = database.name();
        database.run(&format!("alter database {name} connection limit 0")).await;
        let (role, url) = database.role().await;
        database.run(&format!("grant all on schema tailwater, public to {role}; grant all on all tables in schema tailwater, public to {role}")).await;
        // A superuser is not limited, so the lane of an ordinary role meets it.
        let limited = crate::ground::settings(&url);
        let refused = claim(&limited, &identity(1), &id_key()).await.expect_err("too many connections");
        assert_eq!(refused.code, "sink.postgres.resources");
        database.run(&format!("alter database {name} connection limit -1")).await;
        let mut limited = database.lane(&limited, &id_key()).await;
        limited.open().await.expect("opens");
        database.run(&format!("alter database {name} connection limit 0")).await;
        let opened = limited.open().await;
        assert!(matches!(&opened, Err(Failure::Reopen(trouble)) if trouble.code == "sink.postgres.resources"), "{opened:?}");
        database.run(&format!("alter database {name} connection limit -1")).await;
        assert_eq!(limited.open().await.expect("opens").shards.len(), 1);
        assert!(matches!(lane.open().await, Err(Failure::Halt(_))));
    })
    .await;
}
