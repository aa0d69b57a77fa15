//! The checks themselves: they pass on what is right, and they find what is wrong. No `tailwater` is needed here.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use aws_sdk_dynamodb::types::{AttributeValue, ScalarAttributeType, StreamViewType};
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, PgConnection};
use tailwater_tests::patience::{Look, wait_until};
use tailwater_tests::plain::{Decimal, Plain};
use tailwater_tests::postgres::Database;
use tailwater_tests::proxy::{Fault, Hit, Line, Proxy};
use tailwater_tests::table::{Item, SourceTable};
use tailwater_tests::workload::{Workload, nasty_item};
use tailwater_tests::{audit, compare, stream};

const MIRROR_SQL: &str = r#"create table mirror ("Id" text, "Fecha" text, document jsonb, _op text, _event_id text,
    _deleted boolean not null default false, primary key ("Id", "Fecha"))"#;

/// Plain JSON text, good enough to make a mirror by hand.
fn json(value: &Plain) -> String {
    let quoted = |text: &str| serde_json::Value::from(text).to_string();
    match value {
        Plain::Null => "null".to_owned(),
        Plain::Bool(value) => value.to_string(),
        Plain::Number(number) => format!("{number:?}"),
        Plain::Text(text) => quoted(text),
        Plain::List(members) => format!("[{}]", members.iter().map(json).collect::<Vec<_>>().join(",")),
        Plain::Map(members) => {
            let members: Vec<_> =
                members.iter().map(|(name, value)| format!("{}:{}", quoted(name), json(value))).collect();
            format!("{{{}}}", members.join(","))
        }
    }
}

