//! The reader's own trait over the simulated service, in tokio's time: what a worker sees of DynamoDB Streams.
//!
//! Between the two is what a network does: time, silence, answers that are lost after the call was done, bodies that
//! arrive broken. Every body goes through the decoder that ships, and every error code through its sorting.
//!
//! Deliberately absent: HTTP (that is the other face) and any memory between calls.

mod clock;
mod faults;
mod given;
mod haste;
mod heard;
mod hits;
mod seam;
mod silence;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::atomic::AtomicU32;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fastrand::Rng;
use tailwater_model::{SequenceNumber, ServiceTime, ShardId};
use tailwater_source_dynamodb::{ApiError, ApiErrorKind, Dated, IteratorStart, ListedShard, RecordPage};
use tailwater_source_dynamodb::{ShardIterator, ShardListing, StreamApi, api_error, decode_page, page_text};
use tokio::time::sleep;

pub use clock::VirtualClock;
pub use faults::{NetworkFaults, NetworkHits};
pub(crate) use given::JUST_NOW_MS;
use given::{EmptyPages, Given};
use haste::Haste;
pub use heard::Heard;
pub use hits::ERROR_HITS;
use hits::error_hit;
pub use seam::Seam;
pub use silence::Silence;

use crate::service::{DescribeStream, GetShardIterator, IteratorType, Service, ServiceError, StreamStatus};

struct Network {
    faults: NetworkFaults,
    rng: Rng,
    hits: NetworkHits,
    calls: u64,
    /// Complete listings that were begun.
    listings: u64,
    /// What is not answered at the moment, and with which error.
    silence: Option<(Silence, ApiErrorKind)>,
    /// A shard whose calls were repeated at once although they failed, again and again.
    hasty: Option<ShardId>,
    /// Per shard: when pages were given, and how far in time they can have told their reader that it has read.
    given: BTreeMap<String, Given>,
}

impl Network {
    fn bites(&mut self, name: &'static str, probability: f64) -> bool {
        if probability <= 0.0 || self.rng.f64() >= probability {
            return false;
        }
        *self.hits.entry(name).or_default() += 1;
        true
    }

    fn latency(&mut self) -> Duration {
        let Range { start, end } = self.faults.latency;
        let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        let mut takes =
            if start < end { Duration::from_micros(self.rng.u64(micros(start)..micros(end))) } else { start };
        if self.bites("slow", self.faults.slow) {
            takes += Duration::from_millis(self.rng.u64(500..20_000));
        }
        takes
    }

    /// The error that this call gets in place of being done.
    fn error_before(&mut self, operation: &str, shard: Option<&ShardId>) -> Option<ApiError> {
        let silence = self.silence.as_ref().filter(|(silence, _)| silence.covers(shard));
        if let Some((_, kind)) = silence {
            return Some(ApiError { kind: *kind, message: format!("{operation}: nobody is answered") });
        }
        if self.bites("refused", self.faults.refused) {
            return Some(transient(operation, "connection refused"));
        }
        if self.bites("html", self.faults.html) {
            return Some(api_error(operation, "", "<html><body>503 Service Unavailable</body></html>", 503));
        }
        if self.bites("misdirected", self.faults.misdirected) {
            return Some(api_error(operation, "UnknownOperationException", "", 400));
        }
        None
    }

    /// What is left of a body after its way.
    fn broken_body(&mut self, mut body: String) -> String {
        if self.bites("truncated", self.faults.truncated) {
            let end = self.rng.usize(0..body.len().max(1));
            body.truncate(body.floor_char_boundary(end));
        } else if self.bites("malformed", self.faults.malformed) {
            body = ["{}", "null", "<html></html>", "{\"Records\":17}", ""][self.rng.usize(0..5)].to_owned();
        }
        body
    }
}

/// The service as one worker sees it. Clones are the same worker.
#[derive(Clone)]
pub struct SimulatedStream {
    service: Arc<Mutex<Service>>,
    clock: VirtualClock,
    network: Arc<Mutex<Network>>,
    seam: Seam,
    haste: Arc<Mutex<Haste>>,
    heard: Heard,
    /// Shards whose last page said falsely that they have ended.
    invented: Arc<Mutex<BTreeSet<ShardId>>>,
    /// So many answers come with a right date for sure.
    right_dates_due: Arc<AtomicU32>,
    empty_pages: Arc<Mutex<EmptyPages>>,
}

/// The way of all workers of a world to the service: its faults, and what was counted on it.
#[derive(Clone)]
pub struct StreamNetwork(Arc<Mutex<Network>>);

impl StreamNetwork {
    /// A network without faults, with chance from `seed`.
    pub fn new(seed: u64) -> Self {
        let network = Network {
            faults: NetworkFaults::default(),
            rng: Rng::with_seed(seed),
            hits: NetworkHits::new(),
            calls: 0,
            listings: 0,
            silence: None,
            hasty: None,
            given: BTreeMap::new(),
        };
        Self(Arc::new(Mutex::new(network)))
    }

