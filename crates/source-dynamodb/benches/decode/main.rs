//! What decoding one page costs: ours beside copying its bytes, `serde_json` into a typed structure, and the SDK's own
//! deserializer. `cargo bench --package tailwater-source-dynamodb`.
//!
//! Freeing what was read is part of it, as it is in a program that reads the next page.

mod others;
mod pages;

use divan::counter::{BytesCount, ItemsCount};
use divan::{Bencher, black_box};
use tailwater_model::{ShardId, push_plain_item};
use tailwater_source_dynamodb::{Decoded, decode_page, page_text};

use others::{SdkDeserializer, TypedPage};
use pages::{Profile, page};

fn main() {
    divan::main();
}

/// Runs `read` on the profile's page, and counts records and bytes of JSON.
fn on_page<T>(bencher: Bencher<'_, '_>, profile: Profile, read: impl Fn(&[u8]) -> T + Sync) {
    let (body, records) = page(profile);
    bencher
        .counter(ItemsCount::new(records))
        .counter(BytesCount::of_str(&*body))
        // What a benchmark gives back is freed when the clock stands still, so nothing is.
        .bench(|| drop(black_box(read(black_box(body.as_bytes())))));
}

/// The floor: nothing can read a page faster than it is copied.
#[divan::bench(args = Profile::ALL)]
fn memcpy(bencher: Bencher<'_, '_>, profile: Profile) {
    on_page(bencher, profile, <[u8]>::to_vec);
}

#[divan::bench(args = Profile::ALL)]
fn tailwater(bencher: Bencher<'_, '_>, profile: Profile) {
    let shard = ShardId::new("shardId-1");
    on_page(bencher, profile, |body| {
        let decoded = decode_page(page_text(body).expect("UTF-8"), &shard).expect("a page");
        assert!(decoded.records.iter().all(|record| matches!(record, Decoded::Event(_))));
        decoded
    });
}

/// Decoded, and every image written as plain JSON: what a pipeline does with a page.
#[divan::bench(args = Profile::ALL)]
fn tailwater_and_plain_json(bencher: Bencher<'_, '_>, profile: Profile) {
    let shard = ShardId::new("shardId-1");
    on_page(bencher, profile, |body| {
        let decoded = decode_page(page_text(body).expect("UTF-8"), &shard).expect("a page");
        let mut out = String::new();
        for record in &decoded.records {
            let Decoded::Event(event) = record else { panic!("a record was not decoded") };
            push_plain_item(&event.key, &mut out);
            for image in [event.change.old_image(), event.change.new_image()].into_iter().flatten() {
                push_plain_item(image, &mut out);
            }
        }
        out
    });
}

#[divan::bench(args = Profile::ALL)]
fn serde_json_typed(bencher: Bencher<'_, '_>, profile: Profile) {
    on_page(bencher, profile, |body| {
        let typed: TypedPage = serde_json::from_slice(body).expect("a page");
        assert!(!typed.records.is_empty());
        typed
    });
}

#[divan::bench(args = Profile::ALL)]
fn aws_sdk(bencher: Bencher<'_, '_>, profile: Profile) {
    let deserializer = SdkDeserializer::new().expect("the SDK's deserializer");
    on_page(bencher, profile, |body| {
        let output = deserializer.read(body).expect("a page");
        assert!(!output.records().is_empty());
        output
    });
}
