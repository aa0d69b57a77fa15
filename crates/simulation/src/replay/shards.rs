//! The shards of a replay as listings show them: lineages of one shard after the other.

use std::sync::atomic::Ordering::Relaxed;

use serde_json::{Map, Value, json};

use super::page::sequence;
use super::{Answer, LABEL, Replay, STREAM_ARN, TABLE, refusal, whole};

/// Most shards of a listing's page (DynamoDB API reference, `DescribeStream`).
const LISTING_SHARDS_MAX: u64 = 100;

/// One shard: the so-manyth of a lineage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shard {
    pub(super) lineage: u64,
    pub(super) generation: u64,
}

impl Replay {
    /// The table, as far as a reader of its stream needs it.
    pub(super) fn table(&self) -> Answer {
        let arn = STREAM_ARN.split("/stream/").next().unwrap_or_default();
        whole(&json!({"Table": {
            "TableName": TABLE, "TableArn": arn, "TableId": "00000000-0000-4000-8000-000000000001",
            "TableStatus": "ACTIVE", "CreationDateTime": 1_795_478_400,
            "AttributeDefinitions": [{"AttributeName": "Id", "AttributeType": "S"}],
            "KeySchema": [{"AttributeName": "Id", "KeyType": "HASH"}],
            "StreamSpecification": {"StreamEnabled": true, "StreamViewType": self.settings.profile.view_type()},
            "LatestStreamArn": STREAM_ARN, "LatestStreamLabel": LABEL,
        }}))
    }

    /// The shards that are there by now, all or the child of one.
    pub(super) fn describe(&self, now_us: i64, request: &Map<String, Value>) -> Answer {
        self.calls.describe_stream.fetch_add(1, Relaxed);
        let text = |value: Option<&Value>| value.and_then(Value::as_str).map(str::to_owned);
        let begin = match text(request.get("ExclusiveStartShardId")) {
            None => 0,
            Some(after) => match self.shard(&after, now_us) {
                Some(shard) => self.number(shard) + 1,
                None => return not_found("shard"),
            },
        };
        let (listed, more) = match text(request.get("ShardFilter").and_then(|filter| filter.get("ShardId"))) {
            Some(parent) => match self.shard(&parent, now_us) {
                Some(parent) => {
                    (Vec::from_iter(self.child(parent).filter(|child| self.is_there(*child, now_us))), false)
                }
                None => return not_found("shard"),
            },
            None => {
                let limit = request.get("Limit").and_then(Value::as_u64).unwrap_or(LISTING_SHARDS_MAX);
                let all = self.settings.shards.saturating_mul(self.generations());
                let mut rest =
                    (begin..all).map(|number| self.numbered(number)).filter(|shard| self.is_there(*shard, now_us));
                let page = rest.by_ref().take(limit.clamp(1, LISTING_SHARDS_MAX) as usize).collect();
                (page, rest.next().is_some())
            }
        };
        let shards: Vec<Value> = listed.iter().map(|shard| self.listed(*shard, now_us)).collect();
        let mut description = json!({
            "StreamArn": STREAM_ARN, "StreamLabel": LABEL, "StreamStatus": "ENABLED", "TableName": TABLE,
            "KeySchema": [{"AttributeName": "Id", "KeyType": "HASH"}],
            "StreamViewType": self.settings.profile.view_type(), "Shards": shards,
        });
        if let Some(last) = listed.last().filter(|_| more) {
            description["LastEvaluatedShardId"] = self.id(*last).into();
        }
        whole(&json!({"StreamDescription": description}))
    }

    fn listed(&self, shard: Shard, now_us: i64) -> Value {
        let mut range = json!({"StartingSequenceNumber": sequence(self.first_page(shard), 0).to_string()});
        // A shard is closed as soon as its last record has arrived: then its child could be there.
        if let Some(end) = self.end_page(shard).filter(|end| self.has_arrived(shard.lineage, *end, now_us)) {
            let last = end.saturating_sub(1);
            let records = self.timeline.records_before(end) - self.timeline.records_before(last);
            range["EndingSequenceNumber"] = sequence(last, records.saturating_sub(1)).to_string().into();
        }
        let mut listed = json!({"ShardId": self.id(shard), "SequenceNumberRange": range});
        if let Some(generation) = shard.generation.checked_sub(1) {
            listed["ParentShardId"] = self.id(Shard { generation, ..shard }).into();
        }
        listed
    }

    /// The first page of a shard, counted through its lineage.
    pub(super) fn first_page(&self, shard: Shard) -> u64 {
        shard.generation.saturating_mul(self.settings.shard_pages.unwrap_or(0))
    }

    /// The page after a shard's last one; nothing when it never ends.
    pub(super) fn end_page(&self, shard: Shard) -> Option<u64> {
        self.settings.shard_pages.map(|pages| self.first_page(shard).saturating_add(pages))
    }

    /// The shard of an id, if it is there by now.
    pub(super) fn shard(&self, id: &str, now_us: i64) -> Option<Shard> {
        let shard = self.numbered(id.rsplit_once('-')?.1.parse().ok()?);
        (self.is_there(shard, now_us) && self.id(shard) == id).then_some(shard)
    }

    fn child(&self, parent: Shard) -> Option<Shard> {
        let child = Shard { generation: parent.generation + 1, ..parent };
        (child.generation < self.generations()).then_some(child)
    }

    /// Shards of a lineage: a shard that never ends has no child.
    fn generations(&self) -> u64 {
        self.settings.shard_pages.map_or(1, |_| self.settings.generations.max(1))
    }

    /// Whether a shard exists and everything before it has arrived.
    fn is_there(&self, shard: Shard, now_us: i64) -> bool {
        shard.generation < self.generations() && self.has_arrived(shard.lineage, self.first_page(shard), now_us)
    }

    fn has_arrived(&self, lineage: u64, page: u64, now_us: i64) -> bool {
        self.timeline.arrived(lineage, now_us) >= self.timeline.records_before(page)
    }

    fn numbered(&self, number: u64) -> Shard {
        let lineages = self.settings.shards.max(1);
        Shard { lineage: number % lineages, generation: number / lineages }
    }

    fn number(&self, shard: Shard) -> u64 {
        shard.generation.saturating_mul(self.settings.shards).saturating_add(shard.lineage)
    }

    fn id(&self, shard: Shard) -> String {
        format!("shardId-00000001795500000000-{:08}", self.number(shard))
    }
}

pub(super) fn not_found(what: &str) -> Answer {
    let message = format!("Requested resource not found: {what}");
    refusal("com.amazonaws.dynamodb.v20120810#ResourceNotFoundException", &message)
}
