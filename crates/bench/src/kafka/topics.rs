//! The topics of one run.

use std::time::Duration;

use anyhow::Result;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;

use super::bare;
use crate::clock::now_us;
use crate::server::LANES;

/// Partitions of each topic: also one for each lane's progress.
pub const PARTITIONS: i32 = LANES.cast_signed();
/// How long making them may take.
const MADE_WITHIN: Duration = Duration::from_secs(10);

/// Names that nobody else has.
pub struct Topics {
    pub run: String,
    pub changes: String,
    pub bare: String,
    pub textbook: String,
    pub letters: String,
    pub progress: String,
}

impl Topics {
    pub fn new() -> Self {
        let run = format!("bench-kafka-{}", now_us());
        let named = |what| format!("{run}-{what}");
        Self {
            changes: named("changes"),
            bare: named("bare"),
            textbook: named("textbook"),
            letters: named("letters"),
            progress: named("progress"),
            run,
        }
    }

    /// Makes them on a real broker.
    pub async fn make(&self, brokers: &str) -> Result<()> {
        let made = self.all().map(|name| {
            // What the sink asks of the topics that hold its progress and dead letters.
            let is_progress = name == self.progress;
            let (key, value) = if is_progress { ("cleanup.policy", "compact") } else { ("retention.ms", "-1") };
            NewTopic::new(name, PARTITIONS, TopicReplication::Fixed(1)).set(key, value)
        });
        let options = AdminOptions::new().operation_timeout(Some(MADE_WITHIN));
        for made in admin(brokers)?.create_topics(&made, &options).await? {
            made.map_err(|(topic, code)| anyhow::anyhow!("topic {topic}: {code}"))?;
        }
        Ok(())
    }

    /// Removes them there.
    pub async fn remove(&self, brokers: &str) -> Result<()> {
        for removed in admin(brokers)?.delete_topics(&self.all(), &AdminOptions::new()).await? {
            removed.map_err(|(topic, code)| anyhow::anyhow!("topic {topic}: {code}"))?;
        }
        Ok(())
    }

    pub fn all(&self) -> [&str; 5] {
        [&self.changes, &self.bare, &self.textbook, &self.letters, &self.progress]
    }
}

fn admin(brokers: &str) -> Result<AdminClient<DefaultClientContext>> {
    Ok(bare::client(brokers).create()?)
}
