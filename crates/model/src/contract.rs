//! The contract between source, transforms, lane loop and sink.

use std::collections::BTreeSet;
use std::future::Future;

use thiserror::Error;

use crate::batch::{Counts, Delivery, Group, Step};
use crate::committed::Committed;
use crate::event::{ChangeEvent, Rejected};
use crate::position::{Position, ShardId};
use crate::service_time::ServiceTime;

/// Reads one lane of a stream.
pub trait Source: Send {
    /// Begins, or begins again, at the progress that the sink holds. Everything read but not durable is forgotten and
    /// will be read again (I7).
    fn open(&mut self, progress: &Progress) -> impl Future<Output = Result<(), Failure>> + Send;

    /// Waits for the next delivery. Cancel-safe: a caller that drops the future loses nothing. Nobody asking is the
    /// back-pressure: the source holds no more than its byte budget. Once finished it answers so each time.
    fn next(&mut self) -> impl Future<Output = Result<Delivery, Failure>> + Send;

    /// These steps, in this order, are durable now, and so is what was told of the first complete listing.
    fn committed(&mut self, steps: &[(ShardId, Step)], first_listing: Option<FirstListing>);

    /// The newest batch of this shard holds so many bytes more than when it was handed out: transforms write texts of their
    /// own while the page stays.
    fn grew(&mut self, shard: &ShardId, bytes: usize);

    /// The lane's session has ended in trouble. Everything read but not durable is forgotten, and the room that it took is
    /// free for the other lanes, however long it takes until the lane opens again (I6).
    fn close(&mut self);
}

/// Changes, drops or multiplies events. Pure: no I/O, no clock, no state.
pub trait Transform: Send + Sync {
    /// Pushes what becomes of `event`. Pushing nothing filters it.
    fn apply(&self, event: ChangeEvent, out: &mut Vec<ChangeEvent>) -> Result<(), Rejected>;

    /// Follows one attribute through this transform, so that dead letters do not show what a transform hides: gives the
    /// names of its path their new names, or answers false when its value may not be seen behind this transform.
    fn follow(&self, path: &mut [String]) -> bool;
}

/// Makes groups durable. One session of one lane.
pub trait Sink: Send {
    /// Fences every other session of this lane, and only then reads what is durable: bumping the epoch waits for a
    /// commit that is still in flight, so the answer is the truth.
    fn open(&mut self) -> impl Future<Output = Result<Progress, Failure>> + Send;

    /// Applies the events of the group and its steps in one transaction, or nothing. After any error the fate of the
    /// group is unknown and the lane must open again; a group is never committed twice by the caller.
    ///
    /// Each step applies only where the stored position equals its `from`, under this session's epoch (I2). An empty
    /// group writes nothing and only checks that the lane still belongs to this session.
    fn commit(&mut self, group: Group) -> impl Future<Output = Result<Committed, Failure>> + Send;
}

/// What is durable for one lane, and what the stream as a whole needs to know.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// The shards of this lane.
    pub shards: Vec<ShardProgress>,
    /// The first complete listing; nothing before there was one.
    pub first_listing: Option<FirstListing>,
    /// The stream of the same table that this pipeline read last and that is not this one.
    pub previous_stream: Option<PreviousStream>,
}

impl Progress {
    /// When the first complete listing began, if every shard of it was stored.
    pub fn known_since(&self) -> Option<ServiceTime> {
        FirstListing::known_since(self.first_listing)
    }
}

/// The first complete listing of a stream's shards: what was promised of the stream is told from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FirstListing {
    /// When it began, by the service's clock.
    pub at: ServiceTime,
    /// Every shard of it is stored: the stream is *known*.
    pub is_stored: bool,
    /// The pipeline read another stream before this one: everything in this one was promised, and not only what its beginning says.
    pub follows_another: bool,
}

impl FirstListing {
    /// One of which every shard is stored, of a pipeline's first stream.
    pub fn stored(at: ServiceTime) -> Self {
        Self { at, is_stored: true, follows_another: false }
    }

    /// One whose shards are being stored, of a pipeline's first stream.
    pub fn begun(at: ServiceTime) -> Self {
        Self { at, is_stored: false, follows_another: false }
    }

    /// When it began, if every shard of it is stored.
    pub fn known_since(listing: Option<Self>) -> Option<ServiceTime> {
        listing.filter(|listing| listing.is_stored).map(|listing| listing.at)
    }
}

/// A stream that another one has replaced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PreviousStream {
    /// Its ARN.
    pub stream_arn: String,
    /// The moment up to which it was read as a whole; nothing when nobody knows.
    pub read_until: Option<ServiceTime>,
    /// It is known to be of another table, which was deleted and had the same name.
    pub is_of_another_table: bool,
}

