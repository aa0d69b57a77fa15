//! What is stored beside rows and positions: gaps, moments, other streams.

use tailwater_model::{
    Counts, DeadLetter, Failure, FirstListing, Gap, GapCause, Group, Position, ServiceTime, ShardId, Sink, Step,
};
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
            since: Some(ServiceTime::from_ms(1_700_000_000_123)),
            until: ServiceTime::from_ms(1_700_000_001_000),
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
        let gaps = "select concat_ws('|', coalesce(shard, '-'), cause, after, extract(epoch from since)::text,
            extract(epoch from until)::text, detail, stopped) from tailwater.gaps order by id";
        let rest = "start|1700000000.123000|1700000001.000000|records were trimmed\\u0000|t";
        assert_eq!(database.texts(gaps).await, [format!("{SHARD}|trimmed|{rest}"), format!("-|away|{rest}")]);
        let listed = checkpoints(&database.settings(), "orders to postgres").await.expect("lists").expect("is there");
        assert_eq!(listed.gaps, 2);
    })
    .await;
}

#[tokio::test]
async fn moments_are_stored_as_people_read_them() {
    in_database(|database| async move {
        let mut lane = database.ready_lane(&database.settings(), &id_key()).await;
        let progress = lane.open().await.expect("opens");
        assert_eq!((progress.known_since(), progress.shards[0].read_until), (None, None));
        let moment = ServiceTime::from_ms(1_700_000_000_123);
        for known_since in [moment, ServiceTime::from_ms(1_800_000_000_000)] {
            let mut step = batch(Position::Start, Position::Start, Vec::new());
            step.read_until = Some(known_since);
            let batches = vec![step, batch(Position::Start, Position::Start, Vec::new())];
            lane.commit(Group { batches, first_listing: Some(FirstListing::stored(known_since)) })
                .await
                .expect("commits");
        }
        let progress = lane.open().await.expect("opens");
        assert_eq!(progress.known_since(), Some(moment), "the first one stays");
        assert_eq!(progress.shards[0].read_until, Some(ServiceTime::from_ms(1_800_000_000_000)));
        let stored = "select concat_ws('|', known_since at time zone 'UTC', stream_known) from tailwater.streams";
        assert_eq!(database.text(stored).await, "2023-11-14 22:13:20.123|t");
        let stored = "select (read_until at time zone 'UTC')::text from tailwater.shards";
        assert_eq!(database.text(stored).await, "2027-01-15 08:00:00");

        // What no calendar has takes nothing else along.
        let mut step = batch(Position::Start, after(1), vec![put(1, "a", 1)]);
        step.read_until = Some(ServiceTime::from_ms(i64::MAX));
        lane.commit(group([step])).await.expect("commits");
        let last = ServiceTime::from_ms(253_402_300_799_999);
        assert_eq!(lane.open().await.expect("opens").shards[0].read_until, Some(last), "the end of the year 9999");
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
            let mut lanes = claim(&database.settings(), second, &id_key()).await.expect("claims").lanes;
            lanes[0].open().await.expect("opens")
        };
        assert_eq!(reopen(&second).await.previous_stream, None, "nothing was read from the first one");

        let mut lane = database.ready_lane(&database.settings(), &id_key()).await;
        lane.commit(group([batch(Position::Start, after(1), vec![put(1, "a", 1)])])).await.expect("commits");
        let progress = reopen(&second).await;
        assert_eq!(progress.previous_stream.expect("it was read").stream_arn, STREAM);
        assert!(progress.shards.is_empty(), "progress belongs to its stream");
        second.stream.table_id = "id-2".into();
        let previous = reopen(&second).await.previous_stream.expect("it was read");
        assert_eq!(previous.stream_arn, STREAM, "the table was made anew");
        second.stream.table = "Other".into();
        second.stream.stream_arn = STREAM.replace("Orders", "Other");
        // As versions left it that did not bind progress to its table.
        database.run("delete from tailwater.targets").await;
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
        assert!(matches!(&answer, Err(Failure::Reopen(trouble)) if trouble.code == "sink.step_refused"), "{answer:?}");
        assert_eq!(lane.open().await.expect("opens").shards[0].position, Position::Start);
        assert_eq!(database.count("orders").await, "0");

        // A shard that is known already is not registered again, and nothing else of the group is written either.
        let mut other = registration("shardId-new", None);
        other.step = Step::Register { parent: None, position: Position::End };
        let step = batch(Position::Start, Position::Start, Vec::new()).on("shardId-new");
        let mut again = registration(SHARD, None);
        again.counts.read = 0;
        let answer = lane.commit(group([other, again])).await;
        assert!(matches!(&answer, Err(Failure::Reopen(trouble)) if trouble.code == "sink.step_refused"), "{answer:?}");
        lane.open().await.expect("opens");
        let answer = lane.commit(group([step])).await;
        assert!(matches!(answer, Err(Failure::Reopen(_))), "a shard that was never registered");
        assert_eq!(database.count("tailwater.shards").await, "1");
    })
    .await;
}
