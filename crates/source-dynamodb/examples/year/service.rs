//! The service, without any state but the time: its shards are numbered in the order of their making, and everything else
//! about a shard follows from its number.

use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tailwater_model::{Change, ChangeEvent, Item, SequenceNumber, ServiceTime, ShardId, SourceInfo};
use tailwater_source_dynamodb::{
    ApiError, ApiErrorKind, Dated, Decoded, IteratorStart, ListedShard, RecordPage, ShardIterator, ShardListing,
    StreamApi,
};
use tokio::time::Instant;

use crate::lane::Outcome;

/// Shards that are open at any moment.
const OPEN_SHARDS: u64 = 1_000;
/// One shard begins in each such time, in the place of the oldest: a shard lives four hours.
const ROTATION_EVERY_MS: u64 = 4 * 3_600_000 / OPEN_SHARDS;
/// Closed shards can be listed and read for so long, and so can records.
const KEPT_MS: u64 = 24 * 3_600_000;
/// A shard is listed this late at most.
const LISTED_WITHIN_MS: u64 = 60_000;
/// An iterator can be used for so long.
const ITERATOR_LIFE_MS: u64 = 15 * 60_000;
/// The stream is two days old when the pipeline begins: its first shards are gone.
const AGE_AT_BEGINNING_MS: u64 = 2 * 24 * 3_600_000;
/// When the first shard was made.
const TURNED_ON: ServiceTime = ServiceTime::from_ms(1_790_000_000_000);
const PAGE_SHARDS: usize = 100;

/// Calls so far.
#[derive(Clone, Copy, Debug, Default)]
pub struct Calls {
    /// `DescribeStream` for a page of the listing.
    pub listings: u64,
    /// `DescribeStream` for the children of a shard.
    pub children: u64,
    pub iterators: u64,
    pub pages: u64,
}

impl Calls {
    pub fn since(self, before: Self) -> Self {
        Self {
            listings: self.listings - before.listings,
            children: self.children - before.children,
            iterators: self.iterators - before.iterators,
            pages: self.pages - before.pages,
        }
    }
}

#[derive(Clone)]
pub struct Service {
    begun: Instant,
    calls: Arc<Mutex<Calls>>,
    key: Item,
}

