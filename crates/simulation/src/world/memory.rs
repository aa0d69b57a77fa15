//! The third ground: a log in memory, exactly once, written as plainly as the contract allows. It checks each step against
//! the stored position (I2), fences by epoch and owner (P4), and knows the three fates of a commit whose answer is missing.

mod fate;
mod ownership;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fastrand::Rng;
use tailwater_model::{
    Change, ChangeEvent, Claimed, Committed, Failure, FirstListing, Group, PipelineIdentity, Position, PreviousStream,
    Progress, Rejected, ServiceTime, ShardId, ShardProgress, Sink, Step, Trouble, TroubleKind, least_read_until,
};
use tokio::sync::{Notify, oneshot};
use tokio::time::{sleep, timeout};

use self::fate::Fate;
pub use self::ownership::MemoryOwnership;
use super::ground::{ClaimResult, Durable, Ground, Held, LandedChange, Landing, SharedWitness, SinkFaults, lock};

/// What an ordinary commit takes.
const COMMIT_MS: std::ops::Range<u64> = 1..40;
/// How long a client waits for an answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);

/// The log.
#[derive(Clone)]
pub struct MemoryGround {
    state: Arc<Mutex<State>>,
    settled: Arc<Notify>,
}

struct State {
    rng: Rng,
    faults: SinkFaults,
    hits: BTreeMap<&'static str, u64>,
    owner: u64,
    /// Rises as long as the owner lives.
    life: u64,
    released: bool,
    lanes: Vec<LaneState>,
    shards: BTreeMap<ShardId, StoredShard>,
    streams: Vec<StoredStream>,
    gaps: BTreeSet<(Option<ShardId>, &'static str, String, Option<ServiceTime>)>,
    durable: Durable,
    witness: SharedWitness,
}

#[derive(Clone, Default)]
struct LaneState {
    epoch: u64,
    in_flight: u32,
}

/// A stream that was read, in the order in which they were claimed.
struct StoredStream {
    arn: String,
    first_listing: Option<FirstListing>,
}

struct StoredShard {
    arn: String,
    parent: Option<ShardId>,
    lane: u32,
    position: Position,
    read_until: Option<ServiceTime>,
}

/// What a step makes of a shard; nothing where it was forgotten.
type Moved = BTreeMap<ShardId, Option<(Position, Option<ServiceTime>)>>;

/// A session of one lane.
pub struct MemoryLane {
    ground: MemoryGround,
    lane: u32,
    owner: u64,
    epoch: u64,
    arn: String,
}

impl MemoryGround {
    /// An empty log with chance from `seed`.
    pub fn new(seed: u64, witness: SharedWitness) -> Self {
        let state = State {
            rng: Rng::with_seed(seed),
            faults: SinkFaults::default(),
            hits: BTreeMap::new(),
            owner: 0,
            life: 0,
            released: false,
            lanes: Vec::new(),
            shards: BTreeMap::new(),
            streams: Vec::new(),
            gaps: BTreeSet::new(),
            durable: Durable::default(),
            witness,
        };
        Self { state: Arc::new(Mutex::new(state)), settled: Arc::new(Notify::new()) }
    }

    /// The way there, with its faults.
    async fn reach(&self, what: &str) -> Result<(), Failure> {
        let (time, hangs, unreachable) = {
            let mut state = lock(&self.state);
            let faults = state.faults.clone();
            let mut time = Duration::from_millis(state.rng.u64(COMMIT_MS));
            if state.bites("slow", faults.slow) {
                time += Duration::from_millis(state.rng.u64(1_000..15_000));
            }
            (time, state.bites("hang", faults.hang), state.bites("unreachable", faults.unreachable))
        };
        sleep(time).await;
        if hangs {
            sleep(ANSWER_WITHIN).await;
        }
        if hangs || unreachable {
            return Err(reopen("memory.unreachable", format!("{what} was not answered")));
        }
        Ok(())
    }
}

impl Ground for MemoryGround {
    type Lane = MemoryLane;
    type Ownership = MemoryOwnership;

    async fn claim(&self, identity: &PipelineIdentity) -> ClaimResult<Self> {
        self.reach("the claim").await.map_err(|failure| failure.trouble().clone())?;
        let mut state = lock(&self.state);
        state.owner += 1;
        (state.life, state.released) = (state.life + 1, false);
        let owner = state.owner;
        state.lanes.resize(identity.lanes as usize, LaneState::default());
        let arn = &identity.stream.stream_arn;
        if state.streams.iter().all(|stream| stream.arn != *arn) {
            state.streams.push(StoredStream { arn: arn.clone(), first_listing: None });
        }
        let session = |lane| MemoryLane { ground: self.clone(), lane, owner, epoch: 0, arn: arn.clone() };
        let lanes = (0..identity.lanes).map(session).collect();
        Ok(Claimed { lanes, ownership: MemoryOwnership::new(self.clone(), owner) })
    }

