//! What each transform costs; 1 000 events at a time, both images 450 bytes. `cargo bench --package tailwater-transform`.

#[path = "../../model/benches/orders/mod.rs"]
#[expect(dead_code, reason = "the other benchmarks take the rest")]
mod orders;

use std::collections::BTreeMap;

use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use tailwater_model::{ChangeEvent, Transform};
use tailwater_transform::{AttributePath, ChangeName, KeepChanges, RenameAttributes, SelectAttributes};

/// Events of a round.
const EVENTS: usize = 1_000;

fn main() {
    divan::main();
}

fn on_events(bencher: Bencher<'_, '_>, transform: &(impl Transform + ?Sized)) {
    let events = orders::events(EVENTS, EVENTS);
    bencher.counter(ItemsCount::new(EVENTS)).with_inputs(|| events.clone()).bench_values(|events| {
        let mut out: Vec<ChangeEvent> = Vec::with_capacity(EVENTS);
        for event in events {
            transform.apply(event, &mut out).expect("not refused");
        }
        drop(black_box(out));
    });
}

fn path(text: &str) -> AttributePath {
    AttributePath::parse(text).expect("a path")
}

/// The floor: events that go through as they are.
#[divan::bench]
fn keep_all(bencher: Bencher<'_, '_>) {
    on_events(bencher, &KeepChanges::new(ChangeName::ALL));
}

#[divan::bench]
fn keep_none(bencher: Bencher<'_, '_>) {
    on_events(bencher, &KeepChanges::new([ChangeName::Insert]));
}

#[divan::bench]
fn include_three(bencher: Bencher<'_, '_>) {
    on_events(bencher, &SelectAttributes::include(["status", "total", "address.city"].map(path)));
}

#[divan::bench]
fn exclude_two(bencher: Bencher<'_, '_>) {
    on_events(bencher, &SelectAttributes::exclude(["customer", "address.street"].map(path)));
}

#[divan::bench]
fn rename_two(bencher: Bencher<'_, '_>) {
    let renames = [("total", "amount"), ("address.city", "town")];
    let renames: BTreeMap<_, _> = renames.map(|(from, to)| (path(from), to.to_owned())).into();
    on_events(bencher, &RenameAttributes::new(renames).expect("names that differ"));
}

/// Renames that name nothing in the image: what stays as it is costs a walk and no new bytes.
#[divan::bench]
fn rename_nothing(bencher: Bencher<'_, '_>) {
    let renames = BTreeMap::from([(path("nowhere"), "somewhere".to_owned())]);
    on_events(bencher, &RenameAttributes::new(renames).expect("one name"));
}
