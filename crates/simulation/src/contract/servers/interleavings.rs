//! Interleavings of two sessions, with what they must come to.

use std::time::Duration;

use tokio::time::Instant;

use super::Ask::{
    Begin, Bump, Commit, Insert, Read, RemoveAt, RemoveBehindGuard, RollbackToSavepoint, Savepoint, Upsert, UpsertNewer,
};
use super::{Answer, LOCK_TIMEOUT, Server, Session, a_moment, both};

fn state(sqlstate: &str) -> Answer {
    Err(sqlstate.to_owned())
}

/// Runs statements that must all succeed.
async fn run(session: &mut impl Session, asks: impl IntoIterator<Item = super::Ask>) {
    for ask in asks {
        let told = format!("{ask:?}");
        session.ask(ask).await.unwrap_or_else(|state| panic!("{told}: {state}"));
    }
}

/// An error aborts the transaction: 25P02 from then on, and `COMMIT` answers well and keeps nothing.
pub async fn a_commit_after_an_error_answers_well_and_keeps_nothing(server: &impl Server) {
    let mut session = server.connect().await;
    run(&mut session, [Begin, Insert("a", 1)]).await;
    assert_eq!(session.ask(Insert("a", 2)).await, state("23505"));
    assert_eq!(session.ask(Insert("b", 3)).await, state("25P02"));
    assert_eq!(session.ask(Read("a")).await, state("25P02"));
    session.ask(Commit).await.expect("a commit that keeps nothing answers well");
    assert_eq!(session.ask(Read("a")).await, Ok(-1));
    assert_eq!(session.ask(Read("b")).await, Ok(-1));
}

/// A commit is under way and its client dead: a plain read finds the old state, a bump waits and finds the new one, and
/// whoever holds the old epoch changes nothing.
pub async fn a_late_commit_is_not_read_and_is_waited_for(server: &impl Server) {
    let takes = Duration::from_millis(2500);
    let mut first = server.connect().await;
    run(&mut first, [Insert("epoch", 1), Begin, Bump("epoch")]).await;
    // Connecting may take a while on a busy machine.
    let mut second = server.connect().await;
    first.commit_late_and_die(takes).await;
    a_moment().await;
    let began = Instant::now();
    assert_eq!(second.ask(Read("epoch")).await, Ok(1), "a plain read sees the old state");
    assert_eq!(second.ask(Begin).await, Ok(0));
    assert_eq!(second.ask(Bump("epoch")).await, Ok(3), "a bump waits and sees the new state");
    assert!(began.elapsed() > Duration::from_millis(700), "it waited: {:?}", began.elapsed());
    run(&mut second, [Commit]).await;
    assert_eq!(second.ask(RemoveAt("epoch", 2)).await, Ok(0), "the old epoch is fenced");
    assert_eq!(second.ask(Read("epoch")).await, Ok(3));
}

