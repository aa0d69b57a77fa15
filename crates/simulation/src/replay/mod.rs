//! A replay: pages of `GetRecords` that were rendered before, for any number of shards, so that the source is never what a
//! benchmark waits for.
//!
//! All shards serve the same pages. Iterators say shard and page, so a call leaves nothing behind but the rate of listings.
//!
//! Deliberately absent: the manners of the [`service`](crate::service); trimming, splits, expiry.

mod page;
mod server;

pub use page::Profile;
pub use server::serve;

use std::sync::{Mutex, PoisonError};

use serde_json::{Map, Value, json};

use page::{Page, place, render, sequence};

/// The stream's ARN.
pub const STREAM_ARN: &str = "arn:aws:dynamodb:us-east-1:000000000000:table/Replay/stream/2026-11-24T00:00:00.000";
const LABEL: &str = "2026-11-24T00:00:00.000";
/// Most shards of a listing's page, and most listings a second (DynamoDB API reference, `DescribeStream`).
const LISTING_SHARDS_MAX: u64 = 100;
const LISTINGS_PER_SECOND_MAX: u32 = 10;

/// Pages and how they are served.
#[derive(Debug)]
pub struct Replay {
    profile: Profile,
    shards: u64,
    pages: Vec<Page>,
    /// Checksums of the pages' records with what closes an answer.
    tails: Vec<crc32fast::Hasher>,
    ends: bool,
    /// The second of the last listing, and how many it had.
    listings: Mutex<(i64, u32)>,
}

/// What closes an answer after its records.
const TAIL: &str = "]}";

/// The body of an answer with its checksum, or of a refusal.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: String,
    pub(super) checksum: u32,
}

impl Replay {
    /// Renders `pages` pages (at least one) from the seed. When it `ends`, each of the `shards` is closed and has them once;
    /// otherwise it has them again and again, with the same sequence numbers.
    pub fn new(profile: Profile, shards: u64, pages: u64, ends: bool, seed: u64) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed);
        let pages: Vec<Page> = (0..pages.max(1)).map(|page| render(profile, page, &mut rng)).collect();
        let tails = pages.iter().map(|page| {
            let mut hasher = crc32fast::Hasher::new();
            hasher.update(page.records.as_bytes());
            hasher.update(TAIL.as_bytes());
            hasher
        });
        Self { profile, shards, tails: tails.collect(), pages, ends, listings: Mutex::new((i64::MIN, 0)) }
    }

    /// Records that one shard serves before its pages end or begin again.
    pub fn records_per_shard(&self) -> u64 {
        self.pages.iter().map(|page| page.count).sum()
    }

    pub(super) fn answer(&self, now_ms: i64, target: &str, body: &[u8]) -> Answer {
        let Ok(request) = serde_json::from_slice::<Map<String, Value>>(body) else {
            return refusal("com.amazon.coral.service#SerializationException", "the body is no JSON object");
        };
        let text = |field: &str| request.get(field).and_then(Value::as_str).unwrap_or_default();
        match target.strip_prefix("DynamoDBStreams_20120810.").unwrap_or_default() {
            "ListStreams" => {
                whole(json!({"Streams": [{"StreamArn": STREAM_ARN, "StreamLabel": LABEL, "TableName": "Replay"}]}))
            }
            "DescribeStream" | "GetShardIterator" if text("StreamArn") != STREAM_ARN => not_found("stream"),
            "DescribeStream" if self.too_often(now_ms) => {
                refusal("com.amazon.coral.availability#ThrottlingException", "Rate exceeded")
            }
            "DescribeStream" => self.describe(&request),
            "GetShardIterator" => self.iterator(text("ShardId"), text("ShardIteratorType"), text("SequenceNumber")),
            "GetRecords" => self.records(text("ShardIterator")),
            _ => refusal("com.amazon.coral.service#UnknownOperationException", "no operation of streams"),
        }
    }

    fn too_often(&self, now_ms: i64) -> bool {
        let mut listings = self.listings.lock().unwrap_or_else(PoisonError::into_inner);
        let second = now_ms.div_euclid(1_000);
        *listings = if listings.0 == second { (second, listings.1.saturating_add(1)) } else { (second, 1) };
        listings.1 > LISTINGS_PER_SECOND_MAX
    }

    fn describe(&self, request: &Map<String, Value>) -> Answer {
        let start = match request.get("ExclusiveStartShardId").and_then(Value::as_str) {
            None => 0,
            Some(after) => match self.shard(after) {
                Some(shard) => shard + 1,
                None => return not_found("shard"),
            },
        };
        let limit = request.get("Limit").and_then(Value::as_u64).unwrap_or(LISTING_SHARDS_MAX);
        let end = start.saturating_add(limit.clamp(1, LISTING_SHARDS_MAX)).min(self.shards);
        // No shard of a replay has children.
        let listed = if request.get("ShardFilter").is_some_and(Value::is_object) { start..start } else { start..end };
        let mut range = json!({"StartingSequenceNumber": sequence(0, 0).to_string()});
        if let (true, Some(last)) = (self.ends, self.pages.last()) {
            range["EndingSequenceNumber"] = sequence(self.pages.len() as u64 - 1, last.count - 1).to_string().into();
        }
        let more = listed.end < self.shards && !listed.is_empty();
        let shards: Vec<Value> =
            listed.map(|shard| json!({"ShardId": shard_id(shard), "SequenceNumberRange": range})).collect();
        let mut description = json!({
            "StreamArn": STREAM_ARN, "StreamLabel": LABEL, "StreamStatus": "ENABLED", "TableName": "Replay",
            "StreamViewType": self.profile.view_type(), "Shards": shards,
        });
        if more {
            description["LastEvaluatedShardId"] = shard_id(end - 1).into();
        }
        whole(json!({"StreamDescription": description}))
    }

    fn iterator(&self, shard: &str, kind: &str, number: &str) -> Answer {
        let Some(shard) = self.shard(shard) else { return not_found("shard") };
        let page = match (kind, place(number)) {
            ("TRIM_HORIZON", _) => 0,
            // Pages are the unit: a place inside of one begins that page again.
            ("AFTER_SEQUENCE_NUMBER", Some((page, index))) => {
                let is_last = self.page(page).is_some_and(|page| index + 1 == page.count);
                if is_last { page + 1 } else { page }
            }
            ("AT_SEQUENCE_NUMBER", Some((page, _))) => page,
            ("LATEST", _) => self.pages.len() as u64,
            _ => return refusal("com.amazon.coral.validate#ValidationException", "no such place"),
        };
        whole(json!({"ShardIterator": format!("{shard}.{page}")}))
    }

    fn records(&self, iterator: &str) -> Answer {
        let parsed = iterator.split_once('.').and_then(|(shard, page)| Some((shard.parse().ok()?, page.parse().ok()?)));
        let Some((shard, number)) = parsed.filter(|(shard, _): &(u64, u64)| *shard < self.shards) else {
            return refusal("com.amazon.coral.validate#ValidationException", "Invalid ShardIterator");
        };
        let count = self.pages.len() as u64;
        if self.ends && number >= count {
            return whole(json!({"Records": []}));
        }
        let next = number.wrapping_add(1);
        // The last page of a closed shard carries records and no next iterator.
        let head = if self.ends && next == count {
            r#"{"Records":["#.to_owned()
        } else {
            format!(r#"{{"NextShardIterator":"{shard}.{next}","Records":["#)
        };
        let Some((page, tail)) = self.page(number).zip(self.tails.get((number % count) as usize)) else {
            return refusal("com.amazonaws.dynamodb.v20120810#InternalServerError", "no such page");
        };
        let mut checksum = crc32fast::Hasher::new();
        checksum.update(head.as_bytes());
        checksum.combine(tail);
        let body = [head.as_str(), &page.records, TAIL].concat();
        Answer { status: 200, body, checksum: checksum.finalize() }
    }

    fn page(&self, number: u64) -> Option<&Page> {
        self.pages.get((number % self.pages.len() as u64) as usize)
    }

    fn shard(&self, id: &str) -> Option<u64> {
        let number = id.rsplit_once('-')?.1.parse().ok()?;
        (number < self.shards && shard_id(number) == id).then_some(number)
    }
}

