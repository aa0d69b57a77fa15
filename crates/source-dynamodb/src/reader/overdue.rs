//! Shards whose children no listing shows.

use std::collections::BTreeSet;

use tailwater_model::ShardId;
use tracing::warn;

/// Those that were named.
#[derive(Default)]
pub(super) struct Overdue(BTreeSet<ShardId>);

impl Overdue {
    /// Names each of them once: what comes after them is not read, and nothing else would say so.
    pub fn tell(&mut self, overdue: BTreeSet<ShardId>) {
        for shard in overdue.difference(&self.0) {
            warn!(
                %shard,
                "the shard was read to its end, and no listing shows one that follows it; what came after it is read when a listing \
                 does: `tailwater stream describe TABLE` shows what is listed"
            );
        }
        self.0 = overdue;
    }
}
