//! The streams of a table through `faucet-source-dynamodb`, into nothing.
//!
//! Usage: `faucet-peer TABLE ENDPOINT values|lines`. Ends when every shard is read to its end. `values` drops its JSON values;
//! `lines` writes them as lines first, which is what a sink needs.

use std::collections::HashMap;
use std::error::Error;

use faucet_core::Source;
use faucet_source_dynamodb::{DynamoDbSource, DynamoDbSourceConfig};
use futures::StreamExt;
use serde_json::json;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [table, endpoint, form] = arguments.as_slice() else {
        return Err("usage: faucet-peer TABLE ENDPOINT values|lines".into());
    };
    // One of its two limits has to be given; no run waits that long. Everything else as it comes: four shards at a time, pages of 1 000 records, plain values.
    let config: DynamoDbSourceConfig = serde_json::from_value(json!({
        "table_name": table,
        "region": "us-east-1",
        "endpoint_url": endpoint,
        "mode": "streams",
        "start_position": "trim_horizon",
        "idle_termination_secs": 10,
    }))?;
    let source = DynamoDbSource::new(config).await?;
    let context = HashMap::new();
    let mut pages = source.stream_pages(&context, 1000);
    let (mut read, mut bytes, mut out) = (0, 0, Vec::new());
    while let Some(page) = pages.next().await {
        let page = page?;
        read += page.records.len();
        if form == "lines" {
            for record in &page.records {
                serde_json::to_writer(&mut out, record)?;
                out.push(b'\n');
            }
            bytes += out.len();
            out.clear();
        }
    }
    println!("records {read}");
    eprintln!("{bytes} bytes");
    Ok(())
}
