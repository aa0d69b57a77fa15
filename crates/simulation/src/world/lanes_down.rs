//! Lanes whose part of the sink is away, while the others go on; or all lanes are bound by a sink that is slow.

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
    commits_take: Duration,
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

    /// A commit of any lane that begins from now on takes so long before the sink sees it.
    pub fn slow_down(&self, commits_take: Duration) {
        lock(&self.0).commits_take = commits_take;
    }

    /// How often somebody met it.
    pub fn hits(&self) -> u64 {
        lock(&self.0).hits
    }

    /// A commit is on its way.
    pub(super) async fn slow(&self) {
        let commits_take = lock(&self.0).commits_take;
        sleep(commits_take).await;
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
