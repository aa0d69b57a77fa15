//! A Postgres that answers at once and keeps nothing: what is left is the sink's own work up to the statements' values.

use std::time::Duration;

use tailwater_model::{
    Binding, Brake, DeadLetter, DeleteMode, FirstListing, Gap, KeySchema, PipelineIdentity, ShardId, ShardProgress,
    TargetFacts, TargetState, Trouble,
};
use tailwater_sink_postgres::{
    Answer, HeldLane, Holder, LaneIdentity, MirrorLane, Move, NewShard, PostgresSettings, Row, Server, Statements,
    StoredOwner, StoredStream, TlsSettings, Unready, WriteAccess, claim_on,
};

use crate::orders;

/// The server.
pub struct NullServer;

/// A connection to it.
pub struct NullSession;

/// An open lane on such a server.
pub async fn lane() -> MirrorLane<NullServer> {
    let settings = PostgresSettings {
        url: "postgres://nowhere".into(),
        schema: "public".into(),
        table: "orders".into(),
        delete: DeleteMode::Hard,
        tls: TlsSettings::default(),
        statement_timeout: Duration::from_secs(30),
        lock_timeout: Duration::from_secs(10),
        connect_timeout: Duration::from_secs(10),
        dead_letters_per_minute_max: 1_000,
        adopt: None,
    };
    let lanes = claim_on(NullServer, &settings, &orders::identity(), &orders::keys()).await;
    lanes.expect("claimed").lanes.pop().expect("one lane")
}

impl Server for NullServer {
    type Session = NullSession;

    fn place(&self) -> &str {
        "nowhere"
    }

    async fn connect(&self, _: &str, _: &str) -> Answer<NullSession> {
        Ok(NullSession)
    }
}

