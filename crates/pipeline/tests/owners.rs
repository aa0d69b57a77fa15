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
/// How often an owner is looked at, and the most that somebody waits for its turn. A claim takes no time here.
const LOOK: Duration = Duration::from_millis(500);
const TURN: Duration = Duration::from_millis(250);

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
    /// The number of the stream that progress belongs to.
    stream: u64,
    /// Signs of life are taken from whoever gives them.
    believes_signs: bool,
    /// All owners have the same mark.
    is_without_marks: bool,
    claim_takes: Duration,
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

    /// How many claims were made by now.
    fn claims(&self) -> usize {
        self.stored().claims.len()
    }

    /// The number of the stream that progress belongs to.
    fn stream(&self) -> u64 {
        self.stored().stream
    }

    fn is_released(&self) -> bool {
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

    fn process(&self, stands_by: bool) -> Process {
        let (stop, status) = (StopSignal::new(), Arc::new(PipelineStatus::new()));
        let settings = RunSettings { lane: LANE_SETTINGS, lease: LEASE, stands_by };
        let assembly = TestAssembly { store: self.clone(), owner: 0, stream: 0, ended: None };
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
        let of_progress = self.store.stored().stream;
        self.stream = of_progress + u64::from(self.ended == Some(of_progress));
        Ok(StreamIdentity { table: "t".into(), table_id: "1".into(), stream_arn: self.stream.to_string() })
    }

    async fn claim(&mut self) -> Result<ClaimOf<Self>, Trouble> {
        let refusal = self.store.stored().refusals.checked_sub(1);
        if let Some(left) = refusal {
            self.store.stored().refusals = left;
            return Err(Trouble::new(TroubleKind::Environment, "test.refused", "not now"));
        }
        let takes = self.store.stored().claim_takes;
        sleep(takes).await;
        self.owner = self.store.claim();
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
    assert_eq!(store.claims(), 2, "one for each start");
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
    assert!(claims[2] - asked <= LOOK + TURN, "{:?}", claims[2] - asked);
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
    assert!((LEASE * 2 / 3..=LEASE + LOOK + TURN).contains(&waited), "{waited:?}");
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
    assert_eq!((store.claims(), store.is_released()), (2, false));
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
    assert!(!store.is_released(), "it is not the owner's");
    assert!(!newer.task.is_finished());
}

#[tokio::test(start_paused = true)]
async fn a_claim_that_the_store_forgot_is_made_again() {
    let store = Store::default();
    let owner = store.process(true);
    sleep(Duration::from_secs(1)).await;
    store.stored().owner = 0;
    sleep(LEASE / 3 + LOOK).await;
    let of_store = store.stored().owner;
    assert_eq!((of_store, store.claims()), (2, 2));
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
    assert_eq!(store.claims(), 3);
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
    assert_eq!(store.claims(), 3, "two starts, and the second once more for the next stream");
    assert!(first.status().standing_by && !second.status().standing_by);
}

/// What goes over to another stream may find that others have gone further meanwhile: it goes on where they are.
#[tokio::test(start_paused = true)]
async fn whoever_goes_over_to_another_stream_looks_again_whose_turn_it_is() {
    let store = Store::default();
    store.stored().believes_signs = true;
    store.stored().ends = Some((1, Duration::from_secs(300)));
    let first = store.process(true);
    sleep(Duration::from_secs(100)).await;
    assert_eq!((store.stream(), store.claims()), (0, 1));
    // Somebody else has carried that one too, and the two after it.
    store.claim();
    store.stored().stream = 3;
    sleep(Duration::from_secs(300)).await;
    assert_eq!((store.stream(), store.claims()), (3, 3), "not the one that followed then");
    assert!(!first.task.is_finished() && !first.status().standing_by);
}

/// The owner that is asked to stop while it goes over to another stream hands over, too.
#[tokio::test(start_paused = true)]
async fn a_stop_between_two_streams_hands_over() {
    let store = Store::default();
    store.stored().ends = Some((1, Duration::from_secs(10)));
    let owner = store.process(true);
    sleep(Duration::from_secs(1)).await;
    store.stored().refusals = 100;
    sleep(Duration::from_secs(20)).await;
    assert!(!store.is_released());
    owner.stop.stop();
    assert_eq!(owner.ended().await, Ok(Ended::Stopped));
    assert_eq!((store.is_released(), store.claims()), (true, 1));
}

/// Two that stand by and look in the same instants; the owner hands over, and later dies.
async fn two_standbys(is_without_marks: bool) -> Store {
    let store = Store::default();
    store.stored().is_without_marks = is_without_marks;
    let processes = [store.process(true), store.process(true)];
    sleep(Duration::from_secs(1)).await;
    store.claim();
    sleep(LEASE / 2 + LOOK / 2).await;
    assert!(processes.iter().all(|process| process.status().standing_by));
    assert_eq!(store.claims(), 3);
    store.stored().claim_takes = Duration::from_millis(50);
    store.stored().released = true;
    sleep(Duration::from_secs(600)).await;
    assert_eq!(processes.iter().filter(|process| process.status().standing_by).count(), 1);
    store
}

#[tokio::test(start_paused = true)]
async fn of_two_that_stand_by_one_takes_the_pipeline() {
    assert_eq!(two_standbys(false).await.claims(), 4);
}

#[tokio::test(start_paused = true)]
async fn two_that_claim_in_the_same_moment_fight_once() {
    assert_eq!(two_standbys(true).await.claims(), 5);
}