    fn set_faults(&self, faults: &SinkFaults) {
        lock(&self.state).faults = faults.clone();
    }

    fn hits(&self) -> BTreeMap<&'static str, u64> {
        lock(&self.state).hits.clone()
    }

    fn durable(&self) -> Durable {
        let state = lock(&self.state);
        let positions = state.shards.iter().map(|(id, shard)| (id.to_string(), shard.position.clone())).collect();
        Durable { positions, ..state.durable.clone() }
    }
}

impl Sink for MemoryLane {
    async fn open(&mut self) -> Result<Progress, Failure> {
        self.ground.reach("the opening of a lane").await?;
        // The row of the lane is locked by a commit that is still to land.
        let waiting = async {
            loop {
                let settled = self.ground.settled.notified();
                if lock(&self.ground.state).lanes[self.lane as usize].in_flight == 0 {
                    return;
                }
                settled.await;
            }
        };
        if timeout(ANSWER_WITHIN, waiting).await.is_err() {
            return Err(reopen("memory.locked", "a commit of this lane is still under way".into()));
        }
        let mut state = lock(&self.ground.state);
        state.check_owner(self.owner)?;
        let lane = &mut state.lanes[self.lane as usize];
        lane.epoch += 1;
        self.epoch = lane.epoch;
        Ok(state.progress(self.lane, &self.arn))
    }

    async fn commit(&mut self, group: Group) -> Result<Committed, Failure> {
        self.ground.reach("a commit").await?;
        let (mut fate, empty) = {
            let mut state = lock(&self.ground.state);
            state.check_session(self.lane, self.owner, self.epoch)?;
            (state.fate(), group.is_empty())
        };
        if empty {
            fate = Fate::Applied;
        }
        let unknown = || reopen("memory.unknown", "the connection broke during the commit".into());
        match fate {
            Fate::NotApplied => return Err(unknown()),
            Fate::Applied | Fate::ReplyLost => {}
            Fate::AppliedLater(by) => {
                lock(&self.ground.state).lanes[self.lane as usize].in_flight += 1;
                tokio::spawn(self.apply_later(group, by));
                return Err(unknown());
            }
        }
        // On its way the commit no longer depends on who waits for it.
        lock(&self.ground.state).lanes[self.lane as usize].in_flight += 1;
        let (tell, told) = oneshot::channel();
        let applying = self.apply_later(group, Duration::from_millis(1));
        tokio::spawn(async move {
            let applied = applying.await;
            drop(tell.send(applied));
        });
        let applied = told.await.map_err(|_| unknown())?;
        match fate {
            Fate::ReplyLost => Err(unknown()),
            _ => applied,
        }
    }
}

impl MemoryLane {
    fn apply_later(
        &self,
        group: Group,
        by: Duration,
    ) -> impl Future<Output = Result<Committed, Failure>> + Send + use<> {
        let (ground, lane, epoch, arn) = (self.ground.clone(), self.lane, self.epoch, self.arn.clone());
        async move {
            sleep(by).await;
            let applied = lock(&ground.state).apply(lane, epoch, &arn, group);
            lock(&ground.state).lanes[lane as usize].in_flight -= 1;
            ground.settled.notify_waiters();
            applied
        }
    }
}

impl State {
    fn check_owner(&self, owner: u64) -> Result<(), Failure> {
        if self.owner == owner {
            return Ok(());
        }
        let message = "another process took this pipeline over";
        Err(Failure::Halt(Trouble::new(TroubleKind::Replaced, "memory.taken_over", message)))
    }

    fn check_session(&self, lane: u32, owner: u64, epoch: u64) -> Result<(), Failure> {
        self.check_owner(owner)?;
        if self.lanes[lane as usize].epoch == epoch {
            return Ok(());
        }
        Err(reopen("memory.epoch", format!("lane {lane} was opened by another session")))
    }

    fn progress(&self, lane: u32, arn: &str) -> Progress {
        let rows = |arn: &str| -> Vec<ShardProgress> {
            let shards = self.shards.iter().filter(|(_, shard)| shard.lane == lane && shard.arn == arn);
            let row = |(id, shard): (&ShardId, &StoredShard)| ShardProgress {
                shard: id.clone(),
                parent: shard.parent.clone(),
                position: shard.position.clone(),
                read_until: shard.read_until,
            };
            shards.map(row).collect()
        };
        let previous = self.streams.iter().rev().find(|stream| stream.arn != arn);
        Progress {
            shards: rows(arn),
            first_listing: self.streams.iter().find(|stream| stream.arn == arn).and_then(|stream| stream.first_listing),
            previous_stream: previous.map(|stream| PreviousStream {
                stream_arn: stream.arn.clone(),
                read_until: least_read_until(&rows(&stream.arn)),
                is_of_another_table: false,
            }),
        }
    }