impl Statements for NullSession {
    async fn begin(&mut self) -> Answer<()> {
        Ok(())
    }
    async fn commit(&mut self) -> Answer<()> {
        Ok(())
    }
    async fn rollback(&mut self) -> Answer<()> {
        Ok(())
    }
    async fn savepoint(&mut self) -> Answer<()> {
        Ok(())
    }
    async fn release(&mut self) -> Answer<()> {
        Ok(())
    }
    async fn rollback_to(&mut self) -> Answer<()> {
        Ok(())
    }
    async fn constraints_immediate(&mut self) -> Answer<()> {
        Ok(())
    }
    async fn write_access(&mut self) -> Answer<WriteAccess> {
        Ok(WriteAccess::Writable)
    }
    async fn bump_epoch(&mut self, _: &LaneIdentity) -> Answer<Option<i64>> {
        Ok(Some(1))
    }
    async fn holder(&mut self, _: &LaneIdentity) -> Answer<Holder> {
        Ok(Holder::Us)
    }
    async fn stored_shards(&mut self, _: &LaneIdentity) -> Answer<Result<Vec<ShardProgress>, Trouble>> {
        Ok(Ok(Vec::new()))
    }
    async fn stored_shards_of(&mut self, _: &str, _: &str) -> Answer<Result<Vec<ShardProgress>, Trouble>> {
        Ok(Ok(Vec::new()))
    }
    async fn stored_stream(&mut self, _: &LaneIdentity) -> Answer<Option<StoredStream>> {
        Ok(None)
    }
    async fn hold_lane(&mut self, _: &LaneIdentity, _: i64) -> Answer<Option<HeldLane>> {
        Ok(Some(HeldLane { is_another_table: false, has_begun: true, has_written: true }))
    }
    async fn register(&mut self, _: &LaneIdentity, shards: &[NewShard<'_>]) -> Answer<u64> {
        Ok(shards.len() as u64)
    }
    async fn advance(&mut self, _: &LaneIdentity, moves: &[Move<'_>]) -> Answer<u64> {
        Ok(moves.len() as u64)
    }
    async fn forget(&mut self, _: &LaneIdentity, shards: &[&ShardId]) -> Answer<u64> {
        Ok(shards.len() as u64)
    }
    async fn recount(&mut self, _: &LaneIdentity, _: &[&ShardId]) -> Answer<()> {
        Ok(())
    }
    async fn upsert(&mut self, rows: &[&Row]) -> Answer<u64> {
        Ok(rows.len() as u64)
    }
    async fn mark(&mut self, rows: &[&Row]) -> Answer<u64> {
        Ok(rows.len() as u64)
    }
    async fn remove(&mut self, _: &[&Row]) -> Answer<u64> {
        Ok(0)
    }
    async fn raise_sequences(&mut self) -> Answer<()> {
        Ok(())
    }
    async fn lock_dead_letters(&mut self, _: &LaneIdentity) -> Answer<()> {
        Ok(())
    }
    async fn recent_dead_letters(&mut self, _: &LaneIdentity) -> Answer<u64> {
        Ok(0)
    }
    async fn store_dead_letters(&mut self, _: &LaneIdentity, _: &[DeadLetter]) -> Answer<()> {
        Ok(())
    }
    async fn store_gaps(&mut self, _: &LaneIdentity, _: &[Gap]) -> Answer<()> {
        Ok(())
    }
    async fn store_first_listing(&mut self, _: &LaneIdentity, _: FirstListing) -> Answer<()> {
        Ok(())
    }
    async fn forget_other_streams(&mut self, _: &LaneIdentity) -> Answer<()> {
        Ok(())
    }
    async fn prepare(&mut self) -> Result<(), Unready> {
        Ok(())
    }
    async fn target_facts(
        &mut self,
        identity: &PipelineIdentity,
        keys: &KeySchema,
        _: DeleteMode,
    ) -> Result<TargetFacts, Unready> {
        Ok(TargetFacts {
            pipeline: identity.name.clone(),
            wanted: Binding::new("nowhere", identity, keys),
            bound: None,
            has_progress: false,
            has_begun: false,
            has_written: false,
            state: TargetState::Empty,
            is_another: false,
            is_ahead: false,
            newer_pipeline: None,
            salt: None,
        })
    }
    async fn make_target(&mut self, _: &PipelineIdentity) -> Result<(), Unready> {
        Ok(())
    }
    async fn bind(&mut self, _: &str, _: &Binding, _: bool) -> Answer<()> {
        Ok(())
    }
    async fn confirm(&mut self, _: &str, _: bool) -> Answer<()> {
        Ok(())
    }
    async fn mark_begun(&mut self, _: &LaneIdentity, _: bool) -> Answer<()> {
        Ok(())
    }
    async fn leave_salt(&mut self, _: &str) -> Answer<String> {
        Ok("salt".into())
    }
    async fn lane_count(&mut self, _: &str) -> Answer<i64> {
        Ok(0)
    }
    async fn new_owner(&mut self) -> Answer<String> {
        Ok("owner".into())
    }
    async fn take_lanes(&mut self, _: &str, _: i32, _: &str) -> Answer<()> {
        Ok(())
    }
    async fn own(&mut self, _: &str, _: &str) -> Answer<i64> {
        Ok(1)
    }
    async fn show_life(&mut self, _: &LaneIdentity) -> Answer<bool> {
        Ok(true)
    }
    async fn owner(&mut self, _: &str) -> Answer<Option<StoredOwner>> {
        Ok(None)
    }
    async fn hand_over(&mut self, _: &LaneIdentity) -> Answer<()> {
        Ok(())
    }
    async fn store_brake(&mut self, _: &LaneIdentity, _: i64, _: u32) -> Answer<u64> {
        Ok(1)
    }
    async fn lift_brakes(&mut self, _: &str, _: u32) -> Answer<Option<Brake>> {
        Ok(None)
    }
    async fn add_stream(&mut self, _: &PipelineIdentity) -> Answer<()> {
        Ok(())
    }
}
