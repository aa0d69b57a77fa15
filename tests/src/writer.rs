//! Load: a task that writes to the table all the time, until it is told to stop.

use std::time::Duration;

use anyhow::{Context, Result};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::table::SourceTable;
use crate::workload::Workload;

/// A running load.
pub struct Writer {
    stop: watch::Sender<bool>,
    task: JoinHandle<Result<()>>,
}

impl Writer {
    /// Writes with a pause of `pause` between two calls.
    pub fn start(table: &SourceTable, mut workload: Workload, pause: Duration) -> Self {
        let (stop, stopped) = watch::channel(false);
        let table = table.clone();
        let task = tokio::spawn(async move {
            while !*stopped.borrow() {
                workload.step(&table).await?;
                tokio::time::sleep(pause).await;
            }
            Ok(())
        });
        Self { stop, task }
    }

    /// Stops after the write in flight. An error of any write comes out here.
    pub async fn stop(self) -> Result<()> {
        self.stop.send_replace(true);
        self.task.await.context("the writer")?
    }
}
