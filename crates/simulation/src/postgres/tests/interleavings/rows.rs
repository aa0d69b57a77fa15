//! Two writers and one row.

use std::time::Duration;

use tokio::time::sleep;

use super::{begin, commit, connect, key, row, state_of, upsert, version};
use crate::postgres::backend::Command;
use crate::postgres::executing::{Change, Executing};
use crate::postgres::session::{ModelSession, SessionFault};
use crate::postgres::{ModelServer, RowValue};

/// M6.
#[tokio::test(start_paused = true)]
async fn a_guarded_upsert_goes_by_the_newest_version() {
    let server = ModelServer::new(1);
    let mut session = connect(&server).await;
    for (sequence_number, deleted, written) in [("5", false, true), ("7", true, true), ("6", false, false)] {
        let (key, value) = (key("t", "a"), row("{}", sequence_number, deleted));
        let guarded = move |sql: Executing| async move {
            let excluded = value.clone();
            sql.upsert(&key, value, |stored| (version(stored) < version(&excluded)).then_some(excluded)).await
        };
        assert_eq!(session.run(true, guarded).await, Ok(written));
    }
    assert_eq!(server.mirror_rows()[0].row.sequence_number.as_ref(), "7");
}

async fn upsert_both(server: ModelServer, order: [&'static str; 2], pause: Duration) -> Result<(), SessionFault> {
    let mut session = connect(&server).await;
    begin(&mut session).await;
    for id in order {
        upsert(&mut session, key("t", id), row("{}", "1", false)).await?;
        sleep(pause).await;
    }
    session.command(Command::Commit).await
}

/// M7, and who loses: measured on a real server, it is who looks for a circle first once it is closed.
#[tokio::test(start_paused = true)]
async fn opposite_orders_deadlock_and_one_order_does_not() {
    for (pause, others_pause, others_order, expected) in [
        (100, 200, ["b", "a"], [Err("40P01"), Ok(())]),
        (100, 5000, ["b", "a"], [Ok(()), Err("40P01")]),
        (100, 200, ["a", "b"], [Ok(()), Ok(())]),
    ] {
        let server = ModelServer::new(1);
        let [pause, others_pause] = [pause, others_pause].map(Duration::from_millis);
        let first = tokio::spawn(upsert_both(server.clone(), ["a", "b"], pause));
        let second = tokio::spawn(upsert_both(server.clone(), others_order, others_pause));
        let ends = [first.await.expect("a task"), second.await.expect("a task")];
        assert_eq!(ends.map(|end| end.map_err(state_of)), expected);
        let deadlocks = u64::from(others_order == ["b", "a"]);
        assert_eq!(server.hits().get("40P01").copied().unwrap_or_default(), deadlocks);
    }
}

/// M8.
#[tokio::test(start_paused = true)]
async fn one_statement_cannot_upsert_a_row_twice() {
    let server = ModelServer::new(1);
    let mut session = connect(&server).await;
    let twice = |sql: Executing| async move {
        for number in ["1", "2"] {
            sql.upsert(&key("t", "a"), row("{}", number, false), |_| Some(row("{}", number, false))).await?;
        }
        Ok(())
    };
    assert_eq!(session.run(true, twice).await.map_err(state_of), Err("21000"));
    assert_eq!(server.mirror_rows(), vec![]);
}

/// The guard of a delete, and the delete, in one statement or in two.
async fn delete_guarded(session: &mut ModelSession, in_one_statement: bool) {
    let guard = |sql: Executing| async move {
        let value = row("", "9", true);
        let excluded = value.clone();
        let won = |stored: &RowValue| (version(stored) < version(&excluded)).then_some(excluded.clone());
        sql.upsert(&key("versions", "a"), value, won).await
    };
    let delete = |sql: Executing| async move { sql.change(&key("items", "a"), |_| Change::Remove).await };
    begin(session).await;
    if in_one_statement {
        let joined = move |sql: Executing| async move {
            assert!(guard(sql.clone()).await?, "the newer change wins");
            delete(sql).await
        };
        assert_eq!(session.run(true, joined).await, Ok(false), "its snapshot is older than the row");
    } else {
        assert_eq!(session.run(true, guard).await, Ok(true));
        assert_eq!(session.run(true, delete).await, Ok(true));
    }
    commit(session).await;
}

/// M20.
#[tokio::test(start_paused = true)]
async fn a_delete_in_the_statement_of_its_guard_resurrects_the_row() {
    for in_one_statement in [true, false] {
        let server = ModelServer::new(1);
        let mut snapshot = connect(&server).await;
        begin(&mut snapshot).await;
        upsert(&mut snapshot, key("versions", "a"), row("", "0", false)).await.expect("guarded");
        upsert(&mut snapshot, key("items", "a"), row("old", "0", false)).await.expect("written");
        let stream_server = server.clone();
        let stream = tokio::spawn(async move {
            let mut stream = connect(&stream_server).await;
            delete_guarded(&mut stream, in_one_statement).await;
        });
        sleep(Duration::from_secs(1)).await;
        commit(&mut snapshot).await;
        stream.await.expect("a task");
        let items = server.mirror_rows().into_iter().filter(|look| &*look.table == "items").count();
        assert_eq!(items, usize::from(in_one_statement));
    }
}
