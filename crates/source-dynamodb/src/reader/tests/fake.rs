//! A scripted stream with the service's unkind manners, and a naive sink that checks every step.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tailwater_model::{
    Change, ChangeEvent, Delivery, Failure, Finished, FirstListing, Gap, Item, Position, Progress, ServiceTime,
};
use tailwater_model::{SequenceNumber, ShardId, ShardProgress, Source, SourceInfo, Step, StreamIdentity, Trouble};
use tokio::time::Instant;

use crate::api::{ApiError, ApiErrorKind, Dated, Decoded, IteratorStart, ListedShard, RecordPage};
use crate::api::{ShardIterator, ShardListing, StreamApi};
use crate::reader::{LaneReader, StatusReader, open_stream};
use crate::settings::{OnGap, ReaderSettings, StartAt, VISIBLE_WITHIN};

const LATENCY: Duration = Duration::from_millis(5);
const ITERATOR_LIFE: Duration = Duration::from_secs(15 * 60);

pub fn id(name: &str) -> ShardId {
    ShardId::new(name)
}

#[derive(Clone, Default)]
pub struct FakeShard {
    pub parent: Option<ShardId>,
    pub closed: bool,
    /// Listings name its end, closed or not.
    pub end_named: bool,
    /// Records 1 to this number.
    pub records: u64,
    /// When the records were created, in milliseconds after the beginning, where that is not an hour before it.
    pub created_ms: BTreeMap<u64, i64>,
    /// Records up to this number are trimmed.
    pub trimmed: u64,
    pub gone: bool,
    /// Empty pages that come before the next records.
    pub empty_pages: u32,
    /// Listings begun before this one shows the shard.
    pub listed_from: u32,
    /// Every question for its records is in trouble.
    pub unanswered: bool,
    /// The end comes in an empty page of its own.
    pub end_apart: bool,
    /// Every page begins with the record before its place.
    pub repeats: bool,
}

/// The service.
#[derive(Default)]
pub struct Stream {
    pub shards: BTreeMap<ShardId, FakeShard>,
    pub disabled: bool,
    pub gone: bool,
    pub page_records: usize,
    pub page_shards: usize,
    /// `ShardFilter` is ignored and answers the shard itself, as DynamoDB Local does.
    pub filter_ignored: bool,
    /// Every so many calls one is throttled.
    pub throttle_every: usize,
    /// What the next `GetRecords` calls answer instead of a page.
    pub faults: VecDeque<ApiErrorKind>,
    pub page_bytes: usize,
    /// What listings answer.
    pub listing_fault: Option<ApiErrorKind>,
    /// Each page read makes this many more records in the open shards, created when they are made.
    pub writes_per_page: u64,
    pub listings: u32,
    /// The `Date` of the answers does not go on.
    pub date_stands_still: bool,
    /// How far the service's clock has leapt ahead of ours.
    pub leap: Duration,
    /// The answer to the call of this number has a date that is so many milliseconds off.
    pub wrong_date: Option<(usize, i64)>,
    pub trace: Vec<String>,
}

#[derive(Clone)]
pub struct Fake {
    pub stream: Arc<Mutex<Stream>>,
    start: Instant,
}

impl Fake {
    pub fn new(shards: Vec<(&str, FakeShard)>) -> Self {
        let shards = shards.into_iter().map(|(name, shard)| (id(name), shard)).collect();
        let stream = Stream { shards, page_records: 3, page_shards: 2, page_bytes: 1_000, ..Stream::default() };
        Self { stream: Arc::new(Mutex::new(stream)), start: Instant::now() }
    }

    pub fn stream(&self) -> MutexGuard<'_, Stream> {
        self.stream.lock().expect("lock")
    }

    pub fn calls(&self, call: &str) -> usize {
        self.stream().trace.iter().filter(|line| line.contains(call)).count()
    }

    pub fn change(&self, shard: &str, change: impl FnOnce(&mut FakeShard)) {
        change(self.stream().shards.get_mut(&id(shard)).expect("a shard"));
    }

    async fn called(&self, call: &str, what: impl std::fmt::Display) -> Result<MutexGuard<'_, Stream>, ApiError> {
        tokio::time::sleep(LATENCY).await;
        let mut stream = self.stream();
        stream.trace.push(format!("{} {call} {what}", self.start.elapsed().as_millis()));
        if stream.gone {
            return Err(error(ApiErrorKind::NotFound));
        }
        let calls = stream.trace.len();
        if stream.throttle_every > 0 && calls.is_multiple_of(stream.throttle_every) {
            return Err(error(ApiErrorKind::Throttled));
        }
        Ok(stream)
    }
}

