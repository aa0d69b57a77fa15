//! Everything that can happen to an item arrives: the mirror equals the source, item by item.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::{
    AttributeValue, Delete, DeleteRequest, Put, PutRequest, ScalarAttributeType, StreamViewType, TransactWriteItem,
    Update, WriteRequest,
};
use tailwater_tests::patience::{Look, wait_until};
use tailwater_tests::pipeline::{file_sink, postgres_sink};
use tailwater_tests::plain::Plain;
use tailwater_tests::scene::{MIRROR, Scene};
use tailwater_tests::table::{Item, SourceTable, key};
use tailwater_tests::workload::{Workload, nasty_item};
use tailwater_tests::{fileout, stream};

/// DynamoDB Local looks for expired items every few seconds.
const EXPIRED_WITHIN: Duration = Duration::from_secs(60);

fn number(text: &str) -> AttributeValue {
    AttributeValue::N(text.to_owned())
}

fn with(mut item: Item, name: &str, value: AttributeValue) -> Item {
    item.insert(name.to_owned(), value);
    item
}

/// Every kind of write call, with its effects and without.
async fn every_kind_of_write(table: &SourceTable) -> Result<()> {
    let client = &table.client;
    table.put(nasty_item("put")).await?;
    table.put(nasty_item("put")).await?; // the same again: no event
    table.put(with(nasty_item("put"), "more", number("1"))).await?;
    table.put(key("only the key", "x")).await?;

    let update = |id: &str, expression: &str| {
        let key = key(id, "x").into_iter().collect();
        client.update_item().table_name(&table.name).set_key(Some(key)).update_expression(expression)
    };
    let values = [(":one", number("1")), (":set", AttributeValue::Ss(vec!["b".to_owned(), "a".to_owned()]))];
    for (expression, used) in [("SET #a.b = :one", None), ("SET #a = :one", Some(0)), ("ADD #s :set", Some(1))] {
        let Some(used) = used else {
            let refused = update("updated", expression).expression_attribute_names("#a", "n").send().await;
            ensure!(refused.is_err(), "a path into nothing was taken");
            continue;
        };
        let (placeholder, value) = values[used].clone();
        let name = if used == 0 { "#a" } else { "#s" };
        let call = update("updated", expression).expression_attribute_names(name, format!("attribute.{name}"));
        call.expression_attribute_values(placeholder, value).send().await?;
    }
    update("updated", "REMOVE absent").send().await?; // no-op
    update("made by update", "REMOVE absent").send().await?; // makes an item of only its key

    table.put(key("deleted", "x")).await?;
    table.delete(key("deleted", "x")).await?;
    table.delete(key("deleted", "x")).await?; // no-op
    table.delete(key("never there", "x")).await?; // no-op
    table.put(with(key("put again", "x"), "n", number("1"))).await?;
    table.delete(key("put again", "x")).await?;
    table.put(with(key("put again", "x"), "n", number("2"))).await?;

    let put = |id: &str| PutRequest::builder().set_item(Some(nasty_item(id).into_iter().collect())).build();
    let delete = DeleteRequest::builder().set_key(Some(key("only the key", "x").into_iter().collect())).build()?;
    let requests = vec![
        WriteRequest::builder().put_request(put("batch 1")?).build(),
        WriteRequest::builder().put_request(put("batch 2")?).build(),
        WriteRequest::builder().delete_request(delete).build(),
    ];
    client.batch_write_item().request_items(&table.name, requests).send().await?;

    let put = Put::builder().table_name(&table.name).set_item(Some(nasty_item("transaction").into_iter().collect()));
    let delete =
        Delete::builder().table_name(&table.name).set_key(Some(key("made by update", "x").into_iter().collect()));
    let update = Update::builder().table_name(&table.name).set_key(Some(key("updated", "x").into_iter().collect()));
    let update = update.update_expression("SET n = :n").expression_attribute_values(":n", number("38"));
    let items = [
        TransactWriteItem::builder().put(put.build()?).build(),
        TransactWriteItem::builder().delete(delete.build()?).build(),
        TransactWriteItem::builder().update(update.build()?).build(),
    ];
    client.transact_write_items().set_transact_items(Some(items.to_vec())).send().await?;
    Ok(())
}

