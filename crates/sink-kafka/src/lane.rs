//! One lane as the pipeline sees it.

use std::sync::Arc;

use tailwater_model::{Committed, Failure, Group, Progress, Sink};

use crate::fault::Fault;
use crate::session::{Claim, LaneSession, Shared};
use crate::thread::LaneThread;
use crate::topics::check_topics;

/// One lane of a pipeline, with a transactional producer of its own on a thread of its own. Made by
/// [`claim`](crate::claim()); it has to be opened before it commits.
pub struct KafkaLane {
    number: u32,
    shared: Arc<Shared>,
    thread: LaneThread,
    claim: Claim,
    /// What the claim found, for the first opening of the lane by which the pipeline was claimed.
    claimed: Option<Progress>,
    /// Another stream of the same table that the pipeline read before.
    previous_stream: Option<String>,
}

impl std::fmt::Debug for KafkaLane {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Without the settings, which know passwords.
        out.debug_struct("KafkaLane").field("number", &self.number).field("claim", &self.claim).finish_non_exhaustive()
    }
}

impl KafkaLane {
    pub(crate) fn new(
        number: u32,
        shared: Arc<Shared>,
        claim: Claim,
        claimed: Option<Progress>,
        thread: LaneThread,
        previous_stream: Option<String>,
    ) -> Self {
        Self { number, shared, thread, claim, claimed, previous_stream }
    }

    async fn open_anew(&mut self) -> Result<Progress, Failure> {
        if let Some(progress) = self.claimed.take() {
            return Ok(progress);
        }
        // Each time: limits and partitions may have changed.
        let lanes = self.shared.pipeline.lanes;
        let facts = check_topics(&self.shared.settings, lanes).await.map_err(Fault::into_failure)?;
        let claim = self.claim.clone();
        let opened = self.thread.run(move |session: &mut LaneSession| session.open(facts, &claim)).await?;
        Ok(opened.map_err(Fault::into_failure)?.1)
    }
}

impl Sink for KafkaLane {
    async fn open(&mut self) -> Result<Progress, Failure> {
        let mut progress = Box::pin(self.open_anew()).await?;
        progress.previous_stream = self.previous_stream.clone();
        Ok(progress)
    }

    async fn commit(&mut self, group: Group) -> Result<Committed, Failure> {
        self.thread.run(move |session| session.commit(group)).await?
    }
}
