//! Reads N pages of one record each through the reader, from a service in memory with S shards, and tells the reader that
//! each is durable: what is left is the reader's own bookkeeping of a page. `cargo x counts` counts the instructions.
//!
//! Usage: `reader_cost SHARDS PAGES`.

use std::time::Duration;

use tailwater_model::{Delivery, Progress, ServiceTime, ShardId, Source, StreamIdentity};
use tailwater_source_dynamodb::{
    ApiError, ApiErrorKind, Dated, IteratorStart, ListedShard, OnGap, ReaderSettings, RecordPage, ShardIterator,
    ShardListing, StartAt, StreamApi, VISIBLE_WITHIN, decode_page, open_stream, page_text,
};

#[tokio::main(flavor = "current_thread", start_paused = true)]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1).map(|argument| argument.parse::<u64>());
    let (Some(shards), Some(pages)) = (arguments.next(), arguments.next()) else {
        return Err("usage: reader_cost SHARDS PAGES".into());
    };
    let (shards, pages) = (shards?, pages?);
    let stream = StreamIdentity { table: "Orders".into(), table_id: "id".into(), stream_arn: "arn".into() };
    let (mut readers, _) = open_stream(InMemory { shards }, stream, 1, settings());
    let mut reader = readers.pop().ok_or("no reader")?;
    reader.open(&Progress::default()).await?;
    let mut read = 0;
    while read < pages {
        match reader.next().await? {
            Delivery::Batch(batch) => {
                read += batch.counts.read;
                reader.committed(&[(batch.shard, batch.step)], None);
            }
            Delivery::FirstListing(listing) => reader.committed(&[], Some(listing)),
            Delivery::Finished(_) => return Err("a stream that is on has no end".into()),
        }
    }
    Ok(())
}

fn settings() -> ReaderSettings {
    ReaderSettings {
        start: StartAt::TrimHorizon,
        on_gap: OnGap::Stop,
        until_tip: false,
        follows: None,
        poll_interval_min: Duration::from_millis(200),
        poll_interval_max: Duration::from_secs(1),
        visible_within: VISIBLE_WITHIN,
        fetch_slots: 16,
        memory_bytes_max: 64 * 1024 * 1024,
        discovery_interval: Duration::from_secs(24 * 3600),
        seed: 1,
    }
}

/// Answers at once. The iterator says how many pages of its shard were read.
#[derive(Clone)]
struct InMemory {
    shards: u64,
}

impl StreamApi for InMemory {
    async fn list_shards(&self, _: &str, _: Option<&ShardId>) -> Result<Dated<ShardListing>, ApiError> {
        let listed = |number: u64| ListedShard {
            shard: ShardId::new(&format!("shardId-00000001795500000000-{number:08}")),
            parent: None,
            closed: false,
        };
        Ok(dated(ShardListing { shards: (0..self.shards).map(listed).collect(), ..ShardListing::default() }))
    }

    async fn list_children(&self, _: &str, _: &ShardId) -> Result<Dated<ShardListing>, ApiError> {
        Ok(dated(ShardListing::default()))
    }

    async fn shard_iterator(&self, _: &str, _: &ShardId, _: &IteratorStart) -> Result<ShardIterator, ApiError> {
        Ok(ShardIterator("1".into()))
    }

    async fn get_records(&self, shard: &ShardId, iterator: &ShardIterator) -> Result<Dated<RecordPage>, ApiError> {
        let number: u64 = iterator.0.parse().map_err(|_| broken("the iterator is no number"))?;
        let body = format!(
            r#"{{"NextShardIterator":"{}","Records":[{{"dynamodb":{{"ApproximateCreationDateTime":1795364321,"Keys":{{"Id":{{"N":"1"}}}},"SequenceNumber":"{number:021}","SizeBytes":3,"StreamViewType":"KEYS_ONLY"}},"eventID":"e","eventName":"MODIFY"}}]}}"#,
            number + 1
        );
        let page = page_text(body.as_bytes()).and_then(|page| decode_page(page, shard));
        page.map(dated).map_err(|fault| broken(&fault.to_string()))
    }
}

/// The records of this service are of this moment, too.
fn dated<T>(answer: T) -> Dated<T> {
    Dated { answer, date: ServiceTime::from_ms(1_795_364_321_000) }
}

fn broken(message: &str) -> ApiError {
    ApiError { kind: ApiErrorKind::Transient, message: message.into() }
}
