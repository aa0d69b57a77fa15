//! What becomes of rows that the server does not take, or takes without keeping them.

use std::time::Duration;

use tailwater_model::{Failure, Group, Position, RemoveCause, Sink, Trouble, TroubleKind};
use tailwater_sink_postgres::{PostgresLane, PostgresSettings};

use crate::ground::{Database, after, batch, group, id, id_key, in_database, insert, put, remove};

/// So often a commit fails with the same error before a row is taken to be at fault.
const FAILURES: usize = 3;

const ROWS: &str = "select concat_ws('|', \"Id\", document ->> 'v', _deleted) from orders order by 1";
const LETTERS: &str = "select concat_ws('|', event_id, code) from tailwater.dead_letters order by sequence_number";
const COUNTS: &str = "select concat_ws('|', read, written, dead_lettered) from tailwater.shards";

fn trigger(when: &str, body: &str) -> String {
    format!(
        "create function rule() returns trigger language plpgsql as $$ begin {body}; return new; end $$; \
         create trigger rule before {when} on orders for each row execute function rule()"
    )
}

async fn ready(database: &Database, sql: &str) -> PostgresLane {
    let lane = database.ready_lane(&database.settings(), &id_key()).await;
    database.run(sql).await;
    lane
}

/// Commits, and opens again each time that the lane asks for it. Gives what came of it, and the codes of the failures.
async fn commit_at_last(
    lane: &mut PostgresLane,
    group: impl Fn() -> Group,
    tries_max: usize,
) -> (Option<(u64, u64)>, Vec<String>) {
    let mut failures = Vec::new();
    while failures.len() < tries_max {
        match lane.commit(group()).await {
            Ok(committed) => return (Some(committed.figures()), failures),
            Err(Failure::Reopen(trouble)) => failures.push(trouble.to_string()),
            Err(Failure::Halt(trouble)) => panic!("{trouble:?}"),
        }
        lane.open().await.expect("opens");
    }
    (None, failures)
}

