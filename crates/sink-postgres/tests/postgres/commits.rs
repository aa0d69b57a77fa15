//! What a commit writes.

use tailwater_model::{Counts, DeleteMode, KeyKind, Position, RemoveCause, Sink};
use tailwater_sink_postgres::{PostgresLane, PostgresSettings, checkpoints};

use crate::ground::{Database, after, batch, group, id, id_key, in_database, insert, keys, put, registration};
use crate::ground::{SHARD, remove, with_value};

/// Key, document, operation and mark of every row.
const ROWS: &str = "select concat_ws(' ', \"Id\", document, _op, _deleted) from orders order by 1";

async fn carry(lane: &mut PostgresLane, from: u64, events: Vec<tailwater_model::ChangeEvent>) {
    let to = from + events.len() as u64;
    let from = if from == 0 { Position::Start } else { after(from) };
    lane.commit(group([batch(from, after(to), events)])).await.expect("commits");
}

#[tokio::test]
async fn values_arrive_exact() {
    in_database(|database| async move {
        let schema = keys(&[("B", KeyKind::B), ("N", KeyKind::N)]);
        let mut lane = database.ready_lane(&database.settings(), &schema).await;
        let digits = "12345678901234567890123456789012345678";
        let json = format!(
            r#"{{"B":{{"B":"AP+AAQ=="}},"N":{{"N":"{digits}"}},"e":{{"S":""}},"t":{{"N":"1E-130"}},"h":{{"N":"-9.9999999999999999999999999999999999999E+125"}},"ñ":{{"S":"\ud83d\ude00 \"\\ é"}},"z":{{"NULL":true}},"s":{{"NS":["10","9"]}},"l":{{"L":[{{"BOOL":true}},{{"M":{{}}}}]}}}}"#
        );
        let tiny = r#"{"B":{"B":""},"N":{"N":"-1E-130"}}"#;
        let events = vec![insert(1, &json, &json), insert(2, tiny, tiny)];
        lane.commit(group([batch(Position::Start, after(2), events)])).await.expect("commits");
        assert_eq!(
            database.texts("select concat_ws('|', encode(\"B\", 'hex'), \"N\") from orders order by \"N\" desc").await,
            [format!("00ff8001|{digits}"), format!("|-0.{}1", "0".repeat(129))]
        );
        let value = |path: &'static str| {
            let database = &database;
            async move { database.text(&format!("select document ->> '{path}' from orders where \"N\" > 0")).await }
        };
        assert_eq!(value("N").await, digits);
        assert_eq!(value("e").await, "");
        assert_eq!(value("t").await, format!("0.{}1", "0".repeat(129)));
        assert_eq!(value("h").await, format!("-{}{}", "9".repeat(38), "0".repeat(88)));
        assert_eq!(value("ñ").await, "😀 \"\\ é");
        assert_eq!(value("z").await, "null");
        assert_eq!(value("s").await, "[9, 10]");
        assert_eq!(value("l").await, "[true, {}]");
    })
    .await;
}

#[tokio::test]
async fn a_soft_deleted_row_stays_and_comes_back() {
    in_database(|database| async move {
        let mut lane = database.ready_lane(&database.settings(), &id_key()).await;
        let removals = || {
            vec![
                remove(4, &id("with image"), Some(&with_value("with image", 9)), RemoveCause::TimeToLive),
                remove(5, &id("without image"), None, RemoveCause::Request),
                remove(6, &id("never seen"), None, RemoveCause::Request),
                remove(7, &id("old image only"), Some(&with_value("old image only", 3)), RemoveCause::Request),
            ]
        };
        carry(&mut lane, 0, vec![put(1, "with image", 1), put(2, "without image", 2), put(3, "stays", 3)]).await;
        carry(&mut lane, 3, removals()).await;
        assert_eq!(
            database.texts(ROWS).await,
            [
                r#"never seen {"Id": "never seen"} remove t"#,
                r#"old image only {"v": 3, "Id": "old image only"} remove t"#,
                r#"stays {"v": 3, "Id": "stays"} insert f"#,
                r#"with image {"v": 9, "Id": "with image"} ttl t"#,
                r#"without image {"v": 2, "Id": "without image"} remove t"#,
            ]
        );
        carry(&mut lane, 7, vec![put(8, "without image", 8), put(9, "never seen", 9)]).await;
        assert_eq!(
            database.texts(&ROWS.replace("order by", "where not _deleted order by")).await,
            [
                r#"never seen {"v": 9, "Id": "never seen"} insert f"#,
                r#"stays {"v": 3, "Id": "stays"} insert f"#,
                r#"without image {"v": 8, "Id": "without image"} insert f"#,
            ]
        );
    })
    .await;
}

