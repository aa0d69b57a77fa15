//! The statements that a lane sends, typed: one method is one SQL statement. Which of them come in which
//! order is not said here but where the protocol stands: opening, fencing, committing, claiming.

use std::future::Future;

use tailwater_model::{
    Binding, Brake, Counts, DeadLetter, DeleteMode, FirstListing, Gap, KeySchema, PipelineIdentity, Position,
    ServiceTime, ShardId, ShardProgress, TargetFacts, Trouble,
};

use crate::fence::Holder;
use crate::lane::LaneIdentity;
use crate::prepare::Row;
use crate::session::SqlFault;

/// The answer to one statement. After any fault but a refused row the session is to be dropped.
pub type Answer<T> = Result<T, SqlFault>;

/// A server to connect to, for one mirror table.
pub trait Server: Send + Sync {
    /// A connection to it.
    type Session: Statements;

    /// Where it is, for messages. Never holds a secret.
    fn place(&self) -> &str;

    /// Connects and logs in. `role` is what the session is for: a lane's number or a word.
    fn connect(&self, pipeline: &str, role: &str) -> impl Future<Output = Answer<Self::Session>> + Send;
}

/// Whether a server takes writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteAccess {
    /// It does.
    Writable,
    /// It is a standby (`pg_is_in_recovery`).
    Standby,
    /// Its transactions are read-only by setting.
    ReadOnly,
}

/// What is stored about a stream as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredStream {
    /// The first complete listing.
    pub first_listing: Option<FirstListing>,
    /// The stream of the same table that was read last before this one.
    pub previous_stream: Option<String>,
    /// That one is of another table of the same name.
    pub is_of_another_table: bool,
}

/// Who owns a pipeline, as the store says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredOwner {
    /// The random mark of the claim, as a UUID's text.
    pub owner: String,
    /// The claim's number: each is greater than the one before.
    pub claim: i64,
    /// Rises as long as the owner lives.
    pub life: i64,
    /// The owner has handed over.
    pub released: bool,
}

/// A lane's row that is held, with what is stored of the pipeline's target. I11
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeldLane {
    /// The mirror table is another than the one that the progress is bound to. One that is missing is none.
    pub is_another_table: bool,
    /// A shard was stored since the progress was bound.
    pub has_begun: bool,
    /// Something was written since then, or was there.
    pub has_written: bool,
}

/// A shard to store for the first time.
#[derive(Clone, Copy, Debug)]
pub struct NewShard<'a> {
    /// Its id.
    pub shard: &'a ShardId,
    /// Its parent, if it has one.
    pub parent: Option<&'a ShardId>,
    /// Where it stands from now on.
    pub to: &'a Position,
    /// How far in time it was read.
    pub read_until: Option<ServiceTime>,
    /// What it accounts for.
    pub counts: Counts,
}

/// A shard that moves on, where it stands at `from`. I2
#[derive(Clone, Copy, Debug)]
pub struct Move<'a> {
    /// Its id.
    pub shard: &'a ShardId,
    /// Where it has to stand.
    pub from: &'a Position,
    /// Where it stands then.
    pub to: &'a Position,
    /// How far in time it was read then; nothing leaves what is stored.
    pub read_until: Option<ServiceTime>,
    /// What the move adds to its accounting.
    pub counts: Counts,
}

/// Why schema and table are not ready for a pipeline.
#[derive(Debug)]
pub enum Unready {
    /// A statement failed.
    Sql(SqlFault),
    /// Something is not as needed, in words.
    Told(Trouble),
}

/// One connection. The future of a method may be dropped at any time; then the session is to be dropped, too.
pub trait Statements: Send + Sync {
    /// `begin`. It may go to the server together with the next statement.
    fn begin(&mut self) -> impl Future<Output = Answer<()>> + Send;
    /// `commit`. Never to be sent after an error: the server rolls back then and answers well.
    fn commit(&mut self) -> impl Future<Output = Answer<()>> + Send;
    /// `rollback`.
    fn rollback(&mut self) -> impl Future<Output = Answer<()>> + Send;
    /// `savepoint part`.
    fn savepoint(&mut self) -> impl Future<Output = Answer<()>> + Send;
    /// `release savepoint part`.
    fn release(&mut self) -> impl Future<Output = Answer<()>> + Send;
    /// `rollback to savepoint part; release savepoint part`, in one round trip.
    fn rollback_to(&mut self) -> impl Future<Output = Answer<()>> + Send;
    /// `set constraints all immediate`.
    fn constraints_immediate(&mut self) -> impl Future<Output = Answer<()>> + Send;
    /// Whether the server takes writes.
    fn write_access(&mut self) -> impl Future<Output = Answer<WriteAccess>> + Send;

