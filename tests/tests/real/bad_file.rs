//! Wrong pipeline files: every fault is told at once, with its place and the next step, without any value of the file.

use anyhow::{Result, ensure};
use tailwater_tests::pipeline::{Pipeline, set_url};
use tailwater_tests::postgres::CANARY;
use tailwater_tests::process::{Environment, Outcome, Tailwater, environment};
use tailwater_tests::scene::RUN_WITHIN;

/// Runs the file's text as `run` and as `validate`: both must refuse it in the same words.
async fn refused(text: &str, change: impl Fn(&mut Environment)) -> Result<Outcome> {
    let dir = tempfile::tempdir()?;
    let mut environment = environment(dir.path());
    // Nobody listens there: a wrong file is refused before anything is connected to.
    set_url(&mut environment, format!("postgres://u:{CANARY}@127.0.0.1:1/d"));
    change(&mut environment);
    std::fs::write(dir.path().join("orders.toml"), text)?;
    let run = Tailwater::run(dir.path(), &["run", "orders.toml"], &environment, RUN_WITHIN).await?.must_exit_with(2)?;
    let validate =
        Tailwater::run(dir.path(), &["validate", "orders.toml"], &environment, RUN_WITHIN).await?.must_exit_with(2)?;
    // What is a failure of `run` is the answer of `validate`, and answers go to standard output.
    ensure!(run.stderr == validate.stdout, "run and validate differ:\n{}\n{}", run.said(), validate.said());
    let json = Tailwater::run(dir.path(), &["validate", "--json", "orders.toml"], &environment, RUN_WITHIN)
        .await?
        .must_exit_with(2)?;
    let envelope: serde_json::Value = serde_json::from_str(&json.stdout)?;
    ensure!(envelope["ok"] == false && envelope["command"] == "validate", "{}", json.said());
    Ok(run)
}

fn good() -> String {
    let url = "url = \"${env:PG_URL}\"";
    Pipeline::new("orders", format!("[sink.postgres]\n{url}\ntable = \"orders\"\n")).text()
}

/// The good file with one text in place of another.
fn with(from: &str, to: &str) -> String {
    let good = good();
    assert!(good.contains(from), "{from}");
    good.replace(from, to)
}

/// Line and column of a text in the file, both from 1.
fn place(file: &str, part: &str) -> String {
    let before = file.split(part).next().unwrap_or_default();
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    format!("orders.toml:{}:{column}", before.matches('\n').count() + 1)
}

#[tokio::test]
async fn syntax_errors_show_the_place_and_not_the_line() -> Result<()> {
    for damage in [
        format!("url = \"postgres://u:{CANARY}@h/d"),
        format!("url = postgres://u:{CANARY}@h/d"),
        format!("url \"{CANARY}\""),
        format!("url = \"{CANARY}\" \"{CANARY}\""),
        format!("url = \"{CANARY}\"\nurl = \"{CANARY}\""),
        format!("[{CANARY}"),
        format!("\"{CANARY}\" = {{ a = 1"),
    ] {
        let file = with("url = \"${env:PG_URL}\"", &damage);
        let line = place(&file, &damage);
        let line: u32 = line.split(':').nth(1).unwrap_or_default().parse()?;
        let outcome = refused(&file, |_| {}).await?.must_say(&["config.syntax"])?;
        // The parser may notice it at the end of the line or at the next one.
        let told = (line..line + 3).any(|line| outcome.stderr.contains(&format!("orders.toml:{line}:")));
        ensure!(told, "{damage}\n{}", outcome.said());
    }
    Ok(())
}

#[tokio::test]
async fn an_unknown_key_is_told_with_the_one_that_was_meant() -> Result<()> {
    let file = with("interval_min", "intervall_min");
    refused(&file, |_| {}).await?.must_say(&[
        "config.unknown_key",
        "intervall_min",
        &place(&file, "intervall_min"),
        "→",
        "`interval_min`",
    ])?;
    let file = with("[sink.postgres]", "[sink.postgress]");
    refused(&file, |_| {}).await?.must_say(&["config.unknown_key", "postgress", "`postgres`"])?;
    // What looks like a secret in the place of a key is not repeated.
    let file = with("table = \"orders\"\nstart", &format!("\"{CANARY} x\" = 1\ntable = \"orders\"\nstart"));
    refused(&file, |_| {}).await?.must_say(&["config.unknown_key", &place(&file, "\"canary")])?;
    Ok(())
}

