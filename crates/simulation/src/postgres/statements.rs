//! The model behind the statements of the sink.

use std::sync::Arc;

use tailwater_model::{
    Binding, Brake, Counts, DeadLetter, DeleteMode, FirstListing, Gap, Key, KeySchema, PipelineIdentity, Position,
    ServiceTime, ShardId, ShardProgress, TargetFacts, Trouble, TroubleKind,
};
use tailwater_sink_postgres::{
    Answer, HeldLane, Holder, LaneIdentity, Move, NewShard, Row, SqlFault, Statements, StoredOwner, StoredStream,
    Unready, WriteAccess, storable,
};

use super::backend::Command;
use super::executing::Executing;
use super::mirror_sql::{self, Document};
use super::owner_sql;
use super::progress_sql::{self, GapToStore, LaneOfStream, ShardStep};
use super::rows::{DeadLetterRow, GapRow, StoredCounts};
use super::session::{ModelSession, SessionFault};
use super::sql_error::SqlError;
use super::stream_sql;
use super::target_sql;

/// The savepoint around a part of the rows.
const PART: &str = "part";
/// The advisory lock of everybody who claims. Any number does.
const CLAIM_LOCK: i64 = 1;
/// That of lanes with dead letters, for all pipelines: some wait that need not. Any other number does.
const DEAD_LETTERS_LOCK: i64 = 2;

/// A connection of the sink to a mirror table.
#[derive(Debug)]
pub struct ModelStatements {
    pub(super) session: ModelSession,
    pub(super) table: Arc<str>,
}

pub(super) fn fault(found: SessionFault) -> SqlFault {
    match found {
        SessionFault::Sql(SqlError { state, message }) => SqlFault::Coded { state: state.to_owned(), message },
        SessionFault::Lost => SqlFault::connection_lost(),
        SessionFault::NoAnswer(waited) => SqlFault::NoAnswer(waited),
    }
}

impl ModelStatements {
    async fn command(&mut self, command: Command) -> Answer<()> {
        self.session.command(command).await.map_err(fault)
    }

    async fn read<T, Work, Running>(&mut self, work: Work) -> Answer<T>
    where
        T: Send + 'static,
        Work: FnOnce(Executing) -> Running + Send + 'static,
        Running: Future<Output = Result<T, SqlError>> + Send + 'static,
    {
        self.session.run(false, work).await.map_err(fault)
    }

    async fn write<T, Work, Running>(&mut self, work: Work) -> Answer<T>
    where
        T: Send + 'static,
        Work: FnOnce(Executing) -> Running + Send + 'static,
        Running: Future<Output = Result<T, SqlError>> + Send + 'static,
    {
        self.session.run(true, work).await.map_err(fault)
    }

    async fn put(&mut self, rows: &[&Row], document: Document) -> Answer<u64> {
        let (table, rows) = (Arc::clone(&self.table), rows.iter().map(|row| mirror_sql::row_to_write(row)).collect());
        self.write(move |sql| async move { mirror_sql::upsert_rows(&sql, &table, rows, document).await }).await
    }
}

fn lane_of(lane: &LaneIdentity) -> LaneOfStream {
    let LaneOfStream { pipeline, stream_arn, .. } = stream_of(lane.pipeline());
    LaneOfStream { pipeline, stream_arn, lane: lane.number() }
}

fn stream_of(identity: &PipelineIdentity) -> LaneOfStream {
    LaneOfStream { pipeline: identity.name.clone(), stream_arn: identity.stream.stream_arn.clone(), lane: 0 }
}

fn stored_counts(counts: Counts) -> StoredCounts {
    let figure = |figure: u64| i64::try_from(figure).unwrap_or(i64::MAX);
    StoredCounts {
        read: figure(counts.read),
        written: figure(counts.written),
        filtered: figure(counts.filtered),
        dead_lettered: figure(counts.dead_lettered),
        suppressed: figure(counts.suppressed),
    }
}

fn progress((shard, row): (String, super::rows::ShardRow)) -> Result<ShardProgress, Trouble> {
    let position = Position::parse(&row.position)
        .map_err(|fault| Trouble::new(TroubleKind::DataAtRisk, "sink.progress_unreadable", fault.to_string()))?;
    let (parent, read_until) = (row.parent.as_deref().map(ShardId::new), row.read_until_ms.map(ServiceTime::from_ms));
    Ok(ShardProgress { shard: ShardId::new(&shard), parent, position, read_until })
}

impl Statements for ModelStatements {
    async fn begin(&mut self) -> Answer<()> {
        self.command(Command::Begin).await
    }

    async fn commit(&mut self) -> Answer<()> {
        self.command(Command::Commit).await
    }

    async fn rollback(&mut self) -> Answer<()> {
        self.command(Command::Rollback).await
    }

