//! What writing an event costs, by form; 1 000 events at a time. `cargo bench --package tailwater-model`.

#[expect(dead_code, reason = "the other benchmarks take the rest")]
mod orders;

use divan::counter::{BytesCount, ItemsCount};
use divan::{Bencher, black_box};
use tailwater_model::{ChangeEvent, CreationTime, fold_by_key, push_event_key, push_plain_change, push_plain_item};

/// Events of a round.
const EVENTS: usize = 1_000;

fn main() {
    divan::main();
}

/// Runs `write` on every event, and counts events and bytes of their typed JSON.
fn on_events(bencher: Bencher<'_, '_>, mut write: impl FnMut(&ChangeEvent, &mut String)) {
    let events = orders::events(EVENTS, EVENTS);
    let bytes: usize = events.iter().map(bytes).sum();
    bencher.counter(ItemsCount::new(EVENTS)).counter(BytesCount::new(bytes)).bench_local(|| {
        let mut out = String::new();
        black_box(&events).iter().for_each(|event| write(event, &mut out));
        drop(black_box(out));
    });
}

fn bytes(event: &ChangeEvent) -> usize {
    let items = [Some(&event.key), event.change.old_image(), event.change.new_image()];
    items.into_iter().flatten().map(|item| item.typed_json().len()).sum()
}

/// The floor: the same bytes, copied.
#[divan::bench]
fn typed_json(bencher: Bencher<'_, '_>) {
    on_events(bencher, |event, out| {
        out.push_str(event.key.typed_json());
        for image in [event.change.old_image(), event.change.new_image()].into_iter().flatten() {
            out.push_str(image.typed_json());
        }
    });
}

/// Key and images as plain JSON.
#[divan::bench]
fn plain_items(bencher: Bencher<'_, '_>) {
    on_events(bencher, |event, out| {
        push_plain_item(&event.key, out);
        for image in [event.change.old_image(), event.change.new_image()].into_iter().flatten() {
            push_plain_item(image, out);
        }
    });
}

/// The key in the order of its schema, with canonical numbers.
#[divan::bench]
fn plain_keys(bencher: Bencher<'_, '_>) {
    let keys = orders::keys();
    on_events(bencher, |event, out| push_event_key(event, &keys, out).expect("a key"));
}

/// A line of the file and of `stdout`, and a JSON message of Kafka.
#[divan::bench]
fn plain_change(bencher: Bencher<'_, '_>) {
    let (keys, mut key, mut created) = (orders::keys(), String::new(), CreationTime::default());
    on_events(bencher, move |event, out| {
        key.clear();
        push_event_key(event, &keys, &mut key).expect("a key");
        let created_at = created.of(event.source.created_at_ms).rfc_3339().expect("a time");
        push_plain_change(event, "Orders", &key, created_at, out);
    });
}

/// The record of a dead letter.
#[divan::bench]
fn dead_letter_record(bencher: Bencher<'_, '_>) {
    on_events(bencher, |event, out| out.push_str(&event.record_json()));
}

/// Folding a group to one event per key, with so many keys in it.
#[divan::bench(args = [1_000, 100, 10])]
fn fold(bencher: Bencher<'_, '_>, items: usize) {
    let (events, keys) = (orders::events(EVENTS, items), orders::keys());
    bencher.counter(ItemsCount::new(EVENTS)).with_inputs(|| events.clone()).bench_values(|events| {
        drop(black_box(fold_by_key(events, &keys)));
    });
}