#[tokio::test]
async fn every_kind_of_write_arrives_with_both_view_types_that_carry_the_new_image() -> Result<()> {
    for view in [StreamViewType::NewImage, StreamViewType::NewAndOldImages] {
        for delete in ["soft", "hard"] {
            let mut scene = Scene::with_table(SourceTable::create(Some(view.clone())).await?).await?;
            scene.pipeline.sink = postgres_sink(MIRROR, delete);
            every_kind_of_write(&scene.table).await?;
            scene.run_to_tip().await.with_context(|| format!("{view:?}, {delete}"))?;
            scene.compare().await.with_context(|| format!("{view:?}, {delete}"))?;
            let rows = scene.database.mirror(MIRROR).await?;
            let gone: Vec<_> = rows.iter().filter(|row| row.deleted).filter_map(|row| row.key[0].text()).collect();
            match delete {
                // Those that were deleted in the same commit that wrote them need no row.
                "soft" => ensure!(!gone.contains(&"put again"), "{gone:?}"),
                _ => ensure!(gone.is_empty(), "a hard delete left rows: {gone:?}"),
            }
        }
    }
    Ok(())
}

#[tokio::test]
async fn deletes_of_rows_that_are_there_are_soft_or_hard() -> Result<()> {
    for (delete, rows_left) in [("soft", 2), ("hard", 1)] {
        let mut scene = Scene::new().await?;
        scene.pipeline.sink = postgres_sink(MIRROR, delete);
        scene.table.put(nasty_item("stays")).await?;
        scene.table.put(nasty_item("goes")).await?;
        scene.run_to_tip().await?;
        scene.compare().await?;
        scene.table.delete(key("goes", "nasty")).await?;
        scene.run_to_tip().await?;
        scene.compare().await?;
        let rows = scene.database.mirror(MIRROR).await?;
        ensure!(rows.len() == rows_left, "{delete}: {rows:?}");
        if let Some(row) = rows.iter().find(|row| row.deleted) {
            ensure!(row.op == "remove", "{row:?}");
        }
        // The item comes back: its row does too.
        scene.table.put(nasty_item("goes")).await?;
        scene.run_to_tip().await?;
        scene.compare().await?;
    }
    Ok(())
}

#[tokio::test]
async fn an_expired_item_is_removed_though_its_event_has_an_unknown_name() -> Result<()> {
    let scene = Scene::new().await?;
    scene.table.expire_by("expires").await?;
    // DynamoDB leaves items alone that expired more than five years ago.
    let now = scene.database.number("select extract(epoch from now())::bigint").await?;
    scene.table.put(with(nasty_item("expired"), "expires", number(&(now - 10).to_string()))).await?;
    scene.table.put(with(nasty_item("not yet"), "expires", number("99999999999"))).await?;
    scene.run_to_tip().await?;
    let arn = scene.table.stream_arn().await?.context("an ARN")?;
    wait_until("DynamoDB Local deletes the expired item", EXPIRED_WITHIN, || async {
        let names: Vec<_> = stream::read(&arn).await?.into_iter().map(|event| event.name).collect();
        Ok(Look::when(names.len() >= 3, format!("{names:?}")))
    })
    .await?;
    scene.run_to_tip().await?;
    scene.compare().await?;
    let rows = scene.database.mirror(MIRROR).await?;
    let expired = rows.iter().find(|row| row.deleted).with_context(|| format!("no row is deleted: {rows:?}"))?;
    ensure!(
        expired.key[0].text() == Some("expired") && ["remove", "ttl"].contains(&expired.op.as_str()),
        "{expired:?}"
    );
    ensure!(scene.database.number("select count(*) from tailwater.dead_letters").await? == 0);
    Ok(())
}

