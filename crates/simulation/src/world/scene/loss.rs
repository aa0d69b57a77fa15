//! A sink that has lost its progress, or its target: no start passes over it (I11).

use std::time::Duration;

use tailwater_model::{Trouble, TroubleKind};
use tokio::time::Instant;

use super::Scene;
use crate::world::ground::{Ground, Loss, lock};

/// A start is refused within this.
const REFUSED_WITHIN: Duration = Duration::from_secs(20 * 60);
/// A supervisor starts again whatever it is told, and must be told the same.
const REFUSALS: u32 = 2;
/// How the codes of such refusals begin.
const REFUSAL_CODES: &str = "sink.target_";

impl<G: Ground> Scene<G> {
    pub(super) fn lose(&mut self, loss: Loss) {
        if self.workers.iter().any(Option::is_some) || !self.ground.lose(loss) {
            return;
        }
        lock(&self.witness).lost();
        self.lost = Some(0);
        self.hit(match loss {
            Loss::Progress => "process.progress_lost",
            Loss::Target => "process.target_made_again",
        });
    }

    /// A start was refused after the loss, or something else stood in its way. Whether a loss was what it is about.
    pub(super) fn is_told_of_loss(&mut self, trouble: &Trouble) -> bool {
        let Some(refusals) = &mut self.lost else { return false };
        if trouble.kind == TroubleKind::DataAtRisk && trouble.code.starts_with(REFUSAL_CODES) {
            *refusals += 1;
            self.halted = *refusals >= REFUSALS;
            return true;
        }
        false
    }

    /// Once the faults are gone, every start is refused.
    pub(super) async fn refuse_what_is_lost(&mut self) {
        if self.lost.is_none() || self.is_over() {
            return;
        }
        self.supervise_until(Instant::now() + REFUSED_WITHIN).await;
        if !self.is_over() {
            lock(&self.witness).violated("I11 a loss that no start tells", format!("within {REFUSED_WITHIN:?}"));
        }
    }
}
