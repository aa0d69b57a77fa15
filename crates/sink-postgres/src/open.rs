//! Opening a lane: the epoch is bumped first, which waits for a commit that is still in flight, and only then is the
//! progress read. So the answer is the truth, whatever became of the last commit (I7).

use tailwater_model::{
    DeleteMode, Failure, KeySchema, Misfit, PreviousStream, Progress, Trouble, TroubleKind, least_read_until,
};

use crate::fence::fenced;
use crate::lane::LaneIdentity;
use crate::session::SqlFault;
use crate::statements::{Statements, Unready, WriteAccess};

/// What went wrong while opening.
enum OpenFault {
    Sql(SqlFault),
    Failure(Failure),
}

impl From<SqlFault> for OpenFault {
    fn from(fault: SqlFault) -> Self {
        Self::Sql(fault)
    }
}

impl From<Unready> for OpenFault {
    fn from(fault: Unready) -> Self {
        match fault {
            Unready::Sql(fault) => Self::Sql(fault),
            Unready::Told(trouble) => Self::Failure(Failure::Halt(trouble)),
        }
    }
}

/// A server that takes no writes, as after a fail-over to a standby.
pub(crate) fn read_only_trouble(access: WriteAccess, place: &str) -> Option<Trouble> {
    let why = match access {
        WriteAccess::Standby => "is a standby",
        WriteAccess::ReadOnly => "is set to read-only transactions",
        WriteAccess::Writable => return None,
    };
    Some(
        Trouble::new(
            TroubleKind::Environment,
            "sink.postgres.read_only",
            format!("Postgres at {place} {why}, so nothing can be written"),
        )
        .advise("lead the URL to the primary, or correct default_transaction_read_only"),
    )
}

/// Takes the lane under a new epoch, looks at the mirror table, and reads what is durable.
pub(crate) async fn open<S: Statements>(
    session: &mut S,
    lane: &LaneIdentity,
    table: (&KeySchema, DeleteMode),
) -> Result<(i64, Progress), Failure> {
    match try_open(session, lane, table).await {
        Ok(opened) => Ok(opened),
        Err(OpenFault::Failure(failure)) => Err(failure),
        Err(OpenFault::Sql(fault)) => Err(fault.failure(&lane.doing("opening"), lane.place())),
    }
}

async fn try_open<S: Statements>(
    session: &mut S,
    lane: &LaneIdentity,
    table: (&KeySchema, DeleteMode),
) -> Result<(i64, Progress), OpenFault> {
    session.begin().await?;
    if let Some(trouble) = read_only_trouble(session.write_access().await?, lane.place()) {
        return Err(OpenFault::Failure(Failure::Reopen(trouble)));
    }
    let Some(epoch) = session.bump_epoch(lane).await? else {
        let holder = session.holder(lane).await?;
        return Err(OpenFault::Failure(fenced(lane, holder)));
    };
    check_target(session, lane, table).await?;
    let progress = read_progress(session, lane).await?;
    session.commit().await?;
    Ok((epoch, progress))
}

/// I11: the table is the one that the progress is bound to, has what was written to it, and would have it after a crash. One that is
/// missing may be made again for a moment: that is borne for a while, and then it is another one.
async fn check_target<S: Statements>(
    session: &mut S,
    lane: &LaneIdentity,
    (keys, delete): (&KeySchema, DeleteMode),
) -> Result<(), OpenFault> {
    let target = session.target_facts(&lane.pipeline, keys, delete).await?;
    match target.loss() {
        Some(Misfit::Missing) => {
            let message = lane.doing("opening") + &format!(": the table {} is missing", target.wanted.target);
            let trouble = Trouble::new(TroubleKind::Environment, "sink.postgres.object_missing", message);
            Err(Unready::Told(trouble.advise("restore it; another start says how to go on, with it or without it"))
                .into())
        }
        Some(misfit) => Err(OpenFault::Failure(Failure::Halt(target.loss_trouble(misfit)))),
        // It is there, so it is compared.
        None => Ok(session.make_target(&lane.pipeline).await?),
    }
}

async fn read_progress<S: Statements>(session: &mut S, lane: &LaneIdentity) -> Result<Progress, OpenFault> {
    let unreadable = |trouble| OpenFault::Failure(Failure::Halt(trouble));
    let shards = session.stored_shards(lane).await?.map_err(unreadable)?;
    let Some(stream) = session.stored_stream(lane).await? else {
        return Ok(Progress { shards, ..Progress::default() });
    };
    let previous_stream = match stream.previous_stream {
        Some(stream_arn) => {
            let shards = session.stored_shards_of(&lane.pipeline.name, &stream_arn).await?.map_err(unreadable)?;
            let read_until = least_read_until(&shards);
            Some(PreviousStream { stream_arn, read_until, is_of_another_table: stream.is_of_another_table })
        }
        None => None,
    };
    Ok(Progress { shards, first_listing: stream.first_listing, previous_stream })
}
