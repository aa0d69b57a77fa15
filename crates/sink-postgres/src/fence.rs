//! The first statements of every transaction: nothing is written unless the lane is still ours and every shard stands
//! where the group begins.

use tailwater_model::{Failure, Position, TooManyDeadLetters, Trouble, TroubleKind};

use crate::lane::LaneIdentity;
use crate::prepare::{Begin, Work};
use crate::session::SqlFault;
use crate::statements::{HeldLane, Move, NewShard, Statements};

/// Why a group was not written.
#[derive(Debug)]
pub(crate) enum CommitFault {
    /// A statement about Tailwater's own tables failed: that is never about a row of the mirror.
    Sql(SqlFault),
    /// Writing the mirror's rows failed, or the commit, to which constraints may be deferred.
    Rows(SqlFault),
    /// The stored owner, epoch or position is not the expected one: rolled back.
    Fenced,
    /// The mirror table is not the one that the progress is bound to: rolled back.
    OtherTable,
    /// The store would take too many dead letters.
    DeadLetters(TooManyDeadLetters),
    /// Each row that came to the mirror table was refused with this.
    Table(SqlFault),
}

impl From<SqlFault> for CommitFault {
    fn from(fault: SqlFault) -> Self {
        Self::Sql(fault)
    }
}

/// Takes the lane's row under our epoch and moves the shards. It holds the lane's row until the commit, so whoever bumps
/// the epoch waits for this transaction or comes before it. Gives what the row told of the target.
pub(crate) async fn fence<S: Statements>(
    session: &mut S,
    lane: &LaneIdentity,
    epoch: i64,
    work: &Work,
) -> Result<HeldLane, CommitFault> {
    let Some(held) = session.hold_lane(lane, epoch).await? else {
        return Err(CommitFault::Fenced); // I2: another epoch or owner.
    };
    if held.is_another_table {
        return Err(CommitFault::OtherTable); // I11
    }
    let (mut new, mut moves, mut forgotten) = (Vec::new(), Vec::new(), Vec::new());
    for (shard, step) in &work.steps {
        let (to, read_until, counts) = (&step.to, step.read_until, step.counts);
        if !counts.balance() {
            tracing::error!(%shard, ?counts, "records read are not all accounted for (I9): please report this");
        }
        match &step.begin {
            Begin::Unknown { parent } => new.push(NewShard { shard, parent: parent.as_ref(), to, read_until, counts }),
            Begin::At(from) => moves.push(Move { shard, from, to, read_until, counts }),
        }
        if step.is_forgotten {
            forgotten.push(shard);
        }
    }
    // I2: a shard that is there already, or stands elsewhere, makes the count smaller.
    if !new.is_empty() && session.register(lane, &new).await? != new.len() as u64 {
        return Err(CommitFault::Fenced);
    }
    if !moves.is_empty() && session.advance(lane, &moves).await? != moves.len() as u64 {
        return Err(CommitFault::Fenced);
    }
    if !forgotten.is_empty() && session.forget(lane, &forgotten).await? != forgotten.len() as u64 {
        return Err(CommitFault::Fenced);
    }
    Ok(held)
}

/// Who holds the lane now, after a fence that did not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holder {
    /// The owner that asks.
    Us,
    /// Another owner: the pipeline was taken over.
    Another,
    /// An owner from before us: the store forgot our claim.
    Older,
    /// The lane's row is gone.
    Nobody,
}

/// The failure for a lane that was fenced.
pub(crate) fn fenced(lane: &LaneIdentity, holder: Holder) -> Failure {
    let pipeline = &lane.pipeline.name;
    let place = lane.place();
    match holder {
        Holder::Us => Failure::Reopen(Trouble::new(
            TroubleKind::Runtime,
            "sink.step_refused",
            format!(
                "lane {} of pipeline \"{pipeline}\" found another stored position than expected on Postgres at {place}: \
                 an earlier commit was not kept, or this one came twice; nothing was written",
                lane.number
            ),
        )),
        Holder::Another => Failure::Halt(
            Trouble::new(
                TroubleKind::Replaced,
                "sink.taken_over",
                format!(
                    "another process took over pipeline \"{pipeline}\" on Postgres at {place}; this one wrote nothing \
                     after that"
                ),
            )
            .advise("give this pipeline another name if it is meant to be another"),
        ),
        Holder::Older => Failure::Halt(
            Trouble::new(
                TroubleKind::ClaimLost,
                "sink.claim_lost",
                format!(
                    "Postgres at {place} has lost our claim of pipeline \"{pipeline}\" and knows an owner from before, as \
                     after a fail-over to a standby that was behind"
                ),
            )
            .advise("start again"),
        ),
        Holder::Nobody => Failure::Halt(
            Trouble::new(
                TroubleKind::DataAtRisk,
                "sink.progress_missing",
                format!(
                    "the progress of pipeline \"{pipeline}\" is gone from Postgres at {place}: tailwater.lanes has no row \
                     for lane {}",
                    lane.number
                ),
            )
            .advise("restore the schema tailwater together with the data; another start says how to go on without it"),
        ),
    }
}

/// Reads a stored position.
pub(crate) fn read_position(stored: &str) -> Result<Position, Trouble> {
    Position::parse(stored).map_err(|fault| {
        Trouble::new(
            TroubleKind::DataAtRisk,
            "sink.progress_unreadable",
            format!("tailwater.shards holds a position that cannot be read: {fault}"),
        )
        .advise("somebody changed the table: restore it from a backup together with the data")
    })
}
