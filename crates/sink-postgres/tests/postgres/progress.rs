//! What is stored beside rows and positions: gaps, contact, other streams.

use std::time::Duration;

use tailwater_model::{Contact, Counts, DeadLetter, Failure, Gap, GapCause, Group, Position, ShardId, Sink, Step};
use tailwater_sink_postgres::{checkpoints, claim};

use crate::ground::sequence_number;
use crate::ground::{OnShard, SHARD, STREAM, after, batch, group, id_key, identity, in_database, put, registration};

#[tokio::test]
async fn gaps_are_stored_once_with_the_step_that_met_them() {
    in_database(|database| async move {
        let mut lane = database.ready_lane(&database.settings(), &id_key()).await;
        let gap = |shard: Option<&str>, cause| Gap {
            shard: shard.map(ShardId::new),
            cause,
            after: Position::Start,
            detail: "records were trimmed\0".into(),
            stop: true,
        };
        for _ in 0..2 {
            let mut first = batch(Position::Start, Position::Start, Vec::new());
            first.gap = Some(gap(Some(SHARD), GapCause::Trimmed));
            let mut second = batch(Position::Start, Position::Start, Vec::new());
            second.gap = Some(gap(None, GapCause::Away));
            lane.commit(group([first, second])).await.expect("commits");
        }
        let gaps = "select concat_ws('|', coalesce(shard, '-'), cause, after, detail, stopped) from tailwater.gaps order by id";
        assert_eq!(
            database.texts(gaps).await,
            [
                format!("{SHARD}|trimmed|start|records were trimmed\\u0000|t"),
                "-|away|start|records were trimmed\\u0000|t".to_owned()
            ]
        );
        let listed = checkpoints(&database.settings(), "orders to postgres").await.expect("lists").expect("is there");
        assert_eq!(listed.gaps, 2);
    })
    .await;
}

#[tokio::test]
async fn contact_is_remembered_and_a_known_stream_stays_known() {
    in_database(|database| async move {
        let mut lane = database.lane(&database.settings(), &id_key()).await;
        let progress = lane.open().await.expect("opens");
        assert_eq!((progress.stream_known, progress.since_contact), (false, None));
        for stream_known in [true, false] {
            let contact = Some(Contact { stream_known });
            lane.commit(Group { batches: Vec::new(), contact }).await.expect("commits");
        }
        let progress = lane.open().await.expect("opens");
        assert!(progress.stream_known);
        assert!(progress.since_contact.is_some_and(|since| since < Duration::from_secs(60)));
        database.run("update tailwater.streams set last_contact_at = now() - interval '25 h'").await;
        let since = lane.open().await.expect("opens").since_contact.expect("a time");
        assert!((since.as_secs() / 3600) == 25, "{since:?}");
        database.run("update tailwater.streams set last_contact_at = now() + interval '1 h'").await;
        assert_eq!(lane.open().await.expect("opens").since_contact, Some(Duration::ZERO));
    })
    .await;
}

#[tokio::test]
async fn another_stream_of_the_table_is_named() {
    in_database(|database| async move {
        let mut lane = database.lane(&database.settings(), &id_key()).await;
        assert_eq!(lane.open().await.expect("opens").previous_stream, None);
        let mut second = identity(1);
        second.stream.stream_arn = STREAM.replace("2026", "2027");
        let reopen = async |second: &_| {
            let mut lanes = claim(&database.settings(), second, &id_key()).await.expect("claims");
            lanes[0].open().await.expect("opens")
        };
        assert_eq!(reopen(&second).await.previous_stream, None, "nothing was read from the first one");

        let mut lane = database.ready_lane(&database.settings(), &id_key()).await;
        lane.commit(group([batch(Position::Start, after(1), vec![put(1, "a", 1)])])).await.expect("commits");
        let progress = reopen(&second).await;
        assert_eq!(progress.previous_stream.as_deref(), Some(STREAM));
        assert!(progress.shards.is_empty(), "progress belongs to its stream");
        second.stream.table_id = "id-2".into();
        assert_eq!(reopen(&second).await.previous_stream.as_deref(), Some(STREAM), "the table was made anew");
        second.stream.table = "Other".into();
        second.stream.stream_arn = STREAM.replace("Orders", "Other");
        assert_eq!(reopen(&second).await.previous_stream, None);
    })
    .await;
}

#[tokio::test]
async fn dead_letters_of_the_batch_are_stored_with_it() {
    in_database(|database| async move {
        let mut lane = database.ready_lane(&database.settings(), &id_key()).await;
        let mut step = batch(Position::Start, after(2), vec![put(1, "a", 1)]);
        step.counts = Counts { read: 2, written: 1, dead_lettered: 1, ..Counts::default() };
        step.dead_letters.push(DeadLetter {
            shard: ShardId::new(SHARD),
            sequence_number: sequence_number(2),
            event_id: "event-2".into(),
            code: "transform.name_collision",
            error: "two names \0 became one".into(),
            record: "{}".into(),
        });
        let committed = lane.commit(group([step])).await.expect("commits");
        assert_eq!((committed.written, committed.dead_lettered), (1, 1));
        let letter =
            "select concat_ws('|', pipeline, stream_arn, event_id, code, error, record) from tailwater.dead_letters";
        let expected =
            format!("orders to postgres|{STREAM}|event-2|transform.name_collision|two names \\u0000 became one|{{}}");
        assert_eq!(database.text(letter).await, expected);
    })
    .await;
}

#[tokio::test]
async fn steps_that_do_not_follow_one_another_are_not_written() {
    in_database(|database| async move {
        let mut lane = database.ready_lane(&database.settings(), &id_key()).await;
        let broken = group([
            batch(Position::Start, after(1), vec![put(1, "a", 1)]),
            batch(after(2), after(3), vec![put(3, "b", 3)]),
        ]);
        let answer = lane.commit(broken).await;
        assert!(matches!(&answer, Err(Failure::Reopen(trouble)) if trouble.code == "sink.steps_broken"), "{answer:?}");
        assert_eq!(lane.open().await.expect("opens").shards[0].position, Position::Start);
        assert_eq!(database.count("orders").await, "0");

        // A shard that is known already is not registered again, and nothing else of the group is written either.
        let mut other = registration("shardId-new", None);
        other.step = Step::Register { parent: None, position: Position::End };
        let step = batch(Position::Start, Position::Start, Vec::new()).on("shardId-new");
        let mut again = registration(SHARD, None);
        again.counts.read = 0;
        let answer = lane.commit(group([other, again])).await;
        assert!(
            matches!(&answer, Err(Failure::Reopen(trouble)) if trouble.code == "sink.position_mismatch"),
            "{answer:?}"
        );
        lane.open().await.expect("opens");
        let answer = lane.commit(group([step])).await;
        assert!(matches!(answer, Err(Failure::Reopen(_))), "a shard that was never registered");
        assert_eq!(database.count("tailwater.shards").await, "1");
    })
    .await;
}
