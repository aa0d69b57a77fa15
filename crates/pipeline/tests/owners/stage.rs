//! A sink that stores who owns a pipeline, and processes that run it.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tailwater_model::{
    Claimed, Committed, Delivery, Failure, Finished, FirstListing, Group, Owner, Ownership, Progress, ShardId, Sink,
    Source, Step, StreamIdentity, Transform, Trouble, TroubleKind,
};
use tailwater_pipeline::{
    Assembly, ClaimOf, Ended, Following, LaneSettings, PipelineStatus, RunSettings, StatusSnapshot, StopSignal, run,
};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

/// How long an owner may be silent.
pub const LEASE: Duration = Duration::from_secs(15);
/// How often an owner is looked at, and the longest wait before the last look. A claim takes no time here.
pub const LOOK: Duration = Duration::from_millis(500);
/// See [`LOOK`].
pub const JITTER: Duration = Duration::from_millis(250);

const LANE_SETTINGS: LaneSettings = LaneSettings {
    group_events_max: 10,
    group_bytes_max: 1 << 20,
    group_delay_max: Duration::from_millis(100),
    reopen_delay_min: Duration::from_millis(100),
    reopen_delay_max: Duration::from_secs(1),
    grace_period: Duration::from_secs(5),
    seed: 1,
};

/// Gives nothing: it waits, or has come to its end.
struct QuietSource {
    is_over: bool,
}

impl Source for QuietSource {
    async fn open(&mut self, _: &Progress) -> Result<(), Failure> {
        Ok(())
    }

    async fn next(&mut self) -> Result<Delivery, Failure> {
        if self.is_over { Ok(Delivery::Finished(Finished::StreamEnded)) } else { std::future::pending().await }
    }

    fn committed(&mut self, _: &[(ShardId, Step)], _: Option<FirstListing>) {}

    fn grew(&mut self, _: &ShardId, _: usize) {}

    fn close(&mut self) {}
}

/// What a sink stores of owners.
#[derive(Default)]
pub struct Stored {
    pub owner: u64,
    life: u64,
    pub released: bool,
    /// When each claim was made.
    pub claims: Vec<Instant>,
    /// The next claims fail.
    pub refusals: u32,
    /// The stream is over for lanes of this owner, and none follows for so long.
    pub ends: Option<(u64, Duration)>,
    /// The number of the stream that progress belongs to.
    pub stream: u64,
    /// Signs of life are taken from whoever gives them.
    pub believes_signs: bool,
    /// All owners have the same mark.
    pub is_without_marks: bool,
    pub claim_takes: Duration,
    /// A claim is answered so long after it holds.
    pub claim_is_told_after: Duration,
    pub choice_takes: Duration,
    /// Nobody can look who the owner is.
    pub is_unreadable: bool,
    /// What is refused is borne no longer.
    pub has_no_patience: bool,
}

/// The store of one sink.
#[derive(Clone, Default)]
pub struct Store(Arc<Mutex<Stored>>);

impl Store {
    pub fn stored(&self) -> MutexGuard<'_, Stored> {
        self.0.lock().expect("not poisoned")
    }

    /// A claim of somebody else, who shows no life.
    pub fn claim(&self) -> u64 {
        let mut stored = self.stored();
        stored.owner = stored.claims.len() as u64 + 1;
        stored.life += 1;
        stored.released = false;
        stored.claims.push(Instant::now());
        stored.owner
    }

    /// How many claims were made by now.
    pub fn claims(&self) -> usize {
        self.stored().claims.len()
    }

    /// The number of the stream that progress belongs to.
    pub fn stream(&self) -> u64 {
        self.stored().stream
    }

    pub fn is_released(&self) -> bool {
        self.stored().released
    }

    fn check(&self, owner: u64) -> Result<(), Trouble> {
        let stored = self.stored().owner;
        if stored == owner {
            return Ok(());
        }
        let kind = if stored > owner { TroubleKind::Replaced } else { TroubleKind::ClaimLost };
        Err(Trouble::new(kind, "test.not_the_owner", "another process"))
    }

    pub fn process(&self, stands_by: bool) -> Process {
        let (stop, status) = (StopSignal::new(), Arc::new(PipelineStatus::new()));
        let settings = RunSettings { lane: LANE_SETTINGS, lease: LEASE, stands_by };
        let assembly = TestAssembly { store: self.clone(), owner: 0, stream: 0, ended: None };
        let task = tokio::spawn(run(assembly, settings, stop.clone(), Arc::clone(&status)));
        Process { stop, status, task }
    }
}

