//! What every durable sink must do, tried on each.

use std::time::Duration;

use tailwater_model::{
    Committed, Counts, DeadLetter, FirstListing, Gap, GapCause, Position, ServiceTime, ShardId, Sink, TroubleKind,
};

use crate::fixture::{Place, SHARD, advance, after, event, group, identity, insert, number, refused, register, told};

fn letter(sequence: u64) -> DeadLetter {
    DeadLetter {
        shard: ShardId::new(SHARD),
        sequence_number: number(sequence),
        event_id: format!("event-{sequence}").into(),
        code: "source.undecodable",
        error: "it is odd".into(),
        record: r#"{"odd":"\u0000"}"#.into(),
    }
}

#[tokio::test]
async fn what_was_committed_is_there_after_opening() {
    let directory = tempfile::tempdir().expect("a directory");
    for place in Place::all(directory.path()) {
        let (mut lane, progress) = place.opened().await;
        assert_eq!(progress, tailwater_model::Progress::default());
        let first =
            group(vec![register(), advance(Position::Start, after(2), vec![insert(1, "a", "1"), insert(2, "b", "2")])]);
        assert_eq!(lane.commit(first).await.expect("fits").figures(), (2, 0));
        let (moment, later) = (ServiceTime::from_ms(1_700_000_000_123), ServiceTime::from_ms(1_800_000_000_000));
        let mut last = group(vec![advance(after(2), Position::End, vec![])]);
        last.batches[0].read_until = Some(moment);
        last.first_listing = Some(FirstListing::stored(moment));
        assert_eq!(lane.commit(last).await.expect("fits"), Committed::default());

        for again in 0..2 {
            let progress = lane.open().await.expect("opens");
            assert_eq!(progress.shards.len(), 1, "{again}");
            assert_eq!((progress.shards[0].shard.as_str(), &progress.shards[0].position), (SHARD, &Position::End));
            assert_eq!((progress.shards[0].read_until, progress.known_since()), (Some(moment), Some(moment)));
        }
        let again = tailwater_model::Group { first_listing: Some(FirstListing::stored(later)), ..Default::default() };
        lane.commit(again).await.expect("fits");
        drop(lane);
        let (_lane, progress) = place.opened().await;
        assert_eq!(progress.known_since(), Some(moment), "the first one stays");
        assert_eq!(place.rows().await, 2);
    }
}

#[tokio::test]
async fn a_step_that_does_not_fit_writes_nothing() {
    let directory = tempfile::tempdir().expect("a directory");
    for place in Place::all(directory.path()) {
        let (mut lane, _) = place.opened().await;
        lane.commit(group(vec![register()])).await.expect("fits");
        for steps in [
            vec![advance(after(7), after(8), vec![insert(8, "x", "1")])],
            vec![advance(Position::Start, after(1), vec![insert(1, "x", "1")]), register()],
            vec![
                advance(Position::Start, after(1), vec![insert(1, "x", "1")]),
                advance(Position::Start, after(2), vec![insert(2, "y", "1")]),
            ],
        ] {
            let before = lane.open().await.expect("opens");
            assert_eq!(told(lane.commit(group(steps)).await), ("reopen", "sink.step_refused"));
            // The lane must be opened before it takes anything again.
            let fits = group(vec![advance(Position::Start, Position::Start, vec![])]);
            assert_eq!(told(lane.commit(fits).await), ("reopen", "sink.not_open"));
            assert_eq!(place.rows().await, 0);
            assert_eq!(lane.open().await.expect("opens").shards, before.shards);
        }
    }
}

#[tokio::test]
async fn a_cancelled_commit_leaves_a_lane_that_must_be_opened() {
    let directory = tempfile::tempdir().expect("a directory");
    for place in Place::all(directory.path()) {
        let (mut lane, _) = place.opened().await;
        lane.commit(group(vec![register()])).await.expect("fits");
        let mut from = Position::Start;
        for sequence in 1..40_u64 {
            let events = vec![insert(sequence, "c", &sequence.to_string())];
            let commit = lane.commit(group(vec![advance(from.clone(), after(sequence), events)]));
            let waited = Duration::from_micros(sequence * 60);
            if tokio::time::timeout(waited, commit).await.is_err() {
                let refused = lane.commit(group(vec![register()])).await;
                assert_eq!(told(refused), ("reopen", "sink.not_open"));
                let progress = lane.open().await.expect("opens");
                from = progress.shards[0].position.clone();
            } else {
                from = after(sequence);
            }
        }
        let progress = lane.open().await.expect("opens");
        // Either both the row and the step are there, or neither is.
        let counts = place.checkpoints("shop").await.expect("readable").expect("was run").shards[0].counts;
        assert_eq!(place.rows().await as u64, counts.written);
        assert_eq!(progress.shards[0].position, from);
        assert!(counts.balance(), "{counts:?}");
    }
}

