//! One lane's reader: the schedule of its shards, its fetches, and what it has handed out.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tailwater_model::{Batch, Contact, Counts, Delivery, Failure, Finished, Position, Progress, ShardId, Source, Step};
use tailwater_model::{Trouble, TroubleKind};
use tokio::task::{JoinError, JoinSet};
use tokio::time::Instant;
use tracing::{info, warn};

use super::Shared;
use super::budget::Hold;
use super::changes::Seen;
use super::delay::RetryDelay;
use super::discovery::DiscoveryTask;
use super::fetch::{Fetch, FetchFailed, Fetched, FetchedPage, Issued, fetch};
use super::pacing::{PaceLimits, PageSize, next_interval};
use super::schedule::{Schedule, Urgency};
use super::trouble::{WarnRate, advice, hopeless, stream_gone};
use crate::api::{ApiErrorKind, Decoded, StreamApi};
use crate::graph::{GraphStep, TrimmedMeans};

/// Shortest time between two proofs of contact after the first.
const CONTACT_INTERVAL: Duration = Duration::from_secs(10 * 60);
/// A shard is at the tip after this many empty pages in a row: a few say nothing.
const TIP_EMPTY_PAGES_MIN: u32 = 5;
/// And when they span at least this long: records appear some hundred milliseconds after their write.
const TIP_QUIET_MIN: Duration = Duration::from_secs(1);
/// "Not found" answers in a row, from new iterators, that say that a shard is gone.
const NOT_FOUND_PROVES: u32 = 2;

/// Reads the shards of one lane.
pub struct LaneReader<A> {
    lane: usize,
    api: A,
    shared: Arc<Shared>,
    changes: Seen,
    shards: BTreeMap<ShardId, ShardReader>,
    schedule: Schedule,
    fetches: JoinSet<Fetched>,
    ready: VecDeque<(Batch, Option<Hold>)>,
    /// Per shard, in order: what was handed out and is not durable, with its room in the budget.
    handed_out: BTreeMap<ShardId, VecDeque<Option<Hold>>>,
    contact_at: Option<Instant>,
    contact_listing: u64,
    warnings: WarnRate,
    rng: fastrand::Rng,
    _discovery: Arc<DiscoveryTask>,
}

/// How one shard is being read. It is either in the schedule or in a fetch.
struct ShardReader {
    iterator: Option<Issued>,
    interval: Duration,
    urgency: Urgency,
    empty_pages: u32,
    empty_since: Option<Instant>,
    not_found: u32,
    retry: RetryDelay,
}

impl ShardReader {
    fn new() -> Self {
        Self {
            iterator: None,
            interval: Duration::ZERO,
            urgency: Urgency::Behind(i64::MIN),
            empty_pages: 0,
            empty_since: None,
            not_found: 0,
            retry: RetryDelay::new(),
        }
    }

    /// Counts empty pages; answers whether the shard counts as being at the tip.
    fn quiet_after(&mut self, page_is_empty: bool) -> bool {
        if !page_is_empty {
            self.empty_pages = 0;
            self.empty_since = None;
            return false;
        }
        self.empty_pages = self.empty_pages.saturating_add(1);
        let since = *self.empty_since.get_or_insert_with(Instant::now);
        self.empty_pages >= TIP_EMPTY_PAGES_MIN && since.elapsed() >= TIP_QUIET_MIN
    }
}

impl<A: StreamApi> Source for LaneReader<A> {
    async fn open(&mut self, progress: &Progress) -> Result<(), Failure> {
        // Pages that are under way or waiting give their room in the budget back here (I6); they are read again (I7).
        self.fetches = JoinSet::new();
        self.ready.clear();
        self.handed_out.clear();
        self.shards.clear();
        self.schedule = Schedule::default();
        self.contact_at = None;
        self.shared.graph(|graph| graph.restore(self.lane, progress));
        Ok(())
    }

