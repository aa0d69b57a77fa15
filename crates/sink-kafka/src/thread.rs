//! The thread of a lane: librdkafka's calls for transactions block, and its producers want to be polled.

use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

use tailwater_model::{Failure, Trouble, TroubleKind};
use tokio::sync::oneshot;

use crate::session::LaneSession;

/// How often an idle lane serves its producers' events.
const IDLE_POLL_INTERVAL: Duration = Duration::from_millis(250);

type Work = Box<dyn FnOnce(&mut LaneSession) + Send>;

/// Runs work on a lane's session, one piece after the other. Work whose waiting future was dropped still ends, and what
/// comes next waits for that: so nothing of a cancelled commit can be written after a reopening has begun.
pub(crate) struct LaneThread {
    work: SyncSender<Work>,
}

impl LaneThread {
    /// Starts the thread; it ends when this is dropped and the work in hand is done.
    pub(crate) fn start(name: String, session: LaneSession) -> Result<Self, Trouble> {
        // One piece of work may wait while another one, whose future was dropped, ends.
        let (work, inbox) = sync_channel(1);
        std::thread::Builder::new().name(name).spawn(move || serve(session, &inbox)).map_err(|error| {
            Trouble::new(
                TroubleKind::Environment,
                "sink.kafka.thread",
                format!("a lane's thread cannot be started: {error}"),
            )
            .advise("raise the limit of threads, or set fewer lanes")
        })?;
        Ok(Self { work })
    }

    pub(crate) async fn run<R: Send + 'static>(
        &self,
        work: impl FnOnce(&mut LaneSession) -> R + Send + 'static,
    ) -> Result<R, Failure> {
        let (answer, answered) = oneshot::channel();
        let work = Box::new(move |session: &mut LaneSession| {
            // Nobody listens any more when the waiting future was dropped.
            let _unheard = answer.send(work(session));
        });
        self.work.try_send(work).map_err(|_| gone())?;
        answered.await.map_err(|_| gone())
    }
}

fn serve(mut session: LaneSession, inbox: &Receiver<Work>) {
    loop {
        match inbox.recv_timeout(IDLE_POLL_INTERVAL) {
            Ok(work) => work(&mut session),
            Err(RecvTimeoutError::Timeout) => session.poll(),
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

fn gone() -> Failure {
    let message = "the thread of a lane is busy or has panicked";
    Failure::Halt(
        Trouble::new(TroubleKind::Runtime, "sink.kafka.thread_gone", message)
            .advise("this is a bug in Tailwater; nothing was lost: starting again goes on from the last commit"),
    )
}
