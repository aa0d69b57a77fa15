//! A source that follows a script and a sink in memory, with the manners that hurt: slow commits, commits of unknown
//! fate, troubles between deliveries.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tailwater_model::{
    Advance, Batch, Change, ChangeEvent, Committed, Counts, DeadLetter, Delivery, Failure, Finished, FirstListing, Gap,
    GapCause, Group, Item, Position, Progress, SequenceNumber, ServiceTime, ShardId, ShardProgress, Sink, Source,
    SourceInfo, Step, Trouble, TroubleKind,
};
use tailwater_pipeline::{LaneSettings, StopSignal};
use tokio::time::{Instant, sleep};

pub const LANE_SETTINGS: LaneSettings = LaneSettings {
    group_events_max: 10,
    group_bytes_max: 1 << 20,
    group_delay_max: Duration::from_millis(100),
    reopen_delay_min: Duration::from_millis(100),
    reopen_delay_max: Duration::from_secs(1),
    grace_period: Duration::from_secs(5),
    seed: 1,
};

/// How long a sink tries that is too slow.
pub const TIMED_OUT_AFTER: Duration = Duration::from_secs(54);

pub fn number(value: usize) -> SequenceNumber {
    SequenceNumber::parse(value.to_string().into()).expect("digits")
}

fn position(value: usize) -> Position {
    if value == 0 { Position::Start } else { Position::After(number(value)) }
}