    async fn savepoint(&mut self) -> Answer<()> {
        self.command(Command::Savepoint(PART)).await
    }

    async fn release(&mut self) -> Answer<()> {
        self.command(Command::ReleaseSavepoint(PART)).await
    }

    async fn rollback_to(&mut self) -> Answer<()> {
        self.command(Command::RollbackTo(PART)).await?;
        self.command(Command::ReleaseSavepoint(PART)).await
    }

    async fn constraints_immediate(&mut self) -> Answer<()> {
        // The model has no deferred constraints.
        self.read(|_| async { Ok(()) }).await
    }

    async fn write_access(&mut self) -> Answer<WriteAccess> {
        self.read(|sql| async move { Ok(if sql.read_only() { WriteAccess::Standby } else { WriteAccess::Writable }) })
            .await
    }

    async fn bump_epoch(&mut self, lane: &LaneIdentity) -> Answer<Option<i64>> {
        let (pipeline, number, owner) = (lane.pipeline().name.clone(), lane.number(), lane.owner().to_owned());
        self.write(move |sql| async move { progress_sql::bump_epoch(&sql, &pipeline, number, &owner).await }).await
    }

    async fn holder(&mut self, lane: &LaneIdentity) -> Answer<Holder> {
        let (pipeline, number, owner) = (lane.pipeline().name.clone(), lane.number(), lane.owner().to_owned());
        let claim = lane.claim();
        self.read(move |sql| async move { Ok(owner_sql::holder(&sql, &pipeline, number, &owner, claim)) }).await
    }

    async fn stored_shards(&mut self, lane: &LaneIdentity) -> Answer<Result<Vec<ShardProgress>, Trouble>> {
        let of = lane_of(lane);
        let stored = self.read(move |sql| async move { Ok(progress_sql::shards_of_lane(&sql, &of)) }).await?;
        Ok(stored.into_iter().map(progress).collect())
    }

    async fn stored_shards_of(
        &mut self,
        pipeline: &str,
        stream_arn: &str,
    ) -> Answer<Result<Vec<ShardProgress>, Trouble>> {
        let (pipeline, stream_arn) = (pipeline.to_owned(), stream_arn.to_owned());
        let look = move |sql| async move { Ok(progress_sql::shards_of_stream(&sql, &pipeline, &stream_arn)) };
        Ok(self.read(look).await?.into_iter().map(progress).collect())
    }

    async fn stored_stream(&mut self, lane: &LaneIdentity) -> Answer<Option<StoredStream>> {
        let of = lane_of(lane);
        let look = move |sql| async move { Ok(stream_sql::read_stream(&sql, &of.pipeline, &of.stream_arn)) };
        self.read(look).await
    }

    async fn hold_lane(&mut self, lane: &LaneIdentity, epoch: i64) -> Answer<Option<HeldLane>> {
        let (pipeline, number, owner) = (lane.pipeline().name.clone(), lane.number(), lane.owner().to_owned());
        let table = Arc::clone(&self.table);
        self.write(move |sql| async move {
            let is_held = progress_sql::fence_lane(&sql, &pipeline, number, epoch, &owner).await?;
            Ok(is_held.then(|| target_sql::held_lane(&sql, &table, &pipeline)))
        })
        .await
    }

    async fn register(&mut self, lane: &LaneIdentity, shards: &[NewShard<'_>]) -> Answer<u64> {
        let step = |new: &NewShard<'_>| ShardStep {
            shard: new.shard.to_string(),
            begins: new.parent.map(ShardId::to_string),
            ends: new.to.to_string(),
            read_until_ms: new.read_until.map(ServiceTime::ms),
            counts: stored_counts(new.counts),
        };
        let (of, steps) = (lane_of(lane), shards.iter().map(step).collect());
        self.write(move |sql| async move { progress_sql::register_shards(&sql, &of, steps).await }).await
    }

    async fn advance(&mut self, lane: &LaneIdentity, moves: &[Move<'_>]) -> Answer<u64> {
        let step = |one: &Move<'_>| ShardStep {
            shard: one.shard.to_string(),
            begins: Some(one.from.to_string()),
            ends: one.to.to_string(),
            read_until_ms: one.read_until.map(ServiceTime::ms),
            counts: stored_counts(one.counts),
        };
        let (of, steps) = (lane_of(lane), moves.iter().map(step).collect());
        self.write(move |sql| async move { progress_sql::advance_shards(&sql, &of, steps).await }).await
    }

    async fn forget(&mut self, lane: &LaneIdentity, shards: &[&ShardId]) -> Answer<u64> {
        let (of, end) = (lane_of(lane), Position::End.to_string());
        let shards = shards.iter().map(ToString::to_string).collect();
        self.write(move |sql| async move { progress_sql::forget_shards(&sql, &of, shards, &end).await }).await
    }

