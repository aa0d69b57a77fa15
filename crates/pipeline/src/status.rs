//! What a pipeline is doing, for logs, the demo's view and the summary at the end.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tailwater_model::{Batch, Committed, Counts, Gap, Group, ShardId, Trouble};
use tokio::time::Instant;

/// A commit that the sink has not answered for so long is told.
const COMMIT_TOLD_AFTER: Duration = Duration::from_secs(10);

/// Counters and lane states of a running pipeline. Lanes write, anybody reads. The numbers count from the start of the
/// process and are not progress: progress lives in the sink.
#[derive(Debug, Default)]
pub struct PipelineStatus {
    read: AtomicU64,
    written: AtomicU64,
    filtered: AtomicU64,
    dead_lettered: AtomicU64,
    suppressed: AtomicU64,
    commits: AtomicU64,
    reopenings: AtomicU64,
    gaps: AtomicU64,
    replaced: AtomicU64,
    standing_by: AtomicBool,
    newest_created_at_ms: AtomicI64,
    // Plain mutexes: nothing awaits while they are held.
    owner_lives_at: Mutex<Option<Instant>>,
    lanes: Mutex<Vec<LaneNotes>>,
}

/// What one lane is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LaneState {
    /// Opening its sink session and its source for the first time.
    Opening {
        /// Since then.
        since: Instant,
    },
    /// Open. Its reader tells whether there is something to carry.
    Carrying,
    /// Open, and the sink does not answer a commit, which takes unusually long.
    Committing {
        /// Since then.
        since: Instant,
    },
    /// Waiting to open again, or trying to. A lane that opens, and fails before it has committed anything, is still in the same
    /// trouble.
    Reopening {
        /// Since then.
        since: Instant,
        /// The last trouble.
        trouble: Trouble,
    },
    /// Finished, stopped or halted.
    Ended,
}

/// What a lane tells of itself.
#[derive(Debug)]
struct LaneNotes {
    state: LaneState,
    /// When the commit that is under way began.
    commit_began: Option<Instant>,
}

impl LaneNotes {
    fn of(state: LaneState) -> Self {
        Self { state, commit_began: None }
    }

    fn shown(&self) -> LaneState {
        let slow = self.commit_began.filter(|began| began.elapsed() >= COMMIT_TOLD_AFTER);
        match (&self.state, slow) {
            (LaneState::Carrying, Some(since)) => LaneState::Committing { since },
            (state, _) => state.clone(),
        }
    }
}

/// A consistent enough copy of the status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatusSnapshot {
    /// Records read from durable steps, and what became of them.
    pub counts: Counts,
    /// Groups committed.
    pub commits: u64,
    /// Times that a lane opened again after trouble.
    pub reopenings: u64,
    /// Gaps recorded.
    pub gaps: u64,
    /// Times that another process took the pipeline over.
    pub replaced: u64,
    /// Another process owns the pipeline, and this one waits for it to go.
    pub standing_by: bool,
    /// When that process was seen to show life for the last time; nothing where none is watched.
    pub owner_lives_at: Option<Instant>,
    /// Creation time of the newest committed event in milliseconds since 1970; nothing before the first.
    pub newest_created_at_ms: Option<i64>,
    /// The lanes by number.
    pub lanes: Vec<LaneState>,
}

/// What a group will add to the counters once it is durable, and the gaps that it holds; taken before the sink consumes the
/// group.
pub(crate) struct GroupTally {
    counts: Counts,
    /// Nothing in nearly every group, and then free.
    gaps: Option<Vec<GapOfGroup>>,
    newest_created_at_ms: i64,
}

/// A gap in a group.
pub(crate) struct GapOfGroup {
    /// The shard whose step carries it.
    pub(crate) shard: ShardId,
    /// The shard ends with that step: once it is stored so, nothing leads to the gap any more.
    pub(crate) ends_shard: bool,
    pub(crate) gap: Gap,
}

impl GroupTally {
    pub(crate) fn of(group: &Group) -> Self {
        let mut tally = Self { counts: Counts::default(), gaps: None, newest_created_at_ms: 0 };
        for batch in &group.batches {
            tally.counts += batch.counts;
            if let Some(gap) = &batch.gap {
                tally.add(gap, batch);
            }
            if let Some(event) = batch.events.last() {
                tally.newest_created_at_ms = tally.newest_created_at_ms.max(event.source.created_at_ms);
            }
        }
        tally
    }