    /// Everything or nothing.
    fn apply(&mut self, lane: u32, epoch: u64, arn: &str, group: Group) -> Result<Committed, Failure> {
        let mut landing = Landing { lane, epoch, known: group.known_since().is_some(), ..Landing::default() };
        let mut moved = Moved::new();
        for batch in &group.batches {
            let shard = self.shards.get(&batch.shard).map(|shard| (shard.position.clone(), shard.read_until));
            let stored = moved.get(&batch.shard).cloned().unwrap_or(shard);
            let (from, to) = match &batch.step {
                Step::Register { position, .. } => (None, Some(position.clone())),
                Step::Advance(advance) => (Some(advance.from.clone()), Some(advance.to.clone())),
                Step::Forget => (Some(Position::End), None),
            };
            let (position, read_until) = stored.unzip();
            if position != from {
                let message = format!("shard {} stands at {position:?} and not at {from:?}", batch.shard);
                return Err(reopen("memory.position", message));
            }
            match &to {
                Some(to) => landing.steps.push((batch.shard.to_string(), position, to.clone())),
                None => landing.forgotten.push(batch.shard.to_string()),
            }
            moved.insert(batch.shard.clone(), to.map(|to| (to, batch.read_until.or(read_until.flatten()))));
        }
        let committed = self.store(arn, group, &moved, &mut landing);
        lock(&self.witness).landed(&landing);
        Ok(committed)
    }

    fn store(&mut self, arn: &str, group: Group, moved: &Moved, landing: &mut Landing) -> Committed {
        let mut committed = Committed::default();
        if let Some(listing) = group.first_listing {
            let is_known = |stream: &StoredStream| FirstListing::known_since(stream.first_listing).is_some();
            for stream in self.streams.iter_mut().filter(|stream| stream.arn == arn && !is_known(stream)) {
                stream.first_listing = Some(listing);
            }
        }
        if group.known_since().is_some() {
            self.streams.retain(|stream| stream.arn == arn);
            self.shards.retain(|_, shard| shard.arn == arn);
        }
        for mut batch in group.batches {
            if let Step::Register { parent, position } = &batch.step {
                let (parent, position) = (parent.clone(), position.clone());
                let shard = StoredShard { arn: arn.to_owned(), parent, lane: landing.lane, position, read_until: None };
                self.shards.insert(batch.shard.clone(), shard);
            }
            if let Some(gap) = batch.gap.take() {
                let shard = gap.shard.as_ref().map(ToString::to_string);
                landing.gaps_until.push((shard.clone(), gap.until.ms()));
                let cause = gap.cause.as_str();
                // A gap that is on record is the same one when it is found again.
                if self.gaps.insert((gap.shard, cause, gap.after.to_string(), gap.since)) {
                    landing.gaps.push((shard.clone(), cause.to_owned()));
                    self.durable.gaps.push((shard, cause.to_owned()));
                }
            }
            for event in std::mem::take(&mut batch.events) {
                match self.refused(&event) {
                    Some(rejected) => batch.refuse(&event, rejected),
                    None => self.append(&event, landing),
                }
            }
            committed.written += batch.counts.written;
            committed.dead_lettered += batch.counts.dead_lettered;
            landing.dead_letters.extend(batch.dead_letters.iter().map(|letter| letter.event_id.to_string()));
        }
        self.durable.dead_letters.extend(landing.dead_letters.iter().cloned());
        for (id, moved) in moved {
            match (moved, self.shards.get_mut(id)) {
                (Some((position, read_until)), Some(shard)) => {
                    (shard.position, shard.read_until) = (position.clone(), *read_until);
                }
                (Some(_), None) => {}
                (None, _) => drop(self.shards.remove(id)),
            }
        }
        committed
    }

    fn append(&mut self, event: &ChangeEvent, landing: &mut Landing) {
        let image = event.change.new_image().map(|image| image.typed_json().to_owned());
        let (key, event_id) = (event.key.typed_json().to_owned(), event.source.event_id.to_string());
        let held = Held {
            event_id: event_id.clone(),
            present: !matches!(event.change, Change::Remove { .. }),
            image: image.clone(),
        };
        self.durable.items.entry(key.clone()).or_default().push(held);
        landing.changes.push(LandedChange { key, event_id, image });
    }

    fn refused(&mut self, event: &ChangeEvent) -> Option<Rejected> {
        let text = self.faults.refused_text.as_ref()?;
        let image = event.change.new_image()?;
        if !image.typed_json().contains(text.as_str()) {
            return None;
        }
        *self.hits.entry("refused_text").or_default() += 1;
        Some(Rejected { code: "memory.refused", message: "the log does not take this item".into() })
    }
}

fn reopen(code: &'static str, message: String) -> Failure {
    Failure::Reopen(Trouble::new(TroubleKind::Runtime, code, message))
}
