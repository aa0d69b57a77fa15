//! The data file: its lines, and that it holds exactly what the progress stands for.

use std::io::Write;

use tailwater_model::{Change, ChangeEvent, DeleteMode, Position, RemoveCause, Sink, TroubleKind};

use crate::fixture::{Place, advance, after, event, group, identity, image, insert, refused, register, remove, told};

fn content(place: &Place) -> String {
    std::fs::read_to_string(place.path()).expect("the file is there")
}

fn append(place: &Place, text: &str) {
    let mut file = std::fs::OpenOptions::new().append(true).open(place.path()).expect("the file is there");
    file.write_all(text.as_bytes()).expect("written");
}

/// Three events in one commit, and the lane closed again.
async fn three_lines(place: &Place) -> String {
    let (mut lane, _) = place.opened().await;
    let events = vec![insert(1, "a", "1"), insert(2, "b", "1"), insert(3, "c", "1")];
    lane.commit(group(vec![register(), advance(Position::Start, after(3), events)])).await.expect("fits");
    content(place)
}

#[tokio::test]
async fn one_line_per_event_in_stream_order() {
    let directory = tempfile::tempdir().expect("a directory");
    let place = Place::file(directory.path());
    let (mut lane, _) = place.opened().await;
    let old = || Some(image("a", "1.50", r#""s":{"SS":["b","a"]},"q":{"S":"\"\n\u0000"}"#));
    let ttl = Change::Remove { old: old(), cause: RemoveCause::TimeToLive };
    let strange = ChangeEvent {
        source: tailwater_model::SourceInfo { created_at_ms: i64::MAX, ..insert(5, "a", "1").source },
        ..insert(5, "a", "1")
    };
    let events = vec![
        insert(1, "a", "1.50"),
        event(2, "a", "1.50", Change::Modify { old: old(), new: None }),
        event(3, "a", "1.50", ttl),
        strange,
        remove(4, "a", "1.50", None),
    ];
    let committed = lane.commit(group(vec![register(), advance(Position::Start, after(5), events)])).await;
    assert_eq!(committed.expect("fits").figures(), (4, 1));
    let key = r#""table":"Orders","key":{"Customer \"Id\"":"a","order":1.5}"#;
    let old = r#""old":{"order":1.50,"Customer \"Id\"":"a","s":["a","b"],"q":"\"\n\u0000"}"#;
    let from = |n: u64| {
        format!(
            r#""event_id":"event-{n}","sequence_number":"1{n:020}","shard":"shardId-00000001","created_at":"2023-11-14T22:13:20.000Z"}}"#
        )
    };
    let lines = [
        format!(r#"{{"change":"insert",{key},"new":{{"order":1.50,"Customer \"Id\"":"a","n":1}},{}"#, from(1)),
        format!(r#"{{"change":"modify",{key},{old},{}"#, from(2)),
        format!(r#"{{"change":"ttl",{key},{old},{}"#, from(3)),
        format!(r#"{{"change":"remove",{key},{}"#, from(4)),
    ];
    assert_eq!(content(&place), lines.map(|line| line + "\n").concat());
    for line in content(&place).lines() {
        serde_json::from_str::<serde_json::Value>(line).expect("each line is JSON");
    }
}

#[tokio::test]
async fn what_no_commit_stands_for_is_cut_off() {
    let directory = tempfile::tempdir().expect("a directory");
    let place = Place::file(directory.path());
    let whole = three_lines(&place).await;
    // Lines that were synced without the commit of their progress, and a torn one.
    for torn in ["{\"change\":\"ins", "{}\n{}\n", "\0\0\0"] {
        // As a commit tells before its first byte.
        let reaching = "update tailwater_lanes set data_length_bytes_max = data_length_bytes + ?";
        let bytes = i64::try_from(torn.len()).expect("few");
        sqlx::query(reaching).bind(bytes).execute(&mut place.connect().await).await.expect("told");
        append(&place, torn);
        let (mut lane, progress) = place.opened().await;
        assert_eq!(content(&place), whole);
        assert_eq!(progress.shards[0].position, after(3));
        // The same lane after trouble of its own.
        append(&place, torn);
        lane.open().await.expect("opens");
        assert_eq!(content(&place), whole);
    }
    let (mut lane, _) = place.opened().await;
    lane.commit(group(vec![advance(after(3), after(4), vec![insert(4, "d", "1")])])).await.expect("fits");
    assert_eq!(content(&place).lines().count(), 4);
    assert!(content(&place).starts_with(&whole));
}

/// What reaches further than any commit was to write was durable, or somebody else's: nothing of it is cut off.
#[tokio::test]
async fn an_older_progress_cuts_nothing_off() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut place = Place::file(directory.path());
    three_lines(&place).await;
    let older = directory.path().join("backup.progress");
    let backup = "vacuum into ?";
    let to = older.to_str().expect("Unicode");
    sqlx::query(backup).bind(to).execute(&mut place.connect().await).await.expect("copied");
    let (mut lane, _) = place.opened().await;
    lane.commit(group(vec![advance(after(3), after(4), vec![insert(4, "d", "1")])])).await.expect("fits");
    drop(lane);
    let whole = content(&place);
    let (mut lane, _) = place.opened().await;
    append(&place, "{}\n");
    let step = group(vec![advance(after(4), after(5), vec![insert(5, "e", "1")])]);
    assert_eq!(told(lane.commit(step).await), ("halt", "sink.file.data_missing"), "somebody else writes");
    drop(lane);
    std::fs::write(place.path(), &whole).expect("written");
    // The connection closes on a thread of its own.
    for _ in 0..200 {
        if std::fs::exists(format!("{}-wal", place.database().display())).expect("readable") {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    }

    for end in ["", "-wal", "-shm"] {
        let _gone = std::fs::remove_file(format!("{}{end}", place.database().display()));
    }
    std::fs::rename(&older, place.database()).expect("restored");
    let refusal = refused(place.claim().await);
    assert_eq!((refusal.kind, refusal.code), (TroubleKind::DataAtRisk, "sink.target_ahead"));
    assert_eq!(content(&place), whole);
    let Place::File(settings) = &mut place else { unreachable!("it is a file") };
    settings.adopt = token(&refusal);
    let (mut lane, progress) = place.opened().await;
    assert_eq!((content(&place), progress.shards[0].position.clone()), (whole.clone(), after(3)));
    lane.commit(group(vec![advance(after(3), after(4), vec![insert(4, "d", "1")])])).await.expect("goes on");
    assert!(content(&place).starts_with(&whole) && content(&place).lines().count() == 5);
}

fn token(refusal: &tailwater_model::Trouble) -> Option<String> {
    let advice = refusal.advice.as_deref()?;
    advice.split("adopt = \"").nth(1).and_then(|rest| rest.split('"').next()).map(str::to_owned)
}

/// A line that does not end is decided about before the file is adopted; the token stays good.
#[tokio::test]
async fn a_torn_last_line_is_told_before_the_file_is_adopted() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut place = Place::file(directory.path());
    std::fs::write(place.path(), "{}\n{").expect("written");
    let adopt = token(&refused(place.claim().await));
    let Place::File(settings) = &mut place else { unreachable!("it is a file") };
    settings.adopt = adopt;
    for _ in 0..2 {
        let refusal = refused(place.claim().await);
        assert_eq!((refusal.kind, refusal.code), (TroubleKind::DataAtRisk, "sink.file.torn_line"));
    }
    append(&place, "}\n");
    drop(place.opened().await);
    assert_eq!(content(&place), "{}\n{}\n");
}

#[tokio::test]
async fn a_file_that_lost_lines_is_never_filled_up_in_silence() {
    let directory = tempfile::tempdir().expect("a directory");
    let place = Place::file(directory.path());
    let whole = three_lines(&place).await;
    let changed = whole.replace('\n', " ");
    let (replaced, missing) = ("sink.target_replaced", "sink.target_missing");
    for (damage, code) in [
        (Some(&whole[..whole.len() - 1]), replaced),
        (Some(""), replaced),
        (Some(changed.as_str()), replaced),
        (None, missing),
    ] {
        match damage {
            Some(content) => std::fs::write(place.path(), content).expect("written"),
            None => std::fs::remove_file(place.path()).expect("removed"),
        }
        let trouble = refused(place.claim().await);
        assert_eq!((trouble.kind, trouble.code), (TroubleKind::DataAtRisk, code), "{damage:?}");
        assert!(token(&trouble).is_some(), "{damage:?}: {trouble:?}");
        assert_eq!(place.path().exists(), damage.is_some(), "nothing was made in its place");
    }
    // The refusals changed nothing.
    std::fs::write(place.path(), &whole).expect("written");
    assert_eq!(place.opened().await.1.shards[0].position, after(3));
}

/// With the token of the refusal it goes on with what is left, and the file is made again.
#[tokio::test]
async fn a_file_that_is_gone_is_adopted() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut place = Place::file(directory.path());
    three_lines(&place).await;
    std::fs::remove_file(place.path()).expect("removed");
    let adopt = token(&refused(place.claim().await));
    let Place::File(settings) = &mut place else { unreachable!("it is a file") };
    settings.adopt = adopt;
    let (mut lane, progress) = place.opened().await;
    assert_eq!(progress.shards[0].position, after(3));
    lane.commit(group(vec![advance(after(3), after(4), vec![insert(4, "d", "1")])])).await.expect("goes on");
    assert_eq!(content(&place).lines().count(), 1);
}

/// As `logrotate` does with `copytruncate`: what the path leads to is the same file, and it is empty.
#[tokio::test]
async fn a_file_that_is_cut_while_it_is_written_stops_the_lane() {
    for left in [0, 10] {
        let directory = tempfile::tempdir().expect("a directory");
        let place = Place::file(directory.path());
        let (mut lane, _) = place.opened().await;
        let first = vec![register(), advance(Position::Start, after(1), vec![insert(1, "a", "1")])];
        lane.commit(group(first)).await.expect("fits");
        let file = std::fs::OpenOptions::new().write(true).open(place.path()).expect("the file is there");
        file.set_len(left).expect("cut");
        let second = group(vec![advance(after(1), after(2), vec![insert(2, "b", "1")])]);
        assert_eq!(told(lane.commit(second).await), ("halt", "sink.file.data_missing"));
        assert_eq!(std::fs::metadata(place.path()).expect("the file is there").len(), left, "no hole");
        assert_eq!(told(lane.open().await), ("halt", "sink.file.data_missing"));
    }
}

#[tokio::test]
async fn a_file_that_is_moved_away_while_it_is_written_stops_the_lane() {
    let directory = tempfile::tempdir().expect("a directory");
    for place in Place::all(directory.path()) {
        let (mut lane, _) = place.opened().await;
        lane.commit(group(vec![register()])).await.expect("fits");
        std::fs::rename(place.path(), directory.path().join("moved")).expect("moved");
        let events = vec![insert(1, "a", "1")];
        let refused = lane.commit(group(vec![advance(Position::Start, after(1), events)])).await.expect_err("gone");
        assert!(matches!(refused, tailwater_model::Failure::Halt(_)));
        assert_eq!(refused.trouble().kind, TroubleKind::DataAtRisk, "{refused:?}");
        let refused = lane.open().await.expect_err("gone");
        assert_eq!(refused.trouble().kind, TroubleKind::DataAtRisk, "{refused:?}");
        assert!(!place.path().exists(), "nothing was made in its place");
    }
}

/// They hold whole items. What is there already keeps the rights that it has.
#[cfg(unix)]
#[tokio::test]
async fn only_this_user_may_read_the_files_that_are_made() {
    use std::os::unix::fs::PermissionsExt;

    let directory = tempfile::tempdir().expect("a directory");
    for place in Place::all(directory.path()) {
        let (mut lane, _) = place.opened().await;
        lane.commit(group(vec![register()])).await.expect("committed");
    }
    let log = Place::sqlite(directory.path(), DeleteMode::Soft);
    let (_open, _) = log.opened().await;
    let mut names = Vec::new();
    for entry in std::fs::read_dir(directory.path()).expect("readable") {
        let entry = entry.expect("an entry");
        // A connection that is closed takes its log away in its own time.
        let Ok(metadata) = entry.metadata() else { continue };
        let mode = metadata.permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{entry:?}");
        names.push(entry.file_name().into_string().expect("a name"));
    }
    for name in ["mirror.sqlite", "mirror.sqlite-wal", "orders.jsonl", "orders.jsonl.progress"] {
        assert!(names.iter().any(|found| found == name), "{name} of {names:?}");
    }

    let shared = tempfile::tempdir().expect("a directory");
    let place = Place::file(shared.path());
    std::fs::write(place.path(), "").expect("made");
    std::fs::set_permissions(place.path(), std::fs::Permissions::from_mode(0o644)).expect("set");
    drop(place.claim().await.expect("claimed"));
    let mode = std::fs::metadata(place.path()).expect("is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o644);
}

#[tokio::test]
async fn the_content_of_others_is_left_alone() {
    let directory = tempfile::tempdir().expect("a directory");
    let place = Place::file(directory.path());
    std::fs::write(place.path(), "dear diary\n").expect("written");
    let trouble = refused(place.claim().await);
    assert_eq!((trouble.kind, trouble.code), (TroubleKind::DataAtRisk, "sink.target_without_progress"));
    assert_eq!(content(&place), "dear diary\n");

    std::fs::write(place.path(), "").expect("written");
    three_lines(&place).await;
    let mut other = identity();
    other.name = "other".into();
    let trouble = refused(place.claim_as(&other).await);
    assert_eq!((trouble.kind, trouble.code), (TroubleKind::Config, "sink.file.other_pipeline"));
    other.lanes = 2;
    assert_eq!(refused(place.claim_as(&other).await).code, "sink.file.lanes");

    std::fs::remove_file(place.database()).expect("removed");
    assert_eq!(refused(place.claim().await).code, "sink.target_without_progress");
}

/// What is in the file stays, and lines come behind it.
#[tokio::test]
async fn a_file_without_its_progress_is_adopted_once() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut place = Place::file(directory.path());
    let whole = three_lines(&place).await;
    let mut tokens = Vec::new();
    for _ in 0..2 {
        std::fs::remove_file(place.database()).expect("removed");
        for _ in 0..2 {
            let refusal = refused(place.claim().await);
            assert_eq!(refusal.code, "sink.target_without_progress");
            let advice = refusal.advice.expect("both ways on");
            let token = advice.split("adopt = \"").nth(1).and_then(|rest| rest.split('"').next());
            tokens.push(token.expect("a token").to_owned());
        }
        let Place::File(settings) = &mut place else { unreachable!("it is a file") };
        settings.adopt = tokens.last().cloned();
        drop(place.opened().await);
        let (mut lane, progress) = place.opened().await;
        assert!(progress.shards.is_empty(), "it begins anew");
        let again = advance(Position::Start, after(1), vec![insert(1, "a", "1")]);
        lane.commit(group(vec![register(), again])).await.expect("fits");
        assert!(content(&place).starts_with(&whole), "nothing was cut off");
    }
    assert_eq!(content(&place).lines().count(), 5);
    assert!(tokens[0] == tokens[1] && tokens[2] == tokens[3] && tokens[1] != tokens[2], "{tokens:?}");
}

#[tokio::test]
async fn progress_that_is_gone_is_not_begun_anew_by_a_running_lane() {
    let directory = tempfile::tempdir().expect("a directory");
    let place = Place::file(directory.path());
    let (mut lane, _) = place.opened().await;
    lane.commit(group(vec![register()])).await.expect("fits");
    std::fs::remove_file(place.database()).expect("removed");
    let step = group(vec![advance(Position::Start, after(1), vec![insert(1, "a", "1")])]);
    assert_eq!(told(lane.commit(step).await), ("halt", "sink.file.progress_gone"));
    assert_eq!(told(lane.open().await), ("halt", "sink.file.progress_gone"));
}
