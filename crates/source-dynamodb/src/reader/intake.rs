//! What a lane does with what it fetched.

use std::sync::Arc;
use std::time::Duration;

use tailwater_model::{Batch, Counts, Failure, ServiceTime, ShardId, Step, Trouble, TroubleKind, panic_words};
use tokio::task::JoinError;
use tokio::time::Instant;
use tracing::{info, warn};

use super::fetch::{FetchFailed, Fetched, FetchedPage, Issued};
use super::lane::LaneReader;
use super::pacing::{PaceLimits, PageSize, next_interval};
use super::schedule::Urgency;
use super::trouble::advice;
use crate::api::{ApiErrorKind, Decoded, StreamApi};
use crate::graph::{PageFacts, PageMeans, TrimmedMeans};

/// A shard that is thought to be read no further than this long ago is asked without waiting for longer: a run of empty pages
/// is soon known to be one, and until it is a restart would find the shard unread.
const PROOF_WANTED_AFTER: Duration = Duration::from_secs(10 * 60);
/// "Not found" answers in a row after which discovery is to find out whether the shard, or the stream, is gone.
const NOT_FOUND_SUSPECT: u32 = 2;

impl<A: StreamApi> LaneReader<A> {
    pub(super) fn take_in(&mut self, fetched: Result<Fetched, JoinError>) -> Result<(), Failure> {
        let Fetched { shard, is_fresh, result } = fetched.map_err(|error| {
            let what = error.try_into_panic().map_or("it was ended from outside", |payload| panic_words(&*payload));
            let message = format!("a fetch of lane {} broke down: {what}", self.lane);
            Failure::Reopen(Trouble::new(TroubleKind::Runtime, "source.fetch_broke_down", message))
        })?;
        match result {
            Ok(page) => {
                self.take_in_page(shard, page);
                Ok(())
            }
            Err(failed) => self.take_in_failure(shard, is_fresh, failed),
        }
    }

    fn take_in_page(&mut self, shard: ShardId, fetched: FetchedPage) {
        let FetchedPage { page, date, asked_at, answered_at, used, hold } = fetched;
        let Some(reader) = self.shards.get_mut(&shard) else { return };
        let size = PageSize { records: page.records.len(), bytes: page.bytes };
        let settings = &self.shared.settings;
        let Some(when) = self.shared.answered(date, asked_at, answered_at, &mut reader.in_doubt) else {
            reader.iterator = Some(used);
            self.schedule.insert(Instant::now() + settings.poll_interval_min, shard, reader.urgency);
            return;
        };
        let limits = PaceLimits { interval_min: settings.poll_interval_min, interval_max: settings.poll_interval_max };
        reader.succeeded();
        reader.interval = next_interval(reader.interval, size, limits);
        if settings.until_tip || page.next.is_none() {
            // Empty pages are what a bounded run waits for; and an end is asked for once more, while its children wait.
            reader.interval = reader.interval.min(settings.poll_interval_min);
        }
        reader.urgency = urgency_after(&page.records, reader.urgency);
        let facts = PageFacts {
            when,
            last: page.records.last().map(Decoded::sequence_number),
            created: newest_creation(&page.records),
            // The last page of a closed shard may hold records and no next iterator: both go into one step.
            is_end: page.next.is_none(),
            start: used.start.as_ref(),
        };
        let means = self.shared.graph(|graph| graph.page_read(&shard, &facts));
        self.shared.note(self.lane, |notes| notes.page(&shard, size.records > 0));
        let is_proof_wanted = size.records == 0
            && matches!(&means, PageMeans::Step { read_until, .. }
            if read_until.is_some_and(|read_until| facts.when.answered.since(read_until) > PROOF_WANTED_AFTER + settings.visible_within));
        if is_proof_wanted {
            reader.interval = reader.interval.min(settings.poll_interval_min);
        }
        let (advance, read_until, is_end, is_used) = match means {
            PageMeans::Step { advance, read_until, is_end } => (advance, read_until, is_end, true),
            PageMeans::Nothing => (None, None, false, false),
        };
        if is_end {
            self.leave(&shard);
        } else {
            let next = page.next.map(|iterator| Arc::new(Issued { iterator, at: asked_at, start: None }));
            // An end without records is asked for once more at the same place. A page that the graph refused is read again
            // from where the shard stands.
            reader.iterator = next.or((size.records == 0).then_some(used)).filter(|_| is_used);
            self.schedule.insert(Instant::now() + reader.interval, shard.clone(), reader.urgency);
        }
        if let Some(advance) = advance {
            let step = Step::Advance(advance);
            let batch = batch_of(shard, step, read_until, page.records, page.memory_bytes);
            self.ready.push_back((batch, Some(hold)));
            self.pages_ready += 1;
        }
    }

