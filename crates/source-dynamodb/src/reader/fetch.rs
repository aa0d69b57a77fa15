//! One fetch of one shard: room in the budget, an iterator if need be, a page. Runs as a task of the lane that asked.

use std::sync::Arc;
use std::time::Duration;

use tailwater_model::{ServiceTime, ShardId};
use tokio::time::Instant;

use super::Shared;
use super::budget::Hold;
use super::status::LaneNotes;
use crate::api::{ApiError, ApiErrorKind, Dated, IteratorStart, RecordPage, ShardIterator, StreamApi};

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
    /// Where it began, as long as no page was read with it.
    pub start: Option<IteratorStart>,
}

/// What to fetch.
pub(super) struct Fetch {
    pub shard: ShardId,
    pub iterator: Option<Arc<Issued>>,
    /// Where a new iterator begins if the old one cannot be used.
    pub start: IteratorStart,
}

/// What came of it.
pub(super) struct Fetched {
    pub shard: ShardId,
    /// A new iterator was issued.
    pub is_fresh: bool,
    pub result: Result<FetchedPage, FetchFailed>,
}

/// A page with its room in the budget.
pub(super) struct FetchedPage {
    pub page: RecordPage,
    /// The date of the answer.
    pub date: ServiceTime,
    /// When it was asked for: its next iterator is no older, and the answer may have been long on its way.
    pub asked_at: Instant,
    pub answered_at: Instant,
    /// The iterator that it was read with.
    pub used: Arc<Issued>,
    pub hold: Hold,
}

/// Why a fetch gave no page.
pub(super) struct FetchFailed {
    pub call: &'static str,
    pub error: ApiError,
    /// The iterator that was used, if it got so far.
    pub iterator: Option<Arc<Issued>>,
}

/// Fetches one page for this lane.
pub(super) async fn fetch<A: StreamApi>(api: A, shared: Arc<Shared>, lane: usize, fetch: Fetch) -> Fetched {
    let Fetch { shard, iterator, start } = fetch;
    // First the room, then the iterator: the wait for room may be longer than an iterator lives.
    let mut hold = reserve(&shared, lane).await;
    let young = iterator.filter(|issued| issued.at.elapsed() < ITERATOR_AGE_MAX);
    let is_fresh = young.is_none();
    let (issued, start) = match young {
        Some(issued) => (issued, Some(start)),
        None => match in_time(api.shard_iterator(&shared.stream_arn, &shard, &start)).await {
            Ok(iterator) => (Arc::new(Issued { iterator, at: Instant::now(), start: Some(start) }), None),
            Err(error) => {
                let failed = FetchFailed { call: "GetShardIterator", error, iterator: None };
                return Fetched { shard, is_fresh: false, result: Err(failed) };
            }
        },
    };
    let asked_at = Instant::now();
    let result = match in_time(api.get_records(&shard, &issued.iterator)).await {
        Ok(Dated { answer: mut page, date }) => {
            leave_out_what_was_read(&mut page, issued.start.as_ref().or(start.as_ref()));
            hold.resize(if page.records.is_empty() { 0 } else { page.memory_bytes });
            Ok(FetchedPage { page, date, asked_at, answered_at: Instant::now(), used: issued, hold })
        }
        Err(error) => Err(FetchFailed { call: "GetRecords", error, iterator: Some(issued) }),
    };
    Fetched { shard, is_fresh, result }
}

/// Some servers begin a page with the record that the shard was read to. Compared for equality: numbers have no order.
fn leave_out_what_was_read(page: &mut RecordPage, start: Option<&IteratorStart>) {
    let Some(IteratorStart::After(read_to)) = start else { return };
    if page.records.first().is_some_and(|first| first.sequence_number() == read_to) {
        page.records.remove(0);
    }
}

/// Room for a page. Whoever has to wait for it says so.
async fn reserve(shared: &Shared, lane: usize) -> Hold {
    if let Some(hold) = shared.budget.try_reserve() {
        return hold;
    }
    shared.note(lane, LaneNotes::waits_for_room);
    let hold = shared.budget.reserve().await;
    shared.note(lane, LaneNotes::has_room);
    hold
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
