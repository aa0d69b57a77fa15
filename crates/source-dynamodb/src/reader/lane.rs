//! One lane's reader: the schedule of its shards, its fetches, and what it has handed out.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use tailwater_model::{
    Batch, Counts, Delivery, Failure, Finished, FirstListing, Position, Progress, ShardId, Source, Step,
};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tracing::{info, warn};

use super::Shared;
use super::budget::Hold;
use super::changes::Seen;
use super::discovery::DiscoveryTask;
use super::fetch::{Fetch, Fetched, Issued, fetch};
use super::schedule::Schedule;
use super::shard_reader::ShardReader;
use super::status::LaneNotes;
use super::trouble::WarnRate;
use crate::api::{IteratorStart, StreamApi};
use crate::graph::GraphStep;

/// Most steps without events that wait for the sink at once (I6).
const STEPS_READY_MAX: usize = 500;

/// Reads the shards of one lane.
pub struct LaneReader<A> {
    pub(super) lane: usize,
    api: A,
    pub(super) shared: Arc<Shared>,
    changes: Seen,
    pub(super) shards: BTreeMap<ShardId, ShardReader>,
    /// Iterators from before the lane was opened again, of shards that stand where each began: a run of empty pages goes on.
    kept: BTreeMap<ShardId, (IteratorStart, Arc<Issued>)>,
    pub(super) schedule: Schedule,
    fetches: JoinSet<Fetched>,
    /// What was read and nobody has taken yet, and how much of it is pages.
    pub(super) ready: VecDeque<(Batch, Option<Hold>)>,
    pub(super) pages_ready: usize,
    /// Per shard, in order: what was handed out and is not durable, with its room in the budget.
    handed_out: BTreeMap<ShardId, VecDeque<Option<Hold>>>,
    /// What was handed out of the first complete listing, or was durable when the lane opened.
    first_listing_told: Option<FirstListing>,
    pub(super) warnings: WarnRate,
    pub(super) rng: fastrand::Rng,
    _discovery: Arc<DiscoveryTask>,
}

impl<A: StreamApi> Source for LaneReader<A> {
    async fn open(&mut self, progress: &Progress) -> Result<(), Failure> {
        self.close();
        self.first_listing_told = progress.first_listing;
        let follows = self.shared.settings.follows.as_ref().filter(|_| self.lane == 0);
        let kept = std::mem::take(&mut self.kept);
        self.kept = self.shared.graph(|graph| {
            graph.restore(self.lane, progress, progress.previous_stream.as_ref().or(follows));
            // I7: what is stored decides.
            let stands = |(shard, (start, _)): &(ShardId, (IteratorStart, Arc<Issued>))| {
                graph.read_from(shard).as_ref() == Some(start)
            };
            kept.into_iter().filter(stands).collect()
        });
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
            // At the tip nothing is fetched any more: what is due would be due for ever.
            let wake_at = self.schedule.wake_at().filter(|_| self.fetches_free() && !self.shared.at_tip());
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

    fn committed(&mut self, steps: &[(ShardId, Step)], first_listing: Option<FirstListing>) {
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
        self.shared.graph(|graph| {
            first_listing.into_iter().for_each(|listing| graph.first_listing_committed(listing));
            steps.iter().for_each(|(shard, step)| graph.committed(shard, step));
        });
    }

    fn grew(&mut self, shard: &ShardId, bytes: usize) {
        if let Some(Some(hold)) = self.handed_out.get_mut(shard).and_then(VecDeque::back_mut) {
            hold.grow(bytes);
        }
    }

    fn close(&mut self) {
        // Pages that are under way or waiting give their room in the budget back here (I6); they are read again (I7).
        self.fetches = JoinSet::new();
        self.ready.clear();
        self.pages_ready = 0;
        self.handed_out.clear();
        self.schedule = Schedule::default();
        let shards = std::mem::take(&mut self.shards);
        self.shared.graph(|graph| {
            for (shard, reader) in shards {
                if let (Some(start), Some(iterator)) = (graph.stands_at(&shard), reader.iterator) {
                    self.kept.insert(shard, (start, iterator));
                }
            }
            graph.lane_closed(self.lane);
        });
        self.shared.note(self.lane, |notes| *notes = LaneNotes::default());
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
            kept: BTreeMap::new(),
            schedule: Schedule::default(),
            fetches: JoinSet::new(),
            ready: VecDeque::new(),
            pages_ready: 0,
            handed_out: BTreeMap::new(),
            first_listing_told: None,
            warnings: WarnRate::default(),
            rng: fastrand::Rng::with_seed(seed),
            _discovery: discovery,
        }
    }

    fn deliver(&mut self) -> Option<Delivery> {
        // First: a lane that is bound by its sink always has a page ready.
        if self.lane == 0
            && self.first_listing_told.is_none_or(|told| !told.is_stored)
            && let Some(listing) = self.shared.graph(|graph| graph.first_listing_due())
            && self.first_listing_told != Some(listing)
        {
            self.first_listing_told = Some(listing);
            return Some(Delivery::FirstListing(listing));
        }
        if let Some((batch, hold)) = self.ready.pop_front() {
            self.pages_ready -= usize::from(hold.is_some());
            self.handed_out.entry(batch.shard.clone()).or_default().push_back(hold);
            return Some(Delivery::Batch(batch));
        }
        if !self.handed_out.is_empty() {
            return None;
        }
        // The tip first: all lanes say the same.
        if self.shared.at_tip() {
            return Some(Delivery::Finished(Finished::Tip));
        }
        self.shared.graph(|graph| graph.ended()).then_some(Delivery::Finished(Finished::StreamEnded))
    }

    /// Registrations, gaps and moments.
    fn take_in_steps(&mut self) {
        let steps_max = STEPS_READY_MAX.saturating_sub(self.ready.len());
        for GraphStep { shard, step, read_until, gap } in
            self.shared.graph(|graph| graph.take_steps(self.lane, steps_max))
        {
            if let Some(gap) = &gap {
                warn!(%shard, cause = gap.cause.as_str(), stop = gap.stop, "gap found: {}", gap.words());
            }
            let batch = Batch {
                shard,
                step,
                read_until,
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
                let kept = self.kept.remove(&shard).map(|(_, iterator)| iterator);
                let reader = ShardReader::new(kept.or_else(|| self.shared.take_latest(&shard).map(Arc::new)));
                self.schedule.insert(Instant::now(), shard.clone(), reader.urgency);
                self.shards.insert(shard, reader);
            }
        }
    }

    /// Fetch slots are free, and what was fetched is being taken: otherwise the lane waits with more.
    fn fetches_free(&self) -> bool {
        self.fetches.len() + self.pages_ready < self.shared.settings.fetch_slots.max(1)
    }

    fn start_fetches(&mut self) {
        // At the tip nothing more is wanted: under live traffic the lane would never have carried everything.
        if self.shared.at_tip() {
            return;
        }
        let now = Instant::now();
        while self.fetches_free() {
            let Some(shard) = self.schedule.take_due(now) else { return };
            let start = self.shared.graph(|graph| graph.read_from(&shard));
            let (Some(start), Some(reader)) = (start, self.shards.get(&shard)) else {
                // Not readable any more; the graph says when it is again.
                self.leave(&shard);
                continue;
            };
            let task = Fetch { shard, iterator: reader.iterator.clone(), start };
            self.fetches.spawn(fetch(self.api.clone(), Arc::clone(&self.shared), self.lane, task));
        }
    }
}