fn shard_id(number: u64) -> String {
    format!("shardId-00000001795500000000-{number:08}")
}

fn whole(body: Value) -> Answer {
    let body = body.to_string();
    Answer { status: 200, checksum: crc32fast::hash(body.as_bytes()), body }
}

fn refusal(wire_type: &str, message: &str) -> Answer {
    Answer { status: 400, ..whole(json!({"__type": wire_type, "message": message})) }
}

fn not_found(what: &str) -> Answer {
    let message = format!("Requested resource not found: {what}");
    refusal("com.amazonaws.dynamodb.v20120810#ResourceNotFoundException", &message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(replay: &Replay, iterator: &str) -> (Value, String) {
        let answer = replay.records(iterator);
        assert_eq!(answer.checksum, crc32fast::hash(answer.body.as_bytes()));
        (serde_json::from_str(&answer.body).expect("JSON"), answer.body)
    }

    #[test]
    fn every_profile_is_json_with_the_right_checksum_and_the_same_for_a_seed() {
        use Profile::{Fat, FourKilobytes, KeysOnly, NonAscii, OneKilobyte, Tiny};
        for profile in [OneKilobyte, FourKilobytes, Fat, Tiny, KeysOnly, NonAscii] {
            let replay = Replay::new(profile, 3, 2, true, 7);
            let (first, body) = read(&replay, "2.0");
            assert_eq!(first["NextShardIterator"], "2.1");
            let (last, _) = read(&replay, "2.1");
            assert!(last.get("NextShardIterator").is_none());
            let records = [&first, &last].map(|page| page["Records"].as_array().expect("records").len() as u64);
            assert_eq!(records.iter().sum::<u64>(), replay.records_per_shard());
            assert!(records.iter().all(|count| *count > 0), "{profile:?}");
            assert_eq!(read(&Replay::new(profile, 3, 2, true, 7), "2.0").1, body);
        }
    }

    #[test]
    fn listings_are_paged_and_have_a_rate() {
        let replay = Replay::new(Profile::Tiny, 250, 1, false, 1);
        let (mut after, mut sizes) = (None, Vec::new());
        loop {
            let request = json!({"StreamArn": STREAM_ARN, "ExclusiveStartShardId": after}).to_string();
            let answer = replay.answer(0, "DynamoDBStreams_20120810.DescribeStream", request.as_bytes());
            let listing: Value = serde_json::from_str(&answer.body).expect("JSON");
            sizes.push(listing["StreamDescription"]["Shards"].as_array().expect("shards").len());
            after = listing["StreamDescription"]["LastEvaluatedShardId"].as_str().map(str::to_owned);
            if after.is_none() {
                break;
            }
        }
        assert_eq!(sizes, [100, 100, 50]);
        let again = |now_ms| {
            let request = json!({"StreamArn": STREAM_ARN}).to_string();
            replay.answer(now_ms, "DynamoDBStreams_20120810.DescribeStream", request.as_bytes()).status
        };
        let statuses: Vec<u16> = (0..8).map(|_| again(999)).collect();
        assert_eq!(statuses, [200, 200, 200, 200, 200, 200, 200, 400]);
        assert_eq!(again(1_000), 200);
    }
}
