//! The one task that lists shards: complete listings now and then, and the children of a shard as soon as it ends.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tailwater_model::{ShardId, Trouble, TroubleKind};
use tokio::task::AbortHandle;
use tokio::time::Instant;
use tracing::{Instrument, debug, info, warn};

use super::Shared;
use super::delay::RetryDelay;
use super::doubt;
use super::fetch::in_time;
use super::latest;
use super::overdue::Overdue;
use super::trouble::{Refusals, WarnRate, advice, stream_gone};
use crate::api::{ApiError, ApiErrorKind, Dated, IteratorStart, ListedShard, ShardListing, StreamApi, When};
use crate::graph::ShardGraph;

/// Shortest time between two `DescribeStream` calls. The limit is ten a second for the whole account (DynamoDB developer
/// guide, quotas), and we are not alone there.
const DESCRIBE_SPACING_MIN: Duration = Duration::from_millis(200);
/// Pages of one listing at 100 shards each: more is an answer that goes round in circles.
const LISTING_PAGES_MAX: usize = 1_000;
/// Tries for one page of a listing: a listing that began anew after each throttled page would never be complete.
const PAGE_TRIES_MAX: u32 = 5;
/// First wait for children that are not listed yet; they may come up to a minute late.
const LEAF_INTERVAL_MIN: Duration = Duration::from_secs(1);
/// Shards whose children a bounded run asks for after one listing, at least.
const CHILDREN_ASKED_MAX: usize = 10;
/// Wait before a shard is asked for that was not found.
const DOUBT_PAUSE: Duration = Duration::from_millis(100);
/// Longest time between two listings of a stream that is off: its end is known by some of them.
const OFF_INTERVAL_MAX: Duration = Duration::from_secs(10);
/// A stream that is not found for so long is gone: one bad moment gives the same answer again and again.
const GONE_AFTER: Duration = Duration::from_secs(30);

/// The running task. Dropping this ends it.
pub(super) struct DiscoveryTask(AbortHandle);

impl DiscoveryTask {
    pub fn start<A: StreamApi>(api: A, shared: Arc<Shared>) -> Self {
        let rng = fastrand::Rng::with_seed(shared.settings.seed);
        let discovery = Discovery {
            last_call: None,
            last_listing: Instant::now(),
            next_listing: Instant::now(),
            leaf_interval: LEAF_INTERVAL_MIN,
            ask_again_at: None,
            listing_pages: 1,
            filter_ignored: false,
            off_told: false,
            overdue: Overdue::default(),
            retry: RetryDelay::new(),
            not_found_since: None,
            refusals: Refusals::default(),
            iterator_refusals: Refusals::default(),
            warnings: WarnRate::default(),
            rng,
            _ended: EndNotice(Arc::clone(&shared)),
            api,
            shared,
        };
        Self(tokio::spawn(discovery.run().in_current_span()).abort_handle())
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
    /// Wait for children that are not listed yet.
    leaf_interval: Duration,
    /// When they are asked for again, where that takes fewer calls than a listing.
    ask_again_at: Option<Instant>,
    /// Of the last complete listing: as many questions for children cost the same.
    listing_pages: usize,
    /// The service answers questions for children with other shards.
    filter_ignored: bool,
    /// That the stream is off was told.
    off_told: bool,
    overdue: Overdue,
    retry: RetryDelay,
    /// Since when nothing was found of the stream.
    not_found_since: Option<Instant>,
    /// Of listings, and of iterators that were asked for here.
    refusals: Refusals,
    iterator_refusals: Refusals,
    warnings: WarnRate,
    rng: fastrand::Rng,
}

impl<A: StreamApi> Discovery<A> {
    async fn run(mut self) {
        let mut changes = self.shared.changes.subscribe();
        // The first lane holds what is known of the stream as a whole. What the others miss is found out without it.
        while !self.shared.graph(|graph| graph.may_list()) {
            self.settle_doubts().await;
            changes.changed().await;
        }
        self.next_listing = Instant::now();
        loop {
            self.ask_for_children().await;
            self.settle_doubts().await;
            if Instant::now() >= self.next_listing {
                self.list().await;
                self.hold_latest().await;
            }
            if self.asks_again() {
                self.ask_again_at.get_or_insert_with(|| Instant::now() + self.leaf_interval);
            } else if self.shared.graph(|graph| graph.wants_listing()) {
                self.next_listing = self.next_listing.min(self.last_listing + self.leaf_interval);
            }
            let wake_at = self.ask_again_at.map_or(self.next_listing, |at| at.min(self.next_listing));
            tokio::select! {
                biased;
                () = changes.changed() => {}
                () = tokio::time::sleep_until(wake_at) => {}
            }
        }
    }

