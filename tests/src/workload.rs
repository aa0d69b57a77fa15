//! Seeded writes through the SDK: unique items, items with a counter, deletes, batches, transactions, and nasty values.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::{AttributeValue, Put, PutRequest, TransactWriteItem, WriteRequest};

use crate::table::{Item, SourceTable, key};

/// Items that are written again and again, so that the order of their events can be checked.
const COUNTED_ITEMS: u32 = 20;
/// `BatchWriteItem` takes no more.
const BATCH_ITEMS_MAX: u32 = 25;
/// How deep random values nest; DynamoDB allows 32 levels, `deep_value` goes there.
const DEPTH_MAX: u32 = 3;
/// DynamoDB's limit for nesting.
const NESTING_MAX: u32 = 31;

/// Numbers at the edges of DynamoDB's range, and as people write them.
const NUMBERS: [&str; 12] = [
    "0",
    "-0",
    "0.10",
    "100",
    "1e3",
    "-1.5E-7",
    "12345678901234567890123456789012345678",
    "-0.00012345678901234567890123456789012345678",
    "9.9999999999999999999999999999999999999E+125",
    "-9.9999999999999999999999999999999999999E+125",
    "1E-130",
    "-1E-130",
];
/// Strings that break parsers, encodings and SQL.
const STRINGS: [&str; 12] = [
    "",
    " ",
    "'; drop table orders; --",
    "\"quoted\" and \\back\\slashed\\",
    "line\nfeed\r\ttab\u{1}\u{1f}\u{7f}",
    "Ærøskøbing, 東京, Ελλάδα",
    "😀👩‍👩‍👧‍👦\u{10ffff}",
    "e\u{301} is not \u{e9}",
    "{\"S\":\"looks like typed JSON\"}",
    "null",
    "1E400",
    "\\u0000",
];
/// Attribute names that break paths, quoting and SQL.
const NAMES: [&str; 10] = ["a.b", "a.b.c[0]", "\"", "'", "\\", "", "Id ", "_deleted", "document", "größe😀"];

/// A writer of random changes to one table. The same seed writes the same.
pub struct Workload {
    random: fastrand::Rng,
    prefix: String,
    unique: u64,
    counters: BTreeMap<u32, u64>,
}

impl Workload {
    /// A workload whose items' keys begin with `prefix`.
    pub fn new(seed: u64, prefix: &str) -> Self {
        Self { random: fastrand::Rng::with_seed(seed), prefix: prefix.to_owned(), unique: 0, counters: BTreeMap::new() }
    }

    /// One write of a random kind.
    pub async fn step(&mut self, table: &SourceTable) -> Result<()> {
        match self.random.u32(0..100) {
            0..50 => table.put(self.unique_item()).await,
            50..60 => self.batch(table).await,
            60..65 => self.transaction(table).await,
            65..90 => self.count(table).await,
            _ => self.delete(table).await,
        }
    }

    /// An item that nobody writes a second time.
    pub fn unique_item(&mut self) -> Item {
        self.unique += 1;
        let mut item = key(&format!("{}unique-{}", self.prefix, self.unique), "2026-11-23T19:00:00Z");
        self.fill(&mut item);
        item
    }

    /// Adds random attributes to an item.
    fn fill(&mut self, item: &mut Item) {
        for _ in 0..self.random.u32(0..6) {
            let name = self.name();
            let value = self.value(0);
            item.insert(name, value);
        }
    }

    fn counted_key(&self, number: u32) -> Item {
        key(&format!("{}counted-{number}", self.prefix), "x")
    }

    /// Writes a counted item with its next count.
    async fn count(&mut self, table: &SourceTable) -> Result<()> {
        let number = self.random.u32(0..COUNTED_ITEMS);
        let count = self.counters.entry(number).or_default();
        *count += 1;
        let count = AttributeValue::N(count.to_string());
        if self.random.bool() {
            let update = table.client.update_item().table_name(&table.name);
            let update = update.set_key(Some(self.counted_key(number).into_iter().collect()));
            let update = update.update_expression("SET #count = :count").expression_attribute_names("#count", "count");
            update.expression_attribute_values(":count", count).send().await.context("UpdateItem")?;
            return Ok(());
        }
        let mut item = self.counted_key(number);
        self.fill(&mut item);
        item.insert("count".to_owned(), count);
        table.put(item).await
    }

    async fn delete(&mut self, table: &SourceTable) -> Result<()> {
        let number = self.random.u32(0..COUNTED_ITEMS);
        table.delete(self.counted_key(number)).await
    }

    async fn batch(&mut self, table: &SourceTable) -> Result<()> {
        let mut requests = Vec::new();
        for _ in 0..self.random.u32(1..=BATCH_ITEMS_MAX) {
            let put = PutRequest::builder().set_item(Some(self.unique_item().into_iter().collect())).build()?;
            requests.push(WriteRequest::builder().put_request(put).build());
        }
        let batch = table.client.batch_write_item().request_items(&table.name, requests);
        batch.send().await.context("BatchWriteItem")?;
        Ok(())
    }

