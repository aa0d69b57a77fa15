//! One lane as the pipeline sees it.

use std::fmt;
use std::sync::Arc;

use tailwater_model::{Committed, Failure, Group, PreviousStream, Progress, Sink};

use crate::cluster::Cluster;
use crate::fault::Fault;
use crate::home::Home;
use crate::session::{Claim, LaneSession, Shared, not_open};
use crate::thread::LaneThread;
use crate::topics::{LOOK_PAUSE, LOOKS_MAX, MayMake, TopicFacts};

/// One lane of a pipeline, with a transactional producer of its own on a thread of its own. Made by
/// [`claim`](crate::claim()); it has to be opened before it commits. Dropping the future of a commit does not end the
/// commit: opening waits for it.
pub struct KafkaLane(Lane<LaneThread>);

/// One lane of a pipeline on a model of Kafka, without a thread: its work is done by whoever polls it, so that it runs in
/// tokio's paused time. Made by [`claim_on`](crate::claim_on). Dropping the future of an opening or a commit is the
/// death of the client at that point, as if the process had ended there; the lane has to be opened again.
pub struct DirectLane<C: Cluster>(Lane<LaneSession<C>>);

/// A lane and where its session works.
pub(crate) struct Lane<H: Home> {
    number: u32,
    shared: Arc<Shared<H::Cluster>>,
    home: H,
    claim: Claim,
    /// What the claim found; nothing after the first opening.
    claimed: Option<ByClaim>,
    /// Another stream of the same table that the pipeline read before.
    previous_stream: Option<PreviousStream>,
}

/// What the claim has done for the first opening of a lane.
pub(crate) enum ByClaim {
    /// It opened the lane, the one by which the pipeline was claimed.
    Opened(Progress),
    /// It looked at the topics.
    Looked(TopicFacts),
}

impl<H: Home> Lane<H> {
    pub(crate) fn new(
        number: u32,
        shared: Arc<Shared<H::Cluster>>,
        claim: Claim,
        claimed: ByClaim,
        home: H,
        previous_stream: Option<PreviousStream>,
    ) -> Self {
        Self { number, shared, home, claim, claimed: Some(claimed), previous_stream }
    }

    async fn open(&mut self) -> Result<Progress, Failure> {
        let mut progress = Box::pin(self.open_anew()).await.map_err(Fault::into_failure)?;
        // Once the stream is known nothing of another one is kept.
        if progress.known_since().is_none() {
            progress.previous_stream = self.previous_stream.clone();
        }
        Ok(progress)
    }

    /// Commits a group to an open lane. What the claim opened is no opening: nobody has learned yet what is durable.
    async fn commit(&mut self, group: Group) -> Result<Committed, Failure> {
        if matches!(self.claimed, Some(ByClaim::Opened(_))) {
            return Err(Failure::Reopen(not_open(&self.shared.pipeline.name, self.number)));
        }
        self.home.commit(group).await
    }

    async fn open_anew(&mut self) -> Result<Progress, Fault> {
        let facts = match self.claimed.take() {
            Some(ByClaim::Opened(progress)) => return Ok(progress),
            Some(ByClaim::Looked(facts)) => facts,
            // Each time: limits and partitions may have changed. Nothing is made any more.
            None => self.look_at_topics().await?,
        };
        Ok(self.home.open(facts, &self.claim).await?.1)
    }

    /// A leader that was replaced and has not heard of it tells older ends for a while: so what is less is asked for again.
    async fn look_at_topics(&self) -> Result<TopicFacts, Fault> {
        let (shared, lanes) = (&self.shared, self.shared.pipeline.lanes);
        let mut looks = 1;
        loop {
            // Before the look: meanwhile other lanes go on.
            let known = shared.reached();
            let look = shared.cluster.check_topics(lanes, MayMake::Nothing).await?;
            if look.progress_partitions < lanes {
                let gone = i32::try_from(look.progress_partitions).unwrap_or(i32::MAX);
                return Err(shared.progress_gone(gone).into());
            }
            match shared.hold_ends(&known, &look.data_ends) {
                Ok(()) => return Ok(look.facts),
                Err(replaced) if looks == LOOKS_MAX => return Err(replaced.into()),
                Err(_) => looks += 1,
            }
            tokio::time::sleep(LOOK_PAUSE).await;
        }
    }

    fn debug(&self, name: &str, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Without the settings, which know passwords.
        out.debug_struct(name).field("number", &self.number).field("claim", &self.claim).finish_non_exhaustive()
    }
}

impl KafkaLane {
    pub(crate) fn new(lane: Lane<LaneThread>) -> Self {
        Self(lane)
    }
}

impl fmt::Debug for KafkaLane {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.debug("KafkaLane", out)
    }
}

impl Sink for KafkaLane {
    async fn open(&mut self) -> Result<Progress, Failure> {
        self.0.open().await
    }

    async fn commit(&mut self, group: Group) -> Result<Committed, Failure> {
        self.0.commit(group).await
    }
}

impl<C: Cluster> DirectLane<C> {
    pub(crate) fn new(lane: Lane<LaneSession<C>>) -> Self {
        Self(lane)
    }
}

impl<C: Cluster> fmt::Debug for DirectLane<C> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.debug("DirectLane", out)
    }
}

impl<C: Cluster> Sink for DirectLane<C> {
    async fn open(&mut self) -> Result<Progress, Failure> {
        self.0.open().await
    }

    async fn commit(&mut self, group: Group) -> Result<Committed, Failure> {
        self.0.commit(group).await
    }
}
