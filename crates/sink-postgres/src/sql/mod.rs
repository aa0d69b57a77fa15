//! PostgreSQL itself behind the statements: the SQL, and sqlx.

mod aside;
mod lanes;
mod moment;
mod owners;
mod ready;
mod rows;
mod shards;
mod streams;
mod targets;

use std::sync::Arc;

use tailwater_model::{
    Binding, Brake, DeadLetter, DeleteMode, FirstListing, Gap, KeySchema, PipelineIdentity, ShardId, ShardProgress,
    TargetFacts, Trouble,
};

pub(crate) use self::moment::moment;
use crate::connect::{Address, address};
use crate::fence::Holder;
use crate::lane::LaneIdentity;
use crate::mirror_table::MirrorTable;
use crate::prepare::Row;
use crate::session::Session;
use crate::settings::PostgresSettings;
use crate::statements::{
    Answer, HeldLane, Move, NewShard, Server, Statements, StoredOwner, StoredStream, Unready, WriteAccess,
};
use crate::transaction::Mode;

/// A PostgreSQL server, reached through sqlx. Knows the password, so it has no `Debug`.
pub struct PostgresServer {
    settings: PostgresSettings,
    address: Address,
    table: Arc<MirrorTable>,
}

/// A connection to it.
#[derive(Debug)]
pub struct PostgresSession {
    session: Session,
    table: Arc<MirrorTable>,
    place: Arc<str>,
}

impl PostgresServer {
    /// Checks address and names; connects to nobody.
    pub(crate) fn new(settings: &PostgresSettings, keys: &KeySchema) -> Result<Self, Trouble> {
        let address = address(settings)?;
        let table = Arc::new(MirrorTable::new(settings, keys)?);
        Ok(Self { settings: settings.clone(), address, table })
    }
}

impl Server for PostgresServer {
    type Session = PostgresSession;

    fn place(&self) -> &str {
        &self.address.place
    }

    async fn connect(&self, pipeline: &str, role: &str) -> Answer<PostgresSession> {
        let session = self.address.connect(&self.settings, pipeline, role).await?;
        Ok(PostgresSession { session, table: Arc::clone(&self.table), place: self.address.place.as_str().into() })
    }
}

impl Statements for PostgresSession {
    async fn begin(&mut self) -> Answer<()> {
        self.session.begin(Mode::Write);
        Ok(())
    }

    async fn commit(&mut self) -> Answer<()> {
        self.session.commit().await
    }

    async fn rollback(&mut self) -> Answer<()> {
        self.session.rollback().await
    }

    async fn savepoint(&mut self) -> Answer<()> {
        self.session.run("savepoint part").await
    }

    async fn release(&mut self) -> Answer<()> {
        self.session.run("release savepoint part").await
    }

    async fn rollback_to(&mut self) -> Answer<()> {
        self.session.run("rollback to savepoint part; release savepoint part").await
    }

    async fn constraints_immediate(&mut self) -> Answer<()> {
        self.session.run("set constraints all immediate").await
    }

    async fn write_access(&mut self) -> Answer<WriteAccess> {
        lanes::write_access(&mut self.session).await
    }

    async fn bump_epoch(&mut self, lane: &LaneIdentity) -> Answer<Option<i64>> {
        lanes::bump_epoch(&mut self.session, lane).await
    }

    async fn holder(&mut self, lane: &LaneIdentity) -> Answer<Holder> {
        lanes::holder(&mut self.session, lane).await
    }

    async fn stored_shards(&mut self, lane: &LaneIdentity) -> Answer<Result<Vec<ShardProgress>, Trouble>> {
        let (pipeline, stream) = (&lane.pipeline.name, &lane.pipeline.stream.stream_arn);
        shards::stored_shards(&mut self.session, pipeline, stream, Some(lane.number)).await
    }

    async fn stored_shards_of(
        &mut self,
        pipeline: &str,
        stream_arn: &str,
    ) -> Answer<Result<Vec<ShardProgress>, Trouble>> {
        shards::stored_shards(&mut self.session, pipeline, stream_arn, None).await
    }

    async fn stored_stream(&mut self, lane: &LaneIdentity) -> Answer<Option<StoredStream>> {
        streams::stored_stream(&mut self.session, lane).await
    }

    async fn hold_lane(&mut self, lane: &LaneIdentity, epoch: i64) -> Answer<Option<HeldLane>> {
        lanes::hold_lane(&mut self.session, &self.table, lane, epoch).await
    }

