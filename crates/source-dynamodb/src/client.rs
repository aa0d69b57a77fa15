//! The calls that the reader needs, made with the AWS SDK.

use std::error::Error;
use std::sync::PoisonError;

use aws_sdk_dynamodbstreams::types::{Shard, ShardFilter, ShardFilterType, ShardIteratorType, StreamStatus};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use tailwater_model::{ServiceTime, ShardId};

use crate::api::{
    ApiError, ApiErrorKind, Dated, IteratorStart, ListedShard, RecordPage, ShardIterator, ShardListing, StreamApi,
};
use crate::connect::DynamoDb;
use crate::date::DateSlot;
use crate::deserializer::{Decode, PageSlot};
use crate::errors;
use crate::page::{RawPage, decode_page, split_page};

/// Most records that the service gives in one page (API reference, `GetRecords`).
const PAGE_RECORDS_MAX: i32 = 1000;
/// Most shards that the service lists in one page (API reference, `DescribeStream`).
const LISTING_SHARDS_MAX: i32 = 100;
/// What an answer has that tells no time. Tailwater takes the time from the service alone, and HTTP asks for it (RFC 9110, 6.6.1).
const NO_DATE: &str = "no `Date` header that can be read";
/// Unknown event names that are logged, once each. Later ones are only counted.
const UNKNOWN_NAMES_MAX: usize = 32;

impl StreamApi for DynamoDb {
    async fn list_shards(&self, stream_arn: &str, after: Option<&ShardId>) -> Result<Dated<ShardListing>, ApiError> {
        self.describe_stream(stream_arn, after, None).await
    }

    async fn list_children(&self, stream_arn: &str, parent: &ShardId) -> Result<Dated<ShardListing>, ApiError> {
        let children = ShardFilter::builder().r#type(ShardFilterType::ChildShards).shard_id(parent.as_str()).build();
        self.describe_stream(stream_arn, None, Some(children)).await
    }

    async fn shard_iterator(
        &self,
        stream_arn: &str,
        shard: &ShardId,
        start: &IteratorStart,
    ) -> Result<ShardIterator, ApiError> {
        let (kind, sequence_number) = match start {
            IteratorStart::TrimHorizon => (ShardIteratorType::TrimHorizon, None),
            IteratorStart::Latest => (ShardIteratorType::Latest, None),
            IteratorStart::After(number) => (ShardIteratorType::AfterSequenceNumber, Some(number.to_string())),
        };
        let call = self.streams.get_shard_iterator().stream_arn(stream_arn).shard_id(shard.as_str());
        let call = call.shard_iterator_type(kind).set_sequence_number(sequence_number);
        let answer = call.send().await.map_err(|error| self.api_error("GetShardIterator", &error))?;
        answer.shard_iterator.map(ShardIterator).ok_or_else(|| incomplete("GetShardIterator", "no iterator"))
    }

    async fn get_records(&self, shard: &ShardId, iterator: &ShardIterator) -> Result<Dated<RecordPage>, ApiError> {
        let page = self.page(shard, iterator, decode_page).await?;
        self.report_unknown_names(&page.answer);
        Ok(page)
    }
}

impl DynamoDb {
    /// One page with its records as they came, for people who want to see exactly that.
    pub async fn get_raw_records(&self, shard: &ShardId, iterator: &ShardIterator) -> Result<Dated<RawPage>, ApiError> {
        self.page(shard, iterator, |page, _| split_page(page)).await
    }

    async fn page<T: Send + 'static>(
        &self,
        shard: &ShardId,
        iterator: &ShardIterator,
        decode: Decode<T>,
    ) -> Result<Dated<T>, ApiError> {
        let slot = PageSlot::new(shard, decode);
        let call = self.streams.get_records().shard_iterator(&iterator.0).limit(PAGE_RECORDS_MAX);
        let answer = slot.filled_by(call.send()).await;
        answer.map_err(|error| self.api_error("GetRecords", &error))?;
        let (answer, date) = slot.take().ok_or_else(|| incomplete("GetRecords", "no page"))?;
        Ok(Dated { answer, date: date.ok_or_else(|| incomplete("GetRecords", NO_DATE))? })
    }

    async fn describe_stream(
        &self,
        stream_arn: &str,
        after: Option<&ShardId>,
        filter: Option<ShardFilter>,
    ) -> Result<Dated<ShardListing>, ApiError> {
        let call = self.streams.describe_stream().stream_arn(stream_arn).limit(LISTING_SHARDS_MAX);
        let call = call.set_exclusive_start_shard_id(after.map(ShardId::to_string)).set_shard_filter(filter);
        let date = DateSlot::default();
        let answer = date.filled_by(call.send()).await.map_err(|error| self.api_error("DescribeStream", &error))?;
        let date = date.take().ok_or_else(|| incomplete("DescribeStream", NO_DATE))?;
        let stream = answer.stream_description.ok_or_else(|| incomplete("DescribeStream", "no description"))?;
        let created_at = stream.creation_request_date_time().and_then(|time| time.to_millis().ok());
        let listed = |shard: &Shard| {
            let id = shard.shard_id().ok_or_else(|| incomplete("DescribeStream", "a shard without an id"))?;
            let range = shard.sequence_number_range();
            Ok(ListedShard {
                shard: ShardId::new(id),
                parent: shard.parent_shard_id().map(ShardId::new),
                closed: range.is_some_and(|range| range.ending_sequence_number().is_some()),
            })
        };
        let answer = ShardListing {
            shards: stream.shards().iter().map(listed).collect::<Result<_, ApiError>>()?,
            last_evaluated: stream.last_evaluated_shard_id().map(ShardId::new),
            disabled: stream.stream_status() == Some(&StreamStatus::Disabled),
            created_at: created_at.map(ServiceTime::from_ms),
        };
        Ok(Dated { answer, date })
    }

    /// The meaning of an error of the streams' service.
    fn api_error<E>(&self, operation: &'static str, error: &SdkError<E, HttpResponse>) -> ApiError
    where
        E: Error + ProvideErrorMetadata + 'static,
    {
        errors::sort(operation, error).at(&self.places.streams)
    }

    fn report_unknown_names(&self, page: &RecordPage) {
        if page.unknown_event_names.is_empty() {
            return;
        }
        let mut counted = self.unknown_event_names.lock().unwrap_or_else(PoisonError::into_inner);
        for (name, records) in &page.unknown_event_names {
            if counted.len() >= UNKNOWN_NAMES_MAX && !counted.contains_key(name) {
                continue;
            }
            let total = counted.entry(name.clone()).or_default();
            let before = *total;
            *total += records;
            // At the first record, and then each time that the count has doubled.
            if before.checked_ilog2() != total.checked_ilog2() {
                let records = *total;
                tracing::warn!(name, records, "unknown event name: its records are settled by their images");
            }
        }
    }
}

/// An answer that lacks what it is for: asked again, never taken for an empty one.
fn incomplete(operation: &str, what: &str) -> ApiError {
    ApiError { kind: ApiErrorKind::Malformed, message: format!("{operation}: the answer has {what}") }
}
