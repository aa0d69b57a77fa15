//! What a pipeline promises to carry, of all that is written.

use crate::service::ItemChange;

/// The promise of one world.
#[derive(Clone, Debug, Default)]
pub struct Promise {
    /// It starts with what is written from now on.
    pub from_latest: bool,
    /// Where it does: the moment at which the stream became known to it.
    pub since_ms: Option<i64>,
    /// The number of the first stream that it read: what is in older ones is nothing of its own.
    pub first_stream: usize,
    /// A run that ends at the tip has what could be read so long after its write, in milliseconds.
    pub visible_within_ms: i64,
    /// The changes that it keeps, by name; all, if nothing is said.
    pub keeps: Option<&'static [&'static str]>,
}

impl Promise {
    /// What was written to this stream at this moment may come or not.
    pub fn is_optional(&self, stream: usize, created_at_ms: i64) -> bool {
        // Without it, everything that was written so far.
        let is_before = self.from_latest && self.since_ms.is_none_or(|since_ms| created_at_ms <= since_ms);
        stream < self.first_stream || is_before
    }

    /// A rule of the user drops this change.
    pub fn is_filtered(&self, change: &ItemChange) -> bool {
        self.keeps.is_some_and(|keeps| !keeps.contains(&name_of(change)))
    }
}

/// The name of a change as users write it.
fn name_of(change: &ItemChange) -> &'static str {
    match (&change.old, &change.new) {
        (None, _) => "insert",
        (Some(_), Some(_)) => "modify",
        (Some(_), None) if change.time_to_live => "ttl",
        (Some(_), None) => "remove",
    }
}