    /// How far in time anybody can have read this shard by the pages that it was given, a moment ago, in one of these spans of
    /// time, in which it was stored. Records count only where some of them are stored.
    pub fn known_until(&self, shard: &str, now_ms: i64, stored: &[(i64, i64)], has_records: bool) -> Option<i64> {
        lock(&self.0).given.get(shard)?.known_until(now_ms, stored, has_records)
    }

    /// A shard that some worker asked for without any wait after failures, again and again.
    pub fn hasty(&self) -> Option<ShardId> {
        lock(&self.0).hasty.clone()
    }

    /// Sets the faults from now on.
    pub fn set_faults(&self, faults: NetworkFaults) {
        lock(&self.0).faults = faults;
    }

    /// How often each fault bit.
    pub fn hits(&self) -> NetworkHits {
        lock(&self.0).hits.clone()
    }

    /// Calls of all workers so far.
    pub fn calls(&self) -> u64 {
        lock(&self.0).calls
    }
}

impl SimulatedStream {
    /// The service behind `network` for a worker with this seam.
    pub fn new(service: Arc<Mutex<Service>>, clock: VirtualClock, network: &StreamNetwork, seam: Seam) -> Self {
        Self {
            service,
            clock,
            network: Arc::clone(&network.0),
            seam,
            haste: Arc::default(),
            heard: Heard::default(),
            invented: Arc::default(),
            right_dates_due: Arc::default(),
            empty_pages: Arc::default(),
        }
    }

    /// The same worker, that begins to read a stream: what it hears of it from now on.
    pub fn begin(&self) -> (Self, Heard) {
        let heard = Heard::default();
        (Self { heard: heard.clone(), ..self.clone() }, heard)
    }

    /// The streams of a table, oldest first, and whether each can still be read.
    pub async fn streams(&self, table: &str) -> Vec<(String, bool)> {
        self.seam.pass().await;
        let now_ms = self.clock.now_ms();
        let streams = |service: &Service| {
            service.truth().streams(table, now_ms).map(|(arn, is_there)| (arn.to_owned(), is_there)).collect()
        };
        let streams = streams(&lock(&self.service));
        self.seam.pass().await;
        streams
    }

    /// A call for a shard, with a look at how long it waited after the one before, if that failed.
    async fn of_shard<T: Send>(
        &self,
        shard: &ShardId,
        call: impl Future<Output = Result<T, ApiError>> + Send,
    ) -> Result<T, ApiError> {
        if lock(&self.haste).is_hasty(shard) {
            lock(&self.network).hasty.get_or_insert_with(|| shard.clone());
        }
        let answer = call.await;
        lock(&self.haste).answered(shard, answer.as_ref().err().map(|error| error.kind));
        answer
    }

    /// One call, there and back, with the second in which it was answered.
    async fn call<T: Send>(
        &self,
        operation: &'static str,
        shard: Option<&ShardId>,
        act: impl FnOnce(&mut Service, i64) -> Result<T, ServiceError> + Send,
    ) -> Result<Dated<T>, ApiError> {
        self.seam.pass().await;
        let (there, hangs, error) = {
            let mut network = lock(&self.network);
            network.calls += 1;
            let hang = network.faults.hang;
            (network.latency(), network.bites("hang", hang), network.error_before(operation, shard))
        };
        wait(there).await;
        if hangs {
            std::future::pending::<()>().await;
        }
        let answer = match error {
            Some(error) => Err(error),
            None => act(&mut lock(&self.service), self.clock.now_ms())
                .map(|answer| Dated { answer, date: self.date() })
                .map_err(|error| api_error(operation, &error.wire_type(), &error.message, error.status)),
        };
        let (back, lost) = {
            let mut network = lock(&self.network);
            let lost = network.faults.answer_lost;
            if let Err(error) = &answer {
                *network.hits.entry(error_hit(error.kind)).or_default() += 1;
            }
            (network.latency(), network.bites("answer_lost", lost))
        };
        wait(back).await;
        // The answer of a frozen worker waits in its socket.
        self.seam.pass().await;
        if lost { Err(transient(operation, "connection reset")) } else { answer }
    }

    fn is_open(&self, shard: &ShardId) -> bool {
        lock(&self.service).truth().shards().any(|one| one.id == shard.as_str() && one.closed_at_ms.is_none())
    }

    /// The body, or one that says that the shard has ended although there is more to come. Of a shard that is closed, so that the
    /// listing confirms it, not again before the reader was told the truth.
    fn with_invented_end(&self, shard: &ShardId, body: String) -> String {
        let chance = lock(&self.network).faults.end_invented;
        let mut invented = lock(&self.invented);
        if (invented.contains(shard) && !self.is_open(shard)) || !lock(&self.network).bites("end_invented", chance) {
            return body;
        }
        invented.insert(shard.clone());
        r#"{"Records":[]}"#.to_owned()
    }