#[tokio::test]
async fn random_writes_in_several_runs_leave_the_mirror_equal() -> Result<()> {
    let scene = Scene::audited().await?;
    let mut workload = Workload::new(20_261_123, "");
    for _ in 0..4 {
        for _ in 0..150 {
            workload.step(&scene.table).await?;
        }
        scene.run_to_tip().await?;
        scene.check_exactly_once().await?;
    }
    scene.run_to_tip().await?;
    scene.check_exactly_once().await
}

#[tokio::test]
async fn keys_of_every_type_become_typed_columns() -> Result<()> {
    use ScalarAttributeType::{B, N, S};
    let value = |kind: &ScalarAttributeType, place: u8| match kind {
        N => number(["1e2", "-0.000000001", "12345678901234567890123456789012345678", "0"][usize::from(place) % 4]),
        B => AttributeValue::B(Blob::new(vec![0, 255, place])),
        _ => AttributeValue::S(format!("é'\" {place}")),
    };
    for (kinds, types) in [([N, B], ["numeric", "bytea"]), ([B, S], ["bytea", "text"]), ([S, N], ["text", "numeric"])] {
        let table = SourceTable::create_with_keys(Some(StreamViewType::NewImage), kinds.clone()).await?;
        let scene = Scene::with_table(table).await?;
        let [partition, sort] = &kinds;
        for place in 0..4 {
            let item =
                Item::from([("Id".to_owned(), value(partition, place)), ("Fecha".to_owned(), value(sort, place))]);
            scene.table.put(item.clone()).await?;
            if place == 3 {
                scene.table.delete(item).await?;
            }
        }
        scene.run_to_tip().await?;
        scene.compare().await?;
        let sql = format!(
            "select column_name || ' ' || data_type from information_schema.columns where table_name = '{MIRROR}'
             and column_name in ('Id', 'Fecha') order by column_name desc"
        );
        let columns = scene.database.texts(&sql).await?;
        assert_eq!(columns, [format!("Id {}", types[0]), format!("Fecha {}", types[1])]);
    }
    Ok(())
}

#[tokio::test]
async fn sets_arrive_sorted_and_numbers_with_every_digit() -> Result<()> {
    let scene = Scene::new().await?;
    scene.table.put(nasty_item("n")).await?;
    scene.run_to_tip().await?;
    let rows = scene.database.mirror(MIRROR).await?;
    let document = rows.first().and_then(|row| row.document_text.clone()).context("no row")?;
    for part in [
        r#""strings": ["", "10", "9", "B", "a", "b"]"#,
        r#""binaries": ["", "/w==", "AAA="]"#,
        "12345678901234567890123456789012345678",
        r#""numbers": [-1, 0, 0.000"#,
    ] {
        ensure!(document.contains(part), "{part} is not in {document}");
    }
    Ok(())
}

#[tokio::test]
async fn what_postgres_cannot_hold_is_in_the_dead_letters_whole() -> Result<()> {
    let scene = Scene::new().await?;
    let text = |text: &str| AttributeValue::S(text.to_owned());
    scene.table.put(nasty_item("before")).await?;
    scene.table.put(with(key("zero in a value", "x"), "value", text("a\0b"))).await?;
    scene.table.put(with(key("zero in a name", "x"), "a\0b", text("value"))).await?;
    scene.table.put(key("zero in the key\0", "x")).await?;
    let mut random = fastrand::Rng::with_seed(3);
    // Random, so that it cannot be compressed below the 2 704 bytes that an index row may have.
    let long: String = std::iter::repeat_with(|| random.alphanumeric()).take(2048).collect();
    scene.table.put(key(&long, &long[..1024])).await?;
    scene.table.put(nasty_item("after")).await?;
    scene.run_to_tip().await?;

    let kept: Vec<_> = scene.database.mirror(MIRROR).await?.into_iter().map(|row| row.key[0].clone()).collect();
    assert_eq!(kept, [Plain::Text("after".to_owned()), Plain::Text("before".to_owned())]);
    let arn = scene.table.stream_arn().await?.context("an ARN")?;
    let events: BTreeMap<_, _> =
        stream::read(&arn).await?.into_iter().map(|event| (event.event_id.clone(), event)).collect();
    let letters =
        scene.database.texts("select event_id || ' ' || record from tailwater.dead_letters order by id").await?;
    ensure!(letters.len() == 4, "{letters:#?}");
    for (letter, value) in letters.iter().zip(["a\0b", "a\0b", "zero in the key\0", &long]) {
        let (event_id, record) = letter.split_once(' ').context("two parts")?;
        ensure!(events.contains_key(event_id), "no event of the stream: {letter}");
        ensure!(format!("{:?}", Plain::parse(record)?).contains(&format!("{value:?}")), "{value:?} is not in {record}");
    }
    // A row that can be held again is written again.
    scene.table.put(with(key("zero in a value", "x"), "value", text("fine now"))).await?;
    scene.run_to_tip().await?;
    ensure!(scene.database.mirror(MIRROR).await?.len() == 3);
    Ok(())
}