    /// This shard is not read any more.
    pub(super) fn leave(&mut self, shard: &ShardId) {
        self.shards.remove(shard);
        self.shared.note(self.lane, |notes| notes.left(shard, self.shards.is_empty()));
    }

    fn take_in_failure(&mut self, shard: ShardId, is_fresh: bool, failed: FetchFailed) -> Result<(), Failure> {
        let stream_arn = &self.shared.stream_arn;
        let Some(reader) = self.shards.get_mut(&shard) else { return Ok(()) };
        let FetchFailed { call, error, iterator } = failed;
        let is_throttled = error.kind == ApiErrorKind::Throttled;
        let wait = reader.retry.next(is_throttled, &mut self.rng);
        reader.iterator = None;
        // An iterator that we kept for too long, or that the service forgot: a new one at once, from our own position. The
        // same answer to a new iterator is waited out.
        let is_stale = matches!(error.kind, ApiErrorKind::IteratorExpired | ApiErrorKind::Invalid);
        if is_stale && iterator.is_some() && !is_fresh {
            self.schedule.insert(Instant::now(), shard, reader.urgency);
            return Ok(());
        }
        let now = self.shared.time();
        match error.kind {
            ApiErrorKind::Trimmed => {
                let means = self.shared.graph(|graph| graph.trimmed(&shard));
                if means == TrimmedMeans::Nothing {
                    info!(%shard, "the beginning of a shard was trimmed before the first read");
                }
            }
            ApiErrorKind::NotFound => {
                reader.not_found += 1;
                if reader.not_found >= NOT_FOUND_SUSPECT {
                    self.shared.graph(|graph| graph.suspect(&shard, now));
                }
            }
            // Iterators can be used again: nothing was consumed.
            ApiErrorKind::Transient | ApiErrorKind::Throttled | ApiErrorKind::Credentials => reader.iterator = iterator,
            _ => {}
        }
        if error.kind != ApiErrorKind::NotFound {
            reader.not_found = 0;
        }
        if let Some(trouble) = reader.refusals.add(&error, call, stream_arn) {
            return Err(Failure::Halt(trouble));
        }
        if !reader.tell_long_trouble(&shard, call, &error)
            && let Some(suppressed) = self.warnings.admit()
        {
            let attempts = reader.retry.failures();
            warn!(%shard, call, %error, attempts, suppressed, advice = advice(&error), "shard could not be read");
        }
        self.shared.note(self.lane, |notes| notes.failure(&shard, format!("{call} of shard {shard}: {error}")));
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

/// Of the last record that tells it: they come in the order of their writes.
fn newest_creation(records: &[Decoded]) -> Option<ServiceTime> {
    records.iter().rev().find_map(|record| match record {
        Decoded::Event(event) => Some(ServiceTime::from_ms(event.source.created_at_ms)),
        Decoded::DeadLetter(_) => None,
    })
}

fn batch_of(shard: ShardId, step: Step, read_until: Option<ServiceTime>, records: Vec<Decoded>, bytes: usize) -> Batch {
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
    Batch { shard, step, read_until, events, dead_letters, gap: None, counts, bytes }
}