    async fn next(&mut self) -> Result<Delivery, Failure> {
        loop {
            if let Some(trouble) = self.shared.halted() {
                return Err(Failure::Halt(trouble));
            }
            self.take_in_steps();
            self.take_in_readable();
            while let Some(fetched) = self.fetches.try_join_next() {
                self.take_in(fetched)?;
            }
            self.start_fetches();
            if let Some(delivery) = self.deliver() {
                return Ok(delivery);
            }
            // Only here something is waited for, and nothing that was taken out of a task is held: dropping the future
            // loses nothing.
            let wake_at = self.schedule.wake_at().filter(|_| self.fetches_free());
            tokio::select! {
                biased;
                Some(fetched) = self.fetches.join_next() => self.take_in(fetched)?,
                () = self.changes.changed() => {}
                () = async {
                    match wake_at {
                        Some(at) => tokio::time::sleep_until(at).await,
                        None => std::future::pending().await,
                    }
                } => {}
            }
        }
    }

    fn committed(&mut self, steps: &[(ShardId, Step)]) {
        for (shard, step) in steps {
            if let Some(handed_out) = self.handed_out.get_mut(shard) {
                handed_out.pop_front();
                if handed_out.is_empty() {
                    self.handed_out.remove(shard);
                }
            }
            if let Step::Advance(advance) = step
                && advance.to == Position::End
                && advance.from != Position::End
            {
                info!(%shard, "shard drained");
            }
        }
        self.shared.graph(|graph| steps.iter().for_each(|(shard, step)| graph.committed(shard, step)));
    }
}

impl<A: StreamApi> LaneReader<A> {
    pub(super) fn new(lane: u32, api: A, shared: Arc<Shared>, discovery: Arc<DiscoveryTask>) -> Self {
        let seed = shared.settings.seed.wrapping_add(u64::from(lane) + 1);
        Self {
            lane: lane as usize,
            api,
            changes: shared.changes.subscribe(),
            shared,
            shards: BTreeMap::new(),
            schedule: Schedule::default(),
            fetches: JoinSet::new(),
            ready: VecDeque::new(),
            handed_out: BTreeMap::new(),
            contact_at: None,
            contact_listing: 0,
            warnings: WarnRate::default(),
            rng: fastrand::Rng::with_seed(seed),
            _discovery: discovery,
        }
    }

    fn deliver(&mut self) -> Option<Delivery> {
        if let Some((batch, hold)) = self.ready.pop_front() {
            self.handed_out.entry(batch.shard.clone()).or_default().push_back(hold);
            return Some(Delivery::Batch(batch));
        }
        if let Some(contact) = self.contact_due() {
            return Some(Delivery::Contact(contact));
        }
        if !self.handed_out.is_empty() {
            return None;
        }
        if self.shared.graph(|graph| graph.ended()) {
            return Some(Delivery::Finished(Finished::StreamEnded));
        }
        self.shared.at_tip().then_some(Delivery::Finished(Finished::Tip))
    }

    /// Lane 0 says that the stream was listed completely: soon after the start, then at most every ten minutes.
    fn contact_due(&mut self) -> Option<Contact> {
        if self.lane != 0 || self.contact_at.is_some_and(|at| at.elapsed() < CONTACT_INTERVAL) {
            return None;
        }
        let listing = self.shared.graph(|graph| graph.contact_listing())?;
        if listing <= self.contact_listing {
            return None;
        }
        self.contact_listing = listing;
        self.contact_at = Some(Instant::now());
        Some(Contact { stream_known: true })
    }

    /// Registrations and gaps.
    fn take_in_steps(&mut self) {
        for GraphStep { shard, step, gap } in self.shared.graph(|graph| graph.take_steps(self.lane)) {
            if let Some(gap) = &gap {
                warn!(%shard, cause = gap.cause.as_str(), stop = gap.stop, detail = %gap.detail, "gap found");
            }
            let batch = Batch {
                shard,
                step,
                events: Vec::new(),
                dead_letters: Vec::new(),
                gap,
                counts: Counts::default(),
                bytes: 0,
            };
            self.ready.push_back((batch, None));
        }
    }

