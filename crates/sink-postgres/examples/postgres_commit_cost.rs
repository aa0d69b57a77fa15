//! Commits a group of E events N times to a Postgres that answers at once: the sink's own part of a commit. `cargo x counts`
//! counts the instructions.
//!
//! Usage: `postgres_commit_cost EVENTS TIMES`.

#[path = "../benches/commit/null_server.rs"]
mod null_server;
#[path = "../../model/benches/orders/mod.rs"]
mod orders;

use tailwater_model::Sink;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1).map(|argument| argument.parse::<usize>());
    let (Some(count), Some(times)) = (arguments.next(), arguments.next()) else {
        return Err("usage: postgres_commit_cost EVENTS TIMES".into());
    };
    let (events, times) = (orders::events(count?, usize::MAX), times?);
    let mut lane = null_server::lane().await;
    lane.open().await?;
    lane.commit(orders::registration()).await?;
    for _ in 0..times {
        let committed = lane.commit(orders::group(&events)).await?;
        if committed.written != events.len() as u64 {
            return Err("events were refused".into());
        }
    }
    Ok(())
}
