//! A lane's work: opening, committing, and looking who owns the lane. The protocol stands here once, for whoever answers it
//! as [`Cluster`].

mod commit;
mod dead_letters;
mod failures;
mod fences;
mod open;
mod reached;
mod target;
mod work;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tailwater_model::{KeySchema, PipelineIdentity, Trouble, TroubleKind, ViewType};
use tokio::time::Instant;

use crate::client_config::Batches;
use crate::cluster::Cluster;
use crate::fault::Fault;
use crate::message::Encoder;
use crate::progress::{
    AllDeadLetters, Holds, LaneProgress, ProgressReader, SessionMark, StoredTarget, StreamFacts, Until, read_lanes,
};
use crate::settings::KafkaSettings;
use crate::topics::TopicFacts;

use failures::Failures;
use fences::Fences;
pub(crate) use open::Claim;
use reached::Reached;
pub(crate) use target::target_facts;

/// What the lanes of a process share.
pub(crate) struct Shared<C> {
    pub(crate) cluster: C,
    pub(crate) settings: KafkaSettings,
    pub(crate) pipeline: PipelineIdentity,
    pub(crate) encoder: Encoder,
    /// What the first lane's partition says of the stream: it is opened before all others.
    stream: Mutex<StreamFacts>,
    /// What the store has of all lanes.
    dead_letters: Mutex<AllDeadLetters>,
    /// What the claim has bound the progress to.
    target: Mutex<Option<StoredTarget>>,
    /// How far the topics are known to reach.
    reached: Mutex<Reached>,
    /// The lanes that have a session.
    opened: Mutex<BTreeSet<u32>>,
}

impl<C> Shared<C> {
    pub(crate) fn new(
        cluster: C,
        settings: &KafkaSettings,
        pipeline: &PipelineIdentity,
        keys: &KeySchema,
        view_type: Option<ViewType>,
    ) -> Self {
        Self {
            cluster,
            settings: settings.clone(),
            pipeline: pipeline.clone(),
            encoder: Encoder::new(settings, pipeline, keys, view_type),
            stream: Mutex::default(),
            dead_letters: Mutex::default(),
            target: Mutex::default(),
            reached: Mutex::default(),
            opened: Mutex::default(),
        }
    }

    /// The lanes that are known to have a session. Another lane that panicked leaves them whole.
    fn opened(&self) -> MutexGuard<'_, BTreeSet<u32>> {
        self.opened.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes note of what a lane found durable of the stream, and gives what is known of it.
    fn note_stream(&self, found: Option<StreamFacts>) -> StreamFacts {
        // Another lane that panicked leaves facts that are whole.
        let mut facts = self.stream.lock().unwrap_or_else(PoisonError::into_inner);
        *facts = found.unwrap_or(*facts);
        *facts
    }
}

/// One lane. Made closed; it has to be opened before it commits.
pub(crate) struct LaneSession<C: Cluster> {
    shared: Arc<Shared<C>>,
    lane: u32,
    /// The epoch of the last opening of this process: what was stored then must still be there.
    last_epoch: Option<u64>,
    /// Openings of this process, for marks of barriers.
    openings: u64,
    failures: Failures,
    fences: Fences,
    /// Nothing until it is opened, and while a commit is under way: a commit that fails leaves nothing behind, and only
    /// opening helps (I7). Producers are thrown away with it.
    opened: Option<Opened<C::Producer>>,
}

/// An open lane.
struct Opened<P> {
    /// Holds the lane's `transactional.id`: Kafka's fence.
    transactional: P,
    /// Carries the data where it is not part of the transaction.
    plain: Option<P>,
    mark: SessionMark,
    progress: LaneProgress,
    facts: TopicFacts,
    batches: Batches,
    times: OpenedTimes,
}

/// Moments of an open lane.
struct OpenedTimes {
    opened: Instant,
    /// Its newest transaction began.
    begun: Instant,
    /// Its session was written last.
    told: Instant,
}

