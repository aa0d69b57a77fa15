//! Records that Postgres cannot hold: kept whole, and everything else is written.

use tailwater_model::{Failure, Position, RemoveCause, Sink};

use crate::ground::{after, batch, group, id, id_key, in_database, insert, put, remove};

const LETTERS: &str = "select concat_ws('|', code, sequence_number, shard) from tailwater.dead_letters order by id";

#[tokio::test]
async fn u0000_goes_to_the_dead_letters_whole() {
    in_database(|database| async move {
        let mut lane = database.ready_lane(&database.settings(), &id_key()).await;
        let nul_in_document = r#"{"Id":{"S":"b"},"x":{"L":[{"S":"secret\u0000"}]}}"#;
        let nul_in_name = r#"{"Id":{"S":"c"},"\u0000":{"BOOL":true}}"#;
        let harmless = r#"{"Id":{"S":"d"},"x":{"S":"\\u0000"}}"#;
        let events = vec![
            put(1, "a", 1),
            insert(2, &id("b"), nul_in_document),
            insert(3, &id("c"), nul_in_name),
            insert(4, &id("d"), harmless),
            put(5, "key\0", 5),
            put(6, "e", 6),
            // The row is marked although its last state cannot be stored, which the dead letters hold.
            remove(7, &id("f"), Some(&nul_in_document.replace("\"b\"", "\"f\"")), RemoveCause::Request),
        ];
        let committed = lane.commit(group([batch(Position::Start, after(7), events)])).await.expect("commits");
        assert_eq!((committed.written, committed.dead_lettered), (3, 4));
        assert_eq!(
            database.texts("select concat_ws('|', \"Id\", _deleted) from orders order by 1").await,
            ["a|f", "d|f", "e|f", "f|t"]
        );
        assert_eq!(database.text("select document ->> 'x' from orders where \"Id\" = 'd'").await, "\\u0000");
        let codes = database.texts(LETTERS).await;
        assert_eq!(codes.len(), 4);
        assert!(codes.iter().all(|letter| letter.starts_with("sink.postgres.nul|")), "{codes:?}");
        let record = database.text("select record from tailwater.dead_letters where event_id = 'event-2'").await;
        let record: serde_json::Value = serde_json::from_str(&record).expect("JSON");
        assert_eq!(record["NewImage"]["x"]["L"][0]["S"], "secret\0");
        assert_eq!(database.count("tailwater.dead_letters where error like '%secret%'").await, "0");
        assert_eq!(lane.open().await.expect("opens").shards[0].position, after(7));
    })
    .await;
}

#[tokio::test]
async fn keys_too_long_for_the_index_are_isolated() {
    in_database(|database| async move {
        let mut lane = database.ready_lane(&database.settings(), &id_key()).await;
        // Random-looking, since the index compresses what repeats.
        let mut rng = 0x2545_F491_4F6C_DD1D_u64;
        let mut long = |start: char| {
            let tail = (0..3_000).map(|_| {
                rng ^= rng << 13;
                rng ^= rng >> 7;
                rng ^= rng << 17;
                char::from(b'!' + u8::try_from(rng % 90).expect("below 90"))
            });
            std::iter::once(start).chain(tail).collect::<String>()
        };
        let mut events: Vec<_> = (1..=200).map(|n| put(n, &format!("item {n}"), n)).collect();
        events.push(put(201, &long('a'), 1));
        events.push(put(202, &long('z'), 1));
        let committed = lane.commit(group([batch(Position::Start, after(202), events)])).await.expect("commits");
        assert_eq!((committed.written, committed.dead_lettered), (200, 2));
        assert_eq!(database.count("orders").await, "200");
        assert_eq!(database.count("tailwater.dead_letters where code = 'sink.postgres.refused'").await, "2");
        let error = database.texts("select error from tailwater.dead_letters").await.remove(0);
        assert!(error.contains("index row size") && error.contains("54000"), "{error}");
        let counts = "select concat_ws('|', read, written, dead_lettered) from tailwater.shards";
        assert_eq!(database.text(counts).await, "202|200|2");
        // The lane goes on.
        lane.commit(group([batch(after(202), after(203), vec![put(203, "a", 1)])])).await.expect("commits");
    })
    .await;
}

