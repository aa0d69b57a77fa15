//! What a write to the simulated service costs while its tables grow: `cargo run --release -p tailwater-simulation
//! --example cost_of_a_write`. The cost is to be flat.
#![expect(clippy::print_stdout, reason = "an example tells what it measured by printing it")]
#![expect(clippy::disallowed_methods, reason = "it measures in real time")]

use std::time::Instant;

use serde_json::json;
use tailwater_simulation::http::{Account, Refusal, WireManners};
use tailwater_simulation::service::Manners;

/// Any moment.
const NOW_MS: i64 = 1_795_500_000_000;
/// Writes that are measured at each size.
const MEASURED: usize = 200;

fn main() -> Result<(), String> {
    let most = std::env::args().nth(1).map_or(Ok(100_000), |most| most.parse()).map_err(|_| "how many writes?")?;
    let mut account = Account::new(1, "us-east-1", Manners::kind(), WireManners::default())?;
    let told = |refusal: Refusal| refusal.body;
    let table = json!({
        "TableName": "Orders", "BillingMode": "PAY_PER_REQUEST",
        "KeySchema": [{"AttributeName": "Id", "KeyType": "HASH"}],
        "AttributeDefinitions": [{"AttributeName": "Id", "AttributeType": "S"}],
        "StreamSpecification": {"StreamEnabled": true, "StreamViewType": "NEW_AND_OLD_IMAGES"},
    });
    account.answer(NOW_MS, "DynamoDB_20120810.CreateTable", table.to_string().as_bytes()).map_err(told)?;
    let mut written = 0;
    for size in [500, 2_000, 6_000, 20_000, 50_000, 100_000].into_iter().filter(|size| *size <= most) {
        let mut started = Instant::now();
        while written < size {
            if written + MEASURED == size {
                started = Instant::now();
            }
            let item = json!({"Id": {"S": format!("item {}", written % 5_000)}, "v": {"N": written.to_string()}});
            let put = json!({"TableName": "Orders", "Item": item}).to_string();
            account.answer(NOW_MS, "DynamoDB_20120810.PutItem", put.as_bytes()).map_err(told)?;
            written += 1;
        }
        let micros = started.elapsed().as_micros() as f64 / MEASURED as f64;
        println!("after {size:>6} writes: {micros:>8.0} microseconds each");
    }
    Ok(())
}