#[tokio::test]
async fn a_hard_deleted_row_goes_away() {
    in_database(|database| async move {
        let settings = PostgresSettings { delete: DeleteMode::Hard, ..database.settings() };
        let schema = keys(&[("Id", KeyKind::S), ("n", KeyKind::N)]);
        let mut lane = database.ready_lane(&settings, &schema).await;
        let key = |number: &str| format!(r#"{{"Id":{{"S":"a"}},"n":{{"N":"{number}"}}}}"#);
        carry(&mut lane, 0, (1..=3).map(|n| insert(n, &key(&n.to_string()), &key(&n.to_string()))).collect()).await;
        let gone = vec![
            remove(4, &key("2.0"), Some(&key("2.0")), RemoveCause::Request),
            remove(5, &key("99"), None, RemoveCause::TimeToLive),
            remove(6, &key("3"), None, RemoveCause::TimeToLive),
        ];
        carry(&mut lane, 3, gone).await;
        assert_eq!(database.texts("select n::text from orders").await, ["1"]);
        carry(&mut lane, 6, vec![insert(7, &key("3"), &key("3"))]).await;
        assert_eq!(database.texts("select n::text from orders where not _deleted order by n").await, ["1", "3"]);
    })
    .await;
}

#[tokio::test]
async fn the_last_of_many_changes_of_an_item_wins() {
    in_database(|database| async move {
        for (delete, left) in [(DeleteMode::Soft, "2"), (DeleteMode::Hard, "1")] {
            let settings = PostgresSettings { delete, ..database.settings() };
            database.run("drop table if exists orders; drop schema if exists tailwater cascade").await;
            let mut lane = database.ready_lane(&settings, &id_key()).await;
            let mut events: Vec<_> = (1..=50).map(|n| put(n, "a", n)).collect();
            events.push(remove(51, &id("a"), None, RemoveCause::Request));
            events.push(put(52, "a", 52));
            events.push(put(53, "b", 53));
            events.push(remove(54, &id("b"), None, RemoveCause::Request));
            let (first, second) = (batch(Position::Start, after(30), events.drain(..30).collect()), events);
            let second = batch(after(30), after(54), second);
            let committed = lane.commit(group([first, second])).await.expect("commits");
            assert_eq!(committed.written, 54, "overtaken events count as written");
            assert_eq!(database.text("select document ->> 'v' from orders where not _deleted").await, "52");
            assert_eq!(database.count("orders").await, left);
        }
    })
    .await;
}

#[tokio::test]
async fn accounting_adds_up_per_shard() {
    in_database(|database| async move {
        let other = "shardId-other";
        let mut lane = database.ready_lane(&database.settings(), &id_key()).await;
        let mut first = batch(Position::Start, after(3), vec![put(1, "a", 1), put(2, "b", 2)]);
        first.counts = Counts { read: 5, written: 2, filtered: 2, suppressed: 1, ..Counts::default() };
        let mut second = batch(after(3), Position::End, vec![put(4, "nul\0", 4), put(5, "c", 5)]);
        second.counts = Counts { read: 2, written: 2, ..Counts::default() };
        let committed = lane.commit(group([first, registration(other, Some(SHARD)), second])).await.expect("commits");
        assert_eq!((committed.written, committed.dead_lettered), (3, 1));
        let listed = checkpoints(&database.settings(), "orders to postgres").await.expect("lists").expect("there");
        let [carried, registered] = listed.shards.as_slice() else { panic!("{listed:?}") };
        assert_eq!(carried.counts, Counts { read: 7, written: 3, filtered: 2, dead_lettered: 1, suppressed: 1 });
        assert!(carried.counts.balance());
        assert_eq!((carried.position.clone(), registered.position.clone()), (Position::End, Position::Start));
        assert_eq!((registered.shard.as_str(), registered.counts), (other, Counts::default()));
    })
    .await;
}

#[tokio::test]
async fn a_large_group_is_one_commit() {
    in_database(|database: std::sync::Arc<Database>| async move {
        let mut lane = database.ready_lane(&database.settings(), &id_key()).await;
        let events: Vec<_> = (1..=5_000).map(|n| put(n, &format!("item {}", n % 3_000), n)).collect();
        let committed = lane.commit(group([batch(Position::Start, after(5_000), events)])).await.expect("commits");
        assert_eq!(committed.written, 5_000);
        assert_eq!(database.count("orders").await, "3000");
        assert_eq!(
            database.text("select sum((document ->> 'v')::int)::text from orders").await,
            (2_001..=5_000).sum::<u64>().to_string()
        );
    })
    .await;
}
