//! The thread of a lane: librdkafka's calls for transactions block, and its producers want to be polled.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use tailwater_model::{Committed, Failure, Group, Progress, Trouble, TroubleKind};
use tokio::sync::oneshot;
use tracing::Span;

use crate::brokers::Brokers;
use crate::fault::Fault;
use crate::home::Home;
use crate::producer::LaneProducer;
use crate::progress::LaneProgress;
use crate::session::{Claim, LaneSession};
use crate::topics::TopicFacts;

/// How often an idle lane serves its producers' events.
const IDLE_POLL_INTERVAL: Duration = Duration::from_millis(250);

type Work<S> = Box<dyn FnOnce(&mut S) + Send>;

/// A session that a thread may serve.
pub(crate) trait Idle: Send + 'static {
    /// Serves the events of its clients while there is no work.
    fn idle(&self);
}

/// Runs work on a session, one piece after the other. Work whose waiting future was dropped still ends, and what
/// comes next waits for that: so nothing of a cancelled commit can be written after a reopening has begun.
pub(crate) struct Thread<S> {
    work: SyncSender<Work<S>>,
}

/// The thread of a lane.
pub(crate) type LaneThread = Thread<LaneSession<Brokers>>;

impl Idle for LaneSession<Brokers> {
    fn idle(&self) {
        self.producers().for_each(LaneProducer::poll);
    }
}

impl Home for LaneThread {
    type Cluster = Brokers;

    fn house(name: String, session: LaneSession<Brokers>) -> Result<Self, Trouble> {
        Self::start(name, session)
    }

    async fn read_lanes(&mut self, partitions: u32) -> Result<Vec<LaneProgress>, Fault> {
        self.run(move |session| wait_for(session.read_lanes(partitions))).await?
    }

    async fn leave_salt(&mut self, salt: String) -> Result<(), Fault> {
        self.run(|session| wait_for(session.leave_salt(salt))).await?
    }

    async fn open(&mut self, facts: TopicFacts, claim: &Claim) -> Result<(u64, Progress), Fault> {
        let claim = claim.clone();
        self.run(move |session| wait_for(session.open(facts, &claim))).await?
    }

    async fn commit(&mut self, group: Group) -> Result<Committed, Failure> {
        self.run(|session| wait_for(session.commit(group))).await.map_err(Failure::Halt)?
    }
}

impl<S: Idle> Thread<S> {
    /// Starts the thread; it ends when this is dropped and the work in hand is done.
    pub(crate) fn start(name: String, session: S) -> Result<Self, Trouble> {
        // One piece of work may wait while another one, whose future was dropped, ends.
        let (work, inbox) = sync_channel(1);
        // What is logged there belongs to whoever starts it.
        let span = Span::current();
        let serving = move || span.in_scope(|| serve(session, &inbox));
        std::thread::Builder::new().name(name).spawn(serving).map_err(|error| {
            Trouble::new(
                TroubleKind::Environment,
                "sink.kafka.thread",
                format!("a lane's thread cannot be started: {error}"),
            )
            .advise("raise the limit of threads, or set fewer lanes")
        })?;
        Ok(Self { work })
    }

    /// Runs a piece of work.
    pub(crate) async fn run<R: Send + 'static>(
        &self,
        work: impl FnOnce(&mut S) -> R + Send + 'static,
    ) -> Result<R, Trouble> {
        let (answer, answered) = oneshot::channel();
        let work = Box::new(move |session: &mut S| {
            // Nobody listens any more when the waiting future was dropped.
            let _unheard = answer.send(work(session));
        });
        self.work.try_send(work).map_err(|_| gone())?;
        answered.await.map_err(|_| gone())
    }
}

fn serve<S: Idle>(mut session: S, inbox: &Receiver<Work<S>>) {
    loop {
        match inbox.recv_timeout(IDLE_POLL_INTERVAL) {
            Ok(work) => work(&mut session),
            Err(RecvTimeoutError::Timeout) => session.idle(),
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

/// Drives a future on this thread until it is ready. Those of [`Brokers`] block and are ready when first asked; one that is
/// not parks the thread until it is woken.
///
/// Not a runtime's `block_on`: inside one, librdkafka's call for a bearer token of AWS, which needs a runtime of its own
/// and comes on this thread, would panic.
pub(crate) fn wait_for<F: Future>(future: F) -> F::Output {
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut context = Context::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(output) => return output,
            Poll::Pending => std::thread::park(),
        }
    }
}

/// Wakes a thread.
struct Unpark(std::thread::Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

fn gone() -> Trouble {
    let message = "the thread of a lane is busy or has panicked";
    Trouble::new(TroubleKind::Runtime, "sink.kafka.thread_gone", message)
        .advise("this is a bug in Tailwater; nothing was lost: starting again goes on from the last commit")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_ready_is_waited_for() {
        let (waker, wakers) = sync_channel::<Waker>(1);
        let waking = std::thread::spawn(move || wakers.recv().expect("it waits").wake());
        let mut polls = 0;
        let answer = wait_for(std::future::poll_fn(|context| {
            polls += 1;
            if polls > 1 {
                return Poll::Ready("answered");
            }
            waker.send(context.waker().clone()).expect("somebody wakes");
            Poll::Pending
        }));
        assert_eq!((answer, polls), ("answered", 2));
        waking.join().expect("no panic");
    }
}