    async fn recount(&mut self, lane: &LaneIdentity, refused: &[&ShardId]) -> Answer<()> {
        let (of, refused) = (lane_of(lane), refused.iter().map(ToString::to_string).collect());
        let recount =
            move |sql| async move { progress_sql::recount_refused(&sql, &of.pipeline, &of.stream_arn, refused).await };
        self.write(recount).await
    }

    async fn upsert(&mut self, rows: &[&Row]) -> Answer<u64> {
        self.put(rows, Document::Replaced).await
    }

    async fn mark(&mut self, rows: &[&Row]) -> Answer<u64> {
        self.put(rows, Document::Kept).await
    }

    async fn remove(&mut self, rows: &[&Row]) -> Answer<u64> {
        let (table, keys): (_, Vec<Key>) = (Arc::clone(&self.table), rows.iter().map(|row| row.key.clone()).collect());
        self.write(move |sql| async move { mirror_sql::remove_rows(&sql, &table, keys).await }).await
    }

    async fn lock_dead_letters(&mut self, _lane: &LaneIdentity) -> Answer<()> {
        self.write(|sql| async move { progress_sql::advisory_lock(&sql, DEAD_LETTERS_LOCK).await }).await
    }

    async fn recent_dead_letters(&mut self, lane: &LaneIdentity) -> Answer<u64> {
        let pipeline = lane.pipeline().name.clone();
        self.read(move |sql| async move { Ok(progress_sql::recent_dead_letters(&sql, &pipeline)) }).await
    }

    async fn store_dead_letters(&mut self, lane: &LaneIdentity, letters: &[DeadLetter]) -> Answer<()> {
        let of = lane_of(lane);
        let row = |letter: &DeadLetter| DeadLetterRow {
            pipeline: of.pipeline.clone(),
            stream_arn: of.stream_arn.clone(),
            shard: storable(letter.shard.as_str()),
            sequence_number: storable(letter.sequence_number.as_str()),
            event_id: storable(&letter.event_id),
            code: storable(letter.code),
            error: storable(&letter.error),
            record: storable(&letter.record),
            // The server's, when it stores it.
            stored_at_ms: 0,
        };
        let letters = letters.iter().map(row).collect();
        self.write(move |sql| async move { progress_sql::store_dead_letters(&sql, letters).await }).await
    }

    async fn store_gaps(&mut self, lane: &LaneIdentity, gaps: &[Gap]) -> Answer<()> {
        let of = lane_of(lane);
        let row = |gap: &Gap| GapToStore {
            shard: gap.shard.as_ref().map(ToString::to_string),
            cause: gap.cause.as_str().to_owned(),
            after: gap.after.to_string(),
            since_ms: gap.since.map(ServiceTime::ms),
            row: GapRow { until_ms: gap.until.ms(), detail: storable(&gap.detail), stopped: gap.stop },
        };
        let gaps = gaps.iter().map(row).collect();
        let store = move |sql| async move { progress_sql::store_gaps(&sql, &of.pipeline, &of.stream_arn, gaps).await };
        self.write(store).await
    }

    async fn raise_sequences(&mut self) -> Answer<()> {
        // The model's numbers are never behind.
        self.read(|_| async { Ok(()) }).await
    }

    async fn store_first_listing(&mut self, lane: &LaneIdentity, listing: FirstListing) -> Answer<()> {
        let of = lane_of(lane);
        let store = move |sql| async move {
            stream_sql::store_first_listing(&sql, &of.pipeline, &of.stream_arn, listing).await
        };
        self.write(store).await
    }

    async fn forget_other_streams(&mut self, lane: &LaneIdentity) -> Answer<()> {
        let (of, table) = (lane_of(lane), lane.pipeline().stream.table.clone());
        let forget = move |sql| async move {
            stream_sql::forget_other_streams(&sql, &of.pipeline, &of.stream_arn, &table).await
        };
        self.write(forget).await
    }

    async fn prepare(&mut self) -> Result<(), Unready> {
        // The schema is always there; what is left of making it ready is the order of those who do.
        let locked = self.write(|sql| async move { progress_sql::advisory_lock(&sql, CLAIM_LOCK).await });
        locked.await.map_err(Unready::Sql)
    }

    async fn target_facts(
        &mut self,
        identity: &PipelineIdentity,
        keys: &KeySchema,
        delete: DeleteMode,
    ) -> Result<TargetFacts, Unready> {
        let (table, pipeline) = (Arc::clone(&self.table), identity.name.clone());
        let wanted = Binding::new(&*self.table, identity, keys);
        let look = move |sql| async move { Ok(target_sql::target_facts(&sql, &table, &pipeline, (wanted, delete))) };
        self.read(look).await.map_err(Unready::Sql)
    }