    async fn describe(&self, request: DescribeStream) -> Result<Dated<ShardListing>, ApiError> {
        let is_listing = request.children_of.is_none();
        lock(&self.network).listings += u64::from(is_listing && request.exclusive_start.is_none());
        let act = move |service: &mut Service, now| service.describe_stream(now, &request).map(|answer| (answer, now));
        let Dated { answer: (answer, at_ms), date } = self.call("DescribeStream", None, act).await?;
        if is_listing {
            self.heard.answer(at_ms);
        }
        let shards = answer.shards.into_iter().map(|shard| ListedShard {
            shard: ShardId::new(&shard.id),
            parent: shard.parent.as_deref().map(ShardId::new),
            closed: shard.ending.is_some(),
        });
        let listing = ShardListing {
            shards: shards.collect(),
            last_evaluated: answer.last_evaluated.as_deref().map(ShardId::new),
            disabled: answer.status == StreamStatus::Disabled,
            created_at: Some(ServiceTime::from_ms(answer.created_at_ms)),
        };
        self.date_heard();
        Ok(Dated { answer: listing, date })
    }
}

impl StreamApi for SimulatedStream {
    async fn list_shards(&self, stream_arn: &str, after: Option<&ShardId>) -> Result<Dated<ShardListing>, ApiError> {
        let exclusive_start = after.map(ShardId::to_string);
        let stream_arn = stream_arn.to_owned();
        self.describe(DescribeStream { stream_arn, limit: None, exclusive_start, children_of: None }).await
    }

    async fn list_children(&self, stream_arn: &str, parent: &ShardId) -> Result<Dated<ShardListing>, ApiError> {
        let children_of = Some(parent.to_string());
        let stream_arn = stream_arn.to_owned();
        self.describe(DescribeStream { stream_arn, limit: None, exclusive_start: None, children_of }).await
    }

    async fn shard_iterator(
        &self,
        stream_arn: &str,
        shard: &ShardId,
        start: &IteratorStart,
    ) -> Result<ShardIterator, ApiError> {
        let (kind, sequence_number) = match start {
            IteratorStart::TrimHorizon => (IteratorType::TrimHorizon, None),
            IteratorStart::Latest => (IteratorType::Latest, None),
            IteratorStart::After(number) => (IteratorType::AfterSequenceNumber, Some(number)),
        };
        let request = GetShardIterator {
            stream_arn: stream_arn.to_owned(),
            shard: shard.to_string(),
            kind,
            sequence_number: sequence_number.map(SequenceNumber::to_string),
        };
        let act = move |service: &mut Service, now| service.get_shard_iterator(now, &request);
        let call = self.call("GetShardIterator", Some(shard), act);
        let iterator = self.of_shard(shard, call).await?;
        // It may meet again what the one before it has met.
        lock(&self.empty_pages).begin_anew(shard);
        Ok(ShardIterator(iterator.answer))
    }

    async fn get_records(&self, shard: &ShardId, iterator: &ShardIterator) -> Result<Dated<RecordPage>, ApiError> {
        let iterator = iterator.0.clone();
        let page = async {
            let act = move |service: &mut Service, now| service.get_records(now, &iterator, None);
            let Dated { answer: body, date } = self.call("GetRecords", Some(shard), act).await?;
            let body = lock(&self.network).broken_body(body);
            let body = self.with_invented_end(shard, body);
            let page = page_text(body.as_bytes()).and_then(|text| decode_page(text, shard));
            if let Ok(page) = &page {
                // Empty pages on the way do not take a lie back.
                if page.next.is_some() && !page.records.is_empty() {
                    lock(&self.invented).remove(shard);
                }
                // Of a closed shard only its end tells.
                let empty_since = lock(&self.empty_pages).add(shard, page, self.clock.now_ms());
                let empty_since = empty_since.filter(|_| self.is_open(shard));
                let mut network = lock(&self.network);
                network.given.entry(shard.to_string()).or_default().add(self.clock.now_ms(), page, empty_since);
                self.date_heard();
            }
            page.map(|answer| Dated { answer, date }).map_err(|fault| transient("GetRecords", &fault.to_string()))
        };
        self.of_shard(shard, page).await
    }
}

async fn wait(time: Duration) {
    if !time.is_zero() {
        sleep(time).await;
    }
}

fn transient(operation: &str, message: &str) -> ApiError {
    ApiError { kind: ApiErrorKind::Transient, message: format!("{operation}: {message}") }
}

fn lock<T>(state: &Mutex<T>) -> MutexGuard<'_, T> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}