/// The service's time at the beginning.
pub const BEGINNING: ServiceTime = ServiceTime::from_ms(1_790_000_000_000);
/// What was there at the beginning was created so long before.
const BEFORE: Duration = Duration::from_secs(3600);

impl Fake {
    fn now_ms(&self, stream: &Stream) -> i64 {
        i64::try_from((self.start.elapsed() + stream.leap).as_millis()).expect("days")
    }

    fn dated<T>(&self, stream: &Stream, answer: T) -> Dated<T> {
        let seconds = if stream.date_stands_still { 0 } else { self.now_ms(stream) / 1000 };
        let off_ms = stream.wrong_date.filter(|(call, _)| *call == stream.trace.len()).map_or(0, |(_, off_ms)| off_ms);
        Dated { answer, date: ServiceTime::from_ms(BEGINNING.ms() + seconds * 1000 + off_ms) }
    }
}

fn error(kind: ApiErrorKind) -> ApiError {
    ApiError { kind, message: "said the service".into() }
}

fn listed((shard, state): (&ShardId, &FakeShard)) -> ListedShard {
    ListedShard { shard: shard.clone(), parent: state.parent.clone(), closed: state.closed || state.end_named }
}

impl StreamApi for Fake {
    async fn list_shards(&self, _: &str, after: Option<&ShardId>) -> Result<Dated<ShardListing>, ApiError> {
        let mut stream = self.called("DescribeStream", format!("after {after:?}")).await?;
        if let Some(kind) = stream.listing_fault {
            return Err(error(kind));
        }
        stream.listings += u32::from(after.is_none());
        let listings = stream.listings;
        let visible = stream.shards.iter().filter(|(_, state)| state.listed_from < listings && !state.gone);
        let mut rest: Vec<ListedShard> =
            visible.filter(|(shard, _)| after.is_none_or(|after| *shard > after)).map(listed).collect();
        let more = rest.len() > stream.page_shards;
        rest.truncate(stream.page_shards);
        let last_evaluated = rest.last().filter(|_| more).map(|last| last.shard.clone());
        let disabled = stream.disabled;
        let listing = ShardListing { shards: rest, last_evaluated, disabled, ..ShardListing::default() };
        Ok(self.dated(&stream, listing))
    }

    async fn list_children(&self, _: &str, parent: &ShardId) -> Result<Dated<ShardListing>, ApiError> {
        let stream = self.called("ShardFilter", parent).await?;
        let children = stream.shards.iter().filter(|(shard, state)| {
            if stream.filter_ignored {
                *shard == parent
            } else {
                state.parent.as_ref() == Some(parent) && state.listed_from == 0
            }
        });
        let shards = children.map(listed).collect();
        Ok(self.dated(&stream, ShardListing { shards, disabled: stream.disabled, ..ShardListing::default() }))
    }

    async fn shard_iterator(&self, _: &str, shard: &ShardId, start: &IteratorStart) -> Result<ShardIterator, ApiError> {
        let stream = self.called("GetShardIterator", format!("{shard} {start:?}")).await?;
        let Some(state) = stream.shards.get(shard) else { return Err(error(ApiErrorKind::NotFound)) };
        let read = match start {
            _ if state.gone => return Err(error(ApiErrorKind::NotFound)),
            IteratorStart::TrimHorizon => state.trimmed,
            IteratorStart::Latest => state.records,
            IteratorStart::After(number) => number.as_str().parse().expect("digits"),
        };
        if read < state.trimmed {
            return Err(error(ApiErrorKind::Trimmed));
        }
        Ok(ShardIterator(format!("{} {read}", self.start.elapsed().as_millis())))
    }

