//! One fetch of one shard: room in the budget, an iterator if need be, a page. Runs as a task of the lane that asked.

use std::sync::Arc;
use std::time::Duration;

use tailwater_model::ShardId;
use tokio::time::Instant;

use super::budget::{Budget, Hold};
use crate::api::{ApiError, ApiErrorKind, Decoded, IteratorStart, RecordPage, ShardIterator, StreamApi};
use crate::graph::ABSENCE_MAX;

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
    /// When the shard was last heard of.
    pub heard_at: Instant,
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
    /// When it was asked for: its next iterator is no older, and the answer may have been long on its way.
    pub asked_at: Instant,
    pub hold: Hold,
}

/// Why a fetch gave no page.
pub(super) enum FetchFailed {
    /// A call failed.
    Call {
        call: &'static str,
        error: ApiError,
        /// The iterator that was used, if it got so far.
        iterator: Option<Issued>,
    },
    /// The shard was not found, and neither is the stream.
    StreamGone,
    /// Nothing of the shard was read for so long that its trim horizon may have passed what is to be read next.
    TooLate,
}

/// Fetches one page.
pub(super) async fn fetch<A: StreamApi>(api: A, stream_arn: Arc<str>, budget: Arc<Budget>, fetch: Fetch) -> Fetched {
    let Fetch { shard, iterator, start, heard_at } = fetch;
    // First the room, then the iterator: the wait for room may be longer than an iterator lives.
    let mut hold = budget.reserve().await;
    let mut fresh_start = None;
    let young = iterator.filter(|issued| issued.at.elapsed() < ITERATOR_AGE_MAX);
    let issued = match young {
        Some(issued) => issued,
        // The process stood still, or its sink did. The service would answer with what is left and say nothing of the rest.
        None if start == IteratorStart::TrimHorizon && heard_at.elapsed() > ABSENCE_MAX => {
            drop(hold);
            return Fetched { shard, issued: None, result: Err(FetchFailed::TooLate) };
        }
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
    let asked_at = Instant::now();
    let result = match in_time(api.get_records(&shard, &issued.iterator)).await {
        Ok(page) => {
            hold.resize(if page.records.is_empty() { 0 } else { page_memory(&page) });
            Ok(FetchedPage { page, asked_at, hold })
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
        return FetchFailed::Call { call, error, iterator };
    }
    match in_time(api.list_shards(stream_arn, None)).await {
        Ok(_) => FetchFailed::Call { call, error, iterator },
        Err(other) if other.kind == ApiErrorKind::NotFound => FetchFailed::StreamGone,
        Err(other) => FetchFailed::Call { call: "DescribeStream", error: other, iterator },
    }
}

/// Bytes that a page holds: what came over the wire, which its items are slices of, and the records around them.
fn page_memory(page: &RecordPage) -> usize {
    page.bytes + page.records.len() * size_of::<Decoded>()
}
