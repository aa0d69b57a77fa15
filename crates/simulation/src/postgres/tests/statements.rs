//! The sink's statements, one by one.

use std::sync::Arc;
use std::time::Duration;

use tailwater_model::{FirstListing, Item, Key, KeyAttribute, KeyKind, KeySchema, ServiceTime};
use tailwater_sink_postgres::Holder;

use crate::postgres::backend::{Command, SessionTimes};
use crate::postgres::executing::Executing;
use crate::postgres::mirror_sql::{Document, RowToWrite, remove_rows, upsert_rows};
use crate::postgres::owner_sql::{hand_over, holder, own, show_life, stored_owner};
use crate::postgres::progress_sql::{
    GapToStore, LaneOfStream, ShardStep, advance_shards, advisory_lock, bump_epoch, count_lanes, fence_lane,
    forget_shards, recount_refused, register_shards, shards_of_lane, store_gaps, take_lanes,
};
use crate::postgres::session::{ModelSession, SessionFault};
use crate::postgres::stream_sql::{forget_other_streams, read_stream, store_first_listing, store_stream};
use crate::postgres::{
    Claimed, Faults, GapRow, Happening, MirrorRow, ModelServer, StoredCounts, Trigger, TriggerAnswer,
};

const TIMES: SessionTimes =
    SessionTimes { statement_timeout: Duration::from_secs(30), lock_timeout: Duration::from_secs(10) };

async fn connect(server: &ModelServer) -> ModelSession {
    let answer_within = TIMES.statement_timeout * 2;
    ModelSession::connect(server, "test".into(), TIMES, answer_within, answer_within).await.expect("a session")
}

fn key(id: &str) -> Key {
    let schema = KeySchema { partition: KeyAttribute { name: "id".into(), kind: KeyKind::S }, sort: None };
    let item = Item::parse(format!(r#"{{"id":{{"S":"{id}"}}}}"#).into()).expect("an item");
    schema.read(&item).expect("a key")
}

fn to_write(id: &str, document: &str) -> RowToWrite {
    let row = MirrorRow {
        document: document.into(),
        op: "insert".into(),
        sequence_number: "1".into(),
        event_id: "e".into(),
        created_at_ms: 0,
        deleted: false,
    };
    RowToWrite { key: key(id), row }
}

async fn write(session: &mut ModelSession, rows: Vec<RowToWrite>, document: Document) -> Result<u64, &'static str> {
    let table: Arc<str> = "t".into();
    let done =
        session.run(true, move |sql: Executing| async move { upsert_rows(&sql, &table, rows, document).await }).await;
    done.map_err(state_of)
}

fn state_of(fault: SessionFault) -> &'static str {
    match fault {
        SessionFault::Sql(error) => error.state,
        other => panic!("not an answer: {other:?}"),
    }
}

fn of() -> LaneOfStream {
    LaneOfStream { pipeline: "p".into(), stream_arn: "s".into(), lane: 1 }
}

fn elsewhere() -> LaneOfStream {
    LaneOfStream { lane: 0, ..of() }
}

fn step(shard: &str, begins: Option<&str>, ends: &str) -> ShardStep {
    let counts = StoredCounts { read: 2, written: 2, ..StoredCounts::default() };
    ShardStep { shard: shard.into(), begins: begins.map(Into::into), ends: ends.into(), read_until_ms: None, counts }
}

#[tokio::test(start_paused = true)]
async fn a_claim_takes_every_lane_and_the_owner_before_is_fenced() {
    let server = ModelServer::new(1);
    let mut first = connect(&server).await;
    let take = |owner: &'static str| {
        async move |sql| {
            advisory_lock(&sql, 7).await?;
            take_lanes(&sql, "p", 2, owner).await
        }
    };
    first.run(true, take("me")).await.expect("taken");
    assert_eq!(
        first.run(true, |sql: Executing| async move { bump_epoch(&sql, "p", 1, "me").await }).await,
        Ok(Some(2))
    );
    assert_eq!(
        first.run(true, |sql: Executing| async move { fence_lane(&sql, "p", 1, 2, "me").await }).await,
        Ok(true)
    );
    let mut second = connect(&server).await;
    second.run(true, take("you")).await.expect("taken");
    for (lane, epoch, owner, held) in [(1, 2, "me", false), (1, 3, "me", false), (1, 3, "you", true)] {
        let fence = move |sql: Executing| async move { fence_lane(&sql, "p", lane, epoch, owner).await };
        assert_eq!(first.run(true, fence).await, Ok(held), "{epoch} {owner}");
    }
    assert_eq!(first.run(true, |sql: Executing| async move { bump_epoch(&sql, "p", 1, "me").await }).await, Ok(None));
    let look = |sql: Executing| async move {
        Ok((holder(&sql, "p", 1, "me", 1), holder(&sql, "p", 9, "me", 1), count_lanes(&sql, "p")))
    };
    assert_eq!(first.run(false, look).await, Ok((Holder::Another, Holder::Nobody, 2)));
}

