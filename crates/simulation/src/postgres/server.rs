//! The model as a server: sessions come and go, faults are set, and everything can be looked at from outside.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tailwater_model::KeySchema;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep};

use super::backend::{Backend, Command, Request, SessionRecord, SessionTimes};
use super::commits::{Claimed, FAIL_OVER_COMMITS_MAX, Watch};
use super::engine::Engine;
use super::faults::{Chance, Faults, Hits};
use super::row_versions::TransactionId;
use super::rows::RowKey;
use super::sql_error::SqlError;

/// A PostgreSQL server in memory. Clones are the same server. Everything happens by tokio's clock; every chance comes from
/// the seed, so within one single-threaded runtime with a paused clock a run repeats exactly.
#[derive(Clone)]
pub struct ModelServer {
    state: Arc<Mutex<State>>,
    started: Instant,
}

/// Everything that the server knows.
pub(crate) struct State {
    pub(crate) engine: Engine,
    pub(crate) chance: Chance,
    pub(crate) tables: BTreeMap<Arc<str>, KeySchema>,
    /// Of the tables that were made.
    pub(crate) oids: BTreeMap<Arc<str>, u64>,
    oids_given: u64,
    sessions: BTreeMap<u64, SessionRecord>,
    sessions_begun: u64,
    refusing_until: Option<Instant>,
}

impl std::fmt::Debug for ModelServer {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("ModelServer").finish_non_exhaustive()
    }
}

/// Why nobody was connected.
pub(crate) enum ConnectFault {
    Refused(SqlError),
    /// Nobody answers. The client has to give up by itself.
    Silence,
}

impl ModelServer {
    /// An empty server without faults. Has to be made inside a tokio runtime, whose clock it takes.
    pub fn new(seed: u64) -> Self {
        let state = State {
            engine: Engine::default(),
            chance: Chance::new(seed),
            tables: BTreeMap::new(),
            oids: BTreeMap::new(),
            oids_given: 0,
            sessions: BTreeMap::new(),
            sessions_begun: 0,
            refusing_until: None,
        };
        Self { state: Arc::new(Mutex::new(state)), started: Instant::now() }
    }

    /// A test that panicked while it looked leaves a usable state.
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn now_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Tells `watch` of every commit from now on, in order and at that instant, and of commits that a fail-over takes back.
    pub fn watch(&self, watch: Watch) {
        self.state().engine.log.watch(watch);
    }

    /// Sets the faults from now on.
    pub fn set_faults(&self, faults: Faults) {
        self.state().chance.faults = faults;
    }

    /// Changes single faults.
    pub fn change_faults(&self, change: impl FnOnce(&mut Faults)) {
        change(&mut self.state().chance.faults);
    }

    /// Switches all faults off. What is under way stays: commits that are late still land, locks of lost clients end by
    /// their time-outs. Refused texts and triggers are the user's and no fault of the server's: they stay, too.
    pub fn heal(&self) {
        let mut state = self.state();
        state.chance.faults = state.chance.faults.of_the_user();
        state.refusing_until = None;
    }

    /// How often each fault bit; beside them each SQLSTATE that a statement failed with, by itself.
    pub fn hits(&self) -> Hits {
        self.state().chance.hits.clone()
    }

    /// Ends the sessions of this owner, or of everybody, as `pg_terminate_backend` does: transactions roll back, and the
    /// clients find their connections broken. A late commit that is still to land does not. Gives how many there were.
    pub fn kill_connections(&self, owner: Option<&str>) -> usize {
        let mut state = self.state();
        let wanted = |record: &SessionRecord| {
            owner.is_none() || record.claimed.as_ref().map(|claimed| claimed.owner.as_str()) == owner
        };
        let killed: Vec<u64> =
            state.sessions.iter().filter(|(_, record)| wanted(record)).map(|(session, _)| *session).collect();
        for session in &killed {
            state.kill_session(*session);
        }
        killed.len()
    }

