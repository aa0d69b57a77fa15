//! Where the session of a lane works: what ships gives it a thread of its own, for librdkafka's calls block; a model's
//! session is driven by whoever asks the lane.

use std::future::Future;

use tailwater_model::{Committed, Failure, Group, Progress, Trouble};

use crate::cluster::Cluster;
use crate::fault::Fault;
use crate::progress::LaneProgress;
use crate::session::{Claim, LaneSession};
use crate::topics::TopicFacts;

/// Runs the work of one session, one piece after the other.
pub(crate) trait Home: Send + Sized {
    /// Who answers the session.
    type Cluster: Cluster;

    /// Houses a session. `name` is the lane's, for people.
    fn house(name: String, session: LaneSession<Self::Cluster>) -> Result<Self, Trouble>;

    /// Runs [`LaneSession::read_lanes`].
    fn read_lanes(&mut self, partitions: u32) -> impl Future<Output = Result<Vec<LaneProgress>, Fault>> + Send;

    /// Runs [`LaneSession::leave_salt`].
    fn leave_salt(&mut self, salt: String) -> impl Future<Output = Result<(), Fault>> + Send;

    /// Runs [`LaneSession::open`].
    fn open(&mut self, facts: TopicFacts, claim: &Claim)
    -> impl Future<Output = Result<(u64, Progress), Fault>> + Send;

    /// Runs [`LaneSession::commit`].
    fn commit(&mut self, group: Group) -> impl Future<Output = Result<Committed, Failure>> + Send;
}

/// A session that is driven by whoever asks. Who stops asking leaves it where it was: as a process that dies there.
impl<C: Cluster> Home for LaneSession<C> {
    type Cluster = C;

    fn house(_name: String, session: Self) -> Result<Self, Trouble> {
        Ok(session)
    }

    async fn read_lanes(&mut self, partitions: u32) -> Result<Vec<LaneProgress>, Fault> {
        Self::read_lanes(self, partitions).await
    }

    async fn leave_salt(&mut self, salt: String) -> Result<(), Fault> {
        Self::leave_salt(self, salt).await
    }

    async fn open(&mut self, facts: TopicFacts, claim: &Claim) -> Result<(u64, Progress), Fault> {
        Self::open(self, facts, claim).await
    }

    async fn commit(&mut self, group: Group) -> Result<Committed, Failure> {
        Self::commit(self, group).await
    }
}
