//! Load whose every write can be told from every other: each write of an item carries the next number of a counter of that
//! item. A ledger keeps what was written, so that a hole, a repeat or a change of order shows item by item.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use aws_sdk_dynamodb::types::{AttributeValue, PutRequest, WriteRequest};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::table::{Item, SourceTable, key};

/// The attribute of the counter.
pub const COUNTER: &str = "count";
/// Few enough that each item has a long history, enough for every partition and for full batches.
const ITEMS: u32 = 60;
/// `BatchWriteItem` takes no more.
const BATCH_ITEMS_MAX: u32 = 25;
/// Messages of many sizes fill the producer's batches to many degrees.
const FILLER_BYTES_MAX: usize = 1500;

/// An item's key as its two texts.
pub type Key = (String, String);
/// All writes of each item in their order.
pub type Ledger = BTreeMap<Key, Vec<Write>>;

/// One write of an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Write {
    /// It was written with this number in its counter.
    Put(u64),
    /// It was deleted.
    Delete,
}

/// How many writes a ledger holds.
pub fn writes(ledger: &Ledger) -> usize {
    ledger.values().map(Vec::len).sum()
}

/// A writer of counted items. The same seed writes the same.
pub struct Counted {
    random: fastrand::Rng,
    ledger: Ledger,
}

impl Counted {
    /// A writer that has written nothing yet.
    pub fn new(seed: u64) -> Self {
        Self { random: fastrand::Rng::with_seed(seed), ledger: Ledger::new() }
    }

    /// One call of a random kind. Each of them makes exactly the records that the ledger then holds.
    pub async fn step(&mut self, table: &SourceTable) -> Result<()> {
        let key = self.any_key();
        match self.random.u32(0..100) {
            0..50 => self.put_batch(table).await,
            50..70 => self.put(table, key).await,
            70..85 => self.update(table, key).await,
            _ => self.delete(table, key).await,
        }
    }

    /// What was written so far.
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    fn any_key(&mut self) -> Key {
        (format!("counted-{}", self.random.u32(0..ITEMS)), "2026-11-23T19:00:00Z".to_owned())
    }

    /// The counter goes on over a delete: no two writes of an item ever look the same.
    fn next_count(&self, key: &Key) -> u64 {
        let writes = self.ledger.get(key).map_or(&[][..], Vec::as_slice);
        1 + writes
            .iter()
            .rev()
            .find_map(|write| if let Write::Put(count) = write { Some(*count) } else { None })
            .unwrap_or(0)
    }

    fn next_item(&mut self, of: &Key) -> Item {
        let mut item = key(&of.0, &of.1);
        item.insert(COUNTER.to_owned(), AttributeValue::N(self.next_count(of).to_string()));
        let filler = "é".repeat(self.random.usize(0..FILLER_BYTES_MAX) / "é".len());
        item.insert("filler".to_owned(), AttributeValue::S(filler));
        item
    }

    fn note_put(&mut self, key: Key) {
        let count = self.next_count(&key);
        self.ledger.entry(key).or_default().push(Write::Put(count));
    }

    async fn put(&mut self, table: &SourceTable, key: Key) -> Result<()> {
        let item = self.next_item(&key);
        table.put(item).await?;
        self.note_put(key);
        Ok(())
    }

    async fn put_batch(&mut self, table: &SourceTable) -> Result<()> {
        let keys: BTreeSet<_> = (0..self.random.u32(1..=BATCH_ITEMS_MAX)).map(|_| self.any_key()).collect();
        let mut requests = Vec::new();
        for key in &keys {
            let put = PutRequest::builder().set_item(Some(self.next_item(key).into_iter().collect())).build()?;
            requests.push(WriteRequest::builder().put_request(put).build());
        }
        let batch = table.client.batch_write_item().request_items(&table.name, requests);
        let answer = batch.send().await.context("BatchWriteItem")?;
        let left = answer.unprocessed_items.unwrap_or_default();
        ensure!(left.is_empty(), "DynamoDB Local left items of a batch unwritten: {left:?}");
        keys.into_iter().for_each(|key| self.note_put(key));
        Ok(())
    }

    async fn update(&mut self, table: &SourceTable, of: Key) -> Result<()> {
        let update = table.client.update_item().table_name(&table.name);
        let update = update.set_key(Some(key(&of.0, &of.1).into_iter().collect()));
        let update = update.update_expression("SET #count = :count").expression_attribute_names("#count", COUNTER);
        let count = AttributeValue::N(self.next_count(&of).to_string());
        update.expression_attribute_values(":count", count).send().await.context("UpdateItem")?;
        self.note_put(of);
        Ok(())
    }

    /// Deletes the item if it is there: deleting nothing makes no record.
    async fn delete(&mut self, table: &SourceTable, of: Key) -> Result<()> {
        let is_there = self.ledger.get(&of).is_some_and(|writes| matches!(writes.last(), Some(Write::Put(_))));
        if is_there {
            table.delete(key(&of.0, &of.1)).await?;
            self.ledger.entry(of).or_default().push(Write::Delete);
        }
        Ok(())
    }
}

/// A task that writes counted items all the time, until it is told to stop.
pub struct CountedWriter {
    stop: watch::Sender<bool>,
    task: JoinHandle<Result<Counted>>,
}

impl CountedWriter {
    /// Writes on with a pause of `pause` between two calls.
    pub fn start(table: &SourceTable, mut counted: Counted, pause: Duration) -> Self {
        let (stop, stopped) = watch::channel(false);
        let table = table.clone();
        let task = tokio::spawn(async move {
            while !*stopped.borrow() {
                counted.step(&table).await?;
                tokio::time::sleep(pause).await;
            }
            Ok(counted)
        });
        Self { stop, task }
    }

    /// Stops after the write in flight and returns the writer with its ledger. An error of any write comes out here.
    pub async fn stop(self) -> Result<Counted> {
        self.stop.send_replace(true);
        self.task.await.context("the writer")?
    }
}
