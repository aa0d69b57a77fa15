//! The first statements of every transaction: nothing is written unless the lane is still ours and every shard stands
//! where the group begins.

use tailwater_model::{Failure, Position, ShardId, Trouble, TroubleKind};

use crate::lane::LaneIdentity;
use crate::prepare::{Begin, ShardStep, Work};
use crate::session::{Session, SqlFault};

/// Why a group was not written.
#[derive(Debug)]
pub(crate) enum CommitFault {
    Sql(SqlFault),
    /// The stored owner, epoch or position is not the expected one: rolled back.
    Fenced,
}

impl From<SqlFault> for CommitFault {
    fn from(fault: SqlFault) -> Self {
        Self::Sql(fault)
    }
}

const LANE_SQL: &str = "
update tailwater.lanes set committed_at = now()
where pipeline = $1 and lane = $2 and epoch = $3 and owner = $4::uuid";

const REGISTER_SQL: &str = "
insert into tailwater.shards
    (pipeline, stream_arn, lane, shard, parent, position, read, written, filtered, dead_lettered, suppressed)
select $1, $2, $3, step.*
from unnest($4::text[], $5::text[], $6::text[], $7::int8[], $8::int8[], $9::int8[], $10::int8[], $11::int8[]) as step
on conflict do nothing";

const ADVANCE_SQL: &str = "
update tailwater.shards as stored set position = step.ends, updated_at = now(),
    read = stored.read + step.read, written = stored.written + step.written,
    filtered = stored.filtered + step.filtered, dead_lettered = stored.dead_lettered + step.dead_lettered,
    suppressed = stored.suppressed + step.suppressed
from unnest($4::text[], $5::text[], $6::text[], $7::int8[], $8::int8[], $9::int8[], $10::int8[], $11::int8[])
    as step (shard, begins, ends, read, written, filtered, dead_lettered, suppressed)
where stored.pipeline = $1 and stored.stream_arn = $2 and stored.lane = $3
    and stored.shard = step.shard and stored.position = step.begins";

/// Takes the lane's row under our epoch and moves the shards. It holds the lane's row until the commit, so whoever bumps
/// the epoch waits for this transaction or comes before it.
pub(crate) async fn fence(
    session: &mut Session,
    lane: &LaneIdentity,
    epoch: i64,
    work: &Work,
) -> Result<(), CommitFault> {
    let query = sqlx::query(LANE_SQL).bind(&lane.pipeline.name).bind(lane.number).bind(epoch).bind(&lane.owner);
    if session.execute(query).await? != 1 {
        return Err(CommitFault::Fenced); // I2: another epoch or owner.
    }
    let mut moves = Steps::default();
    let mut registrations = Steps::default();
    for (shard, step) in &work.steps {
        match &step.begin {
            Begin::At(position) => moves.push(shard, Some(position.to_string()), step),
            Begin::Unknown { parent } => {
                registrations.push(shard, parent.as_ref().map(|parent| parent.as_str().to_owned()), step);
            }
        }
    }
    registrations.apply(session, lane, REGISTER_SQL).await?;
    moves.apply(session, lane, ADVANCE_SQL).await
}

/// Corrects the accounting of shards whose rows were refused after the fence had counted them as written.
pub(crate) async fn recount(session: &mut Session, lane: &LaneIdentity, refused: &[&ShardId]) -> Result<(), SqlFault> {
    let shards: Vec<&str> = refused.iter().map(|shard| shard.as_str()).collect();
    // I9
    let query = sqlx::query(
        "update tailwater.shards as stored \
         set written = stored.written - refused.count, dead_lettered = stored.dead_lettered + refused.count \
         from (select shard, count(*) from unnest($3::text[]) as one (shard) group by shard) as refused \
         where stored.pipeline = $1 and stored.stream_arn = $2 and stored.shard = refused.shard",
    )
    .bind(&lane.pipeline.name)
    .bind(&lane.pipeline.stream.stream_arn)
    .bind(shards);
    session.execute(query).await.map(drop)
}

/// Steps as arrays.
#[derive(Default)]
struct Steps {
    shards: Vec<String>,
    /// The parent of a registration, the expected position of a move.
    begins: Vec<Option<String>>,
    ends: Vec<String>,
    counts: [Vec<i64>; 5],
}

impl Steps {
    fn push(&mut self, shard: &ShardId, begins: Option<String>, step: &ShardStep) {
        let counts = step.counts;
        if !counts.balance() {
            tracing::error!(%shard, ?counts, "records read are not all accounted for (I9): please report this");
        }
        self.shards.push(shard.as_str().to_owned());
        self.begins.push(begins);
        self.ends.push(step.to.to_string());
        let figures = [counts.read, counts.written, counts.filtered, counts.dead_lettered, counts.suppressed];
        for (column, figure) in self.counts.iter_mut().zip(figures) {
            column.push(i64::try_from(figure).unwrap_or(i64::MAX));
        }
    }

    async fn apply(self, session: &mut Session, lane: &LaneIdentity, sql: &'static str) -> Result<(), CommitFault> {
        if self.shards.is_empty() {
            return Ok(());
        }
        let expected = self.shards.len() as u64;
        let query = sqlx::query(sql)
            .bind(&lane.pipeline.name)
            .bind(&lane.pipeline.stream.stream_arn)
            .bind(lane.number)
            .bind(self.shards)
            .bind(self.begins)
            .bind(self.ends);
        let query = self.counts.into_iter().fold(query, |query, column| query.bind(column));
        // I2: a shard that stands elsewhere, or is there already, makes the count smaller.
        if session.execute(query).await? == expected { Ok(()) } else { Err(CommitFault::Fenced) }
    }
}

/// Who holds the lane now, after a fence that did not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Holder {
    Us,
    Another,
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
            "sink.position_mismatch",
            format!(
                "lane {} of pipeline \"{pipeline}\" found another stored position than expected on Postgres at {place}: \
                 an earlier commit was not kept, or this one came twice; nothing was written",
                lane.number
            ),
        )),
        Holder::Another => Failure::Halt(
            Trouble::new(
                TroubleKind::Runtime,
                "sink.taken_over",
                format!(
                    "another process took over pipeline \"{pipeline}\" on Postgres at {place}; this one wrote nothing \
                     after that and stops"
                ),
            )
            .advise("run each pipeline once, or give this one another name if it is meant to be another"),
        ),
        Holder::Nobody => Failure::Halt(
            Trouble::new(
                TroubleKind::Environment,
                "sink.progress_missing",
                format!(
                    "the progress of pipeline \"{pipeline}\" is gone from Postgres at {place}: tailwater.lanes has no row \
                     for lane {}",
                    lane.number
                ),
            )
            .advise("restore the schema tailwater together with the data; starting again without it begins anew"),
        ),
    }
}

/// Reads a stored position.
pub(crate) fn read_position(stored: &str) -> Result<Position, Trouble> {
    Position::parse(stored).map_err(|fault| {
        Trouble::new(
            TroubleKind::Environment,
            "sink.progress_unreadable",
            format!("tailwater.shards holds a position that cannot be read: {fault}"),
        )
        .advise("somebody changed the table: restore it from a backup together with the data")
    })
}
