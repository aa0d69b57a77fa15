//! The file is right and the world is not: one clear message with the next step, and the exit code of its kind.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use aws_sdk_dynamodb::types::StreamViewType;
use tailwater_tests::pipeline::{file_sink, postgres_sink, set_url};
use tailwater_tests::process::{Outcome, Tailwater};
use tailwater_tests::scene::{MIRROR, Scene};
use tailwater_tests::table::SourceTable;
use tailwater_tests::workload::nasty_item;

/// A start that cannot succeed must say so before anybody loses patience.
const TOLD_WITHIN: Duration = Duration::from_secs(30);

/// Runs until it stops by itself, which it must, with this code and these words, the next step among them.
async fn refused(scene: &Scene, code: i32, words: &[&str]) -> Result<Outcome> {
    let path = scene.pipeline.write(scene.dir())?;
    let path = path.to_str().context("a path that is no text")?;
    let outcome = Tailwater::run(scene.dir(), &["run", path], &scene.environment, TOLD_WITHIN).await?;
    let outcome = outcome.must_exit_with(code)?.must_say(words)?.must_say(&["→"])?;
    ensure!(outcome.stderr.matches("[FAIL]").count() == 1, "not exactly one failure\n{}", outcome.said());
    Ok(outcome)
}

#[tokio::test]
async fn a_table_without_a_stream() -> Result<()> {
    let scene = Scene::with_table(SourceTable::create(None).await?).await?;
    refused(&scene, 3, &[&scene.table.name, "stream", "tailwater stream enable"]).await?;
    Ok(())
}

#[tokio::test]
async fn a_table_that_is_not_there() -> Result<()> {
    let mut scene = Scene::new().await?;
    scene.pipeline.table = "never_made".to_owned();
    refused(&scene, 3, &["never_made", "us-east-1"]).await?;
    Ok(())
}

#[tokio::test]
async fn an_endpoint_where_nobody_listens() -> Result<()> {
    let mut scene = Scene::new().await?;
    scene.pipeline.endpoint = "http://127.0.0.1:1".to_owned();
    refused(&scene, 3, &["127.0.0.1:1"]).await?;
    Ok(())
}

