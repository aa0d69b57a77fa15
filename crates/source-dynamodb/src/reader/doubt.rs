//! Asks for iterators of shards, to begin with or to know whether the shards exist: a listing proves no absence, the service
//! itself is asked whether it still has an iterator.

use std::sync::Arc;
use std::time::Duration;

use tailwater_model::ShardId;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::Shared;
use super::fetch::{Issued, in_time};
use crate::api::{ApiError, ApiErrorKind, IteratorStart, StreamApi};

/// "Not found" answers in a row that say that a shard does not exist.
const NOT_FOUND_PROVES: u32 = 5;
/// Wait between two of them.
const ASK_PAUSE: Duration = Duration::from_millis(100);
/// Shards that are asked for at once.
const ASKED_AT_ONCE: usize = 16;

/// What came of asking.
#[derive(Default)]
pub(super) struct Asked {
    /// Shards that do not exist; or the stream does not: only the stream itself can tell that.
    pub absent: Vec<ShardId>,
    /// Some were answered.
    pub is_answered: bool,
    /// Why the last of those was not answered that were not.
    pub error: Option<ApiError>,
}

/// Asks for an iterator of each of these shards, and gives each that comes to `take`.
pub(super) async fn ask<A: StreamApi>(
    api: &A,
    shared: &Arc<Shared>,
    shards: Vec<ShardId>,
    start: &IteratorStart,
    take: impl Fn(ShardId, Issued),
) -> Asked {
    let mut shards = shards.into_iter();
    let mut questions = JoinSet::new();
    let mut asked = Asked::default();
    loop {
        while questions.len() < ASKED_AT_ONCE
            && let Some(shard) = shards.next()
        {
            questions.spawn(ask_for(api.clone(), Arc::clone(&shared.stream_arn), shard, start.clone()));
        }
        match questions.join_next().await {
            None => return asked,
            Some(Ok((shard, Ok(Some(issued))))) => {
                asked.is_answered = true;
                take(shard, issued);
            }
            Some(Ok((shard, Ok(None)))) => {
                asked.is_answered = true;
                asked.absent.push(shard);
            }
            Some(Ok((_, Err(error)))) => asked.error = Some(error),
            Some(Err(_)) => {}
        }
    }
}

/// An iterator, or nothing where there is none.
async fn ask_for<A: StreamApi>(
    api: A,
    stream_arn: Arc<str>,
    shard: ShardId,
    start: IteratorStart,
) -> (ShardId, Result<Option<Issued>, ApiError>) {
    for attempt in 0..NOT_FOUND_PROVES {
        if attempt > 0 {
            tokio::time::sleep(ASK_PAUSE).await;
        }
        let at = Instant::now();
        match in_time(api.shard_iterator(&stream_arn, &shard, &start)).await {
            Ok(iterator) => return (shard, Ok(Some(Issued { iterator, at, start: Some(start) }))),
            Err(error) if error.kind == ApiErrorKind::NotFound => {}
            Err(error) => return (shard, Err(error)),
        }
    }
    (shard, Ok(None))
}