    async fn transaction(&mut self, table: &SourceTable) -> Result<()> {
        let mut transaction = table.client.transact_write_items();
        for _ in 0..3 {
            let item = self.unique_item().into_iter().collect();
            let put = Put::builder().table_name(&table.name).set_item(Some(item)).build()?;
            transaction = transaction.transact_items(TransactWriteItem::builder().put(put).build());
        }
        transaction.send().await.context("TransactWriteItems")?;
        Ok(())
    }

    fn name(&mut self) -> String {
        match self.random.u32(0..3) {
            0 => format!("attribute{}", self.random.u32(0..5)),
            _ => Some(self.pick(&NAMES)).filter(|name| !name.is_empty()).unwrap_or_else(|| "empty".to_owned()),
        }
    }

    fn pick(&mut self, choices: &[&str]) -> String {
        choices[self.random.usize(0..choices.len())].to_owned()
    }

    fn bytes(&mut self) -> Blob {
        let length = self.random.usize(0..40);
        Blob::new(std::iter::repeat_with(|| self.random.u8(..)).take(length).collect::<Vec<_>>())
    }

    fn value(&mut self, depth: u32) -> AttributeValue {
        // Sets are never empty and hold nothing twice: DynamoDB refuses both.
        match self.random.u32(0..if depth < DEPTH_MAX { 11 } else { 8 }) {
            0 => AttributeValue::S(self.pick(&STRINGS)),
            1 => AttributeValue::N(self.pick(&NUMBERS)),
            2 => AttributeValue::B(self.bytes()),
            3 => AttributeValue::Bool(self.random.bool()),
            4 => AttributeValue::Null(true),
            5 => AttributeValue::Ss(vec![
                "b".to_owned(),
                "a\"".to_owned(),
                "é".to_owned(),
                self.random.u8(..).to_string(),
            ]),
            6 => AttributeValue::Ns(vec!["10".to_owned(), "9".to_owned(), "-1".to_owned(), "1E-130".to_owned()]),
            7 => AttributeValue::Bs(vec![Blob::new([255, 0]), Blob::new([0]), Blob::new([])]),
            8 => AttributeValue::L((0..self.random.u32(0..4)).map(|_| self.value(depth + 1)).collect()),
            // Never empty: DynamoDB Local writes an empty map into its stream as `{}`, which no SDK can read, and the
            // checks read the stream through the SDK. `carry.rs` has a test of its own for it.
            9 => AttributeValue::M((0..self.random.u32(1..4)).map(|_| (self.name(), self.value(depth + 1))).collect()),
            _ => deep_value(self.random.u32(1..NESTING_MAX)),
        }
    }
}

/// One of each value that breaks systems like this one, in one item. PostgreSQL can hold all of them. No empty map is
/// among them: DynamoDB Local writes it into its stream as `{}`, which no SDK can read.
pub fn nasty_item(id: &str) -> Item {
    let mut item = key(id, "nasty");
    for (place, number) in NUMBERS.into_iter().enumerate() {
        item.insert(format!("number {place}"), AttributeValue::N(number.to_owned()));
    }
    for (place, string) in STRINGS.into_iter().enumerate() {
        item.insert(format!("string {place}"), AttributeValue::S(string.to_owned()));
    }
    for name in NAMES.into_iter().filter(|name| !name.is_empty()) {
        item.insert(name.to_owned(), AttributeValue::S(name.to_owned()));
    }
    let texts = |members: &[&str]| members.iter().map(|&member| member.to_owned()).collect::<Vec<_>>();
    item.extend([
        ("deep".to_owned(), deep_value(NESTING_MAX)),
        ("empty binary".to_owned(), AttributeValue::B(Blob::new([]))),
        ("binary".to_owned(), AttributeValue::B(Blob::new((0..=255).collect::<Vec<u8>>()))),
        ("empty list".to_owned(), AttributeValue::L(Vec::new())),
        ("null".to_owned(), AttributeValue::Null(true)),
        ("true".to_owned(), AttributeValue::Bool(true)),
        ("false".to_owned(), AttributeValue::Bool(false)),
        ("strings".to_owned(), AttributeValue::Ss(texts(&["b", "", "a", "B", "10", "9"]))),
        ("numbers".to_owned(), AttributeValue::Ns(texts(&["10", "9", "-1", "1E-130", "1e3", "0"]))),
        ("binaries".to_owned(), AttributeValue::Bs(vec![Blob::new([255]), Blob::new([0, 0]), Blob::new([])])),
    ]);
    item
}

/// A value nested this many levels, lists and maps in turn.
fn deep_value(levels: u32) -> AttributeValue {
    let mut value = AttributeValue::N("1".to_owned());
    for level in 1..levels {
        value = match level % 2 {
            0 => AttributeValue::L(vec![value]),
            _ => AttributeValue::M(std::iter::once(("m".to_owned(), value)).collect()),
        };
    }
    value
}