    /// Raises the lane's epoch where the owner is ours, and gives it. Waits for whoever holds the lane's row.
    fn bump_epoch(&mut self, lane: &LaneIdentity) -> impl Future<Output = Answer<Option<i64>>> + Send;
    /// Who holds the lane. Takes no lock. An owner of a smaller claim than ours is one from before.
    fn holder(&mut self, lane: &LaneIdentity) -> impl Future<Output = Answer<Holder>> + Send;
    /// The lane's shards of its stream, by id. The inner error is a stored position that nobody can read.
    fn stored_shards(
        &mut self,
        lane: &LaneIdentity,
    ) -> impl Future<Output = Answer<Result<Vec<ShardProgress>, Trouble>>> + Send;
    /// The shards of a stream in all lanes, by id.
    fn stored_shards_of(
        &mut self,
        pipeline: &str,
        stream_arn: &str,
    ) -> impl Future<Output = Answer<Result<Vec<ShardProgress>, Trouble>>> + Send;
    /// The lane's stream, if it is stored.
    fn stored_stream(&mut self, lane: &LaneIdentity) -> impl Future<Output = Answer<Option<StoredStream>>> + Send;

    /// Locks the lane's row until the end of the transaction, where epoch and owner are ours. I2
    fn hold_lane(&mut self, lane: &LaneIdentity, epoch: i64) -> impl Future<Output = Answer<Option<HeldLane>>> + Send;
    /// Stores new shards and gives how many were new.
    fn register(&mut self, lane: &LaneIdentity, shards: &[NewShard<'_>]) -> impl Future<Output = Answer<u64>> + Send;
    /// Moves shards that stand where they have to and gives how many did. I2
    fn advance(&mut self, lane: &LaneIdentity, moves: &[Move<'_>]) -> impl Future<Output = Answer<u64>> + Send;
    /// Removes shards that stand at their end and gives how many did. I2
    fn forget(&mut self, lane: &LaneIdentity, shards: &[&ShardId]) -> impl Future<Output = Answer<u64>> + Send;
    /// Moves one event per mention of a shard from the written ones to the dead letters. I9
    fn recount(&mut self, lane: &LaneIdentity, refused: &[&ShardId]) -> impl Future<Output = Answer<()>> + Send;

    /// Writes rows of `Write::State` and gives how many are there then as they were sent.
    fn upsert(&mut self, rows: &[&Row]) -> impl Future<Output = Answer<u64>> + Send;
    /// Marks rows of `Write::Mark` as deleted, keeps their documents, and gives how many are marked by these changes then.
    fn mark(&mut self, rows: &[&Row]) -> impl Future<Output = Answer<u64>> + Send;
    /// Removes rows of `Write::Remove`, as far as they are there, and gives how many stayed.
    fn remove(&mut self, rows: &[&Row]) -> impl Future<Output = Answer<u64>> + Send;

    /// Waits until no other lane of the pipeline is about to store dead letters; until the end of the transaction none is.
    fn lock_dead_letters(&mut self, lane: &LaneIdentity) -> impl Future<Output = Answer<()>> + Send;
    /// How many dead letters of the pipeline were stored within the last minute, by the server's clock.
    fn recent_dead_letters(&mut self, lane: &LaneIdentity) -> impl Future<Output = Answer<u64>> + Send;
    /// Keeps records aside. I5
    fn store_dead_letters(
        &mut self,
        lane: &LaneIdentity,
        letters: &[DeadLetter],
    ) -> impl Future<Output = Answer<()>> + Send;
    /// Records gaps; one that is there already stays as it is. I8
    fn store_gaps(&mut self, lane: &LaneIdentity, gaps: &[Gap]) -> impl Future<Output = Answer<()>> + Send;
    /// Raises the sequences of dead letters and gaps to the greatest number that is there.
    fn raise_sequences(&mut self) -> impl Future<Output = Answer<()>> + Send;
    /// Stores the first complete listing, unless one of which every shard is stored is there.
    fn store_first_listing(
        &mut self,
        lane: &LaneIdentity,
        listing: FirstListing,
    ) -> impl Future<Output = Answer<()>> + Send;
    /// Removes the pipeline's other streams of the same table, and their shards.
    fn forget_other_streams(&mut self, lane: &LaneIdentity) -> impl Future<Output = Answer<()>> + Send;

    /// Makes the schema ready within the transaction, one claim after the other (advisory lock).
    fn prepare(&mut self) -> impl Future<Output = Result<(), Unready>> + Send;
    /// What is in the mirror table, and what progress is bound to. How rows are removed says whether one may be empty. I11
    fn target_facts(
        &mut self,
        identity: &PipelineIdentity,
        keys: &KeySchema,
        delete: DeleteMode,
    ) -> impl Future<Output = Result<TargetFacts, Unready>> + Send;
    /// Makes the mirror table where it is missing, and compares it where it is there.
    fn make_target(&mut self, identity: &PipelineIdentity) -> impl Future<Output = Result<(), Unready>> + Send;
    /// Binds the pipeline's progress to the mirror table as it is now, after all other pipelines, and uses up the salt.
    fn bind(&mut self, pipeline: &str, binding: &Binding, is_written: bool) -> impl Future<Output = Answer<()>> + Send;
    /// The binding stands: uses up the salt, and stores that something was written, if so.
    fn confirm(&mut self, pipeline: &str, is_written: bool) -> impl Future<Output = Answer<()>> + Send;
    /// Stores that the pipeline has a shard, and that something was written, if so.
    fn mark_begun(&mut self, lane: &LaneIdentity, is_written: bool) -> impl Future<Output = Answer<()>> + Send;
    /// The salt of the pipeline's next token, made at random where there is none.
    fn leave_salt(&mut self, pipeline: &str) -> impl Future<Output = Answer<String>> + Send;
    /// How many lanes are stored for the pipeline.
    fn lane_count(&mut self, pipeline: &str) -> impl Future<Output = Answer<i64>> + Send;
    /// A random mark for a new owner, as a UUID's text.
    fn new_owner(&mut self) -> impl Future<Output = Answer<String>> + Send;
    /// Gives lanes 0 to `lanes` - 1 to a new owner, in this order; every epoch rises.
    fn take_lanes(&mut self, pipeline: &str, lanes: i32, owner: &str) -> impl Future<Output = Answer<()>> + Send;
    /// Makes an owner that of the pipeline, and gives the number of this claim.
    fn own(&mut self, pipeline: &str, owner: &str) -> impl Future<Output = Answer<i64>> + Send;
    /// Raises the life of the pipeline's owner where that is ours. Waits for no lane.
    fn show_life(&mut self, lane: &LaneIdentity) -> impl Future<Output = Answer<bool>> + Send;
    /// Who owns the pipeline. Takes no lock.
    fn owner(&mut self, pipeline: &str) -> impl Future<Output = Answer<Option<StoredOwner>>> + Send;
    /// Stores that the pipeline's owner has handed over, where that is ours.
    fn hand_over(&mut self, lane: &LaneIdentity) -> impl Future<Output = Answer<()>> + Send;
    /// Stores a brake on the pipeline where epoch and owner of the lane are ours. Gives the rows: 1 or 0. I2
    fn store_brake(
        &mut self,
        lane: &LaneIdentity,
        epoch: i64,
        per_minute_max: u32,
    ) -> impl Future<Output = Answer<u64>> + Send;
    /// Removes the brakes on the pipeline that are smaller than this, and gives the greatest that stays.
    fn lift_brakes(
        &mut self,
        pipeline: &str,
        per_minute_max: u32,
    ) -> impl Future<Output = Answer<Option<Brake>>> + Send;
    /// Stores the pipeline's stream, if it is not stored.
    fn add_stream(&mut self, identity: &PipelineIdentity) -> impl Future<Output = Answer<()>> + Send;
}
