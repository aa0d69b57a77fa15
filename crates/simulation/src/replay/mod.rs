//! A replay: pages of `GetRecords` that were rendered before, for any number of shards, so that the source is never what a
//! benchmark waits for.
//!
//! All shards serve the same pages, with their own keys and with sequence numbers that never come twice in a lineage. What
//! an iterator leads to follows from its text and the time, so a call leaves nothing behind but counts and the rate of
//! listings.
//!
//! Deliberately absent: the manners of the [`service`](crate::service); trimming, splits, expiry.

mod image;
mod page;
mod server;
mod shards;
#[cfg(test)]
mod tests;
mod timeline;

pub use image::{HOT_KEYS, Profile};
pub use server::{Clock, serve};

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

use serde_json::{Map, Value, json};

use image::RecordWriter;
use page::{PAGE_BYTES_MAX, PAGE_RECORDS_MAX, Page, Values, place, sequence};
use shards::{Shard, not_found};
use timeline::Timeline;

/// The table.
pub const TABLE: &str = "Replay";
/// The stream's ARN.
pub const STREAM_ARN: &str = "arn:aws:dynamodb:us-east-1:000000000000:table/Replay/stream/2026-11-24T00:00:00.000";
const LABEL: &str = "2026-11-24T00:00:00.000";
/// Most listings a second (DynamoDB API reference, `DescribeStream`).
pub const LISTINGS_PER_SECOND_MAX: u32 = 10;
/// Most lineages: what their part of a key can tell apart.
pub const SHARDS_MAX: u64 = 1_000_000;

/// What a replay serves.
#[derive(Clone, Copy, Debug)]
pub struct ReplaySettings {
    /// What records look like.
    pub profile: Profile,
    /// Shards that are open at the same time, up to [`SHARDS_MAX`].
    pub shards: u64,
    /// Pages that are rendered, at least one.
    pub pages: u64,
    /// Pages after which each shard ends; more than are rendered come again with other numbers. Without it, shards never
    /// end.
    pub shard_pages: Option<u64>,
    /// Shards that follow one after the other where they end, at least one: all but the last have one child.
    pub generations: u64,
    /// Records that arrive in each shard a second, from `started_at_us` on; new images then say when as `at_ms`, and as
    /// `served_us` when the page was answered. Without it, all records were always there.
    pub rate: Option<u32>,
    /// Microseconds since 1970.
    pub started_at_us: i64,
    /// `DescribeStream` calls a second above which they are throttled.
    pub listings_per_second_max: u32,
    /// Where all chance starts from.
    pub seed: u64,
}

/// Pages and how they are served.
#[derive(Debug)]
pub struct Replay {
    settings: ReplaySettings,
    pages: Vec<Page>,
    timeline: Timeline,
    /// The second of the last listing, and how many it had.
    listings: Mutex<(i64, u32)>,
    calls: Counters,
}

/// Calls that were answered, and what `GetRecords` gave.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Calls {
    /// `DescribeStream`, without those that were throttled.
    pub describe_stream: u64,
    /// `GetShardIterator`.
    pub get_shard_iterator: u64,
    /// `GetRecords`.
    pub get_records: u64,
    /// Records in all answers.
    pub records: u64,
    /// Bytes of all answers with records.
    pub bytes: u64,
}

#[derive(Debug, Default)]
struct Counters {
    describe_stream: AtomicU64,
    get_shard_iterator: AtomicU64,
    get_records: AtomicU64,
    records: AtomicU64,
    bytes: AtomicU64,
}

/// The body of an answer, or of a refusal.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: Vec<u8>,
}

impl Replay {
    /// Renders the pages.
    pub fn new(settings: ReplaySettings) -> Self {
        let mut writer = RecordWriter::new(settings.profile, settings.rate.is_some(), settings.seed);
        let pages: Vec<Page> = (0..settings.pages.max(1)).map(|_| Page::render(&mut writer)).collect();
        let timeline = Timeline::new(&pages, settings.shards, settings.rate, settings.started_at_us);
        Self { settings, pages, timeline, listings: Mutex::new((i64::MIN, 0)), calls: Counters::default() }
    }

