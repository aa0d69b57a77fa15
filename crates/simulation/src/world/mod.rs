//! Seeded worlds: from one seed a workload, a lineage, workers, faults, healing and quiet, around the engine that ships.
//!
//! Everything happens in tokio's paused time on one thread, so a seed is a story that repeats exactly. A witness judges
//! every commit at the instant at which it becomes visible; at the end an oracle compares the sink with a naive replay.
//!
//! Deliberately absent: any part of the engine, and any clock or chance but the world's own.

mod fault;
mod ground;
mod history;
mod kafka;
mod kept;
mod lanes_down;
mod memory;
mod oracle;
mod plan;
mod postgres;
mod promise;
mod scene;
mod streams;
mod witness;
mod worker;
mod workload;

pub use fault::{FAULTS, Fault};
pub use ground::{Durable, Ground, Held, LandedChange, Landing, Loss, SharedWitness, SinkFaults};
pub use history::{History, Written};
pub use kafka::KafkaGround;
pub use kept::KEPT;
pub use lanes_down::LanesDown;
pub use memory::{MemoryGround, MemoryLane};
pub use plan::{Action, Plan, Profile};
pub use postgres::PostgresGround;
pub use promise::Promise;
pub use scene::Shown;
pub use witness::{Manner, Violation, Witness};

use scene::Scene;

/// Runs the world of this seed to its end. `traced` keeps its story.
///
/// # Errors
/// When the operating system does not give what a runtime needs.
pub fn run_world(seed: u64, profile: Profile, traced: bool) -> std::io::Result<Shown> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build()?;
    let world = async {
        let plan = Plan::draw(seed, profile);
        match profile {
            Profile::Kafka => Box::pin(Scene::new(plan, Manner::Log, traced, KafkaGround::new).run()).await,
            Profile::Postgres => Box::pin(Scene::new(plan, Manner::Folded, traced, PostgresGround::new).run()).await,
            _ => Box::pin(Scene::new(plan, Manner::Log, traced, MemoryGround::new).run()).await,
        }
    };
    Ok(runtime.block_on(world))
}
