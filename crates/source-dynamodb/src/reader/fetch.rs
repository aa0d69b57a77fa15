//! One fetch of one shard: room in the budget, an iterator if need be, a page. Runs as a task of the lane that asked.

use std::sync::Arc;
use std::time::Duration;

use tailwater_model::ShardId;
use tokio::time::Instant;

use super::budget::{Budget, Hold};
use crate::api::{ApiError, ApiErrorKind, Decoded, IteratorStart, RecordPage, ShardIterator, StreamApi};

/// Iterators expire 15 minutes after they were issued (DynamoDB API reference, `GetShardIterator`). Older ones than this
/// are not used: back-pressure may have held them for long.
const ITERATOR_AGE_MAX: Duration = Duration::from_secs(10 * 60);
/// Longest wait for one answer.
pub(super) const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);

/// An iterator and when it was issued.
#[derive(Clone, Debug)]
pub(super) struct Issued {
    pub iterator: ShardIterator,
    pub at: Instant,
}

/// What to fetch.
pub(super) struct Fetch {
    pub shard: ShardId,
    pub iterator: Option<Issued>,
    /// Where a new iterator begins if the old one cannot be used.
    pub start: IteratorStart,
}

/// What came of it.
pub(super) struct Fetched {
    pub shard: ShardId,
    /// A new iterator was issued for this start.
    pub issued: Option<IteratorStart>,
    pub result: Result<FetchedPage, FetchFailed>,
}

/// A page with its room in the budget.
pub(super) struct FetchedPage {
    pub page: RecordPage,
    /// When its next iterator was issued.
    pub at: Instant,
    pub hold: Hold,
}

/// A fetch that gave no page.
pub(super) struct FetchFailed {
    pub call: &'static str,
    pub error: ApiError,
    /// The iterator that was used, if it got so far.
    pub iterator: Option<Issued>,
    /// The shard was not found, and neither is the stream.
    pub stream_gone: bool,
}

/// Fetches one page.
pub(super) async fn fetch<A: StreamApi>(api: A, stream_arn: Arc<str>, budget: Arc<Budget>, fetch: Fetch) -> Fetched {
    let Fetch { shard, iterator, start } = fetch;
    // First the room, then the iterator: the wait for room may be longer than an iterator lives.
    let mut hold = budget.reserve().await;
    let mut fresh_start = None;
    let young = iterator.filter(|issued| issued.at.elapsed() < ITERATOR_AGE_MAX);
    let issued = match young {
        Some(issued) => issued,
        None => match in_time(api.shard_iterator(&stream_arn, &shard, &start)).await {
            Ok(iterator) => {
                fresh_start = Some(start);
                Issued { iterator, at: Instant::now() }
            }
            Err(error) => {
                drop(hold);
                let result = Err(failed(&api, &stream_arn, "GetShardIterator", error, None).await);
                return Fetched { shard, issued: None, result };
            }
        },
    };
    let result = match in_time(api.get_records(&shard, &issued.iterator)).await {
        Ok(page) => {
            hold.resize(if page.records.is_empty() { 0 } else { page_memory(&page) });
            Ok(FetchedPage { page, at: Instant::now(), hold })
        }
        Err(error) => {
            drop(hold);
            Err(failed(&api, &stream_arn, "GetRecords", error, Some(issued)).await)
        }
    };
    Fetched { shard, issued: fresh_start, result }
}

/// An answer within its time, or a passing error.
pub(super) async fn in_time<T>(call: impl Future<Output = Result<T, ApiError>>) -> Result<T, ApiError> {
    match tokio::time::timeout(REQUEST_TIMEOUT, call).await {
        Ok(answer) => answer,
        Err(_) => Err(ApiError {
            kind: ApiErrorKind::Transient,
            message: format!("no answer within {} seconds", REQUEST_TIMEOUT.as_secs()),
        }),
    }
}

/// "Not found" is said of a shard and of the whole stream alike: ask for the stream before thinking that a shard is lost.
async fn failed<A: StreamApi>(
    api: &A,
    stream_arn: &str,
    call: &'static str,
    error: ApiError,
    iterator: Option<Issued>,
) -> FetchFailed {
    if error.kind != ApiErrorKind::NotFound {
        return FetchFailed { call, error, iterator, stream_gone: false };
    }
    match in_time(api.list_shards(stream_arn, None)).await {
        Ok(_) => FetchFailed { call, error, iterator, stream_gone: false },
        Err(other) if other.kind == ApiErrorKind::NotFound => FetchFailed { call, error, iterator, stream_gone: true },
        Err(other) => FetchFailed { call: "DescribeStream", error: other, iterator, stream_gone: false },
    }
}

/// Bytes that a page holds: what came over the wire, which its items are slices of, and the records around them.
fn page_memory(page: &RecordPage) -> usize {
    page.bytes + page.records.len() * size_of::<Decoded>()
}