    /// Ends all sessions and drops the schema `tailwater`, as somebody does who takes it for rubbish.
    pub fn drop_progress(&self) {
        self.kill_connections(None);
        self.state().engine.drop_rows(|key| !matches!(key, RowKey::Mirror { .. }));
    }

    /// Ends all sessions and drops the mirror tables.
    pub fn drop_tables(&self) {
        self.kill_connections(None);
        let mut state = self.state();
        state.engine.drop_rows(|key| matches!(key, RowKey::Mirror { .. }));
        state.oids.clear();
    }

    /// Ends all sessions and removes the rows of the mirror tables.
    pub fn empty_tables(&self) {
        self.kill_connections(None);
        self.state().engine.drop_rows(|key| matches!(key, RowKey::Mirror { .. }));
    }

    /// Ends all sessions and removes all shards and streams.
    pub fn drop_shards(&self) {
        self.kill_connections(None);
        self.state().engine.drop_rows(|key| matches!(key, RowKey::Shard { .. } | RowKey::Stream { .. }));
    }

    /// Makes every mirror table that is missing, empty.
    pub fn make_tables(&self) {
        let mut state = self.state();
        let tables: Vec<Arc<str>> = state.tables.keys().cloned().collect();
        tables.iter().for_each(|table| state.make_table(table));
    }

    /// Refuses new connections with 57P03 for so long.
    pub fn refuse_connections_for(&self, time: Duration) {
        self.state().refusing_until = Some(Instant::now() + time);
    }

    /// Loses the primary with its last commits, as a whole: rows, progress and epochs together. At most
    /// [`FAIL_OVER_COMMITS_MAX`] are lost; every session ends. Gives how many commits were lost.
    pub fn fail_over(&self, commits_lost: usize) -> usize {
        self.state().fail_over(commits_lost)
    }

    /// What the next statement takes.
    pub(crate) fn statement_takes(&self) -> Duration {
        let mut state = self.state();
        let takes = state.chance.time(|faults| &faults.latency);
        if state.chance.bites("slow", |faults| faults.slow) {
            takes + state.chance.time(|faults| &faults.slow_by)
        } else {
            takes
        }
    }

    pub(crate) fn bites(&self, name: &'static str, knob: fn(&Faults) -> f64) -> bool {
        self.state().chance.bites(name, knob)
    }

    pub(crate) fn hit(&self, name: &'static str) {
        self.state().chance.hit(name);
    }

    /// Begins a session with a backend of its own.
    pub(crate) async fn begin_session(
        &self,
        application: String,
        times: SessionTimes,
    ) -> Result<mpsc::Sender<Request>, ConnectFault> {
        let latency = self.state().chance.time(|faults| &faults.latency);
        if !latency.is_zero() {
            sleep(latency).await;
        }
        let mut state = self.state();
        if state.refusing_until.is_some_and(|until| Instant::now() < until) {
            state.chance.hit("refusing");
            return Err(ConnectFault::Refused(SqlError::of("57P03")));
        }
        if state.chance.bites("connect_hang", |faults| faults.connect_hang) {
            return Err(ConnectFault::Silence);
        }
        if state.chance.bites("too_many_clients", |faults| faults.too_many_clients) {
            return Err(ConnectFault::Refused(SqlError::of("53300")));
        }
        if state.chance.bites("starting_up", |faults| faults.starting_up) {
            return Err(ConnectFault::Refused(SqlError::of("57P03")));
        }
        let read_only = state.chance.bites("read_only", |faults| faults.read_only);
        state.sessions_begun += 1;
        let session = state.sessions_begun;
        let record = SessionRecord { application, transaction: None, claimed: None, task: None };
        state.sessions.insert(session, record);
        // One statement at a time: a client waits for its answer.
        let (ask, requests) = mpsc::channel(1);
        let backend = Backend { server: self.clone(), session, times, read_only, in_block: false };
        let task = tokio::spawn(backend.serve(requests)).abort_handle();
        if let Some(record) = state.sessions.get_mut(&session) {
            record.task = Some(task);
        }
        Ok(ask)
    }
}

