//! Processes of one pipeline, in paused time: the newest claim owns it, the others stand by, and take-overs are few.

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

const LEASE: Duration = Duration::from_secs(15);
/// A look, and what a claim takes here: nothing.
const LOOK: Duration = Duration::from_millis(500);

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
struct Stored {
    owner: u64,
    life: u64,
    released: bool,
    /// When each claim was made.
    claims: Vec<Instant>,
    /// The next claims fail.
    refusals: u32,
    /// The stream is over for lanes of this owner, and none follows for so long.
    ends: Option<(u64, Duration)>,
}

#[derive(Clone, Default)]
struct Store(Arc<Mutex<Stored>>);

impl Store {
    fn stored(&self) -> MutexGuard<'_, Stored> {
        self.0.lock().expect("not poisoned")
    }

    /// A claim of somebody else, who shows no life.
    fn claim(&self) -> u64 {
        let mut stored = self.stored();
        stored.owner = stored.claims.len() as u64 + 1;
        stored.life += 1;
        stored.released = false;
        stored.claims.push(Instant::now());
        stored.owner
    }

    fn check(&self, owner: u64) -> Result<(), Trouble> {
        let stored = self.stored().owner;
        if stored == owner {
            return Ok(());
        }
        let kind = if stored > owner { TroubleKind::Replaced } else { TroubleKind::ClaimLost };
        Err(Trouble::new(kind, "test.not_the_owner", "another process"))
    }

    fn process(&self, stands_by: bool) -> Process {
        let (stop, status) = (StopSignal::new(), Arc::new(PipelineStatus::new()));
        let settings = RunSettings { lane: LANE_SETTINGS, lease: LEASE, stands_by };
        let assembly = TestAssembly { store: self.clone(), owner: 0 };
        let task = tokio::spawn(run(assembly, settings, stop.clone(), Arc::clone(&status)));
        Process { stop, status, task }
    }
}

struct Process {
    stop: StopSignal,
    status: Arc<PipelineStatus>,
    task: JoinHandle<Result<Ended, Trouble>>,
}

impl Process {
    fn status(&self) -> StatusSnapshot {
        self.status.snapshot()
    }

    async fn ended(self) -> Result<Ended, Trouble> {
        self.task.await.expect("no panic")
    }
}

struct TestAssembly {
    store: Store,
    owner: u64,
}

/// A lane and the ownership of one claim.
struct OfClaim {
    store: Store,
    owner: u64,
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
    async fn show_life(&mut self) -> Result<(), Trouble> {
        self.store.check(self.owner)?;
        self.store.stored().life += 1;
        Ok(())
    }

    async fn owner(&mut self) -> Result<Owner, Trouble> {
        let stored = self.store.stored();
        Ok(if stored.released { Owner::Nobody } else { Owner::Somebody { life: stored.life.to_string() } })
    }

    async fn release(&mut self) -> Result<(), Trouble> {
        let mut stored = self.store.stored();
        stored.released |= stored.owner == self.owner;
        Ok(())
    }
}

impl Assembly for TestAssembly {
    type Source = QuietSource;
    type Sink = OfClaim;
    type Ownership = OfClaim;

    async fn choose(&mut self) -> Result<StreamIdentity, Trouble> {
        Ok(StreamIdentity { table: "t".into(), table_id: "1".into(), stream_arn: "arn".into() })
    }

    async fn claim(&mut self) -> Result<ClaimOf<Self>, Trouble> {
        let refusal = self.store.stored().refusals.checked_sub(1);
        if let Some(left) = refusal {
            self.store.stored().refusals = left;
            return Err(Trouble::new(TroubleKind::Environment, "test.refused", "not now"));
        }
        self.owner = self.store.claim();
        let of_claim = || OfClaim { store: self.store.clone(), owner: self.owner };
        Ok(Claimed { lanes: vec![of_claim()], ownership: of_claim() })
    }

    fn read(&mut self, lanes: Vec<OfClaim>) -> Vec<(QuietSource, OfClaim)> {
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
                Following::Stream
            }
            _ => Following::End(outcome),
        }
    }

    async fn bear(&mut self, trouble: Trouble, _: &StopSignal) -> Result<bool, Trouble> {
        assert_eq!(trouble.code, "test.refused");
        sleep(Duration::from_secs(10)).await;
        Ok(true)
    }
}

