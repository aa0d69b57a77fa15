//! Bad places and bad tables: one clear message each, with the next step.

use std::path::Path;

use sqlx::AssertSqlSafe;
use tailwater_model::{DeleteMode, Position, Sink, TroubleKind};

use crate::fixture::{Place, advance, after, group, insert, refused, register, told};

async fn execute(place: &Place, sql: &str) {
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut place.connect().await).await.expect(sql);
}

#[tokio::test]
async fn a_place_that_cannot_be_written_is_told_with_its_path() {
    let directory = tempfile::tempdir().expect("a directory");
    let missing = directory.path().join("missing");
    for place in Place::all(&missing) {
        let trouble = refused(place.claim().await);
        assert_eq!(trouble.kind, TroubleKind::Environment, "{trouble:?}");
        assert!(trouble.message.contains("missing"), "{trouble}");
    }
    let place = Place::sqlite(directory.path(), DeleteMode::Soft);
    std::fs::write(
        place.path(),
        "this is a letter and no database at all, and it is long enough for a header\n".repeat(20),
    )
    .expect("written");
    let trouble = refused(place.claim().await);
    assert_eq!((trouble.kind, trouble.code), (TroubleKind::DataAtRisk, "sink.sqlite.not_a_database"));
    assert_eq!(refused(place.checkpoints("shop").await).code, "sink.sqlite.not_a_database");
}

/// A pipe, a device, a folder, and what a process has open: nothing is made beside them, and nobody waits.
#[tokio::test]
async fn a_data_file_that_is_no_file_is_told_at_once() {
    let directory = tempfile::tempdir().expect("a directory");
    let pipe = directory.path().join("pipe");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status().expect("mkfifo runs");
    assert!(made.success());
    for path in [pipe.as_path(), directory.path(), Path::new("/dev/null"), Path::new("/dev/stdout")] {
        let trouble = refused(Place::file_at(path).claim().await);
        assert_eq!((trouble.kind, trouble.code), (TroubleKind::Config, "sink.file.no_file"), "{}", path.display());
        assert!(trouble.advice.is_some_and(|advice| advice.contains("sink.stdout")));
    }
    assert_eq!(std::fs::read_dir(directory.path()).expect("readable").count(), 1, "the pipe alone");
}

