//! Keeps each record's own text beside the reader, which turns records into change events and forgets their text.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use bytestring::ByteString;
use tailwater_model::{SequenceNumber, ShardId};
use tailwater_source_dynamodb::{
    ApiError, ApiErrorKind, Dated, Decoded, DynamoDb, IteratorStart, RecordPage, ShardIterator, ShardListing,
    StreamApi, decode_page,
};

/// The texts of records that were read and not yet printed, by shard and sequence number. The reader's byte budget
/// bounds them: printing a record takes its text out.
pub type RawRecords = Arc<Mutex<BTreeMap<(ShardId, String), ByteString>>>;

/// The service, with a look at each record as it came.
#[derive(Clone)]
pub struct RawTap {
    dynamodb: DynamoDb,
    records: RawRecords,
    /// The last record of each shard that was kept. Some servers send it again, and the reader leaves it out.
    last: Arc<Mutex<BTreeMap<ShardId, SequenceNumber>>>,
}

impl RawTap {
    /// Puts the texts of all records read through it into `records`.
    pub fn new(dynamodb: DynamoDb, records: RawRecords) -> Self {
        Self { dynamodb, records, last: Arc::default() }
    }

    fn keep(&self, shard: &ShardId, texts: &[ByteString], page: &RecordPage) {
        let mut records = self.records.lock().unwrap_or_else(PoisonError::into_inner);
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        for (text, number) in texts.iter().zip(page.records.iter().map(Decoded::sequence_number)) {
            if last.get(shard) != Some(number) {
                records.insert((shard.clone(), number.to_string()), text.clone());
                last.insert(shard.clone(), number.detached());
            }
        }
    }
}

impl StreamApi for RawTap {
    async fn list_shards(&self, stream_arn: &str, after: Option<&ShardId>) -> Result<Dated<ShardListing>, ApiError> {
        self.dynamodb.list_shards(stream_arn, after).await
    }

    async fn list_children(&self, stream_arn: &str, parent: &ShardId) -> Result<Dated<ShardListing>, ApiError> {
        self.dynamodb.list_children(stream_arn, parent).await
    }

    async fn shard_iterator(
        &self,
        stream_arn: &str,
        shard: &ShardId,
        start: &IteratorStart,
    ) -> Result<ShardIterator, ApiError> {
        self.dynamodb.shard_iterator(stream_arn, shard, start).await
    }

    /// The page is decoded from the very texts that are kept, so an event and its text cannot be of different answers.
    async fn get_records(&self, shard: &ShardId, iterator: &ShardIterator) -> Result<Dated<RecordPage>, ApiError> {
        let Dated { answer: raw, date } = Box::pin(self.dynamodb.get_raw_records(shard, iterator)).await?;
        let texts: Vec<&str> = raw.records.iter().map(|text| &**text).collect();
        let body = format!(r#"{{"Records":[{}]}}"#, texts.join(","));
        let mut page = decode_page(body.into(), shard)
            .map_err(|fault| ApiError { kind: ApiErrorKind::Malformed, message: fault.to_string() })?;
        page.next = raw.next;
        self.keep(shard, &raw.records, &page);
        Ok(Dated { answer: page, date })
    }
}
