//! boto3, the client of most scripts, in a process of its own.

use std::path::Path;
use std::process::Stdio;

use serde_json::Value;
use tailwater_simulation::http::WireManners;
use tailwater_simulation::service::Manners;

use crate::ground::Server;

/// How long the script writes, in seconds; the shards close in less than two.
const WRITE_SECONDS: &str = "5";

/// A careful consumer reads everything that was written, item by item in order, through three generations and more.
#[tokio::test]
async fn boto3_reads_a_lineage_completely() {
    let manners = Manners {
        shards_at_start: 2,
        rotate_after_ms: Some(1200..=1800),
        split: 0.5,
        open_shards_max: 5,
        page_records_max: 7,
        page_short: 0.3,
        page_empty: 0.2,
        end_apart: 0.5,
        ..Manners::kind()
    };
    let server = Server::start(manners, WireManners::default()).await;
    let clock = std::sync::Arc::clone(&server.now_ms);
    let ticking = tokio::spawn(async move {
        let mut tick = tokio::time::interval(std::time::Duration::from_millis(10));
        loop {
            tick.tick().await;
            clock.fetch_add(10, std::sync::atomic::Ordering::SeqCst);
        }
    });
    let python = std::env::var("TAILWATER_TEST_PYTHON").unwrap_or_else(|_| "python3".into());
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/wire/lineage.py");
    let run = tokio::process::Command::new(&python)
        .arg(script)
        .args([&server.endpoint, WRITE_SECONDS])
        .stderr(Stdio::inherit())
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(std::time::Duration::from_secs(120), run).await.expect("it ends");
    let output =
        output.unwrap_or_else(|error| panic!("{python} with boto3 is needed (`cargo x test` installs it): {error}"));
    assert!(output.status.success(), "{python} with boto3 is needed (`cargo x test` installs it)");
    ticking.abort();
    let told: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert!(told["generations"].as_u64() >= Some(3), "{}", told["generations"]);
    let items = told["written"].as_object().expect("items");
    assert_eq!(items.len(), 10);
    assert_eq!(told["read"], told["written"]);
    server.stop().await;
}
