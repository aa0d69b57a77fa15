//! What the Postgres sink itself costs: folding a group of 1 000 events, making documents and steps, on a Postgres that
//! answers at once. The driver's part is not in it. `cargo bench --package tailwater-sink-postgres`.

mod null_server;
#[path = "../../../model/benches/orders/mod.rs"]
mod orders;

use divan::Bencher;
use divan::counter::ItemsCount;
use tailwater_model::Sink;

/// Events of a group.
const EVENTS: usize = 1_000;

fn main() {
    divan::main();
}

/// With so many items in the group: the rest of its events is folded away.
#[divan::bench(args = [1_000, 100])]
fn commit(bencher: Bencher<'_, '_>, items: usize) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let events = orders::events(EVENTS, items);
    let mut lane = runtime.block_on(async {
        let mut lane = null_server::lane().await;
        lane.open().await.expect("open");
        lane.commit(orders::registration()).await.expect("registered");
        lane
    });
    bencher.counter(ItemsCount::new(EVENTS)).with_inputs(|| orders::group(&events)).bench_local_values(|group| {
        let committed = runtime.block_on(lane.commit(group)).expect("committed");
        assert_eq!(committed.written, EVENTS as u64);
    });
}