    /// Whether asking once more for the children that are not listed yet takes fewer calls than a listing. With a thousand
    /// shards one ends every fourteen seconds, and a listing takes as long.
    fn asks_again(&self) -> bool {
        let awaited = self.shared.graph(|graph| graph.children_awaited());
        !self.filter_ignored && awaited.is_some_and(|awaited| (1..self.listing_pages).contains(&awaited))
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
        let again = self.ask_again_at.take_if(|at| *at <= Instant::now()).is_some();
        let parents = self.shared.graph(|graph| graph.take_children_needed(again));
        if again {
            self.leaf_interval = (self.leaf_interval * 2).min(self.shared.settings.discovery_interval);
        } else if !parents.is_empty() {
            // A new end: the waits that have grown for older ones are not its own.
            self.leaf_interval = LEAF_INTERVAL_MIN;
            self.ask_again_at = None;
        }
        if parents.len() > self.listing_pages {
            self.next_listing = Instant::now();
            return;
        }
        for parent in parents {
            match self.children_of(&parent).await {
                Ok(false) if !self.asks_again() => self.next_listing = Instant::now(),
                Ok(_) => {}
                Err(error) => {
                    debug!(%parent, %error, "children of an ended shard not answered, listing all shards instead");
                    self.next_listing = Instant::now();
                    // The listing shows the children of the others, too: a service that is away is not asked for each.
                    return;
                }
            }
        }
    }

    /// Asks for the children of a shard and answers whether one is known now.
    async fn children_of(&mut self, parent: &ShardId) -> Result<bool, ApiError> {
        let mut in_doubt = 0;
        let (answer, when) = loop {
            self.spaced().await;
            let asked_at = Instant::now();
            let Dated { answer, date } = in_time(self.api.list_children(&self.shared.stream_arn, parent)).await?;
            if let Some(when) = self.shared.answered(date, asked_at, Instant::now(), &mut in_doubt) {
                break (answer, when);
            }
        };
        let (was_known, is_known) = self.shared.graph(|graph| {
            let was_known = graph.has_children(parent);
            (was_known, graph.merge_children(parent, when, &answer.shards))
        });
        let children: Vec<&ShardId> = answer
            .shards
            .iter()
            .filter(|listed| listed.parent.as_ref() == Some(parent))
            .map(|one| &one.shard)
            .collect();
        self.filter_ignored |= children.len() < answer.shards.len();
        match children.as_slice() {
            _ if was_known => {}
            [] => {}
            [child] => info!(%parent, %child, "shard rotated"),
            _ => info!(%parent, children = children.len(), "shard split"),
        }
        Ok(is_known)
    }

    /// Finds out about shards that listings do not show, or that were not found.
    async fn settle_doubts(&mut self) {
        let doubtful = self.shared.graph(|graph| graph.take_doubtful());
        if doubtful.is_empty() {
            return;
        }
        // What was not found a moment ago is not asked for at once.
        tokio::time::sleep(DOUBT_PAUSE).await;
        let now = self.shared.time();
        let shared = &self.shared;
        let exists = |shard: ShardId, _| shared.graph(|graph| graph.exists(&shard, When { asked: now, answered: now }));
        let asked = doubt::ask(&self.api, shared, doubtful, &IteratorStart::TrimHorizon, exists).await;
        self.take_asked(asked, "shards in doubt were not answered").await;
    }

