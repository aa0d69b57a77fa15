//! The end of the demo: waits until the mirror has caught up with the table, and compares the two.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use tailwater_model::{Position, Trouble, TroubleKind};
use tailwater_sink_local::{read_mirror, sqlite_checkpoints};
use tokio::time::Instant;

use super::comparison::{Comparison, compare};
use super::server::ShopTable;
use super::shop::TABLE;

/// Longest wait for the pipeline to catch up once the traffic has ended.
/// A child may be listed a minute after its parent ended.
const CATCH_UP_WAIT_MAX: Duration = Duration::from_secs(90);
/// Time between two looks at what is durable.
const CATCH_UP_POLL_INTERVAL: Duration = Duration::from_millis(100);

/// What is compared: the table and its mirror, and the name of the pipeline between them.
pub struct Settling {
    /// The table.
    pub table: ShopTable,
    /// The SQLite database.
    pub mirror: PathBuf,
    /// The pipeline whose progress says how far the mirror is.
    pub pipeline: &'static str,
}

impl Settling {
    /// Waits until the newest record of each shard is durable in the mirror, and compares. Somebody else may still
    /// write: a difference counts only if no record came in the meantime.
    pub async fn settle(&self) -> Result<Comparison, Trouble> {
        let deadline = Instant::now() + CATCH_UP_WAIT_MAX;
        loop {
            let newest = self.newest_records().await?;
            let durable = self.durable_positions().await?;
            let caught_up = newest.iter().all(|(shard, number)| match durable.get(shard) {
                Some(Position::End) => true,
                Some(Position::After(after)) => after.as_str() == number,
                Some(Position::Start) | None => false,
            });
            if caught_up {
                let comparison = self.compare().await?;
                if comparison.equal() || self.newest_records().await? == newest {
                    return Ok(comparison);
                }
            }
            if Instant::now() >= deadline {
                let waited = CATCH_UP_WAIT_MAX.as_secs();
                let message = format!("the mirror did not catch up with the table within {waited} s");
                return Err(Trouble::new(TroubleKind::Runtime, "demo.not_caught_up", message)
                    .advise("stop whatever still writes to the demo's table, or give it a lower --rate"));
            }
            tokio::time::sleep(CATCH_UP_POLL_INTERVAL).await;
        }
    }

    async fn newest_records(&self) -> Result<BTreeMap<String, String>, Trouble> {
        let table = self.table.clone();
        blocking(move || Ok(table.newest_records())).await
    }

    async fn durable_positions(&self) -> Result<BTreeMap<String, Position>, Trouble> {
        let checkpoints = sqlite_checkpoints(&self.mirror, self.pipeline).await?.unwrap_or_default();
        Ok(checkpoints.shards.into_iter().map(|shard| (shard.shard.to_string(), shard.position)).collect())
    }

    async fn compare(&self) -> Result<Comparison, Trouble> {
        let documents = read_mirror(&self.mirror, TABLE).await?;
        let table = self.table.clone();
        blocking(move || Ok(compare(&table.scan()?, &documents, &["customer", "order_no"]))).await
    }
}

/// Runs a call of the embedded server away from the executor.
pub async fn blocking<T: Send + 'static>(
    call: impl FnOnce() -> Result<T, Trouble> + Send + 'static,
) -> Result<T, Trouble> {
    tokio::task::spawn_blocking(call).await.unwrap_or_else(|fault| {
        Err(Trouble::new(TroubleKind::Runtime, "demo.server", format!("the embedded DynamoDB broke down: {fault}")))
    })
}