#[tokio::test]
async fn the_newest_claimer_goes_on_and_the_other_stops() {
    let directory = tempfile::tempdir().expect("a directory");
    let [sqlite, file] = Place::all(directory.path());
    let (mut first, _) = sqlite.opened().await;
    let (mut second, _) = sqlite.opened().await;
    assert_eq!(told(first.commit(group(vec![register()])).await), ("halt", "sink.taken_over"));
    assert_eq!(told(first.open().await), ("halt", "sink.taken_over"));
    second.commit(group(vec![register()])).await.expect("fits");

    // The file is locked besides, until the first lets it go.
    let (mut first, _) = file.opened().await;
    first.commit(group(vec![register()])).await.expect("fits");
    let mut claiming = Box::pin(file.opened());
    assert!(tokio::time::timeout(Duration::from_millis(300), &mut claiming).await.is_err(), "it waits for the lock");
    assert_eq!(
        told(first.commit(group(vec![advance(Position::Start, after(1), vec![insert(1, "a", "1")])])).await),
        ("halt", "sink.taken_over")
    );
    assert_eq!(told(first.open().await), ("halt", "sink.taken_over"));
    drop(first);
    let (mut second, progress) = claiming.await;
    assert_eq!((progress.shards.len(), file.rows().await), (1, 0));
    second.commit(group(vec![advance(Position::Start, after(1), vec![insert(1, "a", "1")])])).await.expect("goes on");
    assert_eq!(file.rows().await, 1);
}

