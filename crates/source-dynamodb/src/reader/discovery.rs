//! The one task that lists shards: complete listings now and then, and the children of a shard as soon as it ends.

use std::sync::Arc;
use std::time::Duration;

use tailwater_model::{ShardId, Trouble, TroubleKind};
use tokio::task::AbortHandle;
use tokio::time::Instant;
use tracing::{debug, info, warn};

use super::Shared;
use super::delay::RetryDelay;
use super::fetch::in_time;
use super::trouble::{WarnRate, advice, hopeless, stream_gone};
use crate::api::{ApiError, ApiErrorKind, ListedShard, ShardListing, StreamApi};

/// Shortest time between two `DescribeStream` calls. The limit is ten a second for the whole account (DynamoDB developer
/// guide, quotas), and we are not alone there.
const DESCRIBE_SPACING_MIN: Duration = Duration::from_millis(200);
/// Pages of one listing at 100 shards each: more is an answer that goes round in circles.
const LISTING_PAGES_MAX: usize = 1_000;
/// Tries for one page of a listing: a listing that began anew after each throttled page would never be complete.
const PAGE_TRIES_MAX: u32 = 5;
/// First wait for children that are not listed yet; they may come up to a minute late.
const LEAF_LISTING_INTERVAL_MIN: Duration = Duration::from_secs(1);
/// "Not found" answers in a row that say that the stream is gone.
const NOT_FOUND_PROVES: u32 = 2;

/// The running task. Dropping this ends it.
pub(super) struct DiscoveryTask(AbortHandle);

impl DiscoveryTask {
    pub fn start<A: StreamApi>(api: A, shared: Arc<Shared>) -> Self {
        let rng = fastrand::Rng::with_seed(shared.settings.seed);
        let discovery = Discovery {
            last_call: None,
            last_listing: Instant::now(),
            next_listing: Instant::now(),
            leaf_interval: LEAF_LISTING_INTERVAL_MIN,
            listing_pages: 1,
            retry: RetryDelay::new(),
            not_found: 0,
            warnings: WarnRate::default(),
            rng,
            _ended: EndNotice(Arc::clone(&shared)),
            api,
            shared,
        };
        Self(tokio::spawn(discovery.run()).abort_handle())
    }
}

impl Drop for DiscoveryTask {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Stops the lanes if the task ends in any other way than by being dropped: without discovery a pipeline would look
/// healthy and carry less and less.
struct EndNotice(Arc<Shared>);

impl Drop for EndNotice {
    fn drop(&mut self) {
        let message = format!("the discovery of shards of {} ended unexpectedly", self.0.stream_arn);
        self.0.halt(Trouble::new(TroubleKind::Runtime, "source.discovery_ended", message));
    }
}

struct Discovery<A> {
    api: A,
    shared: Arc<Shared>,
    _ended: EndNotice,
    last_call: Option<Instant>,
    last_listing: Instant,
    next_listing: Instant,
    leaf_interval: Duration,
    /// Of the last complete listing: as many questions for children cost the same.
    listing_pages: usize,
    retry: RetryDelay,
    not_found: u32,
    warnings: WarnRate,
    rng: fastrand::Rng,
}

impl<A: StreamApi> Discovery<A> {
    async fn run(mut self) {
        let mut changes = self.shared.changes.subscribe();
        // A parent may be in any lane: what one lane has stored must be known before anything is concluded.
        while !self.shared.graph(|graph| graph.all_opened()) {
            changes.changed().await;
        }
        self.next_listing = Instant::now();
        loop {
            self.ask_for_children().await;
            if Instant::now() >= self.next_listing {
                self.list().await;
            }
            if self.shared.graph(|graph| graph.wants_listing(self.shared.began.elapsed())) {
                self.next_listing = self.next_listing.min(self.last_listing + self.leaf_interval);
            }
            tokio::select! {
                biased;
                () = changes.changed() => {}
                () = tokio::time::sleep_until(self.next_listing) => {}
            }
        }
    }

    /// Keeps the calls apart.
    async fn spaced(&mut self) {
        if let Some(last) = self.last_call {
            tokio::time::sleep_until(last + DESCRIBE_SPACING_MIN).await;
        }
        self.last_call = Some(Instant::now());
    }

    /// One by one, or with a complete listing when that takes fewer calls.
    async fn ask_for_children(&mut self) {
        let parents = self.shared.graph(|graph| graph.take_children_needed());
        if !parents.is_empty() {
            // A new end: the waits that have grown for older ones are not its own.
            self.leaf_interval = LEAF_LISTING_INTERVAL_MIN;
        }
        if parents.len() > self.listing_pages {
            self.next_listing = Instant::now();
            return;
        }
        for parent in parents {
            self.spaced().await;
            match in_time(self.api.list_children(&self.shared.stream_arn, &parent)).await {
                Ok(listing) if self.merge_children(&parent, &listing) => {}
                Ok(_) => self.next_listing = Instant::now(),
                Err(error) => {
                    debug!(%parent, %error, "children of an ended shard not answered, listing all shards instead");
                    self.next_listing = Instant::now();
                    // The listing shows the children of the others, too: a service that is away is not asked for each.
                    return;
                }
            }
        }
    }