impl Service {
    pub fn begin() -> Outcome<Self> {
        let key = Item::parse(r#"{"Id":{"N":"1"}}"#.into())?;
        Ok(Self { begun: Instant::now(), calls: Arc::default(), key })
    }

    pub fn calls(&self) -> Calls {
        *self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn count(&self, count: impl FnOnce(&mut Calls)) {
        count(&mut self.calls.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Milliseconds since the stream was turned on.
    fn now(&self) -> u64 {
        AGE_AT_BEGINNING_MS + milliseconds(self.begun.elapsed())
    }

    fn dated<T>(&self, answer: T) -> Dated<T> {
        Dated { answer, date: moment(self.now() / 1_000 * 1_000) }
    }

    fn event(&self, shard: &ShardId, created_at: u64) -> Result<ChangeEvent, ApiError> {
        let source = SourceInfo {
            shard: shard.clone(),
            sequence_number: number_of(created_at)?,
            event_id: "event".into(),
            created_at_ms: moment(created_at / 1_000 * 1_000).ms(),
            size_bytes: 1,
        };
        Ok(ChangeEvent { key: self.key.clone(), change: Change::Insert { new: None }, source })
    }
}

impl StreamApi for Service {
    async fn list_shards(&self, _: &str, after: Option<&ShardId>) -> Result<Dated<ShardListing>, ApiError> {
        self.count(|calls| calls.listings += 1);
        let now = self.now();
        let kept = kept_at(now);
        let first = after.map(shard_of).transpose()?.map_or(kept.start, |after| kept.start.max(after + 1));
        let mut listed = (first..kept.end).filter(|shard| listed_from(*shard) <= now);
        let page: Vec<u64> = listed.by_ref().take(PAGE_SHARDS).collect();
        let last = page.last().copied().filter(|_| listed.next().is_some());
        Ok(self.dated(ShardListing {
            shards: page.into_iter().map(|shard| listed_at(shard, now)).collect(),
            last_evaluated: last.map(id_of),
            disabled: false,
            created_at: Some(TURNED_ON),
        }))
    }

    async fn list_children(&self, _: &str, parent: &ShardId) -> Result<Dated<ShardListing>, ApiError> {
        self.count(|calls| calls.children += 1);
        let (child, now) = (shard_of(parent)? + OPEN_SHARDS, self.now());
        let shards = (listed_from(child) <= now).then(|| listed_at(child, now)).into_iter().collect();
        Ok(self.dated(ShardListing { shards, ..ShardListing::default() }))
    }

    async fn shard_iterator(&self, _: &str, shard: &ShardId, start: &IteratorStart) -> Result<ShardIterator, ApiError> {
        self.count(|calls| calls.iterators += 1);
        let (number, now) = (shard_of(shard)?, self.now());
        if !kept_at(now).contains(&number) {
            return Err(error(ApiErrorKind::NotFound));
        }
        let read_to = match start {
            IteratorStart::TrimHorizon => 0,
            IteratorStart::Latest => now,
            IteratorStart::After(number) => number.as_str().parse().map_err(|_| error(ApiErrorKind::Invalid))?,
        };
        if matches!(start, IteratorStart::After(_)) && read_to + KEPT_MS < now {
            return Err(error(ApiErrorKind::Trimmed));
        }
        Ok(iterator(now, read_to))
    }

    /// Shards are written to all the time; a page holds the newest record only.
    async fn get_records(&self, shard: &ShardId, at: &ShardIterator) -> Result<Dated<RecordPage>, ApiError> {
        self.count(|calls| calls.pages += 1);
        let (number, now) = (shard_of(shard)?, self.now());
        let issued_and_read_to = at.0.split_once(' ').and_then(|(a, b)| Some((a.parse().ok()?, b.parse().ok()?)));
        let (issued, read_to): (u64, u64) = issued_and_read_to.ok_or_else(|| error(ApiErrorKind::Invalid))?;
        if issued + ITERATOR_LIFE_MS < now {
            return Err(error(ApiErrorKind::IteratorExpired));
        }
        if !kept_at(now).contains(&number) {
            return Err(error(ApiErrorKind::NotFound));
        }
        let newest = now.min(closed_from(number));
        let records = if newest > read_to { vec![Decoded::Event(self.event(shard, newest)?)] } else { Vec::new() };
        let next = (newest == now).then(|| iterator(now, newest));
        Ok(self.dated(RecordPage { records, next, bytes: 300, memory_bytes: 300, ..RecordPage::default() }))
    }
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn moment(ms: u64) -> ServiceTime {
    TURNED_ON.plus(Duration::from_millis(ms))
}

/// A number that looks like chance, below `end`.
fn spread(shard: u64, end: u64) -> u64 {
    (shard.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32) % end
}

/// When a shard is made: its parent is closed then.
fn made_at(shard: u64) -> u64 {
    shard * ROTATION_EVERY_MS + spread(shard, ROTATION_EVERY_MS)
}

fn closed_from(shard: u64) -> u64 {
    made_at(shard + OPEN_SHARDS)
}

fn listed_from(shard: u64) -> u64 {
    made_at(shard) + spread(shard + 1, LISTED_WITHIN_MS)
}

/// The shards that exist. They begin in the order of their numbers, and go in that order.
fn kept_at(now: u64) -> Range<u64> {
    let gone = |shard: &u64| closed_from(*shard) + KEPT_MS <= now;
    let about = (now.saturating_sub(KEPT_MS) / ROTATION_EVERY_MS).saturating_sub(OPEN_SHARDS + 1);
    let start = (about..).find(|shard| !gone(shard)).unwrap_or(about);
    let newest = now / ROTATION_EVERY_MS;
    start..(if made_at(newest) <= now { newest + 1 } else { newest })
}

fn listed_at(shard: u64, now: u64) -> ListedShard {
    let parent = shard.checked_sub(OPEN_SHARDS).map(id_of);
    ListedShard { shard: id_of(shard), parent, closed: closed_from(shard) <= now }
}

/// In the service's form: the time, and what tells two of a moment apart.
fn id_of(shard: u64) -> ShardId {
    ShardId::new(&format!("shardId-{:020}-{shard:08}", moment(made_at(shard)).ms()))
}

fn shard_of(id: &ShardId) -> Result<u64, ApiError> {
    let number = id.as_str().rsplit_once('-').and_then(|(_, number)| number.parse().ok());
    number.ok_or_else(|| error(ApiErrorKind::Invalid))
}

fn number_of(ms: u64) -> Result<SequenceNumber, ApiError> {
    SequenceNumber::parse(format!("{ms:021}").into()).map_err(|_| error(ApiErrorKind::Invalid))
}

fn iterator(issued: u64, read_to: u64) -> ShardIterator {
    ShardIterator(format!("{issued} {read_to}"))
}

fn error(kind: ApiErrorKind) -> ApiError {
    ApiError { kind, message: "said the service".into() }
}
