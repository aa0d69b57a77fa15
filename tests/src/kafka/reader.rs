//! Reads a topic with kcat (Debian's `kcat`), a consumer that is not ours.

use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use tokio::process::Command;

use crate::plain::Plain;

/// A whole topic of a test is read within a second or two; a broker that was just killed may need longer to answer.
const READ_WITHIN: Duration = Duration::from_secs(60);

/// Which records a consumer gets to see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isolation {
    /// Those of committed transactions: what our documentation tells users to set.
    ReadCommitted,
    /// All of them, those of aborted transactions too.
    ReadUncommitted,
}

/// One message as kcat shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Its partition.
    pub partition: i32,
    /// Its place in the partition.
    pub offset: i64,
    /// Its key.
    pub key: Option<String>,
    /// Its value; a tombstone has none.
    pub value: Option<String>,
    /// Its headers in their order.
    pub headers: Vec<(String, String)>,
}

impl Isolation {
    /// librdkafka's and Kafka's name of it.
    pub fn name(self) -> &'static str {
        match self {
            Self::ReadCommitted => "read_committed",
            Self::ReadUncommitted => "read_uncommitted",
        }
    }
}

impl Message {
    /// The value of the header of this name, which must not be there twice.
    pub fn header(&self, name: &str) -> Result<&str> {
        let mut values = self.headers.iter().filter(|(other, _)| other == name).map(|(_, value)| value.as_str());
        let value = values.next().with_context(|| format!("no header {name} in {self:?}"))?;
        ensure!(values.next().is_none(), "the header {name} is there twice in {self:?}");
        Ok(value)
    }

    /// The key as JSON.
    pub fn key_json(&self) -> Result<Plain> {
        Plain::parse(self.key.as_deref().with_context(|| format!("no key in {self:?}"))?)
    }

    /// The value as JSON; a tombstone is an error.
    pub fn json(&self) -> Result<Plain> {
        Plain::parse(self.value.as_deref().with_context(|| format!("no value in {self:?}"))?)
    }
}

/// All messages of a topic, by partition and offset, up to where the topic ends now. The topic must be there.
pub async fn read(brokers: &str, topic: &str, isolation: Isolation) -> Result<Vec<Message>> {
    let isolation = format!("isolation.level={}", isolation.name());
    let arguments = ["-C", "-b", brokers, "-t", topic, "-o", "beginning", "-e", "-q", "-J", "-X", &isolation];
    // The end of a partition is known when a fetch comes back empty: no need to let the broker hold it back.
    let properties = ["-X", "check.crcs=true", "-X", "fetch.wait.max.ms=20", "-X", "fetch.message.max.bytes=10000000"];
    let output = kcat(&[&arguments[..], &properties].concat()).await?;
    let mut messages = output.lines().map(parse).collect::<Result<Vec<_>>>()?;
    messages.sort_by_key(|message| (message.partition, message.offset));
    Ok(messages)
}

/// Whether the cluster has a topic of this name.
pub async fn topic_exists(brokers: &str, topic: &str) -> Result<bool> {
    // Asking for the one topic could make it: the broker creates topics on demand.
    Ok(metadata(brokers).await?["topics"].as_array().is_some_and(|topics| topics.iter().any(|it| it["topic"] == topic)))
}

/// The number of partitions of a topic.
pub async fn partitions(brokers: &str, topic: &str) -> Result<usize> {
    let metadata = metadata(brokers).await?;
    let topics = metadata["topics"].as_array().context("no topics")?;
    let found = topics.iter().find(|it| it["topic"] == topic).with_context(|| format!("no topic {topic}"))?;
    Ok(found["partitions"].as_array().context("no partitions")?.len())
}

/// The cluster's metadata as kcat's JSON.
pub async fn metadata(brokers: &str) -> Result<Value> {
    let output = kcat(&["-L", "-J", "-b", brokers, "-m", "5"]).await?;
    serde_json::from_str(&output).with_context(|| format!("not kcat's JSON: {output}"))
}

async fn kcat(arguments: &[&str]) -> Result<String> {
    let mut command = Command::new("kcat");
    command.args(arguments).stdin(Stdio::null()).kill_on_drop(true);
    let output = tokio::time::timeout(READ_WITHIN, command.output())
        .await
        .with_context(|| format!("kcat {arguments:?} has not ended after {READ_WITHIN:?}"))?
        .context("kcat does not start: `cargo x up kafka` installs it")?;
    if !output.status.success() {
        bail!("kcat {arguments:?}: {}\n{}", output.status, String::from_utf8_lossy(&output.stderr));
    }
    String::from_utf8(output.stdout).context("kcat's output is no text")
}

fn parse(line: &str) -> Result<Message> {
    let json: Value = serde_json::from_str(line).with_context(|| format!("not kcat's JSON: {line}"))?;
    let number = |name: &str| json[name].as_i64().with_context(|| format!("no {name} in {line}"));
    let text = |name: &str| json[name].as_str().map(str::to_owned);
    let flat = json["headers"].as_array().map_or(&[][..], Vec::as_slice);
    let header = |pair: &[Value]| match pair {
        [Value::String(name), Value::String(value)] => Ok((name.clone(), value.clone())),
        other => bail!("no header with a text: {other:?} in {line}"),
    };
    Ok(Message {
        partition: i32::try_from(number("partition")?)?,
        offset: number("offset")?,
        key: text("key"),
        value: text("payload"),
        headers: flat.chunks(2).map(header).collect::<Result<_>>()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_kcat_is_read_whole() -> Result<()> {
        let line = r#"{"topic":"t","partition":3,"offset":7,"tstype":"create","ts":1,"broker":1,"headers":["__op","d","__event_id","é"],"key":"{\"Id\":1}","payload":null}"#;
        let message = parse(line)?;
        assert_eq!((message.partition, message.offset), (3, 7));
        assert_eq!((message.header("__op")?, message.header("__event_id")?), ("d", "é"));
        assert_eq!(message.key_json()?, Plain::parse(r#"{"Id":1}"#)?);
        assert!(message.value.is_none() && message.json().is_err() && message.header("no").is_err());
        assert!(parse("% ERROR: Topic").is_err());
        Ok(())
    }
}
