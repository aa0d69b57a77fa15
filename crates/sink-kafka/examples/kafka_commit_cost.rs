//! Commits a group of E events N times to a Kafka that answers at once: the sink's own part of a commit. `cargo x counts`
//! counts the instructions.
//!
//! Usage: `kafka_commit_cost EVENTS TIMES`.

#[path = "../benches/commit/null_cluster.rs"]
mod null_cluster;
#[path = "../../model/benches/orders/mod.rs"]
mod orders;

use tailwater_model::Sink;
use tailwater_sink_kafka::Format;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1).map(|argument| argument.parse::<usize>());
    let (Some(count), Some(times)) = (arguments.next(), arguments.next()) else {
        return Err("usage: kafka_commit_cost EVENTS TIMES".into());
    };
    let (events, times) = (orders::events(count?, usize::MAX), times?);
    let mut lane = null_cluster::lane(Format::Json).await;
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