impl State {
    /// Makes a table, if it is missing. At once: nothing here makes one and rolls back.
    pub(crate) fn make_table(&mut self, table: &Arc<str>) {
        if !self.oids.contains_key(table) {
            self.oids_given += 1;
            self.oids.insert(Arc::clone(table), self.oids_given);
        }
    }

    fn transaction(&self, session: u64) -> Option<TransactionId> {
        self.sessions.get(&session).and_then(|record| record.transaction)
    }

    fn take_transaction(&mut self, session: u64) -> Option<TransactionId> {
        self.sessions.get_mut(&session).and_then(|record| record.transaction.take())
    }

    /// A `begin` inside of a transaction changes nothing.
    pub(crate) fn begin_transaction(&mut self, session: u64) {
        self.transaction_of(session);
    }

    /// The transaction of the session, begun now if there is none.
    pub(crate) fn transaction_of(&mut self, session: u64) -> TransactionId {
        if let Some(id) = self.transaction(session) {
            return id;
        }
        let id = self.engine.begin();
        if let Some(record) = self.sessions.get_mut(&session) {
            record.transaction = Some(id);
        }
        id
    }

    pub(crate) fn in_transaction<T>(
        &mut self,
        session: u64,
        act: impl FnOnce(&mut Engine, TransactionId) -> Result<T, SqlError>,
    ) -> Result<T, SqlError> {
        let id = self.transaction(session).ok_or_else(|| SqlError::of("25P01"))?;
        let done = act(&mut self.engine, id);
        if done.is_err() {
            self.engine.abort(id);
        }
        done
    }

    pub(crate) fn abort_transaction(&mut self, session: u64) {
        if let Some(id) = self.transaction(session) {
            self.engine.abort(id);
        }
    }

    pub(crate) fn roll_back_transaction(&mut self, session: u64) {
        if let Some(id) = self.take_transaction(session) {
            self.engine.rollback(id);
        }
    }

    pub(crate) fn commit_transaction(&mut self, session: u64) {
        let claimed = self.sessions.get(&session).and_then(|record| record.claimed.clone());
        if let Some(id) = self.take_transaction(session) {
            self.engine.commit(id, claimed);
        }
    }

    /// Remembers under which ownership a session works.
    pub(crate) fn claims(&mut self, session: u64, claimed: Claimed) {
        if let Some(record) = self.sessions.get_mut(&session) {
            record.claimed = Some(claimed);
        }
    }

    pub(crate) fn end_session(&mut self, session: u64) {
        self.roll_back_transaction(session);
        self.sessions.remove(&session);
    }

    fn kill_session(&mut self, session: u64) {
        self.roll_back_transaction(session);
        if let Some(task) = self.sessions.remove(&session).and_then(|record| record.task) {
            task.abort();
        }
    }

    /// Whether the server is lost right after a commit.
    pub(crate) fn fails_over_now(&mut self) -> bool {
        if !self.chance.bites("fail_over", |faults| faults.fail_over) {
            return false;
        }
        let most = self.chance.faults.fail_over_commits_max;
        let lost = if most == 0 { 0 } else { self.chance.rng.u32(1..=most) };
        self.fail_over(lost as usize);
        true
    }

    fn fail_over(&mut self, commits_lost: usize) -> usize {
        let sessions: Vec<u64> = self.sessions.keys().copied().collect();
        for session in sessions {
            self.kill_session(session);
        }
        self.engine.fail_over(commits_lost.min(FAIL_OVER_COMMITS_MAX)).len()
    }

    /// Sessions that the server still has, by their names.
    pub(crate) fn session_names(&self) -> Vec<String> {
        self.sessions.values().map(|record| record.application.clone()).collect()
    }
}

/// Sends one request and waits for the answer; nothing when the connection broke.
pub(crate) async fn ask(requests: &mpsc::Sender<Request>, command: Command) -> Option<Result<(), SqlError>> {
    let (reply, answer) = oneshot::channel();
    requests.send(Request { command, reply }).await.ok()?;
    answer.await.ok()
}
