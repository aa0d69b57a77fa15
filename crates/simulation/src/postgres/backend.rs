//! The server's side of one connection: a task of its own, which goes on when its client is gone.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::{sleep, timeout};

use super::commits::Claimed;
use super::executing::Executing;
use super::server::ModelServer;
use super::sql_error::SqlError;

type Running = Pin<Box<dyn Future<Output = Result<(), SqlError>> + Send>>;

/// A statement to run. It leaves its rows where its sender looks for them.
pub(crate) type Work = Box<dyn FnOnce(Executing) -> Running + Send>;

/// What a client can ask of its session.
pub(crate) enum Command {
    Begin,
    Commit,
    Rollback,
    Savepoint(&'static str),
    ReleaseSavepoint(&'static str),
    RollbackTo(&'static str),
    /// Anything about rows, and whether it writes.
    Run {
        writes: bool,
        work: Work,
    },
}

/// A command on its way. A reply that is dropped is a connection that broke.
pub(crate) struct Request {
    pub(crate) command: Command,
    pub(crate) reply: oneshot::Sender<Result<(), SqlError>>,
}

/// What a session was set to when it began.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SessionTimes {
    /// Also the longest silence inside a transaction, as Tailwater sets its sessions.
    pub(crate) statement_timeout: Duration,
    pub(crate) lock_timeout: Duration,
}

/// The server's side of one session.
pub(crate) struct Backend {
    pub(crate) server: ModelServer,
    pub(crate) session: u64,
    pub(crate) times: SessionTimes,
    pub(crate) read_only: bool,
    pub(crate) in_block: bool,
}

/// Whether the session goes on.
enum Then {
    GoOn,
    End,
}

/// What a fault makes of a request before it is run.
enum Met {
    Run,
    Fail(&'static str),
    /// Fails, and the session is over.
    Terminate(&'static str),
    Cut,
    Hang,
}

/// What becomes of a commit.
enum Fate {
    Answered,
    ReplyLost,
    Lost,
    Late(Duration),
}

impl Backend {
    /// Serves until the client goes away, the session is ended, or a time-out of the server's ends it.
    pub(crate) async fn serve(mut self, mut requests: mpsc::Receiver<Request>) {
        loop {
            let next = if self.in_block {
                // idle_in_transaction_session_timeout: 25P03, which nobody reads.
                let next = timeout(self.times.statement_timeout, requests.recv()).await;
                next.unwrap_or_else(|_| {
                    self.server.hit("idle_in_transaction_timeout");
                    None
                })
            } else {
                requests.recv().await
            };
            let Some(request) = next else { break };
            if matches!(self.answer(request, &mut requests).await, Then::End) {
                return self.end();
            }
        }
        if self.in_block && requests.is_closed() && self.server.bites("half_open", |faults| faults.half_open) {
            sleep(self.times.statement_timeout).await;
        }
        self.end();
    }

    fn end(&self) {
        self.server.state().end_session(self.session);
    }

    async fn answer(&mut self, request: Request, requests: &mut mpsc::Receiver<Request>) -> Then {
        let Request { command, mut reply } = request;
        let takes = self.server.statement_takes();
        if !takes.is_zero() {
            sleep(takes).await;
        }
        match self.meet(&command) {
            Met::Run => {}
            Met::Fail(state) => {
                self.server.state().abort_transaction(self.session);
                return send(reply, Err(SqlError::of(state)));
            }
            Met::Terminate(state) => {
                // First the locks are free, then the client hears of it.
                self.end();
                drop(reply.send(Err(SqlError::of(state))));
                return Then::End;
            }
            Met::Cut => return Then::End,
            Met::Hang => {
                // Neither side hears of the other: the server ends the silent session, the client gives up by itself.
                drop(timeout(self.times.statement_timeout, requests.recv()).await);
                self.end();
                reply.closed().await;
                return Then::End;
            }
        }
        match command {
            Command::Commit => self.commit(reply).await,
            Command::Begin => {
                self.in_block = true;
                self.server.state().begin_transaction(self.session);
                send(reply, Ok(()))
            }
            Command::Rollback => {
                self.in_block = false;
                self.server.state().roll_back_transaction(self.session);
                send(reply, Ok(()))
            }
            Command::Savepoint(name) => {
                let done = self.server.state().in_transaction(self.session, |engine, id| engine.savepoint(id, name));
                send(reply, done)
            }
            Command::ReleaseSavepoint(name) => {
                let done =
                    self.server.state().in_transaction(self.session, |engine, id| engine.release_savepoint(id, name));
                send(reply, done)
            }
            Command::RollbackTo(name) => {
                let done = self.server.state().in_transaction(self.session, |engine, id| engine.rollback_to(id, name));
                send(reply, done)
            }
            Command::Run { work, .. } => {
                let done = self.run(work).await;
                send(reply, done)
            }
        }
    }

    /// One draw per knob, in one order, so that a seed means the same in every run.
    fn meet(&self, command: &Command) -> Met {
        let mut state = self.server.state();
        let chance = &mut state.chance;
        if chance.bites("connection_cut", |faults| faults.connection_cut) {
            return Met::Cut;
        }
        if chance.bites("admin_shutdown", |faults| faults.admin_shutdown) {
            return Met::Terminate("57P01");
        }
        if chance.bites("hang", |faults| faults.hang) {
            return Met::Hang;
        }
        if !matches!(command, Command::Run { writes: true, .. }) {
            return Met::Run;
        }
        if chance.bites("serialization_failure", |faults| faults.serialization_failure) {
            return Met::Fail("40001");
        }
        if chance.bites("deadlock", |faults| faults.deadlock) {
            return Met::Fail("40P01");
        }
        if chance.bites("disk_full", |faults| faults.disk_full) {
            return Met::Fail("53100");
        }
        Met::Run
    }

    /// A statement with its own snapshot; outside of a block it is a transaction of its own.
    async fn run(&self, work: Work) -> Result<(), SqlError> {
        let statement = {
            let mut state = self.server.state();
            let id = state.transaction_of(self.session);
            state.engine.begin_statement(id)?
        };
        let executing = Executing::new(
            self.server.clone(),
            statement,
            self.session,
            self.times.lock_timeout.min(self.times.statement_timeout),
            self.read_only,
        );
        let done = match timeout(self.times.statement_timeout, work(executing)).await {
            Ok(done) => done,
            Err(_) => Err(SqlError::of("57014")),
        };
        let mut state = self.server.state();
        state.engine.end_statement(statement.transaction);
        if let Err(error) = &done {
            state.chance.hit(error.state);
            state.abort_transaction(self.session);
        }
        if !self.in_block {
            state.commit_transaction(self.session);
        }
        done
    }

    async fn commit(&mut self, reply: oneshot::Sender<Result<(), SqlError>>) -> Then {
        self.in_block = false;
        let fate = self.fate();
        match fate {
            Fate::Lost => return Then::End,
            Fate::Late(by) => {
                // The client finds the connection broken now; the locks stay until the commit has landed.
                drop(reply);
                sleep(by).await;
                self.server.state().commit_transaction(self.session);
                return Then::End;
            }
            Fate::Answered | Fate::ReplyLost => {}
        }
        self.server.state().commit_transaction(self.session);
        if self.server.state().fails_over_now() {
            return Then::End;
        }
        match fate {
            Fate::ReplyLost => Then::End,
            _ => send(reply, Ok(())),
        }
    }

    fn fate(&self) -> Fate {
        let mut state = self.server.state();
        let chance = &mut state.chance;
        if chance.bites("commit_lost", |faults| faults.commit_lost) {
            return Fate::Lost;
        }
        if chance.bites("commit_reply_lost", |faults| faults.commit_reply_lost) {
            return Fate::ReplyLost;
        }
        if chance.bites("commit_late", |faults| faults.commit_late) {
            return Fate::Late(chance.time(|faults| &faults.commit_late_by));
        }
        Fate::Answered
    }
}

/// A client that is gone does not read its answer, and nothing changes by that.
fn send(reply: oneshot::Sender<Result<(), SqlError>>, answer: Result<(), SqlError>) -> Then {
    drop(reply.send(answer));
    Then::GoOn
}

/// What the server knows of a session.
pub(crate) struct SessionRecord {
    /// What the client called itself, as `application_name`.
    pub(crate) application: String,
    pub(crate) transaction: Option<u64>,
    pub(crate) claimed: Option<Claimed>,
    pub(crate) task: Option<tokio::task::AbortHandle>,
}