impl<P> Opened<P> {
    /// The time of the opening by the broker's clock: what was stored before is older, and what is committed later counts as
    /// stored then.
    fn at_ms(&self) -> i64 {
        self.progress.session.as_ref().map_or(0, |session| session.at_ms)
    }

    /// About the present moment by that clock.
    fn now_ms(&self) -> i64 {
        self.at_ms().saturating_add(i64::try_from(self.times.opened.elapsed().as_millis()).unwrap_or(i64::MAX))
    }
}

impl<C: Cluster> LaneSession<C> {
    pub(crate) fn new(shared: Arc<Shared<C>>, lane: u32) -> Self {
        let (failures, fences) = (Failures::none(), Fences::default());
        Self { shared, lane, last_epoch: None, openings: 0, failures, fences, opened: None }
    }

    /// The producers of an open lane.
    pub(crate) fn producers(&self) -> impl Iterator<Item = &C::Producer> {
        self.opened.iter().flat_map(|opened| [&opened.transactional].into_iter().chain(&opened.plain))
    }

    /// What is stored in so many partitions of the progress topic.
    pub(crate) async fn read_lanes(&self, partitions: u32) -> Result<Vec<LaneProgress>, Fault> {
        read_lanes(&self.shared.cluster, &self.shared.settings, partitions).await
    }

    /// Reads the lane's partition, and halts when a newer claim stands in it. Fences nobody.
    async fn look(&self, reader: &mut ProgressReader<C::Reader>, claim: u64, owner: &str) -> Result<(), Fault> {
        let newest = reader.read(&Until::End, self.wait_max()).await?.first().and_then(|lane| lane.session.as_ref());
        match newest {
            Some(newest) if is_newer(&newest.fact, claim, owner) => Err(self.taken_over()),
            _ => Ok(()),
        }
    }

    /// What the lane's session says, where its partition has so many facts.
    fn holds(&self, facts: u64) -> Holds {
        let opened = self.shared.opened();
        let lanes = opened.len() + usize::from(!opened.contains(&self.lane));
        Holds { facts, lanes: u32::try_from(lanes).unwrap_or(u32::MAX) }
    }

    /// A reader of the lane's own partition.
    fn reader(&self) -> Result<ProgressReader<C::Reader>, Fault> {
        ProgressReader::new(&self.shared.cluster, &self.shared.settings, self.lane..self.lane + 1)
    }

    /// The longest wait for one answer: Kafka may first have to end what somebody else left open.
    fn wait_max(&self) -> Duration {
        self.shared.settings.transaction_timeout + self.shared.settings.request_timeout
    }

    fn partition(&self) -> i32 {
        i32::try_from(self.lane).unwrap_or(i32::MAX)
    }

    fn doing(&self, what: &str) -> String {
        format!("{what} lane {} of pipeline \"{}\"", self.lane, self.shared.pipeline.name)
    }

    fn taken_over(&self) -> Fault {
        let message = format!(
            "another process took over pipeline \"{}\" on Kafka at {}; this one wrote nothing after that",
            self.shared.pipeline.name, self.shared.settings.brokers
        );
        Trouble::new(TroubleKind::Replaced, "sink.taken_over", message)
            .advise("give this pipeline another name if it is meant to be another")
            .into()
    }
}

/// What is told to whoever commits to a lane that is not open (I7).
pub(crate) fn not_open(pipeline: &str, lane: u32) -> Trouble {
    let message = format!("lane {lane} of pipeline \"{pipeline}\" has to be opened before it takes a commit");
    Trouble::new(TroubleKind::Runtime, "sink.not_open", message)
}

/// Whether a session belongs to a claim that was made after this one.
fn is_newer(session: &SessionMark, claim: u64, owner: &str) -> bool {
    session.claim > claim || (session.claim == claim && session.owner != owner)
}
