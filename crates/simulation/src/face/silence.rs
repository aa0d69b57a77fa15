//! Calls of one kind that are not answered for a while, whoever makes them.

use tailwater_model::ShardId;
use tailwater_source_dynamodb::ApiErrorKind;

use super::{StreamNetwork, lock};

/// What is not answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Silence {
    /// Which shards there are.
    Listings,
    /// What any shard holds.
    Records,
    /// What this one holds.
    RecordsOf(ShardId),
}

impl Silence {
    /// Whether it covers a call for this shard; for the stream as a whole, if there is none.
    pub(super) fn covers(&self, shard: Option<&ShardId>) -> bool {
        match self {
            Self::Listings => shard.is_none(),
            Self::Records => shard.is_some(),
            Self::RecordsOf(silent) => shard == Some(silent),
        }
    }
}

impl StreamNetwork {
    /// From now on this is answered with errors of this kind; nothing is, where none is given.
    pub fn set_silence(&self, silence: Option<(Silence, ApiErrorKind)>) {
        lock(&self.0).silence = silence;
    }

    /// Complete listings that all workers have begun so far.
    pub fn listings(&self) -> u64 {
        lock(&self.0).listings
    }
}