async fn mirror_by_hand(database: &Database, items: &[Item]) -> Result<()> {
    for item in items {
        let document = json(&Plain::of_item(item)?);
        sqlx::query(
            r#"insert into mirror select d ->> 'Id', d ->> 'Fecha', d, 'insert', '' from (select $1::jsonb as d) as x"#,
        )
        .bind(document)
        .execute(&database.admin)
        .await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_mirror_made_by_hand_equals_and_every_difference_is_found() -> Result<()> {
    let table = SourceTable::create(Some(StreamViewType::NewAndOldImages)).await?;
    let database = Database::create().await?;
    database.execute(MIRROR_SQL).await?;
    let mut workload = Workload::new(1, "");
    for _ in 0..60 {
        workload.step(&table).await?;
    }
    table.put(nasty_item("nasty")).await?;
    let items = table.scan().await?;
    mirror_by_hand(&database, &items).await?;
    compare::check(&items, &database.mirror("mirror").await?)?;

    let digits = "jsonb_set(document, '{number 6}', '12345678901234567890123456789012345679')";
    for (sql, undo, message) in [
        (format!(r#"update mirror set document = {digits} where "Id" = 'nasty'"#), true, "and should be"),
        (r#"update mirror set document = document - '\' where "Id" = 'nasty'"#.to_owned(), true, "and should be"),
        (r#"update mirror set _deleted = true where "Id" = 'nasty'"#.to_owned(), true, "is missing"),
        (r#"update mirror set "Fecha" = 'other' where "Id" = 'nasty'"#.to_owned(), true, "column Fecha"),
        (
            r#"insert into mirror values ('new', 'new', '{"Id":"new","Fecha":"new"}', '', '', false)"#.to_owned(),
            false,
            "not in the source",
        ),
    ] {
        let mut transaction = database.admin.begin().await?;
        sqlx::raw_sql(AssertSqlSafe(sql.clone())).execute(&mut *transaction).await?;
        transaction.commit().await?;
        let error = compare::check(&items, &database.mirror("mirror").await?).err().context(sql.clone())?.to_string();
        ensure!(error.contains(message), "{sql}: {error}");
        if undo {
            database.execute("truncate mirror").await?;
            mirror_by_hand(&database, &items).await?;
        }
    }
    Ok(())
}

#[tokio::test]
async fn keys_of_other_types_are_compared_by_value() -> Result<()> {
    let keys = [ScalarAttributeType::N, ScalarAttributeType::B];
    let table = SourceTable::create_with_keys(Some(StreamViewType::NewImage), keys).await?;
    let bytes = (0..200).collect::<Vec<u8>>();
    table
        .put(Item::from([
            ("Id".to_owned(), AttributeValue::N("1e2".to_owned())),
            ("Fecha".to_owned(), AttributeValue::B(aws_sdk_dynamodb::primitives::Blob::new(bytes))),
        ]))
        .await?;
    let items = table.scan().await?;
    let document = json(&Plain::of_item(&items[0])?);
    let database = Database::create().await?;
    let sql = r#"create table mirror ("Id" numeric, "Fecha" bytea, document jsonb, _op text, _event_id text, _deleted boolean)"#;
    database.execute(sql).await?;
    sqlx::query("insert into mirror select (d ->> 'Id')::numeric, decode(d ->> 'Fecha', 'base64'), d, '', '', false from (select $1::jsonb as d) as x")
        .bind(document)
        .execute(&database.admin)
        .await?;
    let rows = database.mirror("mirror").await?;
    ensure!(rows[0].key[0] == Plain::Number(Decimal::parse("100")?), "{rows:?}");
    compare::check(&items, &rows)
}

#[tokio::test]
async fn the_audit_notes_every_change_of_a_row() -> Result<()> {
    let database = Database::create().await?;
    database.execute(MIRROR_SQL).await?;
    audit::install(&database, "mirror").await?;
    database.execute(r#"insert into mirror ("Id", "Fecha", _event_id) values ('a', '', '1'), ('b', '', '2')"#).await?;
    database
        .execute("update mirror set _event_id = '3' where \"Id\" = 'a'; delete from mirror where \"Id\" = 'b'")
        .await?;
    let changes = audit::changes(&database).await?;
    let seen: Vec<_> = changes.iter().map(|change| (change.operation.as_str(), change.event_id.as_str())).collect();
    assert_eq!(seen, [("INSERT", "1"), ("INSERT", "2"), ("UPDATE", "3"), ("DELETE", "2")]);
    // The owner of the mirror can neither change nor read the notes.
    let mut owner = PgConnection::connect(&database.url()).await?;
    ensure!(sqlx::query("delete from audit.changes").execute(&mut owner).await.is_err(), "the owner can delete notes");
    Ok(())
}

#[tokio::test]
async fn the_stream_is_read_as_written() -> Result<()> {
    let table = SourceTable::create(Some(StreamViewType::KeysOnly)).await?;
    let mut workload = Workload::new(2, "");
    let item = workload.unique_item();
    table.put(item.clone()).await?;
    table.put(item).await?; // changes nothing: no event
    table.delete(tailwater_tests::table::key("unique-1", "2026-11-23T19:00:00Z")).await?;
    let arn = table.stream_arn().await?.context("an ARN")?;
    let names: Vec<_> = stream::read(&arn).await?.into_iter().map(|event| event.name).collect();
    assert_eq!(names, ["INSERT", "REMOVE"]);
    let [old, new] = table.replace_stream(StreamViewType::KeysOnly).await?;
    assert_eq!((old, stream::read(&new).await?), (arn, Vec::new()));
    Ok(())
}

/// A transaction through the proxy: `Ok` when the client was told that it is committed.
async fn insert_through(port: u16, database: &Database, value: i32) -> Result<()> {
    let options: PgConnectOptions = database.url_through(port).parse()?;
    let mut connection = options.connect().await?;
    let mut transaction = connection.begin().await?;
    sqlx::query("insert into numbers values ($1)").bind(value).execute(&mut *transaction).await?;
    Ok(transaction.commit().await?)
}

#[tokio::test]
async fn the_proxy_breaks_a_transaction_where_it_was_told_to() -> Result<()> {
    let database = Database::create().await?;
    let proxy = Proxy::start(database.address()).await?;
    database.execute(&format!("create table numbers (value int); grant all on numbers to {}", database.name())).await?;
    let stored = |value: i32| {
        let sql = format!("select count(*) from numbers where value = {value}");
        let database = &database;
        async move { database.number(&sql).await }
    };

    insert_through(proxy.port, &database, 0).await?;
    assert_eq!((stored(0).await?, proxy.hit()), (1, None));

    let mut value = 0;
    for (fault, told, durable) in [
        (Fault::CutBefore(0), false, 0),
        (Fault::CutAfter(1), false, 0),
        (Fault::LoseCommitAnswer, false, 1),
        (Fault::DelayCommitAnswer(Duration::from_millis(300)), true, 1),
        (Fault::CutBefore(1000), true, 1),
    ] {
        value += 1;
        proxy.arm(fault);
        let outcome = insert_through(proxy.port, &database, value).await;
        assert_eq!((outcome.is_ok(), stored(value).await?), (told, durable), "{fault:?}: {outcome:?}");
        let beyond = proxy.hit() == Some(Hit::Beyond);
        assert_eq!(beyond, fault == Fault::CutBefore(1000), "{fault:?}");
    }

    proxy.arm(Fault::DeliverCommitLate(Duration::from_millis(500)));
    ensure!(insert_through(proxy.port, &database, 100).await.is_err());
    assert_eq!(stored(100).await?, 0, "too early");
    wait_until("the late COMMIT arrives", Duration::from_secs(10), || async {
        Ok(Look::when(stored(100).await? == 1, "not there"))
    })
    .await?;

    proxy.set_line(Line::Down);
    ensure!(insert_through(proxy.port, &database, 200).await.is_err());
    proxy.set_line(Line::Silent);
    let silent = tokio::time::timeout(Duration::from_millis(500), insert_through(proxy.port, &database, 201)).await;
    ensure!(silent.is_err(), "something passed: {silent:?}");
    proxy.set_line(Line::Up);
    insert_through(proxy.port, &database, 202).await
}