    async fn get_records(&self, shard: &ShardId, iterator: &ShardIterator) -> Result<Dated<RecordPage>, ApiError> {
        let mut stream = self.called("GetRecords", shard).await?;
        let (issued, read) = iterator.0.split_once(' ').expect("our iterator");
        let (issued, read): (u64, u64) = (issued.parse().expect("time"), read.parse().expect("place"));
        let unanswered = stream.shards.get(shard).is_some_and(|shard| shard.unanswered);
        if let Some(kind) = stream.faults.pop_front().or(unanswered.then_some(ApiErrorKind::Transient)) {
            return Err(error(kind));
        }
        if self.start.elapsed() - Duration::from_millis(issued) > ITERATOR_LIFE {
            return Err(error(ApiErrorKind::IteratorExpired));
        }
        let (page_records, bytes, writes) = (stream.page_records as u64, stream.page_bytes, stream.writes_per_page);
        let now_ms = self.now_ms(&stream);
        let state = stream.shards.get_mut(shard).expect("a shard");
        for _ in 0..if state.closed { 0 } else { writes } {
            state.records += 1;
            state.created_ms.insert(state.records, now_ms);
        }
        if state.gone {
            return Err(error(ApiErrorKind::NotFound));
        }
        if read < state.trimmed {
            return Err(error(ApiErrorKind::Trimmed));
        }
        let next = |read: u64| Some(ShardIterator(format!("{} {read}", self.start.elapsed().as_millis())));
        if state.empty_pages > 0 {
            state.empty_pages -= 1;
            let page = RecordPage { records: Vec::new(), next: next(read), bytes: 60, ..RecordPage::default() };
            return Ok(self.dated(&stream, page));
        }
        let to = state.records.min(read + page_records);
        let records: Vec<Decoded> = (read + u64::from(!state.repeats || read == 0)..=to)
            .map(|record| Decoded::Event(event(shard, record, created(state, record))))
            .collect();
        let end = state.closed && to == state.records && (records.is_empty() || !state.end_apart);
        let bytes = if records.is_empty() { 60 } else { bytes };
        let next = if end { None } else { next(to) };
        let page = RecordPage { records, next, bytes, memory_bytes: bytes, ..RecordPage::default() };
        Ok(self.dated(&stream, page))
    }
}

fn created(shard: &FakeShard, record: u64) -> i64 {
    let after_ms = shard.created_ms.get(&record).copied();
    let created = after_ms.map_or(BEGINNING.minus(BEFORE).ms(), |after_ms| BEGINNING.ms() + after_ms);
    created / 1000 * 1000
}