    // Out of the way of every commit, which has none.
    #[cold]
    fn add(&mut self, gap: &Gap, batch: &Batch) {
        let (shard, ends_shard) = (batch.shard.clone(), batch.step.is_end());
        self.gaps.get_or_insert_default().push(GapOfGroup { shard, ends_shard, gap: gap.clone() });
    }

    /// The gap that stops the pipeline.
    #[inline]
    pub(crate) fn stop_gap(&self) -> Option<&Gap> {
        self.gaps.as_ref()?.iter().map(|found| &found.gap).find(|gap| gap.stop)
    }

    /// The gaps that nothing leads to once they are stored.
    pub(crate) fn ended_with_gap(self) -> Vec<GapOfGroup> {
        self.gaps.into_iter().flatten().filter(|found| found.ends_shard).collect()
    }
}

impl PipelineStatus {
    /// A status without lanes.
    pub fn new() -> Self {
        Self::default()
    }

    /// Copies the status.
    pub fn snapshot(&self) -> StatusSnapshot {
        let newest = self.newest_created_at_ms.load(Relaxed);
        StatusSnapshot {
            counts: Counts {
                read: self.read.load(Relaxed),
                written: self.written.load(Relaxed),
                filtered: self.filtered.load(Relaxed),
                dead_lettered: self.dead_lettered.load(Relaxed),
                suppressed: self.suppressed.load(Relaxed),
            },
            commits: self.commits.load(Relaxed),
            reopenings: self.reopenings.load(Relaxed),
            gaps: self.gaps.load(Relaxed),
            replaced: self.replaced.load(Relaxed),
            standing_by: self.standing_by.load(Relaxed),
            owner_lives_at: *self.owner_life(),
            newest_created_at_ms: (newest > 0).then_some(newest),
            lanes: self.lanes().iter().map(LaneNotes::shown).collect(),
        }
    }

    fn lanes(&self) -> MutexGuard<'_, Vec<LaneNotes>> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn owner_life(&self) -> MutexGuard<'_, Option<Instant>> {
        self.owner_lives_at.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn committed(&self, tally: &GroupTally, committed: &Committed) {
        self.read.fetch_add(tally.counts.read, Relaxed);
        self.filtered.fetch_add(tally.counts.filtered, Relaxed);
        self.suppressed.fetch_add(tally.counts.suppressed, Relaxed);
        self.written.fetch_add(committed.written, Relaxed);
        self.dead_lettered.fetch_add(committed.dead_lettered, Relaxed);
        self.gaps.fetch_add(tally.gaps.as_ref().map_or(0, Vec::len) as u64, Relaxed);
        self.newest_created_at_ms.fetch_max(tally.newest_created_at_ms, Relaxed);
        self.commits.fetch_add(1, Relaxed);
    }

    /// A gap turned out to be on record although its commit was not answered.
    pub(crate) fn gap_recorded(&self) {
        self.gaps.fetch_add(1, Relaxed);
    }

    /// Whether another process owns the pipeline from now on.
    pub(crate) fn stands_by(&self, standing_by: bool) {
        self.replaced.fetch_add(u64::from(standing_by), Relaxed);
        self.standing_by.store(standing_by, Relaxed);
        self.owner_lives_at(None);
    }

    /// When the owner was seen to show life for the last time.
    pub(crate) fn owner_lives_at(&self, at: Option<Instant>) {
        *self.owner_life() = at;
    }

    pub(crate) fn set_lane(&self, lane: usize, state: LaneState) {
        if matches!(state, LaneState::Reopening { .. }) {
            self.reopenings.fetch_add(1, Relaxed);
        }
        let mut lanes = self.lanes();
        if lanes.len() <= lane {
            lanes.resize_with(lane + 1, || LaneNotes::of(LaneState::Opening { since: Instant::now() }));
        }
        lanes[lane] = LaneNotes::of(state);
    }

    /// A commit of this lane is under way, or is not any more.
    pub(crate) fn commit_under_way(&self, lane: usize, is_under_way: bool) {
        if let Some(notes) = self.lanes().get_mut(lane) {
            notes.commit_began = is_under_way.then(Instant::now);
        }
    }
}