#[tokio::test]
async fn a_table_of_another_shape_is_told_with_all_differences() {
    let directory = tempfile::tempdir().expect("a directory");
    let place = Place::sqlite(directory.path(), DeleteMode::Soft);
    drop(place.claim().await.expect("claimed"));
    execute(
        &place,
        "drop table \"the \"\"orders\"\"\"; create table \"THE \"\"orders\"\"\" (\"order\" integer primary key, x)",
    )
    .await;
    let trouble = refused(place.claim().await);
    assert_eq!((trouble.kind, trouble.code), (TroubleKind::Environment, "sink.table_shape"));
    for difference in
        [r#""Customer \"Id\"" is missing"#, r#""order" is INTEGER and should be TEXT"#, r#""_deleted" is missing"#]
    {
        assert!(trouble.message.contains(difference), "{trouble}");
    }
    let advice = trouble.advice.expect("advice");
    assert!(advice.contains(r#"create table "the ""orders""" ("Customer ""Id""" TEXT not null"#), "{advice}");

    execute(&place, "drop table \"the \"\"orders\"\"\"; create view \"the \"\"orders\"\"\" as select 1").await;
    assert!(refused(place.claim().await).message.contains("it is a view"));

    // What the advice says works, and columns of the user are welcome.
    let create = advice.rsplit_once(": ").expect("the statement").1;
    execute(
        &place,
        &format!("drop view \"the \"\"orders\"\"\"; {create}; alter table \"the \"\"orders\"\"\" add mine text"),
    )
    .await;
    let (mut lane, _) = place.opened().await;
    lane.commit(group(vec![register(), advance(Position::Start, after(1), vec![insert(1, "a", "1")])]))
        .await
        .expect("fits");
}

#[tokio::test]
async fn a_table_that_was_written_to_is_not_made_anew() {
    let directory = tempfile::tempdir().expect("a directory");
    let place = Place::sqlite(directory.path(), DeleteMode::Soft);
    let (mut lane, _) = place.opened().await;
    lane.commit(group(vec![register(), advance(Position::Start, after(1), vec![insert(1, "a", "1")])]))
        .await
        .expect("fits");
    execute(&place, "drop table \"the \"\"orders\"\"\"").await;
    let lost = lane.commit(group(vec![advance(after(1), after(2), vec![insert(2, "b", "1")])])).await;
    assert_eq!(told(lost), ("reopen", "sink.sqlite.table_replaced"));
    assert_eq!(told(lane.open().await), ("halt", "sink.target_missing"));
    let trouble = refused(place.claim().await);
    assert_eq!((trouble.kind, trouble.code), (TroubleKind::DataAtRisk, "sink.target_missing"));
}

/// SQLite gives it no identity, so it is known by the mark that it lacks: with the next commit, and at each start.
#[tokio::test]
async fn a_table_that_is_made_again_while_the_lane_writes_stops_it() {
    for swap in [
        "drop table \"the \"\"orders\"\"\"; MAKE",
        "alter table \"the \"\"orders\"\"\" rename to old; MAKE; insert into \"the \"\"orders\"\"\" select * from old",
    ] {
        let directory = tempfile::tempdir().expect("a directory");
        let place = Place::sqlite(directory.path(), DeleteMode::Hard);
        let (mut lane, _) = place.opened().await;
        let first = vec![register(), advance(Position::Start, after(1), vec![insert(1, "a", "1")])];
        lane.commit(group(first)).await.expect("fits");
        let made = "select sql from sqlite_schema where type = 'table' and name = 'the \"orders\"'";
        let (make,): (String,) = sqlx::query_as(made).fetch_one(&mut place.connect().await).await.expect("the table");
        execute(&place, &swap.replace("MAKE", &make)).await;
        let lost = lane.commit(group(vec![advance(after(1), after(2), vec![insert(2, "b", "1")])])).await;
        assert_eq!(told(lost), ("reopen", "sink.sqlite.table_replaced"), "{swap}");
        assert_eq!(told(lane.open().await), ("halt", "sink.target_replaced"), "{swap}");
        drop(lane);
        assert_eq!(refused(place.claim().await).code, "sink.target_replaced", "{swap}");
        assert_eq!(refused(place.check().await).code, "sink.target_replaced", "{swap}");
    }
}

/// A copy of the database that is put over it would be read with the log that was left behind.
#[tokio::test]
async fn a_refused_start_leaves_no_log_behind() {
    let directory = tempfile::tempdir().expect("a directory");
    let place = Place::sqlite(directory.path(), DeleteMode::Soft);
    let (mut lane, _) = place.opened().await;
    lane.commit(group(vec![register(), advance(Position::Start, after(1), vec![insert(1, "a", "1")])]))
        .await
        .expect("fits");
    drop(lane);
    // The connections of the lane and of this test close on threads of their own.
    execute(&place, "delete from \"the \"\"orders\"\"\"").await;
    let log = format!("{}-wal", place.path().display());
    for _ in 0..200 {
        if !Path::new(&log).exists() {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    assert!(!Path::new(&log).exists());
    refused(place.check().await);
    assert!(!Path::new(&log).exists(), "it is closed when the refusal is told");
}

/// A trigger that ends the whole transaction takes only its own row along.
#[tokio::test]
async fn a_row_that_a_trigger_refuses_is_set_aside() {
    let directory = tempfile::tempdir().expect("a directory");
    let place = Place::sqlite(directory.path(), DeleteMode::Soft);
    let (mut lane, _) = place.opened().await;
    lane.commit(group(vec![register()])).await.expect("fits");
    let refuse = "create trigger refuse before insert on \"the \"\"orders\"\"\" when new._event_id = 'event-2' \
                  begin select raise(rollback, 'not today'); end";
    execute(&place, refuse).await;
    let events = vec![insert(1, "a", "1"), insert(2, "b", "1"), insert(3, "c", "1")];
    let committed = lane.commit(group(vec![advance(Position::Start, after(3), events)])).await.expect("the others");
    assert_eq!((committed.written, committed.dead_lettered), (2, 1));
    assert_eq!(place.rows().await, 2);
    let (code, error): (String, String) = sqlx::query_as("select code, error from tailwater_dead_letters")
        .fetch_one(&mut place.connect().await)
        .await
        .expect("one");
    assert_eq!(code, "sink.sqlite.refused");
    assert!(!error.contains("not today"), "what a trigger says may quote an item: {error}");
    lane.commit(group(vec![advance(after(3), after(4), vec![insert(4, "d", "1")])])).await.expect("goes on");
}

/// What is not known to be about a row leaves nothing of its group, until it has come again and again.
#[tokio::test]
async fn an_error_inside_the_transaction_leaves_nothing_of_the_group() {
    let directory = tempfile::tempdir().expect("a directory");
    let place = Place::sqlite(directory.path(), DeleteMode::Soft);
    let (mut lane, _) = place.opened().await;
    lane.commit(group(vec![register()])).await.expect("fits");
    let refuse = "create trigger refuse before insert on \"the \"\"orders\"\"\" when new._event_id = 'event-2' \
                  begin select json_extract('{}', new.document); end";
    execute(&place, refuse).await;
    let events = || vec![insert(1, "a", "1"), insert(2, "b", "1"), insert(3, "c", "1")];
    for _ in 0..3 {
        let refused = lane.commit(group(vec![advance(Position::Start, after(3), events())])).await;
        let failure = refused.expect_err("is refused");
        assert!(!failure.to_string().contains("Customer"), "what SQLite says quotes the document: {failure}");
        assert_eq!(told(Err::<(), _>(failure)), ("reopen", "sink.sqlite.error"));
        assert_eq!(lane.open().await.expect("opens").shards[0].position, Position::Start);
        assert_eq!(place.rows().await, 0);
    }
    let committed = lane.commit(group(vec![advance(Position::Start, after(3), events())])).await.expect("the others");
    assert_eq!((committed.written, committed.dead_lettered), (2, 1));
    assert_eq!(place.rows().await, 2);
}

#[tokio::test]
async fn progress_that_nobody_of_us_wrote_is_refused() {
    let directory = tempfile::tempdir().expect("a directory");
    for place in Place::all(directory.path()) {
        let (mut lane, _) = place.opened().await;
        lane.commit(group(vec![register()])).await.expect("fits");
        execute(&place, "update tailwater_shards set position = 'after:twelve'").await;
        assert_eq!(told(lane.open().await), ("halt", "sink.progress_unreadable"));
        assert_eq!(refused(place.checkpoints("shop").await).code, "sink.progress_unreadable");
        execute(&place, "insert into tailwater_migrations values (1000, '')").await;
        drop(lane);
        let trouble = refused(place.claim().await);
        assert_eq!((trouble.kind, trouble.code), (TroubleKind::Environment, "sink.newer_schema"));
    }
}