async fn upsert_in_turn(session: &mut impl Session, order: [&'static str; 2]) -> Answer {
    run(session, [Begin, Upsert(vec![(order[0], 1)])]).await;
    a_moment().await;
    let last = session.ask(Upsert(vec![(order[1], 1)])).await;
    session.ask(Commit).await.expect("answers well, whatever was before");
    last
}

/// Two writers in opposite order: one of them is ended with 40P01, the other goes on. In one order both go on.
pub async fn opposite_orders_deadlock_and_one_order_does_not(server: &impl Server) {
    let (mut one, mut other) = (server.connect().await, server.connect().await);
    let answers = both(upsert_in_turn(&mut one, ["a", "b"]), upsert_in_turn(&mut other, ["b", "a"])).await;
    let mut answers = [answers.0, answers.1];
    answers.sort();
    assert_eq!(answers, [Ok(1), state("40P01")]);
    let answers = both(upsert_in_turn(&mut one, ["a", "b"]), upsert_in_turn(&mut other, ["a", "b"])).await;
    assert_eq!(answers, (Ok(1), Ok(1)));
}

/// One key twice in one upsert is 21000, and nothing of the statement stays.
pub async fn one_statement_cannot_upsert_a_row_twice(server: &impl Server) {
    let mut session = server.connect().await;
    assert_eq!(session.ask(Upsert(vec![("b", 1), ("a", 1), ("a", 2)])).await, state("21000"));
    assert_eq!((session.ask(Read("a")).await, session.ask(Read("b")).await), (Ok(-1), Ok(-1)));
    assert_eq!(session.ask(Upsert(vec![("a", 1), ("b", 1)])).await, Ok(2));
    assert_eq!(session.ask(Upsert(vec![("a", 2)])).await, Ok(1));
    assert_eq!(session.ask(Read("a")).await, Ok(2));
}

/// A snapshot writes a guard and a row; a newer removal waits for the guard. In the statement of its guard the removal
/// does not see the row, which stays; as a statement of its own it does.
pub async fn a_removal_in_the_statement_of_its_guard_resurrects_the_row(server: &impl Server) {
    let (mut snapshot, mut stream) = (server.connect().await, server.connect().await);
    for (guard, row, in_one_statement) in [("guard 1", "row 1", true), ("guard 2", "row 2", false)] {
        run(&mut snapshot, [Begin, UpsertNewer(guard, 0), Upsert(vec![(row, 0)])]).await;
        let removal = async {
            run(&mut stream, [Begin]).await;
            if in_one_statement {
                assert_eq!(stream.ask(RemoveBehindGuard(guard, 9, row)).await, Ok(0));
            } else {
                assert_eq!(stream.ask(UpsertNewer(guard, 9)).await, Ok(1));
                assert_eq!(stream.ask(RemoveAt(row, 0)).await, Ok(1));
            }
            run(&mut stream, [Commit]).await;
        };
        let commit = async {
            a_moment().await;
            run(&mut snapshot, [Commit]).await;
        };
        both(removal, commit).await;
        assert_eq!(stream.ask(Read(guard)).await, Ok(9));
        assert_eq!(stream.ask(Read(row)).await, Ok(if in_one_statement { 0 } else { -1 }));
    }
}

/// The condition of an upsert sees the newest value, also one that came while it waited.
pub async fn a_guarded_upsert_goes_by_the_newest_value(server: &impl Server) {
    let (mut one, mut other) = (server.connect().await, server.connect().await);
    run(&mut one, [Insert("a", 1), Begin, UpsertNewer("a", 7)]).await;
    let commit = async {
        a_moment().await;
        run(&mut one, [Commit]).await;
    };
    let (answer, ()) = both(other.ask(UpsertNewer("a", 5)), commit).await;
    assert_eq!(answer, Ok(0), "7 came while it waited");
    assert_eq!(other.ask(Read("a")).await, Ok(7));
}

/// An update that waited looks at the row again, by itself: what does not fit any more is passed by.
pub async fn an_update_looks_again_at_the_row_that_it_waited_for(server: &impl Server) {
    let (mut one, mut other) = (server.connect().await, server.connect().await);
    run(&mut one, [Insert("a", 1), Insert("b", 1), Begin, Bump("a"), RemoveAt("b", 1)]).await;
    let commit = async {
        a_moment().await;
        run(&mut one, [Commit]).await;
    };
    let (answer, ()) = both(other.ask(RemoveAt("a", 1)), commit).await;
    assert_eq!(answer, Ok(0), "it is 2 now");
    run(&mut one, [Begin, Bump("a")]).await;
    let commit = async {
        a_moment().await;
        run(&mut one, [Commit]).await;
    };
    let (answer, ()) = both(other.ask(Bump("a")), commit).await;
    assert_eq!((answer, other.ask(Bump("b")).await), (Ok(4), Ok(-1)));
}

/// READ COMMITTED: each statement has a snapshot of its own, so a transaction sees what others commit in between.
pub async fn a_row_that_came_after_the_statement_began_is_not_seen(server: &impl Server) {
    let (mut one, mut other) = (server.connect().await, server.connect().await);
    run(&mut one, [Begin, Insert("a", 1)]).await;
    run(&mut other, [Begin]).await;
    assert_eq!(other.ask(Read("a")).await, Ok(-1));
    assert_eq!(other.ask(Bump("a")).await, Ok(-1), "an update does not wait for a row that it cannot see");
    run(&mut one, [Commit]).await;
    assert_eq!(other.ask(Bump("a")).await, Ok(2), "the next statement sees it");
    run(&mut other, [Commit]).await;
}

/// 55P03 after `lock_timeout`, and the transaction is aborted.
pub async fn a_wait_for_a_lock_ends_in_time(server: &impl Server) {
    let (mut one, mut other) = (server.connect().await, server.connect().await);
    run(&mut one, [Insert("a", 1), Begin, Bump("a")]).await;
    run(&mut other, [Begin, Insert("b", 1)]).await;
    let began = Instant::now();
    assert_eq!(other.ask(Bump("a")).await, state("55P03"));
    let waited = began.elapsed();
    assert!(waited >= LOCK_TIMEOUT && waited < LOCK_TIMEOUT * 2, "{waited:?}");
    assert_eq!(other.ask(Read("b")).await, state("25P02"));
    run(&mut other, [Commit]).await;
    run(&mut one, [Commit]).await;
    assert_eq!((other.ask(Read("a")).await, other.ask(Read("b")).await), (Ok(2), Ok(-1)));
}

/// Rolling back to a savepoint heals an aborted transaction, and gives back rows and locks that came after it.
pub async fn a_savepoint_takes_back_rows_and_their_locks(server: &impl Server) {
    let (mut one, mut other) = (server.connect().await, server.connect().await);
    run(&mut one, [Insert("a", 1), Insert("b", 1), Begin, Bump("a"), Savepoint, Bump("a"), Bump("b")]).await;
    assert_eq!(one.ask(Insert("a", 9)).await, state("23505"));
    assert_eq!(one.ask(Read("a")).await, state("25P02"));
    run(&mut one, [RollbackToSavepoint]).await;
    assert_eq!((one.ask(Read("a")).await, one.ask(Read("b")).await), (Ok(2), Ok(1)));
    assert_eq!(other.ask(Bump("b")).await, Ok(2), "its lock is free");
    run(&mut one, [Commit]).await;
    assert_eq!(other.ask(Read("a")).await, Ok(2));
}

/// Two inserts of one key: the second waits for the fate of the first, and then fails or not.
pub async fn an_insert_waits_for_the_one_before_it(server: &impl Server) {
    let (mut one, mut other) = (server.connect().await, server.connect().await);
    run(&mut one, [Begin, Savepoint, Insert("a", 1)]).await;
    let give_up = async {
        a_moment().await;
        run(&mut one, [RollbackToSavepoint]).await;
    };
    let (answer, ()) = both(other.ask(Insert("a", 2)), give_up).await;
    assert_eq!(answer, Ok(1));
    run(&mut one, [Insert("b", 1)]).await;
    let commit = async {
        a_moment().await;
        run(&mut one, [Commit]).await;
    };
    let (answer, ()) = both(other.ask(Insert("b", 2)), commit).await;
    assert_eq!(answer, state("23505"));
    assert_eq!((other.ask(Read("a")).await, other.ask(Read("b")).await), (Ok(2), Ok(1)));
}

/// A session that ends without `COMMIT` leaves nothing behind, neither rows nor locks.
pub async fn a_session_that_dies_is_rolled_back(server: &impl Server) {
    let mut one = server.connect().await;
    run(&mut one, [Insert("a", 1), Begin, Bump("a"), Insert("b", 1)]).await;
    drop(one);
    let mut other = server.connect().await;
    assert_eq!(other.ask(Bump("a")).await, Ok(2));
    assert_eq!(other.ask(Read("b")).await, Ok(-1));
}