/// What is durable for one shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShardProgress {
    /// The shard.
    pub shard: ShardId,
    /// Its parent, if it has one.
    pub parent: Option<ShardId>,
    /// How far it was carried.
    pub position: Position,
    /// How far in time it was read. Nothing in progress that was stored before this was kept.
    pub read_until: Option<ServiceTime>,
}

/// How far in time a stream was read as a whole: the earliest moment of its undrained shards, and of the drained ones whose
/// children are not known. Nothing when one of them does not say, or when there is none.
pub fn least_read_until(shards: &[ShardProgress]) -> Option<ServiceTime> {
    let parents: BTreeSet<&ShardId> = shards.iter().filter_map(|shard| shard.parent.as_ref()).collect();
    let counts = |shard: &&ShardProgress| shard.position != Position::End || !parents.contains(&shard.shard);
    let mut moments = shards.iter().filter(counts).map(|shard| shard.read_until);
    let first = moments.next()??;
    moments.try_fold(first, |least, moment| Some(least.min(moment?)))
}

/// The stream that progress belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamIdentity {
    /// The table's name.
    pub table: String,
    /// The table's id: a table that was deleted and made again has another one.
    pub table_id: String,
    /// The stream's ARN: a stream that was turned off and on has another one.
    pub stream_arn: String,
}

/// Whose progress a sink keeps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PipelineIdentity {
    /// The pipeline's name from its file.
    pub name: String,
    /// Lanes that shards are dealt to; stored at the first start and refused when it changes.
    pub lanes: u32,
    /// The stream.
    pub stream: StreamIdentity,
}

/// All stored progress of a pipeline, for people (`tailwater checkpoints show`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checkpoints {
    /// One row per stored shard, ordered by stream and shard.
    pub shards: Vec<ShardCheckpoint>,
    /// Gaps on record.
    pub gaps: u64,
    /// When the newest of them was found, or was found again, by the service's clock.
    pub gaps_until: Option<ServiceTime>,
    /// Records in the dead letters.
    pub dead_letters: u64,
}

/// The stored state of one shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShardCheckpoint {
    /// The stream it belongs to.
    pub stream_arn: String,
    /// The shard.
    pub shard: ShardId,
    /// Its parent, if it has one.
    pub parent: Option<ShardId>,
    /// Its lane.
    pub lane: u32,
    /// How far it was carried.
    pub position: Position,
    /// How far in time it was read; nothing when nobody knows.
    pub read_until: Option<ServiceTime>,
    /// What was read and what became of it.
    pub counts: Counts,
    /// When the row last changed, RFC 3339 by the sink's clock.
    pub updated_at: String,
}

/// What crosses a trait when something failed: again, or a person is needed.
#[derive(Debug, Error)]
pub enum Failure {
    /// Transient or of unknown fate: wait, open the lane again, go on.
    #[error(transparent)]
    Reopen(Trouble),
    /// Going on would be wrong or hopeless: stop the pipeline and say why.
    #[error(transparent)]
    Halt(Trouble),
}

impl Failure {
    /// The trouble inside.
    pub fn trouble(&self) -> &Trouble {
        match self {
            Self::Reopen(trouble) | Self::Halt(trouble) => trouble,
        }
    }

    /// The same, for whoever decides anew what follows from it.
    pub fn into_trouble(self) -> Trouble {
        match self {
            Self::Reopen(trouble) | Self::Halt(trouble) => trouble,
        }
    }
}

/// What went wrong, in words for the person who runs the pipeline. Never holds a secret or a value of an item.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{message}")]
pub struct Trouble {
    /// Decides the exit code.
    pub kind: TroubleKind,
    /// Stable dotted code, for example `aws.access_denied`.
    pub code: &'static str,
    /// What failed and where.
    pub message: String,
    /// What to do next.
    pub advice: Option<String>,
}

/// Kinds of trouble by what a script would do about them. Their order is that of gravity: of several troubles the gravest
/// is told, and decides the exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TroubleKind {
    /// Another process took the pipeline over: this one stands by. Where it cannot, exit code 1.
    Replaced,
    /// The store forgot our claim, as after a fail-over to a standby that was behind: the pipeline is claimed again. Where it
    /// cannot be, exit code 1.
    ClaimLost,
    /// The stream was turned off, everything in it was carried, and there is no other one: exit code 5.
    StreamEnded,
    /// The user's file or command is wrong: exit code 2.
    Config,
    /// Something outside is unreachable, denied or not as needed: exit code 3.
    Environment,
    /// Anything else: exit code 1.
    Runtime,
    /// Records were, or may have been, lost: exit code 4.
    DataAtRisk,
}

impl Trouble {
    /// Trouble without advice.
    pub fn new(kind: TroubleKind, code: &'static str, message: impl Into<String>) -> Self {
        Self { kind, code, message: message.into(), advice: None }
    }

    /// The same with what to do next.
    #[must_use]
    pub fn advise(mut self, advice: impl Into<String>) -> Self {
        self.advice = Some(advice.into());
        self
    }
}
