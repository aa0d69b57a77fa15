//! In peace nobody takes a pipeline from another.

use tokio::time::Instant;

use super::{LAST_ANSWERS, Scene};
use crate::world::ground::{Ground, lock};

/// Leases until whoever was thought dead has been replaced, or has shown that it lives.
const LEASES_BEFORE: u32 = 2;
/// Leases that are watched.
const LEASES_WATCHED: u32 = 3;

impl<G: Ground> Scene<G> {
    /// Who was replaced stands by: while the owner shows life, and the sink answers, nobody claims the pipeline.
    pub(super) async fn keep_the_peace(&mut self) {
        if self.is_over() || self.plan.reader.until_tip || self.running() < 2 {
            return;
        }
        let lease = self.plan.lease;
        let last_answer = self.healed_at.map_or_else(Instant::now, |at| at + LAST_ANSWERS);
        self.supervise_until(last_answer.max(Instant::now()) + lease * LEASES_BEFORE).await;
        let (running, before) = (self.running(), lock(&self.witness).claimed_again());
        self.supervise_until(Instant::now() + lease * LEASES_WATCHED).await;
        let claims = lock(&self.witness).claimed_again() - before;
        if claims > 0 && running > 1 && self.running() == running && !self.is_over() {
            let detail = format!("{claims} claims of {running} processes within {LEASES_WATCHED} leases of {lease:?}");
            lock(&self.witness).violated("P8 owners fight", detail);
        }
    }

    fn running(&self) -> usize {
        self.workers.iter().flatten().filter(|worker| !worker.is_finished()).count()
    }
}