#[tokio::test(start_paused = true)]
async fn an_owner_shows_life_hands_over_and_is_told_from_one_before() {
    let server = ModelServer::new(1);
    let mut session = connect(&server).await;
    let claim = |owner: &'static str| {
        move |sql: Executing| async move {
            take_lanes(&sql, "p", 2, owner).await?;
            own(&sql, "p", owner).await
        }
    };
    assert_eq!(session.run(true, claim("me")).await, Ok(1));
    let shows = |owner: &'static str| move |sql: Executing| async move { show_life(&sql, "p", owner).await };
    assert_eq!(session.run(true, shows("me")).await, Ok(true));
    assert_eq!(session.run(true, claim("you")).await, Ok(2));
    assert_eq!(session.run(true, shows("me")).await, Ok(false));
    let held = |claim: i64| move |sql: Executing| async move { Ok(holder(&sql, "p", 0, "me", claim)) };
    assert_eq!(session.run(false, held(1)).await, Ok(Holder::Another));
    // As after a fail-over that took back a third claim, which was ours.
    assert_eq!(session.run(false, held(3)).await, Ok(Holder::Older));
    for (owner, released) in [("me", false), ("you", true)] {
        let hands_over = move |sql: Executing| async move { hand_over(&sql, "p", owner).await };
        session.run(true, hands_over).await.expect("done");
        let look = |sql: Executing| async move { Ok(stored_owner(&sql, "p").map(|stored| stored.released)) };
        assert_eq!(session.run(false, look).await, Ok(Some(released)));
    }
}

#[tokio::test(start_paused = true)]
async fn a_step_applies_only_where_it_fits() {
    let server = ModelServer::new(1);
    let mut session = connect(&server).await;
    let register = || vec![step("a", None, "start"), step("b", Some("a"), "start")];
    let registered = |steps: Vec<ShardStep>| |sql: Executing| async move { register_shards(&sql, &of(), steps).await };
    assert_eq!(session.run(true, registered(register())).await, Ok(2));
    assert_eq!(session.run(true, registered(register())).await, Ok(0), "they are there already");
    for (begins, ends, moved) in [("start", "after:1", 1), ("start", "after:2", 0), ("after:1", "end", 1)] {
        let steps = vec![step("a", Some(begins), ends)];
        assert_eq!(
            session.run(true, |sql: Executing| async move { advance_shards(&sql, &of(), steps).await }).await,
            Ok(moved)
        );
    }
    let recount = |sql: Executing| async move { recount_refused(&sql, "p", "s", vec!["a".into(), "a".into()]).await };
    session.run(true, recount).await.expect("recounted");
    let mine =
        session.run(false, |sql: Executing| async move { Ok(shards_of_lane(&sql, &of())) }).await.expect("a read");
    let counts = StoredCounts { read: 6, written: 4, dead_lettered: 2, ..StoredCounts::default() };
    assert_eq!((mine[0].0.as_str(), mine[0].1.position.as_str(), mine[0].1.counts), ("a", "end", counts));
    assert_eq!((mine[1].1.parent.as_deref(), mine.len()), (Some("a"), 2));
    let others = session.run(false, |sql: Executing| async move { Ok(shards_of_lane(&sql, &elsewhere()).len()) }).await;
    assert_eq!(others, Ok(0));
    for (of, shard, gone) in [(elsewhere(), "a", 0), (of(), "b", 0), (of(), "a", 1), (of(), "a", 0)] {
        let forget = move |sql: Executing| async move { forget_shards(&sql, &of, vec![shard.to_owned()], "end").await };
        assert_eq!(session.run(true, forget).await, Ok(gone), "{shard}");
    }
}