#[tokio::test]
async fn a_wrong_type_or_value_is_told_with_what_is_expected() -> Result<()> {
    for (from, to, words) in [
        ("lanes = 2", "lanes = \"two\"", ["config.wrong_type", "an integer"]),
        ("lanes = 2", "lanes = 0", ["config.bad_value", "lanes"]),
        ("lanes = 2", "lanes = 2.5", ["config.wrong_type", "an integer"]),
        ("\"20ms\"\n\n", "20\n\n", ["config.wrong_type", "\"20ms\""]),
        ("\"trim-horizon\"", "\"trim_horizon\"", ["config.bad_value", "trim-horizon"]),
        ("name = \"tests\"", "name = \"Tests!\"", ["config.bad_value", "small letters"]),
        ("table = \"orders\"\nstart", "table = \"arn:aws:x\"\nstart", ["config.bad_value", "not the ARN"]),
        ("[sink.postgres]", "[sink.file]\npath = \"x\"\n[sink.postgres]", ["config.conflict", "exactly one"]),
        ("name = \"tests\"\n", "", ["config.missing_key", "name"]),
        ("table = \"orders\"\nstart", "start", ["config.missing_key", "table"]),
    ] {
        let outcome = refused(&with(from, to), |_| {}).await?;
        outcome.must_say(&words)?.must_say(&["orders.toml:"])?;
    }
    Ok(())
}

#[tokio::test]
async fn a_wrong_kafka_sink_is_told_with_what_is_expected() -> Result<()> {
    let sink = "[sink.kafka]\nbrokers = \"127.0.0.1:1\"\n";
    for (line, words) in [
        ("topic = \"{tabel}\"", ["config.bad_value", "did you mean {table}?"]),
        ("topic = \"{table}/x\"", ["config.bad_value", "not the name of a topic"]),
        ("topic = \"{pipeline}-progress\"", ["config.conflict", "`topic` and `progress_topic` are the same"]),
        ("delivery = \"once\"", ["config.bad_value", "\"exactly-once\", \"at-least-once\""]),
        ("tls = { verify = false }", ["config.unknown_key", "are always verified"]),
        ("create_topics = {}", ["config.missing_key", "partitions = 12"]),
        ("librdkafka = { acks = 1 }", ["config.refused_property", "sink.kafka.librdkafka.acks"]),
        ("sasl = { mechanism = \"PLAIN\", username = \"u\" }", ["config.missing_key", "`password` is missing"]),
        ("transaction_timeout = \"1h\"", ["config.bad_value", "from 10s to 15m"]),
    ] {
        let file = Pipeline::new("orders", format!("{sink}{line}\n")).text();
        let outcome = refused(&file, |_| {}).await?;
        outcome.must_say(&words)?.must_say(&["orders.toml:"])?;
    }
    let file = Pipeline::new("orders", sink.replace("127", &format!("kafka://u:{CANARY}@127"))).text();
    refused(&file, |_| {}).await?.must_say(&["has a scheme", &place(&file, "\"kafka://"), "→"])?;
    Ok(())
}

#[tokio::test]
async fn a_missing_variable_or_file_is_named() -> Result<()> {
    let file = good();
    let outcome = refused(&file, |environment| {
        environment.remove("PG_URL");
    });
    outcome.await?.must_say(&["PG_URL", "is not set", "→", &place(&file, "\"${env")])?;
    let file = with("${env:PG_URL}", "${file:/nowhere/url}");
    refused(&file, |_| {}).await?.must_say(&["/nowhere/url", "→"])?;
    let file = with("${env:PG_URL}", "${env:NOT_THERE:?ask the database team}");
    refused(&file, |_| {}).await?.must_say(&["NOT_THERE", "ask the database team"])?;
    Ok(())
}