    async fn make_target(&mut self, _identity: &PipelineIdentity) -> Result<(), Unready> {
        let table = Arc::clone(&self.table);
        let make = move |sql| async move {
            target_sql::make_target(&sql, &table);
            Ok(())
        };
        self.write(make).await.map_err(Unready::Sql)
    }

    async fn bind(&mut self, pipeline: &str, binding: &Binding, is_written: bool) -> Answer<()> {
        let (table, pipeline, bound) = (Arc::clone(&self.table), pipeline.to_owned(), (binding.clone(), is_written));
        self.write(move |sql| async move { target_sql::bind(&sql, &table, &pipeline, bound).await }).await
    }

    async fn confirm(&mut self, pipeline: &str, is_written: bool) -> Answer<()> {
        let pipeline = pipeline.to_owned();
        self.write(move |sql| async move { target_sql::confirm(&sql, &pipeline, is_written).await }).await
    }

    async fn mark_begun(&mut self, lane: &LaneIdentity, is_written: bool) -> Answer<()> {
        let pipeline = lane.pipeline().name.clone();
        self.write(move |sql| async move { target_sql::mark_begun(&sql, &pipeline, is_written).await }).await
    }

    async fn leave_salt(&mut self, pipeline: &str) -> Answer<String> {
        let pipeline = pipeline.to_owned();
        self.write(move |sql| async move { target_sql::leave_salt(&sql, &pipeline).await }).await
    }

    async fn lane_count(&mut self, pipeline: &str) -> Answer<i64> {
        let pipeline = pipeline.to_owned();
        self.read(move |sql| async move { Ok(progress_sql::count_lanes(&sql, &pipeline)) }).await
    }

    async fn new_owner(&mut self) -> Answer<String> {
        self.read(|sql| async move { Ok(sql.with(|state| format!("{:032x}", state.chance.rng.u128(..)))) }).await
    }

    async fn take_lanes(&mut self, pipeline: &str, lanes: i32, owner: &str) -> Answer<()> {
        let (pipeline, owner) = (pipeline.to_owned(), owner.to_owned());
        self.write(move |sql| async move { progress_sql::take_lanes(&sql, &pipeline, lanes, &owner).await }).await
    }

    async fn own(&mut self, pipeline: &str, owner: &str) -> Answer<i64> {
        let (pipeline, owner) = (pipeline.to_owned(), owner.to_owned());
        self.write(move |sql| async move { owner_sql::own(&sql, &pipeline, &owner).await }).await
    }

    async fn show_life(&mut self, lane: &LaneIdentity) -> Answer<bool> {
        let (pipeline, owner) = (lane.pipeline().name.clone(), lane.owner().to_owned());
        self.write(move |sql| async move { owner_sql::show_life(&sql, &pipeline, &owner).await }).await
    }

    async fn owner(&mut self, pipeline: &str) -> Answer<Option<StoredOwner>> {
        let pipeline = pipeline.to_owned();
        self.read(move |sql| async move { Ok(owner_sql::stored_owner(&sql, &pipeline)) }).await
    }

    async fn hand_over(&mut self, lane: &LaneIdentity) -> Answer<()> {
        let (pipeline, owner) = (lane.pipeline().name.clone(), lane.owner().to_owned());
        self.write(move |sql| async move { owner_sql::hand_over(&sql, &pipeline, &owner).await }).await
    }

    async fn store_brake(&mut self, lane: &LaneIdentity, epoch: i64, per_minute_max: u32) -> Answer<u64> {
        let (pipeline, number, owner) = (lane.pipeline().name.clone(), lane.number(), lane.owner().to_owned());
        let store = move |sql| async move {
            progress_sql::store_brake(&sql, (&pipeline, number), epoch, &owner, per_minute_max).await
        };
        self.write(store).await.map(u64::from)
    }

    async fn lift_brakes(&mut self, pipeline: &str, per_minute_max: u32) -> Answer<Option<Brake>> {
        let pipeline = pipeline.to_owned();
        let lift = move |sql| async move { progress_sql::lift_brakes(&sql, &pipeline, per_minute_max).await };
        let brake = self.write(lift).await?;
        Ok(brake.map(|(per_minute_max, at_ms)| Brake { per_minute_max, since: format!("{at_ms} ms") }))
    }

    async fn add_stream(&mut self, identity: &PipelineIdentity) -> Answer<()> {
        let (of, stream) = (stream_of(identity), identity.stream.clone());
        let add = move |sql| async move {
            stream_sql::store_stream(&sql, &of.pipeline, &of.stream_arn, &stream.table, &stream.table_id).await
        };
        self.write(add).await
    }
}
