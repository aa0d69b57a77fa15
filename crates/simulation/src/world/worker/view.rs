//! What a person sees of a worker.

use std::sync::{Arc, Mutex};

use tailwater_pipeline::{PipelineStatus, StatusSnapshot};
use tailwater_source_dynamodb::{SourceStatus, StatusReader};

use crate::world::ground::lock;

/// Clones are of the same worker.
#[derive(Clone, Default)]
pub struct View {
    pub(super) status: Arc<PipelineStatus>,
    source: Arc<Mutex<Option<StatusReader>>>,
}

impl View {
    pub(super) fn reads(&self, source: StatusReader) {
        *lock(&self.source) = Some(source);
    }

    /// What its pipeline and its source say now. Nothing of one that has read nothing yet.
    pub fn seen(&self) -> Option<(StatusSnapshot, SourceStatus)> {
        let source = lock(&self.source).clone()?;
        Some((self.status.snapshot(), source.status()))
    }
}
