//! Who owns a pipeline in a file: how the owner so far learns that it is to let it go, and what looking leaves behind.

use std::time::Duration;

use tailwater_model::{Owner, Ownership, Position, Sink, TroubleKind};
use tailwater_sink_local::{claim_file, claim_sqlite};
use tokio::time::timeout;

use crate::fixture::{Place, advance, after, group, identity, insert, keys, register};

/// An idle owner gives way by its next sign of life.
#[tokio::test]
async fn an_idle_owner_of_a_file_gives_way_and_sees_the_new_one() {
    let directory = tempfile::tempdir().expect("a directory");
    let Place::File(settings) = Place::file(directory.path()) else { panic!("a file") };
    let (identity, keys) = (identity(), keys());
    let mut first = claim_file(&settings, &identity, &keys).await.expect("claims");
    first.ownership.show_life().await.expect("it is the owner");
    let mut claiming = Box::pin(claim_file(&settings, &identity, &keys));
    assert!(timeout(Duration::from_millis(300), &mut claiming).await.is_err(), "the file is locked");
    let trouble = first.ownership.show_life().await.expect_err("replaced");
    assert_eq!((trouble.kind, trouble.code), (TroubleKind::Replaced, "sink.taken_over"));
    drop(first.lanes);
    let mut second = claiming.await.expect("the file is free");
    second.ownership.show_life().await.expect("it is the owner");
    let seen = first.ownership.owner().await.expect("seen");
    assert_eq!(first.ownership.owner().await.expect("seen"), seen);
    first.ownership.release().await.expect("says nothing");
    second.ownership.show_life().await.expect("it is the owner");
    let later = first.ownership.owner().await.expect("seen");
    assert!(later != seen && later != Owner::Nobody);
    second.ownership.release().await.expect("hands over");
    assert_eq!(first.ownership.owner().await.expect("seen"), Owner::Nobody);
}

#[tokio::test]
async fn looking_whether_a_claim_could_be_made_takes_nothing() {
    let directory = tempfile::tempdir().expect("a directory");
    for place in Place::all(directory.path()) {
        place.check().await.expect("it could be made");
        assert!(!place.path().exists() && !place.database().exists(), "nothing was made");
        let (mut lane, _) = place.opened().await;
        place.check().await.expect("it could be made");
        lane.commit(group(vec![register()])).await.expect("still ours");
        place.check().await.expect("it could be made");
        let events = vec![insert(1, "a", "1")];
        lane.commit(group(vec![advance(Position::Start, after(1), events)])).await.expect("still ours");
    }
}

/// Lanes and signs of life of one process write in turn.
#[tokio::test]
async fn a_sign_of_life_waits_for_no_other_process_and_disturbs_no_commit() {
    let directory = tempfile::tempdir().expect("a directory");
    let Place::Sqlite(settings) = Place::sqlite(directory.path(), tailwater_model::DeleteMode::Soft) else {
        panic!("a database")
    };
    let mut claimed = claim_sqlite(&settings, &identity(), &keys()).await.expect("claims");
    let mut lane = claimed.lanes.remove(0);
    lane.open().await.expect("opens");
    lane.commit(group(vec![register()])).await.expect("fits");
    let carrying = async {
        for number in 0..50 {
            let from = if number == 0 { Position::Start } else { after(number) };
            let step = advance(from, after(number + 1), vec![insert(number + 1, "a", "1")]);
            lane.commit(group(vec![step])).await.expect("fits");
        }
    };
    let living = async {
        for _ in 0..50 {
            claimed.ownership.show_life().await.expect("it is the owner");
        }
    };
    tokio::join!(carrying, living);
}