    fn take_in_readable(&mut self) {
        for shard in self.shared.graph(|graph| graph.take_readable(self.lane)) {
            if !self.shards.contains_key(&shard) {
                let reader = ShardReader::new();
                self.schedule.insert(Instant::now(), shard.clone(), reader.urgency);
                self.shards.insert(shard, reader);
            }
        }
    }

    /// Fetch slots are free, and what was fetched is being taken: otherwise the lane waits with more.
    fn fetches_free(&self) -> bool {
        self.fetches.len() + self.ready.len() < self.shared.settings.fetch_slots.max(1)
    }

    fn start_fetches(&mut self) {
        let now = Instant::now();
        while self.fetches_free() {
            let Some(shard) = self.schedule.take_due(now) else { return };
            let (start, heard_at) = self.shared.graph(|graph| (graph.read_from(&shard), graph.heard_at(&shard)));
            let (Some(start), Some(reader)) = (start, self.shards.get_mut(&shard)) else {
                // Not readable any more; the graph says when it is again.
                self.shards.remove(&shard);
                continue;
            };
            let heard_at = self.shared.began + heard_at;
            let task = Fetch { shard, iterator: reader.iterator.take(), start, heard_at };
            let shared = &self.shared;
            self.fetches.spawn(fetch(
                self.api.clone(),
                Arc::clone(&shared.stream_arn),
                Arc::clone(&shared.budget),
                task,
            ));
        }
    }

    fn take_in(&mut self, fetched: Result<Fetched, JoinError>) -> Result<(), Failure> {
        let Fetched { shard, issued, result } = fetched.map_err(|error| {
            let message = format!("a fetch of lane {} broke down: {error}", self.lane);
            Failure::Reopen(Trouble::new(TroubleKind::Runtime, "source.fetch_broke_down", message))
        })?;
        if let Some(start) = &issued {
            self.shared.graph(|graph| graph.iterator_issued(&shard, start));
        }
        match result {
            Ok(page) => {
                self.take_in_page(shard, page);
                Ok(())
            }
            Err(failed) => self.take_in_failure(shard, issued.is_some(), failed),
        }
    }

    fn take_in_page(&mut self, shard: ShardId, fetched: FetchedPage) {
        let FetchedPage { page, asked_at, hold } = fetched;
        let Some(reader) = self.shards.get_mut(&shard) else { return };
        let size = PageSize { records: page.records.len(), bytes: page.bytes };
        let limits = PaceLimits {
            interval_min: self.shared.settings.poll_interval_min,
            interval_max: self.shared.settings.poll_interval_max,
        };
        reader.retry.succeeded();
        reader.not_found = 0;
        reader.interval = next_interval(reader.interval, size, limits);
        reader.urgency = urgency_after(&page.records, reader.urgency);
        let tip = self.shared.settings.until_tip.unwrap_or(i64::MAX);
        let past_tip = matches!(reader.urgency, Urgency::Behind(created_at_ms) if created_at_ms >= tip);
        let quiet = reader.quiet_after(size.records == 0) || past_tip;
        // The last page of a closed shard may hold records and no next iterator: both go into one step.
        let end = page.next.is_none();
        let last = page.records.last().map(|record| match record {
            Decoded::Event(event) => &event.source.sequence_number,
            Decoded::DeadLetter(letter) => &letter.sequence_number,
        });
        let advance = self.shared.graph(|graph| {
            graph.heard(&shard, asked_at.duration_since(self.shared.began));
            let advance = graph.page_read(&shard, last, end);
            graph.set_quiet(&shard, quiet);
            advance
        });
        if end {
            self.shards.remove(&shard);
        } else {
            // A page that the graph refused is read again from where the shard stands.
            let used = advance.is_some() || size.records == 0;
            reader.iterator = page.next.filter(|_| used).map(|iterator| Issued { iterator, at: asked_at });
            // A bounded run is done with a shard that gave younger records: under live traffic it would never be quiet.
            if !(past_tip && used) {
                self.schedule.insert(Instant::now() + reader.interval, shard.clone(), reader.urgency);
            }
        }
        if let Some(advance) = advance {
            let batch = batch_of(shard, Step::Advance(advance), page.records, page.bytes);
            self.ready.push_back((batch, Some(hold)));
        }
    }

