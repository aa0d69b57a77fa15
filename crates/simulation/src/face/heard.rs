//! What a worker has heard of a stream, and when the service said it.

use std::sync::{Arc, Mutex};

use super::lock;

/// When one run of one stream first heard of its shards. Clones hear together.
#[derive(Clone, Debug, Default)]
pub struct Heard(Arc<Mutex<Option<i64>>>);

impl Heard {
    /// When the first page of a listing was answered, by the service's clock.
    pub fn first_answer_ms(&self) -> Option<i64> {
        *lock(&self.0)
    }

    /// A page of a listing came.
    pub(super) fn answer(&self, at_ms: i64) {
        lock(&self.0).get_or_insert(at_ms);
    }
}
