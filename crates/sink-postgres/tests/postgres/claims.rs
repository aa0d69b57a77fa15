//! Claiming: what is made, what is compared, what is told.

use tailwater_model::{KeyKind, KeySchema, PipelineIdentity, TroubleKind};
use tailwater_model::{Position, ShardId, Sink, Trouble};
use tailwater_sink_postgres::{PostgresSettings, checkpoints, claim};

use crate::ground::{Database, batch, group, identity, in_database, insert, keys, put, registration};
use crate::ground::{SHARD, after, id_key, settings};

async fn refused(settings: &PostgresSettings, lanes: u32, keys: &KeySchema) -> Trouble {
    match claim(settings, &identity(lanes), keys).await {
        Err(trouble) => trouble,
        Ok(_) => panic!("the claim was not refused"),
    }
}

#[tokio::test]
async fn a_pipeline_is_claimed_opened_carried_and_listed() {
    in_database(|database| async move {
        let settings = database.settings();
        assert_eq!(checkpoints(&settings, "orders to postgres").await, Ok(None));
        let mut lanes = claim(&settings, &identity(2), &id_key()).await.expect("claims").lanes;
        assert_eq!(lanes.len(), 2);
        for lane in &mut lanes {
            assert!(lane.open().await.expect("opens").shards.is_empty());
        }
        lanes[1].commit(group([registration(SHARD, Some("parent"))])).await.expect("registers");
        let step = batch(Position::Start, after(1), vec![put(1, "a", 7)]);
        let committed = lanes[1].commit(group([step])).await.expect("commits");
        assert_eq!((committed.written, committed.dead_lettered), (1, 0));

        assert!(lanes[0].open().await.expect("opens").shards.is_empty(), "lane 0 has no shard");
        let progress = lanes[1].open().await.expect("opens");
        assert_eq!(progress.shards[0].parent, Some(ShardId::new("parent")));
        assert_eq!(progress.shards[0].position, after(1));
        let listed = checkpoints(&settings, "orders to postgres").await.expect("lists").expect("is there");
        assert_eq!((listed.shards[0].lane, &listed.shards[0].position), (1, &after(1)));
        assert!(listed.shards[0].counts.balance() && listed.shards[0].counts.written == 1);
        assert!(listed.shards[0].updated_at.ends_with('Z'), "{}", listed.shards[0].updated_at);
        assert_eq!(checkpoints(&settings, "another").await, Ok(None));

        let row = database.text("select concat_ws('|', \"Id\", document, _op, _seq, _event_id, _source_ts at time zone 'UTC', _deleted) from orders").await;
        assert_eq!(row, r#"a|{"v": 7, "Id": "a"}|insert|400000000000000000001|event-1|2023-11-14 22:13:20.123|f"#);
        let uncommented = "pg_class where relkind = 'r' and relnamespace::regnamespace::text in ('public', 'tailwater') \
                           and obj_description(oid, 'pg_class') is null";
        assert_eq!(database.count(uncommented).await, "0");
        let comment = "select obj_description('orders'::regclass, 'pg_class')";
        let expected = "Mirror of the DynamoDB table Orders, kept by Tailwater's pipeline orders to postgres.";
        assert_eq!(database.text(comment).await, expected);
    })
    .await;
}

#[tokio::test]
async fn a_table_that_was_written_to_and_is_gone_is_not_made_again() {
    in_database(|database| async move {
        let settings = database.settings();
        // Nothing was carried yet: a table dropped now is simply made again.
        drop(database.ready_lane(&settings, &id_key()).await);
        database.run("drop table orders").await;
        let mut lane = database.lane(&settings, &id_key()).await;
        lane.open().await.expect("opens");
        lane.commit(group([batch(Position::Start, after(1), vec![put(1, "a", 7)])])).await.expect("commits");
        database.run("drop table orders").await;
        let trouble = refused(&settings, 1, &id_key()).await;
        assert_eq!((trouble.kind, trouble.code), (TroubleKind::DataAtRisk, "sink.target_missing"));
    })
    .await;
}

#[tokio::test]
async fn of_two_pipelines_on_one_table_only_one_is_let_in() {
    in_database(|database| async move {
        let settings = database.settings();
        drop(database.ready_lane(&settings, &id_key()).await);
        let other = PipelineIdentity { name: "another".into(), ..identity(1) };
        let taken = claim(&settings, &other, &id_key()).await.map(drop).expect_err("it belongs to the first");
        assert_eq!((taken.kind, taken.code), (TroubleKind::DataAtRisk, "sink.target_taken"));
        assert!(taken.message.contains("orders to postgres"), "{}", taken.message);
        let advice = taken.advice.expect("both ways on");
        let adopt = advice.split("adopt = \"").nth(1).and_then(|rest| rest.split('"').next()).map(str::to_owned);
        let adopting = PostgresSettings { adopt, ..settings.clone() };
        claim(&adopting, &other, &id_key()).await.map(drop).expect("adopts");
        assert_eq!(refused(&settings, 1, &id_key()).await.code, "sink.target_taken", "now the first is let in no more");
        claim(&settings, &other, &id_key()).await.map(drop).expect("goes on without the token");
    })
    .await;
}

#[tokio::test]
async fn progress_of_earlier_versions_is_bound_as_it_is() {
    in_database(|database| async move {
        let settings = database.settings();
        let mut lane = database.ready_lane(&settings, &id_key()).await;
        lane.commit(group([batch(Position::Start, after(1), vec![put(1, "a", 7)])])).await.expect("commits");
        drop(lane);
        database.run("delete from tailwater.targets").await;
        drop(database.lane(&settings, &id_key()).await);
        let bound = "select target || ' ' || source from tailwater.targets";
        assert_eq!(database.text(bound).await, r#""public"."orders" Orders with the key "Id" S"#);
        let of_other_key = refused(&settings, 1, &keys(&[("Id", KeyKind::N)])).await;
        assert_eq!((of_other_key.kind, of_other_key.code), (TroubleKind::DataAtRisk, "sink.source_changed"));
    })
    .await;
}

#[tokio::test]
async fn names_of_any_kind_are_taken_exactly() {
    in_database(|database| async move {
        let settings = PostgresSettings {
            schema: r#"we"ird; drop schema public"#.into(),
            table: "täble 'x' \\ \"y\"".into(),
            ..database.settings()
        };
        let schema = keys(&[(r#"a"b\c'"#, KeyKind::S), ("Número", KeyKind::N)]);
        let mut lane = database.ready_lane(&settings, &schema).await;
        let json = r#"{"a\"b\\c'":{"S":"k"},"Número":{"N":"1.50"}}"#;
        lane.commit(group([batch(Position::Start, after(1), vec![insert(1, json, json)])])).await.expect("commits");
        let names = "select string_agg(attname, '|' order by attnum) from pg_attribute a join pg_class c on c.oid = attrelid where relname = 'täble ''x'' \\ \"y\"' and attnum between 1 and 3";
        assert_eq!(database.text(names).await, r#"a"b\c'|Número|document"#);
        // The second start finds the table as it made it.
        database.lane(&settings, &schema).await;
    })
    .await;
}

#[tokio::test]
async fn a_table_of_another_shape_is_refused_with_every_difference() {
    in_database(|database| async move {
        database
            .run(
                "create unlogged table orders (\"Id\" integer, document json not null, _op text, _seq numeric, \
                 _event_id text, _source_ts timestamptz, _synced_at timestamptz, note text not null)",
            )
            .await;
        let trouble = refused(&database.settings(), 1, &id_key()).await;
        assert_eq!((trouble.kind, trouble.code), (TroubleKind::Environment, "sink.table_shape"));
        for part in [
            "unlogged",
            "add primary key (\"Id\")",
            "\"Id\" is integer and must be text",
            "document is json and must be jsonb",
            "_seq is numeric and must be numeric(40,0)",
            "_deleted is missing: alter table \"public\".\"orders\" add column _deleted boolean",
            "note must not be null",
        ] {
            assert!(trouble.message.contains(part), "{part}: {}", trouble.message);
        }
        assert_eq!(database.count("pg_namespace where nspname = 'tailwater'").await, "0", "all or nothing");
        database.run("drop table orders; create view orders as select 1 as one").await;
        assert!(refused(&database.settings(), 1, &id_key()).await.message.contains("not a table"));
    })
    .await;
}

#[tokio::test]
async fn an_unlogged_partition_anywhere_in_the_tree_is_refused() {
    in_database(|database| async move {
        database
            .run(
                "create table orders (\"Id\" text primary key, document jsonb, _op text, _seq numeric(40,0), _event_id text, \
                 _source_ts timestamptz, _synced_at timestamptz, _deleted boolean) partition by hash (\"Id\"); \
                 create table even partition of orders for values with (modulus 2, remainder 0); \
                 create table odd partition of orders for values with (modulus 2, remainder 1) partition by hash (\"Id\"); \
                 create unlogged table \"Odd one\" partition of odd for values with (modulus 1, remainder 0)",
            )
            .await;
        let trouble = refused(&database.settings(), 1, &id_key()).await;
        assert_eq!((trouble.kind, trouble.code), (TroubleKind::Environment, "sink.table_shape"));
        assert!(trouble.message.contains("alter table public.\"Odd one\" set logged"), "{}", trouble.message);
        assert!(!trouble.message.contains("even"), "{}", trouble.message);
        database.run("alter table \"Odd one\" set logged").await;
        let mut lane = database.ready_lane(&database.settings(), &id_key()).await;
        lane.commit(group([batch(Position::Start, after(1), vec![put(1, "a", 1)])])).await.expect("commits");
    })
    .await;
}

#[tokio::test]
async fn a_table_of_the_same_shape_is_taken_as_it_is() {
    in_database(|database| async move {
        database
            .run(
                "create table orders (note text, \"Id\" varchar, document jsonb, _op text, _seq numeric(40,0), _event_id text, \
                 _source_ts timestamptz, _synced_at timestamptz, _deleted boolean, more integer not null default 3); \
                 alter table orders alter column \"Id\" type text; alter table orders add unique (\"Id\")",
            )
            .await;
        let mut lane = database.ready_lane(&database.settings(), &id_key()).await;
        for (from, to, value) in [(Position::Start, after(1), 1), (after(1), after(2), 2)] {
            lane.commit(group([batch(from, to, vec![put(value, "a", value)])])).await.expect("commits");
        }
        assert_eq!(database.text("select concat_ws('|', document ->> 'v', more, note) from orders").await, "2|3");
    })
    .await;
}

#[tokio::test]
async fn a_role_needs_rights_once_and_says_which() {
    in_database(|database| async move {
        let (role, url) = database.role().await;
        let trouble = refused(&settings(&url), 1, &id_key()).await;
        assert_eq!((trouble.kind, trouble.code), (TroubleKind::Environment, "sink.postgres.denied"));
        assert!(trouble.message.contains("permission denied for database"), "{}", trouble.message);
        assert!(trouble.advice.as_ref().is_some_and(|advice| advice.contains("grant create on database")));
        assert!(!format!("{trouble:?}").contains("hunter2"));

        // Somebody else prepares everything: then rights to write are enough.
        database.lane(&database.settings(), &id_key()).await;
        database
            .run(&format!(
                "grant usage on schema tailwater to {role}; grant select, insert, update on all tables in schema tailwater to {role}"
            ))
            .await;
        let trouble = refused(&settings(&url), 1, &id_key()).await;
        assert_eq!((trouble.kind, trouble.code), (TroubleKind::Environment, "sink.postgres.denied"));
        assert!(trouble.message.contains("may not select, insert, update, delete on"), "{}", trouble.message);
        database.run(&format!("grant select, insert, update, delete on orders to {role}")).await;
        let mut lane = database.ready_lane(&settings(&url), &id_key()).await;
        lane.commit(group([batch(Position::Start, after(1), vec![put(1, "a", 1)])])).await.expect("commits");
        assert_eq!(database.count("orders").await, "1");
    })
    .await;
}

#[tokio::test]
async fn a_wrong_way_in_is_told_without_the_password() {
    in_database(|database| async move {
        let (role, url) = database.role().await;
        let place = url.rsplit_once('@').map(|(_, place)| place.to_owned()).expect("a host");
        let host = place.split(':').next().expect("a host").to_owned();
        for (url, kind, code, part) in [
            (
                url.replace("hunter2", "hunter3"),
                TroubleKind::Environment,
                "sink.postgres.login",
                "password authentication failed",
            ),
            (format!("{url}_missing"), TroubleKind::Environment, "sink.postgres.database_missing", "does not exist"),
            (
                format!("postgres://{role}:hunter3@{host}:1/d"),
                TroubleKind::Environment,
                "sink.postgres.connection",
                "refused",
            ),
            (format!("postgres://{role}:hunter3@{host}:1x/d"), TroubleKind::Config, "sink.postgres.url", "port"),
        ] {
            let trouble = refused(&settings(&url), 1, &id_key()).await;
            assert_eq!((trouble.kind, trouble.code), (kind, code), "{trouble:?}");
            assert!(trouble.message.contains(part), "{}", trouble.message);
            assert!(trouble.advice.is_some() && !format!("{trouble:?}").contains("hunter"), "{trouble:?}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_server_that_never_answers_is_not_waited_for() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("listens");
    let port = silent.local_addr().expect("has a port").port();
    let settings = PostgresSettings {
        connect_timeout: std::time::Duration::from_millis(300),
        ..settings(&format!("postgres://u:p@127.0.0.1:{port}/d"))
    };
    let trouble = refused(&settings, 1, &id_key()).await;
    assert_eq!((trouble.kind, trouble.code), (TroubleKind::Environment, "sink.postgres.connection"));
    assert!(trouble.message.contains("no answer within 300ms"), "{}", trouble.message);
}

#[tokio::test]
async fn another_lane_count_is_refused() {
    in_database(|database| async move {
        database.lane(&database.settings(), &id_key()).await;
        let trouble = refused(&database.settings(), 3, &id_key()).await;
        assert_eq!((trouble.kind, trouble.code), (TroubleKind::Config, "sink.lane_count"));
        assert!(trouble.advice.is_some_and(|advice| advice.contains("set lanes = 1")));
        assert_eq!(refused(&database.settings(), 0, &id_key()).await.code, "sink.lane_count");
    })
    .await;
}

#[tokio::test]
async fn names_that_cannot_be_are_refused_before_connecting() {
    let nowhere = settings("postgres://u:p@127.0.0.1:1/d");
    for (schema, table, code) in [
        ("tailwater", "t", "sink.postgres.schema_reserved"),
        ("pg_catalog", "t", "sink.postgres.schema_reserved"),
        ("information_schema", "t", "sink.postgres.schema_reserved"),
        ("", "t", "sink.postgres.name"),
        ("s", "with\0nul", "sink.postgres.name"),
    ] {
        let settings = PostgresSettings { schema: schema.into(), table: table.into(), ..nowhere.clone() };
        assert_eq!(refused(&settings, 1, &id_key()).await.code, code, "{schema}");
    }
    for name in ["document", "_deleted", "xmin", &"k".repeat(64)] {
        let trouble = refused(&nowhere, 1, &keys(&[(name, KeyKind::S)])).await;
        assert_eq!((trouble.kind, trouble.code), (TroubleKind::Config, "sink.postgres.key_name"), "{name}");
    }
}

#[tokio::test]
async fn a_newer_schema_is_left_alone() {
    in_database(|database: std::sync::Arc<Database>| async move {
        database.lane(&database.settings(), &id_key()).await;
        database.run("insert into tailwater.migrations (version) values (99)").await;
        let trouble = refused(&database.settings(), 1, &id_key()).await;
        assert_eq!((trouble.kind, trouble.code), (TroubleKind::Environment, "sink.newer_schema"));
    })
    .await;
}

#[tokio::test]
async fn many_claim_at_once_and_the_last_one_holds_all_lanes() {
    in_database(|database| async move {
        let claims = (0..4).map(|_| {
            let settings = database.settings();
            tokio::spawn(async move { claim(&settings, &identity(3), &id_key()).await.expect("claims").lanes })
        });
        let mut claimed = Vec::new();
        for claim in claims.collect::<Vec<_>>() {
            claimed.push(claim.await.expect("no panic"));
        }
        let mut holders = 0;
        for mut lanes in claimed {
            let mut open = 0;
            for lane in &mut lanes {
                open += u32::from(lane.open().await.is_ok());
            }
            assert!(open == 0 || open == 3, "lanes are never shared between claims");
            holders += open / 3;
        }
        assert_eq!(holders, 1);
    })
    .await;
}
