//! Databases that an older Tailwater wrote are read, and brought to this schema by a claim.

use std::path::Path;

use sqlx::{AssertSqlSafe, SqliteConnection};
use tailwater_model::{Gap, GapCause, Position, ServiceTime, ShardId, Sink};

use crate::fixture::{Place, SHARD, advance, after, group, identity, refused};

const FIRST_SCHEMA: &str = include_str!("../../migrations/0001_progress.sql");

/// Progress of two streams as versions before 0002_read_until left it: the table's earlier stream was read, too.
async fn write_progress(connection: &mut SqliteConnection, stream_known: bool, last_contact: &str) {
    let stream = identity().stream.stream_arn;
    let earlier = stream.replace("stream/1", "stream/0");
    let at = "'2023-11-14T22:13:20.000Z'";
    let sql = format!(
        "drop table tailwater_lanes; drop table tailwater_streams; drop table tailwater_shards;
         drop table tailwater_gaps; drop table tailwater_dead_letters; drop table tailwater_owners; drop table tailwater_targets; delete from tailwater_migrations;
         {FIRST_SCHEMA}
         insert into tailwater_migrations values (1, {at});
         insert into tailwater_lanes values ('shop', 0, 7, 'somebody', {at}, null);
         insert into tailwater_streams values ('shop', '{earlier}', 'Orders', 'table-1', 1, {at}, {at});
         insert into tailwater_streams values ('shop', '{stream}', 'Orders', 'table-1', {stream_known}, {last_contact},
             '2023-11-15T00:00:00.000Z');
         insert into tailwater_shards values ('shop', '{earlier}', 'shardId-0', null, 0, 'start', 0, 0, 0, 0, 0, {at});
         insert into tailwater_shards values ('shop', '{stream}', '{SHARD}', null, 0, '{}', 2, 2, 0, 0, 0, {at});
         insert into tailwater_gaps values ('shop', '{stream}', '{SHARD}', 'trimmed', 'start', 'it was trimmed', 0, {at});",
        after(2)
    );
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(connection).await.expect("the first schema");
}

async fn place(directory: &Path, stream_known: bool, last_contact: &str) -> Place {
    let place = Place::sqlite(directory, tailwater_model::DeleteMode::Hard);
    // The mirror table is the same in both.
    drop(place.claim().await.expect("a new database"));
    write_progress(&mut place.connect().await, stream_known, last_contact).await;
    place
}

#[tokio::test]
async fn progress_without_moments_takes_those_of_the_last_contact() {
    let contact = ServiceTime::from_ms(1_700_000_000_456);
    for (stream_known, last_contact, known_since, read_until) in [
        (true, "'2023-11-14T22:13:20.456Z'", Some(contact), Some(contact)),
        (false, "'2023-11-14T22:13:20.456Z'", None, Some(contact)),
        (true, "null", Some(ServiceTime::EPOCH), None),
        (false, "null", None, None),
    ] {
        let directory = tempfile::tempdir().expect("a directory");
        let place = place(directory.path(), stream_known, last_contact).await;
        let shown = place.checkpoints("shop").await.expect("readable before it is claimed").expect("was run");
        assert_eq!((shown.shards.len(), shown.gaps), (2, 1));
        assert_eq!(shown.shards[1].read_until, read_until);

        let (mut lane, progress) = place.opened().await;
        let shard = &progress.shards[0];
        assert_eq!((progress.shards.len(), shard.position.clone(), shard.read_until), (1, after(2), read_until));
        assert_eq!(progress.known_since(), known_since);
        let previous = progress.previous_stream.expect("the other stream");
        assert!(previous.stream_arn.ends_with("stream/0"), "{}", previous.stream_arn);
        assert_eq!(previous.read_until, Some(ServiceTime::from_ms(1_700_000_000_000)));

        // From here on it is as any other progress.
        let mut step = advance(after(2), after(3), vec![]);
        step.read_until = Some(contact.plus(std::time::Duration::from_secs(1)));
        lane.commit(group(vec![step])).await.expect("fits");
        let progress = lane.open().await.expect("opens");
        assert_eq!(progress.shards[0].read_until, Some(contact.plus(std::time::Duration::from_secs(1))));
    }
}

/// From shards that are forgotten later.
#[tokio::test]
async fn what_was_written_before_is_taken_from_the_shards() {
    let directory = tempfile::tempdir().expect("a directory");
    let place = place(directory.path(), true, "null").await;
    drop(place.opened().await);
    let later = "update tailwater_shards set written = 0; drop table \"the \"\"orders\"\"\"";
    sqlx::raw_sql(later).execute(&mut place.connect().await).await.expect("dropped");
    assert_eq!(refused(place.claim().await).code, "sink.target_missing");
}

#[tokio::test]
async fn a_gap_without_bounds_is_the_one_that_nobody_knows_the_beginning_of() {
    let directory = tempfile::tempdir().expect("a directory");
    let place = place(directory.path(), true, "null").await;
    let (mut lane, _) = place.opened().await;
    for (since, gaps) in [(None, 1), (Some(ServiceTime::EPOCH), 2), (Some(ServiceTime::EPOCH), 2)] {
        let mut step = advance(after(2), after(2), vec![]);
        step.gap = Some(Gap {
            shard: Some(ShardId::new(SHARD)),
            cause: GapCause::Trimmed,
            after: Position::Start,
            since,
            until: ServiceTime::from_ms(5),
            detail: "found again".into(),
            stop: false,
        });
        lane.commit(group(vec![step])).await.expect("fits");
        assert_eq!(place.checkpoints("shop").await.expect("readable").expect("was run").gaps, gaps, "{since:?}");
    }
}
