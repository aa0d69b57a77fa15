//! What the Kafka sink itself costs: encoding the 1 000 events of a group, choosing their partitions, and the progress, on
//! a Kafka that answers at once. librdkafka's part is not in it. `cargo bench --package tailwater-sink-kafka`.

mod null_cluster;
#[path = "../../../model/benches/orders/mod.rs"]
mod orders;

use divan::Bencher;
use divan::counter::ItemsCount;
use tailwater_model::Sink;
use tailwater_sink_kafka::Format;

/// Events of a group.
const EVENTS: usize = 1_000;

fn main() {
    divan::main();
}

#[divan::bench(args = [Format::Json, Format::Dynamodb])]
fn commit(bencher: Bencher<'_, '_>, format: Format) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let events = orders::events(EVENTS, EVENTS);
    let mut lane = runtime.block_on(async {
        let mut lane = null_cluster::lane(format).await;
        lane.open().await.expect("open");
        lane.commit(orders::registration()).await.expect("registered");
        lane
    });
    bencher.counter(ItemsCount::new(EVENTS)).with_inputs(|| orders::group(&events)).bench_local_values(|group| {
        let committed = runtime.block_on(lane.commit(group)).expect("committed");
        assert_eq!(committed.written, EVENTS as u64);
    });
}