    fn take_in_failure(&mut self, shard: ShardId, fresh: bool, failed: FetchFailed) -> Result<(), Failure> {
        let stream_arn = &self.shared.stream_arn;
        let Some(reader) = self.shards.get_mut(&shard) else { return Ok(()) };
        let (call, error, iterator) = match failed {
            FetchFailed::Call { call, error, iterator } => (call, error, iterator),
            FetchFailed::StreamGone => return Err(Failure::Halt(stream_gone(stream_arn))),
            FetchFailed::TooLate => {
                self.shared.graph(|graph| graph.too_late(&shard, self.shared.began.elapsed()));
                self.schedule.insert(Instant::now(), shard, reader.urgency);
                return Ok(());
            }
        };
        let throttled = error.kind == ApiErrorKind::Throttled;
        let wait = reader.retry.next(throttled, &mut self.rng);
        reader.iterator = None;
        // An iterator that we kept for too long, or that the service forgot: a new one at once, from our own position. The
        // same answer to a new iterator is waited out.
        if matches!(error.kind, ApiErrorKind::IteratorExpired | ApiErrorKind::Invalid) && iterator.is_some() && !fresh {
            self.schedule.insert(Instant::now(), shard, reader.urgency);
            return Ok(());
        }
        match error.kind {
            ApiErrorKind::Trimmed => {
                let means = self.shared.graph(|graph| graph.trimmed(&shard));
                if means == TrimmedMeans::Nothing {
                    info!(%shard, "the beginning of a shard was trimmed before the first read");
                }
            }
            ApiErrorKind::NotFound => {
                reader.not_found += 1;
                if reader.not_found >= NOT_FOUND_PROVES {
                    self.shared.graph(|graph| graph.gone(&shard));
                }
            }
            // Iterators can be used again: nothing was consumed. Whether the shard is quiet stays as it was.
            ApiErrorKind::Transient | ApiErrorKind::Throttled | ApiErrorKind::Credentials => reader.iterator = iterator,
            _ => {}
        }
        if error.kind != ApiErrorKind::NotFound {
            reader.not_found = 0;
        }
        if let Some(trouble) = hopeless(&error, call, stream_arn) {
            return Err(Failure::Halt(trouble));
        }
        let attempts = reader.retry.failures();
        if let Some(suppressed) = self.warnings.admit() {
            warn!(%shard, call, %error, attempts, suppressed, advice = advice(&error), "shard could not be read");
        }
        self.schedule.insert(Instant::now() + wait, shard, reader.urgency);
        Ok(())
    }
}

fn urgency_after(records: &[Decoded], before: Urgency) -> Urgency {
    match records.last() {
        None => Urgency::CaughtUp,
        Some(Decoded::Event(event)) => Urgency::Behind(event.source.created_at_ms),
        Some(Decoded::DeadLetter(_)) => before,
    }
}

fn batch_of(shard: ShardId, step: Step, records: Vec<Decoded>, bytes: usize) -> Batch {
    let counts = Counts { read: records.len() as u64, ..Counts::default() };
    let mut dead_letters = Vec::new();
    // Collected in place: the events stay in the room of the records.
    let events = records.into_iter().filter_map(|record| match record {
        Decoded::Event(event) => Some(event),
        Decoded::DeadLetter(letter) => {
            dead_letters.push(letter);
            None
        }
    });
    let events = events.collect();
    Batch { shard, step, events, dead_letters, gap: None, counts, bytes }
}