pub struct Process {
    pub stop: StopSignal,
    status: Arc<PipelineStatus>,
    pub task: JoinHandle<Result<Ended, Trouble>>,
}

impl Process {
    pub fn status(&self) -> StatusSnapshot {
        self.status.snapshot()
    }

    pub async fn ended(self) -> Result<Ended, Trouble> {
        self.task.await.expect("no panic")
    }
}

struct TestAssembly {
    store: Store,
    owner: u64,
    /// The number of the chosen stream, and of the last one that was read to its end.
    stream: u64,
    ended: Option<u64>,
}

/// A lane and the ownership of one claim.
struct OfClaim {
    store: Store,
    owner: u64,
    mark: String,
}

impl Sink for OfClaim {
    async fn open(&mut self) -> Result<Progress, Failure> {
        self.store.check(self.owner).map(|()| Progress::default()).map_err(Failure::Halt)
    }

    async fn commit(&mut self, _: Group) -> Result<Committed, Failure> {
        self.store.check(self.owner).map(|()| Committed::default()).map_err(Failure::Halt)
    }
}

impl Ownership for OfClaim {
    fn mark(&self) -> &str {
        &self.mark
    }

    async fn show_life(&mut self) -> Result<(), Trouble> {
        if !self.store.stored().believes_signs {
            self.store.check(self.owner)?;
        }
        self.store.stored().life += 1;
        Ok(())
    }

    async fn owner(&mut self) -> Result<Owner, Trouble> {
        let stored = self.store.stored();
        if stored.is_unreadable {
            return Err(refused());
        }
        let (mark, life) = (stored.owner.to_string(), stored.life.to_string());
        Ok(if stored.released { Owner::Nobody } else { Owner::Somebody { mark, life } })
    }

    async fn release(&mut self) -> Result<(), Trouble> {
        let mut stored = self.store.stored();
        stored.released |= stored.owner == self.owner;
        Ok(())
    }
}

fn refused() -> Trouble {
    Trouble::new(TroubleKind::Environment, "test.refused", "not now")
}

/// Takes no time where it is not to take any: not even that of another task.
async fn pause(time: Duration) {
    if !time.is_zero() {
        sleep(time).await;
    }
}

impl Assembly for TestAssembly {
    type Source = QuietSource;
    type Sink = OfClaim;
    type Ownership = OfClaim;

    async fn choose(&mut self) -> Result<StreamIdentity, Trouble> {
        let takes = self.store.stored().choice_takes;
        pause(takes).await;
        let of_progress = self.store.stored().stream;
        self.stream = of_progress + u64::from(self.ended == Some(of_progress));
        Ok(StreamIdentity { table: "t".into(), table_id: "1".into(), stream_arn: self.stream.to_string() })
    }

    async fn claim(&mut self) -> Result<ClaimOf<Self>, Trouble> {
        let refusal = self.store.stored().refusals.checked_sub(1);
        if let Some(left) = refusal {
            self.store.stored().refusals = left;
            return Err(refused());
        }
        let takes = self.store.stored().claim_takes;
        sleep(takes).await;
        self.owner = self.store.claim();
        let told_after = self.store.stored().claim_is_told_after;
        pause(told_after).await;
        let mark = if self.store.stored().is_without_marks { String::new() } else { self.owner.to_string() };
        let of_claim = || OfClaim { store: self.store.clone(), owner: self.owner, mark: mark.clone() };
        Ok(Claimed { lanes: vec![of_claim()], ownership: of_claim() })
    }

    fn read(&mut self, lanes: Vec<OfClaim>) -> Vec<(QuietSource, OfClaim)> {
        self.store.stored().stream = self.stream;
        let is_over = self.store.stored().ends.is_some_and(|(owner, _)| owner == self.owner);
        [QuietSource { is_over }].into_iter().zip(lanes).collect()
    }

    fn transforms(&self) -> Vec<Box<dyn Transform>> {
        Vec::new()
    }

    async fn follow(&mut self, outcome: Result<Ended, Trouble>, _: &StopSignal) -> Following {
        let ends = self.store.stored().ends;
        match (&outcome, ends) {
            (Ok(Ended::Finished(Finished::StreamEnded)), Some((_, takes))) => {
                sleep(takes).await;
                self.ended = Some(self.stream);
                Following::Stream
            }
            _ => Following::End(outcome),
        }
    }

    async fn bear(&mut self, trouble: Trouble, _: &StopSignal) -> Result<bool, Trouble> {
        assert_eq!(trouble.code, "test.refused");
        if self.store.stored().has_no_patience {
            return Err(trouble);
        }
        sleep(Duration::from_secs(10)).await;
        Ok(true)
    }
}
