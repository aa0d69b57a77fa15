//! What a worker has heard of a stream, and when the service said it.

use std::sync::{Arc, Mutex};

use super::lock;

/// What one run of one stream has heard. Clones hear together.
#[derive(Clone, Debug, Default)]
pub struct Heard(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    first_answer_ms: Option<i64>,
    /// Shards of the listing that is under way.
    shards: usize,
    first_listing_ms: Option<i64>,
}

impl Heard {
    /// When the first page of a listing was answered, by the service's clock.
    pub fn first_answer_ms(&self) -> Option<i64> {
        lock(&self.0).first_answer_ms
    }

    /// A page of a listing came with so many shards. Gives when the first listing was complete, if this page was its last.
    pub(super) fn page(&self, at_ms: i64, is_first: bool, shards: usize, is_last: bool) -> Option<i64> {
        let mut state = lock(&self.0);
        state.first_answer_ms.get_or_insert(at_ms);
        state.shards = if is_first { shards } else { state.shards + shards };
        // A stream that is on has shards.
        if !is_last || state.shards == 0 || state.first_listing_ms.is_some() {
            return None;
        }
        state.first_listing_ms = Some(at_ms);
        Some(at_ms)
    }
}