#[tokio::test]
async fn gaps_are_unique_and_dead_letters_whole() {
    let directory = tempfile::tempdir().expect("a directory");
    for place in Place::all(directory.path()) {
        let (mut lane, _) = place.opened().await;
        let gap = |cause| Gap {
            shard: Some(ShardId::new(SHARD)),
            cause,
            after: Position::Start,
            since: None,
            until: ServiceTime::from_ms(1_700_000_000_000),
            detail: "it was trimmed".into(),
            stop: false,
        };
        lane.commit(group(vec![register()])).await.expect("fits");
        for cause in [GapCause::Trimmed, GapCause::Trimmed, GapCause::ShardGone] {
            let mut found = advance(Position::Start, Position::Start, vec![]);
            found.gap = Some(gap(cause));
            lane.commit(group(vec![found])).await.expect("fits");
        }
        let mut whole_stream = advance(Position::Start, Position::Start, vec![]);
        whole_stream.gap = Some(Gap { shard: None, ..gap(GapCause::Away) });
        lane.commit(group(vec![whole_stream])).await.expect("fits");

        // One from the source, one that the sink refuses.
        let odd_key =
            tailwater_model::ChangeEvent { key: crate::fixture::item(r#"{"order":{"N":"1"}}"#), ..insert(2, "b", "1") };
        let mut odd = advance(Position::Start, after(3), vec![insert(1, "a", "1"), odd_key.clone()]);
        odd.dead_letters.push(letter(3));
        odd.counts = Counts { read: 5, written: 2, filtered: 1, dead_lettered: 1, suppressed: 1 };
        let committed = lane.commit(group(vec![odd])).await.expect("fits");
        assert_eq!(committed.figures(), (1, 2));

        let checkpoints = place.checkpoints("shop").await.expect("readable").expect("was run");
        assert_eq!((checkpoints.gaps, checkpoints.dead_letters), (3, 2));
        let counts = Counts { read: 5, written: 1, filtered: 1, dead_lettered: 2, suppressed: 1 };
        assert_eq!(checkpoints.shards[0].counts, counts);
        assert!(counts.balance());
        let stored: Vec<(String, String, String)> =
            sqlx::query_as("select sequence_number, code, record from tailwater_dead_letters order by id desc")
                .fetch_all(&mut place.connect().await)
                .await
                .expect("readable");
        assert_eq!(stored[0], (number(2).to_string(), "sink.key_mismatch".to_owned(), odd_key.record_json()));
        assert_eq!(stored[1].2, letter(3).record);
    }
}

/// A step with as many dead letters, and an event that is written.
fn odd(from: Position, to: u64, letters: std::ops::RangeInclusive<u64>) -> tailwater_model::Batch {
    let mut odd = advance(from, after(to), vec![insert(to, &format!("{to}"), "1")]);
    odd.dead_letters = letters.map(letter).collect();
    let dead_lettered = odd.dead_letters.len() as u64;
    odd.counts = Counts { read: 1 + dead_lettered, written: 1, dead_lettered, ..Counts::default() };
    odd
}

#[tokio::test]
async fn too_many_dead_letters_are_not_stored_and_stop_the_pipeline() {
    let directory = tempfile::tempdir().expect("a directory");
    for place in Place::all(directory.path()) {
        let (mut lane, _) = place.opened().await;
        let two = lane.commit(group(vec![register(), odd(Position::Start, 3, 1..=2)])).await;
        assert_eq!(two.expect("two are allowed").dead_lettered, 2);
        let lines = std::fs::read(place.path()).expect("readable").len();
        assert_eq!(told(lane.commit(group(vec![odd(after(3), 5, 4..=4)])).await), ("halt", "sink.dead_letter_rate"));
        drop(lane);
        assert_eq!(place.checkpoints("shop").await.expect("readable").expect("was run").dead_letters, 2);
        if let Place::File(_) = place {
            assert_eq!(std::fs::read(place.path()).expect("readable").len(), lines, "nothing was appended");
        }
        // A start does not lift the brake, and a greater number does.
        for allowed in [2, 0, 1, 2] {
            let trouble = refused(place.allowing(allowed).claim().await);
            assert_eq!((trouble.kind, trouble.code), (TroubleKind::Config, "sink.dead_letter_rate"));
            assert!(trouble.advice.is_some(), "{trouble:?}");
            assert_eq!(refused(place.allowing(allowed).check().await), trouble, "a look says the same");
        }
        let (mut lane, progress) = place.allowing(3).opened().await;
        assert_eq!(progress.shards[0].position, after(3));
        lane.commit(group(vec![odd(after(3), 5, 4..=4)])).await.expect("three are allowed now");
        drop(lane);
        // It is lifted for good, and what was stored counts on, in another process too.
        let (mut lane, _) = place.opened().await;
        lane.commit(group(vec![advance(after(5), after(6), vec![])])).await.expect("a group without any");
        assert_eq!(told(lane.commit(group(vec![odd(after(6), 8, 7..=7)])).await), ("halt", "sink.dead_letter_rate"));
    }
}

#[tokio::test]
async fn only_the_last_minute_counts() {
    let directory = tempfile::tempdir().expect("a directory");
    for place in Place::all(directory.path()) {
        let (mut lane, _) = place.opened().await;
        lane.commit(group(vec![register(), odd(Position::Start, 3, 1..=2)])).await.expect("two are allowed");
        // The second as after a clock was set back by an hour.
        for (by, from) in [("-61 seconds", 3), ("+1 hour", 6)] {
            let aged = "update tailwater_dead_letters set stored_at = strftime('%Y-%m-%dT%H:%M:%fZ', 'now', ?)";
            sqlx::query(aged).bind(by).execute(&mut place.connect().await).await.expect("updated");
            lane.commit(group(vec![odd(after(from), from + 3, from + 1..=from + 2)])).await.expect("two more");
        }
    }
}

#[tokio::test]
async fn progress_belongs_to_pipeline_stream_and_lane() {
    let directory = tempfile::tempdir().expect("a directory");
    let place = &Place::all(directory.path())[0];
    let mut two_lanes = identity();
    two_lanes.lanes = 2;
    let mut lanes = place.claim_as(&two_lanes).await.expect("claimed");
    assert_eq!(lanes.len(), 2);
    for lane in &mut lanes {
        lane.open().await.expect("opens");
    }
    lanes[1].commit(group(vec![register()])).await.expect("fits");
    assert_eq!(lanes[0].open().await.expect("opens").shards, []);
    assert_eq!(lanes[1].open().await.expect("opens").shards.len(), 1);
    // Another lane may not move it.
    let moved = lanes[0].commit(group(vec![advance(Position::Start, after(1), vec![])])).await;
    assert_eq!(told(moved), ("reopen", "sink.step_refused"));

    let trouble = refused(place.claim_as(&identity()).await);
    assert_eq!((trouble.kind, trouble.code), (TroubleKind::Config, "sink.lane_count"));
    assert!(trouble.advice.is_some_and(|advice| advice.contains("lanes = 2")));

    let mut next_stream = two_lanes.clone();
    next_stream.stream.stream_arn.push('2');
    let mut lanes = place.claim_as(&next_stream).await.expect("claimed");
    let progress = lanes[1].open().await.expect("opens");
    assert_eq!(progress.shards, []);
    let previous = progress.previous_stream.expect("it was read");
    assert_eq!((previous.stream_arn, previous.read_until), (identity().stream.stream_arn, None));
    assert_eq!(place.checkpoints("shop").await.expect("readable").expect("was run").shards.len(), 1);
    assert_eq!(place.checkpoints("other").await.expect("readable"), None);
}

#[tokio::test]
async fn both_lanes_commit_at_once() {
    let directory = tempfile::tempdir().expect("a directory");
    let place = &Place::all(directory.path())[0];
    let mut two_lanes = identity();
    two_lanes.lanes = 2;
    let lanes = place.claim_as(&two_lanes).await.expect("claimed");
    let mut tasks = Vec::new();
    for (number, mut lane) in lanes.into_iter().enumerate() {
        tasks.push(tokio::spawn(async move {
            lane.open().await.expect("opens");
            let shard = ShardId::new(&format!("shard-{number}"));
            let mut first = register();
            first.shard = shard.clone();
            lane.commit(group(vec![first])).await.expect("fits");
            let mut from = Position::Start;
            for sequence in 1..50 {
                let mut step = advance(
                    from,
                    after(sequence),
                    vec![insert(sequence, &format!("c{number}"), &sequence.to_string())],
                );
                step.shard = shard.clone();
                lane.commit(group(vec![step])).await.expect("fits");
                from = after(sequence);
            }
        }));
    }
    for task in tasks {
        task.await.expect("no panic");
    }
    assert_eq!(place.rows().await, 98);
}

#[tokio::test]
async fn looking_at_checkpoints_leaves_nothing_behind() {
    let directory = tempfile::tempdir().expect("a directory");
    let names = || {
        let entries = std::fs::read_dir(directory.path()).expect("readable");
        let mut names: Vec<_> = entries.map(|entry| entry.expect("an entry").file_name()).collect();
        names.sort();
        names
    };
    for place in Place::all(directory.path()) {
        let before = names();
        assert_eq!(place.checkpoints("shop").await.expect("a missing file is no trouble"), None);
        assert_eq!(names(), before);
        let (mut lane, _) = place.opened().await;
        lane.commit(group(vec![register()])).await.expect("fits");
        assert!(place.checkpoints("shop").await.expect("readable while it runs").is_some());
        lane.commit(group(vec![advance(Position::Start, after(1), vec![event_of(1)])])).await.expect("fits");
        drop(lane);
        // The connection closes on a thread of its own.
        for _ in 0..200 {
            if names().iter().any(|name| name.to_string_lossy().ends_with("-wal")) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
        let before = names();
        let checkpoints = place.checkpoints("shop").await.expect("readable").expect("was run");
        assert_eq!(checkpoints.shards[0].position, after(1));
        assert!(checkpoints.shards[0].updated_at.ends_with('Z'));
        assert_eq!(names(), before);
    }
}

fn event_of(sequence: u64) -> tailwater_model::ChangeEvent {
    let new = crate::fixture::image("a", "1", r#""x":{"BOOL":true}"#);
    event(sequence, "a", "1", tailwater_model::Change::Modify { old: None, new: Some(new) })
}
