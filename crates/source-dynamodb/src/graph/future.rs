//! Stored moments that have not come yet.

use std::time::Duration;

use tailwater_model::{ServiceTime, ShardId};

use super::ShardGraph;
use super::read_until::UNREAD_MAX;

/// The service's clocks differ by less. A stored moment that is further ahead of an answer was told by a wrong clock.
const AHEAD_MAX: Duration = Duration::from_secs(60);
/// So much longer than without suspicion a shard counts as unread whose moment is wrong.
const SUSPICIOUS_BY: Duration = Duration::from_secs(1);

impl ShardGraph {
    /// What is stored may be from a time when the service's clock was ahead, and the first answer afterwards shows it. Such a
    /// moment proves nothing: believed, it would hide the loss of a day, and a bounded run would be at its end at once. Its
    /// shard may have been unread for as long as the stream keeps records.
    pub(super) fn forget_the_future(&mut self, answered: ServiceTime) {
        let (newest, unread_since) = (answered.plus(AHEAD_MAX), answered.minus(UNREAD_MAX).minus(SUSPICIOUS_BY));
        let is_ahead = |moment: &Option<ServiceTime>| moment.is_some_and(|moment| moment > newest);
        let mut wrong: Vec<ShardId> = Vec::new();
        for (id, shard) in &mut self.shards {
            if !is_ahead(&shard.read_until) {
                continue;
            }
            shard.read_until = Some(unread_since);
            shard.was_read = false;
            if let Some(chain) = shard.chain_mut().filter(|chain| is_ahead(&chain.durable_until)) {
                chain.durable_until = Some(unread_since);
            }
            wrong.push(id.clone());
        }
        if let Some(first) = wrong.first() {
            let shards = wrong.len();
            tracing::warn!(shard = %first, shards, "what is stored says that shards were read until moments that have not come yet: \
                the service's clock was ahead then. They count as unread for a day");
        }
        wrong.iter().for_each(|id| self.settle(id));
    }
}