    /// Records of one shard, the first of its lineage; nothing when it never ends.
    pub fn records_per_shard(&self) -> Option<u64> {
        self.settings.shard_pages.map(|pages| self.timeline.records_before(pages))
    }

    /// What was asked for until now.
    pub fn calls(&self) -> Calls {
        Calls {
            describe_stream: self.calls.describe_stream.load(Relaxed),
            get_shard_iterator: self.calls.get_shard_iterator.load(Relaxed),
            get_records: self.calls.get_records.load(Relaxed),
            records: self.calls.records.load(Relaxed),
            bytes: self.calls.bytes.load(Relaxed),
        }
    }

    pub(super) fn answer(&self, now_us: i64, target: &str, body: &[u8]) -> Answer {
        let Ok(request) = serde_json::from_slice::<Map<String, Value>>(body) else {
            return refusal("com.amazon.coral.service#SerializationException", "the body is no JSON object");
        };
        let text = |field: &str| request.get(field).and_then(Value::as_str).unwrap_or_default();
        match target {
            "DynamoDBStreams_20120810.GetRecords" => self.records(now_us, text("ShardIterator")),
            "DynamoDB_20120810.DescribeTable" if text("TableName") == TABLE => self.table(),
            "DynamoDB_20120810.DescribeTable" => not_found("table"),
            "DynamoDBStreams_20120810.ListStreams" => {
                whole(&json!({"Streams": [{"StreamArn": STREAM_ARN, "StreamLabel": LABEL, "TableName": TABLE}]}))
            }
            "DynamoDBStreams_20120810.DescribeStream" | "DynamoDBStreams_20120810.GetShardIterator"
                if text("StreamArn") != STREAM_ARN =>
            {
                not_found("stream")
            }
            "DynamoDBStreams_20120810.DescribeStream" if self.too_often(now_us) => {
                refusal("com.amazon.coral.availability#ThrottlingException", "Rate exceeded")
            }
            "DynamoDBStreams_20120810.DescribeStream" => self.describe(now_us, &request),
            "DynamoDBStreams_20120810.GetShardIterator" => self.iterator(now_us, &request),
            _ => refusal("com.amazon.coral.service#UnknownOperationException", "no operation of a replay"),
        }
    }

    fn too_often(&self, now_us: i64) -> bool {
        let mut listings = self.listings.lock().unwrap_or_else(PoisonError::into_inner);
        let second = now_us.div_euclid(1_000_000);
        *listings = if listings.0 == second { (second, listings.1.saturating_add(1)) } else { (second, 1) };
        listings.1 > self.settings.listings_per_second_max
    }

    fn iterator(&self, now_us: i64, request: &Map<String, Value>) -> Answer {
        self.calls.get_shard_iterator.fetch_add(1, Relaxed);
        let text = |field: &str| request.get(field).and_then(Value::as_str).unwrap_or_default();
        let Some(shard) = self.shard(text("ShardId"), now_us) else { return not_found("shard") };
        let first = self.first_page(shard);
        let (page, index) = match (text("ShardIteratorType"), place(text("SequenceNumber"))) {
            ("TRIM_HORIZON", _) => (first, 0),
            ("AFTER_SEQUENCE_NUMBER", Some((page, index))) => self.settle(page, index + 1),
            ("AT_SEQUENCE_NUMBER", Some(place)) => place,
            // Where everything was always there, nothing is younger than now.
            ("LATEST", _) if self.settings.rate.is_none() => (self.end_page(shard).unwrap_or(first), 0),
            ("LATEST", _) => self.timeline.tip(shard.lineage, now_us),
            _ => return refusal("com.amazon.coral.validate#ValidationException", "no such place"),
        };
        let page = page.clamp(first, self.end_page(shard).unwrap_or(u64::MAX));
        whole(&json!({"ShardIterator": iterator_text(shard, page, index)}))
    }