    async fn register(&mut self, lane: &LaneIdentity, shards: &[NewShard<'_>]) -> Answer<u64> {
        shards::register(&mut self.session, lane, shards).await
    }

    async fn advance(&mut self, lane: &LaneIdentity, moves: &[Move<'_>]) -> Answer<u64> {
        shards::advance(&mut self.session, lane, moves).await
    }

    async fn forget(&mut self, lane: &LaneIdentity, shards: &[&ShardId]) -> Answer<u64> {
        shards::forget(&mut self.session, lane, shards).await
    }

    async fn recount(&mut self, lane: &LaneIdentity, refused: &[&ShardId]) -> Answer<()> {
        shards::recount(&mut self.session, lane, refused).await
    }

    async fn upsert(&mut self, rows: &[&Row]) -> Answer<u64> {
        rows::upsert(&mut self.session, &self.table, rows).await
    }

    async fn mark(&mut self, rows: &[&Row]) -> Answer<u64> {
        rows::mark(&mut self.session, &self.table, rows).await
    }

    async fn remove(&mut self, rows: &[&Row]) -> Answer<u64> {
        rows::remove(&mut self.session, &self.table, rows).await
    }

    async fn lock_dead_letters(&mut self, lane: &LaneIdentity) -> Answer<()> {
        aside::lock_dead_letters(&mut self.session, lane).await
    }

    async fn recent_dead_letters(&mut self, lane: &LaneIdentity) -> Answer<u64> {
        aside::recent_dead_letters(&mut self.session, lane).await
    }

    async fn store_dead_letters(&mut self, lane: &LaneIdentity, letters: &[DeadLetter]) -> Answer<()> {
        aside::store_dead_letters(&mut self.session, lane, letters).await
    }

    async fn store_gaps(&mut self, lane: &LaneIdentity, gaps: &[Gap]) -> Answer<()> {
        aside::store_gaps(&mut self.session, lane, gaps).await
    }

    async fn raise_sequences(&mut self) -> Answer<()> {
        aside::raise_sequences(&mut self.session).await
    }

    async fn store_first_listing(&mut self, lane: &LaneIdentity, listing: FirstListing) -> Answer<()> {
        streams::store_first_listing(&mut self.session, lane, listing).await
    }

    async fn forget_other_streams(&mut self, lane: &LaneIdentity) -> Answer<()> {
        streams::forget_other_streams(&mut self.session, lane).await
    }

    async fn lane_count(&mut self, pipeline: &str) -> Answer<i64> {
        lanes::lane_count(&mut self.session, pipeline).await
    }

    async fn new_owner(&mut self) -> Answer<String> {
        lanes::new_owner(&mut self.session).await
    }

    async fn take_lanes(&mut self, pipeline: &str, lanes: i32, owner: &str) -> Answer<()> {
        lanes::take_lanes(&mut self.session, pipeline, lanes, owner).await
    }

    async fn own(&mut self, pipeline: &str, owner: &str) -> Answer<i64> {
        owners::own(&mut self.session, pipeline, owner).await
    }

    async fn show_life(&mut self, lane: &LaneIdentity) -> Answer<bool> {
        owners::show_life(&mut self.session, lane).await
    }

    async fn owner(&mut self, pipeline: &str) -> Answer<Option<StoredOwner>> {
        owners::owner(&mut self.session, pipeline).await
    }

    async fn hand_over(&mut self, lane: &LaneIdentity) -> Answer<()> {
        owners::hand_over(&mut self.session, lane).await
    }

    async fn store_brake(&mut self, lane: &LaneIdentity, epoch: i64, per_minute_max: u32) -> Answer<u64> {
        lanes::store_brake(&mut self.session, lane, epoch, per_minute_max).await
    }

    async fn lift_brakes(&mut self, pipeline: &str, per_minute_max: u32) -> Answer<Option<Brake>> {
        lanes::lift_brakes(&mut self.session, pipeline, per_minute_max).await
    }

    async fn add_stream(&mut self, identity: &PipelineIdentity) -> Answer<()> {
        streams::add_stream(&mut self.session, identity).await
    }

    async fn prepare(&mut self) -> Result<(), Unready> {
        ready::prepare(&mut self.session, &self.place).await
    }

    async fn target_facts(
        &mut self,
        identity: &PipelineIdentity,
        keys: &KeySchema,
        delete: DeleteMode,
    ) -> Result<TargetFacts, Unready> {
        let wanted = Binding::new(self.table.place(), identity, keys);
        targets::target_facts(&mut self.session, &self.table, identity, wanted, delete).await
    }

    async fn make_target(&mut self, identity: &PipelineIdentity) -> Result<(), Unready> {
        ready::make_target(&mut self.session, &self.table, identity).await
    }

    async fn bind(&mut self, pipeline: &str, binding: &Binding, is_written: bool) -> Answer<()> {
        targets::bind(&mut self.session, &self.table, pipeline, binding, is_written).await
    }

    async fn confirm(&mut self, pipeline: &str, is_written: bool) -> Answer<()> {
        targets::confirm(&mut self.session, pipeline, is_written).await
    }

    async fn mark_begun(&mut self, lane: &LaneIdentity, is_written: bool) -> Answer<()> {
        targets::mark_begun(&mut self.session, lane, is_written).await
    }

    async fn leave_salt(&mut self, pipeline: &str) -> Answer<String> {
        targets::leave_salt(&mut self.session, pipeline).await
    }
}
