//! The engine's own reader over a finite replay.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tailwater_model::{Delivery, Position, Progress, Source, Step, StreamIdentity};
use tailwater_simulation::replay::{LISTINGS_PER_SECOND_MAX, Profile, Replay, ReplaySettings, STREAM_ARN, serve};
use tailwater_source_dynamodb::{OnGap, ReaderSettings, StartAt, VISIBLE_WITHIN, connect_emulator, open_stream};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::time::Instant;

const SHARDS: u64 = 5;
const GENERATIONS: u64 = 3;

#[tokio::test]
async fn the_reader_reads_a_finite_replay_wholly() {
    let replay = Arc::new(Replay::new(ReplaySettings {
        profile: Profile::Mixed,
        shards: SHARDS,
        pages: 2,
        shard_pages: Some(3),
        generations: GENERATIONS,
        rate: None,
        started_at_us: 0,
        listings_per_second_max: LISTINGS_PER_SECOND_MAX,
        seed: 1,
    }));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let endpoint = format!("http://{}", listener.local_addr().expect("bound"));
    let (stop, stopped) = oneshot::channel::<()>();
    let began = Instant::now();
    let clock = Arc::new(move || i64::try_from(began.elapsed().as_micros()).unwrap_or(i64::MAX));
    let serving = tokio::spawn(serve(listener, Arc::clone(&replay), clock, async move { drop(stopped.await) }));
    let settings = ReaderSettings {
        start: StartAt::TrimHorizon,
        on_gap: OnGap::Stop,
        until_tip: false,
        follows: None,
        poll_interval_min: Duration::from_millis(20),
        poll_interval_max: Duration::from_millis(100),
        visible_within: VISIBLE_WITHIN,
        fetch_slots: 4,
        memory_bytes_max: 64 << 20,
        discovery_interval: Duration::from_secs(2),
        seed: 1,
    };
    let stream = StreamIdentity { table: "Replay".into(), table_id: "1".into(), stream_arn: STREAM_ARN.into() };
    let (mut lanes, _) = open_stream(connect_emulator(&endpoint), stream, 1, settings);
    let mut lane = lanes.remove(0);
    lane.open(&Progress::default()).await.expect("opens");
    let mut read = BTreeMap::new();
    let mut drained = 0;
    let reading = async {
        // Its last shards have no children: such a stream has no tip.
        while drained < SHARDS * GENERATIONS {
            match lane.next().await.expect("nothing here is hopeless") {
                Delivery::Batch(batch) => {
                    lane.committed(&[(batch.shard.clone(), batch.step.clone())], None);
                    *read.entry(batch.shard.to_string()).or_insert(0) += batch.events.len() as u64;
                    drained += u64::from(matches!(batch.step, Step::Advance(advance) if advance.to == Position::End));
                }
                Delivery::FirstListing(listing) => lane.committed(&[], Some(listing)),
                Delivery::Finished(finished) => panic!("{finished:?}"),
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(120), reading).await.expect("in time");
    assert_eq!(read.len() as u64, SHARDS * GENERATIONS);
    let all = replay.calls().records;
    assert_eq!(read.values().sum::<u64>(), all, "{read:?}");
    assert!(read.values().min() > Some(&(all / SHARDS / GENERATIONS / 2)), "{read:?}");
    drop(stop);
    serving.await.expect("no panic").expect("no error");
}
