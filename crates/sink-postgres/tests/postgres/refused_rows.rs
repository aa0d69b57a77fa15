//! What becomes of rows that the server does not take, or takes without keeping them.

use tailwater_model::{Committed, Position, RemoveCause, Sink};
use tailwater_sink_postgres::PostgresLane;

use crate::ground::{Database, after, batch, group, id, id_key, in_database, insert, put, remove};

const ROWS: &str = "select concat_ws('|', \"Id\", document ->> 'v', _deleted) from orders order by 1";
const LETTERS: &str = "select concat_ws('|', event_id, code) from tailwater.dead_letters order by sequence_number";
const COUNTS: &str = "select concat_ws('|', read, written, dead_lettered) from tailwater.shards";

fn committed(written: u64, dead_lettered: u64) -> Committed {
    Committed { written, dead_lettered }
}

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
        let answer = lane.commit(group([batch(Position::Start, after(2), grown)])).await.expect("commits");
        assert_eq!((answer, database.texts(ROWS).await), (committed(1, 1), vec!["a|1|f".to_owned()]));
        let gone = vec![remove(3, &id("a"), Some(&large("a")), RemoveCause::Request)];
        let answer = lane.commit(group([batch(after(2), after(3), gone)])).await.expect("commits");
        // What the old image held stands nowhere in the table: the record is kept whole, and counts once. I9
        assert_eq!((answer, database.texts(ROWS).await), (committed(0, 1), vec!["a|1|t".to_owned()]));
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
        let answer = lane.commit(group([batch(Position::Start, after(6), events)])).await.expect("commits");
        assert_eq!(answer, committed(5, 1));
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
        let answer = lane.commit(group([batch(after(1), after(4), events)])).await.expect("commits");
        // P1: the change before it is not lost with it. Each record is kept once.
        assert_eq!((answer, database.texts(ROWS).await), (committed(1, 2), vec!["a|2|f".to_owned()]));
        assert_eq!(database.texts(LETTERS).await, ["event-3|sink.postgres.refused", "event-4|sink.postgres.refused"]);
        assert_eq!(database.text(COUNTS).await, "4|2|2");
    })
    .await;
}