/// A batch of `events` events after the event `from`.
pub fn batch(from: usize, events: usize) -> Batch {
    let shard = ShardId::new("shard");
    let event = |value: usize| ChangeEvent {
        key: Item::parse(format!(r#"{{"Id":{{"N":"{value}"}}}}"#).into()).expect("typed JSON"),
        change: Change::Insert { new: None },
        source: SourceInfo {
            shard: shard.clone(),
            sequence_number: number(value),
            event_id: value.to_string().into(),
            created_at_ms: 1,
            size_bytes: 1,
        },
    };
    Batch {
        shard: shard.clone(),
        step: Step::Advance(Advance { from: position(from), to: position(from + events) }),
        read_until: None,
        events: (from + 1..=from + events).map(event).collect(),
        dead_letters: Vec::new(),
        gap: None,
        counts: Counts { read: events as u64, ..Counts::default() },
        bytes: events,
    }
}

/// The shard ends after three events with a gap.
pub fn ending_gap(stop: bool) -> Batch {
    let gap = stop_gap().gap.map(|gap| Gap { stop, ..gap });
    Batch { step: Step::Advance(Advance { from: position(3), to: Position::End }), gap, ..batch(3, 0) }
}

pub fn stop_gap() -> Batch {
    let gap = Gap {
        shard: Some(ShardId::new("shard")),
        cause: GapCause::Trimmed,
        after: position(3),
        since: None,
        until: ServiceTime::EPOCH,
        detail: "trimmed".into(),
        stop: true,
    };
    Batch { step: Step::Advance(Advance { from: position(3), to: position(3) }), gap: Some(gap), ..batch(3, 0) }
}

pub enum Scripted {
    Give(Batch),
    /// The same, and a task is begun as for the fetch of the next page, which the sink's state counts when it runs.
    GiveAndFetch(Batch, MemorySink),
    Fail,
    Stop(StopSignal),
    Wait,
    Panic,
}

/// Gives the script; after an opening it goes on behind the stored position, as a real source reads again.
pub struct ScriptedSource {
    script: VecDeque<Scripted>,
    unconfirmed: VecDeque<Batch>,
    is_open: bool,
}

impl ScriptedSource {
    pub fn new(script: Vec<Scripted>) -> Self {
        Self { script: script.into(), unconfirmed: VecDeque::new(), is_open: false }
    }
}

fn copy(batch: &Batch) -> Batch {
    Batch {
        shard: batch.shard.clone(),
        step: batch.step.clone(),
        read_until: batch.read_until,
        events: batch.events.clone(),
        dead_letters: batch.dead_letters.clone(),
        gap: batch.gap.clone(),
        counts: batch.counts,
        bytes: batch.bytes,
    }
}

impl Source for ScriptedSource {
    async fn open(&mut self, progress: &Progress) -> Result<(), Failure> {
        assert!(!self.is_open, "what a failed session held was not given back");
        self.is_open = true;
        let stored = progress.shards.first().map_or(Position::Start, |shard| shard.position.clone());
        let behind = |batch: &Batch| matches!(&batch.step, Step::Advance(advance) if advance.from == stored);
        while self.unconfirmed.front().is_some_and(|batch| !behind(batch)) {
            self.unconfirmed.pop_front();
        }
        while let Some(batch) = self.unconfirmed.pop_back() {
            self.script.push_front(Scripted::Give(batch));
        }
        Ok(())
    }

    fn grew(&mut self, _: &ShardId, _: usize) {}

    fn close(&mut self) {
        self.is_open = false;
    }

    async fn next(&mut self) -> Result<Delivery, Failure> {
        match self.script.pop_front() {
            None if self.unconfirmed.is_empty() => Ok(Delivery::Finished(Finished::Tip)),
            None => std::future::pending().await,
            Some(Scripted::Give(batch)) => {
                self.unconfirmed.push_back(copy(&batch));
                Ok(Delivery::Batch(batch))
            }
            Some(Scripted::GiveAndFetch(batch, sink)) => {
                tokio::spawn(async move { sink.edit(|state| state.fetches += 1) });
                self.unconfirmed.push_back(copy(&batch));
                Ok(Delivery::Batch(batch))
            }
            Some(Scripted::Fail) => Err(Failure::Reopen(Trouble::new(TroubleKind::Environment, "test.fail", "fail"))),
            Some(Scripted::Stop(stop)) => {
                stop.stop();
                std::future::pending().await
            }
            Some(Scripted::Wait) => {
                // For ever, however often it is asked.
                self.script.push_front(Scripted::Wait);
                std::future::pending().await
            }
            Some(Scripted::Panic) => panic!("planted {}", std::hint::black_box("hunter2")),
        }
    }

    fn committed(&mut self, steps: &[(ShardId, Step)], _: Option<FirstListing>) {
        self.unconfirmed.drain(..steps.len());
    }
}

#[derive(Default)]
pub struct MemoryState {
    /// Nothing before the first commit.
    pub position: Option<Position>,
    pub written: Vec<String>,
    pub dead_letters: Vec<DeadLetter>,
    pub gaps: usize,
    pub commits: usize,
    pub opens: usize,
    pub largest_group: usize,
    /// Fetches that have run, and how many had when each commit was begun.
    pub fetches: usize,
    pub fetches_at_commits: Vec<usize>,
    pub commit_takes: Duration,
    /// Commits of more events take too long, and fail.
    pub slow_above: Option<usize>,
    /// Until then commits are refused for want of a right.
    pub denied_until: Option<Instant>,
    /// Another session has the lane.
    pub taken_over: bool,
    /// The next commit fails; whether it was applied all the same.
    pub fail_commit: Option<bool>,
}

#[derive(Clone, Default)]
pub struct MemorySink(Arc<Mutex<MemoryState>>);

impl MemorySink {
    pub fn edit(&self, change: impl FnOnce(&mut MemoryState)) {
        change(&mut self.0.lock().expect("not poisoned"));
    }

    pub fn read(&self, look: impl FnOnce(&MemoryState)) {
        look(&self.0.lock().expect("not poisoned"));
    }
}

impl Sink for MemorySink {
    async fn open(&mut self) -> Result<Progress, Failure> {
        let mut state = self.0.lock().expect("not poisoned");
        state.opens += 1;
        let position = state.position.clone().unwrap_or(Position::Start);
        let shard = ShardProgress { shard: ShardId::new("shard"), parent: None, position, read_until: None };
        Ok(Progress { shards: vec![shard], ..Progress::default() })
    }

    async fn commit(&mut self, group: Group) -> Result<Committed, Failure> {
        let (takes, is_too_slow) = {
            let mut state = self.0.lock().expect("not poisoned");
            let fetches = state.fetches;
            state.fetches_at_commits.push(fetches);
            (state.commit_takes, state.slow_above.is_some_and(|most| group.events() > most))
        };
        sleep(takes).await;
        if is_too_slow {
            sleep(TIMED_OUT_AFTER).await;
            return Err(Failure::Reopen(Trouble::new(TroubleKind::Environment, "test.timeout", "too slow")));
        }
        let mut state = self.0.lock().expect("not poisoned");
        if state.taken_over {
            return Err(Failure::Halt(Trouble::new(TroubleKind::Runtime, "test.taken_over", "taken over")));
        }
        if state.denied_until.is_some_and(|until| Instant::now() < until) {
            return Err(Failure::Halt(Trouble::new(TroubleKind::Environment, "test.denied", "no right")));
        }
        if group.is_empty() {
            return Ok(Committed::default());
        }
        let failing = state.fail_commit.take();
        let trouble = || Failure::Reopen(Trouble::new(TroubleKind::Runtime, "test.commit", "lost the answer"));
        if failing == Some(false) {
            return Err(trouble());
        }
        state.commits += 1;
        state.largest_group = state.largest_group.max(group.events());
        let mut committed = Committed::default();
        for batch in group.batches {
            let Step::Advance(advance) = batch.step else { panic!("only advances here") };
            assert_eq!(state.position.take().unwrap_or(Position::Start), advance.from, "I2");
            state.position = Some(advance.to);
            state.gaps += usize::from(batch.gap.is_some());
            committed.written += batch.counts.written;
            committed.dead_lettered += batch.counts.dead_lettered;
            state.written.extend(batch.events.iter().map(|event| event.source.sequence_number.to_string()));
            state.dead_letters.extend(batch.dead_letters);
        }
        if failing == Some(true) { Err(trouble()) } else { Ok(committed) }
    }
}