#[tokio::test(start_paused = true)]
async fn two_copies_do_not_fight_and_the_newest_owns() {
    let store = Store::default();
    let first = store.process(true);
    sleep(Duration::from_secs(1)).await;
    let second = store.process(true);
    sleep(Duration::from_secs(600)).await;
    assert_eq!(store.stored().claims.len(), 2, "one for each start");
    assert!(first.status().standing_by && !second.status().standing_by);
    assert_eq!(first.status().replaced, 1);
}

#[tokio::test(start_paused = true)]
async fn a_graceful_stop_hands_over_at_once() {
    let store = Store::default();
    let first = store.process(true);
    sleep(Duration::from_secs(1)).await;
    let second = store.process(true);
    sleep(Duration::from_secs(60)).await;
    second.stop.stop();
    let asked = Instant::now();
    assert_eq!(second.ended().await, Ok(Ended::Stopped));
    sleep(Duration::from_secs(60)).await;
    let claims = store.stored().claims.clone();
    assert_eq!(claims.len(), 3);
    assert!(claims[2] - asked <= LOOK, "{:?}", claims[2] - asked);
    assert!(!first.status().standing_by);
}

#[tokio::test(start_paused = true)]
async fn an_owner_that_died_is_silent_for_the_lease() {
    let store = Store::default();
    let first = store.process(true);
    sleep(Duration::from_secs(1)).await;
    let second = store.process(true);
    sleep(Duration::from_secs(61)).await;
    second.task.abort();
    let died = Instant::now();
    sleep(Duration::from_secs(60)).await;
    let claims = store.stored().claims.clone();
    assert_eq!(claims.len(), 3);
    // Its last sign may be a third of the lease old.
    let waited = claims[2] - died;
    assert!((LEASE * 2 / 3..=LEASE + LOOK).contains(&waited), "{waited:?}");
    assert!(!first.status().standing_by);
}

#[tokio::test(start_paused = true)]
async fn who_stands_by_and_is_asked_to_stop_takes_nothing() {
    let store = Store::default();
    let first = store.process(true);
    sleep(Duration::from_secs(1)).await;
    let second = store.process(true);
    sleep(Duration::from_secs(60)).await;
    first.stop.stop();
    assert_eq!(first.ended().await, Ok(Ended::Stopped));
    sleep(Duration::from_secs(60)).await;
    assert_eq!((store.stored().claims.len(), store.stored().released), (2, false));
    assert!(!second.task.is_finished());
}

#[tokio::test(start_paused = true)]
async fn a_bounded_run_that_was_replaced_ends() {
    let store = Store::default();
    let bounded = store.process(false);
    sleep(Duration::from_secs(1)).await;
    let newer = store.process(true);
    let trouble = bounded.ended().await.expect_err("replaced");
    assert_eq!(trouble.kind, TroubleKind::Replaced);
    assert!(!store.stored().released, "it is not the owner's");
    assert!(!newer.task.is_finished());
}

#[tokio::test(start_paused = true)]
async fn a_claim_that_the_store_forgot_is_made_again() {
    let store = Store::default();
    let owner = store.process(true);
    sleep(Duration::from_secs(1)).await;
    store.stored().owner = 0;
    sleep(LEASE / 3 + LOOK).await;
    assert_eq!((store.stored().owner, store.stored().claims.len()), (2, 2));
    assert!(!owner.status().standing_by && owner.status().replaced == 0);
}

#[tokio::test(start_paused = true)]
async fn a_claim_in_trouble_is_made_again_and_a_first_one_is_not() {
    let store = Store::default();
    store.stored().refusals = 1;
    assert_eq!(store.process(true).ended().await.expect_err("refused").code, "test.refused");
    let waiting = store.process(true);
    sleep(Duration::from_secs(1)).await;
    store.claim();
    sleep(LEASE / 2).await;
    store.stored().refusals = 3;
    sleep(LEASE * 10).await;
    assert_eq!(store.stored().claims.len(), 3);
    assert!(!waiting.status().standing_by);
}

#[tokio::test(start_paused = true)]
async fn an_owner_lives_while_it_goes_over_to_another_stream() {
    let store = Store::default();
    let first = store.process(true);
    sleep(Duration::from_secs(1)).await;
    // The newer one finds its stream at the end, and the next one only after minutes.
    store.stored().ends = Some((2, Duration::from_secs(300)));
    let second = store.process(true);
    sleep(Duration::from_secs(600)).await;
    assert_eq!(store.stored().claims.len(), 3, "two starts, and the second once more for the next stream");
    assert!(first.status().standing_by && !second.status().standing_by);
}
