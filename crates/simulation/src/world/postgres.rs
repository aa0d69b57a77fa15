//! The ground of Postgres: the sink that ships over the model of a server, and what becomes visible read from the commits
//! of that server without the sink's code. Removed items keep their rows, so every change can be told by its event.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fastrand::Rng;
use tailwater_model::{
    DeleteMode, FirstListing, KeyAttribute, KeyKind, KeySchema, KeyValue, PipelineIdentity, Position,
};
use tailwater_sink_postgres::{MirrorLane, MirrorOwnership, PostgresSettings, TlsSettings, claim_on};

use super::ground::{ClaimResult, Durable, Ground, Held, LandedChange, Landing, Loss, SharedWitness, SinkFaults, lock};
use crate::postgres::{
    CommitView, Faults, Happening, ModelServer, ModelTable, RowChange, RowKey, RowValue, Trigger, TriggerAnswer,
};

/// More than any world has.
const DEAD_LETTERS_PER_MINUTE_MAX: u32 = 1_000_000;
/// What every statement takes.
const LATENCY: Range<Duration> = Duration::from_micros(200)..Duration::from_millis(10);
/// How much longer a slow statement takes.
const SLOW_BY: Range<Duration> = Duration::from_secs(1)..Duration::from_secs(15);
/// What a user's trigger raises; no error of Postgres has it.
const UNKNOWN_STATE: &str = "MY001";
/// How late a commit can land.
const LATE_MIN: Duration = Duration::from_millis(10);
const LATE_MAX: Duration = Duration::from_secs(40);
/// So soon a lane opens again and commits, mostly.
const COMES_AGAIN_WITHIN: Duration = Duration::from_secs(3);

/// The faults of the model that each fault class of a world turns.
const PARTS: [(&str, &[&str]); 6] = [
    ("unreachable", &["too_many_clients", "starting_up", "connect_hang", "read_only"]),
    ("slow", &["slow"]),
    ("hang", &["hang"]),
    ("reply_lost", &["commit_reply_lost"]),
    (
        "not_applied",
        &["commit_lost", "admin_shutdown", "connection_cut", "serialization_failure", "deadlock", "disk_full"],
    ),
    ("applied_later", &["commit_late", "half_open"]),
];

/// A server with the mirror of one pipeline.
#[derive(Clone)]
pub struct PostgresGround {
    server: ModelServer,
    settings: Arc<PostgresSettings>,
    book: Arc<Mutex<Book>>,
}

/// What is known of what the server holds.
struct Book {
    /// What the user's rules do to the rows that they refuse: an error of their own kind, or what this trigger does.
    refusal: Option<TriggerAnswer>,
    /// How strong each fault of the model is among those of its class.
    shares: [f64; 10],
    late_by: Range<Duration>,
    durable: Durable,
    witness: SharedWitness,
}

impl PostgresGround {
    /// An empty server with chance from `seed`.
    pub fn new(seed: u64, witness: SharedWitness) -> Self {
        let mut rng = Rng::with_seed(seed);
        let statement_timeout = Duration::from_secs([5, 30, 60][rng.usize(0..3)]);
        let settings = PostgresSettings {
            url: "postgres://the-model/world".into(),
            schema: "public".into(),
            table: "orders".into(),
            delete: DeleteMode::Soft,
            tls: TlsSettings::default(),
            statement_timeout,
            lock_timeout: statement_timeout / [1, 3][rng.usize(0..2)],
            connect_timeout: Duration::from_secs(5),
            dead_letters_per_minute_max: DEAD_LETTERS_PER_MINUTE_MAX,
            adopt: None,
        };
        let server = ModelServer::new(rng.u64(..));
        // Swarm: with every fault at its most, nothing gets deep.
        let shares = std::array::from_fn(|_| if rng.bool() { rng.f64() } else { 0.0 });
        // Any time later, or about when the client has given up and comes again: there it hurts.
        let late_by = if rng.bool() { LATE_MIN..LATE_MAX } else { LATE_MIN..COMES_AGAIN_WITHIN };
        let refusal = [None, Some(TriggerAnswer::Raises(UNKNOWN_STATE)), Some(TriggerAnswer::Null)][rng.usize(0..3)];
        let book = Arc::new(Mutex::new(Book { refusal, shares, late_by, durable: Durable::default(), witness }));
        let watching = Arc::clone(&book);
        server.watch(Box::new(move |happening| {
            // Worlds lose no primary: what was visible stays.
            if let Happening::Committed(commit) = happening {
                lock(&watching).land(commit);
            }
        }));
        Self { server, settings: Arc::new(settings), book }
    }
}

impl Ground for PostgresGround {
    type Lane = MirrorLane<ModelTable>;
    type Ownership = MirrorOwnership<ModelTable>;

    async fn claim(&self, identity: &PipelineIdentity) -> ClaimResult<Self> {
        let keys = KeySchema { partition: KeyAttribute { name: "pk".into(), kind: KeyKind::S }, sort: None };
        let table = ModelTable::new(&self.server, &self.settings, &keys);
        Box::pin(claim_on(table, &self.settings, identity, &keys)).await
    }

