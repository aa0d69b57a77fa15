//! One lane: its connection, and the one place where the order of a commit stands.

use std::sync::Arc;
use std::time::Duration;

use tailwater_model::{
    Committed, DeleteMode, Failure, Group, KeySchema, PipelineIdentity, Progress, Sink, Trouble, TroubleKind,
};
use tokio::time::Instant;

use crate::bisect::write_isolating;
use crate::brake::{WHERE_TO_LOOK, check_rate};
use crate::claim::OwnClaim;
use crate::failures::{Failures, RefusedAlike};
use crate::fence::{CommitFault, Holder, fence, fenced};
use crate::open::open;
use crate::prepare::{Row, Work, prepare};
use crate::sql::PostgresServer;
use crate::statements::{Server, Statements};
use crate::write_rows::write_rows;

/// Who this lane is.
#[derive(Clone, Debug)]
pub struct LaneIdentity {
    pub(crate) pipeline: Arc<PipelineIdentity>,
    pub(crate) number: i32,
    /// Random mark of this process' claim.
    pub(crate) owner: String,
    /// The claim's number.
    pub(crate) claim: i64,
    place: Arc<str>,
}

impl LaneIdentity {
    pub(crate) fn new(pipeline: Arc<PipelineIdentity>, number: i32, owner: &OwnClaim, place: &str) -> Self {
        Self { pipeline, number, owner: owner.owner.clone(), claim: owner.number, place: place.into() }
    }

    /// Whose lane it is.
    pub fn pipeline(&self) -> &PipelineIdentity {
        &self.pipeline
    }

    /// The lane's number, from 0.
    pub fn number(&self) -> i32 {
        self.number
    }

    /// Random mark of this process' claim.
    pub fn owner(&self) -> &str {
        &self.owner
    }

    /// The claim's number: each is greater than the one before.
    pub fn claim(&self) -> i64 {
        self.claim
    }

    /// Where the database is, for messages.
    pub fn place(&self) -> &str {
        &self.place
    }

    pub(crate) fn doing(&self, what: &str) -> String {
        format!("{what} lane {} of pipeline \"{}\"", self.number, self.pipeline.name)
    }
}

/// What the lanes of a process share.
pub(crate) struct Shared<S> {
    pub(crate) server: S,
    pub(crate) keys: KeySchema,
    pub(crate) delete: DeleteMode,
    /// The mirror table, for messages.
    pub(crate) table: String,
    pub(crate) statement_timeout: Duration,
    pub(crate) dead_letters_per_minute_max: u32,
}

/// A lane on PostgreSQL.
pub type PostgresLane = MirrorLane<PostgresServer>;

/// One lane of a pipeline with a connection of its own. Made by [`claim`](crate::claim()); it has to be opened before it
/// commits.
pub struct MirrorLane<S: Server> {
    identity: LaneIdentity,
    shared: Arc<Shared<S>>,
    /// Nothing until it is opened, and while a commit is under way: a commit that fails or is dropped half-way leaves
    /// nothing behind, and only opening helps (I7).
    session: Option<Opened<S::Session>>,
    failures: Failures,
}

struct Opened<S> {
    session: S,
    epoch: i64,
}

impl<S: Server> std::fmt::Debug for MirrorLane<S> {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Without the settings and the connection, which know the password.
        out.debug_struct("MirrorLane").field("identity", &self.identity).finish_non_exhaustive()
    }
}

impl<S: Server> MirrorLane<S> {
    pub(crate) fn new(identity: LaneIdentity, shared: Arc<Shared<S>>) -> Self {
        Self { identity, shared, session: None, failures: Failures::none() }
    }

    async fn open_anew(&mut self) -> Result<Progress, Failure> {
        self.session = None;
        let lane = &self.identity;
        let (shared, number) = (&self.shared, lane.number.to_string());
        let connecting = shared.server.connect(&lane.pipeline.name, &number);
        let mut session = connecting.await.map_err(|fault| fault.failure(&lane.doing("connecting"), lane.place()))?;
        let (epoch, progress) = open(&mut session, lane, (&shared.keys, shared.delete)).await?;
        self.session = Some(Opened { session, epoch });
        Ok(progress)
    }