    /// Gets iterators of `LATEST` for the shards that are registered only with one. What is not answered is asked again
    /// after the next listing, which is soon as long as some are missing.
    async fn hold_latest(&mut self) {
        let wanted = self.shared.graph(|graph| graph.latest_wanted());
        if wanted.is_empty() {
            return;
        }
        let asked = latest::hold(&self.api, &self.shared, wanted).await;
        self.take_asked(asked, "iterators of LATEST were not given").await;
    }

    /// Tells the graph of shards that were not found, and people of refusals.
    async fn take_asked(&mut self, asked: doubt::Asked, what: &str) {
        // An answer in between says that the right is there.
        if asked.is_answered {
            self.iterator_refusals.end();
        }
        if let Some(error) = asked.error {
            let refused = self.iterator_refusals.add(&error, "GetShardIterator", &self.shared.stream_arn);
            self.tell(what, &error, refused);
        }
        if asked.absent.is_empty() {
            return;
        }
        // "Not found" is said of a shard and of the whole stream alike.
        match self.page(None).await {
            Ok((_, when)) => {
                self.shared.graph(|graph| asked.absent.iter().for_each(|shard| graph.does_not_exist(shard, when)));
            }
            Err(error) => self.trouble(&error),
        }
    }

    /// One listing: all pages, or as many as came. What a page shows counts at once: of ten thousand shards the first are
    /// read while the rest is listed, which takes twenty seconds.
    async fn list(&mut self) {
        let complete_before = self.shared.graph(|graph| graph.complete_listings());
        let number = self.shared.graph(|graph| graph.begin_listing());
        let listed = self.pages(number).await;
        let (complete_after, is_bootstrapping, wants_listing, to_confirm, is_off) = self.shared.graph(|graph| {
            if let Ok((shards, when)) = &listed {
                graph.listed_completely(number, *when, shards);
            }
            let to_confirm = graph.children_to_confirm();
            let (is_bootstrapping, wants_listing) = (graph.is_bootstrapping(), graph.wants_listing());
            (graph.complete_listings(), is_bootstrapping, wants_listing, to_confirm, graph.is_off())
        });
        if let Err(error) = &listed {
            self.trouble(error);
        }
        if !std::mem::replace(&mut self.off_told, is_off) && is_off {
            info!(stream_arn = %self.shared.stream_arn, "the stream is turned off: it is read to its end, which is known some 90 seconds after that, because shards may be listed late");
        }
        let is_untold = self.shared.graph(|graph| graph.is_over_untold());
        is_untold.then(|| self.shared.halt(stream_gone(&self.shared.stream_arn)));
        self.overdue.tell(self.shared.graph(|graph| graph.overdue()));
        self.last_listing = Instant::now();
        let interval = self.shared.settings.discovery_interval;
        let wait = if complete_after == complete_before {
            let throttled = listed.as_ref().is_err_and(|error| error.kind == ApiErrorKind::Throttled);
            self.retry.next(throttled, &mut self.rng)
        } else {
            self.retry.succeeded();
            if complete_before == 0 {
                info!(shards = listed.as_ref().map_or(0, |(shards, _)| shards.len()), "stream listed");
            }
            if is_bootstrapping { LEAF_INTERVAL_MIN } else { interval }
        };
        let longest = if is_off { interval.min(OFF_INTERVAL_MAX) } else { interval };
        self.leaf_interval = if wants_listing { (self.leaf_interval * 2).min(longest) } else { LEAF_INTERVAL_MIN };
        self.next_listing = self.last_listing + wait;
        // Of many the next listings tell: asked for one by one they would take as long as these.
        let questions_max = self.listing_pages.max(CHILDREN_ASKED_MAX);
        for parent in to_confirm.into_iter().take(questions_max) {
            // What is not answered is asked again after the next listing.
            if self.children_of(&parent).await.is_err() {
                return;
            }
        }
    }