/// DynamoDB Local writes an empty map into its stream as `{}`, without the tag `M`.
#[tokio::test]
async fn an_empty_map_that_dynamodb_local_leaves_untagged_is_carried() -> Result<()> {
    let scene = Scene::new().await?;
    let empty_map = || AttributeValue::M(std::iter::empty::<(String, AttributeValue)>().collect());
    scene.table.put(with(key("empty map", "x"), "value", empty_map())).await?;
    scene.table.put(with(key("inside", "x"), "value", AttributeValue::L(vec![empty_map()]))).await?;
    scene.run_to_tip().await?;
    ensure!(scene.database.texts("select record from tailwater.dead_letters").await?.is_empty());
    ensure!(scene.database.mirror(MIRROR).await?.len() == 2);
    scene.compare().await
}

#[tokio::test]
async fn all_view_types_go_into_a_file() -> Result<()> {
    for (view, images) in [
        (StreamViewType::KeysOnly, [false, false]),
        (StreamViewType::NewImage, [true, false]),
        (StreamViewType::OldImage, [false, true]),
        (StreamViewType::NewAndOldImages, [true, true]),
    ] {
        let mut scene = Scene::with_table(SourceTable::create(Some(view.clone())).await?).await?;
        let path = scene.dir().join("changes.jsonl");
        (scene.pipeline.sink, scene.pipeline.lanes) = (file_sink(&path), 1);
        every_kind_of_write(&scene.table).await?;
        scene.run_to_tip().await.with_context(|| format!("{view:?}"))?;

        let arn = scene.table.stream_arn().await?.context("an ARN")?;
        let events = stream::read(&arn).await?;
        let lines = fileout::lines(&path)?;
        let ids: Vec<_> = lines.iter().map(|line| line.get("event_id").and_then(Plain::text)).collect();
        let expected: Vec<_> = events.iter().map(|event| Some(event.event_id.as_str())).collect();
        assert_eq!(ids, expected, "{view:?}: one line per event in the stream's order");
        for (line, event) in lines.iter().zip(&events) {
            let there = ["new", "old"].map(|image| line.get(image).is_some());
            let has = match event.name.as_str() {
                "INSERT" => [true, false],
                "MODIFY" => [true, true],
                _ => [false, true],
            };
            let expected = [images[0] && has[0], images[1] && has[1]];
            ensure!(there == expected, "{view:?} {}: images {there:?}, expected {expected:?}", event.name);
        }
        if images[0] {
            let mut state = BTreeMap::new();
            for line in lines {
                let key = line.get("key").cloned().context("a line without key")?;
                match line.get("new").cloned() {
                    Some(document) => state.insert(key, document),
                    None => state.remove(&key),
                };
            }
            tailwater_tests::compare::check_documents(&scene.table.scan().await?, state.into_values().collect())?;
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_closed_stream_is_drained_to_its_end() -> Result<()> {
    let scene = Scene::new().await?;
    every_kind_of_write(&scene.table).await?;
    scene.run_to_tip().await?;
    scene.table.put(nasty_item("last")).await?;
    scene.table.close_stream().await?;
    scene.try_to_tip().await?.must_exit_with(0)?;
    scene.compare().await?;
    let positions = scene.database.texts("select distinct position from tailwater.shards").await?;
    assert_eq!(positions, ["end"]);
    Ok(())
}
