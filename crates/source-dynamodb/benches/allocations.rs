//! Allocations of the heap while a page is decoded and written as plain JSON, told per page ("alloc" and "grow"). Apart
//! from the other benchmarks, because counting costs time.

#[path = "decode/pages.rs"]
mod pages;

use divan::{AllocProfiler, Bencher, black_box};
use tailwater_model::{
    CreationTime, KeyAttribute, KeyKind, KeySchema, ShardId, push_event_key, push_plain_change, push_plain_item,
};
use tailwater_source_dynamodb::{Decoded, decode_page, page_text};

use pages::{Profile, page};

#[global_allocator]
static ALLOCATOR: AllocProfiler = AllocProfiler::system();

fn main() {
    divan::main();
}

#[divan::bench(args = Profile::ALL)]
fn decode(bencher: Bencher<'_, '_>, profile: Profile) {
    let ((body, records), shard) = (page(profile), ShardId::new("shardId-1"));
    bencher.bench(|| {
        let decoded = decode_page(page_text(black_box(body.as_bytes())).expect("UTF-8"), &shard).expect("a page");
        assert_eq!(decoded.records.len(), records);
        decoded
    });
}

/// Into one text for the page, as the sinks write it.
#[divan::bench(args = Profile::ALL)]
fn write_plain_json(bencher: Bencher<'_, '_>, profile: Profile) {
    let shard = ShardId::new("shardId-1");
    let decoded = decode_page(page_text(page(profile).0.as_bytes()).expect("UTF-8"), &shard).expect("a page");
    bencher.bench(|| {
        let mut out = String::new();
        for record in black_box(&decoded.records) {
            let Decoded::Event(event) = record else { panic!("a record was not decoded") };
            push_plain_item(&event.key, &mut out);
            for image in [event.change.old_image(), event.change.new_image()].into_iter().flatten() {
                push_plain_item(image, &mut out);
            }
        }
        out
    });
}

/// Whole lines, as the file has them: key, images and where the record stands.
#[divan::bench(args = Profile::ALL)]
fn write_lines(bencher: Bencher<'_, '_>, profile: Profile) {
    let shard = ShardId::new("shardId-1");
    let decoded = decode_page(page_text(page(profile).0.as_bytes()).expect("UTF-8"), &shard).expect("a page");
    let attribute = |name: &str| KeyAttribute { name: name.into(), kind: KeyKind::S };
    let keys = KeySchema { partition: attribute("Id"), sort: Some(attribute("Fecha")) };
    bencher.bench(|| {
        let (mut out, mut key, mut created) = (String::new(), String::new(), CreationTime::default());
        for record in black_box(&decoded.records) {
            let Decoded::Event(event) = record else { panic!("a record was not decoded") };
            key.clear();
            push_event_key(event, &keys, &mut key).expect("a key");
            let created_at = created.of(event.source.created_at_ms).rfc_3339().expect("a time");
            push_plain_change(event, "Orders", &key, created_at, &mut out);
        }
        out
    });
}
