//! Iterators of `LATEST`, for the shards that a pipeline begins with.

use std::sync::{Arc, Mutex, PoisonError};

use tailwater_model::ShardId;

use super::fetch::{Issued, in_time};
use super::{Shared, doubt, lock};
use crate::api::{Dated, IteratorStart, StreamApi};

/// Pages that are followed on the way to an end. What has not ended by then is read like an open shard.
const END_PAGES_MAX: u32 = 10;

/// Gets an iterator for each of these shards and holds it for the first read. A shard that is only said to be over is asked first
/// whether it is: some services name an end of shards that are open, and left out they would never be read.
pub(super) async fn hold<A: StreamApi>(api: &A, shared: &Arc<Shared>, wanted: Vec<ShardId>) -> doubt::Asked {
    let now = shared.time();
    let said_over: Mutex<Vec<(ShardId, Issued)>> = Mutex::default();
    let take = |shard: ShardId, issued: Issued| {
        if shared.graph(|graph| graph.is_said_over(&shard)) {
            lock(&said_over).push((shard, issued));
        } else {
            shared.hold_latest(shard, issued, now);
        }
    };
    let asked = doubt::ask(api, shared, wanted, &IteratorStart::Latest, take).await;
    for (shard, issued) in said_over.into_inner().unwrap_or_else(PoisonError::into_inner) {
        if ends(api, &shard, &issued).await {
            shared.graph(|graph| graph.latest_is_over(&shard));
        } else {
            shared.hold_latest(shard, issued, now);
        }
    }
    asked
}

/// Whether the end of the shard comes soon behind this iterator. `LATEST` may begin a little earlier, with records that nobody
/// wants: of a shard that has ended they are as old as it.
async fn ends<A: StreamApi>(api: &A, shard: &ShardId, issued: &Issued) -> bool {
    let mut iterator = issued.iterator.clone();
    for _ in 0..END_PAGES_MAX {
        let Ok(Dated { answer: page, .. }) = in_time(api.get_records(shard, &iterator)).await else { return false };
        let Some(next) = page.next else { return true };
        iterator = next;
    }
    false
}
