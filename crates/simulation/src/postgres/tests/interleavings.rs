//! What was measured on a real server, told again by the model.

mod rows;

use std::sync::Arc;
use std::time::Duration;

use tailwater_model::{Item, Key, KeyAttribute, KeyKind, KeySchema};
use tokio::time::{Instant, sleep};

use crate::postgres::backend::{Command, SessionTimes};
use crate::postgres::executing::{Change, Executing};
use crate::postgres::session::{ModelSession, SessionFault};
use crate::postgres::{Faults, LaneRow, MirrorRow, ModelServer, RowKey, RowValue, SqlError};

const STATEMENT_TIMEOUT: Duration = Duration::from_secs(30);
const LOCK_TIMEOUT: Duration = Duration::from_secs(10);
const GRACE: Duration = Duration::from_secs(10);

async fn connect(server: &ModelServer) -> ModelSession {
    let times = SessionTimes { statement_timeout: STATEMENT_TIMEOUT, lock_timeout: LOCK_TIMEOUT };
    ModelSession::connect(server, "test".into(), times, GRACE, STATEMENT_TIMEOUT + GRACE).await.expect("a session")
}

fn key(table: &str, id: &str) -> RowKey {
    let schema = KeySchema { partition: KeyAttribute { name: "id".into(), kind: KeyKind::S }, sort: None };
    let item = Item::parse(format!(r#"{{"id":{{"S":"{id}"}}}}"#).into()).expect("an item");
    let key: Key = schema.read(&item).expect("a key");
    RowKey::Mirror { table: table.into(), key }
}

fn row(document: &str, sequence_number: &str, deleted: bool) -> RowValue {
    RowValue::Mirror(MirrorRow {
        document: document.into(),
        op: "insert".into(),
        sequence_number: sequence_number.into(),
        event_id: "e".into(),
        created_at_ms: 0,
        deleted,
    })
}

fn version(value: &RowValue) -> u64 {
    match value {
        RowValue::Mirror(row) => row.sequence_number.parse().expect("a number"),
        _ => panic!("not a mirror row"),
    }
}

fn lane() -> RowKey {
    RowKey::Lane { pipeline: "p".into(), lane: 0 }
}

/// The lane's epoch stands for progress here, too.
async fn bump(sql: Executing) -> Result<i64, SqlError> {
    let raised = |value: &RowValue| match value {
        RowValue::Lane(row) => Change::Put(RowValue::Lane(LaneRow { epoch: row.epoch + 1, ..row.clone() })),
        _ => Change::Keep,
    };
    sql.change(&lane(), raised).await?;
    let newest = sql.lock(&lane()).await?;
    Ok(epoch_of(newest.as_deref()))
}

fn epoch_of(value: Option<&RowValue>) -> i64 {
    match value {
        Some(RowValue::Lane(row)) => row.epoch,
        _ => 0,
    }
}

async fn begin(session: &mut ModelSession) {
    session.command(Command::Begin).await.expect("begin");
}

async fn commit(session: &mut ModelSession) {
    session.command(Command::Commit).await.expect("commit");
}

async fn insert(session: &mut ModelSession, key: RowKey, value: RowValue) -> Result<(), SessionFault> {
    session.run(true, move |sql| async move { sql.insert(&key, value).await }).await
}

async fn upsert(session: &mut ModelSession, key: RowKey, value: RowValue) -> Result<bool, SessionFault> {
    let excluded = value.clone();
    session.run(true, move |sql| async move { sql.upsert(&key, value, |_| Some(excluded)).await }).await
}

async fn read(session: &mut ModelSession, key: RowKey) -> Option<Arc<RowValue>> {
    session.run(false, move |sql| async move { Ok(sql.read(&key)) }).await.expect("a read")
}

async fn with_lane(server: &ModelServer, epoch: i64) {
    let mut session = connect(server).await;
    insert(&mut session, lane(), RowValue::Lane(LaneRow { epoch, owner: "me".into(), brake: None }))
        .await
        .expect("a lane");
}

fn state_of(fault: SessionFault) -> &'static str {
    match fault {
        SessionFault::Sql(error) => error.state,
        other => panic!("not an answer: {other:?}"),
    }
}

/// M1, M2.
#[tokio::test(start_paused = true)]
async fn a_commit_after_an_error_answers_well_and_keeps_nothing() {
    let server = ModelServer::new(1);
    let mut session = connect(&server).await;
    begin(&mut session).await;
    insert(&mut session, key("t", "a"), row("{}", "1", false)).await.expect("inserted");
    let twice = insert(&mut session, key("t", "a"), row("{}", "2", false)).await.expect_err("a duplicate");
    assert_eq!(state_of(twice), "23505");
    let after = upsert(&mut session, key("t", "b"), row("{}", "3", false)).await.expect_err("aborted");
    assert_eq!(state_of(after), "25P02");
    commit(&mut session).await;
    assert_eq!((server.mirror_rows(), server.commits(), server.open_transactions()), (vec![], 0, 0));
}

/// M3, M4, M5: the third unknown outcome.
#[tokio::test(start_paused = true)]
async fn a_late_commit_is_not_read_and_is_waited_for() {
    let server = ModelServer::new(1);
    with_lane(&server, 1).await;
    let late = Duration::from_secs(3);
    let mut first = connect(&server).await;
    begin(&mut first).await;
    first.run(true, bump).await.expect("bumped");
    server.set_faults(Faults { commit_late: 1.0, commit_late_by: late..late, ..Faults::default() });
    assert_eq!(first.command(Command::Commit).await, Err(SessionFault::Lost));
    server.heal();
    let began = Instant::now();
    let mut second = connect(&server).await;
    let seen = read(&mut second, lane()).await;
    assert_eq!((epoch_of(seen.as_deref()), began.elapsed()), (1, Duration::ZERO), "a plain read sees the old state");
    begin(&mut second).await;
    let epoch = second.run(true, bump).await.expect("bumped");
    assert_eq!((epoch, began.elapsed()), (3, late), "a bump waits and sees the new state");
    commit(&mut second).await;
    // Whoever still holds the old epoch changes nothing.
    let fence = |sql: Executing| async move {
        let mine = |value: &RowValue| if epoch_of(Some(value)) == 2 { Change::Remove } else { Change::Keep };
        sql.change(&lane(), mine).await
    };
    assert_eq!(second.run(true, fence).await, Ok(false));
}

#[tokio::test(start_paused = true)]
async fn a_commit_is_applied_though_its_answer_is_lost_or_not_at_all() {
    for (faults, expected) in [
        (Faults { commit_reply_lost: 1.0, ..Faults::default() }, 1),
        (Faults { commit_lost: 1.0, ..Faults::default() }, 0),
    ] {
        let server = ModelServer::new(1);
        let mut session = connect(&server).await;
        begin(&mut session).await;
        insert(&mut session, key("t", "a"), row("{}", "1", false)).await.expect("inserted");
        server.set_faults(faults);
        assert_eq!(session.command(Command::Commit).await, Err(SessionFault::Lost));
        assert_eq!((server.mirror_rows().len(), server.open_transactions()), (expected, 0));
        assert_eq!(session.command(Command::Begin).await, Err(SessionFault::Lost), "the connection is gone");
    }
}

#[tokio::test(start_paused = true)]
async fn a_wait_for_a_lock_ends_with_the_time_out_and_a_lost_session_keeps_its_locks() {
    let server = ModelServer::new(1);
    with_lane(&server, 1).await;
    server.set_faults(Faults { half_open: 1.0, ..Faults::default() });
    let mut lost = connect(&server).await;
    begin(&mut lost).await;
    lost.run(true, bump).await.expect("bumped");
    drop(lost);
    let began = Instant::now();
    let mut second = connect(&server).await;
    assert_eq!(second.run(true, bump).await.map_err(state_of), Err("55P03"));
    assert_eq!(began.elapsed(), LOCK_TIMEOUT);
    sleep(STATEMENT_TIMEOUT - LOCK_TIMEOUT).await;
    assert_eq!(second.run(true, bump).await, Ok(2), "the lost session was rolled back");
    assert_eq!(server.sessions().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_silent_transaction_is_ended_and_a_slow_statement_cancelled() {
    let server = ModelServer::new(1);
    with_lane(&server, 1).await;
    let mut silent = connect(&server).await;
    begin(&mut silent).await;
    silent.run(true, bump).await.expect("bumped");
    sleep(STATEMENT_TIMEOUT * 2).await;
    assert_eq!(silent.command(Command::Commit).await, Err(SessionFault::Lost));
    let mut slow = connect(&server).await;
    let endless = |_: Executing| async move {
        sleep(STATEMENT_TIMEOUT * 2).await;
        Ok(())
    };
    assert_eq!(slow.run(true, endless).await.map_err(state_of), Err("57014"));
    assert_eq!(server.lanes()[0].row.epoch, 1);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_hangs_is_given_up_and_gives_up_itself() {
    let server = ModelServer::new(1);
    with_lane(&server, 1).await;
    let mut session = connect(&server).await;
    begin(&mut session).await;
    session.run(true, bump).await.expect("bumped");
    server.set_faults(Faults { hang: 1.0, ..Faults::default() });
    let began = Instant::now();
    let deadline = STATEMENT_TIMEOUT + GRACE;
    assert_eq!(session.command(Command::Commit).await, Err(SessionFault::NoAnswer(deadline)));
    assert_eq!((began.elapsed(), server.open_transactions(), server.lanes()[0].row.epoch), (deadline, 0, 1));
    server.set_faults(Faults { connect_hang: 1.0, ..Faults::default() });
    let times = SessionTimes { statement_timeout: STATEMENT_TIMEOUT, lock_timeout: LOCK_TIMEOUT };
    let silent = ModelSession::connect(&server, "test".into(), times, GRACE, deadline).await;
    assert_eq!(silent.map(drop), Err(SessionFault::NoAnswer(GRACE)));
}

#[tokio::test(start_paused = true)]
async fn every_fault_of_a_statement_has_its_state_and_is_counted() {
    for (faults, name, state) in [
        (Faults { admin_shutdown: 1.0, ..Faults::default() }, "admin_shutdown", Some("57P01")),
        (Faults { serialization_failure: 1.0, ..Faults::default() }, "serialization_failure", Some("40001")),
        (Faults { deadlock: 1.0, ..Faults::default() }, "deadlock", Some("40P01")),
        (Faults { disk_full: 1.0, ..Faults::default() }, "disk_full", Some("53100")),
        (Faults { connection_cut: 1.0, ..Faults::default() }, "connection_cut", None),
        (Faults { read_only: 1.0, ..Faults::default() }, "read_only", Some("25006")),
    ] {
        let server = ModelServer::new(1);
        with_lane(&server, 1).await;
        server.change_faults(|own| *own = faults);
        let mut session = connect(&server).await;
        let found = match session.run(true, bump).await {
            Err(SessionFault::Sql(error)) => Some(error.state),
            Err(SessionFault::Lost) => None,
            other => panic!("{name}: {other:?}"),
        };
        assert_eq!((found, server.hits().get(name)), (state, Some(&1)));
        server.heal();
        let mut session = connect(&server).await;
        assert_eq!(session.run(true, bump).await, Ok(2), "{name} left nothing behind");
    }
    for (faults, state) in [
        (Faults { too_many_clients: 1.0, ..Faults::default() }, "53300"),
        (Faults { starting_up: 1.0, ..Faults::default() }, "57P03"),
    ] {
        let server = ModelServer::new(1);
        server.set_faults(faults);
        let times = SessionTimes { statement_timeout: STATEMENT_TIMEOUT, lock_timeout: LOCK_TIMEOUT };
        let refused = ModelSession::connect(&server, "test".into(), times, GRACE, GRACE).await;
        assert_eq!(refused.map(drop).map_err(state_of), Err(state));
    }
}

#[tokio::test(start_paused = true)]
async fn a_savepoint_takes_back_rows_and_locks_and_the_transaction_lives_on() {
    let server = ModelServer::new(1);
    let mut session = connect(&server).await;
    begin(&mut session).await;
    upsert(&mut session, key("t", "a"), row("1", "1", false)).await.expect("written");
    session.command(Command::Savepoint("part")).await.expect("a savepoint");
    upsert(&mut session, key("t", "a"), row("2", "2", false)).await.expect("written");
    upsert(&mut session, key("t", "b"), row("2", "2", false)).await.expect("written");
    insert(&mut session, key("t", "a"), row("3", "3", false)).await.expect_err("a duplicate");
    session.command(Command::RollbackTo("part")).await.expect("rolled back");
    session.command(Command::ReleaseSavepoint("part")).await.expect("released");
    let mut other = connect(&server).await;
    upsert(&mut other, key("t", "b"), row("other", "4", false)).await.expect("the lock is free");
    commit(&mut session).await;
    let documents: Vec<_> = server.mirror_rows().into_iter().map(|look| look.row.document).collect();
    assert_eq!(documents, ["1".into(), "other".into()] as [Arc<str>; 2]);
}

#[tokio::test(start_paused = true)]
async fn a_statement_that_was_sent_runs_to_its_end_and_its_commit_lands_without_a_reader() {
    let server = ModelServer::new(1);
    let mut session = connect(&server).await;
    begin(&mut session).await;
    insert(&mut session, key("t", "a"), row("{}", "1", false)).await.expect("inserted");
    let takes = Duration::from_secs(5);
    server.set_faults(Faults { latency: takes..takes, ..Faults::default() });
    let sent = tokio::time::timeout(Duration::from_secs(1), session.command(Command::Commit)).await;
    assert!(sent.is_err(), "the client gives up");
    drop(session);
    assert_eq!(server.commits(), 0);
    sleep(takes).await;
    assert_eq!((server.commits(), server.sessions().len()), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_fail_over_loses_whole_commits_and_every_session() {
    let server = ModelServer::new(1);
    let mut session = connect(&server).await;
    for number in ["1", "2", "3"] {
        begin(&mut session).await;
        upsert(&mut session, key("t", "a"), row(number, number, false)).await.expect("written");
        upsert(&mut session, key("t", number), row(number, number, false)).await.expect("written");
        commit(&mut session).await;
    }
    begin(&mut session).await;
    upsert(&mut session, key("t", "open"), row("4", "4", false)).await.expect("written");
    assert_eq!(server.fail_over(2), 2);
    let documents: Vec<_> = server.mirror_rows().into_iter().map(|look| look.row.document).collect();
    assert_eq!(documents, ["1".into(), "1".into()] as [Arc<str>; 2], "row a and row 1 of the first commit");
    assert_eq!(session.command(Command::Commit).await, Err(SessionFault::Lost));
    let mut session = connect(&server).await;
    upsert(&mut session, key("t", "a"), row("5", "5", false)).await.expect("written");
    assert_eq!((server.mirror_rows()[1].row.document.as_ref(), server.mirror_rows().len()), ("5", 2));
}
