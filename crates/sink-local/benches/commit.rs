//! What a commit of 1 000 events costs the embedded sinks, on the disk of the temporary directory with its syncs.
//! `cargo bench --package tailwater-sink-local`.

#[path = "../../model/benches/orders/mod.rs"]
mod orders;

use divan::Bencher;
use divan::counter::ItemsCount;
use tailwater_model::{DeleteMode, Sink};
use tailwater_sink_local::{FileSettings, SqliteSettings, claim_file, claim_sqlite};
use tokio::runtime::Runtime;

/// Events of a group.
const EVENTS: usize = 1_000;
/// Bad records do not happen here.
const DEAD_LETTERS_MAX: u32 = 1;

fn main() {
    divan::main();
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
}

fn commits(bencher: Bencher<'_, '_>, runtime: &Runtime, items: usize, mut lane: impl Sink) {
    let events = orders::events(EVENTS, items);
    runtime.block_on(async {
        lane.open().await.expect("open");
        lane.commit(orders::registration()).await.expect("registered");
    });
    bencher.counter(ItemsCount::new(EVENTS)).with_inputs(|| orders::group(&events)).bench_local_values(|group| {
        let committed = runtime.block_on(lane.commit(group)).expect("committed");
        assert_eq!(committed.written, EVENTS as u64);
    });
}

#[divan::bench(max_time = 2)]
fn file(bencher: Bencher<'_, '_>) {
    let (runtime, place) = (runtime(), tempfile::tempdir().expect("a directory"));
    let settings = FileSettings {
        path: place.path().join("orders.jsonl"),
        dead_letters_per_minute_max: DEAD_LETTERS_MAX,
        adopt: None,
    };
    let lanes = runtime.block_on(claim_file(&settings, &orders::identity(), &orders::keys()));
    commits(bencher, &runtime, EVENTS, lanes.expect("claimed").lanes.pop().expect("one lane"));
}

/// With so many items in the group: the rest of its events is folded away.
#[divan::bench(args = [1_000, 100], max_time = 2)]
fn sqlite(bencher: Bencher<'_, '_>, items: usize) {
    let (runtime, place) = (runtime(), tempfile::tempdir().expect("a directory"));
    let settings = SqliteSettings {
        path: place.path().join("orders.db"),
        table: "orders".into(),
        delete: DeleteMode::Hard,
        dead_letters_per_minute_max: DEAD_LETTERS_MAX,
        adopt: None,
    };
    let lanes = runtime.block_on(claim_sqlite(&settings, &orders::identity(), &orders::keys()));
    commits(bencher, &runtime, items, lanes.expect("claimed").lanes.pop().expect("one lane"));
}
