//! A table with a stream, and short ways to ask.

use std::collections::BTreeMap;

use serde_json::Value;
use tailwater_model::ViewType;
use tailwater_simulation::service::{
    DescribeStream, GetShardIterator, ItemChange, IteratorType, ListStreams, Manners, Service, ServiceError,
    ShardAnswer, StreamAnswer,
};

pub const TABLE: &str = "Orders";
/// 2026-11-24, a moment like any other.
pub const NOW: i64 = 1_795_500_000_123;
pub const SECOND: i64 = 1000;
pub const MINUTE: i64 = 60 * SECOND;
pub const HOUR: i64 = 60 * MINUTE;

pub struct Ground {
    pub service: Service,
    pub arn: String,
    pub now_ms: i64,
}

impl Ground {
    pub fn new(manners: Manners) -> Self {
        Self::with_view(manners, ViewType::NewAndOldImages)
    }

    pub fn kind() -> Self {
        Self::new(Manners::kind())
    }

    pub fn with_view(manners: Manners, view: ViewType) -> Self {
        let mut service = Service::new(7, "eu-west-1", manners);
        service.create_table(NOW, TABLE, &["Id"]);
        let arn = service.enable_stream(NOW, TABLE, view).expect("the table is there");
        Self { service, arn, now_ms: NOW }
    }

    pub fn wait(&mut self, ms: i64) {
        self.now_ms += ms;
        self.service.advance(self.now_ms);
    }

    pub fn put(&mut self, id: &str, old: Option<u64>, new: u64) -> Option<String> {
        let change =
            ItemChange { key: key(id), old: old.map(|v| item(id, v)), new: Some(item(id, new)), time_to_live: false };
        self.write(change)
    }

    pub fn remove(&mut self, id: &str, old: u64, time_to_live: bool) -> Option<String> {
        self.write(ItemChange { key: key(id), old: Some(item(id, old)), new: None, time_to_live })
    }

    pub fn write(&mut self, change: ItemChange) -> Option<String> {
        self.service.write(self.now_ms, TABLE, change).map(|number| number.to_string())
    }

    /// Writes records 1 to `count` of one item.
    pub fn fill(&mut self, count: u64) {
        for value in 1..=count {
            self.put("a", (value > 1).then(|| value - 1), value);
        }
    }

    pub fn try_describe(&mut self, change: impl FnOnce(&mut DescribeStream)) -> Result<StreamAnswer, ServiceError> {
        let mut request = DescribeStream { stream_arn: self.arn.clone(), ..DescribeStream::default() };
        change(&mut request);
        self.service.describe_stream(self.now_ms, &request)
    }

    pub fn describe(&mut self) -> StreamAnswer {
        self.try_describe(|_| {}).expect("described")
    }

    /// All shards over all pages.
    pub fn shards(&mut self) -> Vec<ShardAnswer> {
        let mut shards = Vec::new();
        let mut start = None;
        loop {
            let page = self.try_describe(|request| request.exclusive_start = start.clone()).expect("described");
            shards.extend(page.shards);
            start = page.last_evaluated;
            if start.is_none() {
                return shards;
            }
        }
    }

    pub fn only_shard(&mut self) -> String {
        let shards = self.shards();
        assert_eq!(shards.len(), 1, "{shards:?}");
        shards[0].id.clone()
    }

    pub fn try_iterator(
        &mut self,
        shard: &str,
        kind: IteratorType,
        number: Option<&str>,
    ) -> Result<String, ServiceError> {
        let request = GetShardIterator {
            stream_arn: self.arn.clone(),
            shard: shard.to_owned(),
            kind,
            sequence_number: number.map(str::to_owned),
        };
        self.service.get_shard_iterator(self.now_ms, &request)
    }

    pub fn horizon(&mut self, shard: &str) -> String {
        self.try_iterator(shard, IteratorType::TrimHorizon, None).expect("an iterator")
    }

    pub fn try_page(&mut self, iterator: &str, limit: Option<u32>) -> Result<Page, ServiceError> {
        self.service.get_records(self.now_ms, iterator, limit).map(|body| Page::read(&body))
    }

    pub fn page(&mut self, iterator: &str) -> Page {
        self.try_page(iterator, None).expect("a page")
    }

    /// All records of a shard to its end, or to the first empty page after `empty_max` of them.
    pub fn read_shard(&mut self, shard: &str, empty_max: usize) -> Vec<Value> {
        let mut iterator = Some(self.horizon(shard));
        let mut records = Vec::new();
        let mut empty = 0;
        while let Some(place) = iterator {
            let page = self.page(&place);
            empty = if page.records.is_empty() { empty + 1 } else { 0 };
            records.extend(page.records);
            iterator = page.next.filter(|_| empty <= empty_max);
        }
        records
    }

    pub fn streams(&mut self) -> Vec<String> {
        let list = self.service.list_streams(self.now_ms, &ListStreams::default()).expect("listed");
        list.streams.into_iter().map(|stream| stream.arn).collect()
    }

    pub fn hits(&self, name: &str) -> u64 {
        self.service.hits().get(name).copied().unwrap_or_default()
    }
}

/// A page as a client reads it.
#[derive(Debug)]
pub struct Page {
    pub records: Vec<Value>,
    pub next: Option<String>,
}

impl Page {
    fn read(body: &str) -> Self {
        let mut fields: BTreeMap<String, Value> = serde_json::from_str(body).expect("JSON");
        let records = fields.remove("Records").and_then(|records| records.as_array().cloned()).expect("records");
        let next = fields.remove("NextShardIterator").map(|next| next.as_str().expect("text").to_owned());
        Self { records, next }
    }
}

pub fn key(id: &str) -> String {
    format!(r#"{{"Id":{{"S":"{id}"}}}}"#)
}

pub fn item(id: &str, value: u64) -> String {
    format!(r#"{{"Id":{{"S":"{id}"}},"v":{{"N":"{value}"}}}}"#)
}

pub fn number_of(record: &Value) -> &str {
    record["dynamodb"]["SequenceNumber"].as_str().expect("a number")
}

pub fn value_of(record: &Value) -> u64 {
    record["dynamodb"]["NewImage"]["v"]["N"].as_str().expect("a value").parse().expect("digits")
}

pub fn code<T: std::fmt::Debug>(answer: Result<T, ServiceError>) -> &'static str {
    answer.expect_err("an error").code
}

pub fn as_number(text: &str) -> (usize, String) {
    // Numbers of different lengths compare by length first.
    (text.len(), text.to_owned())
}