/// An image that an index on its note refuses: 6,000 characters that nobody can compress.
fn large(key: &str) -> String {
    let mut rng = 0x2545_F491_4F6C_DD1D_u64;
    let note: String = std::iter::repeat_with(|| {
        rng ^= rng << 13;
        rng ^= rng >> 7;
        rng ^= rng << 17;
        char::from(b'a' + u8::try_from(rng % 26).expect("below 26"))
    })
    .take(6_000)
    .collect();
    format!(r#"{{"Id":{{"S":"{key}"}},"v":{{"N":"9"}},"note":{{"S":"{note}"}}}}"#)
}

const INDEX: &str = "create index on orders ((document ->> 'note'))";

#[tokio::test]
async fn a_removal_reaches_the_mirror_although_its_old_image_is_refused() {
    in_database(|database| async move {
        let mut lane = ready(&database, INDEX).await;
        let grown = vec![put(1, "a", 1), insert(2, &id("a"), &large("a"))];
        let answer = lane.commit(group([batch(Position::Start, after(2), grown)])).await.expect("commits").figures();
        assert_eq!((answer, database.texts(ROWS).await), ((1, 1), vec!["a|1|f".to_owned()]));
        let gone = vec![remove(3, &id("a"), Some(&large("a")), RemoveCause::Request)];
        let answer = lane.commit(group([batch(after(2), after(3), gone)])).await.expect("commits").figures();
        // What the old image held stands nowhere in the table: the record is kept whole, and counts once. I9
        assert_eq!((answer, database.texts(ROWS).await), ((0, 1), vec!["a|1|t".to_owned()]));
        assert_eq!(database.texts(LETTERS).await, ["event-2|sink.postgres.refused", "event-3|sink.postgres.refused"]);
        let record = database.text("select record from tailwater.dead_letters where event_id = 'event-3'").await;
        assert!(record.len() > 6_000, "{record}");
        assert_eq!(database.text(COUNTS).await, "3|1|2");
    })
    .await;
}

#[tokio::test]
async fn a_refused_removal_leaves_no_earlier_state_of_its_group() {
    in_database(|database| async move {
        let mut lane = ready(&database, INDEX).await;
        let events = vec![
            put(1, "a", 1),
            remove(2, &id("a"), Some(&large("a")), RemoveCause::TimeToLive),
            put(3, "b", 3),
            put(4, "c", 4),
            remove(5, &id("c"), Some(&large("c")), RemoveCause::Request),
            put(6, "c", 6),
        ];
        let answer = lane.commit(group([batch(Position::Start, after(6), events)])).await.expect("commits").figures();
        assert_eq!(answer, (5, 1));
        assert_eq!(database.texts(ROWS).await, ["a|t", "b|3|f", "c|6|f"]);
        assert_eq!(database.texts(LETTERS).await, ["event-2|sink.postgres.refused"]);
        let op = database.text("select concat_ws('|', _op, _event_id) from orders where \"Id\" = 'a'").await;
        assert_eq!(op, "ttl|event-2");
    })
    .await;
}

#[tokio::test]
async fn only_a_mark_that_is_refused_is_not_in_the_mirror() {
    in_database(|database| async move {
        let refuse = "if new._deleted then raise exception 'we keep all' using errcode = '23000'; end if";
        let mut lane = ready(&database, &trigger("insert or update", refuse)).await;
        lane.commit(group([batch(Position::Start, after(1), vec![put(1, "a", 1)])])).await.expect("commits");
        let events = vec![
            put(2, "a", 2),
            remove(3, &id("a"), Some(r#"{"Id":{"S":"a"}}"#), RemoveCause::Request),
            remove(4, &id("b"), None, RemoveCause::Request),
        ];
        let answer = lane.commit(group([batch(after(1), after(4), events)])).await.expect("commits").figures();
        // P1: the change before it is not lost with it. Each record is kept once.
        assert_eq!((answer, database.texts(ROWS).await), ((1, 2), vec!["a|2|f".to_owned()]));
        assert_eq!(database.texts(LETTERS).await, ["event-3|sink.postgres.refused", "event-4|sink.postgres.refused"]);
        assert_eq!(database.text(COUNTS).await, "4|2|2");
    })
    .await;
}

#[tokio::test]
async fn rows_that_a_trigger_swallows_are_not_called_written() {
    in_database(|database| async move {
        let swallow =
            "if new.document ->> 'v' = '3' or tg_op = 'UPDATE' and new.document ->> 'v' = '4' then return null; end if";
        let mut lane = ready(&database, &trigger("insert or update", swallow)).await;
        lane.commit(group([batch(Position::Start, after(1), vec![put(1, "old", 1)])])).await.expect("commits");
        let mut events: Vec<_> = (2..=5).map(|n| put(n, &format!("item {n}"), n)).collect();
        events.push(put(6, "old", 4));
        let answer = lane.commit(group([batch(after(1), after(6), events)])).await.expect("commits").figures();
        assert_eq!(answer, (3, 2));
        assert_eq!(database.texts(ROWS).await, ["item 2|2|f", "item 4|4|f", "item 5|5|f", "old|1|f"]);
        assert_eq!(
            database.texts(LETTERS).await,
            ["event-3|sink.postgres.swallowed", "event-6|sink.postgres.swallowed"]
        );
        assert_eq!(database.text(COUNTS).await, "6|4|2");
    })
    .await;
}

#[tokio::test]
async fn a_mark_that_a_trigger_swallows_is_not_called_written_and_a_missing_row_may_be_removed() {
    in_database(|database| async move {
        let mut lane = ready(&database, &trigger("insert or update", "if new._deleted then return null; end if")).await;
        let events = vec![put(1, "a", 1), put(2, "b", 2)];
        lane.commit(group([batch(Position::Start, after(2), events)])).await.expect("commits");
        let events = vec![
            remove(3, &id("a"), None, RemoveCause::Request),
            remove(4, &id("b"), Some(r#"{"Id":{"S":"b"}}"#), RemoveCause::Request),
        ];
        let answer = lane.commit(group([batch(after(2), after(4), events)])).await.expect("commits").figures();
        assert_eq!((answer, database.texts(ROWS).await), ((0, 2), vec!["a|1|f".to_owned(), "b|2|f".to_owned()]));
        assert_eq!(
            database.texts(LETTERS).await,
            ["event-3|sink.postgres.swallowed", "event-4|sink.postgres.swallowed"]
        );
        drop(lane);
        let hard = PostgresSettings { delete: tailwater_model::DeleteMode::Hard, ..database.settings() };
        let mut lane = database.lane(&hard, &id_key()).await;
        lane.open().await.expect("opens");
        let gone = vec![remove(5, &id("never there"), None, RemoveCause::Request)];
        let answer = lane.commit(group([batch(after(4), after(5), gone)])).await.expect("commits").figures();
        assert_eq!(answer, (1, 0));
    })
    .await;
}

#[tokio::test]
async fn rows_that_a_trigger_leaves_as_they_were_are_not_called_written() {
    in_database(|database| async move {
        let old = "if new.document ->> 'v' = '3' or new._deleted then return old; end if";
        let mut lane = ready(&database, &trigger("update", old)).await;
        let events = vec![put(1, "a", 3), put(2, "b", 2)];
        let answer = lane.commit(group([batch(Position::Start, after(2), events)])).await.expect("commits").figures();
        assert_eq!(answer, (2, 0), "an insert has no old row");
        let events =
            vec![put(3, "b", 3), put(4, "a", 4), remove(5, &id("a"), None, RemoveCause::Request), put(6, "c", 6)];
        let answer = lane.commit(group([batch(after(2), after(6), events)])).await.expect("commits").figures();
        // P1: the change before the removal is not lost with it.
        assert_eq!(
            (answer, database.texts(ROWS).await),
            ((2, 2), vec!["a|4|f".to_owned(), "b|2|f".to_owned(), "c|6|f".to_owned()])
        );
        assert_eq!(
            database.texts(LETTERS).await,
            ["event-3|sink.postgres.swallowed", "event-5|sink.postgres.swallowed"]
        );
        assert_eq!(database.text(COUNTS).await, "6|4|2");
    })
    .await;
}

#[tokio::test]
async fn rows_that_stay_when_they_are_deleted_are_not_called_written() {
    in_database(|database| async move {
        let hard = PostgresSettings { delete: tailwater_model::DeleteMode::Hard, ..database.settings() };
        let mut lane = database.ready_lane(&hard, &id_key()).await;
        database
            .run(
                "create function keep() returns trigger language plpgsql as $$ \
                 begin if old.document ->> 'v' = '1' then return null; end if; return old; end $$; \
                 create trigger keep before delete on orders for each row execute function keep()",
            )
            .await;
        let events = vec![put(1, "a", 1), put(2, "b", 2), put(3, "c", 3)];
        lane.commit(group([batch(Position::Start, after(3), events)])).await.expect("commits");
        let gone = |number: u64, key: &str| remove(number, &id(key), None, RemoveCause::Request);
        let events = vec![gone(4, "a"), gone(5, "b"), gone(6, "never there"), gone(7, "c")];
        let answer = lane.commit(group([batch(after(3), after(7), events)])).await.expect("commits").figures();
        assert_eq!((answer, database.texts(ROWS).await), ((3, 1), vec!["a|1|f".to_owned()]));
        assert_eq!(database.texts(LETTERS).await, ["event-4|sink.postgres.swallowed"]);
        assert_eq!(database.text(COUNTS).await, "7|6|1");
    })
    .await;
}

#[tokio::test]
async fn what_plpgsql_raises_on_a_row_is_a_refusal_at_once() {
    in_database(|database| async move {
        let body = "declare found text; begin \
             if new.document ->> 'v' = '1' then assert false, new.document::text; end if; \
             if new.document ->> 'v' = '2' then select 'x' into strict found where false; end if; \
             if new.document ->> 'v' = '3' then select x into strict found from generate_series(1, 2) as x; end if; \
             if new.document ->> 'v' = '4' then raise exception '%', new.document; end if; end";
        let mut lane = ready(&database, &trigger("insert", body)).await;
        let events: Vec<_> = (1..=5).map(|n| put(n, &format!("item {n}"), n)).collect();
        let answer = lane.commit(group([batch(Position::Start, after(5), events)])).await.expect("commits").figures();
        assert_eq!((answer, database.texts(ROWS).await), ((1, 4), vec!["item 5|5|f".to_owned()]));
        let errors = database.texts("select error from tailwater.dead_letters order by sequence_number").await;
        for (error, state) in errors.iter().zip(["P0004", "P0002", "P0003", "P0001"]) {
            assert!(error.contains(state) && !error.contains("item"), "{errors:?}");
        }
    })
    .await;
}

#[tokio::test]
async fn an_error_that_comes_again_and_again_is_isolated_whatever_its_code() {
    in_database(|database| async move {
        let body = "case new.document ->> 'v' when '2' then perform (select 1 union select 2); \
             when '4' then raise exception 'no % here', new.document using errcode = 'MY001'; else end case";
        let mut lane = ready(&database, &trigger("insert", body)).await;
        let events = || (1..=5).map(|n| put(n, &format!("item {n}"), n)).collect();
        let poisoned = || group([batch(Position::Start, after(5), events())]);
        let (answer, failures) = commit_at_last(&mut lane, poisoned, 12).await;
        assert_eq!((answer, failures.len()), (Some((3, 2)), 2 * FAILURES), "{failures:?}");
        assert!(failures.iter().all(|message| !message.contains("item")), "no values: {failures:?}");
        assert_eq!(database.texts(ROWS).await, ["item 1|1|f", "item 3|3|f", "item 5|5|f"]);
        let errors = database.texts("select error from tailwater.dead_letters order by sequence_number").await;
        assert!(errors[0].contains("21000") && errors[1].contains("MY001"), "{errors:?}");
        assert!(!errors[1].contains("item"), "{errors:?}");
        assert_eq!(database.text(COUNTS).await, "5|3|2");
    })
    .await;
}

#[tokio::test]
async fn what_passes_between_two_commits_is_forgotten() {
    in_database(|database| async move {
        let body = "if new.document ->> 'v' = '2' then raise exception 'no' using errcode = 'MY001'; end if";
        let mut lane = ready(&database, &trigger("insert or update", body)).await;
        for round in 0..3 {
            let from = if round == 0 { Position::Start } else { after(round) };
            let poisoned = || group([batch(from.clone(), after(round + 1), vec![put(round + 1, "a", 2)])]);
            let (answer, _) = commit_at_last(&mut lane, poisoned, FAILURES).await;
            assert_eq!(answer, None, "round {round}");
            let kind = group([batch(from.clone(), after(round + 1), vec![put(round + 1, "a", 1)])]);
            lane.commit(kind).await.expect("commits");
        }
        assert_eq!(database.count("tailwater.dead_letters").await, "0");
    })
    .await;
}

#[tokio::test]
async fn what_says_nothing_of_a_row_is_never_isolated() {
    in_database(|database| async move {
        let mut lane = database.ready_lane(&database.settings(), &id_key()).await;
        for state in ["08001", "40001", "40P01", "53100", "55P03", "57P01", "57P03", "58030", "25006", "HV00N"] {
            database.run(&trigger("insert", &format!("raise exception 'later' using errcode = '{state}'"))).await;
            let poisoned = || group([batch(Position::Start, after(1), vec![put(1, "a", 1)])]);
            let (answer, failures) = commit_at_last(&mut lane, poisoned, FAILURES + 3).await;
            assert_eq!((answer, failures.len()), (None, FAILURES + 3), "{state}");
            database.run("drop function rule cascade").await;
        }
        assert_eq!(database.count("tailwater.dead_letters").await, "0");
    })
    .await;
}

#[tokio::test]
async fn a_group_that_always_takes_too_long_is_written_in_smaller_pieces() {
    in_database(|database| async move {
        let settings = PostgresSettings { statement_timeout: Duration::from_secs(1), ..database.settings() };
        let mut lane = database.ready_lane(&settings, &id_key()).await;
        database.run(&trigger("insert", "perform pg_sleep(0.05)")).await;
        let events = || (1..=100).map(|n| put(n, &format!("item {n}"), n)).collect();
        let slow = || group([batch(Position::Start, after(100), events())]);
        let (answer, failures) = commit_at_last(&mut lane, slow, 12).await;
        assert_eq!(answer, Some((100, 0)), "{failures:?}");
        assert!(failures.len() >= FAILURES, "{failures:?}");
        assert_eq!(database.count("orders").await, "100");
        // The next one begins with pieces that fit.
        let events = (101..=200).map(|n| put(n, &format!("item {n}"), n)).collect();
        lane.commit(group([batch(after(100), after(200), events)])).await.expect("commits at once");
        // A row that takes too long alone is nobody's fault: it may be a lock, or a slow disk.
        database.run("drop function rule cascade").await;
        database.run(&trigger("insert", "perform pg_sleep(9)")).await;
        let endless = || group([batch(after(200), after(201), vec![put(201, "endless", 1)])]);
        assert_eq!(commit_at_last(&mut lane, endless, FAILURES + 2).await.0, None);
        assert_eq!(database.count("tailwater.dead_letters").await, "0");
    })
    .await;
}

/// Commits as often as it is asked for. Gives what came of it, or why the pipeline stops.
async fn commit_or_halt(lane: &mut PostgresLane, group: impl Fn() -> Group) -> Result<(u64, u64), Trouble> {
    for _ in 0..=FAILURES {
        match lane.commit(group()).await {
            Ok(committed) => return Ok(committed.figures()),
            Err(Failure::Halt(trouble)) => return Err(trouble),
            Err(Failure::Reopen(_)) => match lane.open().await {
                Ok(_) => {}
                Err(Failure::Halt(trouble)) => return Err(trouble),
                Err(Failure::Reopen(trouble)) => panic!("it does not open: {trouble}"),
            },
        }
    }
    panic!("the same group fails for ever")
}

/// A claim refuses such a table: the rule comes while the pipeline runs.
#[tokio::test]
async fn a_rule_that_comes_while_the_pipeline_runs_stops_it_and_puts_nothing_aside() {
    in_database(|database| async move {
        let mut lane = ready(&database, "create rule nothing as on insert to orders do instead nothing").await;
        let events = || (1..=4).map(|n| put(n, &format!("item {n}"), n)).collect();
        let four = || group([batch(Position::Start, after(4), events())]);
        let trouble = commit_or_halt(&mut lane, four).await.expect_err("it is the table");
        assert_eq!((trouble.kind, trouble.code), (TroubleKind::Environment, "sink.table_shape"));
        assert!(trouble.message.contains("drop rule nothing"), "{trouble:?}");
        assert_eq!(database.count("tailwater.dead_letters").await, "0");
        database.run("drop rule nothing on orders").await;
        lane.open().await.expect("opens");
        lane.commit(four()).await.expect("commits");
        assert_eq!(database.count("orders").await, "4");
    })
    .await;
}

#[tokio::test]
async fn a_whole_group_of_poison_is_put_aside() {
    in_database(|database| async move {
        let raise = "if new.document ->> 'v' = '0' then raise exception 'no' using errcode = '0A000'; end if";
        let mut lane = ready(&database, &trigger("insert", raise)).await;
        database.run("alter table orders add constraint never check (document ->> 'v' <> '1')").await;
        for (value, begin) in [(0, Position::Start), (1, after(50))] {
            let first = if value == 0 { 1 } else { 51 };
            let events = || (first..first + 50).map(|n| put(n, &format!("item {n}"), value)).collect();
            let poison = || group([batch(begin.clone(), after(first + 49), events())]);
            assert_eq!(commit_or_halt(&mut lane, poison).await.ok(), Some((0, 50)), "{value}");
        }
    })
    .await;
}
