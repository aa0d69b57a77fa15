//! Lanes whose part of the sink is away, while the others go on.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tailwater_model::{Failure, Trouble, TroubleKind};
use tokio::time::sleep;

use super::ground::lock;

/// How long a client waits for what is away.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// Clones are of the same lanes.
#[derive(Clone, Debug, Default)]
pub struct LanesDown(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    down: BTreeSet<u32>,
    hits: u64,
}

impl LanesDown {
    /// These lanes are away from now on, all others are there.
    pub fn set(&self, lanes: impl IntoIterator<Item = u32>) {
        lock(&self.0).down = lanes.into_iter().collect();
    }

    /// Whether this lane is away.
    pub fn is_down(&self, lane: u32) -> bool {
        lock(&self.0).down.contains(&lane)
    }

    /// How often somebody met it.
    pub fn hits(&self) -> u64 {
        lock(&self.0).hits
    }

    /// A call for this lane goes out.
    pub(super) async fn reach(&self, lane: u32) -> Result<(), Failure> {
        if !self.is_down(lane) {
            return Ok(());
        }
        lock(&self.0).hits += 1;
        sleep(ANSWER_WITHIN).await;
        let message = format!("the part of lane {lane} was not answered");
        Err(Failure::Reopen(Trouble::new(TroubleKind::Runtime, "world.lane_down", message)))
    }
}
