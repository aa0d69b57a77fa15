//! Writes to items, the events and groups that they become, and what a sink must hold after them.

use tailwater_model::{
    Advance, Batch, Change, ChangeEvent, Counts, Group, Item, KeyAttribute, KeyKind, KeySchema, PipelineIdentity,
    Position, RemoveCause, SequenceNumber, ShardId, SourceInfo, Step, StreamIdentity, push_quoted,
};

use super::{Held, Manner};

/// `ApproximateCreationDateTime` of every event, in milliseconds since 1970.
const CREATED_AT_MS: i64 = 1_700_000_000_000;

/// One write to an item of the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    /// Its place in the stream, from 1; also makes its event id.
    pub number: u64,
    /// The item's key.
    pub key: String,
    /// Whether the item is there afterwards.
    pub is_put: bool,
}

/// Puts the item.
pub fn put(number: u64, key: &str) -> Write {
    Write { number, key: key.to_owned(), is_put: true }
}

/// Removes the item.
pub fn remove(number: u64, key: &str) -> Write {
    Write { number, key: key.to_owned(), is_put: false }
}

impl Write {
    /// The id of its event.
    pub fn event_id(&self) -> String {
        format!("event-{:06}", self.number)
    }

    /// The image of the item with a text in it.
    ///
    /// # Panics
    /// Never: the image is typed JSON.
    pub fn image(&self, text: &str) -> Item {
        let mut json = String::from(r#"{"Id":{"S":"#);
        push_quoted(&self.key, &mut json);
        json.push_str(r#"},"text":{"S":"#);
        push_quoted(text, &mut json);
        json.push_str("}}");
        item(json)
    }

    /// The change event in a shard.
    pub fn event(&self, shard: &ShardId) -> ChangeEvent {
        let image = self.image(&self.number.to_string());
        let change = if self.is_put {
            Change::Modify { old: None, new: Some(image) }
        } else {
            Change::Remove { old: Some(image), cause: RemoveCause::Request }
        };
        self.event_of(shard, change)
    }

    /// The event of another change to the same item.
    pub fn event_of(&self, shard: &ShardId, change: Change) -> ChangeEvent {
        let mut key = String::from(r#"{"Id":{"S":"#);
        push_quoted(&self.key, &mut key);
        key.push_str("}}");
        let source = SourceInfo {
            shard: shard.clone(),
            sequence_number: sequence_number(self.number),
            event_id: self.event_id().into(),
            created_at_ms: CREATED_AT_MS,
            size_bytes: 10,
        };
        ChangeEvent { key: item(key), change, source }
    }
}

#[expect(clippy::expect_used, reason = "only text that this file writes")]
fn item(json: String) -> Item {
    Item::parse(json.into()).expect("typed JSON")
}

#[expect(clippy::expect_used, reason = "only text that this file writes")]
fn sequence_number(number: u64) -> SequenceNumber {
    SequenceNumber::parse(format!("4{number:020}").into()).expect("digits")
}

/// The position behind a write.
pub fn after(number: u64) -> Position {
    Position::After(sequence_number(number))
}

/// The key of the table.
pub(super) fn key_schema() -> KeySchema {
    KeySchema { partition: KeyAttribute { name: "Id".into(), kind: KeyKind::S }, sort: None }
}

impl Write {
    /// The schema of all keys.
    pub fn key_schema() -> KeySchema {
        key_schema()
    }
}

/// A pipeline that reads the stream with this label of the table.
pub fn pipeline(name: &str, lanes: u32, stream: &str) -> PipelineIdentity {
    let stream = StreamIdentity {
        table: "Orders".into(),
        table_id: "table-1".into(),
        stream_arn: format!("arn:aws:dynamodb:eu-west-1:1:table/Orders/stream/{stream}"),
    };
    PipelineIdentity { name: name.into(), lanes, stream }
}

/// A shard that belongs to the lane, the `nth` of them.
pub fn shard_of(lane: u32, lanes: u32, nth: usize) -> ShardId {
    let shards = (0_u64..).map(|number| ShardId::new(&format!("shardId-{number:020}-00c0ffee")));
    let mut of_lane = shards.filter(|shard| shard.lane(lanes) == lane);
    of_lane.nth(nth).unwrap_or_else(|| ShardId::new("shardId-none"))
}

/// The shard becomes known.
pub fn register(shard: &ShardId, parent: Option<&ShardId>) -> Batch {
    let step = Step::Register { parent: parent.cloned(), position: Position::Start };
    Batch { step, ..advance(shard, Position::Start, Position::Start, &[]) }
}

/// The shard, which is drained, is forgotten.
pub fn forget(shard: &ShardId) -> Batch {
    Batch { step: Step::Forget, ..advance(shard, Position::End, Position::End, &[]) }
}

/// The shard moves on with these writes.
pub fn advance(shard: &ShardId, from: Position, to: Position, writes: &[Write]) -> Batch {
    Batch {
        shard: shard.clone(),
        step: Step::Advance(Advance { from, to }),
        read_until: None,
        events: writes.iter().map(|write| write.event(shard)).collect(),
        dead_letters: Vec::new(),
        gap: None,
        counts: Counts { read: writes.len() as u64, written: writes.len() as u64, ..Counts::default() },
        bytes: 0,
    }
}

/// A group that only carries batches.
pub fn group(batches: impl IntoIterator<Item = Batch>) -> Group {
    Group { batches: batches.into_iter().collect(), first_listing: None }
}

/// What a sink holds after these writes, by naive replay.
pub fn expected(manner: Manner, writes: &[Write]) -> Held {
    let mut held = Held::new();
    for write in writes {
        let ids = held.entry(write.key.clone()).or_default();
        if manner == Manner::Mirror {
            ids.clear();
        }
        if manner == Manner::Log || write.is_put {
            ids.push(write.event_id());
        }
    }
    held.retain(|_, ids| !ids.is_empty());
    held
}