#[tokio::test]
async fn two_faults_are_told_at_once() -> Result<()> {
    let file = with("lanes = 2", "lanes = \"two\"").replace("interval_max", "interval_maxx");
    let outcome = refused(&file, |environment| {
        environment.remove("PG_URL");
    });
    outcome.await?.must_say(&["config.wrong_type", "config.unknown_key", "PG_URL", "3 failed"])?;
    Ok(())
}

#[tokio::test]
async fn a_file_that_is_not_there_or_not_text() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let environment = environment(dir.path());
    let refused = async |path: &str| {
        let outcome = Tailwater::run(dir.path(), &["run", path], &environment, RUN_WITHIN).await?;
        outcome.must_exit_with(2)?.must_say(&[path, "→"])
    };
    refused("absent.toml").await?;
    std::fs::write(dir.path().join("binary.toml"), [0xff, 0xfe, 0])?;
    refused("binary.toml").await?;
    std::fs::create_dir(dir.path().join("empty"))?;
    refused("empty").await?;
    Ok(())
}

#[tokio::test]
async fn a_bad_url_is_refused_without_the_url() -> Result<()> {
    for url in [
        format!("mysql://u:{CANARY}@h/d"),
        CANARY.to_owned(),
        format!("postgres://u:{CANARY}@h:notaport/d"),
        format!("postgres://u:{CANARY}@h/d?sslmode=disable"),
        format!("postgres://u:{CANARY}@[::1/d"),
        format!("postgres://u:p@h/d?{CANARY}=1"),
        format!("postgres://writer:/{CANARY}@h/d"),
        format!("postgres://writer:42/{CANARY}@h/d"),
        format!("postgres://writer:#{CANARY}@h/d"),
        format!("postgres://writer:7?ssl{CANARY}@h/d"),
    ] {
        let outcome = refused(&good(), |environment| set_url(environment, url.clone())).await?;
        outcome.must_say(&["sink.postgres.url", &place(&good(), "\"${env"), "→"])?;
    }
    Ok(())
}

#[tokio::test]
async fn what_the_sink_refuses_is_known_before_anything_is_connected_to() -> Result<()> {
    for (line, code) in [
        ("schema = \"information_schema\"", "sink.postgres.schema_reserved"),
        ("schema = \"tailwater\"", "sink.postgres.schema_reserved"),
        ("schema = \"\"", "sink.postgres.name"),
        ("tls = { ca_file = \"nowhere.pem\" }", "sink.postgres.ca_file"),
        ("host = \"h\"", "config.conflict"),
    ] {
        let url = "url = \"${env:PG_URL}\"";
        refused(&with(url, &format!("{url}\n{line}")), |_| {}).await?.must_say(&[code, "→"])?;
    }
    let long = "t".repeat(64);
    refused(&with("table = \"orders\"\n", &format!("table = \"{long}\"\n")), |_| {})
        .await?
        .must_say(&["sink.postgres.name", "63"])?;
    let file = good();
    let outcome = refused(&file, |environment| {
        environment.insert("PGOPTIONS".into(), "-c row_security=on".into());
    });
    outcome.await?.must_say(&["sink.postgres.environment", "PGOPTIONS"])?;
    Ok(())
}

#[tokio::test]
async fn a_url_as_providers_show_it_is_fine() -> Result<()> {
    for query in ["sslmode=require", "sslmode=require&channel_binding=require", "sslmode=verify-full"] {
        let dir = tempfile::tempdir()?;
        let mut environment = environment(dir.path());
        set_url(&mut environment, format!("postgres://u:{CANARY}@db.example.org/d?{query}"));
        std::fs::write(dir.path().join("orders.toml"), good())?;
        let outcome = Tailwater::run(dir.path(), &["validate", "orders.toml"], &environment, RUN_WITHIN).await?;
        outcome.must_exit_with(0)?;
    }
    Ok(())
}
