//! Shards that were forgotten lately.

use std::collections::{BTreeSet, VecDeque};

use tailwater_model::ShardId;

/// Most shards that are remembered. A listing that was under way when a shard was forgotten may still show it.
const FORGOTTEN_MAX: usize = 1_000;

/// The last of them.
#[derive(Default)]
pub(super) struct Forgotten {
    order: VecDeque<ShardId>,
    ids: BTreeSet<ShardId>,
}

impl Forgotten {
    pub fn push(&mut self, id: ShardId) {
        if self.ids.insert(id.clone()) {
            self.order.push_back(id);
        }
        if self.order.len() > FORGOTTEN_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.ids.remove(&oldest);
        }
    }

    pub fn contains(&self, id: &ShardId) -> bool {
        self.ids.contains(id)
    }
}