    /// The records that have arrived, from the iterator's place on: as many as the service gives at once.
    fn records(&self, now_us: i64, iterator: &str) -> Answer {
        let Some((shard, page, index)) = self.parse_iterator(iterator) else {
            return refusal("com.amazon.coral.validate#ValidationException", "Invalid ShardIterator");
        };
        self.calls.get_records.fetch_add(1, Relaxed);
        let end_page = self.end_page(shard);
        if end_page.is_some_and(|end| page >= end) {
            return whole(&json!({"Records": []}));
        }
        let pieces = self.arrived_pieces(shard, page, index, now_us);
        let (next_page, next_index) =
            pieces.last().map_or((page, index), |piece| self.settle(piece.page, piece.records.end));
        let mut body = Vec::with_capacity(PAGE_ANSWER_BYTES);
        body.push(b'{');
        // The last page of a closed shard carries records and no next iterator.
        if end_page != Some(next_page) {
            let next = iterator_text(shard, next_page, next_index);
            body.extend_from_slice(format!(r#""NextShardIterator":"{next}","#).as_bytes());
        }
        body.extend_from_slice(br#""Records":["#);
        let mut count = 0;
        for Piece { page, rendered, records } in pieces {
            if count > 0 {
                body.push(b',');
            }
            let before = self.timeline.records_before(page);
            let values = |index: u64| Values {
                lineage: shard.lineage,
                sequence: sequence(page, index),
                arrived_us: self.timeline.arrival_us(shard.lineage, before + index),
                served_us: now_us,
            };
            count += rendered.serve(records, values, &mut body);
        }
        body.extend_from_slice(b"]}");
        if count > 0 {
            self.calls.records.fetch_add(count, Relaxed);
            self.calls.bytes.fetch_add(body.len() as u64, Relaxed);
        }
        Answer { status: 200, body }
    }

    /// Pieces of rendered pages, none of them empty, which together are one answer.
    fn arrived_pieces(&self, shard: Shard, mut page: u64, mut index: u64, now_us: i64) -> Vec<Piece<'_>> {
        let (end_page, arrived) = (self.end_page(shard), self.timeline.arrived(shard.lineage, now_us));
        let (mut records_left, mut bytes_left) = (PAGE_RECORDS_MAX, PAGE_BYTES_MAX);
        let mut pieces = Vec::new();
        while end_page.is_none_or(|end| page < end) {
            let Some(rendered) = self.pages.get((page % self.timeline.pages()) as usize) else { break };
            let end =
                arrived.saturating_sub(self.timeline.records_before(page)).min(index.saturating_add(records_left));
            let (records, bytes) = rendered.fitting(index..end, bytes_left);
            if records.is_empty() {
                break;
            }
            records_left -= records.end - records.start;
            // And the comma between two pieces.
            bytes_left = bytes_left.saturating_sub(bytes + 1);
            let is_whole = records.end == rendered.count();
            pieces.push(Piece { page, rendered, records });
            if !is_whole {
                break;
            }
            (page, index) = (page.saturating_add(1), 0);
        }
        pieces
    }

    /// The same place, or the next page's begin when it is the end of a page.
    fn settle(&self, page: u64, index: u64) -> (u64, u64) {
        let count = self.pages.get((page % self.timeline.pages()) as usize).map_or(0, Page::count);
        if index >= count { (page.saturating_add(1), 0) } else { (page, index) }
    }

    fn parse_iterator(&self, text: &str) -> Option<(Shard, u64, u64)> {
        let mut numbers = text.split('.').map(|number| number.parse::<u64>().ok());
        let mut next = || numbers.next().flatten();
        let shard = Shard { lineage: next()?, generation: next()? };
        (shard.lineage < self.settings.shards).then_some((shard, next()?, next()?))
    }
}

/// Records of one rendered page.
struct Piece<'a> {
    /// Counted through all shards of a lineage.
    page: u64,
    rendered: &'a Page,
    records: Range<u64>,
}

/// Room for a whole page, so that it is never moved while it is written.
const PAGE_ANSWER_BYTES: usize = 1 << 20;

fn iterator_text(shard: Shard, page: u64, index: u64) -> String {
    format!("{}.{}.{page}.{index}", shard.lineage, shard.generation)
}

fn whole(body: &Value) -> Answer {
    Answer { status: 200, body: body.to_string().into_bytes() }
}

fn refusal(wire_type: &str, message: &str) -> Answer {
    Answer { status: 400, ..whole(&json!({"__type": wire_type, "message": message})) }
}