#[tokio::test]
async fn rules_that_users_put_on_the_table_refuse_single_rows() {
    in_database(|database| async move {
        let mut lane = database.ready_lane(&database.settings(), &id_key()).await;
        database
            .run(
                "create table parents (v int primary key); insert into parents values (1), (2), (3), (4); \
                 alter table orders add column v int generated always as ((document ->> 'v')::int) stored; \
                 alter table orders add foreign key (v) references parents deferrable initially deferred; \
                 alter table orders add constraint not_three check (v <> 3); \
                 create function picky() returns trigger language plpgsql as $$ begin \
                 if new.document ->> 'v' = '4' then raise exception 'no % of hunter2 here', new.document; end if; return new; end $$; \
                 create trigger picky before insert on orders for each row execute function picky()",
            )
            .await;
        let mut events: Vec<_> = (1..=5).map(|n| put(n, &format!("item {n}"), n)).collect();
        events.push(insert(6, &id("item 6"), r#"{"Id":{"S":"item 6"},"v":{"S":"hunter2"}}"#));
        let committed = lane.commit(group([batch(Position::Start, after(6), events)])).await.expect("commits");
        assert_eq!((committed.written, committed.dead_lettered), (2, 4));
        assert_eq!(database.texts("select v::text from orders order by v").await, ["1", "2"]);
        let errors = database.texts("select error from tailwater.dead_letters order by sequence_number").await;
        for (error, part) in errors.iter().zip(["not_three", "P0001", "orders_v_fkey", "22P02"]) {
            assert!(error.contains(part), "{errors:?}");
        }
        assert!(!errors.iter().any(|error| error.contains("hunter2")), "{errors:?}");
    })
    .await;
}

#[tokio::test]
async fn a_deferred_rule_that_fails_at_the_commit_is_isolated() {
    in_database(|database| async move {
        let mut lane = database.ready_lane(&database.settings(), &id_key()).await;
        database
            .run(
                "create function late() returns trigger language plpgsql as $$ begin \
                 if new.document ->> 'v' = '4' then raise exception 'no %', new.document using errcode = '23000'; end if; return null; end $$; \
                 create constraint trigger late after insert on orders deferrable initially deferred \
                 for each row execute function late()",
            )
            .await;
        let events: Vec<_> = (1..=8).map(|n| put(n, &format!("item {n}"), n)).collect();
        let committed = lane.commit(group([batch(Position::Start, after(8), events)])).await.expect("commits");
        assert_eq!((committed.written, committed.dead_lettered), (7, 1));
        assert_eq!(database.texts(LETTERS).await.len(), 1);
        assert_eq!(database.count("orders where document ->> 'v' = '4'").await, "0");
    })
    .await;
}

#[tokio::test]
async fn a_refused_last_change_blocks_only_its_own_key() {
    in_database(|database| async move {
        let mut lane = database.ready_lane(&database.settings(), &id_key()).await;
        let nul = r#"{"Id":{"S":"a"},"x":{"S":"\u0000"}}"#;
        lane.commit(group([batch(Position::Start, after(1), vec![put(1, "a", 1)])])).await.expect("commits");
        let events = vec![put(2, "a", 2), insert(3, &id("a"), nul), put(4, "b", 4)];
        let committed = lane.commit(group([batch(after(1), after(4), events)])).await.expect("commits");
        assert_eq!((committed.written, committed.dead_lettered), (2, 1));
        let rows = database.texts("select concat_ws('|', \"Id\", document ->> 'v') from orders order by 1").await;
        assert_eq!(rows, ["a|2", "b|4"], "the change before the refused one counts");
    })
    .await;
}

#[tokio::test]
async fn an_event_without_a_usable_key_or_image_is_put_aside() {
    in_database(|database| async move {
        let mut lane = database.ready_lane(&database.settings(), &id_key()).await;
        let mut without_image = put(2, "b", 2);
        without_image.change = tailwater_model::Change::Insert { new: None };
        let events = vec![insert(1, r#"{"Id":{"N":"1"}}"#, r#"{"Id":{"N":"1"}}"#), without_image, put(3, "c", 3)];
        let committed = lane.commit(group([batch(Position::Start, after(3), events)])).await.expect("commits");
        assert_eq!((committed.written, committed.dead_lettered), (1, 2));
        let codes = database.texts("select code from tailwater.dead_letters order by sequence_number").await;
        assert_eq!(codes, ["sink.key_mismatch", "sink.image_missing"]);
    })
    .await;
}

/// A fail-over to a logical replica brings the rows and not where sequences stand.
#[tokio::test]
async fn sequences_that_are_behind_are_raised_and_no_row_is_blamed() {
    in_database(|database| async move {
        let mut lane = database.ready_lane(&database.settings(), &id_key()).await;
        let poison = |number: u64| vec![put(number, "key\0", 1), put(number + 1, "a", number)];
        lane.commit(group([batch(Position::Start, after(2), poison(1))])).await.expect("commits");
        database
            .run("alter sequence tailwater.dead_letters_id_seq restart; alter sequence tailwater.gaps_id_seq restart")
            .await;
        let next = || group([batch(after(2), after(4), poison(3))]);
        let Err(Failure::Reopen(trouble)) = lane.commit(next()).await else { panic!("the number is taken") };
        assert_eq!(trouble.code, "sink.postgres.sequence");
        lane.open().await.expect("opens");
        assert_eq!(lane.commit(next()).await.expect("commits").figures(), (1, 1));
        assert_eq!(database.count("tailwater.dead_letters").await, "2");
        assert_eq!(database.text("select document ->> 'v' from orders").await, "3");
    })
    .await;
}

#[tokio::test]
async fn what_a_table_of_our_own_refuses_is_never_about_a_row() {
    in_database(|database| async move {
        let mut lane = database.ready_lane(&database.settings(), &id_key()).await;
        database
            .run("alter table tailwater.dead_letters add constraint none check (code <> 'sink.postgres.nul') not valid")
            .await;
        let events = vec![put(1, "key\0", 1), put(2, "a", 1)];
        let failure = lane.commit(group([batch(Position::Start, after(2), events)])).await.expect_err("is refused");
        assert!(matches!(failure, Failure::Halt(_)), "{failure:?}");
        assert_eq!(database.count("orders").await + &database.count("tailwater.dead_letters").await, "00");
    })
    .await;
}