    fn merge_children(&self, parent: &ShardId, listing: &ShardListing) -> bool {
        let found = self.shared.graph(|graph| graph.merge_children(parent, &listing.shards));
        let children = listing.shards.iter().filter(|listed| listed.parent.as_ref() == Some(parent)).count();
        match children {
            0 => {}
            1 => info!(%parent, child = %listing.shards[0].shard, "shard rotated"),
            _ => info!(%parent, children, "shard split"),
        }
        found
    }

    /// One listing: all pages, or as many as came. What a page shows counts at once: of ten thousand shards the first are
    /// read while the rest is listed, which takes twenty seconds.
    async fn list(&mut self) {
        let complete_before = self.shared.graph(|graph| graph.complete_listings());
        let number = self.shared.graph(|graph| graph.begin_listing(self.shared.began.elapsed()));
        let (shards, disabled, end) = self.pages(number).await;
        let complete = end.is_ok();
        let (complete_after, bootstrapping, wants_listing) = self.shared.graph(|graph| {
            graph.merge_listing(number, complete, disabled, &shards);
            (graph.complete_listings(), graph.bootstrapping(), graph.wants_listing(self.shared.began.elapsed()))
        });
        if let Err(error) = &end {
            self.trouble(error);
        }
        self.last_listing = Instant::now();
        let interval = self.shared.settings.discovery_interval;
        let wait = if complete_after == complete_before {
            let throttled = end.as_ref().is_err_and(|error| error.kind == ApiErrorKind::Throttled);
            self.retry.next(throttled, &mut self.rng)
        } else {
            self.retry.succeeded();
            self.not_found = 0;
            if complete_before == 0 {
                info!(shards = shards.len(), "stream listed for the first time");
            }
            match complete_after {
                // What the second one does not have either may begin, mostly.
                1 if bootstrapping => Duration::ZERO,
                _ if bootstrapping => LEAF_LISTING_INTERVAL_MIN,
                _ => interval,
            }
        };
        self.leaf_interval =
            if wants_listing { (self.leaf_interval * 2).min(interval) } else { LEAF_LISTING_INTERVAL_MIN };
        self.next_listing = self.last_listing + wait;
    }

    async fn pages(&mut self, number: u64) -> (Vec<ListedShard>, bool, Result<(), ApiError>) {
        let mut shards = Vec::new();
        let mut after: Option<ShardId> = None;
        let mut disabled = false;
        for page_number in 1..=LISTING_PAGES_MAX {
            match self.page(after.as_ref()).await {
                Ok(mut page) => {
                    self.shared.graph(|graph| graph.merge_listing(number, false, page.disabled, &page.shards));
                    shards.append(&mut page.shards);
                    disabled |= page.disabled;
                    if page.last_evaluated.is_none() {
                        self.listing_pages = page_number;
                        return (shards, disabled, Ok(()));
                    }
                    // An end need not wait for all the other pages.
                    self.ask_for_children().await;
                    if page.last_evaluated == after {
                        break;
                    }
                    after = page.last_evaluated;
                }
                Err(error) => return (shards, disabled, Err(error)),
            }
        }
        let message = "the listing of shards goes round in circles".to_owned();
        (shards, disabled, Err(ApiError { kind: ApiErrorKind::Transient, message }))
    }

    /// One page, waiting out what may pass.
    async fn page(&mut self, after: Option<&ShardId>) -> Result<ShardListing, ApiError> {
        let mut delay = RetryDelay::new();
        loop {
            self.spaced().await;
            let error = match in_time(self.api.list_shards(&self.shared.stream_arn, after)).await {
                Ok(page) => return Ok(page),
                Err(error) => error,
            };
            let throttled = error.kind == ApiErrorKind::Throttled;
            let wait = delay.next(throttled, &mut self.rng);
            if !(throttled || error.kind == ApiErrorKind::Transient) || delay.failures() >= PAGE_TRIES_MAX {
                return Err(error);
            }
            tokio::time::sleep(wait).await;
        }
    }

    fn trouble(&mut self, error: &ApiError) {
        let stream_arn = &self.shared.stream_arn;
        if error.kind == ApiErrorKind::NotFound {
            self.not_found += 1;
            // A stream that was read to its end may go: the lanes finish by themselves.
            if self.not_found >= NOT_FOUND_PROVES && !self.shared.graph(|graph| graph.ended()) {
                self.shared.halt(stream_gone(stream_arn));
            }
        } else {
            self.not_found = 0;
        }
        if let Some(trouble) = hopeless(error, "DescribeStream", stream_arn) {
            self.shared.halt(trouble);
        } else if let Some(suppressed) = self.warnings.admit() {
            warn!(%stream_arn, %error, suppressed, advice = advice(error), "shards could not be listed");
        }
    }
}
