//! What is stored of a stream stays bounded, however long it lives.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::{SUPERVISION_INTERVAL, Scene};
use crate::world::Profile;
use crate::world::ground::{Ground, lock};

/// Progress of a shard is removed so long after the service has forgotten it, with listings as rare as they are.
const FORGOTTEN_WITHIN: Duration = Duration::from_secs(3 * 60 * 60);
/// While faults rage what is stored may be so much more than what is listed.
const ROWS_PER_SHARD_MAX: usize = 3;
const ROWS_MORE_MAX: usize = 20;

impl<G: Ground> Scene<G> {
    /// Of days of rotations no more is stored than what is listed, about.
    pub(super) fn check_rows(&self) {
        if self.plan.profile != Profile::Year {
            return;
        }
        let mut witness = lock(&self.witness);
        let (rows, listed) = (witness.rows(), witness.history().shards_listed());
        if rows > listed * ROWS_PER_SHARD_MAX + ROWS_MORE_MAX {
            witness.violated("I6 progress is never forgotten", format!("{rows} rows for {listed} shards"));
        }
    }

    /// When all is carried, the progress of what the service has forgotten is soon forgotten, too.
    pub(super) async fn forget_what_is_gone(&mut self) {
        if self.plan.profile != Profile::Year || self.is_over() {
            return;
        }
        let gone = lock(&self.witness).rows_of_the_gone();
        let until = Instant::now() + FORGOTTEN_WITHIN;
        while Instant::now() < until && !self.is_over() {
            sleep(SUPERVISION_INTERVAL * 6).await;
            self.supervise().await;
        }
        let left = gone.into_iter().find(|shard| lock(&self.witness).has_row(shard));
        if let Some(shard) = left {
            lock(&self.witness).violated("I6 progress is never forgotten", format!("of shard {shard}"));
        }
    }
}
