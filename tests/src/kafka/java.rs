//! Kafka's own tools, from the jars that `cargo x up kafka` fetches: a second consumer and the reference producer.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

/// A Java program starts, does little and ends.
const ENDS_WITHIN: Duration = Duration::from_secs(60);
/// The console consumer does not end by itself: it gives up when nothing came for this long.
const SILENCE_MS: &str = "4000";
/// The heap's bound: these programs handle a few thousand messages.
const HEAP: &str = "-Xmx256m";
const NEWLINE: char = '\n';

/// A message as Kafka's console consumer prints it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct JavaMessage {
    /// Its partition.
    pub partition: i32,
    /// Its place in the partition.
    pub offset: i64,
    /// Its key.
    pub key: String,
    /// Its value; a tombstone is `null`.
    pub value: String,
}

/// The folder of Kafka's jars.
pub fn jars() -> Result<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("the checkout")?;
    let libs = root.join("target/servers/kafka/libs");
    ensure!(libs.is_dir(), "{} is missing: run `cargo x up kafka` first", libs.display());
    Ok(libs)
}

/// `java` with Kafka's jars on its class path.
pub fn java() -> Result<Command> {
    let mut java = Command::new("java");
    // One stage of compilation: these programs end before a second would pay.
    // Java 17 would take the encoding from a locale that a test's machine may not have.
    java.args(["-XX:TieredStopAtLevel=1", "-Dfile.encoding=UTF-8"])
        .arg("-cp")
        .arg(jars()?.join("*"))
        .kill_on_drop(true);
    Ok(java)
}

/// The committed messages of a topic as Kafka's own console consumer sees them, by partition and offset.
pub async fn consume(brokers: &str, topic: &str) -> Result<Vec<JavaMessage>> {
    let mut consumer = java()?;
    // It tells the end of its patience as an error, on standard output.
    consumer.arg("-Dorg.apache.logging.log4j.level=OFF");
    consumer.args([HEAP, "org.apache.kafka.tools.consumer.ConsoleConsumer", "--bootstrap-server", brokers]);
    consumer.args(["--topic", topic, "--from-beginning", "--isolation-level", "read_committed"]);
    consumer.args(["--timeout-ms", SILENCE_MS]);
    for property in ["print.key=true", "print.partition=true", "print.offset=true"] {
        consumer.args(["--property", property]);
    }
    let output = run(consumer, "").await?;
    let mut messages = output.lines().map(parse).collect::<Result<Vec<_>>>()?;
    messages.sort();
    Ok(messages)
}

/// Produces a message with each of these keys by Kafka's own producer, whose default partitioner is the reference.
pub async fn produce_keys(brokers: &str, topic: &str, keys: &[&str]) -> Result<()> {
    let mut producer = java()?;
    producer.args([HEAP, "org.apache.kafka.tools.ConsoleProducer", "--bootstrap-server", brokers, "--topic", topic]);
    producer.args(["--property", "parse.key=true"]);
    ensure!(!keys.iter().any(|key| key.contains([NEWLINE, '\t'])), "a key that the console producer would cut");
    let lines: String = keys.iter().map(|key| format!("{key}\tx{NEWLINE}")).collect();
    run(producer, &lines).await.map(drop)
}

/// What Kafka's own tool says about a topic: its partitions and the settings that differ from the broker's.
pub async fn describe(brokers: &str, topic: &str) -> Result<String> {
    let mut tool = java()?;
    tool.args([HEAP, "org.apache.kafka.tools.TopicCommand", "--bootstrap-server", brokers]);
    run(
        {
            tool.args(["--describe", "--topic", topic]);
            tool
        },
        "",
    )
    .await
}

async fn run(mut command: Command, input: &str) -> Result<String> {
    let piped = Stdio::piped;
    let mut child = command.stdin(piped()).stdout(piped()).stderr(piped()).spawn().context("java does not start")?;
    let mut stdin = child.stdin.take().context("a piped input is there once")?;
    let work = async {
        stdin.write_all(input.as_bytes()).await?;
        drop(stdin);
        child.wait_with_output().await
    };
    let output = tokio::time::timeout(ENDS_WITHIN, work).await.context("Kafka's tool has not ended")??;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "Kafka's tool: {}\n{said}", output.status);
    String::from_utf8(output.stdout).context("no text")
}

/// Reads `Partition:1<tab>Offset:0<tab>key<tab>value`. Keys and values of ours are JSON, which has no raw tab.
fn parse(line: &str) -> Result<JavaMessage> {
    let parts: Vec<_> = line.split('\t').collect();
    let [partition, offset, key, value] = parts[..] else { anyhow::bail!("not the console consumer's line: {line}") };
    let number = |text: &str, name: &str| {
        text.strip_prefix(name).with_context(|| format!("no {name} in {line}")).map(str::to_owned)
    };
    Ok(JavaMessage {
        partition: number(partition, "Partition:")?.parse()?,
        offset: number(offset, "Offset:")?.parse()?,
        key: key.to_owned(),
        value: value.to_owned(),
    })
}