    fn set_faults(&self, faults: &SinkFaults) {
        let faults = {
            let book = lock(&self.book);
            let faults = Faults { commit_late_by: book.late_by.clone(), ..faults_of(faults, &book.shares) };
            match book.refusal {
                None => faults,
                Some(answer) => {
                    let triggers =
                        faults.refused_text.iter().map(|text| Trigger { text: text.clone(), answer }).collect();
                    Faults { refused_text: None, triggers, ..faults }
                }
            }
        };
        self.server.set_faults(faults);
    }

    fn hits(&self) -> BTreeMap<&'static str, u64> {
        let mut hits = self.server.hits();
        for (class, parts) in PARTS {
            let times = parts.iter().filter_map(|part| hits.get(part)).sum::<u64>();
            hits.insert(class, times);
        }
        hits.insert("refused_text", lock(&self.book).durable.dead_letters.len() as u64);
        hits
    }

    fn durable(&self) -> Durable {
        lock(&self.book).durable.clone()
    }

    fn lose(&self, loss: Loss) -> bool {
        if self.server.mirror_rows().is_empty() {
            return false;
        }
        match loss {
            Loss::Progress => self.server.drop_progress(),
            Loss::Target => {
                self.server.drop_tables();
                self.server.make_tables();
            }
        }
        true
    }
}

/// What the fault classes of a world are in Postgres.
fn faults_of(faults: &SinkFaults, shares: &[f64; 10]) -> Faults {
    let SinkFaults { unreachable, slow, hang, reply_lost, not_applied, applied_later, refused_text } = faults;
    // A commit is several statements.
    let per_statement = not_applied / 6.0;
    Faults {
        latency: LATENCY,
        slow: slow / 6.0,
        slow_by: SLOW_BY,
        hang: hang / 6.0,
        too_many_clients: unreachable * shares[0],
        starting_up: unreachable * shares[1],
        connect_hang: unreachable * shares[2],
        read_only: unreachable * shares[3],
        commit_reply_lost: *reply_lost,
        commit_lost: *not_applied,
        admin_shutdown: per_statement * shares[4],
        connection_cut: per_statement * shares[5],
        serialization_failure: per_statement * shares[6],
        deadlock: per_statement * shares[7],
        disk_full: per_statement * shares[8],
        commit_late: *applied_later,
        half_open: applied_later * shares[9],
        refused_text: refused_text.clone(),
        ..Faults::default()
    }
}

impl Book {
    /// Takes in a transaction that became visible, and tells the witness of it.
    fn land(&mut self, commit: &CommitView) {
        let Some(claimed) = &commit.claimed else { return };
        let mut landing = Landing {
            lane: claimed.lane.and_then(|lane| u32::try_from(lane).ok()).unwrap_or_default(),
            epoch: claimed.epoch.and_then(|epoch| u64::try_from(epoch).ok()).unwrap_or_default(),
            ..Landing::default()
        };
        for change in &commit.changes {
            self.change(change, &mut landing);
        }
        lock(&self.witness).landed(&landing);
    }

    fn change(&mut self, change: &RowChange, landing: &mut Landing) {
        match (&change.key, change.after.as_deref()) {
            (RowKey::Mirror { key, .. }, Some(RowValue::Mirror(row))) => {
                let Some(KeyValue::S(text)) = key.values().first() else { return };
                // Keys of a world's items have nothing in them that JSON would escape.
                let (key, event_id) = (format!("{{\"pk\":{{\"S\":\"{text}\"}}}}"), row.event_id.to_string());
                let held = Held { event_id: event_id.clone(), present: !row.deleted, image: None };
                self.durable.items.insert(key.clone(), vec![held]);
                landing.changes.push(LandedChange { key, event_id, image: None });
            }
            (RowKey::Lane { lane, .. }, Some(RowValue::Lane(row))) => {
                let (lane, epoch) = (lane.unsigned_abs(), row.epoch.unsigned_abs());
                lock(&self.witness).epoch_raised(lane, epoch);
            }
            (RowKey::Shard { shard, .. }, Some(RowValue::Shard(row))) => {
                let Ok(position) = Position::parse(&row.position) else {
                    return lock(&self.witness).violated("I1 position", format!("{} of shard {shard}", row.position));
                };
                let before = self.durable.positions.insert(shard.clone(), position.clone());
                landing.steps.push((shard.clone(), before, position));
            }
            (RowKey::Shard { shard, .. }, None) => {
                self.durable.positions.remove(shard);
                landing.forgotten.push(shard.clone());
            }
            (RowKey::Gap { shard, cause, .. }, Some(RowValue::Gap(row))) => {
                let gap = (Some(shard.clone()).filter(|shard| !shard.is_empty()), cause.clone());
                landing.gaps_until.push((gap.0.clone(), row.until_ms));
                self.durable.gaps.push(gap.clone());
                landing.gaps.push(gap);
            }
            (RowKey::DeadLetter(_), Some(RowValue::DeadLetter(row))) => {
                self.durable.dead_letters.push(row.event_id.clone());
                landing.dead_letters.push(row.event_id.clone());
            }
            (RowKey::Stream { .. }, Some(RowValue::Stream(row))) => {
                landing.known |= FirstListing::known_since(row.first_listing).is_some();
            }
            _ => {}
        }
    }
}