    /// All pages of a listing, and when it was asked for and answered.
    async fn pages(&mut self, number: u64) -> Result<(BTreeSet<ShardId>, When), ApiError> {
        let mut shards = BTreeSet::new();
        let mut after: Option<ShardId> = None;
        let mut begun: Option<When> = None;
        let mut repeated = 0;
        for page_number in 1..=LISTING_PAGES_MAX {
            let (page, when) = self.page(after.as_ref()).await?;
            self.shared.graph(|graph| graph.merge_page(number, when, &page));
            shards.extend(page.shards.into_iter().map(|listed: ListedShard| listed.shard));
            let whole = When { asked: begun.unwrap_or(when).asked, answered: when.answered };
            begun = Some(whole);
            if page.last_evaluated.is_none() {
                self.listing_pages = page_number;
                return Ok((shards, whole));
            }
            // An end need not wait for all the other pages.
            Box::pin(self.ask_for_children()).await;
            // A page that names its own beginning is asked for again.
            repeated = if page.last_evaluated == after { repeated + 1 } else { 0 };
            if repeated >= PAGE_TRIES_MAX {
                break;
            }
            after = page.last_evaluated;
        }
        let message = "the listing of shards goes round in circles".to_owned();
        Err(ApiError { kind: ApiErrorKind::Transient, message })
    }

    /// One page, waiting out what may pass.
    async fn page(&mut self, after: Option<&ShardId>) -> Result<(ShardListing, When), ApiError> {
        let mut delay = RetryDelay::new();
        let mut in_doubt = 0;
        loop {
            self.spaced().await;
            let asked_at = Instant::now();
            let error = match in_time(self.api.list_shards(&self.shared.stream_arn, after)).await {
                Ok(Dated { answer, date }) => {
                    self.refusals.end();
                    self.not_found_since = None;
                    self.shared.note_listing(None);
                    if let Some(when) = self.shared.answered(date, asked_at, Instant::now(), &mut in_doubt) {
                        return Ok((answer, when));
                    }
                    continue;
                }
                Err(error) => error,
            };
            let throttled = error.kind == ApiErrorKind::Throttled;
            let wait = delay.next(throttled, &mut self.rng);
            let may_pass = throttled || matches!(error.kind, ApiErrorKind::Transient | ApiErrorKind::Malformed);
            if !may_pass || delay.failures() >= PAGE_TRIES_MAX {
                return Err(error);
            }
            tokio::time::sleep(wait).await;
        }
    }

    fn trouble(&mut self, error: &ApiError) {
        let stream_arn = &self.shared.stream_arn;
        if error.kind == ApiErrorKind::NotFound {
            let since = *self.not_found_since.get_or_insert_with(Instant::now);
            // A stream that was read to its end may go: the lanes finish by themselves. What is lost is on record first.
            let is_lost = |graph: &mut ShardGraph| !graph.ended() && graph.stream_is_gone();
            if since.elapsed() >= GONE_AFTER && self.shared.graph(is_lost) {
                self.shared.halt(stream_gone(stream_arn));
            }
        } else {
            self.not_found_since = None;
        }
        let refused = self.refusals.add(error, "DescribeStream", stream_arn);
        self.shared.note_listing(Some(error.to_string()));
        self.tell("shards could not be listed", error, refused);
    }

    fn tell(&mut self, what: &str, error: &ApiError, refused: Option<Trouble>) {
        let stream_arn = &self.shared.stream_arn;
        if let Some(trouble) = refused {
            self.shared.halt(trouble);
        } else if let Some(suppressed) = self.warnings.admit() {
            warn!(%stream_arn, %error, suppressed, advice = advice(error), "{what}");
        }
    }
}