    async fn commit_group(&mut self, group: Group) -> Result<Committed, Failure> {
        // From here on the lane is closed, until the commit is known to be durable.
        let Some(mut opened) = self.session.take() else {
            return Err(Failure::Reopen(Trouble::new(
                TroubleKind::Runtime,
                "sink.not_open",
                self.identity.doing("committing without opening") + " is not possible",
            )));
        };
        if group.is_empty() {
            self.check(&mut opened).await?;
            self.session = Some(opened);
            return Ok(Committed::default());
        }
        let mut work = prepare(group, &self.shared.keys, self.shared.delete).map_err(|broken| {
            Failure::Reopen(Trouble::new(
                TroubleKind::Runtime,
                "sink.step_refused",
                format!("two steps of shard {} in one group do not follow one another (I2)", broken.0),
            ))
        })?;
        let (rows, began) = (work.rows.len(), Instant::now());
        if let Err(fault) = self.write(&mut opened, &mut work).await {
            if let CommitFault::Rows(fault) = &fault {
                self.failures.add(fault, rows);
            }
            return Err(self.failure(fault, &mut opened).await);
        }
        self.failures.end((rows, work.refused_alike.take()), began.elapsed(), self.shared.statement_timeout);
        self.session = Some(opened);
        Ok(Committed::of(work.counts(), &work.dead_letters))
    }

    /// Whether the lane is still ours, without writing anything.
    async fn check(&self, opened: &mut Opened<S::Session>) -> Result<(), Failure> {
        let lane = &self.identity;
        match opened.session.holder(lane).await {
            Ok(Holder::Us) => Ok(()),
            Ok(holder) => Err(fenced(lane, holder)),
            Err(fault) => Err(fault.failure(&lane.doing("looking at"), lane.place())),
        }
    }

    /// One transaction; a second one only after the first was rolled back because a row was refused.
    async fn write(&self, opened: &mut Opened<S::Session>, work: &mut Work) -> Result<(), CommitFault> {
        match self.transaction(opened, work, false).await {
            Err(CommitFault::Rows(fault)) if self.failures.is_refusal(&fault) => {
                tracing::debug!(lane = self.identity.number, error = %fault.rejected().message, "isolating refused rows");
                opened.session.rollback().await?;
                self.transaction(opened, work, true).await
            }
            done => done,
        }
    }

    /// I1: rows, dead letters, gaps and progress in one transaction. Any error leaves by `?`, so that `commit` is never
    /// sent after one: the driver would answer `Ok` for a transaction that was rolled back.
    async fn transaction(
        &self,
        opened: &mut Opened<S::Session>,
        work: &mut Work,
        isolate: bool,
    ) -> Result<(), CommitFault> {
        let Opened { session, epoch } = opened;
        let lane = &self.identity;
        session.begin().await?;
        let held = fence(session, lane, *epoch, work).await?;
        if isolate {
            self.isolate(session, work).await?;
        } else {
            let written = write_rows(session, &work.rows, self.failures.statement_rows_max()).await;
            written.map_err(CommitFault::Rows)?;
        }
        if !work.dead_letters.is_empty() {
            check_rate(session, lane, &work.dead_letters, self.shared.dead_letters_per_minute_max).await?;
            session.store_dead_letters(lane, &work.dead_letters).await?;
        }
        if !work.gaps.is_empty() {
            // I8: loss is durable with the step that met it.
            session.store_gaps(lane, &work.gaps).await?;
        }
        if let Some(listing) = work.first_listing {
            session.store_first_listing(lane, listing).await?;
            if listing.is_stored {
                session.forget_other_streams(lane).await?;
            }
        }
        let has_written = work.counts().written > 0;
        if (work.registers() && !held.has_begun) || (has_written && !held.has_written) {
            session.mark_begun(lane, has_written).await?;
        }
        session.commit().await.map_err(CommitFault::Rows)
    }

