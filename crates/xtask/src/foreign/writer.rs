//! Writes the table that the readers watch: items whose versions count up.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde_json::json;

use super::checker::Checker;
use super::client::Client;
use super::lock;
use crate::interrupt;

/// The table's name, also for the readers.
pub(super) const TABLE: &str = "Foreign";
/// Items that are written in turn.
const ITEMS: u64 = 500;
/// Time from turning a stream on until its shards are listed.
const ENABLED_WITHIN: Duration = Duration::from_secs(3);

/// Makes the table and waits until its stream can be read.
pub(super) fn make_table(client: &mut Client) -> Result<()> {
    let table = json!({
        "TableName": TABLE, "BillingMode": "PAY_PER_REQUEST",
        "KeySchema": [{"AttributeName": "Id", "KeyType": "HASH"}],
        "AttributeDefinitions": [{"AttributeName": "Id", "AttributeType": "S"}],
        "StreamSpecification": {"StreamEnabled": true, "StreamViewType": "NEW_AND_OLD_IMAGES"},
    });
    client.call("CreateTable", &table)?;
    std::thread::sleep(ENABLED_WITHIN);
    Ok(())
}

/// Writes so many changes, so many a second, and tells the checker of each before it is written.
pub(super) fn write(client: &mut Client, checker: &Mutex<Checker>, changes: u64, rate: u64) -> Result<()> {
    let began = Instant::now();
    for number in 0..changes {
        ensure!(!interrupt::asked_to_stop(), "stopped because this command was asked to stop");
        let due = Duration::from_secs_f64(number as f64 / rate as f64);
        std::thread::sleep(due.saturating_sub(began.elapsed()));
        let (item, version) = (number % ITEMS, number / ITEMS + 1);
        lock(checker).written(item, version);
        // An answer that was lost is asked for again: the same item a second time changes nothing and makes no record.
        let item = json!({"Id": {"S": format!("item-{item}")}, "v": {"N": version.to_string()}});
        client.call("PutItem", &json!({"TableName": TABLE, "Item": item}))?;
    }
    Ok(())
}
