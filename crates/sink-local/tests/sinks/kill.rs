//! `kill -9` at random moments: what is in the sink is what the progress says, no event lost and none twice.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tailwater_model::{DeleteMode, Position, Sink};

use crate::fixture::{Place, advance, after, group, insert, number, register};

/// Tells the process that this test starts what to be: a writer to the place of this kind and directory.
const WRITER: &str = "TAILWATER_TEST_WRITER";
const KILLS: u64 = 15;

#[tokio::test]
async fn a_killed_process_loses_and_repeats_nothing() {
    if let Ok(place) = std::env::var(WRITER) {
        let (kind, directory) = place.split_once(':').expect("kind and directory");
        return write_for_ever(&place_of(kind, directory)).await;
    }
    let mut random = fastrand::Rng::with_seed(7);
    for kind in ["sqlite", "file"] {
        let directory = tempfile::tempdir().expect("a directory");
        let directory = directory.path().to_str().expect("Unicode");
        let place = place_of(kind, directory);
        prepare(&place).await;
        let mut carried = 0;
        let mut kills = 0;
        // On a busy machine the first kills may all come before the first commit.
        while kills < KILLS || carried <= KILLS {
            let mut writer = start_writer(&format!("{kind}:{directory}"));
            tokio::time::sleep(Duration::from_millis(random.u64(30..180) + 10 * kills)).await;
            writer.kill().expect("killed");
            writer.wait().expect("ended");
            carried = check(&place).await;
            kills += 1;
            assert!(kills < 20 * KILLS, "the writers of {kind} never got to work");
        }
    }
}

fn place_of(kind: &str, directory: &str) -> Place {
    match kind {
        "sqlite" => Place::sqlite(directory.as_ref(), DeleteMode::Soft),
        _ => Place::file(directory.as_ref()),
    }
}

fn start_writer(place: &str) -> Child {
    Command::new(std::env::current_exe().expect("this test"))
        .args(["--exact", "kill::a_killed_process_loses_and_repeats_nothing"])
        .env(WRITER, place)
        .stdout(Stdio::null())
        .spawn()
        .expect("started")
}

/// Registers the shard; an audit trigger of the database counts each write, not only the final rows.
async fn prepare(place: &Place) {
    let (mut lane, _) = place.opened().await;
    lane.commit(group(vec![register()])).await.expect("fits");
    if matches!(place, Place::Sqlite(_)) {
        let audit = "create table audit (seq text not null); \
                     create trigger audit_insert after insert on \"the \"\"orders\"\"\" begin insert into audit values (new._seq); end; \
                     create trigger audit_update after update on \"the \"\"orders\"\"\" begin insert into audit values (new._seq); end";
        sqlx::raw_sql(audit).execute(&mut place.connect().await).await.expect("made");
    }
}

/// Groups of one to three events; the sequence numbers count up without holes.
async fn write_for_ever(place: &Place) {
    let (mut lane, progress) = place.opened().await;
    let mut last = last_of(&progress.shards[0].position);
    loop {
        let events: Vec<_> =
            (1..=1 + last % 3).map(|step| insert(last + step, "c", &(last + step).to_string())).collect();
        let from = if last == 0 { Position::Start } else { after(last) };
        last += events.len() as u64;
        lane.commit(group(vec![advance(from, after(last), events)])).await.expect("fits");
    }
}

/// The number of the last event that the position stands for.
fn last_of(position: &Position) -> u64 {
    match position {
        Position::Start => 0,
        other => other.to_string().trim_start_matches("after:1").parse().expect("our own number"),
    }
}

/// Opening is the only recovery. Afterwards the sink holds the events from 1 to the stored position, once each.
async fn check(place: &Place) -> u64 {
    let (_lane, progress) = place.opened().await;
    let last = last_of(&progress.shards[0].position);
    let written: Vec<String> = match place {
        Place::Sqlite(_) => sqlx::query_as("select seq from audit order by seq")
            .fetch_all(&mut place.connect().await)
            .await
            .expect("readable")
            .into_iter()
            .map(|(sequence,)| sequence)
            .collect(),
        Place::File(settings) => {
            let text = std::fs::read_to_string(&settings.path).expect("the file is there");
            let sequence = |line: &str| {
                let line: serde_json::Value = serde_json::from_str(line).expect("a whole line");
                line["sequence_number"].as_str().expect("a text").to_owned()
            };
            text.lines().map(sequence).collect()
        }
    };
    let expected: Vec<_> = (1..=last).map(|sequence| number(sequence).to_string()).collect();
    assert_eq!(written, expected);
    let checkpoints = place.checkpoints("shop").await.expect("readable").expect("was run");
    assert_eq!(checkpoints.shards[0].counts.written, last);
    last
}