#[tokio::test(start_paused = true)]
async fn rows_are_refused_one_by_one_and_a_savepoint_saves_the_others() {
    let server = ModelServer::new(1);
    server.set_faults(Faults { refused_text: Some("poison".into()), ..Faults::default() });
    let mut session = connect(&server).await;
    let long = "k".repeat(3072);
    for (id, document, state) in [
        ("a", r#"{"v":"\u0000"}"#, Err("22P05")),
        ("a", r#"{"v":"\\u0000"}"#, Ok(1)),
        ("a", "{\0}", Err("22021")),
        ("a", r#"{"v":"poison"}"#, Err("23514")),
        (&long, "{}", Err("54000")),
    ] {
        assert_eq!(write(&mut session, vec![to_write(id, document)], Document::Replaced).await, state, "{document}");
    }
    session.command(Command::Begin).await.expect("begun");
    session.command(Command::Savepoint("part")).await.expect("a savepoint");
    let both = vec![to_write("b", "{}"), to_write("c", "poison")];
    assert_eq!(write(&mut session, both, Document::Replaced).await, Err("23514"));
    session.command(Command::RollbackTo("part")).await.expect("rolled back");
    assert_eq!(write(&mut session, vec![to_write("b", "{}")], Document::Replaced).await, Ok(1));
    session.command(Command::Commit).await.expect("committed");
    assert_eq!(write(&mut session, vec![to_write("b", "other")], Document::Kept).await, Ok(1));
    let documents: Vec<_> = server.mirror_rows().into_iter().map(|look| look.row.document.to_string()).collect();
    assert_eq!(documents, [r#"{"v":"\\u0000"}"#, "{}"]);
    let remove = |sql: Executing| async move { remove_rows(&sql, &"t".into(), vec![key("a"), key("none")]).await };
    assert_eq!(session.run(true, remove).await.expect("removed"), 0, "a row that was not there has not stayed");
    assert_eq!(server.mirror_rows().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_trigger_leaves_rows_out_or_raises_what_its_author_chose() {
    let server = ModelServer::new(1);
    let mut session = connect(&server).await;
    assert_eq!(write(&mut session, vec![to_write("old", r#"{"v":"gone"}"#)], Document::Replaced).await, Ok(1));
    let trigger = |text: &str, answer| Trigger { text: text.into(), answer };
    let triggers = vec![trigger("gone", TriggerAnswer::Null), trigger("odd", TriggerAnswer::Raises("MY001"))];
    server.set_faults(Faults { triggers, ..Faults::default() });
    let rows = vec![to_write("a", "{}"), to_write("b", r#"{"v":"gone"}"#), to_write("c", "{}")];
    assert_eq!(write(&mut session, rows, Document::Replaced).await, Ok(2));
    server.heal();
    let rows = vec![to_write("d", "{}"), to_write("e", r#"{"v":"odd"}"#)];
    assert_eq!(write(&mut session, rows, Document::Replaced).await, Err("MY001"), "healing leaves what is the user's");
    // An update is looked at as it will be: with the document that is kept.
    assert_eq!(write(&mut session, vec![to_write("old", "{}")], Document::Kept).await, Ok(0));
    let documents: Vec<_> = server.mirror_rows().into_iter().map(|look| look.row.document.to_string()).collect();
    assert_eq!(documents, ["{}", "{}", r#"{"v":"gone"}"#]);
}

#[tokio::test(start_paused = true)]
async fn a_trigger_leaves_a_row_as_it_is_and_the_count_says_so() {
    let server = ModelServer::new(1);
    let mut session = connect(&server).await;
    let trigger = |text: &str, answer| Trigger { text: text.into(), answer };
    let triggers = vec![trigger("old", TriggerAnswer::OldRow), trigger("kept", TriggerAnswer::NullForDelete)];
    server.set_faults(Faults { triggers, ..Faults::default() });
    let rows = vec![to_write("a", r#"{"v":"old"}"#), to_write("b", r#"{"v":"kept"}"#), to_write("c", "{}")];
    assert_eq!(write(&mut session, rows, Document::Replaced).await, Ok(3), "an insert has no old row");
    let rows = vec![to_write("b", r#"{"v":"old"}"#), to_write("c", "[]")];
    assert_eq!(write(&mut session, rows, Document::Replaced).await, Ok(1));
    let keys = vec![key("b"), key("c"), key("none")];
    let remove = |sql: Executing| async move { remove_rows(&sql, &"t".into(), keys).await };
    assert_eq!(session.run(true, remove).await.expect("answers"), 1);
    let documents: Vec<_> = server.mirror_rows().into_iter().map(|look| look.row.document.to_string()).collect();
    assert_eq!(documents, [r#"{"v":"old"}"#, r#"{"v":"kept"}"#]);
}

#[tokio::test(start_paused = true)]
async fn a_stream_becomes_known_once_and_takes_the_place_of_the_one_before_it() {
    let server = ModelServer::new(1);
    let mut session = connect(&server).await;
    for stream in ["s", "next"] {
        let store = move |sql: Executing| async move { store_stream(&sql, "p", stream, "table", "id").await };
        session.run(true, store).await.expect("stored");
    }
    let first = FirstListing::stored(ServiceTime::from_ms(5));
    for listing in [FirstListing::begun(ServiceTime::from_ms(4)), first, FirstListing::stored(ServiceTime::from_ms(6))]
    {
        let store = move |sql: Executing| async move { store_first_listing(&sql, "p", "s", listing).await };
        session.run(true, store).await.expect("stored");
    }
    let register = |sql: Executing| async move { register_shards(&sql, &of(), vec![step("a", None, "start")]).await };
    session.run(true, register).await.expect("registered");
    let read = |stream: &'static str| move |sql: Executing| async move { Ok(read_stream(&sql, "p", stream)) };
    let stored = session.run(false, read("s")).await.expect("a read").expect("a stream");
    assert_eq!(stored.first_listing, Some(first));
    assert_eq!(stored.previous_stream, None, "the other was never read");
    let stored = session.run(false, read("next")).await.expect("a read").expect("a stream");
    assert_eq!((stored.first_listing, stored.previous_stream.as_deref()), (None, Some("s")));
    for (since_ms, gaps) in [(None, 1), (None, 1), (Some(5), 2)] {
        let row = GapRow { until_ms: 7, detail: "d".into(), stopped: true };
        let gap = GapToStore { shard: None, cause: "away".into(), after: "start".into(), since_ms, row };
        session
            .run(true, |sql: Executing| async move { store_gaps(&sql, "p", "s", vec![gap]).await })
            .await
            .expect("stored");
        assert_eq!((server.gaps().len(), server.gaps()[0].shard.as_deref()), (gaps, None), "{since_ms:?}");
    }
    for (table, streams) in [("another", 2), ("table", 1)] {
        let forget = move |sql: Executing| async move { forget_other_streams(&sql, "p", "next", table).await };
        session.run(true, forget).await.expect("done");
        assert_eq!((server.streams().len(), server.shards().len()), (streams, streams - 1));
    }
    assert_eq!(server.gaps().len(), 2, "the ledger stays");
}

#[tokio::test(start_paused = true)]
async fn a_watcher_sees_every_commit_with_its_ownership_and_what_a_fail_over_takes_back() {
    let server = ModelServer::new(1);
    let story = Arc::new(std::sync::Mutex::new(Vec::new()));
    let told = Arc::clone(&story);
    server.watch(Box::new(move |happening| {
        let line = match happening {
            Happening::Committed(commit) => (commit.number, commit.claimed.clone(), commit.changes.len()),
            Happening::FailedOver(lost) => (0, None, lost.len()),
        };
        told.lock().expect("no panic").push(line);
    }));
    let mut session = connect(&server).await;
    session.run(true, |sql: Executing| async move { take_lanes(&sql, "p", 2, "me").await }).await.expect("taken");
    session.run(true, |sql: Executing| async move { bump_epoch(&sql, "p", 1, "me").await }).await.expect("bumped");
    session.run(false, |sql: Executing| async move { Ok(holder(&sql, "p", 1, "me", 1)) }).await.expect("a read");
    assert_eq!(server.fail_over(1), 1);
    let claimed = |lane, epoch| Some(Claimed { pipeline: "p".into(), lane, owner: "me".into(), epoch });
    let expected = vec![(1, claimed(None, None), 2), (2, claimed(Some(1), Some(2)), 1), (0, None, 1)];
    assert_eq!(*story.lock().expect("no panic"), expected);
    assert_eq!(server.lanes()[1].row.epoch, 1, "the epoch went back with the rest");
    assert_eq!(server.kill_connections(Some("me")), 0, "the fail-over ended the session");
}