    /// Writes the rows that are not refused, and puts the others aside.
    async fn isolate(&self, session: &mut S::Session, work: &mut Work) -> Result<(), CommitFault> {
        let mut rows = std::mem::take(&mut work.rows);
        let mut is_first = true;
        while !rows.is_empty() {
            let written = write_isolating(session, &rows, &self.failures).await;
            let mut refused = written.map_err(CommitFault::Rows)?;
            // What comes after the first time are earlier states of the same items.
            if std::mem::take(&mut is_first) {
                work.refused_alike = self.failures.refused_alike(rows.len(), &refused);
                let is_of_table = work.refused_alike.as_ref().is_some_and(RefusedAlike::is_of_table);
                if let Some((_, fault)) = refused.pop_if(|_| is_of_table) {
                    return Err(CommitFault::Table(fault));
                }
            }
            // I5: kept whole, in the same transaction. P1: what the item was before is not lost with it.
            let (keys, delete) = (&self.shared.keys, self.shared.delete);
            let mut rest: Vec<Option<Row>> = rows.into_iter().map(Some).collect();
            let taken =
                refused.into_iter().filter_map(|(at, fault)| Some((rest.get_mut(at)?.take()?, fault.rejected())));
            rows = taken.filter_map(|(row, rejected)| work.refuse_row(row, rejected, keys, delete)).collect();
        }
        let refused = work.take_refused();
        session.recount(&self.identity, &refused.iter().collect::<Vec<_>>()).await?;
        Ok(())
    }

    async fn failure(&self, fault: CommitFault, opened: &mut Opened<S::Session>) -> Failure {
        let lane = &self.identity;
        match fault {
            CommitFault::Sql(fault) if fault.is_of_sequence_behind() => self.raise_sequences(opened).await,
            CommitFault::Sql(fault) | CommitFault::Rows(fault) => {
                fault.failure(&lane.doing("committing a group of"), lane.place())
            }
            CommitFault::Fenced => self.lost(opened).await,
            CommitFault::Table(fault) => Failure::Halt(fault.of_table(&self.shared.table, lane.place())),
            // Opening tells what it is, unless it is the old one again.
            CommitFault::OtherTable => Failure::Reopen(Trouble::new(
                TroubleKind::Runtime,
                "sink.postgres.table_replaced",
                lane.doing("committing a group of") + ": the mirror table was replaced, so nothing was written",
            )),
            CommitFault::DeadLetters(exceeded) => {
                let per_minute_max = self.shared.dead_letters_per_minute_max;
                let stored = match opened.session.rollback().await {
                    Ok(()) => opened.session.store_brake(lane, opened.epoch, per_minute_max).await,
                    Err(fault) => Err(fault),
                };
                match stored {
                    Ok(1) => Failure::Halt(exceeded.trouble(WHERE_TO_LOOK)),
                    Ok(_) => self.lost(opened).await,
                    // Without the brake this is no reason to halt: the group is read again, and is as much too much.
                    Err(fault) => fault.failure(&lane.doing("braking"), lane.place()),
                }
            }
        }
    }

    /// A server that took another one's place by logical replication has the rows, and sequences that begin anew.
    async fn raise_sequences(&self, Opened { session, .. }: &mut Opened<S::Session>) -> Failure {
        let lane = &self.identity;
        let raised = match session.rollback().await {
            Ok(()) => session.raise_sequences().await,
            Err(fault) => Err(fault),
        };
        match raised {
            Ok(()) => Failure::Reopen(Trouble::new(
                TroubleKind::Environment,
                "sink.postgres.sequence",
                format!(
                    "{} found the sequences of the schema tailwater behind its tables; they are raised now",
                    lane.doing("committing a group of")
                ),
            )),
            Err(fault) => fault.failure(&lane.doing("raising the sequences for"), lane.place()),
        }
    }

    /// The failure of a lane whose fence did not hold.
    async fn lost(&self, Opened { session, .. }: &mut Opened<S::Session>) -> Failure {
        let lane = &self.identity;
        let looked = match session.rollback().await {
            Ok(()) => session.holder(lane).await,
            Err(fault) => Err(fault),
        };
        match looked {
            Ok(holder) => fenced(lane, holder),
            Err(fault) => fault.failure(&lane.doing("looking at"), lane.place()),
        }
    }
}

impl<S: Server> Sink for MirrorLane<S> {
    async fn open(&mut self) -> Result<Progress, Failure> {
        Box::pin(self.open_anew()).await
    }

    async fn commit(&mut self, group: Group) -> Result<Committed, Failure> {
        Box::pin(self.commit_group(group)).await
    }
}
