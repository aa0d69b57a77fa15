//! Shards that are not found when they are asked for.

use std::time::Duration;

use tailwater_model::ServiceTime;

use super::listing::Absence;

/// A shard that is stored, or that comes before one that a pipeline meets on its way, is gone when it was not found for so long: what goes wrong for a moment gives the same answer to
/// everybody who asks.
const PROVES_AFTER: Duration = Duration::from_secs(30);
/// A pause after which it begins anew: longer than the longest between two listings, after each of which is asked.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(15 * 60);

/// The first and the last of the answers in a row that did not find it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Missing(Option<(ServiceTime, ServiceTime)>);

impl Missing {
    /// It was not found. Whether that proves that it is gone.
    pub fn told(&mut self, at: ServiceTime) -> bool {
        let first = self.0.filter(|(_, last)| at.since(*last) <= FORGOTTEN_AFTER).map_or(at, |(first, _)| first);
        self.0 = Some((first, at));
        at.since(first) >= PROVES_AFTER
    }

    /// Whether it is worth asking: the first time, and when the answer may prove something.
    pub fn is_to_be_asked(self, now: ServiceTime) -> bool {
        self.0.is_none_or(|(first, _)| now.since(first) >= PROVES_AFTER)
    }
}

/// A parent of unregistered shards that is not in the graph.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct MissingParent {
    /// Complete listings without it.
    pub absence: Absence,
    /// Answers that did not find it.
    pub missing: Missing,
}