#[tokio::test]
async fn an_endpoint_that_is_no_dynamodb() -> Result<()> {
    let mut scene = Scene::new().await?;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    scene.pipeline.endpoint = format!("http://{}", listener.local_addr()?);
    let server = tokio::spawn(async move {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        while let Ok((mut client, _)) = listener.accept().await {
            // A captive portal, or a proxy in trouble.
            let mut request = [0; 4096];
            let _ = client.read(&mut request).await;
            let body = "<html><body>Bad Gateway</body></html>";
            let head =
                format!("HTTP/1.1 502 Bad Gateway\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
            let _ = client.write_all(format!("{head}{body}").as_bytes()).await;
        }
    });
    refused(&scene, 3, &["502"]).await?;
    server.abort();
    Ok(())
}

#[tokio::test]
async fn no_credentials() -> Result<()> {
    let mut scene = Scene::new().await?;
    scene.environment.remove("AWS_ACCESS_KEY_ID");
    scene.environment.remove("AWS_SECRET_ACCESS_KEY");
    refused(&scene, 3, &["credentials"]).await?;
    Ok(())
}

#[tokio::test]
async fn no_region() -> Result<()> {
    let mut scene = Scene::new().await?;
    // With an endpoint any region does; without one there is nothing to guess.
    scene.pipeline.endpoint = String::new();
    let outcome = refused(&scene, 2, &["region", "AWS_REGION"]).await?;
    ensure!(!outcome.stderr.contains("127.0.0.1"), "{}", outcome.said());
    Ok(())
}

#[tokio::test]
async fn a_postgres_that_nobody_can_reach() -> Result<()> {
    let mut scene = Scene::new().await?;
    let url = scene.database.url_through(1);
    set_url(&mut scene.environment, url);
    refused(&scene, 3, &["127.0.0.1:1", scene.database.name()]).await?;
    Ok(())
}

#[tokio::test]
async fn a_wrong_password_and_a_database_that_is_not_there() -> Result<()> {
    let mut scene = Scene::new().await?;
    let url = scene.database.url();
    set_url(&mut scene.environment, url.replace("canary-7Yq2pZ", "canary-7Yq2pZ-wrong"));
    refused(&scene, 3, &["password", scene.database.name()]).await?;
    set_url(&mut scene.environment, url.replace(&format!("/{}", scene.database.name()), "/not_there"));
    // Only the database's name was replaced, the role's stands before the password.
    refused(&scene, 3, &["not_there"]).await?;
    Ok(())
}

/// What `psql` would take from them.
#[tokio::test]
async fn variables_of_other_programs_take_no_part() -> Result<()> {
    let mut scene = Scene::new().await?;
    for (name, value) in [
        ("PGHOST", "127.0.0.9"),
        ("PGPORT", "1"),
        ("PGUSER", "nobody"),
        ("PGPASSWORD", "wrong"),
        ("PGDATABASE", "not_there"),
        ("PGSSLMODE", "verify-full"),
        ("PGSSLROOTCERT", "/nowhere/ca.pem"),
    ] {
        scene.environment.insert(name.into(), value.into());
    }
    scene.run_to_tip().await?;
    Ok(())
}

#[tokio::test]
async fn tls_is_demanded_and_the_certificate_is_not_known() -> Result<()> {
    let mut scene = Scene::new().await?;
    scene.pipeline.sink.push_str("[sink.postgres.tls]\nmode = \"verify-full\"\n");
    refused(&scene, 3, &["tls.ca_file"]).await?;
    Ok(())
}

#[tokio::test]
async fn a_target_table_of_another_shape() -> Result<()> {
    for (sql, words) in [
        (r#"create table orders (id int primary key, name text)"#, ["orders", "Fecha"]),
        (r#"create view orders as select 1 as "Id""#, ["orders", "not a table"]),
    ] {
        let scene = Scene::new().await?;
        scene.database.execute(&format!("{sql}; grant all on orders to public")).await?;
        refused(&scene, 3, &words).await?;
    }
    // The table of another pipeline's key types.
    let scene = Scene::new().await?;
    scene.run_to_tip().await?;
    scene.database.execute(r#"alter table orders alter column "Fecha" type numeric using 0"#).await?;
    refused(&scene, 3, &["Fecha", "numeric", "text"]).await?;
    Ok(())
}

#[tokio::test]
async fn a_role_without_rights() -> Result<()> {
    // It may not even make the schema for the progress.
    let scene = Scene::new().await?;
    let role = scene.database.name();
    scene.database.execute(&format!("alter database {role} owner to current_user")).await?;
    refused(&scene, 3, &["permission denied", "grant create on database"]).await?;
    // It may do everything but write to the table.
    let scene = Scene::new().await?;
    scene.run_to_tip().await?;
    let role = scene.database.name();
    scene
        .database
        .execute(&format!("alter table orders owner to current_user; grant select on orders to {role}"))
        .await?;
    refused(&scene, 3, &["insert", "update", "delete", "grant"]).await?;
    Ok(())
}

#[tokio::test]
async fn a_view_type_without_the_new_image_is_refused_by_a_mirror() -> Result<()> {
    for view in [StreamViewType::KeysOnly, StreamViewType::OldImage] {
        let mut scene = Scene::with_table(SourceTable::create(Some(view.clone())).await?).await?;
        scene.table.put(nasty_item("n")).await?;
        let path = scene.dir().join("orders.db");
        let sqlite = format!("[sink.sqlite]\npath = \"{}\"\ntable = \"{MIRROR}\"\n", path.display());
        for sink in [postgres_sink(MIRROR, "soft"), sqlite] {
            scene.pipeline.sink = sink;
            let path = scene.pipeline.write(scene.dir())?;
            let path = path.to_str().context("a path that is no text")?;
            let outcome = Tailwater::run(scene.dir(), &["run", path], &scene.environment, TOLD_WITHIN).await?;
            ensure!(matches!(outcome.code, Some(2 | 3)), "{:?}\n{}", outcome.code, outcome.said());
            outcome.must_say(&[view.as_str(), "new image", "tailwater stream enable", "→"])?;
        }
        ensure!(!scene.database.has_mirror(MIRROR).await?, "the mirror was made all the same");
    }
    Ok(())
}

#[tokio::test]
async fn another_number_of_lanes() -> Result<()> {
    let mut scene = Scene::new().await?;
    scene.run_to_tip().await?;
    scene.pipeline.lanes = 3;
    refused(&scene, 2, &["2 lanes", "3", "lanes = 2"]).await?;
    scene.pipeline.lanes = 2;
    scene.run_to_tip().await?;
    Ok(())
}

/// An empty table in place of the one that was written to would hide that all its rows are missing.
#[tokio::test]
async fn a_mirror_that_was_dropped() -> Result<()> {
    let scene = Scene::new().await?;
    scene.table.put(nasty_item("n")).await?;
    scene.run_to_tip().await?;
    scene.database.execute("drop table orders").await?;
    let outcome = scene.try_to_tip().await?;
    outcome.must_exit_with(4)?.must_say(&["orders", "sink.target_missing", "adopt = ", "→"])?;
    Ok(())
}

/// Whoever drops what looks like rubbish gets no second beginning in silence: neither at once nor from a supervisor. The token of the
/// message is good once.
#[tokio::test]
async fn progress_that_was_dropped() -> Result<()> {
    let mut scene = Scene::new().await?;
    scene.table.put(nasty_item("n")).await?;
    scene.run_to_tip().await?;
    let mut tokens = Vec::new();
    for _ in 0..2 {
        scene.database.execute("drop schema tailwater cascade").await?;
        for _ in 0..2 {
            let outcome = scene.try_to_tip().await?;
            let outcome = outcome.must_exit_with(4)?.must_say(&["sink.target_without_progress", "orders", "→"])?;
            let token =
                outcome.said().split("adopt = \"").nth(1).and_then(|rest| rest.split('"').next()).map(str::to_owned);
            tokens.push(token.context("a token")?);
        }
        let adopt = tokens.last().context("a token")?;
        let sink = scene.pipeline.sink.lines().filter(|line| !line.starts_with("adopt"));
        let sink = sink.map(str::to_owned).chain([format!("adopt = \"{adopt}\"\n")]).collect::<Vec<_>>().join("\n");
        scene.pipeline.sink = sink;
        scene.run_to_tip().await?;
        // Left in the file it does nothing.
        scene.run_to_tip().await?;
    }
    ensure!(tokens[0] == tokens[1] && tokens[2] == tokens[3] && tokens[1] != tokens[2], "{tokens:?}");
    Ok(())
}

#[tokio::test]
async fn a_file_that_cannot_be_written() -> Result<()> {
    let mut scene = Scene::new().await?;
    (scene.pipeline.sink, scene.pipeline.lanes) = (file_sink(&scene.dir().join("not/there/changes.jsonl")), 1);
    refused(&scene, 3, &["not/there"]).await?;
    Ok(())
}
