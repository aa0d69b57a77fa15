//! The transforms of a pipeline file have their effect in the mirror, and what they drop is accounted for.

use anyhow::{Result, ensure};
use aws_sdk_dynamodb::types::AttributeValue;
use tailwater_tests::compare;
use tailwater_tests::plain::Plain;
use tailwater_tests::scene::{MIRROR, Scene};
use tailwater_tests::table::{Item, key};
use tailwater_tests::workload::nasty_item;

fn text(text: &str) -> AttributeValue {
    AttributeValue::S(text.to_owned())
}

fn map(members: &[(&str, AttributeValue)]) -> AttributeValue {
    AttributeValue::M(members.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect())
}

fn with(mut item: Item, members: &[(&str, AttributeValue)]) -> Item {
    item.extend(members.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
    item
}

/// Carries `item` through `transforms` and holds the result against `expected`.
async fn becomes(transforms: &str, item: Item, expected: Item) -> Result<()> {
    let mut scene = Scene::new().await?;
    scene.pipeline.more = transforms.to_owned();
    scene.table.put(item).await?;
    scene.run_to_tip().await?;
    compare::check(&[expected], &scene.database.mirror(MIRROR).await?)
}

fn customer() -> Item {
    let profile = map(&[("name", text("Ærin")), ("phone", text("1")), ("home.town", text("東京"))]);
    with(
        key("c", "x"),
        &[("profile", profile), ("a.b", text("dotted")), ("secret", text("s")), ("n", AttributeValue::N("1e2".into()))],
    )
}

#[tokio::test]
async fn excluded_attributes_are_gone_and_nothing_else() -> Result<()> {
    let mut expected = customer();
    expected.remove("secret");
    expected.remove("a.b");
    expected.insert("profile".to_owned(), map(&[("name", text("Ærin"))]));
    let transforms = r#"[[transform]]
        exclude = ["secret", '"a.b"', "profile.phone", 'profile."home.town"', "never.there"]"#;
    becomes(transforms, customer(), expected).await
}

#[tokio::test]
async fn included_attributes_stay_and_nothing_else() -> Result<()> {
    let expected =
        with(key("c", "x"), &[("profile", map(&[("phone", text("1"))])), ("n", AttributeValue::N("100".into()))]);
    let transforms = r#"[[transform]]
        include = ["Id", "Fecha", "profile.phone", "n"]"#;
    becomes(transforms, customer(), expected).await
}

#[tokio::test]
async fn renamed_attributes_have_their_new_name() -> Result<()> {
    let mut expected = customer();
    expected.remove("secret");
    expected.remove("a.b");
    let profile = map(&[("full name", text("Ærin")), ("phone", text("1")), ("home.town", text("東京"))]);
    let expected = with(expected, &[("public", text("s")), ("größe\"", text("dotted")), ("profile", profile)]);
    let transforms = r#"[[transform]]
        rename = { secret = "public", '"a.b"' = "größe\"", "profile.name" = "full name" }"#;
    becomes(transforms, customer(), expected).await
}

#[tokio::test]
async fn several_transforms_work_one_after_the_other() -> Result<()> {
    let expected = with(key("c", "x"), &[("public", text("s"))]);
    let transforms = r#"[[transform]]
        rename = { secret = "public" }
        [[transform]]
        include = ["Id", "Fecha", "public", "profile"]
        [[transform]]
        exclude = ["profile"]"#;
    becomes(transforms, customer(), expected).await
}

#[tokio::test]
async fn the_key_columns_stay_though_the_document_loses_the_key() -> Result<()> {
    let mut scene = Scene::new().await?;
    scene.pipeline.more = "[[transform]]\ninclude = [\"secret\"]\n".to_owned();
    scene.table.put(customer()).await?;
    scene.run_to_tip().await?;
    let rows = scene.database.mirror(MIRROR).await?;
    let [row] = rows.as_slice() else { anyhow::bail!("{rows:?}") };
    assert_eq!(row.key, [Plain::Text("c".to_owned()), Plain::Text("x".to_owned())]);
    assert_eq!(row.document_text.as_deref(), Some(r#"{"secret": "s"}"#));
    Ok(())
}

#[tokio::test]
async fn changes_that_are_not_kept_are_counted_as_filtered() -> Result<()> {
    let mut scene = Scene::new().await?;
    scene.pipeline.more = "[[transform]]\nkeep = [\"insert\", \"modify\"]\n".to_owned();
    scene.table.put(nasty_item("stays")).await?;
    scene.table.put(nasty_item("goes")).await?;
    scene.run_to_tip().await?;
    scene.table.delete(key("goes", "nasty")).await?;
    scene.table.put(with(nasty_item("stays"), &[("more", text("m"))])).await?;
    scene.run_to_tip().await?;
    let rows = scene.database.mirror(MIRROR).await?;
    ensure!(rows.len() == 2 && rows.iter().all(|row| !row.deleted), "{rows:?}");
    let accounts =
        "select concat_ws(' ', sum(read), sum(written), sum(filtered), sum(dead_lettered)) from tailwater.shards";
    assert_eq!(scene.database.texts(accounts).await?, ["4 3 1 0"]);
    Ok(())
}

#[tokio::test]
async fn a_new_name_that_is_taken_goes_to_the_dead_letters() -> Result<()> {
    let mut scene = Scene::new().await?;
    scene.pipeline.more = "[[transform]]\nrename = { secret = \"n\" }\n".to_owned();
    scene.table.put(customer()).await?;
    scene.table.put(with(key("fine", "x"), &[("secret", text("s"))])).await?;
    scene.run_to_tip().await?;
    let rows = scene.database.mirror(MIRROR).await?;
    ensure!(rows.len() == 1 && rows[0].key[0].text() == Some("fine"), "{rows:?}");
    let codes = scene.database.texts("select code from tailwater.dead_letters").await?;
    assert_eq!(codes, ["transform.name_collision"]);
    Ok(())
}

#[tokio::test]
async fn dead_letters_do_not_show_what_a_later_transform_removes() -> Result<()> {
    let mut scene = Scene::new().await?;
    scene.pipeline.more = "[[transform]]\nrename = { secret = \"n\" }\n[[transform]]\nexclude = [\"n\"]\n".to_owned();
    scene.table.put(customer()).await?;
    scene.run_to_tip().await?;
    let records = scene.database.texts("select record from tailwater.dead_letters").await?;
    let [record] = records.as_slice() else { anyhow::bail!("{records:?}") };
    let record: serde_json::Value = serde_json::from_str(record)?;
    let image = record.get("NewImage").and_then(|image| image.as_object());
    let names: Vec<_> = image.into_iter().flat_map(|image| image.keys()).map(String::as_str).collect();
    assert_eq!(names, ["Fecha", "Id", "a.b", "profile"]);
    Ok(())
}
