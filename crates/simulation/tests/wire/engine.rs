//! The engine's own client and reader, over the AWS SDK.

use std::time::Duration;

use tailwater_model::{Delivery, Finished, Progress, Source, StreamIdentity};
use tailwater_simulation::http::WireManners;
use tailwater_simulation::service::Manners;
use tailwater_source_dynamodb::{OnGap, ReaderSettings, StartAt, VISIBLE_WITHIN, connect_emulator, open_stream};

use crate::ground::Server;

/// Broken answers of every kind and all errors that pass: everything is read once and in order all the same.
#[tokio::test]
async fn the_reader_carries_everything_through_broken_answers() {
    let manners = Manners {
        page_records_max: 5,
        page_empty: 0.1,
        throttled: 0.03,
        internal_error: 0.03,
        unavailable: 0.02,
        unknown_code: 0.02,
        expired_early: 0.05,
        iterator_forgotten: 0.02,
        ..Manners::kind()
    };
    carries_everything_once(manners).await;
}

/// The record before its place is in every page: nothing is read twice, and the tip is found all the same.
#[tokio::test]
async fn the_reader_carries_once_what_is_sent_again() {
    let manners = Manners { page_records_max: 5, record_repeated: 1.0, expired_early: 0.02, ..Manners::kind() };
    carries_everything_once(manners).await;
}

/// Forty changes of an item over three lineages.
async fn carries_everything_once(manners: Manners) {
    let server = Server::start(manners.clone(), WireManners::default()).await;
    *server.account.lock().expect("lock").service_mut().manners_mut() = Manners::kind();
    let arn = server.orders().await;
    for value in 1..=40 {
        server.put("a", value).await;
        if value % 15 == 0 {
            server.wait(1);
            let now_ms = server.now_ms.load(std::sync::atomic::Ordering::SeqCst);
            server.account.lock().expect("lock").service_mut().split_all(now_ms, &arn);
        }
    }
    *server.account.lock().expect("lock").service_mut().manners_mut() = manners;
    let settings = ReaderSettings {
        start: StartAt::TrimHorizon,
        on_gap: OnGap::Stop,
        until_tip: true,
        follows: None,
        poll_interval_min: Duration::from_millis(20),
        poll_interval_max: Duration::from_millis(100),
        visible_within: VISIBLE_WITHIN,
        fetch_slots: 4,
        memory_bytes_max: 64 << 20,
        discovery_interval: Duration::from_secs(2),
        seed: 1,
    };
    let stream = StreamIdentity { table: "Orders".into(), table_id: "1".into(), stream_arn: arn };
    let (mut lanes, _) = open_stream(connect_emulator(&server.endpoint), stream, 1, settings);
    let mut lane = lanes.remove(0);
    lane.open(&Progress::default()).await.expect("opens");
    let mut values = Vec::new();
    let reading = async {
        loop {
            match lane.next().await.expect("nothing here is hopeless") {
                Delivery::Batch(batch) => {
                    lane.committed(&[(batch.shard.clone(), batch.step.clone())], None);
                    values.extend(batch.events.iter().filter_map(|event| {
                        let image = event.change.new_image()?.typed_json().to_owned();
                        image.split(r#""N":""#).nth(1)?.split('"').next()?.parse::<u64>().ok()
                    }));
                }
                Delivery::FirstListing(listing) => lane.committed(&[], Some(listing)),
                Delivery::Finished(finished) => return finished,
            }
        }
    };
    let finished = tokio::time::timeout(Duration::from_secs(120), reading).await.expect("in time");
    assert_eq!(finished, Finished::Tip);
    assert_eq!(values, (1..=40).collect::<Vec<u64>>());
    server.stop().await;
}
