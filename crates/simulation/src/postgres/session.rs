//! The client's side of one connection, with a deadline on every answer.

use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::timeout;

use super::backend::{Command, Request, SessionTimes};
use super::executing::Executing;
use super::server::{ConnectFault, ModelServer, ask};
use super::sql_error::SqlError;

/// What a client finds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum SessionFault {
    /// The server answered with an error.
    Sql(SqlError),
    /// The connection broke: what the server did is unknown.
    Lost,
    /// No answer within this time: what the server did is unknown.
    NoAnswer(Duration),
}

/// A connection. Dropping it is what a client does that dies: the server finds out after the statement that runs.
#[derive(Debug)]
pub struct ModelSession {
    requests: mpsc::Sender<Request>,
    answer_within: Duration,
}

impl ModelSession {
    /// Connects within `connect_timeout`.
    pub(crate) async fn connect(
        server: &ModelServer,
        application: String,
        times: SessionTimes,
        connect_timeout: Duration,
        answer_within: Duration,
    ) -> Result<Self, SessionFault> {
        let connecting = async {
            match server.begin_session(application, times).await {
                Ok(requests) => Ok(requests),
                Err(ConnectFault::Refused(error)) => Err(SessionFault::Sql(error)),
                Err(ConnectFault::Silence) => std::future::pending().await,
            }
        };
        match timeout(connect_timeout, connecting).await {
            Ok(requests) => Ok(Self { requests: requests?, answer_within }),
            Err(_) => Err(SessionFault::NoAnswer(connect_timeout)),
        }
    }

    pub(crate) async fn command(&mut self, command: Command) -> Result<(), SessionFault> {
        match timeout(self.answer_within, ask(&self.requests, command)).await {
            Ok(Some(Ok(()))) => Ok(()),
            Ok(Some(Err(error))) => Err(SessionFault::Sql(error)),
            Ok(None) => Err(SessionFault::Lost),
            Err(_) => Err(SessionFault::NoAnswer(self.answer_within)),
        }
    }

    /// Runs one statement. `work` runs on the server's side, to its end even when nobody waits for it any more.
    pub(crate) async fn run<T, Work, Running>(&mut self, writes: bool, work: Work) -> Result<T, SessionFault>
    where
        T: Send + 'static,
        Work: FnOnce(Executing) -> Running + Send + 'static,
        Running: Future<Output = Result<T, SqlError>> + Send + 'static,
    {
        let answer = Arc::new(Mutex::new(None));
        let place = Arc::clone(&answer);
        let work = Box::new(move |executing: Executing| -> std::pin::Pin<Box<dyn Future<Output = _> + Send>> {
            Box::pin(async move {
                let found = work(executing).await?;
                *place.lock().unwrap_or_else(PoisonError::into_inner) = Some(found);
                Ok(())
            })
        });
        self.command(Command::Run { writes, work }).await?;
        let found = answer.lock().unwrap_or_else(PoisonError::into_inner).take();
        found.ok_or(SessionFault::Lost)
    }
}
