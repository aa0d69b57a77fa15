//! Change events of a shop's orders, 1.1 KB each: what the benchmarks of transforms, encoders and sinks carry. Every
//! benchmark of the workspace takes this file, so that their figures are about the same events.

use tailwater_model::{
    Advance, Batch, Change, ChangeEvent, Counts, Group, Item, KeyAttribute, KeyKind, KeySchema, PipelineIdentity,
    Position, SequenceNumber, ShardId, SourceInfo, Step, StreamIdentity,
};

/// The creation time of all of them, in milliseconds since 1970.
const CREATED_AT_MS: i64 = 1_795_364_321_000;

/// The key of an order.
pub fn keys() -> KeySchema {
    let attribute = |name: &str| KeyAttribute { name: name.into(), kind: KeyKind::S };
    KeySchema { partition: attribute("Id"), sort: Some(attribute("Fecha")) }
}

/// A pipeline of one lane.
pub fn identity() -> PipelineIdentity {
    PipelineIdentity {
        name: "orders".into(),
        lanes: 1,
        stream: StreamIdentity {
            table: "Orders".into(),
            table_id: "4d3c".into(),
            stream_arn: "arn:aws:dynamodb:us-east-1:000000000000:table/Orders/stream/2026-11-24T00:00:00.000".into(),
        },
    }
}

/// So many changes, with both images, of so many items in turn.
pub fn events(count: usize, items: usize) -> Vec<ChangeEvent> {
    (0..count).map(|number| event(number, number % items)).collect()
}

fn event(number: usize, order: usize) -> ChangeEvent {
    let key = format!(r#""Id":{{"S":"ORDER#{order:08}"}},"Fecha":{{"S":"2026-11-23T10:{:02}:00Z"}}"#, order % 60);
    let item = |json: String| Item::parse(json.into()).expect("typed JSON");
    let image = |status: &str| {
        item(format!(
            r#"{{{key},"status":{{"S":"{status}"}},"customer":{{"S":"Zoë \"Z\" Müller, Straße {order}"}},"total":{{"N":"{}.50"}},"paid":{{"BOOL":true}},"note":{{"NULL":true}},"lines":{{"L":[{{"M":{{"sku":{{"S":"A-{order}"}},"quantity":{{"N":"2"}}}}}},{{"M":{{"sku":{{"S":"B-7"}},"quantity":{{"N":"11"}}}}}}]}},"tags":{{"SS":["gift","new","vip"]}},"address":{{"M":{{"city":{{"S":"Köln"}},"street":{{"S":"Am Ufer {order}"}}}}}},"version":{{"N":"{number}"}}}}"#,
            order * 7
        ))
    };
    ChangeEvent {
        key: item(format!("{{{key}}}")),
        change: Change::Modify { old: Some(image("NEW")), new: Some(image("PAID")) },
        source: SourceInfo {
            shard: shard(),
            sequence_number: SequenceNumber::parse(format!("1110000000000{number:08}").into()).expect("digits"),
            event_id: format!("c4ca4238a0b923820dcc{number:012}").into(),
            created_at_ms: CREATED_AT_MS,
            size_bytes: 812,
        },
    }
}

/// The shard of all events.
pub fn shard() -> ShardId {
    ShardId::new("shardId-00000001795500000000-00000001")
}

/// A group of one batch that makes the shard known.
pub fn registration() -> Group {
    let step = Step::Register { parent: None, position: Position::Start };
    Group { batches: vec![batch(step, Vec::new())], first_listing: None }
}

/// A group of one batch. It moves the shard from the start to the start: so it fits as often as one likes.
pub fn group(events: &[ChangeEvent]) -> Group {
    let step = Step::Advance(Advance { from: Position::Start, to: Position::Start });
    Group { batches: vec![batch(step, events.to_vec())], first_listing: None }
}

fn batch(step: Step, events: Vec<ChangeEvent>) -> Batch {
    let records = events.len() as u64;
    let counts = Counts { read: records, written: records, ..Counts::default() };
    let (read_until, dead_letters) = (None, Vec::new());
    Batch { shard: shard(), step, read_until, events, dead_letters, gap: None, counts, bytes: 0 }
}