fn event(shard: &ShardId, record: u64, created_at_ms: i64) -> ChangeEvent {
    let source = SourceInfo {
        shard: shard.clone(),
        sequence_number: SequenceNumber::parse(format!("{record:021}").into()).expect("digits"),
        event_id: "event".into(),
        created_at_ms,
        size_bytes: 1,
    };
    let key = Item::parse(r#"{"Id":{"S":"7"}}"#.into()).expect("an item");
    ChangeEvent { key, change: Change::Insert { new: None }, source }
}

pub fn settings() -> ReaderSettings {
    ReaderSettings {
        start: StartAt::TrimHorizon,
        on_gap: OnGap::Stop,
        until_tip: true,
        follows: None,
        poll_interval_min: Duration::from_millis(100),
        poll_interval_max: Duration::from_secs(1),
        visible_within: VISIBLE_WITHIN,
        fetch_slots: 4,
        memory_bytes_max: 64 << 20,
        discovery_interval: Duration::from_secs(30),
        seed: 1,
    }
}

/// What a lane handed out and nobody stored yet.
type Uncommitted = Vec<(ShardId, Step, Option<ServiceTime>, Vec<u64>)>;

/// Lanes over a naive sink. Each `next` is dropped after a moment, so being cancelled is part of every test.
pub struct Run {
    pub lanes: Vec<LaneReader<Fake>>,
    pub stored: BTreeMap<ShardId, (Option<ShardId>, Position, Option<ServiceTime>)>,
    pub records: BTreeMap<ShardId, Vec<u64>>,
    pub gaps: Vec<Gap>,
    pub first_listing: Option<FirstListing>,
    listing_told: Option<FirstListing>,
    pub status: StatusReader,
    pub uncommitted: Vec<Uncommitted>,
    pub group_max: usize,
}

impl Run {
    pub async fn open(fake: &Fake, lanes: u32, settings: ReaderSettings) -> Self {
        let mut run = Self::new(fake, lanes, settings);
        for lane in 0..lanes as usize {
            run.reopen(lane).await;
        }
        run
    }

    /// No lane is open.
    pub fn new(fake: &Fake, lanes: u32, settings: ReaderSettings) -> Self {
        let stream = StreamIdentity { table: "t".into(), table_id: "id".into(), stream_arn: "arn".into() };
        let (readers, status) = open_stream(fake.clone(), stream, lanes, settings);
        Self {
            lanes: readers,
            status,
            stored: BTreeMap::new(),
            records: BTreeMap::new(),
            gaps: Vec::new(),
            first_listing: None,
            listing_told: None,
            uncommitted: (0..lanes).map(|_| Vec::new()).collect(),
            group_max: 3,
        }
    }

    pub async fn reopen(&mut self, lane: usize) {
        self.uncommitted[lane].clear();
        self.listing_told = self.listing_told.filter(|_| lane != 0);
        let lanes = self.lanes.len() as u32;
        let mine = self.stored.iter().filter(|(shard, _)| shard.lane(lanes) as usize == lane);
        let shards = mine.map(|(shard, (parent, position, read_until))| ShardProgress {
            shard: shard.clone(),
            parent: parent.clone(),
            position: position.clone(),
            read_until: *read_until,
        });
        let progress = Progress { shards: shards.collect(), first_listing: self.first_listing, ..Progress::default() };
        self.lanes[lane].open(&progress).await.expect("opening asks nobody");
    }

    pub fn commit(&mut self, lane: usize) {
        let group = std::mem::take(&mut self.uncommitted[lane]);
        for (shard, step, read_until, records) in &group {
            match step {
                Step::Register { parent, position } => {
                    let before = self.stored.insert(shard.clone(), (parent.clone(), position.clone(), *read_until));
                    assert!(before.is_none(), "{shard} registered twice");
                }
                Step::Advance(advance) => {
                    let row = self.stored.get_mut(shard).expect("registered first");
                    assert_eq!(row.1, advance.from);
                    *row = (row.0.clone(), advance.to.clone(), read_until.or(row.2));
                }
                Step::Forget => drop(self.stored.remove(shard)),
            }
            self.records.entry(shard.clone()).or_default().extend(records);
        }
        let steps: Vec<(ShardId, Step)> = group.into_iter().map(|(shard, step, ..)| (shard, step)).collect();
        let listing = self.listing_told.take_if(|_| lane == 0);
        self.first_listing = listing.or(self.first_listing);
        self.lanes[lane].committed(&steps, listing);
    }

    /// One turn of a lane: a delivery, or a commit when none comes within a moment.
    pub async fn turn(&mut self, lane: usize) -> Result<Option<Finished>, Trouble> {
        match tokio::time::timeout(Duration::from_millis(31), self.lanes[lane].next()).await {
            Err(_) => self.commit(lane),
            Ok(Ok(Delivery::Batch(batch))) => {
                self.gaps.extend(batch.gap);
                assert_eq!(batch.counts.read, batch.events.len() as u64);
                let number = |event: &ChangeEvent| event.source.sequence_number.as_str().parse().expect("digits");
                let records = batch.events.iter().map(number).collect();
                self.uncommitted[lane].push((batch.shard, batch.step, batch.read_until, records));
                if self.uncommitted[lane].len() >= self.group_max {
                    self.commit(lane);
                }
            }
            Ok(Ok(Delivery::FirstListing(listing))) => self.listing_told = Some(listing),
            Ok(Ok(Delivery::Finished(finished))) => return Ok(Some(finished)),
            Ok(Err(Failure::Halt(trouble) | Failure::Reopen(trouble))) => return Err(trouble),
        }
        Ok(None)
    }

    /// Lets all lanes run until each has finished, or for this long.
    pub async fn run(&mut self, time_max: Duration) -> Result<Vec<Finished>, Trouble> {
        let end = Instant::now() + time_max;
        let mut finished: Vec<Option<Finished>> = self.lanes.iter().map(|_| None).collect();
        while Instant::now() < end && finished.iter().any(Option::is_none) {
            for (lane, finished) in finished.iter_mut().enumerate() {
                if finished.is_none() {
                    *finished = self.turn(lane).await?;
                }
            }
        }
        Ok(finished.into_iter().flatten().collect())
    }

    pub fn read(&self, shard: &str) -> Vec<u64> {
        self.records.get(&id(shard)).cloned().unwrap_or_default()
    }
}
