//! Asks for shards that listings do not show. A listing proves no absence: the service itself is asked whether it still has
//! an iterator.

use std::sync::Arc;
use std::time::Duration;

use tailwater_model::ShardId;
use tokio::task::JoinSet;

use super::Shared;
use super::fetch::in_time;
use crate::api::{ApiErrorKind, IteratorStart, StreamApi, When};

/// "Not found" answers in a row that say that a shard does not exist.
const NOT_FOUND_PROVES: u32 = 3;
/// Wait between two of them.
const ASK_PAUSE: Duration = Duration::from_millis(100);
/// Shards that are asked for at once.
const ASKED_AT_ONCE: usize = 16;

/// Asks for each of these shards, tells the graph which of them exist, and answers which do not: only the stream itself can
/// tell whether it is there. What is not answered stays in doubt.
pub(super) async fn ask<A: StreamApi>(api: &A, shared: &Arc<Shared>, doubtful: Vec<ShardId>) -> Vec<ShardId> {
    let mut doubtful = doubtful.into_iter();
    let mut questions = JoinSet::new();
    let mut absent = Vec::new();
    loop {
        while questions.len() < ASKED_AT_ONCE
            && let Some(shard) = doubtful.next()
        {
            questions.spawn(ask_for(api.clone(), Arc::clone(&shared.stream_arn), shard));
        }
        match questions.join_next().await {
            None => return absent,
            Some(Ok((shard, Some(true)))) => {
                let now = shared.time();
                shared.graph(|graph| graph.exists(&shard, When { asked: now, answered: now }));
            }
            Some(Ok((shard, Some(false)))) => absent.push(shard),
            Some(Ok((_, None)) | Err(_)) => {}
        }
    }
}

async fn ask_for<A: StreamApi>(api: A, stream_arn: Arc<str>, shard: ShardId) -> (ShardId, Option<bool>) {
    for attempt in 0..NOT_FOUND_PROVES {
        if attempt > 0 {
            tokio::time::sleep(ASK_PAUSE).await;
        }
        match in_time(api.shard_iterator(&stream_arn, &shard, &IteratorStart::TrimHorizon)).await {
            Ok(_) => return (shard, Some(true)),
            Err(error) if error.kind == ApiErrorKind::NotFound => {}
            Err(_) => return (shard, None),
        }
    }
    (shard, Some(false))
}
